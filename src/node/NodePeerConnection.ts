/**
 * Peer connections on Node, through werift.
 *
 * @since 0.1.0
 * @module
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type PeerConfig, RTCPeerConnection } from "werift"
import { PeerConnection } from "../PeerConnection.ts"
import * as Werift from "./internal/werift/peer.ts"
import { unknown } from "./internal/werift/version.ts"

/**
 * A werift configuration that uses the loopback interface alone, for tests.
 *
 * @category options
 * @since 0.1.0
 */
export const loopback: Partial<PeerConfig> = Werift.loopback

/** With more calls at a time plain werift stalls, and loses messages (`docs/werift.md`). */
const PlainMaxInFlight = 32

/**
 * `PeerConnection` through werift. `config` is laid over what the offer says,
 * for what only werift knows: interfaces, ports, codecs.
 *
 * What is mended in werift (`docs/werift.md`) is mended in the version of the peer
 * dependency alone. Another one is used as it comes, with a warning in the log and
 * 32 calls under way at a time, slow ones not counted.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (config: Partial<PeerConfig>): Layer.Layer<PeerConnection> =>
  Layer.effect(
    PeerConnection,
    Effect.gen(function*() {
      const isPlain = unknown() !== ""
      if (isPlain) yield* Effect.logWarning(`${unknown()}: it is used as it comes, with its faults`)
      const make = isPlain ? makePlain : Werift.make
      return {
        environment: `Node.js ${process.versions.node}, werift`,
        maxInFlight: isPlain ? PlainMaxInFlight : undefined,
        make: ({ iceServers, iceTransportPolicy }) =>
          make({
            iceServers: iceServers.map(({ urls, ...credentials }) => ({ urls: [...urls], ...credentials })),
            iceTransportPolicy,
            ...config
          })
      }
    })
  )

const makePlain = (config: Partial<PeerConfig>) =>
  Effect.acquireRelease(
    Effect.sync(() => new RTCPeerConnection(config)),
    (peer) => Effect.promise(() => peer.close())
  )

/**
 * `PeerConnection` through werift.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<PeerConnection> = layerWith({})
