/**
 * A connection to Sora: signaling over WebSocket and DataChannels, and the
 * WebRTC peer connection, held by a scope. Making the layer connects; closing
 * its scope disconnects, with Sora's `disconnect` procedure for the state that
 * the connection is in (`sora-protocol.md` section 2.16) and a bounded wait.
 *
 * The connection is made when the `rpc` DataChannel is open, or, where the
 * server offers none, when the peer connection is up. It ends when its scope
 * closes, when the server says so, when a DataChannel closes or when the peer
 * connection fails. With `reconnect` it is then made again.
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Socket } from "effect/socket"
import type { DisconnectReason } from "./DisconnectReason.ts"
import * as Connection from "./internal/connection/reconnecting.ts"
import { SoraConnection } from "./internal/connection/soraConnection.ts"
import type { MediaStreamLike, PeerConnection } from "./PeerConnection.ts"
import type * as Signaling from "./Signaling.ts"
import type { SoraConnectionError } from "./SoraConnectionError.ts"

/**
 * What to connect to, and as what. The members of `connect` (section 2.3) are
 * here in camelCase; an absent one is not sent and takes Sora's default.
 *
 * @category models
 */
export interface Options extends Omit<Signaling.Connect, ConnectMembersOfOurs> {
  /**
   * Signaling URLs (`ws:` or `wss:`) of the same Sora cluster. They are dialled
   * in this order, each `attemptDelay` after the one before it or as soon as
   * that has failed; the first that opens is taken.
   */
  readonly signalingUrls: ReadonlyArray<string>
  /**
   * Goes to the server's authentication only; where access tokens are. Wrap it
   * in `Redacted` to keep it out of your own logs too.
   */
  readonly metadata?: Schema.Json | Redacted.Redacted<Schema.Json> | undefined
  /**
   * Headers of the WebSocket handshake, for a proxy. Only where the WebSocket
   * constructor takes them: on Node, not in a browser.
   */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * Audio and video to send, as `sendonly` or `sendrecv`: the first track of each
   * kind. It stays yours: closing the connection does not stop its tracks.
   * Default: nothing is sent.
   */
  readonly media?: MediaStreamLike | undefined
  /** Time for the whole of connecting. Default 30 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** Time before the next signaling URL is dialled as well. Default 250 milliseconds (RFC 8305, section 5). */
  readonly attemptDelay?: Duration.Input | undefined
  /** Time for one signaling URL to open. Default 5 seconds. */
  readonly openTimeout?: Duration.Input | undefined
  /** Time that the server has to close its side on disconnect. Default 3 seconds. */
  readonly disconnectTimeout?: Duration.Input | undefined
  /**
   * Whether a connection that broke is made again, and when: `true` for
   * {@link reconnectSchedule}, or a schedule of your own, whose input is why the
   * last attempt failed. Default false.
   *
   * The first attempt comes after a second, which Sora needs to let the old
   * connection go (section 2.16). An end that was meant is not followed by
   * another connection: the scope closed, or Sora's API said
   * `DISCONNECTED-API`. Nor is a refusal that retrying cannot cure, such as one
   * by the authentication. The connection that the layer begins with is not
   * retried: see `retryConnect`.
   */
  readonly reconnect?: boolean | Schedule.Schedule<unknown, SoraConnectionError> | undefined
  /**
   * Whether the connection that the layer begins with is tried again when it
   * could not be made, and when: as `reconnect`, and independent of it. Each
   * attempt has its own `connectTimeout`. Bad options, and a refusal that
   * retrying cannot cure, fail at once. Default false.
   */
  readonly retryConnect?: boolean | Schedule.Schedule<unknown, SoraConnectionError> | undefined
}

/** Set by this library: RPC needs DataChannel signaling, the others describe the client. */
type ConnectMembersOfOurs =
  | "type"
  | "metadata"
  | "sdp"
  | "soraClient"
  | "libwebrtc"
  | "environment"
  | "redirect"
  | "dataChannelSignaling"

/**
 * Where a connection stands. `switched` tells whether signaling has moved from
 * the WebSocket to the DataChannels. `Reconnecting` says why the connection
 * broke and which attempt is under way or waited for, from 1. `Disconnected` is
 * the end.
 *
 * @category models
 */
export type State =
  | { readonly _tag: "Connected"; readonly switched: boolean }
  | { readonly _tag: "Reconnecting"; readonly reason: DisconnectReason; readonly attempt: number }
  | { readonly _tag: "Disconnected"; readonly reason: DisconnectReason }

/**
 * One signaling message as it went over the wire.
 *
 * @category models
 */
export interface SignalingEvent {
  readonly direction: "sent" | "received"
  readonly transport: "websocket" | "datachannel"
  /** The label of the DataChannel, when it was one. */
  readonly label?: string
  /** The message with Sora's own member names, `type` among them. */
  readonly message: Signaling.Wire
}

export {
  /**
   * One connection to Sora, as a service.
   *
   * @category services
   */
  SoraConnection
} from "./internal/connection/soraConnection.ts"

/**
 * When a broken connection is made again by default: after 1 s, 2 s, 4 s and so
 * on up to 30 s, each varied by a fifth so that many clients do not come back at
 * once, without end.
 *
 * @category schedules
 */
export const reconnectSchedule: Schedule.Schedule<unknown, SoraConnectionError> = Connection.reconnectSchedule

/**
 * Connects; the connection lives as long as the scope.
 *
 * @category constructors
 */
export const make: (
  options: Options
) => Effect.Effect<
  SoraConnection["Service"],
  SoraConnectionError,
  PeerConnection | Socket.WebSocketConstructor | Scope.Scope
> = Connection.make

/**
 * Connects; the connection lives as long as the layer.
 *
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<SoraConnection, SoraConnectionError, PeerConnection | Socket.WebSocketConstructor> =>
  Layer.effect(SoraConnection, make(options))

/**
 * {@link layer} with its options from `Config`.
 *
 * @category layers
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<
  SoraConnection,
  SoraConnectionError | Config.ConfigError,
  PeerConnection | Socket.WebSocketConstructor
> => Layer.unwrap(Effect.map(Config.unwrap(options), layer))
