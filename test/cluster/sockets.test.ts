/**
 * A runner and a process that holds nothing, both in this one, over the sockets and the codec that processes have, without
 * a database.
 */
import * as NodeClusterSocket from "@effect/platform-node/NodeClusterSocket"
import { assert, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Logger, Option, Schema, Stream } from "effect"
import { DisconnectReason, SoraConnection, SoraRpc, SoraRpcError } from "effect-sora-rpc"
import { SoraChannel } from "effect-sora-rpc/cluster"
import { MessageStorage, RunnerAddress, RunnerStorage } from "effect/cluster"
import { freePort } from "../../scripts/postgres.ts"

const reasons: ReadonlyArray<SoraRpcError.RpcErrorReason> = [
  new SoraRpcError.ServerError({ code: -32602, message: "no", data: [1, { much: null }] }),
  new SoraRpcError.ServerError({ code: 7, message: "" }),
  new SoraRpcError.MethodNotAvailable({ method: "x", available: ["y"] }),
  new SoraRpcError.InvalidParams({ issue: "rid: missing" }),
  new SoraRpcError.InvalidParams({ issue: "reading them threw", cause: new TypeError("no") }),
  new SoraRpcError.InvalidResult({ issue: "rid: missing" }),
  new SoraRpcError.ProtocolViolation({ rule: "result and error" }),
  new SoraRpcError.PayloadTooLarge({ bytes: 262_145, maxBytes: 262_144 }),
  new SoraRpcError.Unavailable({ detail: "full", cause: new TypeError("no") })
]

const ends: ReadonlyArray<DisconnectReason.DisconnectReason> = [
  new DisconnectReason.ServerClosed({ code: 4490, reason: "INTERNAL-ERROR" }),
  new DisconnectReason.SocketLost({ detail: "1006" }),
  new DisconnectReason.ChannelClosed({ label: "rpc" }),
  new DisconnectReason.PeerFailed({ state: "failed" }),
  new DisconnectReason.Released(),
  new DisconnectReason.ClientFault({ cause: new TypeError("no") })
]

const errors: ReadonlyArray<SoraRpcError.SoraRpcError> = [
  ...reasons.map((reason) => new SoraRpcError.RpcError({ method: "x", reason })),
  ...ends.map((reason) => new SoraRpcError.Disconnected({ reason }))
]

const make = Effect.gen(function*() {
  let answer: (params: any) => Effect.Effect<any, SoraRpcError.SoraRpcError> = () => Effect.succeed(null)
  const rpc = SoraRpc.SoraRpc.of({
    methods: Effect.succeed(["x"]),
    call: (_method: any, params?: any): Effect.Effect<any, any> => Effect.suspend(() => answer(params)),
    notify: () => Effect.void
  })
  const connection = {
    state: Effect.succeed({ _tag: "Connected", connectionId: "OURS", number: 1 }),
    offer: Effect.succeed({ connectionId: "OURS" }),
    signaling: Stream.never
  } as Partial<
    Record<keyof SoraConnection.SoraConnection["Service"], unknown>
  > as SoraConnection.SoraConnection["Service"]
  const storage = yield* Layer.build(Layer.merge(MessageStorage.layerNoop, RunnerStorage.layerMemory))
  const runnerAddress = Option.some(RunnerAddress.make("127.0.0.1", yield* freePort))
  const runner = SoraChannel.layer({
    lookup: () =>
      Layer.succeedContext(
        Context.make(SoraRpc.SoraRpc, rpc).pipe(Context.add(SoraConnection.SoraConnection, connection))
      )
  }).pipe(Layer.provide(NodeClusterSocket.layer({
    storage: "byo",
    shardingConfig: { ...SoraChannel.shardingConfig, runnerAddress, entityRegistrationTimeout: "100 millis" }
  })))
  const callers = (options?: SoraChannel.ClientOptions) =>
    SoraChannel.layerClient(options).pipe(
      Layer.provide(NodeClusterSocket.layer({ storage: "byo", clientOnly: true })),
      Layer.fresh,
      Layer.build,
      Effect.provideContext(storage),
      Effect.map((context) => Context.get(context, SoraChannel.SoraChannel))
    )
  yield* Effect.provideContext(Layer.build(Layer.fresh(runner)), storage)
  const { client } = yield* callers()
  return {
    callers,
    /** A call that is answered so. */
    call: (params: Schema.JsonObject | undefined, answered: typeof answer) =>
      Effect.suspend(() => {
        answer = answered
        return client("lobby").call("x", params, { timeout: "20 seconds" })
      })
  }
})

