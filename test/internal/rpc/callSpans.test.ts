import { assert, it } from "@effect/vitest"
import { Context, Effect, Option, Tracer } from "effect"
import { RpcChannel } from "effect-sora-rpc"
import * as CallSpans from "../../../src/internal/rpc/callSpans.ts"

it.effect("of two connections with one id none is taken for the other", () =>
  Effect.gen(function*() {
    const spanOf = (name: string) =>
      Tracer.nativeTracer.span({
        name,
        parent: Option.none(),
        annotations: Context.empty(),
        links: [],
        startTime: 0n,
        kind: "client",
        root: true,
        sampled: true
      })
    const connected = Effect.gen(function*() {
      const [channel] = yield* RpcChannel.makePair
      const span = spanOf("call")
      CallSpans.ofChannel(channel, (id) => id === 1 ? span : undefined)
      return { span, forget: CallSpans.over("SAME", channel) }
    })
    const one = yield* connected
    assert.strictEqual(CallSpans.find("SAME", 1), one.span)
    const other = yield* connected
    assert.isUndefined(CallSpans.find("SAME", 1))
    one.forget()
    assert.strictEqual(CallSpans.find("SAME", 1), other.span)
    other.forget()
    assert.isUndefined(CallSpans.find("SAME", 1))
  }).pipe(Effect.scoped))
