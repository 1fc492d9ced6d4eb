/**
 * Peer connections in a page, through the browser's own WebRTC.
 *
 * @since 0.1.0
 * @module
 */
import * as Layer from "effect/Layer"
import * as PeerConnection from "../PeerConnection.ts"

/**
 * `PeerConnection` through the page's `RTCPeerConnection`. `configuration` is
 * laid over what the offer says: certificates, for example.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (configuration: RTCConfiguration): Layer.Layer<PeerConnection.PeerConnection> =>
  // Looked up when it is built, so that a module can be imported where there is no WebRTC, as when a page is rendered
  // on a server.
  Layer.suspend(() =>
    PeerConnection.layerConstructor(RTCPeerConnection, {
      environment: navigator.userAgent,
      configuration: { ...configuration }
    })
  )

/**
 * `PeerConnection` through the page's `RTCPeerConnection`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<PeerConnection.PeerConnection> = /* @__PURE__ */ layerWith({})
