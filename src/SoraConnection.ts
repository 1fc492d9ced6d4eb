/**
 * A connection to Sora: signaling over WebSocket and DataChannels, and the
 * WebRTC peer connection, held by a scope. Making the layer connects; closing
 * its scope disconnects, with Sora's `disconnect` procedure for the state that
 * the connection is in (`sora-protocol.md` section 2.16) and a bounded wait.
 *
 * The connection is made when the `rpc` DataChannel is open, or, where the
 * server offers none, when the peer connection is up. It ends when its scope
 * closes, when the server says so, when a DataChannel closes or when the peer
 * connection fails; it is not made again by itself.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Socket } from "effect/socket"
import type * as Stream from "effect/Stream"
import * as Session from "./internal/session.ts"
import type { PeerConnection, PeerConnectionLike } from "./PeerConnection.ts"
import type { RpcChannel } from "./RpcChannel.ts"
import type * as Signaling from "./Signaling.ts"
import type { SoraConnectionError } from "./SoraConnectionError.ts"
import type { DisconnectReason } from "./SoraRpcError.ts"

/**
 * What to connect to, and as what. The members of `connect` (section 2.3) are
 * here in camelCase; an absent one is not sent and takes Sora's default.
 *
 * @category models
 */
export interface Options extends Omit<typeof Signaling.Connect.Type, ConnectMembersOfOurs> {
  /** Signaling URLs (`ws:` or `wss:`) of the same Sora cluster, tried in this order. */
  readonly signalingUrls: ReadonlyArray<string>
  /**
   * Goes to the server's authentication only; where access tokens are. Wrap it
   * in `Redacted` to keep it out of your own logs too.
   */
  readonly metadata?: Schema.Json | Redacted.Redacted<Schema.Json> | undefined
  /** Time for the whole of connecting. Default 30 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** Time for one signaling URL to open. Default 5 seconds. */
  readonly openTimeout?: Duration.Input | undefined
  /** Time that the server has to close its side on disconnect. Default 3 seconds. */
  readonly disconnectTimeout?: Duration.Input | undefined
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
 * the WebSocket to the DataChannels.
 *
 * @category models
 */
export type State =
  | { readonly _tag: "Connected"; readonly switched: boolean }
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

/**
 * One connection to Sora.
 *
 * The streams give a new subscriber the latest 64 events first, so that those
 * which came while the connection was made are not lost to it; a subscriber
 * that falls 1,024 events behind loses the oldest. They end with the connection.
 *
 * @category services
 */
export class SoraConnection extends Context.Service<SoraConnection, {
  /** The server's offer: ids, `rpcMethods`, `metadata`, … */
  readonly offer: Signaling.Offer
  /** `rpc_methods` of the offer, or of a later re-offer that changed them; empty when nothing was granted. */
  readonly rpcMethods: () => ReadonlyArray<string>
  readonly state: Effect.Effect<State>
  /** The current state and each later one. Ends after `Disconnected`. */
  readonly changes: Stream.Stream<State>
  /** Notify events of the channel (section 6). */
  readonly notify: Stream.Stream<Signaling.Notify>
  /** Pushes to the channel (sections 4.10 and 4.11). */
  readonly push: Stream.Stream<Signaling.Push>
  /** Every signaling message, both ways. What was sent includes `metadata`: mind where you log it. */
  readonly signaling: Stream.Stream<SignalingEvent>
  /** The `rpc` channel; none when the server offered none (section 4.1). */
  readonly rpcChannel: Option.Option<RpcChannel>
  /** The peer connection itself, for tracks and statistics. */
  readonly peerConnection: PeerConnectionLike
}>()("effect-sora-rpc/SoraConnection") {}

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
> = Session.connect

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
