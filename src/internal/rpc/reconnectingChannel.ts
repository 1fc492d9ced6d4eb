/**
 * One `RpcChannel` through many connections: interrupted while there is none,
 * ended when there will be no other. A connection may come without a channel,
 * when its server opens none; what is sent meanwhile is refused.
 */
import { ChannelClosed, type DisconnectReason, Released } from "../../DisconnectReason.ts"
import type { RpcChannel } from "../../RpcChannel.ts"
import { Unavailable } from "../../SoraRpcError.ts"
import { makeCore } from "./channel.ts"

/** @internal */
export interface ReconnectingChannel {
  readonly channel: RpcChannel
  /** A new connection is up: frames go over its channel from now on, until it ends. */
  readonly attach: (next: RpcChannel | undefined) => void
  /** {@link attach} for a connection that is up already, and has opened another channel in place of its first. */
  readonly replace: (next: RpcChannel) => void
  /** The connection ended; `attach` may follow. A channel that was attached says so by itself. */
  readonly interrupt: (reason: DisconnectReason) => void
  readonly end: (reason: DisconnectReason) => void
  /** Lets go of the connection's channel, so that another may attach to it, and ends. */
  readonly release: () => void
  /** Why nothing can be sent, and will not be before there is another connection. */
  readonly obstacle: () => Unavailable | undefined
}

/**
 * `isFinal` tells whether the end of a connection is the end of all.
 *
 * @internal
 */
export const make = (isFinal: (reason: DisconnectReason) => boolean): ReconnectingChannel => {
  let current = interrupted
  /** Why there is no connection now, of one that there was. */
  let brokenBy: DisconnectReason | undefined
  const core = makeCore(() => {
    current = interrupted
  })
  let detach = () => {}
  const interrupt = (reason: DisconnectReason) => {
    if (current === interrupted) return
    current = interrupted
    brokenBy = reason
    if (isFinal(reason)) core.end(reason)
    else core.onInterrupted(reason)
  }
  const attach = (next: RpcChannel = none) => {
    const last = current
    let endedBy: DisconnectReason | undefined
    detach = next.listenUnsafe({
      ...core,
      onEnd: (reason) => {
        endedBy = reason
        if (current === next) interrupt(reason)
      }
    })
    current = next
    brokenBy = undefined
    // It was up, and has ended since: it has said so at once, before it was the current one.
    if (endedBy !== undefined) return interrupt(endedBy)
    // What was sent over another channel is not answered any more.
    if (last !== interrupted && last !== none) core.onInterrupted(new ChannelClosed({ label: "rpc" }))
    core.onWritable()
  }
  return {
    end: core.end,
    release() {
      detach()
      core.end(new Released())
    },
    obstacle: () => current === none ? noChannel : undefined,
    interrupt,
    attach,
    replace(next) {
      // While one is being made, it is attached with everything else.
      if (current !== interrupted) attach(next)
    },
    channel: {
      listenUnsafe(listener) {
        const detach = core.listenUnsafe(listener)
        if (brokenBy !== undefined) core.onInterrupted(brokenBy)
        return detach
      },
      isWritable: () => current.isWritable(),
      sendUnsafe: (frame) => current.sendUnsafe(frame)
    }
  }
}

/** In place of a channel: refuses what is sent. */
const refusing = (refusal: Unavailable, isWritable: boolean): RpcChannel => ({
  listenUnsafe: () => () => {},
  isWritable: () => isWritable,
  sendUnsafe: () => refusal
})

const noChannel = new Unavailable({ detail: "the server opened no rpc channel" })

const none = refusing(noChannel, true)

const interrupted = refusing(new Unavailable({ detail: "the connection is being made again" }), false)
