/**
 * The peer connection that a Sora connection runs over: the part of the W3C
 * WebRTC API that this library uses, and the service that makes one. `/node`
 * provides it through werift; anything that follows the W3C API fits.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/**
 * The part of `RTCDataChannel` that this library uses. A browser's and werift's
 * both fit.
 *
 * @category models
 */
export interface DataChannelLike {
  readonly label: string
  /** `RTCDataChannelState`: `connecting`, `open`, `closing` or `closed`. */
  readonly readyState: string
  /** Bytes handed to `send` that are not on the network yet. */
  readonly bufferedAmount: number
  /** Bytes at or below which `bufferedamountlow` fires. */
  bufferedAmountLowThreshold: number
  // Method syntax, so that an implementation that takes a narrower type (werift: `Buffer`) fits too.
  send(data: string | Uint8Array): void
  close(): void
  addEventListener(
    type: "open" | "message" | "close" | "error" | "bufferedamountlow",
    listener: (event: any) => void
  ): void
  removeEventListener(
    type: "open" | "message" | "close" | "error" | "bufferedamountlow",
    listener: (event: any) => void
  ): void
}

/**
 * `RTCSessionDescriptionInit` with an SDP.
 *
 * @category models
 */
export interface SessionDescription {
  readonly type: "offer" | "answer"
  readonly sdp: string
}

/**
 * The part of `RTCPeerConnection` that this library uses.
 *
 * @category models
 */
export interface PeerConnectionLike {
  /** `RTCPeerConnectionState`. */
  readonly connectionState: string
  setRemoteDescription(description: SessionDescription): Promise<unknown>
  createAnswer(): Promise<{ readonly sdp?: string | undefined }>
  setLocalDescription(description: SessionDescription): Promise<unknown>
  getStats(): Promise<{ forEach(callback: (report: any) => void): void }>
  close(): unknown
  addEventListener(
    type: "datachannel" | "icecandidate" | "connectionstatechange" | "track",
    listener: (event: any) => void
  ): void
  removeEventListener(
    type: "datachannel" | "icecandidate" | "connectionstatechange" | "track",
    listener: (event: any) => void
  ): void
}

/**
 * `RTCConfiguration` as the offer's `config` gives it (section 2.4).
 *
 * @category models
 */
export interface Configuration {
  readonly iceServers: ReadonlyArray<{
    readonly urls: ReadonlyArray<string>
    readonly username?: string
    readonly credential?: string
  }>
  readonly iceTransportPolicy: "all" | "relay"
}

/**
 * Makes peer connections.
 *
 * @category services
 */
export class PeerConnection extends Context.Service<PeerConnection, {
  /** Named in `connect.environment`, such as `Node.js 24.21.0, werift`. */
  readonly environment: string
  /** A peer connection that is closed with the scope. Not connected to anything yet. */
  readonly make: (configuration: Configuration) => Effect.Effect<PeerConnectionLike, never, Scope.Scope>
}>()("effect-sora-rpc/PeerConnection") {}
