/**
 * A load generator: calls `CHANNELS` channels, each from a fiber of its own, and says every second what came of it.
 * `DATABASE_URL` is in its environment. It holds no channel and needs no port.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Config, Console, Effect, Layer, Logger, Random } from "effect"
import { SoraMethod } from "effect-sora-rpc"
import { SoraChannel } from "effect-sora-rpc/cluster"
import { Client } from "./cluster.ts"

const program = Effect.gen(function*() {
  const count = yield* Config.Int("CHANNELS").pipe(Config.withDefault(30))
  const { client } = yield* SoraChannel.SoraChannel
  let seconds = 0
  let ended: Record<string, number> = {}
  let slowest = 0

  const call = Effect.fnUntraced(function*(channelId: string) {
    const startedAt = performance.now()
    const what = yield* client(channelId).call(
      SoraMethod.PutSignalingNotifyMetadataItem,
      { key: "mood", value: yield* Random.nextIntBetween(1, 100) },
      { timeout: "20 seconds" }
    ).pipe(
      Effect.as("ok"),
      Effect.catch((error) => Effect.succeed(error._tag === "RpcError" ? error.reason._tag : error._tag))
    )
    ended[what] = (ended[what] ?? 0) + 1
    slowest = Math.max(slowest, performance.now() - startedAt)
  })

  const say = Effect.suspend(() => {
    const calls = Object.entries(ended).map(([what, times]) => `${times} ${what}`).join(", ")
    const line = `${String(++seconds).padStart(3)} s  ${calls || "nothing ended"}; slowest ${Math.round(slowest)} ms`
    ended = {}
    slowest = 0
    return Console.log(line)
  })

  yield* Effect.forEach(
    Array.from({ length: count }, (_, i) => `channel-${i}`),
    (channelId) => Effect.forkChild(Effect.forever(Effect.andThen(call(channelId), Effect.sleep("20 millis"))))
  )
  return yield* Effect.forever(Effect.andThen(Effect.sleep("1 second"), say))
})

program.pipe(
  Effect.provide(Layer.orDie(Client)),
  Effect.provideService(Logger.LogToStderr, true),
  NodeRuntime.runMain
)
