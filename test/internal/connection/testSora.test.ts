/**
 * What the server of `layerTest` keeps.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { SoraConnectionError } from "effect-sora-rpc"
import { Socket } from "effect/socket"
import * as TestSora from "../../../src/internal/connection/testSora.ts"

describe("TestSora", () => {
  for (
    const [what, authenticate] of [
      ["refused", () => Effect.fail(new SoraConnectionError.Refused({ code: 4490, reason: "NOT-NOW" }))],
      ["broken", () => Effect.die(new Error("expected"))]
    ] as const
  ) {
    it.effect(`keeps nothing of a connection that is ${what}`, () =>
      Effect.gen(function*() {
        const scope = yield* Effect.scope
        const { platform } = yield* TestSora.make({ authenticate })
        const dial = Context.get(yield* Layer.build(platform), Socket.WebSocketConstructor)
        const held = () => scope.state._tag === "Open" ? scope.state.finalizers?.size : undefined
        const before = held()!
        const webSocket = dial(TestSora.SignalingUrl)
        yield* Effect.callback<void>((resume) => {
          webSocket.addEventListener("open", () => {
            assert.strictEqual(held(), before + 1)
            webSocket.send(JSON.stringify({ type: "connect", role: "sendrecv", channel_id: "test", sdp: "" }))
          })
          webSocket.addEventListener("close", () => resume(Effect.void))
        })
        yield* Effect.yieldNow
        assert.strictEqual(held(), before)
      }).pipe(Effect.scoped))
  }
})
