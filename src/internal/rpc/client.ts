/**
 * The RPC client: the table of waiting calls, and everything that can end one.
 *
 * This is the hot path. A call is registered with `Effect.callback` and ended
 * from the channel's listener, with no fiber, `Deferred` or `gen` of its own.
 * The rules that the code keeps:
 *
 * - A call ends once. Every way to end it goes through `take`, which removes it
 *   from the table or the queue first; a second one finds nothing.
 * - It is registered before it is sent, because the answer may come at once.
 * - `failAll` empties the table and only then tells the callers, because a caller
 *   may call again at once.
 * - Telling a caller runs its fiber and whatever observes it, at once. What they
 *   throw is reported and goes no further.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import { type DisconnectReason, Released } from "../../DisconnectReason.ts"
import type { RpcChannel } from "../../RpcChannel.ts"
import * as SoraMethod from "../../SoraMethod.ts"
import {
  Disconnected,
  InvalidOptions,
  InvalidParams,
  InvalidResult,
  MethodNotAvailable,
  ProtocolViolation,
  RpcError,
  type RpcErrorReason,
  ServerError,
  TimeoutError,
  Unavailable
} from "../../SoraRpcError.ts"
import { isolated, report } from "../defects.ts"
import { millisOf } from "../options.ts"
import * as Codec from "./codec.ts"
import * as Deadlines from "./deadlines.ts"
import * as JsonRpc from "./jsonRpc.ts"
import * as Observe from "./observe.ts"

/** @internal */
export type CallError = RpcError | TimeoutError | Disconnected

/** @internal */
export interface Options {
  readonly defaultTimeout: Duration.Input
  readonly checkMethods: boolean
  readonly maxInFlight: number
  readonly maxQueued: number
  readonly whenDisconnected: "wait" | "fail"
}

/** A method prepared for calling: how to encode its params and decode its result. */
interface Plan {
  readonly method: string
  /** The frame; nothing when the JSON of the params is neither an object nor an array. */
  readonly request: (id: number | undefined, params: unknown) => string | undefined
  readonly encode: (params: unknown) => Result.Result<unknown, RpcErrorReason>
  readonly decode: (result: unknown) => Result.Result<unknown, RpcErrorReason>
  readonly metrics: Observe.MethodMetrics
}

/** A class, so that ten thousand of them share their shape and have no closures of their own. */
class Call implements Deadlines.Deadline {
  /** Absent for a notification. */
  readonly id: number | undefined
  readonly plan: Plan
  /** Empty once it is sent: who waits for an answer need not hold what it asked. */
  frame: string
  /** Milliseconds of the monotonic clock. */
  readonly startedAt: number
  readonly timeoutMillis: number
  readonly resume: (exit: Exit.Exit<any, CallError>) => void

  constructor(
    id: number | undefined,
    plan: Plan,
    frame: string,
    startedAt: number,
    timeoutMillis: number,
    resume: (exit: Exit.Exit<any, CallError>) => void
  ) {
    this.id = id
    this.plan = plan
    this.frame = frame
    this.startedAt = startedAt
    this.timeoutMillis = timeoutMillis
    this.resume = resume
  }
}

const isJson = Schema.is(Schema.Json)

const failSchema = (reason: (issue: string) => RpcErrorReason) => (error: Schema.SchemaError) => reason(error.message)

const encodeMethod = ({ params: schema }: SoraMethod.Any): Plan["encode"] => {
  const toReason = failSchema((issue) => new InvalidParams({ issue }))
  if (schema === Schema.Void) {
    const encode = Schema.encodeUnknownResult(Schema.Undefined)
    return (params) => Result.mapError(encode(params), toReason)
  }
  const encode = Codec.encoder(schema)
  // Params that may all be left out are an empty object on the wire.
  return (params) => Result.mapError(encode(params ?? {}), toReason)
}

const decodeMethod = (method: SoraMethod.Any): Plan["decode"] => {
  const decode = Codec.decoder(method.result)
  const toReason = failSchema((issue) => new InvalidResult({ issue }))
  return (result) => Result.mapError(decode(result), toReason)
}

