/**
 * What `SoraConnection` is for who uses one and for what makes one.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { DisconnectReason } from "../../DisconnectReason.ts"
import type { MediaStreamLike, PeerConnectionLike, TrackEvent } from "../../PeerConnection.ts"
import type { RpcTransport } from "../../RpcTransport.ts"
import type * as Signaling from "../../Signaling.ts"
import type { SoraConnectionError } from "../../SoraConnectionError.ts"
import type * as SoraMessaging from "../../SoraMessaging.ts"
import type { SoraRpc } from "../../SoraRpc.ts"

/**
 * What to connect to, and as what. The members of `connect` (section 2.3) are
 * here in camelCase; an absent one is not sent and takes Sora's default.
 *
 * `E` and `R` are those of a `metadata` that is an effect, `E2` and `R2` those of
 * `onConnected`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<E = never, R = never, E2 = never, R2 = never>
  extends Omit<Signaling.Connect, ConnectMembersOfOurs>
{
  /**
   * Signaling URLs (`ws:` or `wss:`) of the same Sora cluster. They are dialled
   * in this order, each `attemptDelay` after the one before it or as soon as
   * that has failed; the first that opens is taken.
   */
  readonly signalingUrls: ReadonlyArray<string>
  /**
   * Goes to the server's authentication only; where access tokens are. Wrap it
   * in `Redacted` to keep it out of your own logs too.
   *
   * An effect is run before every attempt, the first one, each of `retryConnect`
   * and each of `reconnect`, within `connectTimeout`: for a token that expires.
   * What it fails with is how the attempt fails, and worth another one; a refusal
   * by the authentication is too then. What it gives must be a JSON value, or a
   * Redacted one, else the attempt fails with `InvalidOptions`.
   */
  readonly metadata?: Metadata | Effect.Effect<Metadata, E, R> | undefined
  /**
   * Run once for each connection, the first one too, when it is up, and before
   * the layer is ready, `Connected` is told or a call that waited goes through:
   * the place to put back what Sora keeps for a connection, metadata and rids.
   *
   * Calls made with its `SoraRpc` go over that connection alone, and at once; the
   * service, and the scope, end with it. What it fails with is how the attempt
   * fails: the connection is closed, with a goodbye, and is followed by another
   * attempt as after any failure. It counts within `connectTimeout`. When the
   * connection breaks its calls fail with `Disconnected`, it is interrupted, and
   * the attempt fails with `ConnectionLost`.
   *
   * ```ts
   * onConnected: () => SoraRpc.putSignalingNotifyMetadata({ metadata: { name: "bot" } })
   * ```
   */
  readonly onConnected?:
    | ((connection: NewConnection) => Effect.Effect<unknown, E2, R2 | SoraRpc | Scope.Scope>)
    | undefined
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
  /** Time for the whole of an attempt, from `metadata` to `onConnected`. Default 30 seconds. */
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
   * `SoraConnection.reconnectSchedule`, or a schedule of your own, whose input is why the
   * last attempt failed: errors of `metadata` and `onConnected` too. Default false.
   *
   * The first attempt comes after a second, which Sora needs to let the old
   * connection go (section 2.16). An end that was meant is not followed by
   * another connection: the scope closed, or Sora's API said
   * `DISCONNECTED-API`. Nor is a refusal that retrying cannot cure, such as one
   * by the authentication, unless `metadata` is an effect. The connection that
   * the layer begins with is not retried: see `retryConnect`.
   */
  readonly reconnect?: boolean | Schedule.Schedule<unknown, SoraConnectionError | NoInfer<E | E2>> | undefined
  /**
   * Whether the connection that the layer begins with is tried again when it
   * could not be made, and when: as `reconnect`, and independent of it. Each
   * attempt has its own `connectTimeout`. Bad options, and a refusal that
   * retrying cannot cure, fail at once. Default false.
   */
  readonly retryConnect?: boolean | Schedule.Schedule<unknown, SoraConnectionError | NoInfer<E | E2>> | undefined
}

