import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  Queue,
  Schema,
  Scope,
  Stream
} from "effect"
import {
  DisconnectReason,
  SoraConnection,
  SoraConnectionError,
  SoraMethod,
  SoraRpc,
  SoraRpcError
} from "effect-sora-rpc"
import { SoraChannel } from "effect-sora-rpc/cluster"
import { NodeSora } from "effect-sora-rpc/node"
import { SoraServer } from "effect-sora-rpc/server"
import { MessageStorage, RunnerHealth, Runners, RunnerStorage, Sharding, ShardingConfig } from "effect/cluster"
import { TestClock } from "effect/testing"

const Own = SoraMethod.make("Own", {
  version: "1",
  params: SoraMethod.Struct({ roomId: Schema.String }),
  result: SoraMethod.Struct({ memberCount: Schema.Int })
})
const Hang = SoraMethod.make("Hang", { version: "1" })

describe("in one process, without a database", () => {
  it.live("calls each channel over its own connection, typed and raw", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({
        handlers: [SoraMethod.handle(Own, ({ roomId }, { channelId }) =>
          Effect.succeed({ memberCount: roomId.length + channelId.length }))]
      })
      const channels = SoraChannel.layer({
        lookup: (channelId, clientId) =>
          NodeSora.layer({ signalingUrls: [server.url], channelId, clientId, role: "sendrecv", simulcast: true })
      })
      const context = yield* Layer.build(Layer.provide(channels, SoraChannel.layerLocal))
      const { client } = Context.get(context, SoraChannel.SoraChannel)
      assert.deepStrictEqual(yield* server.connections, [])
      const [one, two] = [client("one"), client("three")]
      assert.deepStrictEqual(yield* one.call(Own, { roomId: "12" }), { memberCount: 5 })
      assert.deepStrictEqual(yield* two.call("1/Own", { room_id: "12" }), { member_count: 7 })
      assert.strictEqual((yield* one.call(SoraMethod.RequestSimulcastRid, { rid: "r1" })).rid, "r1")
      yield* one.notify(SoraMethod.PutSignalingNotifyMetadataItem, { key: "mood", value: "busy" })
      assert.include(yield* one.methods, "1/Own")
      const connections = yield* server.connections
      assert.sameMembers(
        connections.map(({ channelId }) =>
          channelId
        ),
        ["one", "three"]
      )
      assert.deepStrictEqual(connections.map(({ clientId }) => clientId), [
        "effect-sora-rpc/SoraChannel",
        "effect-sora-rpc/SoraChannel"
      ])
      // A program for one connection.
      yield* SoraRpc.requestSimulcastRid({ rid: "none" }).pipe(
        Effect.provide(SoraChannel.get("one")),
        Effect.provideContext(context)
      )
    }).pipe(Effect.scoped))

  it.live("a connection that another with its client_id follows lets go", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      // Two that do not know of each other, as when a runner has lost a channel and does not see it.
      const channels = SoraChannel.layer({
        lookup: (channelId, clientId) =>
          NodeSora.layer({
            signalingUrls: [server.url],
            channelId,
            clientId,
            role: "sendonly",
            audio: false,
            video: false
          })
      })
      const runner = Effect.map(
        Layer.build(Layer.fresh(Layer.provide(channels, Layer.fresh(SoraChannel.layerLocal)))),
        (context) => Context.get(context, SoraChannel.SoraChannel)
      )
      const [older, newer] = [yield* runner, yield* runner]
      yield* older.connect("lobby")
      const [first] = yield* server.connections
      yield* newer.connect("lobby")
      const ids = Effect.map(server.connections, (now) => now.map(({ connectionId }) => connectionId))
      const gone: Effect.Effect<void> = Effect.flatMap(ids, (now) =>
        now.includes(first!.connectionId) ? Effect.delay(gone, 10) : Effect.void)
      yield* gone
      assert.lengthOf(yield* ids, 1)
    }).pipe(Effect.scoped))
})

