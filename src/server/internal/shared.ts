/**
 * What the connections of a server share, and what the server's API does with
 * each of them.
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { PeerConfig } from "werift"
import type * as Dispatcher from "../../internal/rpc/dispatcher.ts"
import type * as Signaling from "../../Signaling.ts"
import type { Authenticate } from "../SoraAuth.ts"
import type { ConnectionFault } from "../SoraFaults.ts"
import type { End } from "./connection/ends.ts"
import type * as Faults from "./faults.ts"
import type { Channels, Member } from "./rooms.ts"

/** What all connections of a server share. */
export interface Shared {
  readonly url: () => string
  readonly channels: Channels
  readonly dispatcher: Dispatcher.Dispatcher<never>
  readonly authenticate: Authenticate
  readonly allMethods: ReadonlyArray<string>
  readonly rpc: boolean
  readonly compress: boolean
  readonly ignoreDisconnectWebsocket: boolean | undefined
  readonly redirects: number
  readonly iceServers: ReadonlyArray<typeof Signaling.IceServer.Type>
  readonly iceTransportPolicy: "all" | "relay" | undefined
  readonly pingInterval: Duration.Duration
  readonly pongTimeout: Duration.Duration
  readonly connectTimeout: Duration.Duration
  readonly maxBufferedBytes: number
  readonly maxInflatedBytes: number
  readonly maxCalls: number
  readonly closeMessage: boolean
  readonly switchOrder: "before-open" | "after-open"
  readonly peer: Partial<PeerConfig>
  /** The connections by id, for the server's own API. */
  readonly handles: Map<string, Handle>
  /** What goes wrong on purpose, at the moment. */
  readonly faults: () => Faults.Source | undefined
}

/** What the server's API asked of a connection, and it could not do. */
export class HandleError extends Data.TaggedError("HandleError")<{
  readonly message: string
  readonly cause?: unknown
}> {}

/** What the server's API does with a connection. */
export interface Handle {
  readonly member: Member
  readonly switched: () => boolean
  readonly end: (end: End) => void
  readonly ended: Effect.Effect<void>
  readonly reOffer: Effect.Effect<void, HandleError>
  readonly requestStats: Effect.Effect<Schema.Json, HandleError>
  readonly inject: (fault: ConnectionFault) => Effect.Effect<void, HandleError>
  /** Draws anew for a connection that is there already. */
  readonly redraw: Effect.Effect<void>
}
