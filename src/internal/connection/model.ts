/**
 * What `SoraConnection` is for who uses one and for what makes one.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { DisconnectReason } from "../../DisconnectReason.ts"
import type { DataChannelLike, MediaStreamLike, PeerConnectionLike, TrackEvent } from "../../PeerConnection.ts"
import type { RpcTransport } from "../../RpcTransport.ts"
import type * as Signaling from "../../Signaling.ts"
import type { SoraConnectionError } from "../../SoraConnectionError.ts"

/**
 * What to connect to, and as what. The members of `connect` (section 2.3) are
 * here in camelCase; an absent one is not sent and takes Sora's default.
 *
 * @category models
 * @since 0.1.0
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
   * Largest message to receive on a DataChannel, in bytes once it is inflated. A
   * larger RPC frame is dropped and counted, and its call times out. Default
   * 1,048,576.
   */
  readonly maxInflatedBytes?: number | undefined
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
 * @since 0.1.0
 */
export type State =
  | { readonly _tag: "Connected"; readonly switched: boolean }
  | { readonly _tag: "Reconnecting"; readonly reason: DisconnectReason; readonly attempt: number }
  | { readonly _tag: "Disconnected"; readonly reason: DisconnectReason }

/**
 * One signaling message as it went over the wire.
 *
 * @category models
 * @since 0.1.0
 */
export interface SignalingEvent {
  readonly direction: "sent" | "received"
  readonly transport: "websocket" | "datachannel"
  /** The label of the DataChannel, when it was one. */
  readonly label?: string
  /** The message with Sora's own member names, `type` among them. */
  readonly message: Signaling.Wire
}

/**
 * One connection to Sora.
 *
 * The streams give a new subscriber the latest 64 events first, so that those
 * which came while the connection was made are not lost to it; a subscriber
 * that falls 1,024 events behind loses the oldest. They end with the connection.
 *
 * @category services
 * @since 0.1.0
 */
export class SoraConnection extends Context.Service<SoraConnection, {
  /** The server's offer: ids, `rpcMethods`, `metadata`, … Of the current connection, or of the last one. */
  readonly offer: Effect.Effect<Signaling.Offer>
  readonly state: Effect.Effect<State>
  /** The current state and each later one. Ends after `Disconnected`. */
  readonly changes: Stream.Stream<State>
  /** Notify events of the channel (section 6). */
  readonly notify: Stream.Stream<Signaling.Notify>
  /** Pushes to the channel (sections 4.10 and 4.11). */
  readonly push: Stream.Stream<Signaling.Push>
  /**
   * The audio and video tracks that other connections send, as they come. The id
   * of a track's stream is its sender's connection id.
   */
  readonly tracks: Stream.Stream<TrackEvent>
  /**
   * Of {@link tracks}, those that are gone: each with the event that it came with.
   * Its sender left or ceased to send it, as a re-offer of the server says, or the
   * connection broke.
   */
  readonly removedTracks: Stream.Stream<TrackEvent>
  /** Every signaling message, both ways. What was sent includes `metadata`: mind where you log it. */
  readonly signaling: Stream.Stream<SignalingEvent>
  /**
   * What `SoraRpc` calls over: the `rpc` channel and the methods granted. It is one
   * through all connections, interrupted between them; where the server opens no
   * `rpc` channel (section 4.1) calls fail with `Unavailable`.
   */
  readonly transport: RpcTransport["Service"]
  /**
   * The DataChannels for messages of the application (labels that begin with
   * `#`, asked for with `dataChannels`), by label. They are open once the connection is made.
   * Payloads are as they are on the wire: binary, and zlib where the offer says
   * `compress`. Do not close one: Sora ends a connection that loses a channel.
   */
  readonly dataChannels: Effect.Effect<ReadonlyMap<string, DataChannelLike>>
  /** The peer connection itself, for tracks and statistics. Of the current connection, or of the last one. */
  readonly peerConnection: Effect.Effect<PeerConnectionLike>
}>()("effect-sora-rpc/SoraConnection") {}
