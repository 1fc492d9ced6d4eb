import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Layer, Schema, Scope } from "effect"
import { DisconnectReason, SoraMethod, SoraRpc, SoraRpcError } from "effect-sora-rpc"
import { TestClock } from "effect/testing"
import * as Client from "../src/internal/rpc/client.ts"
import * as RpcChannel from "../src/RpcChannel.ts"
import * as RpcTransport from "../src/RpcTransport.ts"
import * as FakePeer from "./utils/fakePeer.ts"
import { withFiberCount } from "./utils/fibers.ts"

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** What a waiting call is, before a channel of its own. */
const makeClient = Effect.fnUntraced(function*(options?: SoraRpc.Options, maxInFlight?: number) {
  const [client, server] = yield* RpcChannel.makePair
  const sent: Array<any> = []
  server.listenUnsafe({
    onFrame: (frame) => sent.push(JSON.parse(frame))
  })
  const rpc = yield* Client.make({ ...RpcTransport.make(client, { methods: ["m"] }), maxInFlight }, {
    defaultTimeout: "5 seconds",
    checkMethods: true,
    maxInFlight: 32,
    maxQueued: 100,
    whenDisconnected: "wait",
    ...options
  })
  const answer = (id: number) => server.sendUnsafe(JSON.stringify({ jsonrpc: "2.0", id, result: id }))
  return { rpc, sent, answer }
})

const nothing = { waiting: 0, queued: 0 }

