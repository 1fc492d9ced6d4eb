/**
 * Connections of ours that are made to several places, given up, or lose their
 * server, at any moment.
 */
import { SoraServer } from "effect-sora-rpc/server"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { createServer, type Socket } from "node:net"
import { misuse } from "./callers.ts"
import { attempt, connectWell, handlers, Hang, type Scenario, type Stage } from "./stage.ts"

/** A TCP server that is gone with the scope, and all its connections. */
export const tcpServer = (onSocket: (socket: Socket) => void) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly close: Effect.Effect<void> }>((resume) => {
      const sockets = new Set<Socket>()
      const server = createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.on("close", () => sockets.delete(socket))
        socket.resume()
        onSocket(socket)
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" ? address?.port : 0
        const close = Effect.callback<void>((resume) => {
          for (const socket of sockets) socket.destroy()
          server.close(() => resume(Effect.void))
        })
        resume(Effect.succeed({ url: `ws://127.0.0.1:${port}/`, close }))
      })
    }),
    ({ close }) => close
  )

export const scenarios: Readonly<Record<string, Scenario>> = {
  "server: stopped under its clients": {
    weight: 2,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const server = yield* Effect.forkChild(
        Effect.scoped(Effect.gen(function*() {
          const { url } = yield* SoraServer.make({ handlers })
          const clients = yield* Effect.forkScoped(
            attempt(stage, { signalingUrls: [url] }, (client) =>
              Effect.asVoid(Effect.exit(stage.ledger.call(
                stage.where,
                { withinMillis: 5000, as: ["Disconnected", "TimeoutError"] },
                client.rpc.call(Hang, undefined, { timeout: "5 seconds" })
              ))))
          )
          yield* Effect.raceFirst(Fiber.await(clients), Effect.sleep(dice.size(1500)))
        }))
      )
      yield* Fiber.join(server)
    })
  },
  "several URLs, given up at any moment": {
    weight: 3,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const deaf = yield* tcpServer(() => {})
      const hasty = yield* tcpServer((socket) => socket.destroy())
      const gone = yield* Effect.scoped(tcpServer(() => {}))
      const urls = Array.from(
        { length: dice.below(6) + 1 },
        () =>
          dice.pick([
            deaf.url,
            hasty.url,
            gone.url,
            stage.server.url,
            `${stage.server.url}?again`,
            "ws://127.0.0.1:1/",
            "not a url"
          ])
      )
      const connecting = attempt(stage, {
        signalingUrls: urls,
        channelId: stage.channelId,
        attemptDelay: dice.size(300),
        openTimeout: dice.size(1000) + 1,
        connectTimeout: dice.size(2000) + 1
      })
      yield* dice.chance(0.5) ? Effect.timeoutOption(connecting, dice.size(1000)) : connecting
    })
  },
  "connection interrupted at any moment": {
    weight: 4,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const life = dice.size(800)
      // Built and used in one fiber, which is interrupted: the release is part of it.
      const fiber = yield* Effect.forkChild(
        Effect.scoped(Effect.gen(function*() {
          const { rpc } = yield* connectWell(stage)
          yield* Effect.forever(misuse(stage, rpc))
        })),
        { startImmediately: true }
      )
      yield* Effect.sleep(life)
      const startedAt = performance.now()
      yield* Fiber.interrupt(fiber)
      const took = performance.now() - startedAt
      if (took > 3000 + 2500 + 3000) stage.problem(`interrupting a connection took ${Math.round(took)} ms`)
    })
  }
}
