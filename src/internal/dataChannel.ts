/**
 * A DataChannel as calling and connecting both see it.
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
