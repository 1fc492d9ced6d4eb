/**
 * Programs without a network: `SoraConnection.layerTest`, under `TestClock`.
 */
import { assert, describe, it } from "@effect/vitest"
import {
  type Cause,
  Clock,
  Deferred,
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
  SoraMembers,
  SoraMethod,
  SoraRpc
} from "effect-sora-rpc"
import { TestClock } from "effect/testing"

const { ChannelClosed, PeerFailed, Redirected, ServerClosed, SocketLost } = DisconnectReason
const { SoraConnection: Connection, TestSora, layerTest } = SoraConnection

const endedByApi = new ServerClosed({ code: 1000, reason: "DISCONNECTED-API" })

/** Collects what a stream gives from now on, and waits for what is wanted. */
const watch = Effect.fnUntraced(function*<A>(stream: Stream.Stream<A>) {
  const queue = yield* Queue.make<A, Cause.Done>()
  yield* stream.pipe(
    Stream.runForEach((a) => Queue.offer(queue, a)),
    Effect.andThen(Queue.end(queue)),
    Effect.forkScoped({ startImmediately: true })
  )
  const next = <B extends A = A>(wanted: (a: A) => a is B): Effect.Effect<B, Cause.Done> =>
    Effect.flatMap(Queue.take(queue), (a) => wanted(a) ? Effect.succeed(a) : next(wanted))
  return {
    next,
    take: Queue.take(queue),
    /** Whether the stream has ended, without anything more. */
    ended: Effect.map(Effect.exit(Queue.take(queue)), Exit.isFailure)
  }
})

const is =
  <Tag extends SoraConnection.State["_tag"]>(tag: Tag) =>
  (state: SoraConnection.State): state is Extract<SoraConnection.State, { readonly _tag: Tag }> => state._tag === tag

/** Follows the state, from the first `Connected` on. */
const follow = Effect.gen(function*() {
  const { next } = yield* watch((yield* Connection).changes)
  yield* next(is("Connected"))
  return <Tag extends SoraConnection.State["_tag"]>(tag: Tag) => next(is(tag))
})

const Hang = SoraMethod.make("Hang")
const hang = SoraMethod.handle(Hang, () => Effect.never)
const Whoami = SoraMethod.make("Whoami", { result: Schema.String })
const whoami = SoraMethod.handle(Whoami, (_, { connectionId }) => Effect.succeed(connectionId))

