/**
 * How long a connection takes when the first of two signaling URLs is dead:
 *
 *   npm run bench:connect
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { NodeSora } from "effect-sora-rpc/node"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createServer } from "node:net"
import { child, median, table, timed } from "./bench.ts"

const Rounds = 11

/** A port on which something listens and never answers, like a firewall that swallows packets. */
const blackHole = Effect.acquireRelease(
  Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
    const sockets = new Set<{ destroy(): void }>()
    const server = createServer((socket) => void sockets.add(socket.on("error", () => {}))).listen(
      0,
      "127.0.0.1",
      () => {
        const { port } = server.address() as { port: number }
        const close = () => {
          server.close()
          for (const socket of sockets) socket.destroy()
        }
        resume(Effect.succeed({ port, close }))
      }
    )
  }),
  ({ close }) => Effect.sync(close)
)

/** A port on which nothing listens any more. */
const refusing = Effect.scoped(Effect.map(blackHole, ({ port }) => port))

NodeRuntime.runMain(Effect.scoped(Effect.gen(function*() {
  const live: string = yield* child("server.ts")
  const url = (port: number) => `ws://127.0.0.1:${port}/signaling`
  const refused = url(yield* refusing)
  const silent = url((yield* blackHole).port)
  const alsoSilent = url((yield* blackHole).port)
  const measure = Effect.fnUntraced(function*(signalingUrls: ReadonlyArray<string>) {
    const once = timed(
      Layer.build(
        NodeSora.layer({ signalingUrls, channelId: "bench", role: "sendonly", audio: false, video: false })
      )
    )
    const times = yield* Effect.replicateEffect(Effect.map(Effect.scoped(once), ({ ms }) => ms), Rounds)
    return [median(times), Math.max(...times)]
  })
  // The process's own first time.
  yield* measure([live])
  yield* Console.log(`milliseconds to an open rpc channel, ${Rounds} rounds\n`)
  table([
    ["signaling URLs", "median", "max"],
    ["the live one", ...(yield* measure([live]))],
    ["the live one, a silent one", ...(yield* measure([live, silent]))],
    ["one that refuses, the live one", ...(yield* measure([refused, live]))],
    ["one that never answers, the live one", ...(yield* measure([silent, live]))],
    ["two that never answer, the live one", ...(yield* measure([silent, alsoSilent, live]))]
  ])
})))
