/**
 * The peer connection that a Sora connection runs over: the part of the W3C
 * WebRTC API that this library uses, and the service that makes one. `/node`
 * provides it through werift, `/browser` through the page's own WebRTC, and
 * {@link layerConstructor} through any other that follows the W3C API.
 *
 * @since 0.1.0
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"

export type {
  /**
   * The part of `RTCDataChannel` that this library uses. A browser's and werift's
   * both fit.
   *
   * @category models
   * @since 0.1.0
   */
  DataChannelLike
} from "./internal/dataChannel.ts"

/**
 * `RTCSessionDescriptionInit` with an SDP.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionDescription {
  readonly type: "offer" | "answer"
  readonly sdp: string
}

/**
 * The part of `MediaStreamTrack` that this library uses.
 *
 * @category models
 * @since 0.1.0
 */
export interface MediaTrackLike {
  /** `audio` or `video`. */
  readonly kind: string
}

/**
 * The part of `MediaStream` that this library uses.
 *
 * @category models
 * @since 0.1.0
 */
export interface MediaStreamLike {
  readonly id: string
  getTracks(): ReadonlyArray<MediaTrackLike>
}

/**
 * The part of `RTCTrackEvent` that this library uses. The id of the stream is
 * the connection id of its sender (`sora-protocol.md` section 1).
 *
 * @category models
 * @since 0.1.0
 */
export interface TrackEvent {
  readonly track: MediaTrackLike
  readonly streams: ReadonlyArray<MediaStreamLike>
  /** The section that it came on, by which its end is known. */
  readonly transceiver?: { readonly mid?: string | null | undefined }
}

/**
 * The part of `RTCRtpTransceiver` that this library uses, when media is sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface TransceiverLike {
  readonly mid?: string | null | undefined
  direction: string
  readonly sender: {
    replaceTrack(track: any): Promise<void>
    getParameters(): { encodings?: Array<any> }
    // A promise, or nothing (werift).
    setParameters(parameters: any): unknown
  }
}

/**
 * The events of `RTCPeerConnection` that this library listens to.
 *
 * @category models
 * @since 0.1.0
 */
export type PeerEvent =
  | "datachannel"
  | "icecandidate"
  | "icecandidateerror"
  | "icegatheringstatechange"
  | "connectionstatechange"
  | "track"

/**
 * The part of `RTCPeerConnection` that this library uses.
 *
 * @category models
 * @since 0.1.0
 */
export interface PeerConnectionLike {
  /** `RTCPeerConnectionState`. */
  readonly connectionState: string
  /** What was applied by `setLocalDescription`; is the answer that is sent. */
  readonly localDescription?: { readonly sdp?: string | undefined } | null | undefined
  setRemoteDescription(description: SessionDescription): Promise<unknown>
  createAnswer(): Promise<{ readonly sdp?: string | undefined }>
  setLocalDescription(description: SessionDescription): Promise<unknown>
  getStats(): Promise<{ forEach(callback: (report: any) => void): void }>
  /** `RTCIceGatheringState`, where there is one. */
  readonly iceGatheringState?: string
  /** Needed to send media. */
  getTransceivers?(): ReadonlyArray<TransceiverLike>
  close(): unknown
  addEventListener(type: PeerEvent, listener: (event: any) => void): void
  removeEventListener(type: PeerEvent, listener: (event: any) => void): void
}

/**
 * `RTCConfiguration` as the offer's `config` gives it (section 2.4).
 *
 * @category models
 * @since 0.1.0
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
 * @since 0.1.0
 */
export class PeerConnection extends Context.Service<PeerConnection, {
  /** Named in `connect.environment`, such as `Node.js 24.21.0, werift`. */
  readonly environment: string
  /**
   * Calls that may be under way at a time, for an implementation that stalls, or
   * does not tell what it has buffered, when many messages are. A call that has
   * waited for its response for a quarter of a second is no longer counted, so that
   * no slow method holds up the others. The option of the same name of `SoraRpc`
   * takes its place. Default: no limit.
   */
  readonly maxInFlight?: number | undefined
  /** A peer connection that is closed with the scope. Not connected to anything yet. */
  readonly make: (configuration: Configuration) => Effect.Effect<PeerConnectionLike, never, Scope.Scope>
}>()("effect-sora-rpc/PeerConnection") {}

/**
 * `PeerConnection` through a constructor that follows the W3C API: libwebrtc on
 * Node (`@roamhq/wrtc`), the polyfill of `node-datachannel`, a page's own.
 * `configuration` is laid over what the offer says.
 *
 * ```ts
 * import wrtc from "@roamhq/wrtc"
 *
 * const Libwebrtc = PeerConnection.layerConstructor(wrtc.RTCPeerConnection, {
 *   environment: "Node.js, @roamhq/wrtc",
 *   maxInFlight: 64
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConstructor = (
  RTCPeerConnection: new(configuration: any) => PeerConnectionLike,
  options: {
    /** Named in `connect.environment`. */
    readonly environment: string
    /** Of the service, at least 1. `@roamhq/wrtc` needs one: 64 does well. */
    readonly maxInFlight?: number | undefined
    /** Members of `RTCConfiguration`, or of the implementation's own. */
    readonly configuration?: Readonly<Record<string, unknown>> | undefined
  }
): Layer.Layer<PeerConnection> =>
  Layer.succeed(PeerConnection, {
    environment: options.environment,
    maxInFlight: options.maxInFlight,
    make: (configuration) =>
      Effect.acquireRelease(
        Effect.sync(() =>
          new RTCPeerConnection({
            ...configuration,
            ...options.configuration
          })
        ),
        (peer) => Effect.promise(async () => peer.close())
      )
  })