describe("a connection in memory", () => {
  it.effect("has an offer, calls and every signaling message", () =>
    Effect.gen(function*() {
      const rpc = yield* SoraRpc.SoraRpc
      const connection = yield* Connection
      const offer = yield* connection.offer
      assert.deepInclude(offer, { channelId: "lobby", clientId: "bot", metadata: { plan: "pro" } })
      assert.deepStrictEqual(yield* rpc.methods, ["Whoami", "Hang"])
      assert.strictEqual(yield* rpc.call(Whoami), offer.connectionId)
      // The first subscriber of all still hears of the beginning.
      const types = yield* connection.signaling.pipe(
        Stream.map(({ direction, message }) => `${direction} ${message.type as string}`),
        Stream.take(5),
        Stream.runCollect
      )
      assert.deepStrictEqual(types, [
        "sent connect",
        "received offer",
        "sent answer",
        "received switched",
        "received notify"
      ])
      const [own] = yield* Stream.runCollect(Stream.take(connection.notify, 1))
      assert.deepInclude(own, { _tag: "connection.created", connectionId: offer.connectionId, role: "recvonly" })
    }).pipe(Effect.provide(layerTest({
      channelId: "lobby",
      clientId: "bot",
      role: "recvonly",
      metadata: { token: "secret" },
      handlers: [whoami, hang],
      authenticate: ({ metadata }) => {
        assert.deepStrictEqual(metadata, { token: "secret" })
        return Effect.succeed({ metadata: { plan: "pro" } })
      }
    }))))

  it.effect("replays 64 events to a new subscriber, and ends all streams with it", () =>
    Effect.gen(function*() {
      const sora = yield* TestSora
      const connection = yield* Connection
      for (let i = 1; i <= 100; i++) yield* sora.push(i)
      const replayed = yield* Stream.runCollect(Stream.take(connection.push, 64))
      assert.deepStrictEqual(replayed.map(({ data }) => data), Array.from({ length: 64 }, (_, i) => i + 37))
      yield* sora.disconnect(endedByApi)
      yield* Effect.all([
        Stream.runDrain(connection.notify),
        Stream.runDrain(connection.push),
        Stream.runDrain(connection.signaling),
        Stream.runDrain(connection.tracks),
        Stream.runDrain(connection.memberChanges),
        Stream.runDrain(connection.changes)
      ])
      assert.deepInclude(yield* connection.state, { _tag: "Disconnected", reason: endedByApi })
    }).pipe(Effect.provide(layerTest())))

  it.effect("takes tracks, a re-offer and messages of the application", () =>
    Effect.gen(function*() {
      const sora = yield* TestSora
      const connection = yield* Connection
      const track = { track: { kind: "video" }, streams: [{ id: "PEER", getTracks: () => [] }] }
      yield* sora.track(track)
      const [{ streams, track: video } = assert.fail()] = yield* Stream.runCollect(Stream.take(connection.tracks, 1))
      assert.deepStrictEqual({ streams, track: video }, track)
      yield* sora.send({ type: "re-offer", sdp: "m=application ", rpcMethods: ["New"] })
      assert.deepStrictEqual(yield* SoraRpc.SoraRpc.use(({ methods }) => methods), ["New"])
      const received = yield* Queue.unbounded<any>()
      const { messages, send } = yield* connection.messaging("#chat")
      const theirs = (yield* sora.dataChannels).get("#chat")!
      theirs.addEventListener("message", ({ data }) => Queue.offerUnsafe(received, data))
      yield* send("ping")
      assert.strictEqual(new TextDecoder().decode(yield* Queue.take(received)), "ping")
      theirs.send(new Uint8Array([1, 2]))
      const [{ data } = assert.fail()] = yield* Stream.runCollect(Stream.take(messages, 1))
      assert.deepStrictEqual(data, new Uint8Array([1, 2]))
    }).pipe(Effect.provide(layerTest({ dataChannels: [{ label: "#chat", direction: "sendrecv" }] }))))

  it.effect("may have no DataChannel at all, and then no calls", () =>
    Effect.gen(function*() {
      const sora = yield* TestSora
      const { push } = yield* Connection
      const error = yield* Effect.flip(SoraRpc.SoraRpc.use((rpc) => rpc.call(Whoami)))
      assert.isTrue(error._tag === "RpcError" && error.reason._tag === "Unavailable")
      yield* sora.push("by the WebSocket")
      assert.deepInclude(yield* Stream.runHead(push), { value: { type: "push", data: "by the WebSocket" } })
    }).pipe(Effect.provide(layerTest({
      handlers: [whoami],
      authenticate: () => Effect.succeed({ dataChannels: [] })
    }))))

  it.effect("says goodbye when its scope closes, and no time passes", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(layerTest({ handlers: [hang], reconnect: true }), scope)
      const call = yield* SoraRpc.SoraRpc.use((rpc) => rpc.call(Hang)).pipe(
        Effect.flip,
        Effect.provideContext(context),
        Effect.forkChild({ startImmediately: true })
      )
      yield* Scope.close(scope, Exit.void)
      assert.deepInclude(yield* Fiber.join(call), { _tag: "Disconnected", reason: new DisconnectReason.Released() })
      const last = yield* Connection.use(({ signaling }) => Stream.runLast(signaling)).pipe(
        Effect.provideContext(context)
      )
      assert.deepInclude(Option.getOrThrow(last), {
        direction: "sent",
        message: { type: "disconnect", reason: "NO-ERROR" }
      })
    }))

  it.effect("warns, once, of recvonly without audio and video, and of nothing else", () =>
    Effect.gen(function*() {
      const logged: Array<unknown> = []
      const logger = Logger.make(({ logLevel, message }) => {
        logged.push(logLevel, message)
      })
      const connect = (options: SoraConnection.TestOptions) =>
        Effect.gen(function*() {
          const next = yield* follow
          yield* TestSora.use((sora) => sora.disconnect(new SocketLost({})))
          yield* TestClock.adjust("1 second")
          yield* next("Connected")
        }).pipe(Effect.provide(layerTest({ reconnect: true, ...options })), Effect.provide(Logger.layer([logger])))
      for (const role of ["sendrecv", "sendonly"] as const) yield* connect({ role, audio: false, video: false })
      yield* connect({ role: "recvonly", audio: false })
      yield* connect({ role: "recvonly", video: false })
      assert.deepStrictEqual(logged, [])
      yield* connect({ role: "recvonly", audio: false, video: false, metadata: "s3cret" })
      assert.lengthOf(logged, 2)
      assert.strictEqual(logged[0], "Warn")
      assert.match(String(logged[1]), /recvonly without audio and video/)
    }))

  it.effect("refuses options that do not fit, and handlers that are there twice", () =>
    Effect.gen(function*() {
      for (
        const [options, name] of [
          [{ connectTimeout: -1 }, "connectTimeout"],
          [{ rpc: { maxInFlight: 0 } }, "rpc.maxInFlight"],
          [{ handlers: [hang, hang] }, "handlers"]
        ] as const
      ) {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(layerTest(options))))
        assert.strictEqual(error.reason._tag, "InvalidOptions")
        assert.include(error.message, name)
      }
    }))
})

