/**
 * One `RpcChannel` through many connections: interrupted while there is none,
 * ended when there will be no other.
 */
import type { RpcChannel } from "../RpcChannel.ts"
import { type DisconnectReason, Unavailable } from "../SoraRpcError.ts"
import { makeCore } from "./channel.ts"

/** @internal */
export interface ReconnectingChannel {
  readonly channel: RpcChannel
  /** Frames go over `next` from now on, until it ends. */
  readonly attach: (next: RpcChannel) => void
  readonly end: (reason: DisconnectReason) => void
}

/**
 * `isFinal` tells whether the end of a connection is the end of all.
 *
 * @internal
 */
export const make = (isFinal: (reason: DisconnectReason) => boolean): ReconnectingChannel => {
  let current: RpcChannel | undefined
  const core = makeCore(() => {
    current = undefined
  })
  return {
    end: core.end,
    attach(next) {
      next.listenUnsafe({
        onFrame: (frame) => core.listener()?.onFrame(frame),
        onMalformed: (detail) => core.listener()?.onMalformed(detail),
        onWritable: () => core.listener()?.onWritable(),
        onInterrupted: (reason) => core.listener()?.onInterrupted(reason),
        onEnd(reason) {
          current = undefined
          if (isFinal(reason)) core.end(reason)
          else core.listener()?.onInterrupted(reason)
        }
      })
      current = next
      core.listener()?.onWritable()
    },
    channel: {
      listenUnsafe: core.listenUnsafe,
      isWritable: () => current?.isWritable() ?? false,
      sendUnsafe: (frame) => current?.sendUnsafe(frame) ?? (current === undefined ? interrupted : undefined)
    }
  }
}

const interrupted = new Unavailable({ detail: "the connection is being made again" })
