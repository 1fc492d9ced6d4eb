/**
 * How long an outage lasts for a program with `reconnect: true`, when the server
 * process is killed and started again at once on the same port:
 *
 *   npm run bench:reconnect
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { SoraConnection, SoraRpc } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { child, Echo, median, params200, table } from "./bench.ts"

const Rounds = 7

NodeRuntime.runMain(Effect.scoped(Effect.gen(function*() {
  let server = yield* Scope.make()
  const url: string = yield* child("server.ts").pipe(Scope.provide(server))
  const port = new URL(url).port
  const context = yield* Layer.build(NodeSora.layer({
    signalingUrls: [url],
    channelId: "bench",
    role: "sendonly",
    audio: false,
    video: false,
    reconnect: true
  }))
  const rpc = Context.get(context, SoraRpc.SoraRpc)
  const connection = Context.get(context, SoraConnection.SoraConnection)
  const until = (tag: SoraConnection.State["_tag"]) =>
    connection.changes.pipe(Stream.filter(({ _tag }) => _tag === tag), Stream.runHead)

  const noticed: Array<number> = []
  const back: Array<number> = []
  for (let round = 0; round < Rounds; round++) {
    const start = performance.now()
    const watching = yield* Effect.forkChild(until("Reconnecting"), { startImmediately: true })
    // SIGKILL: no Close frame, no goodbye.
    yield* Scope.close(server, Exit.void)
    yield* Fiber.join(watching)
    noticed.push(performance.now() - start)
    server = yield* Scope.make()
    yield* child("server.ts", "--port", port).pipe(Scope.provide(server))
    // Made during the outage: it waits for the new connection.
    yield* rpc.call(Echo, params200, { timeout: "1 minute" })
    back.push(performance.now() - start)
  }
  yield* Console.log(`milliseconds after SIGKILL of the server, which is started again at once, ${Rounds} rounds\n`)
  table([
    ["", "median", "max"],
    ["the outage is noticed", median(noticed), Math.max(...noticed)],
    ["a call made meanwhile is answered", median(back), Math.max(...back)]
  ])
  yield* Scope.close(server, Exit.void)
})))
