/**
 * The `connect` message that options make.
 */
import * as Redacted from "effect/Redacted"
import type * as Signaling from "../../Signaling.ts"
import { Version } from "../version.ts"
import type { Options } from "./model.ts"

/** Sora refuses a connection without media unless it asks for a channel of its own (section 1, "role"). */
const placeholderChannel = { label: "#effect-sora-rpc", direction: "sendrecv" } as const

/**
 * What else the options have does not go over the wire: a message is encoded with
 * its own members only.
 *
 * @internal
 */
export const make = ({ metadata, ...members }: Options, environment: string): Signaling.Connect => {
  const rpcOnly = members.audio === false && members.video === false && (members.dataChannels ?? []).length === 0
  return {
    ...members,
    type: "connect",
    ...(metadata === undefined
      ? {}
      : { metadata: Redacted.isRedacted(metadata) ? Redacted.value(metadata) : metadata }),
    ...(rpcOnly ? { dataChannels: [placeholderChannel] } : {}),
    dataChannelSignaling: true,
    soraClient: `effect-sora-rpc ${Version}`,
    environment
  }
}