describe("a connection that breaks", () => {
  const reasons = [
    [new ServerClosed({ code: 1001, reason: "GOING-AWAY" }), 0],
    [new SocketLost({}), 0],
    [new PeerFailed({ state: "failed" }), 0],
    [new Redirected(), 0],
    [new ChannelClosed({ label: "rpc" }), 500]
  ] as const
  for (const [reason, wait] of reasons) {
    for (const ignoreDisconnectWebsocket of [false, true]) {
      // Without a WebSocket there is none to lose, or to be redirected by, and nobody to wait for.
      if (ignoreDisconnectWebsocket && (reason._tag === "SocketLost" || reason._tag === "Redirected")) continue
      it.effect(`by ${reason._tag}, with the WebSocket ${ignoreDisconnectWebsocket ? "closed" : "kept"}, is made again`, () =>
        Effect.gen(function*() {
          const sora = yield* TestSora
          const connection = yield* Connection
          const rpc = yield* SoraRpc.SoraRpc
          const next = yield* follow
          const before = (yield* connection.offer).connectionId
          const waiting = yield* Effect.forkChild(Effect.flip(rpc.call(Hang)), { startImmediately: true })
          yield* sora.disconnect(reason)
          if (!ignoreDisconnectWebsocket) yield* TestClock.adjust(wait)
          assert.deepStrictEqual((yield* next("Reconnecting")).reason, reason)
          assert.deepInclude(yield* Fiber.join(waiting), { _tag: "Disconnected", reason })
          // Made meanwhile.
          const patient = yield* Effect.forkChild(rpc.call(Whoami), { startImmediately: true })
          const impatient = yield* Effect.forkChild(
            Effect.flip(rpc.call(Whoami, undefined, { timeout: "500 millis" })),
            {
              startImmediately: true
            }
          )
          yield* TestClock.adjust("500 millis")
          assert.strictEqual((yield* Fiber.join(impatient))._tag, "TimeoutError")
          yield* TestClock.adjust("500 millis")
          yield* next("Connected")
          const after = (yield* connection.offer).connectionId
          assert.notStrictEqual(after, before)
          assert.strictEqual(yield* Fiber.join(patient), after)
        }).pipe(
          Effect.provide(layerTest({ reconnect: true, ignoreDisconnectWebsocket, handlers: [hang, whoami] }))
        ))
    }
  }

  it.effect("has another token, and its metadata back, before calls that waited go through", () => {
    const tokens: Array<Schema.Json | undefined> = []
    return Effect.gen(function*() {
      const sora = yield* TestSora
      const next = yield* follow
      yield* sora.disconnect(new SocketLost({}))
      yield* next("Reconnecting")
      const waiting = yield* Effect.forkChild(SoraRpc.SoraRpc.use((rpc) => rpc.call(Whoami)), {
        startImmediately: true
      })
      yield* TestClock.adjust("1 second")
      const { connectionId, number } = yield* next("Connected")
      assert.strictEqual(number, 2)
      assert.strictEqual(yield* Fiber.join(waiting), connectionId)
      assert.deepStrictEqual(tokens, ["token 1", "put 1", "token 2", "put 2", "called"])
    }).pipe(Effect.provide(layerTest({
      reconnect: true,
      metadata: Effect.sync(() => `token ${tokens.length < 2 ? 1 : 2}`),
      authenticate: ({ metadata }) =>
        Effect.sync(() => {
          tokens.push(metadata)
          return {}
        }),
      onConnected: ({ number }) => SoraRpc.putSignalingNotifyMetadata({ metadata: number }),
      handlers: [
        SoraMethod.handle(SoraMethod.PutSignalingNotifyMetadata, ({ metadata }) =>
          Effect.sync(() => {
            tokens.push(`put ${String(metadata)}`)
            return metadata
          })),
        SoraMethod.handle(Whoami, (_, { connectionId }) =>
          Effect.sync(() => {
            tokens.push("called")
            return connectionId
          }))
      ]
    })))
  })

  it.effect("interrupts what answers a call of the connection that broke", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const slow = SoraMethod.handle(Hang, () =>
        Deferred.succeed(begun, undefined).pipe(
          Effect.andThen(Effect.never),
          Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
        ))
      yield* Effect.gen(function*() {
        const sora = yield* TestSora
        const call = yield* Effect.forkChild(Effect.flip(SoraRpc.SoraRpc.use((rpc) => rpc.call(Hang))))
        yield* Deferred.await(begun)
        yield* sora.disconnect(new SocketLost({}))
        assert.strictEqual((yield* Fiber.join(call))._tag, "Disconnected")
        yield* Deferred.await(interrupted)
      }).pipe(Effect.provide(layerTest({ reconnect: true, handlers: [slow] })))
    }))

  it.effect("fails calls at once where they are not to wait", () =>
    Effect.gen(function*() {
      const sora = yield* TestSora
      const next = yield* follow
      yield* sora.disconnect(new SocketLost({}))
      yield* next("Reconnecting")
      const error = yield* Effect.flip(SoraRpc.SoraRpc.use((rpc) => rpc.call(Whoami)))
      assert.deepInclude(error, { _tag: "Disconnected", reason: new SocketLost({}) })
    }).pipe(Effect.provide(layerTest({ reconnect: true, handlers: [whoami], rpc: { whenDisconnected: "fail" } }))))

  it.effect("is tried again while the server cannot be reached", () =>
    Effect.gen(function*() {
      const sora = yield* TestSora
      const next = yield* follow
      yield* sora.setReachable(false)
      yield* sora.disconnect(new SocketLost({}))
      assert.strictEqual((yield* next("Reconnecting")).attempt, 1)
      for (let attempt = 2; attempt <= 4; attempt++) {
        // After 1, 1, 2 and 4 seconds, more or less a fifth.
        yield* TestClock.adjust("5 seconds")
        assert.isAtLeast((yield* next("Reconnecting")).attempt, attempt)
      }
      assert.strictEqual((yield* Effect.exit(sora.push("to nobody")))._tag, "Failure")
      yield* sora.setReachable(true)
      yield* TestClock.adjust("30 seconds")
      yield* next("Connected")
    }).pipe(Effect.provide(layerTest({ reconnect: true }))))

  it.effect("ends where it is refused for good, and where there is no reconnect", () =>
    Effect.gen(function*() {
      let isRefused = false
      yield* Effect.gen(function*() {
        const sora = yield* TestSora
        const next = yield* follow
        isRefused = true
        yield* sora.disconnect(new SocketLost({}))
        yield* TestClock.adjust("1 second")
        const { reason } = yield* next("Disconnected")
        assert.deepStrictEqual(reason, new ServerClosed({ code: 4490, reason: "TOKEN-EXPIRED" }))
      }).pipe(Effect.provide(layerTest({
        reconnect: true,
        authenticate: () =>
          isRefused
            ? Effect.fail(new SoraConnectionError.Refused({ code: 4490, reason: "TOKEN-EXPIRED" }))
            : Effect.succeed({})
      })))
      yield* Effect.gen(function*() {
        const next = yield* follow
        yield* TestSora.use((sora) => sora.disconnect(new SocketLost({})))
        assert.deepStrictEqual((yield* next("Disconnected")).reason, new SocketLost({}))
        assert.strictEqual((yield* Effect.flip(SoraRpc.SoraRpc.use((rpc) => rpc.call(Whoami))))._tag, "Disconnected")
      }).pipe(Effect.provide(layerTest({ handlers: [whoami] })))
    }))

  it.effect("ends for good where somebody ends it by the API before it is up", () =>
    Effect.gen(function*() {
      const { code, reason } = endedByApi
      const refused = new SoraConnectionError.Refused({ code, reason })
      let isEnded = false
      const options = {
        // Worth another attempt after a refusal, but not after this.
        metadata: Effect.succeed("token"),
        authenticate: () => isEnded ? Effect.fail(refused) : Effect.succeed({})
      }
      yield* Effect.gen(function*() {
        const next = yield* follow
        isEnded = true
        yield* TestSora.use((sora) => sora.disconnect(new SocketLost({})))
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual((yield* next("Disconnected")).reason, endedByApi)
      }).pipe(Effect.provide(layerTest({ ...options, reconnect: true })))
      const first = Layer.build(layerTest({ ...options, retryConnect: true }))
      assert.deepStrictEqual((yield* Effect.flip(Effect.scoped(first))).reason, refused)
    }))

  it.effect("cannot be made where the first connect is refused", () =>
    Effect.gen(function*() {
      const refused = new SoraConnectionError.Refused({ code: 4490, reason: "NO" })
      const layer = layerTest({ authenticate: () => Effect.fail(refused) })
      assert.deepStrictEqual((yield* Effect.flip(Effect.scoped(Layer.build(layer)))).reason, refused)
      const dying = layerTest({ authenticate: () => Effect.die("a mistake of the test") })
      const error = yield* Effect.flip(Effect.scoped(Layer.build(dying))).pipe(
        Effect.provide(Logger.layer([]))
      )
      assert.deepInclude(error.reason, { _tag: "Refused", code: 4490, reason: "INTERNAL-ERROR" })
    }))
})