describe("call", () => {
  it.effect("encodes params and decodes the result", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make()
      const fiber = yield* fork(peer.rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r1", senderConnectionId: "S" }))
      const request = yield* peer.request
      assert.deepStrictEqual(request, {
        jsonrpc: "2.0",
        id: 1,
        method: "2025.2.0/RequestSimulcastRid",
        params: { rid: "r1", sender_connection_id: "S" }
      })
      peer.send({ id: 1, result: { channel_id: "c", receiver_connection_id: "R", rid: "r1", unknown: 1 } })
      assert.deepStrictEqual(yield* Fiber.join(fiber), { channelId: "c", receiverConnectionId: "R", rid: "r1" })
    }))

  it.effect("sends a raw method as it is, with the JSON as it is", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make()
      const fiber = yield* fork(peer.rpc.call("m", { channel_id: "c", nested: [1, { a: null }] }))
      const { params } = yield* peer.request
      assert.deepStrictEqual(params, { channel_id: "c", nested: [1, { a: null }] })
      peer.send({ id: 1, result: { any: ["thing"] } })
      assert.deepStrictEqual(yield* Fiber.join(fiber), { any: ["thing"] })
    }))

  it.effect("sends no params member when there are none", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make({ methods: ["m", "1/NoParams", "2025.2.0/ResetSpotlightRid"] })
      const NoParams = SoraMethod.make("NoParams", { version: "1" })
      for (const call of [peer.rpc.call("m"), peer.rpc.call(NoParams)]) {
        yield* fork(call)
        assert.notProperty(yield* peer.request, "params")
      }
      // All of its params may be left out, and then they are an empty object.
      yield* fork(peer.rpc.call(SoraMethod.ResetSpotlightRid))
      assert.deepStrictEqual((yield* peer.request).params, {})
    }))

  it.effect("answers are matched by id, in any order", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make()
      const first = yield* fork(peer.rpc.call("m"))
      const second = yield* fork(peer.rpc.call("m"))
      peer.send({ id: 2, result: "second" })
      peer.send({ id: 1, result: "first" })
      assert.deepStrictEqual([yield* Fiber.join(first), yield* Fiber.join(second)], ["first", "second"])
    }))

  it.effect("fails with the server's error, verbatim", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make()
      const fiber = yield* fork(Effect.flip(peer.rpc.call("m", { a: 1 })))
      const data = { "UNKNOWN-KEYS": ["a"] }
      peer.send({ id: 1, error: { code: -32602, message: "JSON-RPC-INVALID-PARAMS", data } })
      const error = yield* Fiber.join(fiber)
      assert.instanceOf(error, SoraRpcError.RpcError)
      assert.deepStrictEqual([error.code, error.message, error.data], [-32602, "JSON-RPC-INVALID-PARAMS", data])
      assert.strictEqual(error.method, "m")
      assert.strictEqual(error.reason._tag, "ServerError")
    }))

  it.effect("keeps an absent data absent, and survives data that JSON cannot hold", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make()
      const absent = yield* fork(Effect.flip(peer.rpc.call("m")))
      const infinite = yield* fork(Effect.flip(peer.rpc.call("m")))
      peer.send({ id: 1, error: { code: 1, message: "x" } })
      peer.send("{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":1,\"message\":\"x\",\"data\":-1e999}}")
      const { reason } = yield* Fiber.join(absent) as Effect.Effect<SoraRpcError.RpcError>
      assert.notProperty(reason, "data")
      assert.strictEqual((yield* Fiber.join(infinite) as Effect.Effect<SoraRpcError.RpcError>).data, -Infinity)
    }))

  it.effect("refuses params that do not fit before sending, naming the member and not its value", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make({ methods: ["2025.2.0/RequestSimulcastRid", "m"] })
      const bad: ReadonlyArray<any> = [{ rid: "s3cret" }, { rid: "r1", colour: "s3cret" }, {}, undefined, 1]
      for (const params of bad) {
        const error = yield* Effect.flip(peer.rpc.call(SoraMethod.RequestSimulcastRid, params))
        assert.isTrue(error._tag === "RpcError" && error.reason._tag === "InvalidParams" && error.code === -32602)
        assert.notInclude(Cause.pretty(Cause.fail(error)), "s3cret")
      }
      for (const params of [1, "x", null, { a: 1n }, { a: NaN }] as ReadonlyArray<any>) {
        const error = yield* Effect.flip(peer.rpc.call("m", params))
        assert.isTrue(error._tag === "RpcError" && error.reason._tag === "InvalidParams")
      }
      assert.strictEqual(yield* peer.size(), 0)
    }))

  it.effect("a method that is not granted fails at once and lists what is", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make({ methods: ["a", "b"] })
      for (const call of [peer.rpc.call(SoraMethod.ResetSpotlightRid), peer.rpc.call("ResetSpotlightRid")]) {
        const error = yield* Effect.flip(call)
        assert.isTrue(error._tag === "RpcError" && error.reason._tag === "MethodNotAvailable" && error.code === -32601)
        assert.include(error.message, "a, b")
      }
      assert.strictEqual(yield* peer.size(), 0)
    }))

  it.effect("checkMethods: false lets the server decide", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make({ methods: [], checkMethods: false })
      yield* fork(peer.rpc.call(SoraMethod.ResetSpotlightRid))
      assert.strictEqual((yield* peer.request).method, "2025.2.0/ResetSpotlightRid")
    }))

  it.effect("a result that does not fit the schema is a typed error", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make()
      const fiber = yield* fork(Effect.flip(peer.rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r1" })))
      peer.send({ id: 1, result: { rid: 1 } })
      const error = yield* Fiber.join(fiber)
      assert.isTrue(error._tag === "RpcError" && error.reason._tag === "InvalidResult" && error.code === -32603)
    }))

  const Profile = Schema.Struct({ name: Schema.String, since: Schema.Date })
  const Loose = Schema.Struct({ name: Schema.optionalKey(Schema.String), age: Schema.optionalKey(Schema.Int) })
  const mika = { name: "Mika", since: new Date(0) }
  const since = "1970-01-01T00:00:00.000Z"
  const put = SoraMethod.PutSignalingNotifyMetadata.withMetadata(Profile)
  const putItem = SoraMethod.PutSignalingNotifyMetadataItem.withMetadata(Profile)
  const putLooseWhole = SoraMethod.PutSignalingNotifyMetadata.withMetadata(Loose)
  const putLoose = SoraMethod.PutSignalingNotifyMetadataItem.withMetadata(Loose)
  const results: ReadonlyArray<
    readonly [string, (rpc: SoraRpc.SoraRpc["Service"]) => Effect.Effect<unknown, unknown>, Schema.Json, unknown]
  > = [
    ["the metadata", (rpc) => rpc.call(put, { metadata: mika }), { name: "Mika", since }, mika],
    ["what is none", (rpc) => rpc.call(put, { metadata: mika }), { name: "Mika", since: "soon" }, {
      name: "Mika",
      since: "soon"
    }],
    ["null", (rpc) => rpc.call(put, { metadata: mika }), null, null],
    [
      "the metadata, of an item",
      (rpc) => rpc.call(putItem, { key: "name", value: "Mika" }),
      { name: "Mika", since },
      mika
    ],
    ["the item", (rpc) => rpc.call(putItem, { key: "since", value: mika.since }), { key: "since", value: since }, {
      key: "since",
      value: mika.since
    }],
    [
      "more than the metadata",
      (rpc) => rpc.call(put, { metadata: mika }),
      { name: "Mika", since, team: 1 },
      { name: "Mika", since, team: 1 }
    ],
    [
      "what is around the metadata, of which metadata could have nothing",
      (rpc) => rpc.call(putLooseWhole, { metadata: {} }),
      { channel_id: "c", metadata: {} },
      { channel_id: "c", metadata: {} }
    ],
    ["half of the metadata", (rpc) => rpc.call(putItem, { key: "name", value: "Mika" }), { name: "Mika" }, {
      name: "Mika"
    }],
    ["the item, which metadata could be too", (rpc) => rpc.call(putLoose, { key: "age", value: 7 }), {
      key: "age",
      value: 7
    }, { key: "age", value: 7 }]
  ]
  for (const [what, call, wire, result] of results) {
    it.effect(`a call that put metadata succeeds with any result: ${what}`, () =>
      Effect.gen(function*() {
        const peer = yield* FakePeer.make({
          methods: ["2025.2.0/PutSignalingNotifyMetadata", "2025.2.0/PutSignalingNotifyMetadataItem"]
        })
        const fiber = yield* fork(call(peer.rpc))
        peer.send({ id: 1, result: wire })
        assert.deepStrictEqual(yield* Fiber.join(fiber), result)
      }))
  }

  it.effect("a response that breaks JSON-RPC fails the call that it names, and no other", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make()
      const broken = yield* fork(Effect.flip(peer.rpc.call("m")))
      const fine = yield* fork(peer.rpc.call("m"))
      for (const frame of ["not json", "[]", "null", "{}", "{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":1}"]) {
        peer.send(frame)
      }
      peer.send({ id: 1, result: 1, error: { code: 1, message: "x" } })
      const error = yield* Fiber.join(broken)
      assert.isTrue(error._tag === "RpcError" && error.reason._tag === "ProtocolViolation" && error.code === -32600)
      peer.send({ id: 2, result: "fine" })
      assert.strictEqual(yield* Fiber.join(fine), "fine")
    }))

  it.effect("a schema that throws kills its call alone", () =>
    Effect.gen(function*() {
      const Explosive = Schema.Json.pipe(Schema.check(Schema.makeFilter(() => {
        throw new Error("boom")
      })))
      const peer = yield* FakePeer.make({ methods: ["1/Bad", "m"] })
      const bad = yield* fork(Effect.exit(peer.rpc.call(SoraMethod.make("Bad", { version: "1", result: Explosive }))))
      const fine = yield* fork(peer.rpc.call("m"))
      peer.send({ id: 1, result: 1 })
      peer.send({ id: 2, result: 2 })
      const exit = yield* Fiber.join(bad)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.strictEqual(yield* Fiber.join(fine), 2)
    }))

  it.effect("a frame over the limit is refused before sending", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make()
      const error = yield* Effect.flip(peer.rpc.call("m", { big: "é".repeat(200_000) }))
      assert.isTrue(error._tag === "RpcError" && error.reason._tag === "PayloadTooLarge")
      if (error._tag === "RpcError" && error.reason._tag === "PayloadTooLarge") {
        assert.strictEqual(error.reason.maxBytes, 262_144)
        assert.isAbove(error.reason.bytes, 400_000)
      }
      assert.strictEqual(yield* peer.size(), 0)
    }))
})

