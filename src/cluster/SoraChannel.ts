/**
 * Channels of a fleet that does not fit one process: each channel has one
 * connection, on one runner of a cluster (`effect/cluster`), and every process of
 * the cluster calls it with the same `call` and `notify`, typed errors included.
 *
 * ```ts
 * const program = SoraRpc.requestSimulcastRid({ rid: "r1" }).pipe(
 *   Effect.provide(SoraChannel.get("lobby"))
 * )
 *
 * const Channels = SoraChannel.layer({
 *   lookup: (channelId, clientId) => NodeSora.layer({ signalingUrls, channelId, clientId, role: "recvonly" })
 * })
 *
 * // One process, without a database
 * Channels.pipe(Layer.provide(SoraChannel.layerLocal))
 * // Many: the same over sockets and Postgres
 * Channels.pipe(
 *   Layer.provide(NodeClusterSocket.layer({ shardingConfig: SoraChannel.shardingConfig })),
 *   Layer.provide(PgClient.layer({ url }))
 * )
 * ```
 *
 * - **At most once.** A call goes to the runner that holds the channel in one
 *   attempt, and is never persisted. When that runner is lost, the calls that it
 *   had fail with `Disconnected`: their fate is not known.
 * - **Moving.** A runner that stops, or hands a channel over, first says goodbye
 *   to Sora; then another one connects, on the next message. Calls made meanwhile
 *   wait for it, within their timeout.
 * - **Size.** A request and a result have 4 MiB at most as JSON, whatever the
 *   channel itself takes: more would break the link between two runners, with every
 *   call on it.
 * - **Twins.** Sora has no fencing: a runner that lost its channel and does not
 *   know it yet may still be connected. Both have the same `client_id`, so the
 *   older one sees the newer one in notify, and ends. For that, `lookup` has to
 *   pass on the `clientId` that it is given, without a `bundleId`, and notify must
 *   be on, which is Sora's default.
 *
 * `effect/cluster` is a module that Effect calls unstable: it may change in a
 * minor release.
 *
 * @since 0.1.0
 * @module
 */
import * as MessageStorage from "effect/cluster/MessageStorage"
import * as RunnerHealth from "effect/cluster/RunnerHealth"
import * as Runners from "effect/cluster/Runners"
import * as RunnerStorage from "effect/cluster/RunnerStorage"
import * as Sharding from "effect/cluster/Sharding"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as InternalOptions from "../internal/options.ts"
import { exceeds } from "../internal/rpc/channel.ts"
import * as Plans from "../internal/rpc/plans.ts"
import type { SoraConnection } from "../SoraConnection.ts"
import type { SoraConnectionError } from "../SoraConnectionError.ts"
import * as SoraMethod from "../SoraMethod.ts"
import { type CallOptions, SoraRpc } from "../SoraRpc.ts"
import {
  type Disconnected,
  InvalidOptions,
  PayloadTooLarge,
  RpcError,
  type SoraRpcError,
  TimeoutError,
  Unavailable
} from "../SoraRpcError.ts"
import * as Caller from "./internal/caller.ts"
import * as Holder from "./internal/holder.ts"
import * as Protocol from "./internal/protocol.ts"

/**
 * How channels are called.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClientOptions {
  /** Timeout of calls that name none, the way through the cluster included. Default 5 seconds. */
  readonly defaultTimeout?: Duration.Input | undefined
  /**
   * The name of this kind of channels in the cluster, the same on every runner.
   * Default `effect-sora-rpc/SoraChannel`. Two layers in one cluster, such as
   * for senders and for receivers, need a name each.
   */
  readonly name?: string | undefined
}

