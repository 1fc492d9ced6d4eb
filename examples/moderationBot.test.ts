/**
 * Tests of the moderation bot without a network: the real connection, over a WebSocket
 * and a peer in memory, whose other end the test drives. No time passes but what
 * `TestClock` lets pass.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Queue, Redacted, Ref, Stream } from "effect"
import {
  DisconnectReason,
  SoraConnection,
  SoraConnectionError,
  SoraMembers,
  SoraMethod,
  SoraRpcError
} from "effect-sora-rpc"
import { TestClock } from "effect/testing"
import { bot, Credentials, options, Profile } from "./moderationBot.ts"

/** The channel with the bot in it, and what the bot asks Sora for. */
const start = Effect.gen(function*() {
  const asked = yield* Queue.unbounded<{ readonly by: string; readonly rid: string; readonly of: string }>()
  const tokens = yield* Queue.unbounded<unknown>()
  const issued = yield* Ref.make(0)
  const refuses = yield* Ref.make(false)

  const Test = SoraConnection.layerTest({
    ...options,
    authenticate: Effect.fnUntraced(function*({ metadata }) {
      yield* Queue.offer(tokens, Redacted.isRedacted(metadata) ? Redacted.value(metadata) : metadata)
      return (yield* Ref.getAndSet(refuses, false))
        ? yield* new SoraConnectionError.Refused({ code: 4490, reason: "EXPIRED" })
        : {}
    }),
    handlers: [
      SoraMethod.handle(
        SoraMethod.RequestSimulcastRid,
        Effect.fnUntraced(function*({ rid, senderConnectionId = "" }, { channelId, connectionId }) {
          yield* Queue.offer(asked, { by: connectionId, rid, of: senderConnectionId })
          if (senderConnectionId === "gone") {
            return yield* new SoraRpcError.ServerError({ code: -32602, message: "not in the channel" })
          }
          return { channelId, receiverConnectionId: connectionId, rid }
        })
      ),
      SoraMethod.handle(
        SoraMethod.PutSignalingNotifyMetadata,
        Effect.fnUntraced(function*({ metadata, push }, { connectionId }) {
          const sora = yield* SoraConnection.TestSora
          yield* sora.putMetadata(connectionId, metadata, { push })
          return metadata
        })
      )
    ]
  })
  const CredentialsTest = Layer.succeed(Credentials, {
    fetch: Effect.map(Ref.updateAndGet(issued, (n) => n + 1), (n) => Redacted.make(`token ${n}`))
  })
  return { asked, tokens, refuses, layer: Test.pipe(Layer.provide(CredentialsTest)) }
})

/** Each state of the connection from now on. */
const follow = Effect.gen(function*() {
  const states = yield* Queue.unbounded<SoraConnection.State>()
  const { changes } = yield* SoraConnection.SoraConnection
  yield* Effect.forkScoped(Stream.runForEach(changes, (state) => Queue.offer(states, state)), {
    startImmediately: true
  })
  return Queue.take(states)
})

const breaks = Effect.flatMap(SoraConnection.TestSora, (sora) => sora.disconnect(new DisconnectReason.SocketLost({})))

describe("the moderation bot", () => {
  it.effect("receives everybody in the low layer, once for each connection of its own", () =>
    Effect.gen(function*() {
      const { asked, layer } = yield* start
      yield* Effect.gen(function*() {
        const sora = yield* SoraConnection.TestSora
        const mika = yield* sora.join({ metadata: { nickname: "Mika" } })
        const next = yield* follow
        yield* Effect.forkScoped(bot)
        const first = yield* next
        assert.deepInclude(first, { _tag: "Connected", number: 1 })
        const by = "connectionId" in first ? first.connectionId : ""
        assert.deepStrictEqual(yield* Queue.take(asked), { by, rid: "r0", of: mika })
        const viewer = yield* sora.join({ role: "recvonly" })
        const ren = yield* sora.join()
        assert.deepStrictEqual(yield* Queue.take(asked), { by, rid: "r0", of: ren })

        yield* breaks
        assert.deepInclude(yield* next, { _tag: "Reconnecting", attempt: 1 })
        yield* Effect.forEach([viewer, ren], sora.leave)
        const aoi = yield* sora.join()
        yield* TestClock.adjust("1 second")
        const second = yield* next
        assert.deepInclude(second, { _tag: "Connected", number: 2 })
        const again = "connectionId" in second ? second.connectionId : ""
        assert.notStrictEqual(again, by)
        assert.sameDeepMembers(Array.from(yield* Queue.takeN(asked, 2)), [
          { by: again, rid: "r0", of: mika },
          { by: again, rid: "r0", of: aoi }
        ])
        // Nobody was asked for twice: what comes next is the next one.
        const yui = yield* sora.join()
        assert.deepStrictEqual(yield* Queue.take(asked), { by: again, rid: "r0", of: yui })
        assert.strictEqual(yield* Queue.size(asked), 0)
      }).pipe(Effect.provide(layer))
    }))

  it.effect("goes on with the others when one is refused", () =>
    Effect.gen(function*() {
      const { asked, layer } = yield* start
      yield* Effect.gen(function*() {
        const sora = yield* SoraConnection.TestSora
        const running = yield* Effect.forkScoped(bot)
        yield* sora.join({ connectionId: "gone" })
        const mika = yield* sora.join()
        const of = Array.from(yield* Queue.takeN(asked, 2), ({ of }) => of)
        assert.deepStrictEqual(of, ["gone", mika])
        assert.isUndefined(running.pollUnsafe())
      }).pipe(Effect.provide(layer))
    }))

  it.effect("comes back with a new token after a refusal, and with its nickname", () =>
    Effect.gen(function*() {
      const { layer, refuses, tokens } = yield* start
      yield* Effect.gen(function*() {
        const next = yield* follow
        assert.deepInclude(yield* next, { _tag: "Connected" })
        yield* Ref.set(refuses, true)
        yield* breaks
        assert.deepInclude(yield* next, { _tag: "Reconnecting", attempt: 1 })
        yield* TestClock.adjust("1 second")
        assert.deepInclude(yield* next, { _tag: "Reconnecting", attempt: 2 })
        yield* TestClock.adjust("3 seconds")
        assert.deepInclude(yield* next, { _tag: "Connected", number: 2 })
        assert.deepStrictEqual(Array.from(yield* Queue.takeAll(tokens)), ["token 1", "token 2", "token 3"])
        const members = yield* SoraMembers.get(Profile)
        const own = Array.from(members.values()).filter(({ isSelf }) => isSelf)
        assert.deepStrictEqual(own.map(({ metadata }) => metadata), [Option.some({ nickname: "Moderator" })])
      }).pipe(Effect.provide(layer))
    }))

  it.effect("ends when Sora's API ends it", () =>
    Effect.gen(function*() {
      const { layer } = yield* start
      yield* Effect.gen(function*() {
        const sora = yield* SoraConnection.TestSora
        const running = yield* Effect.forkScoped(bot)
        yield* sora.disconnect(new DisconnectReason.ServerClosed({ code: 1000, reason: "DISCONNECTED-API" }))
        yield* Fiber.join(running)
      }).pipe(Effect.provide(layer))
    }))
})