describe("timeout", () => {
  it.effect("counts from the call, by Effect's clock", () =>
    Effect.gen(function*() {
      const { answer, rpc } = yield* makeClient()
      const fiber = yield* fork(Effect.flip(rpc.call("m", undefined, undefined)))
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(rpc.sizes(), { waiting: 1, queued: 0 })
      yield* TestClock.adjust("1 millis")
      const error = yield* Fiber.join(fiber)
      assert.isTrue(error._tag === "TimeoutError" && error.method === "m")
      assert.isTrue(error._tag === "TimeoutError" && Duration.toMillis(error.timeout) === 5000)
      assert.deepStrictEqual(rpc.sizes(), nothing)
      answer(1) // late: dropped
      const next = yield* fork(rpc.call("m", undefined, undefined))
      answer(2)
      assert.strictEqual(yield* Fiber.join(next), 2)
    }))

  it.effect("each call has its own; a shorter one that comes later expires first", () =>
    Effect.gen(function*() {
      const { rpc } = yield* makeClient()
      const order: Array<string> = []
      const call = (timeout: string) =>
        fork(
          Effect.ensuring(
            Effect.ignore(rpc.call("m", undefined, { timeout: timeout as "1 second" })),
            Effect.sync(() => order.push(timeout))
          )
        )
      for (const timeout of ["3 seconds", "1 second", "2 seconds", "1 second"]) yield* call(timeout)
      yield* TestClock.adjust("1 second")
      yield* Effect.yieldNow
      assert.deepStrictEqual(order, ["1 second", "1 second"])
      yield* TestClock.adjust("2 seconds")
      yield* Effect.yieldNow
      assert.deepStrictEqual(order.slice(2), ["2 seconds", "3 seconds"])
      assert.deepStrictEqual(rpc.sizes(), nothing)
    }))

  it.effect("a call made at once by one that expired expires too", () =>
    Effect.gen(function*() {
      const { rpc } = yield* makeClient()
      const call = rpc.call("m", undefined, { timeout: "1 second" })
      const fiber = yield* fork(Effect.flip(Effect.catch(call, () => call)))
      yield* TestClock.adjust("1 second")
      yield* Effect.yieldNow
      assert.deepStrictEqual(rpc.sizes(), { waiting: 1, queued: 0 })
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "TimeoutError")
    }))

  it.effect("expires at times that numbers only come near", () =>
    Effect.gen(function*() {
      const { rpc } = yield* makeClient()
      // 16.786 + 1000 is more than the clock's 1016.786.
      yield* TestClock.adjust("16786 micros")
      const near = yield* fork(Effect.flip(rpc.call("m", undefined, { timeout: "1 second" })))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(near))._tag, "TimeoutError")
      // Far from zero a short timeout is lost in the sum.
      yield* TestClock.setTime(1.7e12)
      const short = yield* fork(Effect.flip(rpc.call("m", undefined, { timeout: "100 nanos" })))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(short))._tag, "TimeoutError")
      assert.deepStrictEqual(rpc.sizes(), nothing)
    }))

  it.effect("infinity waits for ever", () =>
    Effect.gen(function*() {
      const { answer, rpc } = yield* makeClient()
      const fiber = yield* fork(rpc.call("m", undefined, { timeout: Duration.infinity }))
      yield* TestClock.adjust("1000 days")
      assert.deepStrictEqual(rpc.sizes(), { waiting: 1, queued: 0 })
      answer(1)
      assert.strictEqual(yield* Fiber.join(fiber), 1)
    }))

  it.effect("zero fails at once, with nothing sent", () =>
    Effect.gen(function*() {
      const { rpc, sent } = yield* makeClient()
      const error = yield* Effect.flip(rpc.call("m", undefined, { timeout: 0 }))
      yield* Effect.yieldNow
      assert.deepStrictEqual([error._tag, sent.length], ["TimeoutError", 0])
      assert.deepStrictEqual(rpc.sizes(), nothing)
    }))

  it.effect("covers the wait to be sent", () =>
    Effect.gen(function*() {
      const { rpc, sent } = yield* makeClient({ maxInFlight: 1 })
      yield* fork(rpc.call("m", undefined, { timeout: "10 seconds" }))
      const queued = yield* fork(Effect.flip(rpc.call("m", undefined, { timeout: "1 second" })))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(queued))._tag, "TimeoutError")
      assert.strictEqual(sent.length, 1)
    }))
})