/** Connections without a network, which say when they are made and let go. */
const makeFake = Effect.gen(function*() {
  const log: Array<string> = []
  const began = yield* Deferred.make<void>()
  const cancelled = yield* Deferred.make<void>()
  const asked: Array<unknown> = []
  let refusals = 0
  let isDead = false
  let goodbye: Effect.Effect<void> = Effect.void
  let offer: { readonly connectionId: string; readonly clientId?: string } = { connectionId: "OURS" }
  const members = new Map(["OURS", "TWIN"].map((id) => [id, { connectionId: id, isSelf: id === "OURS" }]))
  const received = yield* Queue.unbounded<Schema.JsonObject>()
  const rpc = (channelId: string) =>
    SoraRpc.SoraRpc.of({
      methods: Effect.succeed(["1/Own", "1/Hang", "exact"]),
      call: (method: any, params?: any, options?: SoraRpc.CallOptions): Effect.Effect<any, any> => {
        asked.push([method, params, options?.timeout])
        if (method === "1/Hang") {
          return Deferred.succeed(began, undefined).pipe(
            Effect.andThen(Effect.never),
            Effect.onInterrupt(() => Deferred.succeed(cancelled, undefined))
          )
        }
        if (method === "late") {
          return Effect.fail(
            new SoraRpcError.TimeoutError({ method, timeout: Duration.millis(1) })
          )
        }
        return method === "exact"
          ? Effect.fail(
            new SoraRpcError.RpcError({
              method,
              reason: new SoraRpcError.ServerError({ code: 7, message: "no", data: [1, { much: Infinity }] })
            })
          )
          : Effect.succeed(method === "1/Own" ? { member_count: params.room_id.length } : channelId)
      },
      notify: (method: any, params?: any) =>
        method === "1/Hang"
          ? Effect.andThen(Deferred.succeed(began, undefined), Effect.never)
          : Effect.sync(() => void asked.push([method, params]))
    })
  const lookup = (channelId: string) =>
    Layer.effectContext(Effect.gen(function*() {
      if (refusals-- > 0) {
        return yield* new SoraConnectionError.SoraConnectionError({
          reason: new SoraConnectionError.Refused({ code: 4490, reason: "NOT-NOW" })
        })
      }
      if (channelId.startsWith("never")) return yield* Effect.never
      isDead = false
      yield* Effect.acquireRelease(
        Effect.sync(() => log.push(`+${channelId}`)),
        () => Effect.andThen(Effect.suspend(() => goodbye), Effect.sync(() => log.push(`-${channelId}`)))
      )
      const connection = {
        state: Effect.sync(() => ({ _tag: isDead ? "Disconnected" : "Connected" })),
        offer: Effect.sync(() => offer),
        members: Effect.succeed(members),
        signaling: Stream.map(Stream.fromQueue(received), (message) => ({ direction: "received", message }))
      } as Partial<Record<keyof SoraConnection.SoraConnection["Service"], unknown>> as SoraConnection.SoraConnection[
        "Service"
      ]
      return Context.make(SoraRpc.SoraRpc, rpc(channelId)).pipe(Context.add(SoraConnection.SoraConnection, connection))
    }))
  return {
    log,
    asked,
    began,
    cancelled,
    lookup,
    received,
    refuse: (times: number) => void (refusals = times),
    die: () => void (isDead = true),
    goodbyeIs: (effect: Effect.Effect<void>) => void (goodbye = effect),
    offerIs: (of: typeof offer) => void (offer = of)
  }
})

const holding = (options: SoraChannel.Options) =>
  Effect.map(
    Layer.build(Layer.provide(SoraChannel.layer(options), Layer.fresh(SoraChannel.layerLocal))),
    (context) => Context.get(context, SoraChannel.SoraChannel)
  )

/** Lets the clock go on until the effect is done. */
const elapse = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect)
    while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust(100)
    return yield* Fiber.join(fiber)
  })

