/**
 * What a caller, a channel or its peer can do wrong, and whom it hurts: nobody
 * else.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Layer, Schema, SchemaGetter, Scope } from "effect"
import { DisconnectReason, RpcChannel, RpcTransport, SoraMethod, SoraRpc, SoraRpcError } from "effect-sora-rpc"
import { TestClock } from "effect/testing"
import { deflateSync } from "node:zlib"
import * as Channel from "../../../src/internal/rpc/channel.ts"
import * as Client from "../../../src/internal/rpc/client.ts"
import * as ReconnectingChannel from "../../../src/internal/rpc/reconnectingChannel.ts"
import { FakeDataChannel } from "../../utils/fakeDataChannel.ts"
import * as FakePeer from "../../utils/fakePeer.ts"

/** What was handed to the process, as it would be in a page. */
const reported: Array<unknown> = []
Object.assign(globalThis, { reportError: (defect: unknown) => reported.push(defect) })
const times = (defect: unknown) => reported.filter((other) => other === defect).length

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** Runs a call as a program without Effect does, with a callback that throws. */
const callAndThrow = Effect.fnUntraced(function*(call: Effect.Effect<unknown, unknown>, defect: Error) {
  const exits: Array<Exit.Exit<unknown, unknown>> = []
  const context = yield* Effect.context<never>()
  Effect.runCallbackWith(context)(call, {
    onExit(exit) {
      exits.push(exit)
      throw defect
    }
  })
  return exits
})

const invalidOptions = (exit: Exit.Exit<unknown, unknown>): string => {
  assert.isTrue(Exit.isFailure(exit))
  const defect = Cause.squash((exit as Exit.Failure<unknown, unknown>).cause)
  assert.instanceOf(defect, SoraRpcError.InvalidOptions)
  return (defect as SoraRpcError.InvalidOptions).message
}

describe("a caller that throws", () => {
  it.effect("when it is answered: the others are answered, and it is told to the process, once", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make()
      const defect = new Error("mine")
      const exits = yield* callAndThrow(peer.rpc.call("m"), defect)
      const other = yield* fork(peer.rpc.call("n"))
      for (const id of [1, 2]) peer.send({ id, result: id })
      assert.strictEqual(yield* Fiber.join(other), 2)
      assert.deepStrictEqual(exits, [Exit.succeed(1)])
      assert.strictEqual(times(defect), 1)
    }))

  it.effect("when its time is over: the deadlines of the others come", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make()
      const defect = new Error("mine")
      yield* callAndThrow(peer.rpc.call("m", {}, { timeout: "1 second" }), defect)
      const others = yield* Effect.forEach(
        ["1 second", "2 seconds"] as const,
        (timeout) => fork(Effect.flip(peer.rpc.call("n", {}, { timeout })))
      )
      yield* TestClock.adjust("2 seconds")
      for (const error of yield* Fiber.joinAll(others)) assert.strictEqual(error._tag, "TimeoutError")
      assert.strictEqual(times(defect), 1)
    }))

  it.effect("when the connection ends: all others are told, and the scope closes", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const peer = yield* FakePeer.make().pipe(Scope.provide(scope))
      const defect = new Error("mine")
      yield* callAndThrow(peer.rpc.call("m"), defect)
      const others = yield* Effect.forEach([1, 2, 3], () => fork(Effect.flip(peer.rpc.call("n"))))
      yield* Scope.close(scope, Exit.void)
      for (const error of yield* Fiber.joinAll(others)) assert.strictEqual(error._tag, "Disconnected")
      assert.strictEqual(times(defect), 1)
    }))
})