describe("the window", () => {
  it.effect("sends in the order of the calls as answers come", () =>
    Effect.gen(function*() {
      const { answer, rpc, sent } = yield* makeClient({ maxInFlight: 2 })
      const fibers = yield* Effect.forEach([1, 2, 3, 4, 5], () => fork(rpc.call("m", undefined, undefined)))
      yield* Effect.yieldNow
      assert.deepStrictEqual(sent.map(({ id }) => id), [1, 2])
      assert.deepStrictEqual(rpc.sizes(), { waiting: 2, queued: 3 })
      answer(2)
      yield* Effect.yieldNow
      assert.deepStrictEqual(sent.map(({ id }) => id), [1, 2, 3])
      for (const id of [1, 3, 4, 5]) {
        answer(id)
        yield* Effect.yieldNow
      }
      assert.deepStrictEqual(yield* Fiber.joinAll(fibers), [1, 2, 3, 4, 5])
      assert.deepStrictEqual(rpc.sizes(), nothing)
    }))

  it.effect("a call interrupted in the queue is never sent", () =>
    Effect.gen(function*() {
      const { answer, rpc, sent } = yield* makeClient({ maxInFlight: 1 })
      const first = yield* fork(rpc.call("m", undefined, undefined))
      const second = yield* fork(rpc.call("m", undefined, undefined))
      const third = yield* fork(rpc.call("m", undefined, undefined))
      yield* Fiber.interrupt(second)
      answer(1)
      yield* Fiber.join(first)
      answer(3)
      yield* Fiber.join(third)
      yield* Effect.yieldNow
      assert.deepStrictEqual(sent.map(({ id }) => id), [1, 3])
    }))

  it.effect("one call too many is refused", () =>
    Effect.gen(function*() {
      const { rpc } = yield* makeClient({ maxInFlight: 1, maxQueued: 1 })
      yield* fork(rpc.call("m", undefined, undefined))
      yield* fork(rpc.call("m", undefined, undefined))
      const error = yield* Effect.flip(rpc.call("m", undefined, undefined))
      assert.isTrue(error._tag === "RpcError" && error.reason._tag === "Unavailable")
    }))
})