/**
 * How channels are held, and called.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<R = never> extends ClientOptions {
  /**
   * The layer that connects to a channel, with the `client_id` that it has to
   * have: with another one, of which a warning is logged, or with a `bundleId`, of
   * whose connections Sora tells each other nothing, twins are not seen. Made anew
   * for each connection, so a token may be fetched in it.
   */
  readonly lookup: (
    channelId: string,
    clientId: string
  ) => Layer.Layer<SoraRpc | SoraConnection, SoraConnectionError, R>
  /** The `client_id` of every channel's connection; the same on every runner. Default: the `name`. */
  readonly clientId?: string | undefined
  /**
   * How long a channel stays connected that nobody calls: 5 seconds at least, which
   * is how often it is looked at, at most. Default 1 minute; `Duration.infinity`
   * keeps it until its runner stops.
   */
  readonly idleTimeToLive?: Duration.Input | undefined
  /**
   * Channels that are connected without being called first, and stay so wherever
   * they are. As an effect it is asked again every 10 seconds; what it fails
   * with is logged. Default none.
   */
  readonly eager?: ReadonlyArray<string> | Effect.Effect<ReadonlyArray<string>, unknown, R> | undefined
}

const isFunction = (input: unknown): input is (channelId: string, clientId: string) => any =>
  typeof input === "function"

const clientFields = {
  defaultTimeout: Schema.optional(InternalOptions.Time),
  name: Schema.optional(Schema.NonEmptyString)
}

const checkClientOptions = InternalOptions.check(Schema.Struct(clientFields))

const checkOptions = InternalOptions.check(Schema.Struct({
  ...clientFields,
  lookup: Schema.declare(isFunction, { expected: "a function from a channel id and a client id to a layer" }),
  clientId: Schema.optional(Schema.NonEmptyString),
  idleTimeToLive: Schema.optional(InternalOptions.Time),
  eager: Schema.optional(Schema.Union([
    Schema.Array(Schema.String),
    Schema.declare(Effect.isEffect, { expected: "channel ids, or an effect that gives them" })
  ]))
}))

/**
 * Calls channels, wherever in the cluster they are held.
 *
 * @category services
 * @since 0.1.0
 */
export class SoraChannel extends Context.Service<SoraChannel, {
  /**
   * The calls of a channel. Nothing is connected before the first one.
   *
   * `methods` is empty where the channel cannot be reached. A call fails with
   * `Unavailable` when the channel's runner could not connect, which is then
   * tried again by the next call; with `Disconnected` when the runner is lost,
   * breaks or lets go of the channel while the call is under way. A notification
   * that is late fails with `Unavailable` while it was handed to no runner, and
   * with `Disconnected` after that, when it may have been sent.
   */
  readonly client: (channelId: string) => SoraRpc["Service"]
  /** Connects a channel that is not connected, and waits for it, for `defaultTimeout` at most. */
  readonly connect: (channelId: string) => Effect.Effect<void, RpcError | Disconnected>
}>()("effect-sora-rpc/cluster/SoraChannel") {}

const DefaultName = "effect-sora-rpc/SoraChannel"

/** The timeout of a call in milliseconds; what is no duration is a defect, since no type allows it. */
const millisOf = (timeout: Duration.Input | undefined, otherwise: number): number => {
  if (timeout === undefined) return otherwise
  const millis = InternalOptions.millisOf(timeout)
  if (millis === undefined) throw new InvalidOptions({ issue: "timeout: expected a duration, such as \"5 seconds\"" })
  return millis
}

// What a runner does is measured there.
const planFor = Plans.make(() => [], false, () => ({ ended: () => {} }))

const planOf = (method: SoraMethod.Any | string): Plans.Plan => {
  if (typeof method !== "string" && !SoraMethod.isSoraMethod(method)) {
    throw new InvalidOptions({ issue: "method: expected a method made with SoraMethod.make, or a string" })
  }
  // Nothing is checked against what is granted, which only the runner knows.
  return planFor(method) as Plans.Plan
}

