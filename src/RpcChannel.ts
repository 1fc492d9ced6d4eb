/**
 * The transport that `SoraRpc` needs: one open `rpc` DataChannel that carries
 * whole JSON-RPC texts. A channel ends once, for one `DisconnectReason`, and
 * stays ended.
 *
 * The methods of a channel are plain functions, because a frame is answered
 * from the listener that received it; `Effect` begins one level up.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { ChannelClosed, type DisconnectReason, Released } from "./DisconnectReason.ts"
import * as Channel from "./internal/rpc/channel.ts"
import type { DataChannelLike } from "./PeerConnection.ts"
import { Disconnected, type PayloadTooLarge, type Unavailable } from "./SoraRpcError.ts"

/**
 * Sora's limit of a DataChannel message, in bytes of the encoded frame
 * (`sora-protocol.md` section 3.7).
 *
 * @category constants
 */
export const MaxMessageBytes: number = Channel.MaxMessageBytes

/**
 * What the owner of a channel is told. Called synchronously; what it throws is
 * reported as an uncaught exception and goes no further.
 *
 * @category models
 */
export interface Listener {
  /** A frame arrived, decompressed and decoded. */
  readonly onFrame: (frame: string) => void
  /** Frames can be sent again after {@link RpcChannel.isWritable} was false, or after an interruption. */
  readonly onWritable: () => void
  /**
   * The connection broke and is being made again: nothing that was sent will be
   * answered, and nothing can be sent until `onWritable`.
   */
  readonly onInterrupted: (reason: DisconnectReason) => void
  /** A message arrived that is no text: broken zlib, over `maxInflatedBytes`, not UTF-8. It is lost. */
  readonly onMalformed: (detail: string) => void
  /** The channel ended. Nothing follows. */
  readonly onEnd: (reason: DisconnectReason) => void
}

/**
 * One open channel for JSON-RPC frames.
 *
 * @category models
 */
export interface RpcChannel {
  /**
   * Hands one frame to the network; returns why it could not, and then nothing
   * was sent. Does not wait for buffer space: see `isWritable`.
   */
  readonly sendUnsafe: (frame: string) => PayloadTooLarge | Unavailable | undefined
  /** False while more is buffered than the channel's high-water mark. */
  readonly isWritable: () => boolean
  /**
   * Attaches the one owner of the channel, and returns what detaches it. An
   * owner of a channel that has ended is told so at once. Throws
   * `InvalidOptions` when the channel has an owner: two would answer each
   * other's ids.
   */
  readonly listenUnsafe: (listener: Listener) => () => void
}

/**
 * How frames stand on the wire.
 *
 * @category models
 */
export interface Options {
  /** The offer's `compress` of the label: each message is one zlib stream. Default false. */
  readonly compress?: boolean | undefined
  /**
   * Form of uncompressed frames that are sent: text, as `sora-js-sdk` does, or
   * binary, as the native SDKs do. Both are accepted. Default `"text"`.
   */
  readonly frames?: "text" | "binary" | undefined
  /** Largest encoded frame to send, in bytes. Default and upper limit: {@link MaxMessageBytes}. */
  readonly maxMessageBytes?: number | undefined
  /** Largest frame to receive, in bytes once inflated; a larger one is malformed. Default 1,048,576. */
  readonly maxInflatedBytes?: number | undefined
  /** Bytes buffered above which the channel is not writable. Default 65,536. */
  readonly highWaterMark?: number | undefined
}

/**
 * A channel over an `RTCDataChannel` (of a browser, werift, or any other that
 * follows the W3C API). Waits until it is open; fails with `Disconnected` when
 * it closes instead.
 *
 * The DataChannel stays yours: closing the scope detaches from it and ends the
 * `RpcChannel` with `Released`, but does not close the DataChannel, because Sora
 * ends a connection that loses one.
 *
 * @category constructors
 */
export const fromDataChannel = (
  channel: DataChannelLike,
  options?: Options
): Effect.Effect<RpcChannel, Disconnected, Scope.Scope> =>
  Effect.andThen(
    whenOpen(channel),
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => Channel.fromDataChannel(channel, options)),
        ({ end }) => Effect.sync(() => end(new Released()))
      ),
      ({ channel }) => channel
    )
  )

const whenOpen = (channel: DataChannelLike): Effect.Effect<void, Disconnected> =>
  Effect.callback((resume) => {
    if (channel.readyState === "open") return resume(Effect.void)
    const closed = new Disconnected({ reason: new ChannelClosed({ label: channel.label }) })
    if (channel.readyState !== "connecting") return resume(closed)
    const onOpen = () => done(Effect.void)
    const onClose = () => done(closed)
    const detach = () => {
      channel.removeEventListener("open", onOpen)
      channel.removeEventListener("close", onClose)
    }
    const done = (effect: Effect.Effect<void, Disconnected>) => {
      detach()
      resume(effect)
    }
    channel.addEventListener("open", onOpen)
    channel.addEventListener("close", onClose)
    return Effect.sync(detach)
  })

/**
 * Two ends of a channel in memory: what one sends, the other receives on the
 * next microtask, in order. Closing the scope ends both with `Released`.
 *
 * @category constructors
 */
export const makePair: Effect.Effect<readonly [RpcChannel, RpcChannel], never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.sync(Channel.makePair),
    ({ end }) => Effect.sync(() => end(new Released()))
  ),
  ({ ends }) => ends
)
