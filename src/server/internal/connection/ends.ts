/**
 * How a connection ends: the codes and reasons of Sora's Close frames
 * (`sora-protocol.md` section 2.11).
 */

/** The code of every signaling failure (section 2.11). */
export const SignalingFailure = 4490

/** How a connection ends: code and reason of the WebSocket's Close. */
export interface End {
  readonly code: number
  readonly reason: string
  /** Whether a `close` message may go before it: only for ends that the server decides on. */
  readonly announce?: boolean
  /** A fault: nothing is closed in order (`abrupt`), or at all (`silent`). */
  readonly manner?: "abrupt" | "silent"
}

export const invalidMessage: End = { code: SignalingFailure, reason: "INVALID-MESSAGE" }
export const internalError: End = { code: SignalingFailure, reason: "INTERNAL-ERROR" }
export const timedOut: End = { code: SignalingFailure, reason: "TIMEOUT" }
/** A guess: what Sora does with a client that takes nothing is not known. */
export const bufferOverflow: End = { code: SignalingFailure, reason: "BUFFER-OVERFLOW" }
export const typeDisconnect: End = { code: 1000, reason: "TYPE-DISCONNECT" }
export const faultInjected: End = { code: SignalingFailure, reason: "FAULT-INJECTED" }

/** A Close frame holds 123 bytes of reason, and `ws` throws at more. */
export const closeReason = (reason: string): string => {
  const bytes = Buffer.from(reason)
  // Cut between characters: in UTF-8 the bytes after the first of a character begin with the bits 10.
  let length = Math.min(bytes.length, 123)
  while (length < bytes.length && (bytes[length]! & 0xc0) === 0x80) length--
  return bytes.toString("utf8", 0, length)
}
