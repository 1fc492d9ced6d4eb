/**
 * Connections to many channels, made when first asked for, shared by all who
 * ask for the same channel, and closed when nobody has used one for a while: a
 * `LayerMap` of Effect's whose keys are channel ids.
 *
 * ```ts
 * const nudge = SoraRpc.requestSimulcastRid({ rid: "r1" })
 *
 * const program = Effect.all([
 *   nudge.pipe(Effect.provide(SoraRpcMap.get("lobby"))),
 *   nudge.pipe(Effect.provide(SoraRpcMap.get("stage")))
 * ])
 *
 * program.pipe(Effect.provide(NodeSora.layerMap({ signalingUrls, role: "recvonly" }, { idleTimeToLive: "1 minute" })))
 * ```
 *
 * A plain `LayerMap` keeps what it has until it is idle, a failure and a dead
 * connection too. This one forgets a failure at once, and a connection when its
 * state is `Disconnected`, so that the next one who asks connects anew. (Its
 * calls fail a little earlier than that: before asking again wait for its
 * `changes` to end, or a moment.) Whoever holds the dead connection keeps it; it
 * is not replaced by another one.
 *
 * @since 0.1.0
 * @module
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as LayerMap from "effect/LayerMap"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { check, isTime } from "./internal/options.ts"
import { SoraConnection } from "./SoraConnection.ts"
import { LookupFailed, SoraConnectionError } from "./SoraConnectionError.ts"
import type { SoraRpc } from "./SoraRpc.ts"
import type { InvalidOptions } from "./SoraRpcError.ts"

/**
 * How connections are made, and how long they stay.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<E = never, R = never> {
  /**
   * The layer that connects to a channel. Made anew for each connection, so a
   * token may be fetched in it; one that expires is better fetched in `metadata`.
   */
  readonly lookup: (channelId: string) => Layer.Layer<SoraRpc | SoraConnection, SoraConnectionError | E, R>
  /**
   * How long a connection that nobody uses stays open, for all channels or by
   * channel id. Default zero: it is closed as soon as its last user lets go.
   */
  readonly idleTimeToLive?: Duration.Input | ((channelId: string) => Duration.Input) | undefined
}

const isFunction = (input: unknown): input is (channelId: string) => any => typeof input === "function"

const checkOptions = check(Schema.Struct({
  lookup: Schema.declare(isFunction, { expected: "a function from a channel id to a layer" }),
  idleTimeToLive: Schema.optional(Schema.declare(
    (input): input is NonNullable<Options["idleTimeToLive"]> => isFunction(input) || isTime(input),
    { expected: "a duration of at least 0, such as \"1 minute\", or a function from a channel id to one" }
  ))
}))

/**
 * Connections by channel id. Has what every `LayerMap` has: `get`,
 * `contextEffect`, `contextEffectOption`, `invalidate`.
 *
 * @category services
 * @since 0.1.0
 */
export class SoraRpcMap
  extends Context.Service<SoraRpcMap, LayerMap.LayerMap<string, SoraRpc | SoraConnection, SoraConnectionError>>()(
    "effect-sora-rpc/SoraRpcMap"
  )
{}