describe("a call", () => {
  it.effect("is written and read by its method value, and named by what is granted", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const { client } = yield* holding({ lookup: fake.lookup })
      const lobby = client("lobby")
      assert.deepStrictEqual(yield* elapse(lobby.call(Own, { roomId: "four" })), { memberCount: 4 })
      assert.strictEqual(yield* lobby.call("raw", [1, { a: null }]), "lobby")
      yield* lobby.notify(Own, { roomId: "n" })
      yield* lobby.notify("raw")
      assert.deepStrictEqual(fake.asked.map((asked) => (asked as Array<unknown>).slice(0, 2)), [
        ["1/Own", { room_id: "four" }],
        ["raw", [1, { a: null }]],
        ["1/Own", { room_id: "n" }],
        ["raw", undefined]
      ])
    }).pipe(Effect.scoped))

  it.effect("fails with a server's error as it is, whatever its data", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const { client } = yield* holding({ lookup: fake.lookup })
      const error = yield* elapse(Effect.flip(client("lobby").call("exact")))
      assert(error._tag === "RpcError" && error.reason._tag === "ServerError")
      assert.deepStrictEqual([error.method, error.code, error.message], ["exact", 7, "no"])
    }).pipe(Effect.scoped))

  it.effect("with params that do not fit goes nowhere", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const { client } = yield* holding({ lookup: fake.lookup })
      const errors = [
        yield* Effect.flip(client("lobby").call(Own, { roomId: 1 as unknown as string })),
        yield* Effect.flip(client("lobby").call("raw", { a: new Date(0) as unknown as string })),
        yield* Effect.flip(client("lobby").notify(Own, {} as { readonly roomId: string }))
      ]
      for (const error of errors) assert.strictEqual(error._tag === "RpcError" && error.reason._tag, "InvalidParams")
      assert.deepStrictEqual([fake.log, fake.asked], [[], []])
    }).pipe(Effect.scoped))

  it.effect("ends with its own TimeoutError, and is cancelled where it was made", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const { client } = yield* holding({ lookup: fake.lookup, defaultTimeout: "3 seconds" })
      const call = yield* Effect.forkChild(Effect.flip(elapse(client("lobby").call(Hang))))
      const expected = new SoraRpcError.TimeoutError({ method: "1/Hang", timeout: Duration.seconds(3) })
      assert.deepStrictEqual(yield* Fiber.join(call), expected)
      yield* Deferred.await(fake.cancelled)
      // What was left of it when it was sent is the limit there.
      const [[, , left]] = fake.asked as [[unknown, unknown, number]]
      assert.isAbove(left, 0)
      assert.isAtMost(left, 3000)
      // Where that one is first, the caller sees its own all the same.
      assert.deepStrictEqual(
        yield* Effect.flip(elapse(client("lobby").call("late", undefined, { timeout: "7.5 seconds" }))),
        new SoraRpcError.TimeoutError({ method: "late", timeout: Duration.seconds(7.5) })
      )
      fake.asked.length = 1
      const none = yield* Effect.flip(client("lobby").call(Hang, undefined, { timeout: 0 }))
      assert.strictEqual(none._tag, "TimeoutError")
      assert.lengthOf(fake.asked, 1)
    }).pipe(Effect.scoped))

  it.effect("that is a notification fails as Disconnected once it may have been sent", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const { client } = yield* holding({ lookup: fake.lookup })
      const error = yield* elapse(Effect.flip(client("lobby").notify(Hang)))
      assert(error._tag === "Disconnected" && error.reason._tag === "ClientFault")
      assert.include(String(error.reason.cause), "did not answer in time")
    }).pipe(Effect.scoped))

  it.effect("that breaks where it is made fails with what broke", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const rpc = (context: Context.Context<SoraRpc.SoraRpc | SoraConnection.SoraConnection>) =>
        Context.add(context, SoraRpc.SoraRpc, {
          ...Context.get(context, SoraRpc.SoraRpc),
          call: () => Effect.die(new TypeError("what broke"))
        })
      const { client } = yield* holding({
        lookup: (channelId) => Layer.effectContext(Effect.map(Layer.build(fake.lookup(channelId)), rpc))
      })
      const error = yield* elapse(Effect.flip(client("lobby").call(Own, { roomId: "" })))
      assert(error._tag === "Disconnected" && error.reason._tag === "ClientFault")
      assert.include(String(error.reason.cause), "TypeError: what broke")
    }).pipe(Effect.scoped))

  it.effect("that is interrupted is cancelled where it was made", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const { client } = yield* holding({ lookup: fake.lookup })
      const call = yield* Effect.forkChild(client("lobby").call(Hang, undefined, { timeout: Duration.infinity }))
      yield* elapse(Deferred.await(fake.began))
      yield* Fiber.interrupt(call)
      yield* Deferred.await(fake.cancelled)
    }).pipe(Effect.scoped))

  it.effect("that cannot be typed is a defect", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const { client } = yield* holding({ lookup: fake.lookup })
      const lobby = client("lobby")
      for (
        const call of [
          lobby.call(7 as unknown as string),
          lobby.call(Hang, undefined, { timeout: "soon" as "1 second" })
        ]
      ) {
        const exit = yield* Effect.exit(call)
        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      }
    }).pipe(Effect.scoped))
})