describe("members", () => {
  it.effect("are who is there: late joiners, reconnects and what happens meanwhile", () =>
    Effect.gen(function*() {
      const sora = yield* TestSora
      const connection = yield* Connection
      const next = yield* follow
      const self = (yield* connection.offer).connectionId
      assert.deepStrictEqual([...(yield* connection.members).keys()], [self])
      const alice = yield* sora.join({ clientId: "alice", metadata: { mood: "busy" } })
      const bob = yield* sora.join({ clientId: "bob", role: "recvonly" })
      const before = yield* connection.members
      assert.deepInclude(before.get(alice), {
        clientId: "alice",
        role: "sendrecv",
        metadata: { mood: "busy" },
        isSelf: false
      })
      assert.isTrue(before.get(self)?.isSelf)
      yield* sora.putMetadata(alice, { mood: "free" })
      assert.deepInclude((yield* connection.members).get(alice), { metadata: { mood: "free" } })
      yield* sora.disconnect(new SocketLost({}))
      yield* next("Reconnecting")
      yield* sora.leave(bob)
      yield* sora.join({ connectionId: "CAROL" })
      // What was last known, until it is known anew.
      assert.sameMembers([...(yield* connection.members).keys()], [self, alice, bob])
      yield* TestClock.adjust("1 second")
      yield* next("Connected")
      const after = yield* connection.members
      assert.sameMembers([...after.keys()], [(yield* connection.offer).connectionId, alice, "CAROL"])
      assert.deepInclude(after.get(alice), { clientId: "alice", metadata: { mood: "free" } })
    }).pipe(Effect.provide(layerTest({ reconnect: true }))))

  const Step = Schema.Union([
    Schema.TaggedStruct("Join", {}),
    Schema.TaggedStruct("Leave", { who: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 })) }),
    Schema.TaggedStruct("Put", {
      who: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 })),
      value: Schema.Int
    }),
    Schema.TaggedStruct("Break", {}),
    Schema.TaggedStruct("Return", {})
  ])
  it.effect.prop(
    "against a model",
    [Schema.Array(Step).check(Schema.isMaxLength(20))],
    ([steps]) =>
      Effect.gen(function*() {
        const sora = yield* TestSora
        const connection = yield* Connection
        const next = yield* follow
        const there = new Map<string, unknown>()
        const someone = (who: number) => [...there.keys()][who % Math.max(1, there.size)]
        const check = Effect.gen(function*() {
          const self = (yield* connection.offer).connectionId
          const members = yield* connection.members
          assert.deepStrictEqual(
            Object.fromEntries(Array.from(members, ([id, { isSelf, metadata }]) => [id, { isSelf, metadata }])),
            Object.fromEntries([
              [self, { isSelf: true, metadata: undefined }],
              ...Array.from(there, ([id, metadata]) => [id, { isSelf: false, metadata }])
            ])
          )
        })
        let isUp = true
        const comeBack = Effect.gen(function*() {
          if (isUp) return
          isUp = true
          yield* TestClock.adjust("1 second")
          yield* next("Connected")
        })
        for (const step of steps) {
          switch (step._tag) {
            case "Join":
              there.set(yield* sora.join(), undefined)
              break
            case "Leave": {
              const id = someone(step.who)
              if (id === undefined) break
              yield* sora.leave(id)
              there.delete(id)
              break
            }
            case "Put": {
              const id = someone(step.who)
              if (id === undefined) break
              yield* sora.putMetadata(id, step.value)
              there.set(id, step.value)
              break
            }
            case "Break":
              if (!isUp) break
              isUp = false
              yield* sora.disconnect(new SocketLost({}))
              yield* next("Reconnecting")
              break
            case "Return":
              yield* comeBack
          }
          if (isUp) yield* check
        }
        yield* comeBack
        yield* check
      }).pipe(Effect.provide(Layer.fresh(layerTest({ reconnect: true })))),
    { arbitrary: { runs: 50 } }
  )
})