/**
 * A map whose connections are all closed with the scope, the ones in use too:
 * their waiting calls fail with `Disconnected`. Asking a closed map interrupts.
 * Errors of the lookup are those of the map, as they are: a service of your own
 * class can be made of it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*<E = never, R = never>(
  options: Options<E, R>
): Effect.fn.Return<
  LayerMap.LayerMap<string, SoraRpc | SoraConnection, SoraConnectionError | E>,
  InvalidOptions,
  R | Scope.Scope
> {
  yield* checkOptions(options)
  const scope = yield* Effect.scope
  // Which connection of a channel the map has now: an old one that ends late must not make it forget the new one.
  const newest = new Map<string, symbol>()
  const forgets = new WeakMap<SoraConnection["Service"], Effect.Effect<unknown>>()

  const map: LayerMap.LayerMap<string, SoraRpc | SoraConnection, SoraConnectionError | E> = yield* LayerMap.make(
    (channelId: string) => {
      const self = Symbol(channelId)
      newest.set(channelId, self)
      const isNewest = () => newest.get(channelId) === self
      // In a fiber of the map's scope, because forgetting may close the very scope that this runs in. It starts at once,
      // so that whoever sees the failure and asks again does not get the same failure again.
      const forget = Effect.suspend(() => isNewest() ? map.invalidate(channelId) : Effect.void).pipe(
        Effect.forkIn(scope, { startImmediately: true })
      )
      const forgetWhenEnded = (context: Context.Context<SoraRpc | SoraConnection>) => {
        const connection = Context.get(context, SoraConnection)
        forgets.set(connection, forget)
        return Stream.runDrain(connection.changes).pipe(
          Effect.andThen(forget),
          Effect.forkIn(scope, { startImmediately: true })
        )
      }
      const release = Effect.sync(() => {
        if (isNewest()) newest.delete(channelId)
      })
      // Within the layer, so that a lookup that throws is a layer that fails, and is forgotten as one.
      return Layer.suspend(() => options.lookup(channelId)).pipe(
        Layer.tap(forgetWhenEnded),
        Layer.tapCause(() => forget),
        Layer.provideMerge(Layer.effectDiscard(Effect.addFinalizer(() => release)))
      )
    },
    { idleTimeToLive: options.idleTimeToLive }
  )

  // Whoever sees that a connection is dead may ask again before the watcher above has run. It is forgotten here only
  // once: a server that ends every connection at once must not make this a loop.
  const contextEffect = Effect.fnUntraced(function*(channelId: string) {
    const borrowed = yield* Scope.fork(yield* Effect.scope)
    const context = yield* Scope.provide(map.contextEffect(channelId), borrowed)
    const connection = Context.get(context, SoraConnection)
    if ((yield* connection.state)._tag !== "Disconnected") return context
    yield* forgets.get(connection) ?? Effect.void
    yield* Scope.close(borrowed, Exit.void)
    return yield* map.contextEffect(channelId)
  })

  return { ...map, contextEffect, get: (channelId) => Layer.effectContext(contextEffect(channelId)) }
})

/**
 * A map that lives as long as the layer. `NodeSora.layerMap` is this one, wired
 * for Node. Whoever asks it gets a `SoraConnectionError` whatever the lookup fails
 * with: the service is one, and does not know that error's type. Of an error of
 * yours the reason is `LookupFailed`, with that error as its `cause`.
 *
 * ```ts
 * SoraRpcMap.layer({
 *   lookup: (channelId) =>
 *     NodeSora.layer({
 *       signalingUrls,
 *       channelId,
 *       role: "recvonly",
 *       metadata: Effect.map(fetchToken(channelId), (access_token) => Redacted.make({ access_token }))
 *     }),
 *   idleTimeToLive: "1 minute"
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E = never, R = never>(options: Options<E, R>): Layer.Layer<SoraRpcMap, InvalidOptions, R> =>
  Layer.effect(
    SoraRpcMap,
    // Checked first: it is another lookup from here on.
    Effect.andThen(
      checkOptions(options),
      make<never, R>({ ...options, lookup: (channelId) => Layer.catch(options.lookup(channelId), failed) })
    )
  )

const failed = (error: unknown) =>
  Layer.effectContext<SoraRpc | SoraConnection, SoraConnectionError, never>(Effect.fail(toConnectionError(error)))

const toConnectionError = (error: unknown): SoraConnectionError =>
  error instanceof SoraConnectionError
    ? error
    : new SoraConnectionError({ reason: new LookupFailed({ cause: error }) })

/**
 * `SoraRpc` and `SoraConnection` of a channel, over the connection that all
 * users of that channel share. Connects when there is none; fails as connecting
 * does, for everyone who waits for it, and the next one to ask tries again.
 *
 * ```ts
 * SoraRpc.requestSimulcastRid({ rid: "r1" }).pipe(Effect.provide(SoraRpcMap.get("lobby")))
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const get = (
  channelId: string
): Layer.Layer<SoraRpc | SoraConnection, SoraConnectionError, SoraRpcMap> =>
  Layer.unwrap(SoraRpcMap.useSync((map) => map.get(channelId)))

/**
 * {@link get} as an effect: the connection is held until the scope closes.
 *
 * @category getters
 * @since 0.1.0
 */
export const contextEffect = (
  channelId: string
): Effect.Effect<Context.Context<SoraRpc | SoraConnection>, SoraConnectionError, SoraRpcMap | Scope.Scope> =>
  SoraRpcMap.use((map) => map.contextEffect(channelId))

/**
 * Forgets the connection of a channel: the next one to ask gets a new one. The
 * old one is closed at once when nobody uses it, else when its last user lets
 * go.
 *
 * @category combinators
 * @since 0.1.0
 */
export const invalidate = (channelId: string): Effect.Effect<void, never, SoraRpcMap> =>
  SoraRpcMap.use((map) => map.invalidate(channelId))
