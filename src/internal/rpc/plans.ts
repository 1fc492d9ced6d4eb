/**
 * What is known of a method before it is called: the name that the server
 * granted, and how its params are written and its result is read.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SoraMethod from "../../SoraMethod.ts"
import { InvalidParams, InvalidResult, MethodNotAvailable, RpcError, type RpcErrorReason } from "../../SoraRpcError.ts"
import * as Codec from "./codec.ts"
import * as JsonRpc from "./jsonRpc.ts"
import type * as Observe from "./observe.ts"

/** What is wrong with a value. */
interface Misfit {
  readonly message: string
}

/**
 * A method prepared for calling.
 *
 * @internal
 */
export interface Plan {
  /** What the caller named. */
  readonly source: SoraMethod.Any | string
  readonly method: string
  /** The frame; nothing when the JSON of the params is neither an object nor an array. */
  readonly request: (id: number | undefined, params: unknown) => string | undefined
  readonly encode: (params: unknown) => Result.Result<unknown, Misfit>
  readonly decode: (result: unknown) => Result.Result<unknown, Misfit>
  readonly metrics: Observe.MethodMetrics
}

const isJson = Schema.is(Schema.Json)

const encodeMethod = ({ params }: SoraMethod.Any): Plan["encode"] => {
  if (params === Schema.Void) return Schema.encodeUnknownResult(Schema.Undefined)
  const encode = Codec.encoder(params)
  // Params that may all be left out are an empty object on the wire.
  return (params) => encode(params ?? {})
}

/** Whether it is a plain object of strings, booleans and numbers, which is JSON without walking through a tree. */
const isFlat = (params: object) => {
  if (Object.getPrototypeOf(params) !== Object.prototype) return false
  for (const key in params) {
    const value = (params as Record<string, unknown>)[key]
    if (typeof value !== "string" && typeof value !== "boolean" && !Number.isFinite(value)) return false
  }
  return true
}

/** What was thrown: a schema in which something throws wraps it in an error of its own. */
const thrownBy = (defect: unknown): unknown =>
  defect instanceof Error && Cause.isCause(defect.cause) ? Cause.squash(defect.cause) : defect

/** For a value that is not JSON: the path of the first thing that JSON has no form for, and what it is. */
const whatIsNoJson = (value: unknown, path: string): string => {
  if (typeof value !== "object" || value === null) return `${path}: ${nameOf(value)} is no JSON value`
  if (!Array.isArray(value) && ![Object.prototype, null].includes(Object.getPrototypeOf(value))) {
    return `${path}: an object of a class is no JSON value`
  }
  for (const [name, member] of Object.entries(value)) {
    if (!isJson(member)) return whatIsNoJson(member, `${path}.${name}`)
  }
  return `${path}: not a JSON value`
}

const nameOf = (value: unknown): string =>
  value === undefined ? "undefined" : typeof value === "number" ? String(value) : `a ${typeof value}`

const encodeRaw: Plan["encode"] = (params) => {
  if (params === undefined) return Result.succeed(params)
  if (typeof params !== "object" || params === null) {
    return Result.fail({ message: "expected a JSON object or array" })
  }
  return isFlat(params) || isJson(params)
    ? Result.succeed(params)
    : Result.fail({ message: whatIsNoJson(params, "params") })
}

/**
 * The frame to send, or why the params make none.
 *
 * @internal
 */
export const frameOf = (plan: Plan, id: number | undefined, params: unknown): string | RpcErrorReason => {
  try {
    const encoded = plan.encode(params)
    if (Result.isFailure(encoded)) return new InvalidParams({ issue: encoded.failure.message })
    return plan.request(id, encoded.success) ??
      new InvalidParams({ issue: "their toJSON makes them neither a JSON object nor an array" })
  } catch (defect) {
    const cause = thrownBy(defect)
    // A getter, a `toJSON` or a schema that throws; an object too deep for a recursion, or with itself in it.
    const issue = cause instanceof RangeError ? "nested too deeply, or without end" : "reading or encoding them threw"
    return new InvalidParams({ issue, cause })
  }
}

/**
 * What a call comes to whose answer has this result.
 *
 * @internal
 */
export const resultOf = (plan: Plan, result: unknown): Exit.Exit<unknown, RpcError> => {
  const fail = (reason: RpcErrorReason) => Exit.fail(new RpcError({ method: plan.method, reason }))
  try {
    const decoded = plan.decode(result)
    return Result.isSuccess(decoded)
      ? Exit.succeed(decoded.success)
      : fail(new InvalidResult({ issue: decoded.failure.message }))
  } catch (defect) {
    // A schema of the caller's threw: the call dies of it. But how deep a result is, is up to the server.
    return thrownBy(defect) instanceof RangeError
      ? fail(new InvalidResult({ issue: "nested too deeply to be decoded" }))
      : Exit.die(defect)
  }
}

/**
 * Finds the plan of a method among those that the server has granted by now.
 *
 * @internal
 */
export const make = (
  methods: () => ReadonlyArray<string>,
  checkMethods: boolean,
  metrics: (method: string) => Observe.MethodMetrics
) => {
  // Compiled once per method value, resolved once per list of grants.
  const plans = new WeakMap<SoraMethod.Any, Pick<Plan, "encode" | "decode">>()
  let granted: ReadonlyArray<string> | undefined
  let byValue = new WeakMap<SoraMethod.Any, Plan | MethodNotAvailable>()
  let byName = new Map<string, Plan | MethodNotAvailable>()

  const codecs = (method: SoraMethod.Any) => {
    const cached = plans.get(method)
    if (cached !== undefined) return cached
    const made = { encode: encodeMethod(method), decode: Codec.decoder(method.result) }
    plans.set(method, made)
    return made
  }

  const makePlan = (method: SoraMethod.Any | string, available: ReadonlyArray<string>): Plan | MethodNotAvailable => {
    const exact = typeof method === "string" ? method : SoraMethod.wireName(method)
    const resolved = typeof method === "string"
      ? available.includes(method) ? method : undefined
      : SoraMethod.resolve(method, available)
    if (resolved === undefined && checkMethods) return new MethodNotAvailable({ method: exact, available })
    const name = resolved ?? exact
    return {
      source: method,
      method: name,
      request: JsonRpc.requestEncoder(name),
      metrics: metrics(name),
      ...(typeof method === "string" ? { encode: encodeRaw, decode: Result.succeed } : codecs(method))
    }
  }

  return (method: SoraMethod.Any | string): Plan | MethodNotAvailable => {
    const available = methods()
    if (granted !== available) {
      granted = available
      byValue = new WeakMap()
      byName = new Map()
    }
    const known = typeof method === "string" ? byName.get(method) : byValue.get(method)
    if (known !== undefined) return known
    const plan = makePlan(method, available)
    if (typeof method !== "string") byValue.set(method, plan)
    // Strings come from the caller: only those that the server granted are kept.
    else if (available.includes(method)) byName.set(method, plan)
    return plan
  }
}
