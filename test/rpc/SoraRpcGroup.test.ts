/**
 * One program with a client of the group, over everything that can carry it: Sora's channel in memory and over WebRTC, and
 * HTTP to a server, or a worker, that hands on to it.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeWorker from "@effect/platform-node/NodeWorker"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Layer, Schema, Scope } from "effect"
import { DisconnectReason, SoraMethod, SoraRpc, SoraRpcError } from "effect-sora-rpc"
import { SoraRpcGroup } from "effect-sora-rpc/rpc"
import { SoraServer } from "effect-sora-rpc/server"
import { FetchHttpClient, HttpRouter, HttpServer } from "effect/http"
import { AtomRegistry, AtomRpc } from "effect/reactivity"
import { Rpc, RpcClient, RpcGroup, RpcSerialization, RpcServer } from "effect/rpc"
import { createServer } from "node:http"
import { Worker } from "node:worker_threads"
import { Ask, group, Hang, Own } from "./group.ts"

const own = SoraMethod.handle(
  Own,
  ({ roomId, since }) => Effect.succeed({ memberCount: roomId.length, ...(since === undefined ? {} : { since }) })
)
const ask = SoraMethod.handle(
  Ask,
  () => Effect.fail(new SoraRpcError.ServerError({ code: -32001, message: "no", data: { why: ["not"] } }))
)
const hang = SoraMethod.handle(Hang, () => Effect.never)

const rid = "r1"
const channelId = "test"
const inMemory = SoraRpc.layerTest([
  SoraMethod.handle(
    SoraMethod.RequestSimulcastRid,
    (_, { connectionId }) => Effect.succeed({ channelId, receiverConnectionId: connectionId, rid })
  ),
  SoraMethod.handle(
    SoraMethod.RequestSpotlightRid,
    ({ spotlightFocusRid, spotlightUnfocusRid }, { connectionId }) =>
      Effect.succeed({ channelId, recvConnectionId: connectionId, spotlightFocusRid, spotlightUnfocusRid })
  ),
  SoraMethod.handle(
    SoraMethod.ResetSpotlightRid,
    (_, { connectionId }) => Effect.succeed({ channelId, recvConnectionId: connectionId })
  ),
  SoraMethod.handle(SoraMethod.PutSignalingNotifyMetadata, ({ metadata }) => Effect.succeed(metadata)),
  SoraMethod.handle(SoraMethod.PutSignalingNotifyMetadataItem, ({ key, value }) => Effect.succeed({ [key]: value })),
  own,
  ask,
  hang
])

const spotlight = { channelId, role: "sendrecv", simulcast: true, spotlight: true } as const
const overWebRTC = SoraServer.layerTest(spotlight, { handlers: [own, ask, hang] })

const gateway = HttpRouter.serve(
  RpcServer.layerHttp({ group, path: "/rpc", protocol: "http" }).pipe(
    Layer.provide(SoraRpcGroup.layerHandlers(group))
  ),
  { disableListenLog: true, disableLogger: true }
)

/** A client of an HTTP server that hands on to the connection below. */
const overHttp = Layer.unwrap(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  assert(address._tag !== "UnixPathAddress")
  return RpcClient.layerProtocolHttp({ url: `http://127.0.0.1:${address.port}/rpc` })
})).pipe(
  Layer.provide(gateway),
  Layer.provide([
    NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 }),
    RpcSerialization.layerJson,
    FetchHttpClient.layer
  ]),
  Layer.orDie
)

/** A client of a worker that holds the connection. */
const overWorker = Layer.unwrap(Effect.gen(function*() {
  const { url } = yield* SoraServer.make({ handlers: [own, ask, hang] })
  const spawn = () => new Worker(new URL("./worker.ts", import.meta.url), { workerData: { ...spotlight, url } })
  return RpcClient.layerProtocolWorker({ size: 1, concurrency: 8 }).pipe(Layer.provide(NodeWorker.layer(spawn)))
}))

const direct = SoraRpcGroup.layerProtocol(group)

const carriers: Readonly<Record<string, Layer.Layer<RpcClient.Protocol, unknown>>> = {
  "in memory": direct.pipe(Layer.provide(inMemory)),
  "over WebRTC": direct.pipe(Layer.provide(overWebRTC)),
  "over HTTP, in memory": overHttp.pipe(Layer.provide(inMemory)),
  "over HTTP and WebRTC": overHttp.pipe(Layer.provide(overWebRTC)),
  "over a worker and WebRTC": overWorker
}

