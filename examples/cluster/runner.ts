/**
 * One runner process: `PORT`, `DATABASE_URL` and `SORA_URL` are in its
 * environment. It says goodbye for all of its channels when it gets SIGTERM.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Config, Console, Effect, Layer, Logger } from "effect"
import { Channels } from "./cluster.ts"

const Program = Layer.unwrap(
  Effect.map(Config.Port("PORT"), (port) =>
    Layer.effectDiscard(Console.log(`runner ${port} is up`)).pipe(
      Layer.provideMerge(Channels(port))
    ))
)

Layer.launch(Program).pipe(
  Effect.provideService(Logger.LogToStderr, true),
  NodeRuntime.runMain
)
