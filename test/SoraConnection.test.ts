/**
 * Programs without a network: `SoraConnection.layerTest`, under `TestClock`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Queue, Ref, Schema, Scope, Stream } from "effect"
import { DisconnectReason, SoraConnection, SoraConnectionError, SoraMethod, SoraRpc, type SoraRpcError } from "effect-sora-rpc"
import { TestClock } from "effect/testing"

const { ChannelClosed, PeerFailed, Redirected, ServerClosed, SocketLost } = DisconnectReason
const { SoraConnection: Connection, TestSora } = SoraConnection

/** The next state with this tag; a state that was told before does not count. */
const states = Effect.gen(function*() {
  const connection = yield* Connection
  const queue = yield* Queue.unbounded<SoraConnection.State>()
  yield* connection.changes.pipe(
    Stream.runForEach((state) => Queue.offer(queue, state)),
    Effect.forkScoped({ startImmediately: true })
  )
  const next = <Tag extends SoraConnection.State["_tag"]>(
    tag: Tag
  ): Effect.Effect<Extract<SoraConnection.State, { readonly _tag: Tag }>> =>
    Effect.flatMap(Queue.take(queue), (state) => state._tag === tag ? Effect.succeed(state as never) : next(tag))
  yield* next("Connected")
  return next
})

describe("layerTest", () => {
  it.effect("connects and answers", () =>
    Effect.gen(function*() {
      const { rid } = yield* SoraRpc.requestSimulcastRid({ rid: "r1" })
      assert.strictEqual(rid, "r1")
      const { offer } = yield* Connection
      assert.strictEqual((yield* offer).channelId, "test")
    }).pipe(Effect.provide(SoraConnection.layerTest({
      handlers: [SoraMethod.handle(SoraMethod.RequestSimulcastRid, ({ rid }, { channelId, connectionId }) =>
        Effect.succeed({ channelId, receiverConnectionId: connectionId, rid }))]
    }))))

  for (const [reason, wait] of [
    [new ServerClosed({ code: 1001, reason: "GOING-AWAY" }), 0],
    [new SocketLost({}), 0],
    [new PeerFailed({ state: "failed" }), 0],
    [new Redirected(), 0],
    [new ChannelClosed({ label: "rpc" }), 500]
  ] as const) {
    it.effect(`breaks by ${reason._tag} and is made again`, () =>
      Effect.gen(function*() {
        const sora = yield* TestSora
        const connection = yield* Connection
        const next = yield* states
        const before = (yield* connection.offer).connectionId
        yield* sora.disconnect(reason)
        yield* TestClock.adjust(wait)
        assert.deepEqual((yield* next("Reconnecting")).reason, reason)
        yield* TestClock.adjust("1 second")
        yield* next("Connected")
        assert.notStrictEqual((yield* connection.offer).connectionId, before)
      }).pipe(Effect.provide(SoraConnection.layerTest({ reconnect: true }))))
  }
})