for (const [name, carrier] of Object.entries(carriers)) {
  describe(name, () => {
    it.live("calls the five methods and one of its own", () =>
      Effect.gen(function*() {
        const client = yield* RpcClient.make(group)
        assert.strictEqual((yield* client.RequestSimulcastRid({ rid })).rid, rid)
        const rids = { spotlightFocusRid: "r2", spotlightUnfocusRid: "none" } as const
        assert.deepInclude(yield* client.RequestSpotlightRid(rids), rids)
        assert.strictEqual((yield* client.ResetSpotlightRid({})).channelId, channelId)
        const metadata = { mood: "busy", nested: [1, { a: null }] }
        assert.deepStrictEqual(yield* client.PutSignalingNotifyMetadata({ metadata }), metadata)
        assert.deepInclude(yield* client.PutSignalingNotifyMetadataItem({ key: "mood", value: 7 }), { mood: 7 })
        const since = new Date(86_400_000)
        assert.deepStrictEqual(yield* client.Own({ roomId: "lobby", since }), { memberCount: 5, since })
      }).pipe(Effect.scoped, Effect.provide(carrier)))

    it.live("a server's error and a timeout arrive as themselves", () =>
      Effect.gen(function*() {
        const client = yield* RpcClient.make(group)
        const refused = yield* client.Ask({ a: 1 }).pipe(Effect.catchReason("RpcError", "ServerError", Effect.succeed))
        assert.deepStrictEqual(
          refused,
          new SoraRpcError.ServerError({ code: -32001, message: "no", data: { why: ["not"] } })
        )
        const late = yield* client.Hang(undefined, { headers: SoraRpcGroup.timeout("30 millis") }).pipe(Effect.flip)
        assert.deepStrictEqual(
          late,
          new SoraRpcError.TimeoutError({ method: "1/Hang", timeout: Duration.millis(30) })
        )
        const all = yield* client.Hang().pipe(RpcClient.withHeaders(SoraRpcGroup.timeout("20 millis")), Effect.flip)
        assert.strictEqual(all._tag, "TimeoutError")
      }).pipe(Effect.scoped, Effect.provide(carrier)))

    it.live("a timeout that is none is refused, not ignored", () =>
      Effect.gen(function*() {
        const client = yield* RpcClient.make(group)
        for (const text of ["soon", "-1", "1e3", ""]) {
          const error = yield* client.Hang(undefined, { headers: { "sora-rpc-timeout": text } }).pipe(Effect.flip)
          assert.strictEqual(error._tag === "RpcError" && error.reason._tag, "InvalidParams", text)
          assert.include(error.message, "sora-rpc-timeout")
        }
      }).pipe(Effect.scoped, Effect.provide(carrier)))
  })
}

/** A service whose every call fails with the error given, or with what the test makes of it. */
const failing = (error: SoraRpcError.SoraRpcError) =>
  Layer.succeed(SoraRpc.SoraRpc, {
    methods: Effect.succeed([]),
    call: () => Effect.fail(error),
    notify: () => Effect.void
  })

const method = "2025.2.0/ResetSpotlightRid"
const reasons: ReadonlyArray<SoraRpcError.RpcErrorReason> = [
  new SoraRpcError.ServerError({ code: 1, message: "m" }),
  new SoraRpcError.ServerError({ code: -32603, message: "", data: null }),
  new SoraRpcError.ServerError({ code: 2, message: "m", data: { deep: [{ a: [true, 1.5, "x", null] }] } }),
  new SoraRpcError.MethodNotAvailable({ method, available: ["a", "b"] }),
  new SoraRpcError.InvalidParams({ issue: "rid: expected one of none" }),
  new SoraRpcError.InvalidResult({ issue: "rid: missing" }),
  new SoraRpcError.ProtocolViolation({ rule: "no id" }),
  new SoraRpcError.PayloadTooLarge({ bytes: 300_000, maxBytes: 262_144 }),
  new SoraRpcError.Unavailable({ detail: "no channel" })
]
const ended: ReadonlyArray<DisconnectReason.DisconnectReason> = [
  new DisconnectReason.Released(),
  new DisconnectReason.ServerClosed({ code: 4490, reason: "INTERNAL-ERROR" }),
  new DisconnectReason.SocketLost({ detail: "reset" }),
  new DisconnectReason.ChannelClosed({ label: "rpc" }),
  new DisconnectReason.PeerFailed({ state: "failed" }),
  new DisconnectReason.Redirected()
]
const errors: ReadonlyArray<SoraRpcError.SoraRpcError> = [
  ...reasons.map((reason) => new SoraRpcError.RpcError({ method, reason })),
  new SoraRpcError.TimeoutError({ method, timeout: Duration.seconds(1.5) }),
  new SoraRpcError.TimeoutError({ method, timeout: Duration.infinity }),
  ...ended.map((reason) => new SoraRpcError.Disconnected({ reason }))
]

