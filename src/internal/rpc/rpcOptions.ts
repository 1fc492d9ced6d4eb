/**
 * What the options of `SoraRpc` must be.
 */
import * as Schema from "effect/Schema"
import * as Options from "../options.ts"

const fields = {
  defaultTimeout: Schema.optional(Options.Time),
  checkMethods: Schema.optional(Schema.Boolean),
  maxInFlight: Schema.optional(Options.Count),
  maxQueued: Schema.optional(Options.Count),
  whenDisconnected: Schema.optional(Schema.Literals(["wait", "fail"]))
}

/** @internal */
export const RpcOptions = Schema.Struct(fields)

/** @internal */
export const ChannelOptions = Schema.Struct({ ...fields, methods: Schema.Array(Schema.String) })