describe("a connection", () => {
  it.effect("that cannot be made is Unavailable, and is tried again by the next call", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const { client, connect } = yield* holding({ lookup: fake.lookup })
      fake.refuse(2)
      const errors = [
        yield* elapse(Effect.flip(connect("lobby"))),
        yield* Effect.flip(client("lobby").call(Own, { roomId: "" }))
      ]
      for (const error of errors) {
        assert(error._tag === "RpcError" && error.reason._tag === "Unavailable")
        assert.include(error.reason.detail, "NOT-NOW")
      }
      assert.strictEqual(errors[1]!.message.split(":")[0], "1/Own")
      yield* client("lobby").call(Own, { roomId: "" })
      assert.deepStrictEqual(fake.log, ["+lobby"])
      fake.refuse(9)
      assert.deepStrictEqual(yield* client("stage").methods, [])
    }).pipe(Effect.scoped))

  it.effect("that cannot even be looked up is Unavailable too", () =>
    Effect.gen(function*() {
      const { connect } = yield* holding({
        lookup: () => {
          throw new TypeError("no such channel")
        }
      })
      const error = yield* elapse(Effect.flip(connect("lobby")))
      assert(error._tag === "RpcError" && error.reason._tag === "Unavailable")
      assert.include(error.reason.detail, "no such channel")
    }).pipe(Effect.scoped))

  it.effect("is made once for those who ask together, and anew when it has ended", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const { client, connect } = yield* holding({ lookup: fake.lookup })
      yield* elapse(Effect.all([connect("a"), connect("a"), client("a").methods], { concurrency: "unbounded" }))
      assert.deepStrictEqual(fake.log, ["+a"])
      fake.die()
      yield* Effect.all([connect("a"), connect("a")], { concurrency: "unbounded" })
      assert.deepStrictEqual(fake.log, ["+a", "-a", "+a"])
    }).pipe(Effect.scoped))

  it.effect("is not taken from the others by a caller that is interrupted while it is made", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const [began, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const { connect } = yield* holding({
        lookup: (channelId) =>
          Layer.unwrap(
            Deferred.succeed(began, undefined).pipe(
              Effect.andThen(Deferred.await(go)),
              Effect.as(fake.lookup(channelId))
            )
          )
      })
      const first = yield* Effect.forkChild(connect("a"))
      yield* elapse(Deferred.await(began))
      const second = yield* Effect.forkChild(connect("a"), { startImmediately: true })
      yield* Effect.yieldNow
      yield* Fiber.interrupt(first)
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(second)
      assert.deepStrictEqual(fake.log, ["+a"])
    }).pipe(Effect.scoped))

  it.effect("ends when a newer one has its client_id", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const { connect } = yield* holding({ lookup: fake.lookup, clientId: "bot" })
      yield* elapse(connect("a"))
      const created = { type: "notify", event_type: "connection.created", client_id: "bot", connection_id: "OURS" }
      yield* Queue.offerAll(fake.received, [
        // Of an attempt before, of which the offer is not heard any more.
        { ...created, connection_id: "FAILED" },
        created,
        { ...created, client_id: "guest", connection_id: "GUEST" },
        { type: "offer", sdp: "", connection_id: "AGAIN", client_id: "bot" },
        { ...created, connection_id: "AGAIN" },
        { ...created, connection_id: 1 }
      ])
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(fake.log, ["+a"])
      yield* Queue.offer(fake.received, { ...created, connection_id: "TWIN" })
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(fake.log, ["+a", "-a"])
      yield* connect("a")
      assert.deepStrictEqual(fake.log, ["+a", "-a", "+a"])
    }).pipe(Effect.scoped))

  it.effect("that is made again is not its own twin, while another one is", () =>
    Effect.gen(function*() {
      const soras: Array<SoraConnection.TestSora["Service"]> = []
      // Sora tells of the new connection long before it is up.
      const connection = (clientId: string) =>
        SoraConnection.layerTest({ clientId, reconnect: true, onConnected: () => Effect.sleep("3 seconds") })
      const { connect } = yield* holding({
        lookup: (_, clientId) =>
          Layer.provideMerge(
            Layer.effectDiscard(Effect.map(SoraConnection.TestSora, (sora) => soras.push(sora))),
            connection(clientId)
          )
      })
      yield* elapse(connect("a"))
      const [sora] = soras
      for (let times = 0; times < 2; times++) {
        yield* sora!.disconnect(new DisconnectReason.SocketLost({}))
        yield* TestClock.adjust("10 seconds")
        yield* connect("a")
        assert.lengthOf(soras, 1)
      }
      yield* sora!.join({ clientId: "effect-sora-rpc/SoraChannel" })
      yield* TestClock.adjust("1 second")
      yield* elapse(connect("a"))
      assert.lengthOf(soras, 2)
      // Also one that comes before the connection is up again.
      yield* soras[1]!.disconnect(new DisconnectReason.SocketLost({}))
      yield* TestClock.adjust("2 seconds")
      yield* soras[1]!.join({ clientId: "effect-sora-rpc/SoraChannel" })
      yield* TestClock.adjust("1 second")
      yield* elapse(connect("a"))
      assert.lengthOf(soras, 3)
    }).pipe(Effect.scoped))

  it.effect("with another client_id than the one given is told of", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const said: Array<unknown> = []
      const { connect } = yield* holding({ lookup: fake.lookup, clientId: "bot" }).pipe(
        Effect.provide(Logger.layer([Logger.make(({ message }) => void said.push(message))]))
      )
      fake.offerIs({ connectionId: "OURS", clientId: "bot" })
      yield* elapse(connect("a"))
      assert.deepStrictEqual(said, [])
      fake.offerIs({ connectionId: "OURS", clientId: "someone" })
      yield* elapse(connect("b"))
      assert.include(String(said), "another client_id")
    }).pipe(Effect.scoped))

  it.effect("is made when the one before has said goodbye", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const [leaving, left] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      fake.goodbyeIs(Effect.andThen(Deferred.succeed(leaving, undefined), Deferred.await(left)))
      const { client, connect } = yield* holding({ lookup: fake.lookup, idleTimeToLive: "10 seconds" })
      yield* elapse(connect("a"))
      yield* elapse(Deferred.await(leaving))
      const call = yield* Effect.forkChild(client("a").call(Own, { roomId: "four" }))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(fake.log, ["+a"])
      yield* Deferred.succeed(left, undefined)
      assert.deepStrictEqual(yield* Fiber.join(call), { memberCount: 4 })
      assert.deepStrictEqual(fake.log, ["+a", "-a", "+a"])
    }).pipe(Effect.scoped))

  it.effect("is let go when nobody has called for a while, and with the scope", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const scope = yield* Scope.make()
      const { client, connect } = yield* Scope.provide(
        holding({ lookup: fake.lookup, idleTimeToLive: "30 seconds" }),
        scope
      )
      yield* elapse(connect("a"))
      // A call under way is no idleness.
      const call = yield* Effect.forkChild(client("b").call(Hang, undefined, { timeout: Duration.infinity }))
      yield* Deferred.await(fake.began)
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(fake.log, ["+a", "+b", "-a"])
      yield* elapse(connect("a"))
      assert.isUndefined(call.pollUnsafe())
      yield* elapse(Scope.close(scope, Exit.void))
      assert.sameMembers(fake.log.slice(3), ["+a", "-a", "-b"])
      const error = yield* Effect.flip(Fiber.join(call))
      assert.strictEqual(error._tag === "Disconnected" && error.reason._tag, "Released")
    }))

  it.effect("of an eager channel is made without a call, and made again", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      yield* holding({ lookup: fake.lookup, eager: Effect.succeed(["a", "b"]), idleTimeToLive: "10 seconds" })
      yield* TestClock.adjust("30 seconds")
      assert.sameMembers(fake.log, ["+a", "+b"])
      fake.die()
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(fake.log.slice(2).toSorted(), ["+a", "+b", "-a", "-b"])
    }).pipe(Effect.scoped))

  it.effect("of an eager channel stays while others cannot be connected", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      const eager = ["a", ...Array.from({ length: 40 }, (_, i) => `never-${i}`)]
      yield* holding({ lookup: fake.lookup, eager, idleTimeToLive: "10 seconds" })
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(fake.log, ["+a"])
    }).pipe(Effect.scoped, Effect.provide(Logger.layer([]))))

  it.effect("of an eager channel stays where others are let go at once", () =>
    Effect.gen(function*() {
      const fake = yield* makeFake
      let asked = 0
      const eager = Effect.sync(() => {
        asked++
        return ["a"]
      })
      const { connect } = yield* holding({ lookup: fake.lookup, eager, idleTimeToLive: 0 })
      yield* elapse(connect("b"))
      yield* TestClock.adjust("30 seconds")
      assert.sameMembers(fake.log, ["+a", "+b", "-b"])
      assert.isAtMost(asked, 4)
    }).pipe(Effect.scoped))
})

