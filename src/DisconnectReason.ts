/**
 * Why a connection ended: the `reason` of the `Disconnected` of a call, of the
 * state of a connection, and of a `ConnectionLost`.
 *
 * @since 0.1.0
 * @module
 */
import * as Schema from "effect/Schema"

const EndedBy = {
  /** What happened, for a person to read. */
  detail: Schema.optionalKey(Schema.String)
}

/**
 * The scope that owned the connection was closed by this program.
 *
 * @category disconnect reasons
 * @since 0.1.0
 */
export class Released extends Schema.TaggedError<Released>()("Released", {}) {
  override get message() {
    return "the scope of the connection was closed"
  }
}

/**
 * The server ended the connection: the Close frame of the WebSocket or the
 * `close` message on the `signaling` DataChannel, with its code and reason,
 * such as 1000 `DISCONNECTED-API` or 4490 `INTERNAL-ERROR`.
 *
 * @category disconnect reasons
 * @since 0.1.0
 */
export class ServerClosed extends Schema.TaggedError<ServerClosed>()("ServerClosed", {
  code: Schema.Int,
  reason: Schema.String
}) {
  override get message() {
    return `the server closed the connection: ${this.code} ${this.reason}`.trimEnd()
  }
}

/**
 * The WebSocket ended without a Close frame while the connection needed it.
 *
 * @category disconnect reasons
 * @since 0.1.0
 */
export class SocketLost extends Schema.TaggedError<SocketLost>()("SocketLost", EndedBy) {
  override get message() {
    return this.detail === undefined ? "the WebSocket was lost" : `the WebSocket was lost: ${this.detail}`
  }
}

/**
 * A DataChannel closed or failed. Sora treats a connection that lost any of
 * its channels as ended.
 *
 * @category disconnect reasons
 * @since 0.1.0
 */
export class ChannelClosed extends Schema.TaggedError<ChannelClosed>()("ChannelClosed", {
  label: Schema.String,
  ...EndedBy
}) {
  override get message() {
    return `the DataChannel "${this.label}" closed${this.detail === undefined ? "" : `: ${this.detail}`}`
  }
}

/**
 * The peer connection failed, or stayed `disconnected` for too long.
 *
 * @category disconnect reasons
 * @since 0.1.0
 */
export class PeerFailed extends Schema.TaggedError<PeerFailed>()("PeerFailed", {
  state: Schema.String
}) {
  override get message() {
    return `the peer connection is ${this.state}`
  }
}

/**
 * The server sent a `redirect` to a connection that had its offer already.
 *
 * @category disconnect reasons
 * @since 0.1.0
 */
export class Redirected extends Schema.TaggedError<Redirected>()("Redirected", {}) {
  override get message() {
    return "the server redirected the connection"
  }
}

/**
 * Something on this side broke: the WebRTC implementation or this library threw
 * where it should not have.
 *
 * @category disconnect reasons
 * @since 0.1.0
 */
export class ClientFault extends Schema.TaggedError<ClientFault>()("ClientFault", {
  cause: Schema.Defect()
}) {
  override get message() {
    return `the client failed${this.cause instanceof Error ? `: ${this.cause.message}` : ""}`
  }
}

/**
 * Why a connection ended.
 *
 * @category disconnect reasons
 * @since 0.1.0
 */
export const DisconnectReason = Schema.Union([
  Released,
  ServerClosed,
  SocketLost,
  ChannelClosed,
  PeerFailed,
  Redirected,
  ClientFault
])

/**
 * Why a connection ended.
 *
 * @category disconnect reasons
 * @since 0.1.0
 */
export type DisconnectReason = typeof DisconnectReason.Type