describe("the window of a transport", () => {
  const call = (rpc: Client.Client) => fork(rpc.call("m", undefined, { timeout: "10 seconds" }))

  it.effect("holds up, and who has waited for long holds no place in it", () =>
    Effect.gen(function*() {
      const { answer, rpc, sent } = yield* makeClient({ maxInFlight: undefined }, 2)
      const fibers = yield* Effect.forEach([1, 2, 3, 4, 5], () => call(rpc))
      yield* Effect.yieldNow
      assert.deepStrictEqual(sent.map(({ id }) => id), [1, 2])
      answer(1)
      yield* Fiber.join(fibers[0]!)
      yield* Effect.yieldNow
      assert.deepStrictEqual(sent.map(({ id }) => id), [1, 2, 3])
      yield* TestClock.adjust("249 millis")
      assert.strictEqual(sent.length, 3)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(sent.map(({ id }) => id), [1, 2, 3, 4, 5])
      for (const id of [5, 4, 3, 2]) answer(id)
      assert.deepStrictEqual(yield* Fiber.joinAll(fibers), [1, 2, 3, 4, 5])
      assert.deepStrictEqual(rpc.sizes(), nothing)
      // The places are free again, those of the slow ones too.
      yield* Effect.forEach([6, 7, 8], () => call(rpc))
      yield* Effect.yieldNow
      assert.deepStrictEqual(sent.slice(5).map(({ id }) => id), [6, 7])
    }))

  it.effect("counts no call that was interrupted, and lets one through whatever it is", () =>
    Effect.gen(function*() {
      const { answer, rpc, sent } = yield* makeClient({ maxInFlight: undefined }, 0)
      const first = yield* call(rpc)
      const second = yield* call(rpc)
      yield* Effect.yieldNow
      assert.strictEqual(sent.length, 1)
      yield* Fiber.interrupt(first)
      yield* Effect.yieldNow
      answer(2)
      assert.strictEqual(yield* Fiber.join(second), 2)
    }))

  it.effect("gives way to the one that the user has set", () =>
    Effect.gen(function*() {
      const { rpc, sent } = yield* makeClient({ maxInFlight: 3 }, 1)
      yield* Effect.forEach([1, 2, 3, 4], () => call(rpc))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(sent.length, 3)
    }))
})

