/**
 * The runner's side of a channel: what holds its connection, and answers for it.
 */
import * as Cause from "effect/Cause"
import * as Entity from "effect/cluster/Entity"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as RcMap from "effect/RcMap"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { ClientFault } from "../../DisconnectReason.ts"
import { exceeds } from "../../internal/rpc/channel.ts"
import * as Signaling from "../../Signaling.ts"
import { SoraConnection } from "../../SoraConnection.ts"
import type { SoraConnectionError } from "../../SoraConnectionError.ts"
import * as SoraMethod from "../../SoraMethod.ts"
import { SoraRpc } from "../../SoraRpc.ts"
import { Disconnected, InvalidResult, RpcError, type SoraRpcError, Unavailable } from "../../SoraRpcError.ts"
import { MaxBytes, type Request } from "./protocol.ts"

interface Held {
  readonly scope: Scope.Closeable
  readonly rpc: SoraRpc["Service"]
  readonly connection: SoraConnection["Service"]
}

/** @internal */
export interface Options<R> {
  readonly lookup: (
    channelId: string,
    clientId: string
  ) => Layer.Layer<SoraRpc | SoraConnection, SoraConnectionError, R>
  readonly clientId: string
  readonly turns: Turns
}

/**
 * Whose turn it is to be connected to a channel, in this process. An entity that is
 * idle is forgotten before it has said goodbye, and a message builds the next one.
 *
 * @internal
 */
export const makeTurns = RcMap.make({ lookup: (_channelId: string) => Semaphore.make(1) })

/** @internal */
export type Turns = Effect.Success<typeof makeTurns>

/**
 * Another connection with our `client_id` is newer than ours: another runner
 * believes that the channel is its own, and took it over. Sora has no fencing,
 * so ours ends. False when the connection ends before that.
 *
 * Which one is ours the offer says, in the order in which Sora sends: with
 * `reconnect` it tells of a connection long before that is up. What is heard before
 * any offer may be of an attempt before the first connection: there the members tell.
 */
const hasTwin = (connection: SoraConnection["Service"], clientId: string): Effect.Effect<boolean> =>
  connection.signaling.pipe(
    Stream.filter(({ direction, message }) =>
      direction === "received" && (message["type"] === "offer" || message["type"] === "notify")
    ),
    Stream.mapAccumEffect((): string | undefined => undefined, (own, { message }) => {
      const decoded = Result.getOrUndefined(Signaling.decodeServerMessage(message))
      if (decoded?.type === "offer") return Effect.succeed([decoded.connectionId, []])
      if (decoded?.type !== "notify" || decoded._tag !== "connection.created" || decoded.clientId !== clientId) {
        return Effect.succeed([own, []])
      }
      const { connectionId = "" } = decoded
      const isOther = own !== undefined
        ? Effect.succeed(connectionId !== own)
        : Effect.map(connection.members, (members) => members.get(connectionId)?.isSelf === false)
      return Effect.map(isOther, (isOther) => [own, isOther ? [true] : []])
    }),
    Stream.runHead,
    Effect.map(Option.isSome)
  )

/**
 * The connection of one channel: made when it is first needed, made anew when it
 * has ended, and released with the scope, which says goodbye.
 */
const makeConnection = Effect.fnUntraced(function*<R>(channelId: string, { clientId, lookup, turns }: Options<R>) {
  const context = yield* Effect.context<R>()
  const scope = yield* Effect.scope
  // Both have one writer each: `connecting` and `held` are changed in here alone.
  let held: Held | undefined
  let connecting: Fiber.Fiber<Held, SoraConnectionError> | undefined

  const letGo = (ended: Held) =>
    Effect.suspend(() => {
      if (held === ended) held = undefined
      return Scope.close(ended.scope, Exit.void)
    })

  const connect = Effect.gen(function*() {
    if (held !== undefined) yield* letGo(held)
    const own = yield* Scope.fork(scope)
    const services = yield* RcMap.get(turns, channelId).pipe(
      // Before the connection, so that the turn ends after it.
      Effect.flatMap((turn) => Effect.acquireRelease(turn.take(1), () => turn.release(1), { interruptible: true })),
      Scope.provide(own),
      Effect.andThen(Layer.buildWithScope(Layer.suspend(() => lookup(channelId, clientId)), own)),
      Effect.provideContext(context),
      Effect.onError(() => Scope.close(own, Exit.void))
    )
    const made: Held = {
      scope: own,
      rpc: Context.get(services, SoraRpc),
      connection: Context.get(services, SoraConnection)
    }
    const offer = yield* made.connection.offer
    if (offer.clientId !== undefined && offer.clientId !== clientId) {
      yield* Effect.logWarning(
        `the channel ${channelId} is connected with another client_id than the one given to lookup: a runner that takes it over is not seen`
      )
    }
    // Not in the connection's own scope, which it closes.
    yield* hasTwin(made.connection, clientId).pipe(
      Effect.flatMap((appeared) =>
        appeared
          ? Effect.andThen(
            Effect.logWarning(`another runner took over the channel ${channelId}: letting go of it`),
            letGo(made)
          )
          : Effect.void
      ),
      Effect.forkIn(scope)
    )
    held = made
    return made
  })

  // In a fiber of its own, so that a caller that is interrupted takes the connection away from no other.
  const current = Effect.gen(function*() {
    if (connecting !== undefined) return yield* Fiber.join(connecting)
    if (held !== undefined && (yield* held.connection.state)._tag !== "Disconnected") return held
    if (connecting === undefined) {
      const fiber = yield* Effect.forkIn(connect, scope)
      connecting = fiber
      fiber.addObserver(() => {
        connecting = undefined
      })
    }
    return yield* Fiber.join(connecting)
  })

  return Effect.map(current, ({ rpc }) => rpc)
})