describe("a channel that throws", () => {
  const make = (faulty: Partial<RpcChannel.RpcChannel>) =>
    FakePeer.makeRpc({
      listenUnsafe: () => () => {},
      isWritable: () => true,
      sendUnsafe: () => undefined,
      ...faulty
    }, {
      methods: ["m"]
    })
  const throws = (message: string) => (): never => {
    throw new Error(message)
  }

  for (
    const [name, faulty] of Object.entries<Partial<RpcChannel.RpcChannel>>({
      "when it sends": { sendUnsafe: throws("send") },
      "when it is asked whether it can send": { isWritable: throws("writable"), sendUnsafe: throws("send") }
    })
  ) {
    it.effect(`${name}: the call fails with Unavailable`, () =>
      Effect.gen(function*() {
        const rpc = yield* make(faulty)
        for (
          const call of [rpc.call("m"), rpc.notify("m")] as ReadonlyArray<
            Effect.Effect<unknown, SoraRpcError.SoraRpcError>
          >
        ) {
          const error = yield* Effect.flip(call)
          assert.isTrue(error._tag === "RpcError" && error.reason._tag === "Unavailable")
        }
      }))
  }

  it.effect("when it lets its listener go: the scope closes, the call ends", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const defect = new Error("detach")
      const rpc = yield* make({
        listenUnsafe: () => () => {
          throw defect
        }
      }).pipe(Scope.provide(scope))
      const call = yield* fork(Effect.flip(rpc.call("m")))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(call))._tag, "Disconnected")
      assert.strictEqual(times(defect), 1)
    }))

  it.effect("a listener that throws does not reach the DataChannel", () =>
    Effect.gen(function*() {
      const dataChannel = new FakeDataChannel()
      const channel = yield* RpcChannel.fromDataChannel(dataChannel)
      const defects = ["onFrame", "onMalformed", "onWritable", "onEnd"].map((name) => new Error(name))
      const [onFrame, onMalformed, onWritable, onEnd] = defects.map((defect) => () => {
        throw defect
      })
      channel.listenUnsafe({
        onFrame: onFrame!,
        onMalformed: onMalformed!,
        onWritable: onWritable!,
        onEnd: onEnd!
      })
      dataChannel.emit("message", { data: "{}" })
      dataChannel.emit("message", { data: 1 })
      dataChannel.emit("bufferedamountlow", {})
      dataChannel.close()
      assert.deepStrictEqual(defects.map(times), [1, 1, 1, 1])
      assert.strictEqual(dataChannel.listenerCount, 0)
    }))
})

describe("a connection without an rpc channel, one of several", () => {
  const make = Effect.fnUntraced(function*() {
    const reconnecting = ReconnectingChannel.make(() => false)
    const client = yield* Client.make({
      channel: reconnecting.channel,
      methodsUnsafe: () => [],
      obstacleUnsafe: reconnecting.obstacle
    }, {
      defaultTimeout: Duration.infinity,
      checkMethods: false,
      maxInFlight: 1,
      maxQueued: 10,
      whenDisconnected: "wait"
    })
    return { client, reconnecting }
  })
  const unavailable = (error: { readonly _tag: string }) =>
    assert.isTrue(error instanceof SoraRpcError.RpcError && error.reason._tag === "Unavailable")

  it.effect("one that has ended by the time it is attached: calls that waited learn why", () =>
    Effect.gen(function*() {
      const { client, reconnecting } = yield* make()
      const waiting = yield* fork(Effect.flip(client.call("m", undefined, undefined)))
      const { end, ends } = Channel.makePair()
      const reason = new DisconnectReason.SocketLost({})
      end(reason)
      reconnecting.attach(ends[0])
      assert.deepStrictEqual(yield* Fiber.join(waiting), new SoraRpcError.Disconnected({ reason }))
      // The next one is waited for.
      const patient = yield* fork(client.call("m", undefined, undefined))
      const [next, far] = Channel.makePair().ends
      far.listenUnsafe({
        onFrame: (frame) =>
          void far.sendUnsafe(JSON.stringify({ jsonrpc: "2.0", id: JSON.parse(frame).id, result: "next" }))
      })
      reconnecting.attach(next)
      assert.strictEqual(yield* Fiber.join(patient), "next")
    }))

  it.effect("calls fail with Unavailable, those that waited for it too, and work when a later one has it", () =>
    Effect.gen(function*() {
      const { client, reconnecting } = yield* make()
      const waited = yield* Effect.forEach(
        [client.call("m", undefined, undefined), client.call("m", undefined, undefined), client.notify("m", undefined)],
        (call) => fork(Effect.flip(call))
      )
      reconnecting.attach(undefined)
      for (const error of yield* Fiber.joinAll(waited)) unavailable(error)
      unavailable(yield* Effect.flip(client.call("m", undefined, undefined)))
      unavailable(yield* Effect.flip(client.notify("m", undefined)))

      reconnecting.interrupt(new DisconnectReason.SocketLost({}))
      const patient = yield* fork(client.call("m", undefined, undefined))
      const [near, far] = yield* RpcChannel.makePair
      far.listenUnsafe({
        onFrame: (frame) =>
          void far.sendUnsafe(JSON.stringify({ jsonrpc: "2.0", id: JSON.parse(frame).id, result: "up" }))
      })
      reconnecting.attach(near)
      assert.strictEqual(yield* Fiber.join(patient), "up")
    }))
})