/** Whether it is a plain object of strings, booleans and numbers: then it is JSON, and no tree to walk through. */
const isFlat = (params: object) => {
  if (Object.getPrototypeOf(params) !== Object.prototype) return false
  for (const key in params) {
    const value = (params as Record<string, unknown>)[key]
    if (typeof value !== "string" && typeof value !== "boolean" && !Number.isFinite(value)) return false
  }
  return true
}

/** What was thrown: a schema that runs into a defect throws an error around the cause. */
const thrownBy = (defect: unknown): unknown =>
  defect instanceof Error && Cause.isCause(defect.cause) ? Cause.squash(defect.cause) : defect

/** Where the first thing is that JSON has no form for, and what it is; for values that are not JSON. */
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
    return Result.fail(new InvalidParams({ issue: "expected a JSON object or array" }))
  }
  return isFlat(params) || isJson(params)
    ? Result.succeed(params)
    : Result.fail(new InvalidParams({ issue: whatIsNoJson(params, "params") }))
}

/** @internal */
export interface Client {
  readonly methods: () => ReadonlyArray<string>
  readonly call: (
    method: SoraMethod.Any | string,
    params: unknown,
    options: { readonly timeout?: Duration.Input | undefined } | undefined
  ) => Effect.Effect<any, CallError>
  readonly notify: (method: SoraMethod.Any | string, params: unknown) => Effect.Effect<void, RpcError | Disconnected>
  /** Calls that were sent and are not answered; calls that wait to be sent. */
  readonly sizes: () => { readonly waiting: number; readonly queued: number }
}

/**
 * `channel` is none when the server opened no `rpc` channel: calls then fail
 * with `Unavailable`. The scope ends the client and every call in it.
 *
 * @internal
 */
