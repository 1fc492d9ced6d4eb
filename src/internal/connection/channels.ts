/**
 * The DataChannels of a connection: who listens to them, and what is sent on
 * them by label. Frames of `rpc` go straight to its `RpcChannel`, messages of
 * the application's own channels to whoever listens to them; everything else is
 * an event.
 */
import { ChannelClosed, ClientFault, type DisconnectReason } from "../../DisconnectReason.ts"
import type { DataChannelLike } from "../../PeerConnection.ts"
import type { RpcChannel } from "../../RpcChannel.ts"
import type * as Signaling from "../../Signaling.ts"
import type { Message } from "../../SoraMessaging.ts"
import { Unavailable } from "../../SoraRpcError.ts"
import { listen } from "../dataChannel.ts"
import { MaxSignalingBytes } from "../limits.ts"
import { isUserLabel } from "../protocol.ts"
import * as Channel from "../rpc/channel.ts"
import { headerOf, NoHeader, split, unpack } from "../signaling/framing.ts"
import { type Labelled, sendText } from "../signaling/labelled.ts"
import type { Listener } from "./messaging.ts"
import * as Outlet from "./outlet.ts"
import type { Event } from "./state.ts"

/** @internal */
export interface Channels {
  /** For a channel that the server opens under this offer. */
  readonly attach: (channel: DataChannelLike, offer: Signaling.Offer) => void
  /** False when the label has no open channel. */
  readonly send: (label: string, text: string) => boolean
  /** The `rpc` channel, once it is open. */
  readonly rpc: () => RpcChannel | undefined
  readonly endRpc: (reason: DisconnectReason) => void
  /** Those of the application that are open, by label. */
  readonly outlets: () => ReadonlyMap<string, Outlet.Outlet>
  /** Takes all listeners off. */
  readonly release: () => void
}

/** What Sora takes and its SDP allows, in bytes (RFC 8841: 65,536 when it does not say, 0 is no limit). */
const maxMessageBytes = ({ sdp }: Signaling.Offer) => {
  const allowed = Number(/^a=max-message-size:(\d+)/m.exec(sdp)?.[1] ?? 65_536) || Infinity
  return Math.min(allowed, Channel.MaxMessageBytes)
}

/** @internal */
export const make = (options: {
  readonly post: (event: Event) => void
  /** Of each `rpc` channel that opens; the one before it ends right after. */
  readonly onRpc: (channel: RpcChannel) => void
  readonly messaging: Listener
  readonly maxInflatedBytes: number | undefined
}): Channels => {
  const { maxInflatedBytes, messaging, onRpc, post } = options
  const channels = new Map<string, Labelled>()
  const outlets = new Map<string, Outlet.Outlet>()
  const listeners: Array<() => void> = []
  let rpc: Channel.Ended<RpcChannel> | undefined

  const endRpc = (reason: DisconnectReason) => rpc?.end(reason)

  const attach = (channel: DataChannelLike, offer: Signaling.Offer) => {
    const { label } = channel
    const offered = offer.dataChannels?.find((offered) => offered.label === label)
    const compress = offered?.compress ?? false
    const isOwn = isUserLabel(label)
    const header = isOwn ? headerOf(offered?.header) : NoHeader
    const previous = channels.get(label)
    channels.set(label, { channel, compress })
    const current = () => channels.get(label)?.channel === channel

    let isOpen = false
    const open = heard(post, () => {
      // Some implementations hand it over open, and say so again.
      if (isOpen || !current()) return
      isOpen = true
      if (label === "rpc") {
        const last = rpc
        rpc = Channel.fromDataChannel(channel, {
          compress,
          maxInflatedBytes,
          maxMessageBytes: maxMessageBytes(offer)
        })
        onRpc(guarded(rpc.channel, post))
        last?.end(new ChannelClosed({ label }))
      } else if (isOwn) {
        const outlet = Outlet.make(channel, { compress, maxBytes: maxMessageBytes(offer), post })
        outlets.set(label, outlet)
        messaging.opened(label, outlet)
      }
      post({ _tag: "Channel", label, is: "open" })
    })
    const message = ({ data }: { readonly data: unknown }) => {
      if (label === "rpc") return
      if (isOwn) return own(data)
      let text = ""
      try {
        text = Channel.decodeMessage(data, compress, MaxSignalingBytes)
      } catch {
        // Told as what it is: no signaling message.
      }
      post({ _tag: "ChannelMessage", label, text })
    }
    const own = (data: unknown) => {
      let message: Message
      try {
        message = split(unpack(data, compress, maxInflatedBytes), header)
      } catch {
        return messaging.malformed(label)
      }
      messaging.message(label, message)
    }
    const closed = (reason: ChannelClosed) => {
      if (!current()) return
      channels.delete(label)
      outlets.delete(label)
      post(reason)
    }
    post({ _tag: "Channel", label, is: "connecting" })
    listeners.push(
      listen(channel, {
        open,
        message,
        bufferedamountlow: () => messaging.writable(label),
        close: () => closed(new ChannelClosed({ label })),
        error: () => closed(new ChannelClosed({ label, detail: "it reported an error" }))
      })
    )
    // A label that comes again replaces the first one (section 3.2).
    previous?.channel.close()
    if (channel.readyState === "open") open()
  }

  return {
    attach: heard(post, attach),
    send: (label, text) => sendText(channels.get(label), text),
    rpc: () => rpc && guarded(rpc.channel, post),
    endRpc,
    outlets: () => outlets,
    release() {
      for (const detach of listeners) detach()
    }
  }
}

/**
 * A listener for an event of the WebRTC implementation. What it throws there
 * ends the connection: thrown back, it would be lost, or the end of the process.
 *
 * @internal
 */
export const heard =
  <Args extends Array<any>>(post: (event: Event) => void, listener: (...args: Args) => void) => (...args: Args) => {
    try {
      listener(...args)
    } catch (cause) {
      post(new ClientFault({ cause }))
    }
  }

/** What throws in the channel when the RPC client asks it is the end of the connection, and not of a call. */
const guarded = (channel: RpcChannel, post: (event: Event) => void): RpcChannel => {
  const orElse = <A>(get: () => A, instead: () => A): A => {
    try {
      return get()
    } catch (cause) {
      post(new ClientFault({ cause }))
      return instead()
    }
  }
  return {
    ...channel,
    isWritable: () => orElse(channel.isWritable, () => false),
    sendUnsafe: (frame) =>
      orElse(() => channel.sendUnsafe(frame), () => new Unavailable({ detail: "the channel is closed" }))
  }
}