describe("interruption", () => {
  it.effect("cancels: entry and deadline go at once, the late answer is dropped", () =>
    Effect.gen(function*() {
      const { answer, rpc } = yield* makeClient()
      const fiber = yield* fork(rpc.call("m", undefined, undefined))
      assert.deepStrictEqual(rpc.sizes(), { waiting: 1, queued: 0 })
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(rpc.sizes(), nothing)
      answer(1)
      assert.isTrue(Cause.hasInterruptsOnly(yield* Effect.flip(Effect.sandbox(Fiber.join(fiber)))))
    }))
})

describe("notify", () => {
  it.effect("has no id and completes when it is sent", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make()
      yield* peer.rpc.notify("m", { message: "hello" })
      assert.deepStrictEqual(yield* peer.request, { jsonrpc: "2.0", method: "m", params: { message: "hello" } })
      yield* peer.rpc.notify(SoraMethod.RequestSimulcastRid, { rid: "none" })
      assert.deepStrictEqual((yield* peer.request).params, { rid: "none" })
    }))
  it.effect("is checked as a call is", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make()
      assert.strictEqual((yield* Effect.flip(peer.rpc.notify("nope"))).message.slice(0, 4), "nope")
      const error = yield* Effect.flip(peer.rpc.notify(SoraMethod.RequestSimulcastRid, { rid: "r9" } as any))
      assert.isTrue(error._tag === "RpcError" && error.reason._tag === "InvalidParams")
    }))
})

describe("the end", () => {
  it.effect("fails every waiting and every later call with Disconnected, code -1", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { rpc } = yield* makeClient({ maxInFlight: 2 }).pipe(Scope.provide(scope))
      const fibers = yield* Effect.forEach([1, 2, 3, 4], () => fork(Effect.flip(rpc.call("m", undefined, undefined))))
      yield* Scope.close(scope, Exit.void)
      for (const error of yield* Fiber.joinAll(fibers)) {
        assert.isTrue(error._tag === "Disconnected" && error.reason._tag === "Released")
        assert.isTrue(error._tag === "Disconnected" && error.code === -1 && error.message === "Disconnected")
      }
      assert.deepStrictEqual(rpc.sizes(), nothing)
      assert.strictEqual((yield* Effect.flip(rpc.call("m", undefined, undefined)))._tag, "Disconnected")
      assert.strictEqual((yield* Effect.flip(rpc.notify("m", undefined)))._tag, "Disconnected")
    }))

  it.effect("a call made by one that was just disconnected fails too", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { rpc } = yield* makeClient().pipe(Scope.provide(scope))
      const call = rpc.call("m", undefined, undefined)
      const fiber = yield* fork(Effect.flip(Effect.catch(call, () => call)))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Disconnected")
    }))

  it.effect("leaves no fiber behind after 1,000 calls, answered, expired, interrupted and cut off", () =>
    Effect.gen(function*() {
      const { leaked } = yield* withFiberCount(Effect.scoped(Effect.gen(function*() {
        const { answer, rpc } = yield* makeClient()
        const fibers = yield* Effect.forEach(
          Array.from({ length: 1000 }, (_, i) => i),
          (i) => fork(Effect.exit(rpc.call("m", undefined, { timeout: i % 2 === 0 ? "1 second" : "1 hour" })))
        )
        for (let id = 1; id <= 200; id++) answer(id)
        yield* Effect.yieldNow
        yield* TestClock.adjust("1 second")
        yield* Fiber.interruptAll(fibers.slice(0, 800))
        return fibers
      })))
      assert.strictEqual(leaked(), 0)
    }))

  it.effect("without an rpc channel calls fail with Unavailable", () =>
    Effect.gen(function*() {
      const [channel] = yield* RpcChannel.makePair
      const transport = {
        ...RpcTransport.make(channel, { methods: ["m"] }),
        obstacleUnsafe: () => new SoraRpcError.Unavailable({ detail: "the server opened no rpc channel" })
      }
      const rpc = yield* Client.make(transport, {
        defaultTimeout: "5 seconds",
        checkMethods: true,
        maxInFlight: 1,
        maxQueued: 1,
        whenDisconnected: "wait"
      })
      for (const method of ["m", "nope"]) {
        const error = yield* Effect.flip(rpc.call(method, undefined, undefined))
        assert.isTrue(error._tag === "RpcError" && error.reason._tag === "Unavailable")
      }
    }))
})

