/**
 * Everything wired for Node: signaling over `ws`, which unlike Node's own
 * WebSocket says why a URL did not open and can be cut off, and WebRTC through
 * werift.
 *
 * @since 0.1.0
 * @module
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import { Socket } from "effect/socket"
import * as Stream from "effect/Stream"
import type { PeerConfig, RTCTrackEvent } from "werift"
import { toConnectionError } from "../internal/connection/connectOptions.ts"
import type { ServicesOf } from "../internal/connection/model.ts"
import * as Reconnecting from "../internal/connection/reconnecting.ts"
import * as Wired from "../internal/connection/wired.ts"
import type { PeerConnection } from "../PeerConnection.ts"
import * as SoraConnection from "../SoraConnection.ts"
import type { SoraConnectionError } from "../SoraConnectionError.ts"
import type * as SoraRpc from "../SoraRpc.ts"
import type { InvalidOptions } from "../SoraRpcError.ts"
import * as SoraRpcMap from "../SoraRpcMap.ts"
import { isLoopbackHost } from "./internal/loopback.ts"
import * as Network from "./internal/network.ts"
import * as NodePeerConnection from "./NodePeerConnection.ts"

/**
 * Certificates, named as Node's `tls` names them; in PEM format.
 *
 * @category options
 * @since 0.1.0
 */
export interface TlsOptions {
  /** Authorities to trust, in place of those that Node trusts. */
  readonly ca?: string | Uint8Array | ReadonlyArray<string | Uint8Array> | undefined
  /** The certificate that this client shows to a signaling server that asks for one, and with it its chain. */
  readonly cert?: string | Uint8Array | undefined
  /** The private key of `cert`. */
  readonly key?: string | Uint8Array | Redacted.Redacted<string> | undefined
  /** Of an encrypted `key`. */
  readonly passphrase?: string | Redacted.Redacted<string> | undefined
  /** Whether a server must have a certificate that is trusted. Default true; false is for tests. */
  readonly rejectUnauthorized?: boolean | undefined
}

/**
 * The way to the servers.
 *
 * @category options
 * @since 0.1.0
 */
export interface NetworkOptions {
  /**
   * Certificates for `wss:` signaling URLs. `ca` and `rejectUnauthorized` hold for
   * `turns:` URLs of the offer, and for a proxy with an `https:` URL, too.
   */
  readonly tls?: TlsOptions | undefined
  /**
   * An HTTP proxy to signal through (`CONNECT`): `http://user:password@host:port`,
   * or `https:`; user and password are percent-encoded, and sent as Basic
   * credentials. It is for the WebSocket alone: WebRTC goes through TURN. No
   * environment variable is read; for that use `layerConfig` with
   * `proxy: Config.Redacted("HTTPS_PROXY")`.
   */
  readonly proxy?: string | Redacted.Redacted<string> | undefined
}

/**
 * What to connect to, and how to call.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<E = never, R = never, E2 = never, R2 = never>
  extends SoraConnection.Options<E, R, E2, R2>, NetworkOptions
{
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

/**
 * What a connection needs on Node: werift and a WebSocket constructor. `config`
 * is that of `NodePeerConnection.layerWith`; what its `turnTlsOptions` say goes
 * before `network.tls`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPlatform = (
  config: Partial<PeerConfig> = {},
  network: NetworkOptions = {}
): Layer.Layer<PeerConnection | Socket.WebSocketConstructor> =>
  Layer.merge(
    Layer.suspend(() => {
      const { ca, rejectUnauthorized } = Network.toNode(network.tls)
      return NodePeerConnection.layerWith({
        turnTlsOptions: {
          ...(ca === undefined ? {} : { ca }),
          ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized })
        },
        ...config
      })
    }),
    Layer.sync(Socket.WebSocketConstructor, () => Network.webSocketConstructor(network))
  )

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
  { proxy, rpc, tls, ...connection }: Options<E, R, E2, R2>
): Layer.Layer<
  SoraRpc.SoraRpc | SoraConnection.SoraConnection,
  SoraConnectionError | E | E2,
  ServicesOf<R, R2>
> =>
  Layer.unwrap(
    Effect.as(
      Effect.mapError(Network.check({ proxy, tls }), toConnectionError),
      Wired.layer(rpc, layerPlatform(peerConfig(connection), { proxy, tls }), Reconnecting.layer(connection, rpc))
    )
  )

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

/**
 * Of {@link tracks}, those that are gone, each with the event that it came with:
 * its sender left or ceased to send it, or the connection broke.
 *
 * @category accessors
 * @since 0.1.0
 */
export const removedTracks: Stream.Stream<RTCTrackEvent, never, SoraConnection.SoraConnection> = Stream.unwrap(
  Effect.map(SoraConnection.SoraConnection, ({ removedTracks }) => removedTracks as Stream.Stream<RTCTrackEvent>)
)
