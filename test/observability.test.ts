import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Metric, Tracer } from "effect"
import { DisconnectReason, RpcChannel, RpcTransport, SoraRpc } from "effect-sora-rpc"
import { TestClock } from "effect/testing"
import * as ReconnectingChannel from "../src/internal/rpc/reconnectingChannel.ts"
import * as FakePeer from "./utils/fakePeer.ts"
import { makeTracer, metric } from "./utils/tracer.ts"

describe("spans", () => {
  it.effect("one client span per call, with the names of the conventions and nothing of the params", () =>
    Effect.gen(function*() {
      const { spans, tracer } = makeTracer()
      const peer = yield* FakePeer.make()
      const fiber = yield* Effect.forkChild(
        Effect.exit(peer.rpc.call("m", { token: "s3cret" })).pipe(Effect.withTracer(tracer)),
        { startImmediately: true }
      )
      peer.send({ id: 1, error: { code: -32601, message: "UNSUPPORTED-JSON-RPC-METHOD" } })
      yield* Fiber.join(fiber)
      yield* peer.rpc.notify("n", { a: 1 }).pipe(Effect.withTracer(tracer))
      const [call, notification] = spans
      assert.deepStrictEqual([call?.name, call?.kind, notification?.name], ["m", "client", "n"])
      assert.deepStrictEqual(Object.fromEntries(call!.attributes), {
        "rpc.system.name": "jsonrpc",
        "rpc.method": "m",
        "jsonrpc.protocol.version": "2.0",
        "jsonrpc.request.id": "1",
        "error.type": "-32601",
        "rpc.response.status_code": "-32601"
      })
      assert.isTrue(call!.status._tag === "Ended" && Exit.isFailure(call!.status.exit))
      assert.isFalse(notification!.attributes.has("jsonrpc.request.id"))
      assert.notInclude(JSON.stringify(spans.map(({ attributes }) => [...attributes])), "s3cret")
    }))

  it.effect("say where the call went, also of one that waited for another connection", () =>
    Effect.gen(function*() {
      const { spans, tracer } = makeTracer()
      const channel = ReconnectingChannel.make(() => false)
      let connection = "A"
      const rpc = yield* SoraRpc.make().pipe(Effect.provideService(RpcTransport.RpcTransport, {
        channel: channel.channel,
        methodsUnsafe: () => ["m"],
        obstacleUnsafe: () => undefined,
        spanAttributesUnsafe: () => ({ "sora.connection_id": connection })
      }))
      const call = Effect.forkChild(Effect.exit(rpc.call("m")).pipe(Effect.withTracer(tracer)), {
        startImmediately: true
      })
      const where = () => spans.map(({ attributes }) => attributes.get("sora.connection_id"))
      const [first] = yield* RpcChannel.makePair
      channel.attach(first)
      yield* call
      channel.interrupt(new DisconnectReason.SocketLost({}))
      yield* call
      assert.deepStrictEqual(where(), ["A", "A"])
      connection = "B"
      const [second] = yield* RpcChannel.makePair
      channel.attach(second)
      assert.deepStrictEqual(where(), ["A", "B"])
    }))

  it.effect("a tracer that throws ends its own call, and no other", () =>
    Effect.gen(function*() {
      const tracer = Tracer.make({
        span(options) {
          const span = new Tracer.NativeSpan(options)
          const attribute = span.attribute.bind(span)
          span.attribute = (name, value) => {
            if (name === "error.type") throw new Error("a mistake of the tracer")
            attribute(name, value)
          }
          return span
        }
      })
      const { rpc } = yield* FakePeer.make()
      const fork = <A, E>(call: Effect.Effect<A, E>) => Effect.forkChild(Effect.exit(call), { startImmediately: true })
      const traced = yield* fork(rpc.call("m", {}, { timeout: "1 second" }).pipe(Effect.withTracer(tracer)))
      const other = yield* fork(rpc.call("m", {}, { timeout: "2 seconds" }))
      yield* TestClock.adjust("3 seconds")
      assert.isTrue(Exit.hasDies(yield* Fiber.join(traced)))
      assert.isTrue(Exit.hasFails(yield* Fiber.join(other)))
      const later = yield* fork(rpc.call("m", {}, { timeout: "1 second" }))
      yield* TestClock.adjust("1 second")
      assert.isTrue(Exit.hasFails(yield* Fiber.join(later)))
    }))
})

describe("metrics", () => {
  it.effect("calls, errors, waiting and dropped frames are counted", () =>
    Effect.gen(function*() {
      const peer = yield* FakePeer.make({ methods: ["observed"] })
      const dropped = (reason: string) => metric("sora.rpc.client.responses.dropped", { reason })
      const fine = yield* Effect.forkChild(peer.rpc.call("observed"), { startImmediately: true })
      const late = yield* Effect.forkChild(Effect.flip(peer.rpc.call("observed", {}, { timeout: "1 second" })), {
        startImmediately: true
      })
      assert.strictEqual((yield* metric("sora.rpc.client.waiting")).value, 2)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(late)
      for (const frame of ["{", { id: 2, result: 1 }, { result: 1 }]) peer.send(frame)
      peer.send({ id: 1, result: 1 })
      yield* Fiber.join(fine)
      const duration = yield* metric("rpc.client.call.duration", { "rpc.method": "observed" })
      assert.deepStrictEqual([duration.count, duration.sum], [2, 2])
      const errors = yield* metric("sora.rpc.client.errors", { "rpc.method": "observed", "error.type": "TimeoutError" })
      assert.strictEqual(errors.count, 1)
      assert.strictEqual((yield* metric("sora.rpc.client.waiting")).value, 0)
      for (const reason of ["malformed", "late", "uncorrelated"]) {
        assert.strictEqual((yield* dropped(reason)).count, 1, reason)
      }
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
})