const resetOver = (carrier: Layer.Layer<RpcClient.Protocol>) =>
  RpcClient.make(group).pipe(
    Effect.flatMap((client) => client.ResetSpotlightRid({})),
    Effect.scoped,
    Effect.provide(carrier)
  )

describe("each error", () => {
  for (const error of errors) {
    const reason = error._tag === "TimeoutError" ? Duration.format(error.timeout) : error.reason._tag
    for (const [name, carrier] of [["in memory", direct], ["over HTTP", overHttp]] as const) {
      it.live(`${error._tag} (${reason}) arrives as itself ${name}`, () =>
        Effect.gen(function*() {
          const arrived = yield* Effect.flip(resetOver(carrier.pipe(Layer.provide(failing(error)))))
          assert.deepStrictEqual(arrived, error)
          assert.strictEqual(arrived.constructor, error.constructor)
          assert.strictEqual(arrived.message, error.message)
          if (error._tag === "RpcError") assert.strictEqual((arrived as SoraRpcError.RpcError).code, error.code)
        }))
    }
  }

  it.live("a cause that JSON has no form for arrives as an error with its name and message", () =>
    Effect.gen(function*() {
      const cause = new TypeError("x is not a function")
      const given = [
        new SoraRpcError.RpcError({ method, reason: new SoraRpcError.Unavailable({ detail: "d", cause }) }),
        new SoraRpcError.RpcError({ method, reason: new SoraRpcError.InvalidParams({ issue: "i", cause }) }),
        new SoraRpcError.Disconnected({ reason: new DisconnectReason.ClientFault({ cause }) })
      ]
      for (const error of given) {
        const arrived = yield* Effect.flip(resetOver(overHttp.pipe(Layer.provide(failing(error)))))
        assert(arrived._tag === "RpcError" || arrived._tag === "Disconnected")
        assert.strictEqual(arrived.reason._tag, error.reason._tag)
        assert.strictEqual(arrived.message, error.message)
        const { cause: what } = arrived.reason as { cause?: unknown }
        assert.strictEqual(String(what), "TypeError: x is not a function")
        assert.notInclude(JSON.stringify(what), import.meta.filename)
      }
    }))

  it.live("an error's data that is no JSON after all loses no error", () =>
    Effect.gen(function*() {
      const reason = new SoraRpcError.ServerError({ code: 1, message: "m", data: { much: Infinity } })
      const error = new SoraRpcError.RpcError({ method, reason })
      const arrived = yield* Effect.flip(resetOver(overHttp.pipe(Layer.provide(failing(error)))))
      assert.strictEqual(arrived._tag === "RpcError" && arrived.code, 1)
    }))
})

/** A client whose protocol lives as long as the test's scope. */
const clientOver = <Rpcs extends Rpc.Any, E>(
  group: RpcGroup.RpcGroup<Rpcs>,
  rpc: Layer.Layer<SoraRpc.SoraRpc, E>
) =>
  Effect.flatMap(
    Layer.build(Layer.provide(SoraRpcGroup.layerProtocol(group), rpc)),
    (context) =>
      Effect.provideContext(
        RpcClient.make(group) as Effect.Effect<RpcClient.RpcClient<Rpcs>, never, RpcClient.Protocol | Scope.Scope>,
        context
      )
  )

