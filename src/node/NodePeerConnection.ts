/**
 * Peer connections on Node, through werift.
 *
 * @since 0.1.0
 * @module
 */
import * as Layer from "effect/Layer"
import type { PeerConfig } from "werift"
import { PeerConnection } from "../PeerConnection.ts"
import * as Werift from "./internal/werift/peer.ts"

/**
 * A werift configuration that uses the loopback interface alone, for tests.
 *
 * @category options
 * @since 0.1.0
 */
export const loopback: Partial<PeerConfig> = Werift.loopback

/**
 * `PeerConnection` through werift. `config` is laid over what the offer says,
 * for what only werift knows: interfaces, ports, codecs.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (config: Partial<PeerConfig>): Layer.Layer<PeerConnection> =>
  Layer.succeed(PeerConnection, {
    environment: `Node.js ${process.versions.node}, werift`,
    make: ({ iceServers, iceTransportPolicy }) =>
      Werift.make({
        iceServers: iceServers.map(({ urls, ...credentials }) => ({ urls: [...urls], ...credentials })),
        iceTransportPolicy,
        ...config
      })
  })

/**
 * `PeerConnection` through werift.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<PeerConnection> = layerWith({})