/**
 * Options whose effects may be any.
 *
 * @internal
 */
export type AnyOptions = Options<any, any, any, any>

/**
 * What the effects among the options need.
 *
 * @internal
 */
export type ServicesOf<R, R2> = Exclude<R, Scope.Scope> | Exclude<Exclude<R2, SoraRpc>, Scope.Scope>

/**
 * What goes to the server's authentication.
 *
 * @category models
 * @since 0.1.0
 */
export type Metadata = Schema.Json | Redacted.Redacted<Schema.Json>

/**
 * A connection that has just come up.
 *
 * @category models
 * @since 0.1.0
 */
export interface NewConnection {
  readonly offer: Signaling.Offer
  /** Which connection of the layer it is, from 1. */
  readonly number: number
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
 * Where a connection stands. `Connected` is told once for each connection: its
 * id, and which one of the layer it is, from 1. `Reconnecting` says why the
 * connection broke and which attempt is under way or waited for, from 1.
 * `Disconnected` is the end.
 *
 * @category models
 * @since 0.1.0
 */
export type State =
  | { readonly _tag: "Connected"; readonly connectionId: string; readonly number: number }
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
 * A connection that is in the channel, this one included. A member is absent
 * where Sora has not told of it: of those who were there first it tells ids and
 * metadata alone.
 *
 * @category models
 * @since 0.1.0
 */
export interface Member {
  readonly connectionId: string
  /** Whether it is this connection. */
  readonly isSelf: boolean
  readonly clientId?: string
  readonly bundleId?: string
  readonly role?: Signaling.Role
  readonly audio?: boolean
  readonly video?: boolean
  /** `signalingNotifyMetadata` of its `connect`, for as long as it is there. */
  readonly authnMetadata?: Schema.Json
  /** What the authentication gave, for as long as it is there. */
  readonly authzMetadata?: Schema.Json
  /**
   * With the metadata extension what RPC and Sora's API have put there; without
   * it one of the two above (section 4.8).
   */
  readonly metadata?: Schema.Json
}

/**
 * Who is in the channel, by connection id.
 *
 * @category models
 * @since 0.1.0
 */
export type Members = ReadonlyMap<string, Member>

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
  /**
   * Ends the pause before the next attempt at once, as the `online` event of a
   * page does. The second after a break is kept, which Sora needs; while connected,
   * while an attempt is under way and after the end nothing happens.
   */
  readonly reconnectNow: Effect.Effect<void>
  /** Notify events of the channel (section 6). */
  readonly notify: Stream.Stream<Signaling.Notify>
  /** Pushes to the channel (sections 4.10 and 4.11). */
  readonly push: Stream.Stream<Signaling.Push>
  /**
   * Who is in the channel, kept from {@link notify} and {@link push} (sections
   * 6.1 and 4.10). Of a connection that is just up its list is waited for, a
   * second at most. While there is no connection it is what was last known. Members of
   * the own bundle are not told of, nor is metadata that was put without `push`,
   * except to those who join later. `SoraMembers` decodes metadata.
   */
  readonly members: Effect.Effect<Members>
  /**
   * The same, now and after each change: of a new connection once it is up and its list has
   * come. A subscriber that falls behind gets the latest.
   */
  readonly memberChanges: Stream.Stream<Members>
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
   * The messages of a label that was asked for with `dataChannels`; its DataChannel is open once the connection is
   * made. Fails with `UnknownLabel` for any other.
   */
  readonly messaging: (
    label: string,
    options?: SoraMessaging.Options
  ) => Effect.Effect<SoraMessaging.Messaging, SoraMessaging.MessagingError>
  /** The peer connection itself, for tracks and statistics. Of the current connection, or of the last one. */
  readonly peerConnection: Effect.Effect<PeerConnectionLike>
}>()("effect-sora-rpc/SoraConnection") {}
