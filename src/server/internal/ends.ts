/**
 * How a connection can end: the codes and reasons of Sora's Close frames
 * (`sora-protocol.md` section 2.11).
 */
import { CloseCode, CloseReason, MaxCloseReasonBytes } from "../../internal/protocol.ts"

/** How a connection ends: code and reason of the WebSocket's Close. */
export interface End {
  readonly code: number
  readonly reason: string
  /** Whether a `close` message may go before it: only for ends that the server decides on. */
  readonly announce?: boolean
  /** A fault: nothing is closed in order (`abrupt`), or at all (`silent`). */
  readonly manner?: "abrupt" | "silent"
}

const failed = (reason: string): End => ({ code: CloseCode.SignalingFailure, reason })
const decided = (code: number, reason: string): End => ({ code, reason, announce: true })

export const invalidMessage: End = failed(CloseReason.InvalidMessage)
export const internalError: End = failed(CloseReason.InternalError)
export const timedOut: End = failed(CloseReason.Timeout)
export const pongMissing: End = failed(CloseReason.PongTimeout)
export const refusedFor = failed
/** A guess: what Sora does with a client that takes nothing is not known. */
export const bufferOverflow: End = failed("BUFFER-OVERFLOW")
export const faultInjected: End = failed("FAULT-INJECTED")
export const typeDisconnect: End = { code: CloseCode.Normal, reason: CloseReason.TypeDisconnect }
/** The client has gone already: nobody reads these. */
export const socketGone: End = { code: CloseCode.Normal, reason: "" }
export const peerGone: End = { code: CloseCode.Normal, reason: "PEER-GONE" }
export const disconnectedApi: End = decided(CloseCode.Normal, CloseReason.DisconnectedApi)
export const lifetimeExpired: End = decided(CloseCode.Normal, CloseReason.LifetimeExpired)
export const serverStopped: End = decided(CloseCode.GoingAway, "SERVER-STOPPED")

/** A Close frame holds so many bytes of reason, and `ws` throws at more. */
export const closeReason = (reason: string): string => {
  const bytes = Buffer.from(reason)
  // Cut between characters: in UTF-8 the bytes after the first of a character begin with the bits 10.
  let length = Math.min(bytes.length, MaxCloseReasonBytes)
  while (length < bytes.length && (bytes[length]! & 0xc0) === 0x80) length--
  return bytes.toString("utf8", 0, length)
}
