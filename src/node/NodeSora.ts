/**
 * Everything wired for Node: signaling over `ws`, which unlike Node's own
 * WebSocket says why a URL did not open and can be cut off, and WebRTC through
 * werift.
 *
 * @since 0.1.0
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Socket } from "effect/socket"
import * as Stream from "effect/Stream"
import type { PeerConfig, RTCTrackEvent } from "werift"
import type { ServicesOf } from "../internal/connection/model.ts"
import * as Reconnecting from "../internal/connection/reconnecting.ts"
import * as Wired from "../internal/connection/wired.ts"
import { MaxSignalingBytes } from "../internal/limits.ts"
import type { PeerConnection } from "../PeerConnection.ts"
import * as SoraConnection from "../SoraConnection.ts"
import type { SoraConnectionError } from "../SoraConnectionError.ts"
import type * as SoraRpc from "../SoraRpc.ts"
import type { InvalidOptions } from "../SoraRpcError.ts"
import * as SoraRpcMap from "../SoraRpcMap.ts"
import { isLoopbackHost } from "./internal/loopback.ts"
import * as NodePeerConnection from "./NodePeerConnection.ts"

/**
 * What to connect to, and how to call.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<E = never, R = never, E2 = never, R2 = never> extends SoraConnection.Options<E, R, E2, R2> {
  /** Options of the RPC service: default timeout, limits. */
  readonly rpc?: SoraRpc.Options | undefined
}

const isOfThisMachine = (url: string): boolean => isLoopbackHost(URL.parse(url)?.hostname ?? "")

/**
 * A werift configuration for the options: a server on this machine is reached
 * over the loopback interface, which werift leaves out by itself.
 */
const peerConfig = (options: Pick<SoraConnection.Options, "signalingUrls">): Partial<PeerConfig> =>
  Array.isArray(options.signalingUrls) && options.signalingUrls.every(isOfThisMachine)
    ? { iceAdditionalHostAddresses: ["127.0.0.1"] }
    : {}

/** As `NodeWS.layerWebSocketConstructor`, and a message that is too long is not even buffered. */
const layerWebSocketConstructor: Layer.Layer<Socket.WebSocketConstructor> = Layer.succeed(
  Socket.WebSocketConstructor,
  (url, options) => {
    const { headers, protocols } = typeof options === "string" || Array.isArray(options)
      ? { headers: undefined, protocols: options }
      : { headers: options?.headers, protocols: options?.protocols }
    return new NodeWS.WebSocket(url, protocols, {
      maxPayload: MaxSignalingBytes,
      ...(headers === undefined ? {} : { headers })
    })
  }
)

/**
 * What a connection needs on Node: werift and a WebSocket constructor. `config`
 * is that of `NodePeerConnection.layerWith`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPlatform = (
  config: Partial<PeerConfig> = {}
): Layer.Layer<PeerConnection | Socket.WebSocketConstructor> =>
  Layer.merge(NodePeerConnection.layerWith(config), layerWebSocketConstructor)

/**
 * Connects to Sora and provides `SoraRpc` and `SoraConnection` over that
 * connection, which lives as long as the layer.
 *
 * ```ts
 * program.pipe(Effect.provide(NodeSora.layer({
 *   signalingUrls: ["wss://sora.example.com/signaling"],
 *   channelId: "lobby",
 *   role: "recvonly",
 *   metadata: Redacted.make({ access_token })
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
> => Wired.layer(rpc, layerPlatform(peerConfig(connection)), Reconnecting.layer(connection, rpc))

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
 * {@link SoraRpcMap.SoraRpcMap} for Node: a connection per channel id, made when
 * first asked for with `SoraRpcMap.get`, shared, and closed when nobody has used
 * it for `idleTimeToLive` (default zero: at once). Give a function where options
 * depend on the channel, such as an access token that names it.
 *
 * ```ts
 * program.pipe(Effect.provide(NodeSora.layerMap({
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
 * The tracks that other connections send, as werift's own events. The id of
 * `streams[0]` is the sender's connection id.
 *
 * @category accessors
 * @since 0.1.0
 */
export const tracks: Stream.Stream<RTCTrackEvent, never, SoraConnection.SoraConnection> = Stream.unwrap(
  // werift made them.
  Effect.map(SoraConnection.SoraConnection, ({ tracks }) => tracks as Stream.Stream<RTCTrackEvent>)
)
