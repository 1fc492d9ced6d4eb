/**
 * The transport that `SoraRpc` needs: one open `rpc` DataChannel that carries
 * whole JSON-RPC texts. A channel ends once, for one `DisconnectReason`, and
 * stays ended.
 *
 * The methods of a channel are plain functions, because a frame is answered
 * from the listener that received it; `Effect` begins one level up.
 *
 * @since 0.1.0
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { ChannelClosed, type DisconnectReason, Released } from "./DisconnectReason.ts"
import { type DataChannelLike, listen } from "./internal/dataChannel.ts"
import * as Channel from "./internal/rpc/channel.ts"
import type { Options, RpcChannel } from "./internal/rpc/channel.ts"
import { Disconnected } from "./SoraRpcError.ts"

/**
 * Sora's limit of a DataChannel message, in bytes of the encoded frame
 * (`sora-protocol.md` section 3.7).
 *
 * @category constants
 * @since 0.1.0
 */
export const MaxMessageBytes: number = Channel.MaxMessageBytes

export type {
  /**
   * What the owner of a channel is told.
   *
   * @category models
   * @since 0.1.0
   */
  Listener,
  /**
   * How frames stand on the wire.
   *
   * @category models
   * @since 0.1.0
   */
  Options,
  /**
   * One open channel for JSON-RPC frames.
   *
   * @category models
   * @since 0.1.0
   */
  RpcChannel
} from "./internal/rpc/channel.ts"

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
 * @since 0.1.0
 */
export const fromDataChannel = (
  channel: DataChannelLike,
  options?: Options
): Effect.Effect<RpcChannel, Disconnected, Scope.Scope> =>
  Effect.andThen(
    whenOpen(channel),
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => endingWith(channel, Channel.fromDataChannel(channel, options))),
        ({ end }) => Effect.sync(() => end(new Released()))
      ),
      ({ channel }) => channel
    )
  )

/** Ends it when the DataChannel does. */
const endingWith = (dataChannel: DataChannelLike, { channel, end }: Channel.Ended<RpcChannel>) => {
  const { label } = dataChannel
  const endAndDetach = (reason: DisconnectReason) => {
    detach()
    end(reason)
  }
  const detach = listen(dataChannel, {
    close: () => endAndDetach(new ChannelClosed({ label })),
    error: () => endAndDetach(new ChannelClosed({ label, detail: "it reported an error" }))
  })
  return { channel, end: endAndDetach }
}

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
 * @since 0.1.0
 */
export const makePair: Effect.Effect<readonly [RpcChannel, RpcChannel], never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.sync(Channel.makePair),
    ({ end }) => Effect.sync(() => end(new Released()))
  ),
  ({ ends }) => ends
)
