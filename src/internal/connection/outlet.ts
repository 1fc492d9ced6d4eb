/**
 * An open DataChannel of the application, as messages are handed to it.
 */
import { ClientFault } from "../../DisconnectReason.ts"
import type { DataChannelLike } from "../../PeerConnection.ts"
import { NotOpen } from "../../SoraMessaging.ts"
import { PayloadTooLarge } from "../../SoraRpcError.ts"
import { DefaultHighWaterMark } from "../rpc/channel.ts"
import { pack } from "../signaling/framing.ts"
import type { Event } from "./state.ts"

/** @internal */
export interface Outlet {
  /** Not while too much is buffered, nor when it has closed: its end is about to be told. */
  readonly isWritable: () => boolean
  /** Why the message was not sent, when it was not. */
  readonly send: (data: string | Uint8Array) => PayloadTooLarge | NotOpen | undefined
}

/** @internal */
export const make = (channel: DataChannelLike, { compress, maxBytes, post }: {
  readonly compress: boolean
  readonly maxBytes: number
  readonly post: (event: Event) => void
}): Outlet => {
  channel.bufferedAmountLowThreshold = DefaultHighWaterMark >> 1
  return {
    isWritable() {
      try {
        return channel.readyState === "open" && channel.bufferedAmount < DefaultHighWaterMark
      } catch (cause) {
        post(new ClientFault({ cause }))
        return false
      }
    },
    send(data) {
      try {
        const bytes = pack(data, compress)
        if (bytes.length > maxBytes) return new PayloadTooLarge({ bytes: bytes.length, maxBytes })
        channel.send(bytes)
      } catch (cause) {
        return new NotOpen({ detail: "the DataChannel refused the message", cause })
      }
      return undefined
    }
  }
}
