/**
 * All of it on one machine: `npm run example:cluster`. The database is that of
 * `compose.yaml`, or of `DATABASE_URL`, or, where neither is there and PostgreSQL
 * is installed, one of its own. Sora is the development server, or `SORA_URL`.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Config, Console, Effect, Fiber, Logger } from "effect"
import { SoraServer } from "effect-sora-rpc/server"
import { spawn } from "node:child_process"
import { connect } from "node:net"
import { join } from "node:path"
import * as Postgres from "../../scripts/postgres.ts"
import * as Runners from "../../scripts/runners.ts"

const Composed = "postgres://postgres:cluster@127.0.0.1:54321/postgres"

const isComposed = Effect.callback<boolean>((resume) => {
  const socket = connect(54321, "127.0.0.1")
  const end = (isThere: boolean) => {
    socket.destroy()
    resume(Effect.succeed(isThere))
  }
  socket.once("connect", () => end(true)).once("error", () => end(false))
})

const database = Effect.gen(function*() {
  const given = yield* Config.String("DATABASE_URL").pipe(Config.withDefault(""))
  return given !== "" ? given : (yield* isComposed) ? Composed : yield* Postgres.make
})

const sora = Effect.gen(function*() {
  const given = yield* Config.String("SORA_URL").pipe(Config.withDefault(""))
  return given !== "" ? given : (yield* SoraServer.make()).url
})

const main = Effect.gen(function*() {
  const databaseUrl = yield* database
  const start = Runners.start({ databaseUrl, soraUrl: yield* sora })
  yield* Console.log("starting three runners")
  const [first, second] = yield* Effect.all([start, start, start], { concurrency: 3 })
  const load = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, ["--import", "tsx", "examples/cluster/load.ts"], {
        cwd: join(import.meta.dirname, "../.."),
        env: { ...process.env, DATABASE_URL: databaseUrl },
        stdio: ["ignore", "inherit", "inherit"]
      })
    ),
    (load) => Effect.sync(() => load.kill())
  )
  const ended = yield* Effect.forkChild(Effect.callback<void>((resume) => {
    load.once("exit", () => resume(Effect.void))
  }))

  yield* Effect.sleep("15 seconds")
  yield* Console.log(`--- kill -9 of runner ${first!.port}: its calls fail at once, its channels move to the others`)
  yield* first!.kill("SIGKILL")
  yield* Effect.sleep("20 seconds")
  yield* Console.log("--- another runner joins: channels move to it, and no call fails")
  yield* start
  yield* Effect.sleep("15 seconds")
  yield* Console.log(`--- runner ${second!.port} is stopped in order: it says goodbye, then the others take over`)
  yield* second!.kill("SIGTERM")
  yield* Effect.sleep("15 seconds")
  yield* Console.log("--- that was all; it goes on until Ctrl-C")
  yield* Fiber.join(ended)
})

main.pipe(
  Effect.scoped,
  Effect.provideService(Logger.LogToStderr, true),
  NodeRuntime.runMain
)
