/**
 * What the channel, and the RPC methods, know of a connection.
 */
import type * as Schema from "effect/Schema"
import type * as Signaling from "../../Signaling.ts"
import type { Rid } from "../../SoraMethod.ts"

/** Plain data. What can change, RPC methods change. */
export interface Member {
  readonly connectionId: string
  readonly clientId: string
  readonly bundleId: string
  readonly channelId: string
  readonly sessionId: string
  readonly role: Signaling.Role
  readonly audio: boolean
  readonly video: boolean
  readonly simulcast: boolean
  readonly spotlight: boolean
  readonly joinedAt: number
  /** What the client sent in `connect`, and what the authentication gave: as they were, whatever RPC does. */
  readonly authnMetadata: Schema.Json | undefined
  readonly authzMetadata: Schema.Json | undefined
  /** With the metadata extension a store of its own, which RPC and the HTTP API write; without it one of the two above. */
  metadata: Schema.Json | undefined
  /** The layer asked for, of all senders and of single ones. */
  readonly rids: { all: Rid; readonly bySender: Map<string, Rid> }
  readonly spotlightRids: { focus: Rid; unfocus: Rid }
  readonly initialSpotlightRids: { readonly focus: Rid; readonly unfocus: Rid }
  /** The rids that may be asked for by RPC. */
  readonly rpcRids: ReadonlyArray<Rid>
}
