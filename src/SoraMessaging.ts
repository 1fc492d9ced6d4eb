/**
 * Messages of the application, on DataChannels of its own: labels that begin
 * with `#`, asked for with the option `dataChannels` of a connection and had by
 * `connection.messaging(label)`. Sora relays what one connection sends to the
 * others of its channel that asked for the label (`sora-protocol.md` sections 3.1
 * and 3.6).
 *
 * @since 0.1.0
 * @module
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { type Disconnected, PayloadTooLarge } from "./SoraRpcError.ts"

/**
 * One message that arrived, inflated where the offer says `compress` of its
 * label.
 *
 * @category models
 * @since 0.1.0
 */
export interface Message {
  /** What was sent, without the header. Of a text it is the UTF-8. Shared by all subscribers: do not write to it. */
  readonly data: Uint8Array
  /** Who sent it, where the label has the `header` `[{ type: "sender_connection_id" }]`. */
  readonly senderConnectionId?: string | undefined
}

const decoder = new TextDecoder()

/**
 * A message as text. What is no UTF-8 becomes U+FFFD.
 *
 * ```ts
 * chat.messages.pipe(Stream.map(SoraMessaging.text))
 * ```
 *
 * @category conversions
 * @since 0.1.0
 */
export const text = (message: Message): string => decoder.decode(message.data)

/**
 * How messages of a label are sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * What `send` does while a connection that broke is made again: waits for the
   * new one (`"wait"`), without a limit of its own, or fails at once with
   * `Disconnected` (`"fail"`). Default `"wait"`.
   */
  readonly whenDisconnected?: "wait" | "fail" | undefined
  /**
   * Messages of the label that may wait to be sent, of all who send on it; one more
   * fails with `Unavailable`. Default 65,536.
   */
  readonly maxQueued?: number | undefined
}

/**
 * The messages of one label, through all connections.
 *
 * @category models
 * @since 0.1.0
 */
export interface Messaging {
  readonly label: string
  /**
   * What the others send, in the order in which it arrived. A new subscriber gets
   * the latest 64 messages first; one that falls 1,024 behind loses the oldest. Goes
   * on through reconnects, and ends when the connection does for good. Nothing comes
   * on a label whose direction is `sendonly`.
   *
   * What is no message of the label (broken zlib, shorter than its header, over
   * `maxInflatedBytes`) is dropped and counted (`sora.client.messages.dropped`).
   */
  readonly messages: Stream.Stream<Message>
  /**
   * Sends bytes, or a text as UTF-8; deflated where the offer says so. Waits while
   * 65,536 bytes or more are buffered, first come first served, and completes when
   * the message is handed to the network. Nothing tells whether it arrived.
   *
   * The bytes are read when they are handed over: do not change them before.
   * Interrupted while it waits, nothing is sent. Fails with `Disconnected` when the
   * connection ends before the message was handed over; then nothing was sent.
   */
  readonly send: (data: string | Uint8Array) => Effect.Effect<void, MessagingError | Disconnected>
}

/**
 * The label is not in the connection's option `dataChannels`. `labels` are those
 * that are.
 *
 * @category reasons
 * @since 0.1.0
 */
export class UnknownLabel extends Schema.TaggedError<UnknownLabel>()("UnknownLabel", {
  labels: Schema.Array(Schema.String)
}) {
  override get message() {
    const asked = this.labels.length === 0 ? "which has no labels" : `which has ${this.labels.join(", ")}`
    return `not in the option dataChannels, ${asked}`
  }
}

/**
 * Nothing can be sent on the label: the direction that was asked for is
 * `recvonly`.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ReceiveOnly extends Schema.TaggedError<ReceiveOnly>()("ReceiveOnly", {}) {
  override get message() {
    return "its direction is recvonly"
  }
}

/**
 * There is no such DataChannel on this connection, because the server offered
 * none, or it refused the message.
 *
 * @category reasons
 * @since 0.1.0
 */
export class NotOpen extends Schema.TaggedError<NotOpen>()("NotOpen", {
  /** What stood in the way, for a person to read. */
  detail: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message() {
    return this.detail
  }
}

/**
 * Too many messages of the label wait to be sent already.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {
  /** What stood in the way, for a person to read. */
  detail: Schema.String
}) {
  override get message() {
    return this.detail
  }
}

/**
 * Why a message was not sent. `PayloadTooLarge` is a message that has, as it
 * would be sent, more bytes than Sora's 262,144 or than the server's SDP allows.
 *
 * @category reasons
 * @since 0.1.0
 */
export const MessagingErrorReason = /* @__PURE__ */ Schema.Union([
  UnknownLabel,
  ReceiveOnly,
  NotOpen,
  Unavailable,
  PayloadTooLarge
])

/**
 * Why a message was not sent.
 *
 * @category reasons
 * @since 0.1.0
 */
export type MessagingErrorReason = typeof MessagingErrorReason.Type

/**
 * There are no messages of this label, or one was not sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class MessagingError extends Schema.TaggedError<MessagingError>()("MessagingError", {
  label: Schema.String,
  reason: MessagingErrorReason
}) {
  override get message(): string {
    return `${this.label}: ${this.reason.message}`
  }
  /** The `reason`. */
  override get cause(): MessagingErrorReason {
    return this.reason
  }
}
