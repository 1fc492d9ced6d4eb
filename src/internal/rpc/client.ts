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
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import { type DisconnectReason, Released } from "../../DisconnectReason.ts"
import type { RpcTransport } from "../../RpcTransport.ts"
import * as SoraMethod from "../../SoraMethod.ts"
import {
  Disconnected,
  InvalidOptions,
  MethodNotAvailable,
  ProtocolViolation,
  RpcError,
  type RpcErrorReason,
  ServerError,
  type SoraRpcError,
  TimeoutError,
  Unavailable
} from "../../SoraRpcError.ts"
import { isolated, report } from "../defects.ts"
import { millisOf } from "../options.ts"
import * as CallSpans from "./callSpans.ts"
import * as Deadlines from "./deadlines.ts"
import * as JsonRpc from "./jsonRpc.ts"
import * as Observe from "./observe.ts"
import * as Plans from "./plans.ts"
import type { Options } from "./rpcOptions.ts"
import * as Window from "./window.ts"

/** Made in one place, so that ten thousand of them share their shape; they have no closures of their own. */
interface Call extends Deadlines.Deadline {
  /** Absent for a notification. */
  readonly id: number | undefined
  /** Another one once it has waited for a connection that grants the method by another name. */
  plan: Plans.Plan
  /** When somebody traces. */
  readonly span: Tracer.Span | undefined
  /** Empty once it is sent: who waits for an answer need not hold what it asked. */
  frame: string
  readonly resume: (exit: Exit.Exit<any, SoraRpcError>) => void
}

/** @internal */
export interface Client {
  readonly call: (
    method: SoraMethod.Any | string,
    params: unknown,
    options: { readonly timeout?: Duration.Input | undefined } | undefined
  ) => Effect.Effect<any, SoraRpcError>
  readonly notify: (method: SoraMethod.Any | string, params: unknown) => Effect.Effect<void, RpcError | Disconnected>
  /** Calls that were sent and are not answered; calls that wait to be sent. */
  readonly sizes: () => { readonly waiting: number; readonly queued: number }
}

/**
 * The ids of each channel, not from 1 again when it has had another client: what
 * that asked may still be answered.
 */
const ids = new WeakMap<object, { next: number }>()

const idsOf = (channel: object) => {
  const known = ids.get(channel) ?? { next: 1 }
  ids.set(channel, known)
  return known
}

/**
 * For two channels over the same DataChannel, one after the other: an id is given
 * once on both.
 *
 * @internal
 */
export const shareIds = (one: object, other: object): void => void ids.set(other, idsOf(one))

/**
 * The scope ends the client and every call in it.
 *
 * @internal
 */
