/**
 * Everything wired for a page: signaling over its `WebSocket`, and WebRTC
 * through its `RTCPeerConnection`.
 *
 * @since 0.1.0
 * @module
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Socket } from "effect/socket"
import * as Stream from "effect/Stream"
import type { ServicesOf } from "../internal/connection/model.ts"
import { layerOfPage } from "../internal/connection/reconnecting.ts"
import * as Wired from "../internal/connection/wired.ts"
import type { PeerConnection } from "../PeerConnection.ts"
import * as SoraConnection from "../SoraConnection.ts"
import type { SoraConnectionError } from "../SoraConnectionError.ts"
import type * as SoraRpc from "../SoraRpc.ts"
import type { InvalidOptions } from "../SoraRpcError.ts"
import * as SoraRpcMap from "../SoraRpcMap.ts"
import * as BrowserPeerConnection from "./BrowserPeerConnection.ts"

/**
 * What to connect to, and how to call.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<E = never, R = never, E2 = never, R2 = never>
  extends Omit<SoraConnection.Options<E, R, E2, R2>, "headers" | "media">
{
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
 * `configuration` is that of `BrowserPeerConnection.layerWith`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPlatform = (
  configuration: RTCConfiguration = {}
): Layer.Layer<PeerConnection | Socket.WebSocketConstructor> =>
  Layer.merge(BrowserPeerConnection.layerWith(configuration), Socket.layerWebSocketConstructorGlobal)

/**
 * Connects to Sora and provides `SoraRpc` and `SoraConnection` over that
 * connection, which lives as long as the layer. The page's `online` event ends
 * the pause before the next attempt, as `reconnectNow` does.
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
 * @since 0.1.0
 */
export const layer = <E = never, R = never, E2 = never, R2 = never>(
  { rpc, ...connection }: Options<E, R, E2, R2>
): Layer.Layer<
  SoraRpc.SoraRpc | SoraConnection.SoraConnection,
  SoraConnectionError | E | E2,
  ServicesOf<R, R2>
> => Wired.layer(rpc, layerPlatform(), layerOfPage(connection, rpc))

/**
 * {@link layer} with its options from `Config`. Those that are effects are no
 * configuration: they are given beside it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = <E = never, R = never, E2 = never, R2 = never>(
  options: Config.Wrap<Omit<Options<NoInfer<E>, NoInfer<R>, NoInfer<E2>, NoInfer<R2>>, "onConnected">>,
  effects?: Pick<Options<E, R, E2, R2>, "metadata" | "onConnected">
): Layer.Layer<
  SoraRpc.SoraRpc | SoraConnection.SoraConnection,
  SoraConnectionError | Config.ConfigError | E | E2,
  ServicesOf<R, R2>
> => Layer.unwrap(Effect.map(Config.unwrap(options), (options) => layer<E, R, E2, R2>({ ...options, ...effects })))

/**
 * {@link SoraRpcMap.SoraRpcMap} for a page: a connection per channel id, made
 * when first asked for with `SoraRpcMap.get`, shared, and closed when nobody has
 * used it for `idleTimeToLive` (default zero: at once). Give a function where
 * options depend on the channel, such as an access token that names it.
 *
 * ```ts
 * program.pipe(Effect.provide(BrowserSora.layerMap({
 *   signalingUrls: ["wss://sora.example.com/signaling"],
 *   role: "recvonly"
 * }, { idleTimeToLive: "1 minute" })))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMap = <E = never, R = never, E2 = never, R2 = never>(
  options:
    | Omit<Options<E, R, E2, R2>, "channelId">
    | ((channelId: string) => Omit<Options<E, R, E2, R2>, "channelId">),
  map?: Pick<SoraRpcMap.Options, "idleTimeToLive">
): Layer.Layer<SoraRpcMap.SoraRpcMap, InvalidOptions, ServicesOf<R, R2>> =>
  SoraRpcMap.layer({
    ...map,
    lookup: (channelId) => layer({ ...(typeof options === "function" ? options(channelId) : options), channelId })
  })

/**
 * The tracks that other connections send, as the page's own events. The id of
 * `streams[0]` is the sender's connection id.
 *
 * @category accessors
 * @since 0.1.0
 */
export const tracks: Stream.Stream<RTCTrackEvent, never, SoraConnection.SoraConnection> = /* @__PURE__ */ Stream.unwrap(
  // The page's RTCPeerConnection made them.
  /* @__PURE__ */ Effect.map(SoraConnection.SoraConnection, ({ tracks }) => tracks as Stream.Stream<RTCTrackEvent>)
)

/**
 * Of {@link tracks}, those that are gone, each with the event that it came with:
 * its sender left or ceased to send it, or the connection broke.
 *
 * @category accessors
 * @since 0.1.0
 */
export const removedTracks: Stream.Stream<RTCTrackEvent, never, SoraConnection.SoraConnection> = /* @__PURE__ */ Stream
  .unwrap(
    /* @__PURE__ */ Effect.map(
      SoraConnection.SoraConnection,
      ({ removedTracks }) => removedTracks as Stream.Stream<RTCTrackEvent>
    )
  )