describe("a channel that outlives its client, or its connection", () => {
  it.effect("a late answer to one client is not the next client's", () =>
    Effect.gen(function*() {
      const [near, far] = yield* RpcChannel.makePair
      const asked: Array<number> = []
      far.listenUnsafe({ onFrame: (frame) => asked.push(JSON.parse(frame).id) })
      const use = Effect.gen(function*() {
        const rpc = yield* FakePeer.makeRpc(near, { methods: ["m"] })
        const call = yield* fork(Effect.exit(rpc.call("m", {}, { timeout: "1 second" })))
        yield* Effect.yieldNow
        // To the first client's call, as late as it may be.
        far.sendUnsafe(JSON.stringify({ jsonrpc: "2.0", id: asked[0]! - 1, result: "somebody else's" }))
        yield* TestClock.adjust("1 second")
        return yield* Fiber.join(call)
      })
      for (const _ of [1, 2]) {
        const exit = yield* Effect.scoped(use)
        assert.isTrue(Exit.isFailure(exit))
      }
      assert.strictEqual(new Set(asked).size, 2)
    }))

  it.effect("a client that is made while there is no connection knows it", () =>
    Effect.gen(function*() {
      const reconnecting = ReconnectingChannel.make(() => false)
      const [near] = yield* RpcChannel.makePair
      reconnecting.attach(near)
      reconnecting.interrupt(new DisconnectReason.SocketLost({}))
      const client = yield* Client.make({
        channel: reconnecting.channel,
        methodsUnsafe: () => ["m"],
        obstacleUnsafe: reconnecting.obstacle
      }, {
        defaultTimeout: Duration.infinity,
        checkMethods: true,
        maxInFlight: 1,
        maxQueued: 10,
        whenDisconnected: "fail"
      })
      const error = yield* Effect.flip(client.call("m", undefined, undefined))
      assert.isTrue(error._tag === "Disconnected" && error.reason._tag === "SocketLost")
    }))

  it.effect("another rpc channel in its place: what was sent is not answered, what is sent from now on is", () =>
    Effect.gen(function*() {
      // An end would be the end of all, as without `reconnect`.
      const reconnecting = ReconnectingChannel.make(() => true)
      const [first] = yield* RpcChannel.makePair
      const [second, far] = yield* RpcChannel.makePair
      far.listenUnsafe({
        onFrame: (frame) =>
          void far.sendUnsafe(JSON.stringify({ jsonrpc: "2.0", id: JSON.parse(frame).id, result: "second" }))
      })
      reconnecting.attach(first)
      const client = yield* Client.make({
        channel: reconnecting.channel,
        methodsUnsafe: () => ["m"],
        obstacleUnsafe: reconnecting.obstacle
      }, {
        defaultTimeout: Duration.infinity,
        checkMethods: true,
        maxInFlight: 10,
        maxQueued: 10,
        whenDisconnected: "wait"
      })
      const sent = yield* fork(Effect.flip(client.call("m", undefined, undefined)))
      reconnecting.replace(second)
      assert.strictEqual((yield* Fiber.join(sent))._tag, "Disconnected")
      assert.strictEqual(yield* client.call("m", undefined, undefined), "second")
    }))
})

