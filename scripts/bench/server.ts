/**
 * The development server in a process of its own, for the measurements: tells
 * its URL to the parent, and goes with it. `--no-compress` turns compression off,
 * `--port` takes a port instead of a free one.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { SoraMethod } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import * as Effect from "effect/Effect"
import { Echo, EchoLater } from "./bench.ts"

process.on("disconnect", () => process.exit(0))

NodeRuntime.runMain(Effect.scoped(Effect.gen(function*() {
  const server = yield* SoraServer.make({
    port: process.argv.includes("--port") ? Number(process.argv[process.argv.indexOf("--port") + 1]) : 0,
    compress: !process.argv.includes("--no-compress"),
    // More than any bench has under way.
    maxCalls: 1_000_000,
    handlers: [
      SoraMethod.handle(Echo, (params) => Effect.succeed(params)),
      SoraMethod.handle(EchoLater, ({ data, millis }) => Effect.delay(Effect.succeed({ data }), millis))
    ]
  })
  process.send!(server.url)
  return yield* Effect.never
})))
