/**
 * A DataChannel as calling and connecting both see it, and how it is listened to.
 */

/**
 * The part of `RTCDataChannel` that this library uses. A browser's and werift's
 * both fit.
 *
 * @category models
 */
export interface DataChannelLike {
  readonly label: string
  /** `RTCDataChannelState`: `connecting`, `open`, `closing` or `closed`. */
  readonly readyState: string
  /** Bytes handed to `send` that are not on the network yet. */
  readonly bufferedAmount: number
  /** Bytes at or below which `bufferedamountlow` fires. */
  bufferedAmountLowThreshold: number
  // Method syntax, so that an implementation that takes a narrower type (werift: `Buffer`) fits too.
  send(data: string | Uint8Array): void
  close(): void
  addEventListener(
    type: "open" | "message" | "close" | "error" | "bufferedamountlow",
    listener: (event: any) => void
  ): void
  removeEventListener(
    type: "open" | "message" | "close" | "error" | "bufferedamountlow",
    listener: (event: any) => void
  ): void
}

/** What tells of events: a channel, or a peer connection. */
interface Target<Type extends string> {
  addEventListener(type: Type, listener: (event: any) => void): void
  removeEventListener(type: Type, listener: (event: any) => void): void
}

/**
 * Listens, and returns what takes the listeners off again, which never throws.
 *
 * @internal
 */
export const listen = <Type extends string>(
  target: Target<Type>,
  listeners: { readonly [T in Type]?: (event: any) => void }
): () => void => {
  if ("binaryType" in target) target.binaryType = "arraybuffer"
  const each = Object.entries(listeners) as Array<[Type, (event: any) => void]>
  for (const [type, listener] of each) target.addEventListener(type, listener)
  return () => {
    for (const [type, listener] of each) letGo(() => target.removeEventListener(type, listener))
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