describe("params that make no request", () => {
  const Typed = SoraMethod.make("Typed", { params: Schema.Struct({ value: Schema.Json }) })
  const Effectful = SoraMethod.make("Effectful", {
    params: Schema.Struct({
      value: Schema.String.pipe(Schema.encode({
        decode: SchemaGetter.passthrough(),
        encode: SchemaGetter.transformEffect((text: string) => Effect.delay(Effect.succeed(text), "1 milli"))
      }))
    })
  })
  let deep: Schema.Json = 1
  for (let i = 0; i < 20_000; i++) deep = { deep }
  const cyclic: Record<string, any> = {}
  cyclic["self"] = cyclic
  const thrown = new Error("of a getter")
  const withGetter = {
    get value(): Schema.Json {
      throw thrown
    }
  }
  const withToJson = (value: unknown) => Object.defineProperty({ a: 1 }, "toJSON", { value: () => value }) as {}

  const cases: ReadonlyArray<readonly [string, params: any, issue: RegExp]> = [
    ["nested 20,000 deep", { deep }, /too deeply/],
    ["with themselves in them", cyclic, /without end/],
    ["with a getter that throws", withGetter, /threw/],
    ["that a toJSON makes a number", withToJson(5), /neither/],
    ["that a toJSON makes nothing", withToJson(undefined), /neither/],
    ["with a bigint", { value: 1n }, /params\.value: a bigint/],
    ["with undefined in a list", { list: [{ a: [1, undefined] }] }, /params\.list\.0\.a\.1: undefined/],
    ["with a number that JSON has not", { a: { b: NaN } }, /params\.a\.b: NaN/],
    ["with an instance of a class", { at: new Date(0) }, /params\.at: an object of a class/],
    ["that are a string", "text", /object or array/]
  ]
  for (const [name, params, issue] of cases) {
    it.effect(`raw, ${name}: InvalidParams, and nothing is sent`, () =>
      Effect.gen(function*() {
        const peer = yield* FakePeer.make()
        for (
          const call of [
            peer.rpc.call("m", params),
            peer.rpc.notify("m", params)
          ] as ReadonlyArray<Effect.Effect<unknown, SoraRpcError.SoraRpcError>>
        ) {
          const error = yield* Effect.flip(call)
          assert.isTrue(error._tag === "RpcError" && error.reason._tag === "InvalidParams")
          assert.match(error.message, issue)
        }
        assert.strictEqual(yield* peer.size(), 0)
      }))
  }

  it.effect("typed ones too", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make({ methods: ["Typed", "Effectful"] })
      for (
        const call of [
          peer.rpc.call(Typed, { value: deep }),
          peer.rpc.call(Typed, withGetter),
          peer.rpc.call(Effectful, { value: "x" })
        ]
      ) {
        const error = yield* Effect.flip(call)
        assert.isTrue(error._tag === "RpcError" && error.reason._tag === "InvalidParams")
      }
      const error = yield* Effect.flip(peer.rpc.call(Typed, withGetter))
      assert.isTrue(error._tag === "RpcError" && error.reason._tag === "InvalidParams" && error.reason.cause === thrown)
      assert.notInclude(error.message, thrown.message)
      assert.strictEqual(yield* peer.size(), 0)
    }))
})