// ------------------------------------------------------------------ a bot

const Profile = Schema.Struct({ nickname: Schema.String })
const PutProfile = SoraMethod.PutSignalingNotifyMetadata.withMetadata(Profile)

/** Greets by metadata, asks for the low layer of everybody who joins, answers pushes, and puts its own metadata after each connection. */
const bot = Effect.fnUntraced(function*(log: (line: string) => Effect.Effect<void>) {
  const connection = yield* Connection
  const rpc = yield* SoraRpc.SoraRpc
  const asked = new Set<string>()
  const states = Stream.runForEach(connection.changes, (state) => log(state._tag)).pipe(
    Effect.andThen(log("over"))
  )
  const profile = connection.notify.pipe(
    Stream.filter((event) => event._tag === "connection.created"),
    Stream.runForEach((event) =>
      Effect.flatMap(connection.offer, ({ connectionId }) =>
        event.connectionId === connectionId
          ? Effect.andThen(rpc.call(PutProfile, { metadata: { nickname: "bot" }, push: true }), log("profile is put"))
          : log(`hello ${event.clientId ?? "?"}`))
    )
  )
  const layers = Stream.runForEach(
    SoraMembers.changes(Profile),
    (members) =>
      Effect.forEach(members.values(), ({ connectionId, isSelf, metadata }) => {
        if (isSelf || asked.has(connectionId)) return Effect.void
        asked.add(connectionId)
        const nickname = Option.match(metadata, { onNone: () => "nobody", onSome: ({ nickname }) => nickname })
        return Effect.andThen(
          rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r0", senderConnectionId: connectionId }),
          log(`low layer of ${nickname}`)
        )
      }, { discard: true })
  )
  const pushes = Stream.runForEach(connection.push, ({ data }) => data === "ping" ? log("pong") : Effect.void)
  yield* Effect.all([states, profile, layers, pushes], { concurrency: "unbounded" }).pipe(
    Effect.catchTag("Disconnected", () => log("call broken"))
  )
})

