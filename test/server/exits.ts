/**
 * A program for `signaling.test.ts`: it serves a client that stays, closes the
 * server, and must then have nothing left that keeps the process alive.
 */
import * as Effect from "effect/Effect"
import * as SoraServer from "../../src/server/SoraServer.ts"
import { joined } from "./rawClient.ts"

const program = Effect.gen(function*() {
  const raw = yield* Effect.scoped(Effect.gen(function*() {
    const { url } = yield* SoraServer.make()
    return yield* joined(url, "exits")
  }))
  yield* Effect.promise(() => raw.closed)
})

await Effect.runPromise(Effect.scoped(program))
process.stdout.write("closed\n")
