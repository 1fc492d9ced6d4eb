import { assert, describe, it } from "@effect/vitest"
import { SoraAuth } from "effect-sora-rpc/server"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { vi } from "vitest"

vi.mock("jose", () => {
  throw new Error("Cannot find package 'jose'")
})

describe("JWT claims without the package that checks them", () => {
  it.effect("say what is missing", () =>
    Effect.gen(function*() {
      const metadata = { access_token: "e30.e30." }
      const exit = yield* Effect.exit(
        SoraAuth.jwtClaims()({ type: "connect", role: "sendrecv", channelId: "any", metadata })
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.match(
        String(Exit.isFailure(exit) && Cause.squash(exit.cause)),
        /SoraAuth\.jwtClaims needs the package "jose", which is not there: npm install jose/
      )
    }))
})