export const make = Effect.fnUntraced(function*(
  channel: Option.Option<RpcChannel>,
  rpcMethods: () => ReadonlyArray<string>,
  options: Options
): Effect.fn.Return<Client, InvalidOptions, Scope.Scope> {
  const context: Context.Context<never> = yield* Effect.context<never>()
  const metrics = Observe.make(context)
  const defaultMillis = Duration.toMillis(Duration.fromInputUnsafe(options.defaultTimeout))

  const waiting = new Map<number, Call>()
  /** Calls that wait for the window or for buffer space, in the order in which they came. */
  const queue = new Set<Call>()
  let nextId = 1
  let ended: DisconnectReason | undefined
  /** Set while the connection is being made again. */
  let interrupted: DisconnectReason | undefined

  const deadlines = yield* Deadlines.make({
    waiting: () => [...waiting.values(), ...queue],
    expire: (call: Call) => {
      // The response, if it comes, is late.
      if (!take(call)) return
      const timeout = Duration.millis(call.timeoutMillis)
      finish(call, Exit.fail(new TimeoutError({ method: call.plan.method, timeout })))
      pump()
    }
  })

  const take = (call: Call): boolean => call.id !== undefined && waiting.delete(call.id) || queue.delete(call)

  /** Tells the caller; the call must not be registered any more. */
  const finish = (call: Call, exit: Exit.Exit<any, CallError>) => {
    if (call.id !== undefined) metrics.waiting(-1)
    call.plan.metrics.ended(exit, (deadlines.now() - call.startedAt) / 1000)
    try {
      call.resume(exit)
    } catch (defect) {
      report(defect)
    }
  }

  const fail = (call: Call, reason: RpcErrorReason) =>
    finish(call, Exit.fail(new RpcError({ method: call.plan.method, reason })))

  const rpc = Option.getOrUndefined(channel)

  const canSend = (call: Call) => {
    if (call.id !== undefined && waiting.size >= options.maxInFlight) return false
    try {
      return rpc!.isWritable()
    } catch {
      // The call is sent, and hears what is wrong with the channel.
      return true
    }
  }

  const trySend = (frame: string) => {
    try {
      return rpc!.sendUnsafe(frame)
    } catch (cause) {
      return new Unavailable({ detail: "the channel threw", cause })
    }
  }

  const send = (call: Call) => {
    if (call.id !== undefined) waiting.set(call.id, call)
    const refused = trySend(call.frame)
    call.frame = ""
    if (refused !== undefined) {
      take(call)
      fail(call, refused)
    } else if (call.id === undefined) {
      finish(call, Exit.void)
    }
  }

  const pump = () => {
    for (const call of queue) {
      if (!canSend(call)) return
      queue.delete(call)
      send(call)
    }
  }

  const onFrame = (frame: string) => {
    const response = JsonRpc.decodeResponse(frame)
    if (response._tag === "NotJson" || response._tag === "Uncorrelated" || response.id === undefined) {
      return metrics.dropped(response._tag === "NotJson" ? "malformed" : "uncorrelated")
    }
    // An id above 2^53 is none of ours, and the table has no bigint.
    const call = waiting.get(response.id as number)
    if (call === undefined) return metrics.dropped("late")
    take(call)
    settle(call, response)
    pump()
  }

  const settle = (call: Call, response: Exclude<JsonRpc.Response, { _tag: "NotJson" | "Uncorrelated" }>) => {
    switch (response._tag) {
      case "Success": {
        let result: Result.Result<unknown, RpcErrorReason>
        try {
          result = call.plan.decode(response.result)
        } catch (defect) {
          // A schema of the caller's threw: the call dies of it, the channel does not. But how deep a result is, is up
          // to the server.
          return thrownBy(defect) instanceof RangeError
            ? fail(call, new InvalidResult({ issue: "nested too deeply to be decoded" }))
            : finish(call, Exit.die(defect))
        }
        return Result.isSuccess(result) ? finish(call, Exit.succeed(result.success)) : fail(call, result.failure)
      }
      case "Failure": {
        const { code, data, message } = response
        return fail(
          call,
          new ServerError(data === undefined ? { code, message } : { code, message, data: data as Schema.Json })
        )
      }
      case "Violation":
        return fail(call, new ProtocolViolation({ rule: response.rule }))
    }
  }

  const end = (reason: DisconnectReason) => {
    if (ended !== undefined) return
    ended = reason
    failAll(reason)
  }

  const onInterrupted = (reason: DisconnectReason) => {
    interrupted = reason
    failAll(reason)
  }

  const onWritable = () => {
    interrupted = undefined
    pump()
  }

  const failAll = (reason: DisconnectReason) => {
    const calls = [...waiting.values(), ...queue]
    for (const call of calls) take(call)
    const exit = Exit.fail(new Disconnected({ reason }))
    for (const call of calls) finish(call, exit)
  }

  yield* Effect.acquireRelease(
    Effect.try({
      try: () =>
        rpc?.listenUnsafe({
          onFrame,
          onWritable,
          onInterrupted,
          onMalformed: () => metrics.dropped("malformed"),
          onEnd: end
        }),
      catch: (cause) => cause
    }).pipe(Effect.catch((cause) => cause instanceof InvalidOptions ? Effect.fail(cause) : Effect.die(cause))),
    (detach) =>
      Effect.sync(() => {
        if (detach !== undefined) isolated(detach)
        end(new Released())
      })
  )

  // Compiled once per method value, resolved once per list of grants.
  const plans = new WeakMap<SoraMethod.Any, Pick<Plan, "encode" | "decode">>()
  let granted: ReadonlyArray<string> | undefined
  let byValue = new WeakMap<SoraMethod.Any, Plan | MethodNotAvailable>()
  let byName = new Map<string, Plan | MethodNotAvailable>()

  const codecs = (method: SoraMethod.Any) => {
    const cached = plans.get(method)
    if (cached !== undefined) return cached
    const made = { encode: encodeMethod(method), decode: decodeMethod(method) }
    plans.set(method, made)
    return made
  }

  const makePlan = (method: SoraMethod.Any | string, available: ReadonlyArray<string>): Plan | MethodNotAvailable => {
    const exact = typeof method === "string" ? method : SoraMethod.wireName(method)
    const resolved = typeof method === "string"
      ? available.includes(method) ? method : undefined
      : SoraMethod.resolve(method, available)
    if (resolved === undefined && options.checkMethods) return new MethodNotAvailable({ method: exact, available })
    const name = resolved ?? exact
    return {
      method: name,
      request: JsonRpc.requestEncoder(name),
      metrics: metrics.forMethod(name),
      ...(typeof method === "string" ? { encode: encodeRaw, decode: Result.succeed } : codecs(method))
    }
  }

  const planFor = (method: SoraMethod.Any | string): Plan | MethodNotAvailable => {
    const available = rpcMethods()
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

  /** What stands in the way of every call. */
  const unusable = (method: string): RpcError | Disconnected | undefined =>
    ended !== undefined
      ? new Disconnected({ reason: ended })
      : interrupted !== undefined && options.whenDisconnected === "fail"
      ? new Disconnected({ reason: interrupted })
      : rpc === undefined
      ? new RpcError({ method, reason: new Unavailable({ detail: "the server opened no rpc channel" }) })
      : undefined

  const cancel = (call: Call) =>
    Effect.sync(() => {
      if (!take(call)) return
      if (call.id !== undefined) metrics.waiting(-1)
      pump()
    })

  /** The frame to send, or why the params make none. */
  const frameOf = (plan: Plan, id: number | undefined, params: unknown): string | RpcErrorReason => {
    try {
      const encoded = plan.encode(params)
      if (Result.isFailure(encoded)) return encoded.failure
      return plan.request(id, encoded.success) ??
        new InvalidParams({ issue: "their toJSON makes them neither a JSON object nor an array" })
    } catch (defect) {
      const cause = thrownBy(defect)
      // A getter, a `toJSON` or a schema that throws; an object too deep for a recursion, or with itself in it.
      const issue = cause instanceof RangeError ? "nested too deeply, or without end" : "reading or encoding them threw"
      return new InvalidParams({ issue, cause })
    }
  }

  /** Registers the call and sends it, or lets it wait for its turn; returns what takes it back. */
  const start = (
    plan: Plan,
    params: unknown,
    id: number | undefined,
    timeoutMillis: number,
    resume: (exit: Exit.Exit<any, CallError>) => void
  ): Effect.Effect<void> | undefined => {
    const refuse = (error: CallError) => {
      resume(Exit.fail(error))
      return undefined
    }
    const { method } = plan
    const obstacle = unusable(method)
    if (obstacle !== undefined) return refuse(obstacle)
    const frame = frameOf(plan, id, params)
    if (typeof frame !== "string") return refuse(new RpcError({ method, reason: frame }))
    if (timeoutMillis <= 0) return refuse(new TimeoutError({ method, timeout: Duration.millis(timeoutMillis) }))
    const call = new Call(id, plan, frame, deadlines.now(), timeoutMillis, resume)
    const now = queue.size === 0 && canSend(call)
    if (!now && queue.size >= options.maxQueued) {
      const reason = new Unavailable({ detail: `${queue.size} calls wait to be sent already` })
      return refuse(new RpcError({ method, reason }))
    }
    if (id !== undefined) metrics.waiting(1)
    if (now) send(call)
    else queue.add(call)
    deadlines.start(call)
    return cancel(call)
  }

  const register = (
    method: SoraMethod.Any | string,
    params: unknown,
    timeout: Duration.Input | undefined,
    wantsResponse: boolean
  ): Effect.Effect<any, CallError> =>
    Effect.withFiber((fiber) => {
      const timeoutMillis = timeout === undefined ? defaultMillis : millisOf(timeout)
      if (timeoutMillis === undefined) return dieOf("timeout", "a duration, such as \"5 seconds\"")
      if (typeof method !== "string" && !SoraMethod.isSoraMethod(method)) {
        return dieOf("method", "a SoraMethod, or a string of rpc_methods")
      }
      const plan = planFor(method)
      if (plan instanceof MethodNotAvailable) {
        return unusable(plan.method) ?? new RpcError({ method: plan.method, reason: plan })
      }
      const id = wantsResponse ? nextId++ : undefined
      const run = (span?: Tracer.Span) =>
        Effect.callback<any, CallError>((resume) =>
          start(plan, params, id, timeoutMillis, span === undefined ? resume : Observe.recording(span, resume))
        )
      return Observe.isTraced(fiber) ? Observe.traced(run, plan.method, id) : run()
    })

  const dieOf = (name: string, expected: string) =>
    Effect.die(new InvalidOptions({ issue: `${name}: expected ${expected}` }))

  return {
    methods: rpcMethods,
    call: (method, params, callOptions) => register(method, params, callOptions?.timeout, true),
    // Without a timeout there is no TimeoutError.
    notify: (method, params) =>
      register(method, params, Duration.infinity, false) as Effect.Effect<void, RpcError | Disconnected>,
    sizes: () => ({ waiting: waiting.size, queued: queue.size })
  }
})