/** A process that holds nothing, in a cluster without runners, where a call waits for one. */
const withoutRunners = Effect.gen(function*() {
  const cluster = Sharding.layer.pipe(
    Layer.provideMerge(Runners.layerNoop),
    Layer.provide([
      MessageStorage.layerNoop,
      RunnerStorage.layerMemory,
      RunnerHealth.layerNoop,
      ShardingConfig.layer({ runnerAddress: Option.none() })
    ])
  )
  const context = yield* Layer.build(Layer.fresh(cluster))
  return yield* Effect.map(
    Effect.provideContext(Layer.build(SoraChannel.layerClient()), context),
    (built) => Context.get(built, SoraChannel.SoraChannel)
  )
})

describe("without a runner", () => {
  it.effect("a call waits for its own timeout, whoever else waits", () =>
    Effect.gen(function*() {
      const { client } = yield* withoutRunners
      const call = (timeout: Duration.Input) =>
        Effect.forkChild(Effect.flip(client("a").call(Hang, undefined, { timeout })), { startImmediately: true })
      const [long, first] = [yield* call("3 minutes"), yield* call("59 seconds")]
      yield* TestClock.adjust("58 seconds")
      const second = yield* call("10 seconds")
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual((yield* Fiber.join(first))._tag, "TimeoutError")
      assert.isUndefined(second.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(second))._tag, "TimeoutError")
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual((yield* Fiber.join(long))._tag, "TimeoutError")
    }).pipe(Effect.scoped))

  it.effect("a notification was not sent", () =>
    Effect.gen(function*() {
      const { client } = yield* withoutRunners
      const error = yield* elapse(Effect.flip(client("a").notify(Hang)))
      assert.strictEqual(error._tag === "RpcError" && error.reason._tag, "Unavailable")
      yield* TestClock.adjust("1 second")
    }).pipe(Effect.scoped))

  it.effect("a call that waits is Disconnected with the scope, and so is a later one", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { client } = yield* Scope.provide(withoutRunners, scope)
      const call = client("a").call(Hang, undefined, { timeout: Duration.infinity })
      const waiting = yield* Effect.forkChild(Effect.exit(call), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* elapse(Scope.close(scope, Exit.void))
      const released = Exit.fail(new SoraRpcError.Disconnected({ reason: new DisconnectReason.Released() }))
      assert.deepStrictEqual([yield* Fiber.join(waiting), yield* Effect.exit(call)], [released, released])
    }))
})

it.effect("options that do not fit are all named", () =>
  Effect.gen(function*() {
    const wrong = { lookup: "no", idleTimeToLive: -1, eager: 7, nmae: "x" } as unknown as SoraChannel.Options
    const exit = yield* Effect.exit(Effect.scoped(holding(wrong)))
    for (const name of ["lookup", "idleTimeToLive", "eager", "nmae"]) {
      assert.include(String(Exit.isFailure(exit) && exit.cause), name)
    }
  }))
