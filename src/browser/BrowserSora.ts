/**
 * Everything wired for a page: signaling over its `WebSocket`, and WebRTC
 * through its `RTCPeerConnection`.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Socket } from "effect/socket"
import * as Stream from "effect/Stream"
import * as Wired from "../internal/connection/wired.ts"
import type { PeerConnection } from "../PeerConnection.ts"
import * as SoraConnection from "../SoraConnection.ts"
import type { SoraConnectionError } from "../SoraConnectionError.ts"
import type * as SoraRpc from "../SoraRpc.ts"
import * as BrowserPeerConnection from "./BrowserPeerConnection.ts"

/**
 * What to connect to, and how to call.
 *
 * @category models
 */
export interface Options extends Omit<SoraConnection.Options, "headers" | "media"> {
  /**
   * Audio and video to send, as `sendonly` or `sendrecv`: the first track of each
   * kind. It stays yours: closing the connection does not stop its tracks.
   * Default: nothing is sent.
   */
  readonly media?: MediaStream | undefined
  /** Options of the RPC service: default timeout, limits. */
  readonly rpc?: SoraRpc.Options | undefined
}

/**
 * What a connection needs in a page: its WebRTC and its WebSocket.
 *
 * @category layers
 */
export const layerPlatform: Layer.Layer<PeerConnection | Socket.WebSocketConstructor> = Layer.merge(
  BrowserPeerConnection.layer,
  Socket.layerWebSocketConstructorGlobal
)

/**
 * Connects to Sora and provides `SoraRpc` and `SoraConnection` over that
 * connection, which lives as long as the layer.
 *
 * ```ts
 * program.pipe(Effect.provide(BrowserSora.layer({
 *   signalingUrls: ["wss://sora.example.com/signaling"],
 *   channelId: "lobby",
 *   role: "sendrecv",
 *   media: await navigator.mediaDevices.getUserMedia({ audio: true, video: true })
 * })))
 * ```
 *
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<SoraRpc.SoraRpc | SoraConnection.SoraConnection, SoraConnectionError> =>
  Wired.layer(options, layerPlatform)

/**
 * {@link layer} with its options from `Config`.
 *
 * @category layers
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<
  SoraRpc.SoraRpc | SoraConnection.SoraConnection,
  SoraConnectionError | Config.ConfigError
> => Layer.unwrap(Effect.map(Config.unwrap(options), layer))

/**
 * The tracks that other connections send, as the page's own events. The id of
 * `streams[0]` is the sender's connection id.
 *
 * @category accessors
 */
export const tracks: Stream.Stream<RTCTrackEvent, never, SoraConnection.SoraConnection> = Stream.unwrap(
  // The page's RTCPeerConnection made them.
  Effect.map(SoraConnection.SoraConnection, ({ tracks }) => tracks as Stream.Stream<RTCTrackEvent>)
)
