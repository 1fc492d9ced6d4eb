import { assert, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { SoraConnection } from "effect-sora-rpc"
import { serverOf } from "../../../src/internal/connection/observe.ts"
import { makeTracer } from "../../utils/tracer.ts"

it("spans name a server by its host and port, and nothing else of its URL", () => {
  for (
    const [url, address, port] of [
      ["wss://sora.example.com/signaling", "sora.example.com", 443],
      ["ws://sora.example.com/signaling", "sora.example.com", 80],
      ["wss://user:secret@sora.example.com:8443/secret?token=secret", "sora.example.com", 8443],
      ["ws://[::1]:5000/signaling", "::1", 5000]
    ] as const
  ) {
    assert.deepStrictEqual(serverOf(url), { "server.address": address, "server.port": port })
  }
  assert.deepStrictEqual(serverOf("nothing"), {})
})

it.effect("what metadata and onConnected do is a part of the attempt", () =>
  Effect.gen(function*() {
    const { spans, tracer } = makeTracer()
    yield* Layer.build(SoraConnection.layerTest({
      metadata: Effect.as(Effect.withSpan(Effect.void, "token"), { token: 1 }),
      onConnected: () => Effect.withSpan(Effect.void, "restore")
    })).pipe(Effect.withTracer(tracer))
    const attempt = spans.find(({ name }) => name === "sora.connect")
    for (const name of ["token", "restore"]) {
      const span = spans.find((span) => span.name === name)
      assert.strictEqual(span!.parent.pipe(Option.getOrUndefined)?.spanId, attempt!.spanId)
    }
  }).pipe(Effect.scoped))
