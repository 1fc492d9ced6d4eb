/**
 * The options of `SoraRpc`, and what they must be.
 */
import type * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { Count, Time } from "../options.ts"

/**
 * Options of the service.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Timeout of calls that name none. Default 5 seconds, as in the official SDKs. */
  readonly defaultTimeout?: Duration.Input | undefined
  /**
   * Refuse a method that is not in `rpc_methods` before sending it, with
   * `MethodNotAvailable`. `false` lets the server decide. Default true.
   */
  readonly checkMethods?: boolean | undefined
  /**
   * Calls that may wait for their response at a time; the others wait for their
   * turn, first come first served. At least 1. Default: no limit, so that no slow
   * method holds up another; what limits calls is what the DataChannel has
   * buffered, and `maxInFlight` of the `PeerConnection` where it has one.
   */
  readonly maxInFlight?: number | undefined
  /** Calls that may wait for their turn; one more fails with `Unavailable`. Default 65,536. */
  readonly maxQueued?: number | undefined
  /**
   * What happens to a call made while the connection is being made again (see
   * `reconnect` of `SoraConnection`): it waits for the new connection, within its
   * own timeout, or fails at once with `Disconnected`. Default `"wait"`.
   */
  readonly whenDisconnected?: "wait" | "fail" | undefined
}

/** @internal */
export const RpcOptions = Schema.Struct({
  defaultTimeout: Schema.optional(Time),
  checkMethods: Schema.optional(Schema.Boolean),
  maxInFlight: Schema.optional(Count),
  maxQueued: Schema.optional(Count),
  whenDisconnected: Schema.optional(Schema.Literals(["wait", "fail"]))
})