describe("the protocol", () => {
  it.effect("sends a call whose answer is discarded as a notification", () =>
    Effect.gen(function*() {
      const notified: Array<unknown> = []
      const rpc = Layer.succeed(SoraRpc.SoraRpc, {
        methods: Effect.succeed([]),
        call: () => Effect.die("a call"),
        notify: (method: SoraMethod.Any | string, params: unknown) =>
          Effect.sync(() => void notified.push([method, params]))
      })
      const client = yield* clientOver(group, rpc)
      const params = { key: "mood", value: "busy" }
      assert.isUndefined(yield* client.PutSignalingNotifyMetadataItem(params, { discard: true }))
      assert.deepStrictEqual(notified, [[SoraMethod.PutSignalingNotifyMetadataItem, params]])
    }).pipe(Effect.scoped))

  it.effect("cancels a call that is interrupted, and no other", () =>
    Effect.gen(function*() {
      const began = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const answer = yield* Deferred.make<Schema.Json>()
      const rpc = Layer.succeed(SoraRpc.SoraRpc, {
        methods: Effect.succeed([]),
        call: (method: SoraMethod.Any | string): Effect.Effect<any> =>
          method === Hang
            ? Deferred.succeed(began, undefined).pipe(
              Effect.andThen(Effect.never),
              Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
            )
            : Deferred.await(answer),
        notify: () => Effect.void
      })
      const client = yield* clientOver(group, rpc)
      const hanging = yield* Effect.forkChild(client.Hang())
      const other = yield* Effect.forkChild(client.Ask({}))
      yield* Deferred.await(began)
      yield* Fiber.interrupt(hanging)
      yield* Deferred.await(interrupted)
      yield* Deferred.succeed(answer, "still here")
      assert.strictEqual(yield* Fiber.join(other), "still here")
    }).pipe(Effect.scoped))

  it.effect("whose scope has closed ends its calls, and those that come later", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const protocol = yield* Layer.buildWithScope(Layer.provide(direct, inMemory), scope)
      const client = yield* Effect.provideContext(RpcClient.make(group), protocol)
      const hanging = yield* Effect.forkChild(client.Hang(), { startImmediately: true })
      yield* Effect.yieldNow
      yield* Scope.close(scope, Exit.void)
      for (const exit of [yield* Fiber.await(hanging), yield* Effect.exit(client.Hang())]) {
        assert.deepStrictEqual(
          exit,
          Exit.fail(new SoraRpcError.Disconnected({ reason: new DisconnectReason.Released() }))
        )
      }
    }).pipe(Effect.scoped))

  it.effect("params that do not fit are a defect, and nothing is called", () =>
    Effect.gen(function*() {
      const client = yield* RpcClient.make(group)
      const exit = yield* Effect.exit(client.RequestSimulcastRid({ rid: "r9" as "r1" }))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    }).pipe(Effect.scoped, Effect.provide(Layer.provide(direct, inMemory))))
})

it.live("AtomRpc asks over it", () =>
  Effect.gen(function*() {
    class Sora extends AtomRpc.Service<Sora>()("Sora", {
      group,
      protocol: Layer.provide(direct, inMemory)
    }) {}
    const registry = yield* Effect.acquireRelease(
      Effect.sync(() => AtomRegistry.make()),
      (registry) => Effect.sync(() => registry.dispose())
    )
    const asked = AtomRegistry.getResult(registry, Sora.query("Own", { roomId: "lobby" }))
    assert.deepStrictEqual(yield* asked, { memberCount: 5 })
    const refused = AtomRegistry.getResult(registry, Sora.query("Ask", { a: 1 }))
    assert.strictEqual((yield* Effect.flip(refused))._tag, "RpcError")
  }).pipe(Effect.scoped))

describe("a group", () => {
  it("has one method of a name", () => {
    const twice = [SoraMethod.make("A", { version: "1" }), SoraMethod.make("A", { version: "2" })]
    assert.throws(() => SoraRpcGroup.make(twice), "two of them are called A")
  })

  it.live("may be prefixed and merged, and then each calls its own version", () =>
    Effect.gen(function*() {
      const A = (version: string) => SoraMethod.make("A", { version, result: Schema.String })
      const [one, two] = [A("1"), A("2")]
      const both = SoraRpcGroup.make([one]).prefix("old.").merge(SoraRpcGroup.make([two]))
      const rpc = SoraRpc.layerTest([
        SoraMethod.handle(one, () => Effect.succeed("one")),
        SoraMethod.handle(two, () => Effect.succeed("two"))
      ])
      const client = yield* clientOver(both, rpc)
      assert.deepStrictEqual([yield* client["old.A"](), yield* client.A()], ["one", "two"])
    }).pipe(Effect.scoped))

  it.effect("with a call that is no method is refused where it is wired", () =>
    Effect.gen(function*() {
      const mixed = SoraRpcGroup.make([Own]).merge(RpcGroup.make(Rpc.make("Else")))
      for (const layer of [SoraRpcGroup.layerProtocol(mixed), SoraRpcGroup.layerHandlers(mixed)]) {
        const exit = yield* Effect.exit(
          Effect.scoped(Layer.build(Layer.provide(layer as Layer.Layer<unknown, never, SoraRpc.SoraRpc>, inMemory)))
        )
        assert.include(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), "Else is no method")
      }
    }))
})
