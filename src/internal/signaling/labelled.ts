/**
 * The DataChannels of a connection by their labels, as both of its ends handle
 * them: listened to, written to, and let go. A WebRTC implementation may throw
 * at any of it.
 */
import type { DataChannelLike } from "../dataChannel.ts"
import { encodeMessage } from "../rpc/channel.ts"

/**
 * A channel, and whether the offer says `compress` of its label (section 3.3).
 *
 * @internal
 */
export interface Labelled {
  readonly channel: DataChannelLike
  readonly compress: boolean
}

/**
 * Whether the channel took the data. What is not open takes none, and neither
 * does one that throws.
 *
 * @internal
 */
export const sendData = (to: Labelled | undefined, data: string | Uint8Array<ArrayBuffer>): boolean => {
  try {
    // werift takes data after close and drops it.
    if (to === undefined || to.channel.readyState !== "open") return false
    to.channel.send(data)
    return true
  } catch {
    return false
  }
}

/**
 * {@link sendData} of a text, in the form of the label.
 *
 * @internal
 */
export const sendText = (to: Labelled | undefined, text: string): boolean =>
  to !== undefined && sendData(to, encodeMessage(text, to.compress))