/** The request, or why the params make none. */
const requestOf = (
  method: SoraMethod.Any | string,
  plan: Plans.Plan,
  params: unknown
): Effect.Effect<Protocol.Request, RpcError> => {
  const frame = Plans.frameOf(plan, undefined, params)
  if (typeof frame !== "string") return Effect.fail(new RpcError({ method: plan.method, reason: frame }))
  // What the channel itself takes is measured where it is sent, compressed or not.
  const bytes = exceeds(frame, Protocol.MaxBytes)
  if (bytes !== undefined) {
    const reason = new PayloadTooLarge({ bytes, maxBytes: Protocol.MaxBytes })
    return Effect.fail(new RpcError({ method: plan.method, reason }))
  }
  const { params: encoded } = JSON.parse(frame)
  return Effect.succeed({
    ...(typeof method === "string"
      ? { method, exact: true }
      : {
        method: method.name,
        exact: false,
        ...(method.version === undefined ? {} : { version: method.version })
      }),
    ...(encoded === undefined ? {} : { params: JSON.stringify(encoded) })
  })
}

const makeService = Effect.fnUntraced(
  function*(entity: ReturnType<typeof Protocol.makeEntity>, options: ClientOptions) {
    const caller = yield* Caller.make(entity)
    const clock = yield* Effect.clockWith(Effect.succeed)
    const defaultMillis = millisOf(options.defaultTimeout, 5000)
    const waitTime = Duration.millis(defaultMillis)

    const late = (method: string) =>
      new RpcError({
        method,
        reason: new Unavailable({ detail: `the channel was not reached within ${Duration.format(waitTime)}` })
      })

    const withMethod = (method: string) => (error: SoraRpcError): SoraRpcError =>
      error._tag === "RpcError" && error.reason._tag === "Unavailable" && error.method !== method
        ? new RpcError({ method, reason: error.reason })
        : error

    const call = (channelId: string) => (method: SoraMethod.Any | string, params?: unknown, options?: CallOptions) =>
      Effect.suspend((): Effect.Effect<any, SoraRpcError> => {
        const plan = planOf(method)
        const millis = millisOf(options?.timeout, defaultMillis)
        const late = new TimeoutError({ method: plan.method, timeout: Duration.millis(millis) })
        if (millis === 0) return Effect.fail(late)
        const deadline = clock.currentTimeMillisUnsafe() + millis
        return Effect.flatMap(
          requestOf(method, plan, params),
          (request) =>
            caller.send(channelId, Protocol.Rpcs.Call, () => {
              const timeout = deadline - clock.currentTimeMillisUnsafe()
              return Number.isFinite(timeout) ? { ...request, timeout: Math.max(1, timeout) } : request
            })
        ).pipe(
          Number.isFinite(millis)
            ? Effect.timeoutOrElse({
              duration: millis,
              orElse: () => Effect.fail(late)
            })
            : (call) => call,
          // The runner's own limit is what was left of this one.
          Effect.mapError((error) => error._tag === "TimeoutError" ? late : withMethod(plan.method)(error)),
          Effect.flatMap((text) => Plans.resultOf(plan, JSON.parse(text)))
        )
      })

    const withoutTimeout = <A>(
      method: string,
      effect: Effect.Effect<A, SoraRpcError>,
      lateError: () => RpcError | Disconnected = () => late(method)
    ) =>
      effect.pipe(
        Effect.timeoutOrElse({ duration: waitTime, orElse: () => Effect.fail(lateError()) }),
        Effect.mapError(withMethod(method)),
        // Only a call has a timeout.
        Effect.catchTag("TimeoutError", Effect.die)
      )

    const notify = (channelId: string) => (method: SoraMethod.Any | string, params?: unknown) =>
      Effect.suspend(() => {
        const plan = planOf(method)
        let runner: string | undefined
        return withoutTimeout(
          plan.method,
          Effect.flatMap(
            requestOf(method, plan, params),
            (request) =>
              caller.send(channelId, Protocol.Rpcs.Notify, () => request, (handed) => {
                runner = handed
              })
          ),
          // What was handed over may have been sent.
          () => runner === undefined ? late(plan.method) : Caller.silent(runner)
        )
      })

    const connect = (channelId: string) =>
      withoutTimeout("connect", caller.send(channelId, Protocol.Rpcs.Connect, () => undefined))

    const service = SoraChannel.of({
      client: (channelId) =>
        SoraRpc.of({
          methods: withoutTimeout("methods", caller.send(channelId, Protocol.Rpcs.Methods, () => undefined)).pipe(
            Effect.catch(() => Effect.succeed([]))
          ),
          call: call(channelId),
          notify: notify(channelId)
        }),
      connect
    })
    return { caller, service }
  }
)