it.effect("a bot that uses all of it is tested without a second of real time", () =>
  Effect.gen(function*() {
    const sora = yield* TestSora
    const lines = yield* Queue.unbounded<string>()
    const running = yield* Effect.forkChild(bot((line) => Queue.offer(lines, line)), { startImmediately: true })
    const seen: Array<string> = []
    /** Until the bot has said it so many times. */
    const until = (line: string, times = 1): Effect.Effect<void> =>
      seen.filter((said) => said === line).length >= times
        ? Effect.void
        : Effect.flatMap(Queue.take(lines), (said) => {
          seen.push(said)
          return until(line, times)
        })
    const own = Effect.map(SoraMembers.get(Profile), (members) =>
      Array.from(members.values()).find(({ isSelf }) => isSelf)?.metadata)

    yield* until("Connected")
    yield* sora.join({ clientId: "mika", metadata: { nickname: "Mika" } })
    yield* until("low layer of Mika")
    yield* sora.join({ clientId: "odd", metadata: [1, 2, 3] })
    yield* until("low layer of nobody")
    yield* until("profile is put")
    assert.deepStrictEqual(yield* own, Option.some({ nickname: "bot" }))
    yield* sora.push("ping")
    yield* until("pong")
    yield* sora.disconnect(new SocketLost({}))
    yield* until("Reconnecting")
    yield* sora.join({ clientId: "late", metadata: { nickname: "Late" } })
    yield* TestClock.adjust("1 second")
    yield* until("low layer of Late")
    yield* until("profile is put", 2)
    assert.deepStrictEqual(yield* own, Option.some({ nickname: "bot" }))
    yield* sora.disconnect(endedByApi)
    yield* until("over")
    yield* Fiber.join(running)
    assert.includeMembers(seen, ["hello mika", "hello odd"])
    assert.notInclude(seen, "call broken")
    assert.strictEqual(yield* Clock.currentTimeMillis, 1000)
  }).pipe(Effect.provide(layerTest({
    reconnect: true,
    simulcast: true,
    handlers: [
      SoraMethod.handle(SoraMethod.RequestSimulcastRid, ({ rid }, { channelId, connectionId }) =>
        Effect.succeed({ channelId, receiverConnectionId: connectionId, rid })),
      SoraMethod.handle(SoraMethod.PutSignalingNotifyMetadata, ({ metadata, push }, { connectionId }) =>
        TestSora.use((sora) =>
          sora.putMetadata(connectionId, metadata, { push })
        ).pipe(Effect.as(metadata)))
    ]
  }))))
