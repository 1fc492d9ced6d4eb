/**
 * The errors of an RPC call. A call fails with one of three tagged errors and
 * nothing else: `RpcError` (the call was refused, or answered with something
 * that is not a result), `TimeoutError` (no response in time) and
 * `Disconnected` (the connection ended while the call waited, or before it).
 *
 * `RpcError` has a `reason`, so `Effect.catchReason("RpcError", "ServerError",
 * …)` handles one and leaves the others. An error with a `reason` has it as its
 * `cause` too, where `Cause.pretty` and every logger look. `code`, `message` and
 * `data` are those that the error objects of the official Sora SDKs carry.
 *
 * Messages name the method, the rule or the path of the offending member. They
 * never contain params, results or metadata, which may hold secrets.
 *
 * @since 0.1.0
 * @module
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { DisconnectReason } from "./DisconnectReason.ts"

/** As `JSON.parse` made it, unchecked: a number like `1e999` is no reason to lose the whole error. */
const Data: Schema.Codec<Schema.Json> = Schema.Any

/**
 * The server answered with an error object (JSON-RPC 2.0, section 5.1). `code`,
 * `message` and `data` are verbatim; an absent `data` stays absent.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ServerError extends Schema.TaggedError<ServerError>()("ServerError", {
  code: Schema.Int,
  message: Schema.String,
  data: Schema.optionalKey(Data)
}) {}

/**
 * The method is not in `rpc_methods`, the list of what the server granted.
 * Nothing was sent. Its code is JSON-RPC's "method not found", -32601.
 *
 * @category reasons
 * @since 0.1.0
 */
export class MethodNotAvailable extends Schema.TaggedError<MethodNotAvailable>()("MethodNotAvailable", {
  method: Schema.String,
  available: Schema.Array(Schema.String)
}) {
  readonly code = -32601
  override get message() {
    const granted = this.available.length === 0 ? "no method" : this.available.join(", ")
    return `not granted by the server, which grants ${granted}`
  }
}

/**
 * The params do not fit the method's schema, or are no JSON. Nothing was sent.
 * `issue` names the members and what was expected of them, not their values;
 * `cause` is what reading them threw, where it did. Its code is JSON-RPC's
 * "invalid params", -32602.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidParams extends Schema.TaggedError<InvalidParams>()("InvalidParams", {
  issue: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {
  readonly code = -32602
  override get message() {
    return `params refused before sending: ${this.issue}`
  }
}

/**
 * The server's result does not fit the method's schema. `issue` names the
 * members and what was expected of them, not their values. Its code is
 * JSON-RPC's "internal error", -32603.
 *
 * @category reasons
 * @since 0.1.0
 */
export class InvalidResult extends Schema.TaggedError<InvalidResult>()("InvalidResult", {
  issue: Schema.String
}) {
  readonly code = -32603
  override get message() {
    return `the result does not fit the schema: ${this.issue}`
  }
}

/**
 * A response with the id of this call breaks JSON-RPC 2.0: no `result` and no
 * `error`, both, a member twice, an error without an integer code, and so on.
 * Its code is JSON-RPC's "invalid request", -32600.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ProtocolViolation extends Schema.TaggedError<ProtocolViolation>()("ProtocolViolation", {
  rule: Schema.String
}) {
  readonly code = -32600
  override get message() {
    return `the response breaks JSON-RPC 2.0: ${this.rule}`
  }
}

/**
 * The encoded frame is larger than the channel takes: Sora's 262,144 bytes, or
 * less where the peer announced less. Nothing was sent.
 *
 * @category reasons
 * @since 0.1.0
 */
export class PayloadTooLarge extends Schema.TaggedError<PayloadTooLarge>()("PayloadTooLarge", {
  /** Size of the frame as it would have been sent, in bytes. */
  bytes: Schema.Int,
  /** The limit, in bytes. */
  maxBytes: Schema.Int
}) {
  readonly code = -32000
  override get message() {
    return `the frame has ${this.bytes} bytes, the limit is ${this.maxBytes}`
  }
}

/**
 * The call could not be sent: the server opened no `rpc` channel, the channel
 * refused the frame, or too many calls are waiting already.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {
  /** What stood in the way, for a person to read. */
  detail: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {
  readonly code = -32000
  override get message() {
    return `RPC is not available: ${this.detail}`
  }
}

/**
 * Why a call failed other than by time or by disconnection.
 *
 * @category reasons
 * @since 0.1.0
 */
export const RpcErrorReason = Schema.Union([
  ServerError,
  MethodNotAvailable,
  InvalidParams,
  InvalidResult,
  ProtocolViolation,
  PayloadTooLarge,
  Unavailable
])

/**
 * Why a call failed other than by time or by disconnection.
 *
 * @category reasons
 * @since 0.1.0
 */
export type RpcErrorReason = typeof RpcErrorReason.Type

/**
 * A call was refused, or its answer is not a result. `method` is the string
 * that was sent, or would have been.
 *
 * @category errors
 * @since 0.1.0
 */
export class RpcError extends Schema.TaggedError<RpcError>()("RpcError", {
  method: Schema.String,
  reason: RpcErrorReason
}) {
  /** The server's message verbatim, or what went wrong on this side. */
  override get message(): string {
    return this.reason._tag === "ServerError" ? this.reason.message : `${this.method}: ${this.reason.message}`
  }
  /** The `reason`. */
  override get cause(): RpcErrorReason {
    return this.reason
  }
  /** The server's code, or the JSON-RPC code that fits what went wrong on this side. */
  get code(): number {
    return this.reason.code
  }
  /** What the server's error object carries as `data`; `undefined` for other reasons and when absent. */
  get data(): Schema.Json | undefined {
    return this.reason._tag === "ServerError" ? this.reason.data : undefined
  }
}

/**
 * No response within the timeout of the call, which counts from the call. The
 * server may still have acted on it; nothing is retried. (Effect's own error of
 * `Effect.timeout` has the same tag.)
 *
 * @category errors
 * @since 0.1.0
 */
export class TimeoutError extends Schema.TaggedError<TimeoutError>()("TimeoutError", {
  method: Schema.String,
  timeout: Schema.Duration
}) {
  override get message(): string {
    return Duration.toMillis(this.timeout) > 0
      ? `${this.method}: no response within ${Duration.format(this.timeout)}`
      : `${this.method}: not sent, its timeout is zero`
  }
}

/**
 * The connection ended while the call was waiting, or had ended before it.
 * `code` and `message` are those of the official Flutter SDK; `reason` says
 * why. The server may still have acted on a call that was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class Disconnected extends Schema.TaggedError<Disconnected>()("Disconnected", {
  reason: DisconnectReason
}) {
  readonly code = -1
  override get message(): string {
    return "Disconnected"
  }
  /** The `reason`. */
  override get cause(): DisconnectReason {
    return this.reason
  }
}

/**
 * How a call fails: one of these three.
 *
 * @category errors
 * @since 0.1.0
 */
export const SoraRpcError = /* @__PURE__ */ Schema.Union([RpcError, TimeoutError, Disconnected])

/**
 * How a call fails: one of these three.
 *
 * @category errors
 * @since 0.1.0
 */
export type SoraRpcError = typeof SoraRpcError.Type

/**
 * Options that do not fit: of a layer, before anything is done with them.
 * `issue` names each option that is wrong and what was expected of it, not its
 * value.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidOptions extends Schema.TaggedError<InvalidOptions>()("InvalidOptions", {
  issue: Schema.String
}) {
  override get message(): string {
    return `bad options: ${this.issue}`
  }
}
