/** A werift that is not the one whose faults are mended here: the client uses it as it comes. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Schema } from "effect"
import { SoraMethod } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import { execFile } from "node:child_process"
import { promisify } from "node:util"

const Slow = SoraMethod.make("Slow", { version: "1" })
const Quick = SoraMethod.make("Quick", { version: "1", result: Schema.String })

describe("another werift", () => {
  it.live("is warned of, and no slow method holds up another in its window", () =>
    Effect.gen(function*() {
      const quickCame = yield* Deferred.make<void>()
      const { url } = yield* SoraServer.make({
        handlers: [
          // More of them than the window holds.
          SoraMethod.handle(Slow, () => Effect.as(Deferred.await(quickCame), null)),
          SoraMethod.handle(Quick, () => Effect.as(Deferred.succeed(quickCame, void 0), "quick"))
        ]
      })
      const program = new URL("otherWerift.ts", import.meta.url).pathname
      const { stderr, stdout } = yield* Effect.promise(() =>
        promisify(execFile)(process.execPath, ["--import", "tsx", program, url], { timeout: 18_000 })
      )
      assert.match(
        stdout + stderr,
        /WARN .*needs werift 0\.25\.2, and this is another version: it has no turn\.requestWithRetry: it is used as it comes/
      )
      assert.match(stdout, /^quick 40$/m)
    }).pipe(Effect.scoped))
})