export const make = Effect.fnUntraced(function*(
  transport: RpcTransport["Service"],
  {
    checkMethods = true,
    defaultTimeout = "5 seconds",
    maxInFlight,
    maxQueued = 65_536,
    whenDisconnected = "wait"
  }: Options
): Effect.fn.Return<Client, InvalidOptions, Scope.Scope> {
  const context: Context.Context<never> = yield* Effect.context<never>()
  const metrics = Observe.make(context)
  const { channel } = transport
  CallSpans.ofChannel(channel, (id) => waiting.get(id)?.span)
  const planFor = Plans.make(transport.methodsUnsafe, checkMethods, metrics.forMethod)
  const defaultMillis = Duration.toMillis(Duration.fromInputUnsafe(defaultTimeout))

  const waiting = new Map<number, Call>()
  /** Calls that wait for the window or for buffer space, in the order in which they came. */
  const queue = new Set<Call>()
  const ids = idsOf(channel)
  /** Written by `end`, once. */
  let ended: DisconnectReason | undefined
  /** Set while the connection is being made again: by `onInterrupted`, until `onWritable`. */
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

  /** Of the transport, unless the user has set one. */
  const window = maxInFlight === undefined && transport.maxInFlight !== undefined
    ? yield* Window.make(transport.maxInFlight, () => pump())
    : undefined
  const hasRoom = window === undefined ? () => waiting.size < (maxInFlight ?? Infinity) : window.hasRoom

  const take = (call: Call): boolean => {
    if (call.id === undefined || !waiting.delete(call.id)) return queue.delete(call)
    window?.leave(call.id)
    return true
  }

  /** Notifications wait for no response, and are not counted. */
  const countWaiting = (call: Call, change: 1 | -1) => {
    if (call.id !== undefined) metrics.waiting(change)
  }

  /** Tells the caller; the call must not be registered any more. */
  const finish = (call: Call, exit: Exit.Exit<any, SoraRpcError>) => {
    countWaiting(call, -1)
    call.plan.metrics.ended(exit, (deadlines.now() - call.startedAt) / 1000)
    try {
      call.resume(exit)
    } catch (defect) {
      report(defect)
    }
  }

  const fail = (call: Call, reason: RpcErrorReason) =>
    finish(call, Exit.fail(new RpcError({ method: call.plan.method, reason })))

  const canSend = (call: Call) => {
    if (call.id !== undefined && !hasRoom()) return false
    try {
      return channel.isWritable()
    } catch {
      // The call is sent, and hears what is wrong with the channel.
      return true
    }
  }

  const trySend = (frame: string) => {
    try {
      return channel.sendUnsafe(frame)
    } catch (cause) {
      return new Unavailable({ detail: "the channel threw", cause })
    }
  }

  const send = (call: Call) => {
    if (call.id !== undefined) {
      waiting.set(call.id, call)
      window?.enter(call.id)
    }
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
    if (queue.size === 0) return
    for (const call of queue) {
      if (!canSend(call)) return
      queue.delete(call)
      // It may have waited for another connection.
      if (call.span !== undefined) Observe.locate(call.span, transport)
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
      case "Success":
        return finish(call, Plans.resultOf(call.plan, response.result))
      case "Failure": {
        const { _tag, id: _id, ...error } = response
        return fail(call, new ServerError(error))
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
    if (interrupted !== undefined) {
      interrupted = undefined
      planAgain()
    }
    pump()
  }

  /** For calls that waited for a new connection, which may grant other methods. */
  const planAgain = () => {
    const lost: Array<readonly [Call, MethodNotAvailable]> = []
    for (const call of queue) {
      const plan = planFor(call.plan.source)
      if (plan instanceof MethodNotAvailable) lost.push([call, plan])
      else if (plan !== call.plan) {
        call.frame = JsonRpc.renamed(call.frame, call.id, call.plan.method, plan.method)
        call.plan = plan
      }
    }
    // Only now: a caller that is told may call, and with that send what else waits.
    for (const [call] of lost) queue.delete(call)
    for (const [call, reason] of lost) {
      finish(call, Exit.fail(obstacle(reason.method) ?? new RpcError({ method: reason.method, reason })))
    }
  }

  const failAll = (reason: DisconnectReason) => {
    const calls = [...waiting.values(), ...queue]
    for (const call of calls) take(call)
    const exit = Exit.fail(new Disconnected({ reason }))
    for (const call of calls) finish(call, exit)
  }

  yield* Effect.acquireRelease(
    Effect.sync(() =>
      channel.listenUnsafe({
        onFrame,
        onWritable,
        onInterrupted,
        onMalformed: () => metrics.dropped("malformed"),
        onEnd: end
      })
    ).pipe(Effect.catchDefect((cause) => cause instanceof InvalidOptions ? Effect.fail(cause) : Effect.die(cause))),
    (detach) =>
      Effect.sync(() => {
        if (detach !== undefined) isolated(detach)
        end(new Released())
      })
  )

  /** What stands in the way of every call. */
  const obstacle = (method: string): RpcError | Disconnected | undefined => {
    if (ended !== undefined) return new Disconnected({ reason: ended })
    if (interrupted !== undefined && whenDisconnected === "fail") {
      return new Disconnected({ reason: interrupted })
    }
    const reason = transport.obstacleUnsafe()
    return reason === undefined ? undefined : new RpcError({ method, reason })
  }

  const cancel = (call: Call) =>
    Effect.sync(() => {
      if (!take(call)) return
      countWaiting(call, -1)
      pump()
    })

  /** Registers the call and sends it, or lets it wait for its turn; returns what takes it back. */
  const start = (
    plan: Plans.Plan,
    params: unknown,
    id: number | undefined,
    timeoutMillis: number,
    resume: (exit: Exit.Exit<any, SoraRpcError>) => void,
    span: Tracer.Span | undefined
  ): Effect.Effect<void> | undefined => {
    const refuse = (error: SoraRpcError) => {
      resume(Exit.fail(error))
      return undefined
    }
    const { method } = plan
    const inTheWay = obstacle(method)
    if (inTheWay !== undefined) return refuse(inTheWay)
    const frame = Plans.frameOf(plan, id, params)
    if (typeof frame !== "string") return refuse(new RpcError({ method, reason: frame }))
    if (timeoutMillis <= 0) return refuse(new TimeoutError({ method, timeout: Duration.millis(timeoutMillis) }))
    const call: Call = { id, plan, span, frame, startedAt: deadlines.now(), timeoutMillis, resume }
    const now = queue.size === 0 && canSend(call)
    if (!now && queue.size >= maxQueued) {
      const reason = new Unavailable({ detail: `${queue.size} calls wait to be sent already` })
      return refuse(new RpcError({ method, reason }))
    }
    countWaiting(call, 1)
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
  ): Effect.Effect<any, SoraRpcError> =>
    Effect.withFiber((fiber) => {
      const timeoutMillis = timeout === undefined ? defaultMillis : millisOf(timeout)
      if (timeoutMillis === undefined) return dieOf("timeout", "a duration, such as \"5 seconds\"")
      if (typeof method !== "string" && !SoraMethod.isSoraMethod(method)) {
        return dieOf("method", "a SoraMethod, or a string of rpc_methods")
      }
      const plan = planFor(method)
      if (plan instanceof MethodNotAvailable) {
        return obstacle(plan.method) ?? new RpcError({ method: plan.method, reason: plan })
      }
      const id = wantsResponse ? ids.next++ : undefined
      const run = (span?: Tracer.Span) =>
        Effect.callback<any, SoraRpcError>((resume) =>
          start(plan, params, id, timeoutMillis, span === undefined ? resume : Observe.recording(span, resume), span)
        )
      return Observe.isTraced(fiber) ? Observe.traced(run, plan.method, id, transport) : run()
    })

  const dieOf = (name: string, expected: string) =>
    Effect.die(new InvalidOptions({ issue: `${name}: expected ${expected}` }))

  return {
    call: (method, params, callOptions) => register(method, params, callOptions?.timeout, true),
    // Without a timeout there is no TimeoutError.
    notify: (method, params) =>
      register(method, params, Duration.infinity, false) as Effect.Effect<void, RpcError | Disconnected>,
    sizes: () => ({ waiting: waiting.size, queued: queue.size })
  }
})
