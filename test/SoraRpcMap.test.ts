import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Data, Deferred, Duration, Effect, Exit, Fiber, Layer, Option, Scope, Stream } from "effect"
import { SoraConnection, SoraMethod, SoraRpc, SoraRpcError, SoraRpcMap } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import { SoraAuth, SoraServer } from "effect-sora-rpc/server"
import { connect, first } from "./utils/connect.ts"

/** The id of the connection that is provided. */
const connectionId = Effect.map(SoraConnection.SoraConnection.use(({ offer }) => offer), (offer) => offer.connectionId)

/** A map over real connections to a server. */
const layerMap = (url: string, idleTimeToLive?: Duration.Input) =>
  NodeSora.layerMap({ signalingUrls: [url], role: "sendrecv" }, { idleTimeToLive })

const Hang = SoraMethod.make("Hang")

const channelIds = (server: SoraServer.SoraServer["Service"]) =>
  Effect.map(server.connections, (connections) => connections.map(({ channelId }) => channelId).toSorted())

class NoToken extends Data.TaggedError("NoToken")<{ readonly channelId: string }> {}

describe("a lookup that fails with an error of its own", () => {
  const lookup = (channelId: string) => {
    if (channelId === "defect") throw new NoToken({ channelId })
    return NodeSora.layer({
      signalingUrls: ["ws://127.0.0.1:1/"],
      channelId,
      role: "sendrecv",
      metadata: channelId === "none" ? Effect.fail(new NoToken({ channelId })) : Effect.succeed(1)
    })
  }

  it.effect("is the cause of the error of the service, which says nothing of it", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(SoraRpcMap.contextEffect("none"))
      assert.strictEqual(error.reason._tag, "LookupFailed")
      assert.deepStrictEqual(error.reason.cause, new NoToken({ channelId: "none" }))
      assert.strictEqual(error.message, "the lookup of the channel failed; its error is the cause")
      const [other, optional] = yield* Effect.all([
        Effect.flip(connectionId.pipe(Effect.provide(SoraRpcMap.get("none")))),
        Effect.flip(SoraRpcMap.SoraRpcMap.use((map) => map.contextEffectOption("none"))).pipe(Effect.option)
      ])
      assert.strictEqual(other.reason._tag, "LookupFailed")
      // It was forgotten.
      assert.isTrue(Option.isNone(optional))
      assert.strictEqual((yield* Effect.flip(SoraRpcMap.contextEffect("some"))).reason._tag, "Unreachable")
      const exit = yield* Effect.exit(SoraRpcMap.contextEffect("defect"))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    }).pipe(Effect.provide(SoraRpcMap.layer({ lookup }))))

  it.effect("is an error of a map that is made, as it is", () =>
    Effect.gen(function*() {
      const map = yield* SoraRpcMap.make({ lookup })
      assert.deepStrictEqual(yield* Effect.flip(map.contextEffect("none")), new NoToken({ channelId: "none" }))
    }))

  it.effect("its options are checked", () =>
    Effect.gen(function*() {
      const layer = SoraRpcMap.layer({ lookup: 1 as any })
      const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
      assert.include(error.issue, "lookup: Expected a function")
    }))
})

describe("over real connections", () => {
  it.live("users of a channel share its connection, channels do not", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      yield* Effect.gen(function*() {
        // Both hold theirs before either lets go.
        const both = yield* Deferred.make<void>()
        let holding = 0
        const user = (value: string) =>
          Effect.gen(function*() {
            yield* SoraRpc.putSignalingNotifyMetadataItem({ key: "k", value })
            if (++holding === 3) yield* Deferred.succeed(both, undefined)
            yield* Deferred.await(both)
            assert.deepStrictEqual(yield* channelIds(server), ["lobby", "stage"])
            return yield* connectionId
          })
        const [one, two, other] = yield* Effect.all([
          user("one").pipe(Effect.provide(SoraRpcMap.get("lobby"))),
          user("two").pipe(Effect.provide(SoraRpcMap.get("lobby"))),
          user("other").pipe(Effect.provide(SoraRpcMap.get("stage")))
        ], { concurrency: "unbounded" })
        assert.strictEqual(one, two)
        assert.notStrictEqual(one, other)
        // Without a time to live they are closed with their last user, who waits for the goodbye.
        assert.deepStrictEqual(yield* channelIds(server), [])
      }).pipe(Effect.provide(layerMap(server.url)))
    }))

  it.live("an idle connection is used again, and closed after idleTimeToLive", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const watcher = yield* connect({ url: server.url, channelId: "lobby" })
      yield* Effect.gen(function*() {
        const use = connectionId.pipe(Effect.provide(SoraRpcMap.get("lobby")))
        const id = yield* use
        assert.strictEqual(yield* use, id)
        const gone = yield* first(watcher.connection.notify, (event) => event._tag === "connection.destroyed")
        assert.deepInclude(gone, { connectionId: id })
        assert.deepStrictEqual(yield* channelIds(server), ["lobby"])
        assert.notStrictEqual(yield* use, id)
      }).pipe(Effect.provide(layerMap(server.url, "500 millis")))
    }))

  it.live("closing the map closes everything", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ handlers: [SoraMethod.handle(Hang, () => Effect.never)] })
      const scope = yield* Scope.make()
      const map = Context.get(
        yield* Layer.buildWithScope(layerMap(server.url, Duration.infinity), scope),
        SoraRpcMap.SoraRpcMap
      )
      yield* Effect.scoped(map.contextEffect("idle"))
      const rpc = Context.get(yield* map.contextEffect("used"), SoraRpc.SoraRpc)
      const call = yield* Effect.forkChild(Effect.flip(rpc.call(Hang, undefined, { timeout: Duration.infinity })), {
        startImmediately: true
      })
      assert.deepStrictEqual(yield* channelIds(server), ["idle", "used"])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* channelIds(server), [])
      assert.instanceOf(yield* Fiber.join(call), SoraRpcError.Disconnected)
    }))

  it.live("a failure is forgotten at once, and so is a connection that the server ended", () =>
    Effect.gen(function*() {
      let attempts = 0
      const server = yield* SoraServer.make({
        authenticate: () =>
          ++attempts === 1 ? Effect.fail(new SoraAuth.Refusal({ reason: "not yet" })) : Effect.succeed({})
      })
      yield* Effect.gen(function*() {
        const use = connectionId.pipe(Effect.provide(SoraRpcMap.get("lobby")))
        assert.strictEqual((yield* Effect.flip(use)).reason._tag, "Refused")
        const id = yield* use
        assert.strictEqual(yield* use, id)
        // Held, so that letting go is not what closes it.
        const held = Context.get(yield* SoraRpcMap.contextEffect("lobby"), SoraConnection.SoraConnection)
        const ended = yield* Effect.forkChild(Stream.runDrain(held.changes), { startImmediately: true })
        yield* server.disconnect({ channelId: "lobby" })
        yield* Fiber.join(ended)
        const offer = yield* Context.get(yield* SoraRpcMap.contextEffect("lobby"), SoraConnection.SoraConnection).offer
        assert.notStrictEqual(offer.connectionId, id)
        assert.strictEqual(yield* use, offer.connectionId)
        assert.strictEqual(attempts, 3)
      }).pipe(Effect.provide(layerMap(server.url, Duration.infinity)))
    }))
})
