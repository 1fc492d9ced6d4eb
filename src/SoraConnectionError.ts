/**
 * Why a connection to Sora could not be made. Messages name the URL (without
 * query or credentials), the step and the mend; never metadata or SDP.
 *
 * @since 0.1.0
 * @module
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { DisconnectReason } from "./DisconnectReason.ts"
import { CloseCode, CloseReason } from "./internal/protocol.ts"
import { InvalidMessage } from "./Signaling.ts"
import { InvalidOptions } from "./SoraRpcError.ts"

export {
  /**
   * The options do not fit. Nothing was dialled.
   *
   * @category reasons
   * @since 0.1.0
   */
  InvalidOptions
} from "./SoraRpcError.ts"

/**
 * No signaling URL could be reached; `failures` has the cause of each.
 *
 * @category reasons
 * @since 0.1.0
 */
export class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", {
  failures: Schema.Array(Schema.Struct({ url: Schema.String, detail: Schema.String }))
}) {
  override get message() {
    return `no signaling URL could be reached: ${
      this.failures.map(({ detail, url }) => `${url} (${detail})`).join(", ")
    }; is the server running, and is the URL right?`
  }
}

/**
 * The server closed the WebSocket before the connection was up, which is how
 * Sora refuses: code 4490 and a short reason (`sora-protocol.md` section 2.11).
 *
 * @category reasons
 * @since 0.1.0
 */
export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  code: Schema.Int,
  reason: Schema.String
}) {
  override get message() {
    const mend = this.code !== CloseCode.SignalingFailure
      ? ""
      : this.reason === CloseReason.InvalidMessage
      ? ": it does not accept this connect; see role, audio, video and data channels"
      : this.reason === CloseReason.Timeout
      ? ": the media connection did not come up in time; see ICE servers and firewalls"
      : ": see the access token in metadata, and the server's log"
    return `the server refused the connection: ${this.code} ${this.reason}`.trimEnd() + mend
  }
}

/**
 * The server's offer or WebRTC itself did not work out at `step`.
 *
 * @category reasons
 * @since 0.1.0
 */
export class NegotiationFailed extends Schema.TaggedError<NegotiationFailed>()("NegotiationFailed", {
  step: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `${this.step} failed${this.cause instanceof Error ? `: ${this.cause.message}` : ""}`
  }
}

/**
 * No TURN server of the offer gave a relay, and there was no other way to the
 * server: its `iceTransportPolicy` is `relay`. `failures` has what WebRTC told of
 * it, if anything: the URL, the code of the refusal (401 for a credential that is
 * wrong, 701 where the server was not reached) and a text
 * (`sora-protocol.md` section 2.4).
 *
 * @category reasons
 * @since 0.1.0
 */
export class TurnFailed extends Schema.TaggedError<TurnFailed>()("TurnFailed", {
  failures: Schema.Array(Schema.Struct({ url: Schema.String, code: Schema.Finite, text: Schema.String }))
}) {
  override get message() {
    const causes = this.failures.map(({ code, text, url }) => `${url} (${text || "failed"}, ${code})`)
    return `no TURN server gave a relay, and the offer allows no other way${
      causes.length === 0 ? "" : `: ${causes.join(", ")}`
    }; ${
      this.failures.some(({ code }) => code === 401)
        ? "are the TURN credentials right, and not out of date?"
        : "does a firewall let one of them through?"
    }`
  }
}

/**
 * The connection ended while it was being made, other than by the server's
 * refusal, or while `onConnected` was running.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ConnectionLost extends Schema.TaggedError<ConnectionLost>()("ConnectionLost", {
  reason: DisconnectReason
}) {
  override get message() {
    return `the connection was lost while it was being made: ${this.reason.message}`
  }
  /** The `reason`. */
  override get cause(): DisconnectReason {
    return this.reason
  }
}

/**
 * The connection was not up in time; `waitingFor` names the step it stood at.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ConnectTimeout extends Schema.TaggedError<ConnectTimeout>()("ConnectTimeout", {
  waitingFor: Schema.String,
  timeout: Schema.Duration
}) {
  override get message() {
    return `no connection within ${Duration.format(this.timeout)}: still waiting for ${this.waitingFor}`
  }
}

/**
 * The server redirected too many times in a row.
 *
 * @category reasons
 * @since 0.1.0
 */
export class TooManyRedirects extends Schema.TaggedError<TooManyRedirects>()("TooManyRedirects", {
  count: Schema.Int
}) {
  override get message() {
    return `the server redirected ${this.count} times in a row; do its nodes agree on who serves the channel?`
  }
}

/**
 * The lookup of a `SoraRpcMap` failed with an error of the program's own, which
 * is the `cause`. (Not what that says: it may hold a secret.)
 *
 * @category reasons
 * @since 0.1.0
 */
export class LookupFailed extends Schema.TaggedError<LookupFailed>()("LookupFailed", {
  cause: Schema.Defect()
}) {
  override get message() {
    return "the lookup of the channel failed; its error is the cause"
  }
}

/**
 * Why a connection could not be made.
 *
 * @category reasons
 * @since 0.1.0
 */
export const SoraConnectionErrorReason = Schema.Union([
  InvalidOptions,
  Unreachable,
  Refused,
  InvalidMessage,
  NegotiationFailed,
  TurnFailed,
  ConnectionLost,
  ConnectTimeout,
  TooManyRedirects,
  LookupFailed
])

/**
 * Why a connection could not be made.
 *
 * @category reasons
 * @since 0.1.0
 */
export type SoraConnectionErrorReason = typeof SoraConnectionErrorReason.Type

/**
 * A connection to Sora could not be made.
 *
 * @category errors
 * @since 0.1.0
 */
export class SoraConnectionError extends Schema.TaggedError<SoraConnectionError>()("SoraConnectionError", {
  reason: SoraConnectionErrorReason
}) {
  override get message(): string {
    return this.reason.message
  }
  /** The `reason`. */
  override get cause(): SoraConnectionErrorReason {
    return this.reason
  }
  /**
   * Whether another attempt may succeed where this one did not: not after bad
   * options, a malformed offer, or a refusal other than for lack of time or of
   * room (section 2.11). With other metadata a refusal by the authentication may
   * be cured too.
   */
  get isRetryable(): boolean {
    switch (this.reason._tag) {
      case "InvalidOptions":
      case "InvalidMessage":
        return false
      case "Refused":
        return this.reason.code !== CloseCode.SignalingFailure || Passing.has(this.reason.reason)
      default:
        return true
    }
  }
}

/** Reasons of signaling failures that pass by themselves. */
const Passing: ReadonlySet<string> = new Set([
  CloseReason.Timeout,
  CloseReason.InternalError,
  CloseReason.DuplicatedChannelId,
  CloseReason.PongTimeout
])