describe("layerTest", () => {
  const Test = SoraRpc.layerTest([
    SoraMethod.handle(SoraMethod.RequestSimulcastRid, ({ rid }, caller) =>
      rid === "none"
        ? Effect.fail(new SoraRpcError.ServerError({ code: 7, message: "no", data: [rid] }))
        : Effect.succeed({ channelId: caller.channelId, receiverConnectionId: caller.connectionId, rid })),
    SoraMethod.handle(SoraMethod.make("Die"), () => Effect.die("defect")),
    SoraMethod.handle(SoraMethod.make("Hang"), () => Effect.never)
  ])

  it.effect("serves handlers, their errors and their defects", () =>
    Effect.gen(function*() {
      assert.deepInclude(yield* SoraRpc.requestSimulcastRid({ rid: "r2" }), { channelId: "test", rid: "r2" })
      const error = yield* Effect.flip(SoraRpc.requestSimulcastRid({ rid: "none" }))
      assert.isTrue(error._tag === "RpcError" && error.code === 7 && Array.isArray(error.data))
      const died = yield* Effect.flip(SoraRpc.SoraRpc.use((rpc) => rpc.call("Die")))
      assert.isTrue(died._tag === "RpcError" && died.code === -32603)
      const missing = yield* Effect.flip(SoraRpc.resetSpotlightRid())
      assert.isTrue(missing._tag === "RpcError" && missing.reason._tag === "MethodNotAvailable")
      const hanging = yield* fork(
        Effect.flip(SoraRpc.SoraRpc.use((rpc) => rpc.call("Hang", {}, { timeout: "1 second" })))
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(hanging))._tag, "TimeoutError")
    }).pipe(Effect.provide(Test)))

  it.effect("has Sora's error for a member that is not a param", () =>
    Effect.gen(function*() {
      const rpc = yield* SoraRpc.SoraRpc
      const error = yield* Effect.flip(rpc.call("2025.2.0/RequestSimulcastRid", { rid: "r0", colour: "red" }))
      assert.isTrue(error._tag === "RpcError" && error.code === -32602)
      assert.deepStrictEqual((error as SoraRpcError.RpcError).data, { "UNKNOWN-KEYS": ["colour"] })
    }).pipe(Effect.provide(Layer.fresh(Test))))
})

describe("errors", () => {
  it.effect("survive JSON", () =>
    Effect.gen(function*() {
      const Errors = Schema.Union([SoraRpcError.RpcError, SoraRpcError.TimeoutError, SoraRpcError.Disconnected])
      const codec = Schema.toCodecJson(Errors)
      for (
        const error of [
          new SoraRpcError.RpcError({
            method: "m",
            reason: new SoraRpcError.ServerError({ code: 1, message: "x", data: {} })
          }),
          new SoraRpcError.TimeoutError({ method: "m", timeout: Duration.seconds(5) }),
          new SoraRpcError.Disconnected({ reason: new DisconnectReason.ServerClosed({ code: 1000, reason: "x" }) })
        ]
      ) {
        const json = JSON.stringify(yield* Schema.encodeEffect(codec)(error))
        assert.strictEqual(String(yield* Schema.decodeUnknownEffect(codec)(JSON.parse(json))), String(error))
      }
    }))
})