it.live("each error of the runner arrives as itself", () =>
  Effect.gen(function*() {
    const { call } = yield* make
    const encode = Schema.encodeSync(SoraRpcError.SoraRpcError)
    for (const error of errors) {
      const arrived = yield* Effect.flip(call(undefined, () => Effect.fail(error)))
      assert.deepStrictEqual(encode(arrived), encode(error))
    }
    const late = new SoraRpcError.TimeoutError({ method: "x", timeout: Duration.millis(1) })
    const arrived = yield* Effect.flip(call(undefined, () => Effect.fail(late)))
    assert.deepStrictEqual(arrived, new SoraRpcError.TimeoutError({ method: "x", timeout: Duration.seconds(20) }))
    const broken = yield* Effect.flip(call(undefined, () => Effect.die(new TypeError("what broke"))))
    assert(broken._tag === "Disconnected" && broken.reason._tag === "ClientFault")
    assert.include(String(broken.reason.cause), "what broke")
  }).pipe(Effect.scoped))

it.live("what is too large ends one call, and breaks nothing for the others", () =>
  Effect.gen(function*() {
    const { call } = yield* make
    const went = yield* Deferred.make<void>()
    const release = yield* Deferred.make<void>()
    const other = yield* Effect.forkChild(
      call(undefined, () =>
        Deferred.succeed(went, undefined).pipe(Effect.andThen(Deferred.await(release)), Effect.as(null)))
    )
    yield* Deferred.await(went)
    const large = "x".repeat(17 * 1024 * 1024)
    // What a channel that compresses may take goes there.
    const length = yield* call({ text: large.slice(0, 2_000_000) }, ({ text }) =>
      Effect.succeed(text.length))
    assert.strictEqual(length, 2_000_000)

    const sent = yield* Effect.flip(call({ text: large }, () => Effect.succeed(null)))
    assert(sent._tag === "RpcError" && sent.reason._tag === "PayloadTooLarge")
    assert.isAbove(sent.reason.bytes, large.length)

    let deep: Schema.Json = []
    for (let i = 0; i < 100_000; i++) deep = [deep]
    const refused = new SoraRpcError.RpcError({
      method: "x",
      reason: new SoraRpcError.ServerError({ code: 7, message: "no", data: large })
    })
    for (const answer of [Effect.succeed(large), Effect.succeed(deep), Effect.fail(refused)]) {
      const error = yield* Effect.flip(call(undefined, () => answer))
      assert.strictEqual(error._tag === "RpcError" && error.reason._tag, "InvalidResult")
    }
    yield* Deferred.succeed(release, undefined)
    yield* Fiber.join(other)
  }).pipe(Effect.scoped))

it.live("a name that no runner has is told of", () =>
  Effect.gen(function*() {
    const said = yield* Deferred.make<string>()
    const logger = Logger.make(({ cause, message }) => Deferred.doneUnsafe(said, Effect.succeed(`${message} ${cause}`)))
    const { callers } = yield* make
    const { client } = yield* callers({ name: "misspelt" })
    const call = yield* client("lobby").call("x", undefined, { timeout: "20 seconds" }).pipe(
      Effect.provide(Logger.layer([logger])),
      Effect.forkChild
    )
    assert.include(yield* Deferred.await(said), "'misspelt' not registered")
    yield* Fiber.interrupt(call)
  }).pipe(Effect.scoped))
