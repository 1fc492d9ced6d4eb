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
    // werift takes data after close and drops it, and an empty message breaks a channel for good.
    if (to === undefined || to.channel.readyState !== "open" || data.length === 0) return false
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

/** What is heard of a channel. */
interface Listeners {
  readonly open: () => void
  readonly message: (event: { readonly data: unknown }) => void
  readonly close: () => void
  readonly error?: () => void
}

/**
 * Listens to a channel, and returns what takes the listeners off again, which
 * never throws.
 *
 * @internal
 */
export const listen = (channel: DataChannelLike, listeners: Listeners): () => void => {
  if ("binaryType" in channel) (channel as { binaryType: string }).binaryType = "arraybuffer"
  const each = Object.entries(listeners) as ReadonlyArray<
    ["open" | "message" | "close" | "error", (event: any) => void]
  >
  for (const [type, listener] of each) channel.addEventListener(type, listener)
  return () => {
    for (const [type, listener] of each) letGo(() => channel.removeEventListener(type, listener))
  }
}

/**
 * Takes a listener off, or closes: what fails there has no other consequence.
 *
 * @internal
 */
export const letGo = (run: () => void): void => {
  try {
    run()
  } catch {
    // as above
  }
}