describe("options that do not fit", () => {
  const none: any = undefined
  const bad: ReadonlyArray<readonly [name: string, options: any]> = [
    ["defaultTimeout", "abc"],
    ["defaultTimeout", NaN],
    ["defaultTimeout", -1],
    ["defaultTimeout", null],
    ["maxInFlight", NaN],
    ["maxInFlight", 0],
    ["maxInFlight", -1],
    ["maxInFlight", 1.5],
    ["maxQueued", NaN],
    ["maxQueued", 0],
    ["maxQueued", -1],
    ["whenDisconnected", "never"],
    ["checkMethods", "no"],
    ["defaultTimout", "1 second"]
  ]
  for (const [name, value] of bad) {
    it.effect(`${name}: ${String(value)} is one InvalidOptions that names it`, () =>
      Effect.gen(function*() {
        const options: any = { [name]: value }
        for (
          const layer of [
            SoraRpc.layerTest([], options),
            SoraRpc.layerWith(options).pipe(
              Layer.provide(RpcTransport.layer(Effect.map(RpcChannel.makePair, ([end]) => end), { methods: [] }))
            )
          ]
        ) {
          const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
          assert.strictEqual(error._tag, "InvalidOptions")
          assert.match(error.message, new RegExp(`^bad options: ${name}: [^;]+$`))
        }
      }))
  }

  it.effect("Infinity is no limit, and no timeout", () =>
    Effect.scoped(
      Layer.build(
        SoraRpc.layerTest([], { maxInFlight: Infinity, maxQueued: Infinity, defaultTimeout: Duration.infinity })
      )
    ))

  it.effect("of a call: a defect that names it", () =>
    Effect.gen(function*() {
      const { rpc } = yield* FakePeer.make()
      for (const timeout of ["soon", null, NaN, "NaN", {}.constructor] as Array<any>) {
        assert.match(invalidOptions(yield* Effect.exit(rpc.call("m", {}, { timeout }))), /timeout: expected a duration/)
      }
      for (const method of [null, none, 5, {}] as Array<any>) {
        assert.match(invalidOptions(yield* Effect.exit(rpc.call(method))), /method: expected a SoraMethod/)
        assert.match(invalidOptions(yield* Effect.exit(rpc.notify(method))), /method: expected a SoraMethod/)
      }
    }))

  it.effect("two services on one channel", () =>
    Effect.gen(function*() {
      const { channel } = yield* FakePeer.make()
      const error = yield* Effect.flip(FakePeer.makeRpc(channel, { methods: [] }))
      assert.match(error.message, /in use by another SoraRpc/)
    }))

  it.effect("two handlers of one method", () =>
    Effect.gen(function*() {
      const handler = SoraMethod.handle(SoraMethod.make("Twice"), () => Effect.succeed(1))
      const error = yield* Effect.flip(Effect.scoped(Layer.build(SoraRpc.layerTest([handler, handler]))))
      assert.match(error.message, /handlers: two of them serve Twice/)
    }))

  it("of a method: thrown where it is made", () => {
    const make: any = SoraMethod.make
    assert.throws(() => make(""), /name:/)
    assert.throws(() => make("m", { version: "" }), /version:/)
    assert.throws(() => make("m", { params: {} }), /params: Expected a Schema/)
    assert.throws(() => make("m", { reslut: Schema.String }), /reslut: there is no option of this name/)
  })
})

describe("a response made to cost much", () => {
  const make = Effect.fnUntraced(function*(options?: RpcChannel.Options) {
    const dataChannel = new FakeDataChannel()
    const channel = yield* RpcChannel.fromDataChannel(dataChannel, { compress: true, ...options })
    const rpc = yield* FakePeer.makeRpc(channel, { methods: ["m"] })
    return { dataChannel, rpc }
  })
  const answer = (body: string) => deflateSync(`{"jsonrpc":"2.0",${body}"id":1,"result":1}`)

  it.effect("beyond a mebibyte once inflated it is dropped, and the channel goes on", () =>
    Effect.gen(function*() {
      const { dataChannel, rpc } = yield* make()
      const call = yield* fork(rpc.call("m"))
      dataChannel.emit("message", { data: answer("\"\":0,".repeat(3_000_000)) })
      dataChannel.emit("message", { data: "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1}" + " ".repeat(1024 * 1024) })
      assert.isUndefined(call.pollUnsafe())
      dataChannel.emit("message", { data: answer("\"\":0,".repeat(200_000)) })
      assert.strictEqual(yield* Fiber.join(call), 1)
    }))

  it.effect("the bound can be set", () =>
    Effect.gen(function*() {
      const { dataChannel, rpc } = yield* make({ maxInflatedBytes: 100 })
      const call = yield* fork(rpc.call("m"))
      dataChannel.emit("message", { data: answer("\"\":0,".repeat(20)) })
      assert.isUndefined(call.pollUnsafe())
      dataChannel.emit("message", { data: answer("\"\":0,") })
      assert.strictEqual(yield* Fiber.join(call), 1)
    }))

  it.effect("a result that is nested too deeply for its schema is InvalidResult", () =>
    Effect.gen(function*() {
      const Nested: Schema.Codec<any> = Schema.Struct({ a: Schema.suspend((): Schema.Codec<any> => Nested) })
      const peer = yield* FakePeer.make({ methods: ["Deep"] })
      const call = yield* fork(Effect.flip(peer.rpc.call(SoraMethod.make("Deep", { result: Nested }))))
      peer.send(`{"jsonrpc":"2.0","id":1,"result":${"{\"a\":".repeat(20_000)}1${"}".repeat(20_000)}}`)
      const error = yield* Fiber.join(call)
      assert.isTrue(error._tag === "RpcError" && error.reason._tag === "InvalidResult")
    }))
})
