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
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { SoraConnection } from "../../SoraConnection.ts"
import type { SoraConnectionError } from "../../SoraConnectionError.ts"
import * as SoraMethod from "../../SoraMethod.ts"
import { SoraRpc } from "../../SoraRpc.ts"
import { RpcError, Unavailable } from "../../SoraRpcError.ts"
import type { Request } from "./protocol.ts"

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
}

/**
 * Another connection with our `client_id` is newer than ours: another runner
 * believes that the channel is its own, and took it over. Sora has no fencing,
 * so ours ends. False when the connection ends before that.
 */
const hasTwin = (connection: SoraConnection["Service"], clientId: string): Effect.Effect<boolean> =>
  connection.notify.pipe(
    Stream.filterEffect((event) =>
      event._tag === "connection.created" && event.clientId === clientId
        ? Effect.map(connection.offer, ({ connectionId }) => event.connectionId !== connectionId)
        : Effect.succeed(false)
    ),
    Stream.runHead,
    Effect.map(Option.isSome)
  )

/**
 * The connection of one channel: made when it is first needed, made anew when it
 * has ended, and released with the scope, which says goodbye.
 */
const makeConnection = Effect.fnUntraced(function*<R>(channelId: string, { clientId, lookup }: Options<R>) {
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
    const services = yield* Layer.buildWithScope(Layer.suspend(() => lookup(channelId, clientId)), own).pipe(
      Effect.provideContext(context),
      Effect.onError(() => Scope.close(own, Exit.void))
    )
    const made: Held = {
      scope: own,
      rpc: Context.get(services, SoraRpc),
      connection: Context.get(services, SoraConnection)
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

  return {
    Locate: () => Effect.succeed({ host, port }),
    Connect: () => Effect.asVoid(connected("")),
    Methods: () => Effect.flatMap(connected(""), ({ methods }) => methods),
    Call: ({ payload }: { readonly payload: Request }) =>
      Effect.flatMap(prepare(payload), ({ method, params, rpc }) =>
        Effect.map(
          rpc.call(method, params, { timeout: payload.timeout ?? Infinity }),
          (result) => JSON.stringify(result)
        )),
    Notify: ({ payload }: { readonly payload: Request }) =>
      Effect.flatMap(prepare(payload), ({ method, params, rpc }) => rpc.notify(method, params))
  }
})