/** What stood in the way of a connection. Nothing was sent. */
const unavailable = (method: string, cause: Cause.Cause<SoraConnectionError>): Effect.Effect<never, RpcError> => {
  if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
  const error = Cause.squash(cause)
  const detail = error instanceof Error ? error.message : "the layer of the channel failed"
  return Effect.fail(new RpcError({ method, reason: new Unavailable({ detail, cause: error }) }))
}

/** The string to send: the caller's own, or the one granted that fits its method. */
const nameOf = ({ exact, method, version }: Request, granted: ReadonlyArray<string>): string => {
  if (exact) return method
  const value = SoraMethod.make(method, { version })
  return SoraMethod.resolve(value, granted) ?? SoraMethod.wireName(value)
}

/** What Sora said, as it goes to the caller. */
const written = (method: string, said: unknown): Effect.Effect<string, RpcError> => {
  const refused = (issue: string) => Effect.fail(new RpcError({ method, reason: new InvalidResult({ issue }) }))
  try {
    const text = JSON.stringify(said)
    const bytes = exceeds(text, MaxBytes)
    return bytes === undefined
      ? Effect.succeed(text)
      : refused(`the answer has ${bytes} bytes, more than the ${MaxBytes} that go through a cluster`)
  } catch {
    return refused("the answer is nested too deeply to go through a cluster")
  }
}

/** What breaks here breaks nothing else, and the caller learns what it was. */
const guarded = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | Disconnected, R> =>
  Effect.catchDefect(effect, (cause) => Effect.fail(new Disconnected({ reason: new ClientFault({ cause }) })))

/**
 * The handlers of one channel, for as long as this runner holds it.
 *
 * @internal
 */
export const make = Effect.fnUntraced(function*<R>(options: Options<R>) {
  const { entityId: channelId } = yield* Entity.CurrentAddress
  const { host, port } = yield* Entity.CurrentRunnerAddress
  const connection = yield* makeConnection(channelId, options)
  const connected = (method: string) => Effect.catchCause(connection, (cause) => unavailable(method, cause))

  const prepare = Effect.fnUntraced(function*(request: Request) {
    const rpc = yield* connected(request.method)
    const method = nameOf(request, yield* rpc.methods)
    const params: Schema.JsonObject | undefined = request.params === undefined ? undefined : JSON.parse(request.params)
    return { rpc, method, params }
  })

  const call = Effect.fnUntraced(function*(request: Request): Effect.fn.Return<string, SoraRpcError> {
    const { method, params, rpc } = yield* prepare(request)
    const result = yield* rpc.call(method, params, { timeout: request.timeout ?? Infinity }).pipe(
      Effect.catchReason(
        "RpcError",
        "ServerError",
        ({ data, message }, error) => Effect.andThen(written(method, [message, data]), Effect.fail(error))
      )
    )
    return yield* written(method, result)
  })

  return {
    Locate: () => Effect.succeed({ host, port }),
    Connect: () => guarded(Effect.asVoid(connected(""))),
    Methods: () => guarded(Effect.flatMap(connected(""), ({ methods }) => methods)),
    Call: ({ payload }: { readonly payload: Request }) => guarded(call(payload)),
    Notify: ({ payload }: { readonly payload: Request }) =>
      guarded(Effect.flatMap(prepare(payload), ({ method, params, rpc }) => rpc.notify(method, params)))
  }
})
