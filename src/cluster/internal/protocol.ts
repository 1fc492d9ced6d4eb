/**
 * What goes between who calls a channel and the runner that holds it. Params and
 * results are the text of their JSON, because that is what Sora's channel takes
 * and gives; the caller's method value writes and reads them.
 */
import * as Entity from "effect/cluster/Entity"
import type { RunnerAddress } from "effect/cluster/RunnerAddress"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { SoraRpcError } from "../../SoraRpcError.ts"

/**
 * Which method, and its params as they stand in a request. `exact` is a method
 * that goes by the very string of `rpc_methods`.
 */
const Request = Schema.Struct({
  method: Schema.String,
  version: Schema.optionalKey(Schema.String),
  exact: Schema.Boolean,
  params: Schema.optionalKey(Schema.String),
  /** Milliseconds that are left, where it is a call with a timeout. */
  timeout: Schema.optionalKey(Schema.Number)
})

/** @internal */
export type Request = typeof Request.Type

/** @internal */
export const Rpcs = {
  /** Who holds the channel. It does nothing to the channel, so it may be asked again. */
  Locate: Rpc.make("Locate", { success: Schema.Struct({ host: Schema.String, port: Schema.Int }) }),
  /** Connects when the channel is not connected. */
  Connect: Rpc.make("Connect", { error: SoraRpcError }),
  Methods: Rpc.make("Methods", { success: Schema.Array(Schema.String), error: SoraRpcError }),
  Call: Rpc.make("Call", { payload: Request, success: Schema.String, error: SoraRpcError }),
  Notify: Rpc.make("Notify", { payload: Request, error: SoraRpcError })
} as const

/** @internal */
export type Rpcs = (typeof Rpcs)[keyof typeof Rpcs]

/**
 * The entity whose ids are channel ids. None of its messages is persisted.
 *
 * @internal
 */
export const makeEntity = (type: string): Entity.Entity<string, Rpcs> =>
  Entity.make(type, [Rpcs.Locate, Rpcs.Connect, Rpcs.Methods, Rpcs.Call, Rpcs.Notify])

/**
 * The largest request or result that goes from one runner to another, in bytes of
 * its JSON: the sockets take frames of 16 MiB, and a larger one breaks the link for
 * everybody. (As `ndjson` they write the quotes of a text with two characters.)
 *
 * @internal
 */
export const MaxBytes: number = 4 * 1024 * 1024

/** @internal */
export const textOf = ({ host, port }: Pick<RunnerAddress, "host" | "port">): string => `${host}:${port}`