/**
 * Calls channels from a process that holds none: of a client-only runner
 * (`NodeClusterSocket.layer({ clientOnly: true })`), for a program whose runners
 * have {@link layer}.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerClient = (
  options: ClientOptions = {}
): Layer.Layer<SoraChannel, InvalidOptions, Sharding.Sharding | Runners.Runners> =>
  Layer.effect(
    SoraChannel,
    Effect.gen(function*() {
      yield* checkClientOptions(options)
      const { service } = yield* makeService(Protocol.makeEntity(options.name ?? DefaultName), options)
      return service
    })
  )

/**
 * Holds channels on this runner, as many as the cluster gives it, and calls all
 * of them. Every runner needs it with the same options.
 *
 * A channel connects on its first message, or at once when it is `eager`, and is
 * let go when it is idle, when its runner stops, and when its shard moves. When
 * its connection ends the next message makes another one; with `reconnect` in
 * the options of the connection it comes back by itself.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <R = never>(
  options: Options<R>
): Layer.Layer<SoraChannel, InvalidOptions, Sharding.Sharding | Runners.Runners | R> =>
  Layer.effect(
    SoraChannel,
    Effect.gen(function*() {
      yield* checkOptions(options)
      const name = options.name ?? DefaultName
      const idleTimeToLive = Duration.max(Duration.fromInputUnsafe(options.idleTimeToLive ?? "1 minute"), LookEvery)
      const entity = Protocol.makeEntity(name)
      const { caller, service } = yield* makeService(entity, options)
      const turns = yield* Holder.makeTurns
      const holders = entity.toLayer(
        Holder.make({ lookup: options.lookup, clientId: options.clientId ?? name, turns }) as Effect.Effect<any>,
        {
          maxIdleTime: idleTimeToLive,
          // One slow call holds up no other.
          concurrency: "unbounded",
          // An entity that is started anew after a defect is given its messages again, and a call must not be made twice.
          disableFatalDefects: true
        }
      )
      // What `lookup` needs is in the context in which the entities are made.
      yield* Layer.build(holders as Layer.Layer<never, never, Sharding.Sharding | R>)
      if (options.eager !== undefined) {
        yield* keepConnected(options.eager, caller, service, idleTimeToLive)
      }
      return service
    })
  )

/** How often Effect looks for entities that are idle, at most. */
const LookEvery = Duration.seconds(5)

/** Eager channels that are connected at a time. */
const ConnectingAtOnce = 16

