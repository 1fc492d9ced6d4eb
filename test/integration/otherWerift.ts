/**
 * A program for `otherWerift.test.ts`, `otherWerift.ts URL`: over a werift that
 * lacks something that is mended here it connects, makes forty calls of `Slow` and
 * then one of `Quick`, after which the server answers all of them.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { TurnProtocol } from "werift"
import * as NodeSora from "../../src/node/NodeSora.ts"
import * as SoraRpc from "../../src/SoraRpc.ts"

// Of no use for a connection without TURN.
Reflect.deleteProperty(TurnProtocol.prototype, "requestWithRetry")

const program = Effect.gen(function*() {
  const rpc = yield* SoraRpc.SoraRpc
  const call = (method: string) => rpc.call(method, {}, { timeout: "15 seconds" })
  const slow = yield* Effect.forkChild(Effect.replicateEffect(call("1/Slow"), 40, { concurrency: "unbounded" }), {
    startImmediately: true
  })
  const quick = yield* call("1/Quick")
  yield* Console.log(quick, (yield* Fiber.join(slow)).length)
})

await Effect.runPromise(
  Effect.provide(program, NodeSora.layer({ signalingUrls: [process.argv[2]!], channelId: "other", role: "sendrecv" }))
)
