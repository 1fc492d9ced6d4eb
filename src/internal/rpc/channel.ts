/**
 * The two implementations of `RpcChannel`. Each is made together with `end`,
 * by which its owner (a scope, a connection) says why it is over.
 */
import type { DisconnectReason } from "../../DisconnectReason.ts"
import { InvalidOptions, PayloadTooLarge, Unavailable } from "../../SoraRpcError.ts"
import { type DataChannelLike, listen } from "../dataChannel.ts"
import { isolated, report } from "../defects.ts"
import { MaxMessageBytes } from "../protocol.ts"
import { compression, DefaultMaxInflatedBytes } from "./compression.ts"

export {
  /** @internal */
  MaxMessageBytes
}

/**
 * Bytes buffered above which nothing more is sent. werift and Chromium alike send a frame of this size without a second
 * round trip.
 *
 * @internal
 */
export const DefaultHighWaterMark = 65_536

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true })

/**
 * What the owner of a channel is told; only frames must be listened to. Called
 * synchronously; what it throws is reported as an uncaught exception and goes no
 * further.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listener {
  /** A frame arrived, decompressed and decoded. */
  readonly onFrame: (frame: string) => void
  /** Frames can be sent again after {@link RpcChannel.isWritable} was false, or after an interruption. */
  readonly onWritable?: (() => void) | undefined
  /**
   * The connection broke and is being made again: nothing that was sent will be
   * answered, and nothing can be sent until `onWritable`.
   */
  readonly onInterrupted?: ((reason: DisconnectReason) => void) | undefined
  /** A message arrived that is no text: broken zlib, over `maxInflatedBytes`, not UTF-8. It is lost. */
  readonly onMalformed?: ((detail: string) => void) | undefined
  /** The channel ended. Nothing follows. */
  readonly onEnd?: ((reason: DisconnectReason) => void) | undefined
}

/**
 * One open channel for JSON-RPC frames.
 *
 * @category models
 * @since 0.1.0
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
 * @since 0.1.0
 */
export interface Options {
  /** The offer's `compress` of the label: each message is one zlib stream. Default false. */
  readonly compress?: boolean | undefined
  /**
   * Form of uncompressed frames that are sent: text, as `sora-js-sdk` does, or
   * binary, as the native SDKs do. Both are accepted. Default `"text"`.
   */
  readonly frames?: "text" | "binary" | undefined
  /** Largest encoded frame to send, in bytes. Default and upper limit: 262,144. */
  readonly maxMessageBytes?: number | undefined
  /** Largest frame to receive, in bytes once inflated; a larger one is malformed. Default 1,048,576. */
  readonly maxInflatedBytes?: number | undefined
  /** Bytes buffered above which the channel is not writable. Default 65,536. */
  readonly highWaterMark?: number | undefined
}

/**
 * What every channel does with its listener and its end. A listener is told from
 * within the network's own events, which what it throws must not reach.
 *
 * @internal
 */
export const makeCore = (onDetach: () => void) => {
  let listener: Listener | undefined
  let ended: DisconnectReason | undefined
  return {
    ended: () => ended,
    isListening: () => listener !== undefined,
    onFrame(frame: string) {
      try {
        listener?.onFrame(frame)
      } catch (defect) {
        report(defect)
      }
    },
    onMalformed: (detail: string) => isolated(() => listener?.onMalformed?.(detail)),
    onWritable: () => isolated(() => listener?.onWritable?.()),
    onInterrupted: (reason: DisconnectReason) => isolated(() => listener?.onInterrupted?.(reason)),
    end(reason: DisconnectReason) {
      if (ended !== undefined) return
      ended = reason
      isolated(onDetach)
      const last = listener
      listener = undefined
      isolated(() => last?.onEnd?.(reason))
    },
    listenUnsafe(next: Listener) {
      if (listener !== undefined) {
        throw new InvalidOptions({ issue: "this connection's rpc channel is in use by another SoraRpc" })
      }
      if (ended !== undefined) {
        next.onEnd?.(ended)
        return () => {}
      }
      listener = next
      return () => {
        if (listener === next) listener = undefined
      }
    }
  }
}

const gone = (reason: DisconnectReason) => new Unavailable({ detail: `the channel has ended: ${reason.message}` })

/**
 * Size of the text in UTF-8, in bytes, where it is above the limit; without encoding what is surely below it.
 *
 * @internal
 */
export const exceeds = (text: string, maxBytes: number): number | undefined => {
  if (text.length * 3 <= maxBytes) return undefined
  const bytes = encoder.encode(text).byteLength
  return bytes > maxBytes ? bytes : undefined
}