/** Connects the eager channels that this runner holds, again and again, and keeps them from being idle. */
const keepConnected = Effect.fnUntraced(function*<R>(
  eager: NonNullable<Options<R>["eager"]>,
  caller: Caller.Caller,
  service: SoraChannel["Service"],
  idleTimeToLive: Duration.Duration
): Effect.fn.Return<void, never, R | Scope.Scope> {
  let known: ReadonlyArray<string> = []
  const connecting = yield* FiberMap.make<string>()
  const semaphore = yield* Semaphore.make(ConnectingAtOnce)
  const here = Effect.sync(() => known.filter(caller.isHere))

  // Each by itself, so that one that hangs holds up no other.
  const connect = (channelId: string) =>
    service.connect(channelId).pipe(
      semaphore.withPermit,
      Effect.ignoreCause({ log: "Warn", message: `${channelId} is not connected` }),
      FiberMap.run(connecting, channelId, { onlyIfMissing: true })
    )
  yield* (Effect.isEffect(eager) ? eager : Effect.succeed(eager)).pipe(
    Effect.flatMap((channelIds) => {
      known = channelIds
      return Effect.flatMap(here, Effect.forEach(connect, { discard: true }))
    }),
    Effect.ignoreCause({ log: "Warn", message: "the eager channels are not known" }),
    Effect.repeat(Schedule.spaced(Duration.seconds(10))),
    Effect.forkScoped
  )

  // Beside that: those that are connected must not become idle while others wait for their turn.
  const every = Duration.min(Duration.seconds(10), Duration.times(idleTimeToLive, 0.5))
  yield* here.pipe(
    Effect.flatMap(Effect.forEach(caller.touch, { concurrency: "unbounded", discard: true })),
    Effect.timeoutOption(every),
    Effect.repeat(Schedule.spaced(every)),
    Effect.forkScoped
  )
})

/**
 * A cluster of this one process, without a database and without sockets: what
 * {@link layer} needs where one process is enough.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerLocal: Layer.Layer<Sharding.Sharding | Runners.Runners> = Sharding.layer.pipe(
  Layer.provideMerge(Runners.layerNoop),
  Layer.provide([
    MessageStorage.layerNoop,
    RunnerStorage.layerMemory,
    RunnerHealth.layerNoop,
    // Nothing leaves the process.
    ShardingConfig.layer({ simulateRemoteSerialization: false })
  ])
)

/**
 * What to give to a runner's `shardingConfig` so that channels come back soon.
 * The channels of a runner that was killed, so that its sockets have closed, answer
 * from another one after `shardLockExpiration` (12 s here, 35 s by default) at
 * most, when it is taken for dead, then `refreshAssignmentsInterval` (1 s, by
 * default 3), a second to lock, and the time to connect: within 15 seconds, where
 * Effect's defaults take 40. Often it is 4 to 6, when the runner that looks after
 * the others is alive. Those of a runner that is frozen, or whose machine falls
 * silent, answer within 25 seconds, mostly after 18: it keeps its locks until the
 * database ends its session.
 *
 * Calls that a killed runner had under way fail as soon as its sockets close,
 * which is at once where its machine lives on; those of a machine that falls
 * silent within 11 seconds, or their timeout.
 *
 * The price: a runner that does nothing for 12 seconds, or cannot reach the
 * database for so long, loses its channels, and each shard that moves has a third
 * of that to be unlocked, one after the other. Much less than this makes a
 * loaded machine lose its locks over a rebalancing of 300 shards. When a runner
 * stops, calls under way have 5 seconds to end (`entityTerminationTimeout`).
 *
 * @category configuration
 * @since 0.1.0
 */
export const shardingConfig: Partial<ShardingConfig.ShardingConfig["Service"]> = {
  shardLockExpiration: "12 seconds",
  refreshAssignmentsInterval: "1 second",
  runnerHealthCheckInterval: "2 seconds",
  entityTerminationTimeout: "5 seconds"
}

/**
 * The calls of a channel as a `SoraRpc`: a program that calls over one connection
 * calls a channel of the cluster with this layer.
 *
 * @category getters
 * @since 0.1.0
 */
export const get = (channelId: string): Layer.Layer<SoraRpc, never, SoraChannel> =>
  Layer.effect(SoraRpc, client(channelId))

/**
 * {@link get} as an effect.
 *
 * @category getters
 * @since 0.1.0
 */
export const client = (channelId: string): Effect.Effect<SoraRpc["Service"], never, SoraChannel> =>
  SoraChannel.useSync(({ client }) => client(channelId))

/**
 * Connects a channel that is not connected, and waits for it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const connect = (channelId: string): Effect.Effect<void, RpcError | Disconnected, SoraChannel> =>
  SoraChannel.use(({ connect }) => connect(channelId))
