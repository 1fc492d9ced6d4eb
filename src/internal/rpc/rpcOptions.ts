/**
 * What the options of `SoraRpc` must be.
 */
import * as Schema from "effect/Schema"
import * as Options from "../options.ts"

/** @internal */
export const RpcOptions = Schema.Struct({
  defaultTimeout: Schema.optional(Options.Time),
  checkMethods: Schema.optional(Schema.Boolean),
  maxInFlight: Schema.optional(Options.Count),
  maxQueued: Schema.optional(Options.Count),
  whenDisconnected: Schema.optional(Schema.Literals(["wait", "fail"]))
})