/**
 * The text of a DataChannel message, whichever way its sender wrote it: text or
 * binary, and compressed when the first byte is zlib's and the label says so.
 * Throws when it is none, or larger than `maxBytes` once inflated.
 *
 * @internal
 */
export const decodeMessage = (data: unknown, compress: boolean, maxBytes = DefaultMaxInflatedBytes): string => {
  if (typeof data === "string") return data.length <= maxBytes ? data : tooLarge(maxBytes)
  const bytes = data instanceof ArrayBuffer
    ? new Uint8Array(data)
    : ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : undefined
  if (bytes === undefined) throw new TypeError("neither text nor bytes")
  // A JSON text cannot begin like a zlib stream, whose first byte ends in 8 (RFC 1950, CM).
  const isCompressed = compress && (bytes[0]! & 0x0f) === 8
  if (!isCompressed && bytes.byteLength > maxBytes) return tooLarge(maxBytes)
  return decoder.decode(isCompressed ? compression.inflate(bytes, maxBytes) : bytes)
}

const tooLarge = (maxBytes: number): never => {
  throw new RangeError(`more than ${maxBytes} bytes`)
}

/** @internal */
export const encodeMessage = (
  text: string,
  compress: boolean,
  frames: "text" | "binary" = "text"
): string | Uint8Array<ArrayBuffer> =>
  compress ? compression.deflate(encoder.encode(text)) : frames === "binary" ? encoder.encode(text) : text

/** @internal */
export interface Ended<A> {
  readonly channel: A
  readonly end: (reason: DisconnectReason) => void
}

/**
 * `channel` must be open. Its end is its owner's to tell, who may learn a better
 * reason than that it closed.
 *
 * @internal
 */
export const fromDataChannel = (
  channel: DataChannelLike,
  {
    compress = false,
    frames = "text",
    highWaterMark = DefaultHighWaterMark,
    maxInflatedBytes,
    maxMessageBytes = MaxMessageBytes
  }: Options = {}
): Ended<RpcChannel> => {
  const maxBytes = Math.min(maxMessageBytes, MaxMessageBytes)

  const core = makeCore(() => detach())
  const onMessage = (event: { readonly data: unknown }) => {
    if (!core.isListening()) return
    let frame: string
    try {
      frame = decodeMessage(event.data, compress, maxInflatedBytes)
    } catch (cause) {
      return core.onMalformed(cause instanceof Error ? cause.message : String(cause))
    }
    core.onFrame(frame)
  }
  channel.bufferedAmountLowThreshold = highWaterMark >> 1
  const detach = listen(channel, {
    message: onMessage,
    bufferedamountlow: core.onWritable
  })

  return {
    end: core.end,
    channel: {
      listenUnsafe: core.listenUnsafe,
      // One that has closed is not refused: its end, with the reason, is about to be told.
      isWritable: () => channel.readyState === "open" && channel.bufferedAmount < highWaterMark,
      sendUnsafe(frame) {
        const reason = core.ended()
        if (reason !== undefined) return gone(reason)
        // werift takes data after close and drops it silently.
        if (channel.readyState !== "open") return new Unavailable({ detail: `the channel is ${channel.readyState}` })
        const data = encodeMessage(frame, compress, frames)
        const bytes = typeof data === "string"
          ? exceeds(data, maxBytes)
          : data.byteLength > maxBytes
          ? data.byteLength
          : undefined
        if (bytes !== undefined) return new PayloadTooLarge({ bytes, maxBytes })
        try {
          channel.send(data)
        } catch (cause) {
          return new Unavailable({ detail: "the DataChannel refused the frame", cause })
        }
        return undefined
      }
    }
  }
}

/** @internal */
export const makePair = (): {
  readonly ends: readonly [RpcChannel, RpcChannel]
  readonly end: (reason: DisconnectReason) => void
} => {
  const cores = [makeCore(() => {}), makeCore(() => {})] as const
  const makeEnd = (own: 0 | 1): RpcChannel => {
    const other = cores[own === 0 ? 1 : 0]
    return {
      listenUnsafe: cores[own].listenUnsafe,
      isWritable: () => true,
      sendUnsafe(frame) {
        const reason = cores[own].ended()
        if (reason !== undefined) return gone(reason)
        const bytes = exceeds(frame, MaxMessageBytes)
        if (bytes !== undefined) return new PayloadTooLarge({ bytes, maxBytes: MaxMessageBytes })
        queueMicrotask(() => other.onFrame(frame))
        return undefined
      }
    }
  }
  return {
    ends: [makeEnd(0), makeEnd(1)],
    end(reason) {
      for (const core of cores) core.end(reason)
    }
  }
}
