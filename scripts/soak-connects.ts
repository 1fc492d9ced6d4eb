/**
 * Connects and disconnects many times, and gives up as many connections at a
 * random moment of their making, against a server in the same process:
 *
 *   npm run soak:connects -- --count 1000 --seed 7
 *
 * Reports what is left of them: sockets, timers, UDP ports and heap. Exit code 0
 * only if it is nothing.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { SoraServer } from "effect-sora-rpc/server"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as Connects from "./connects.ts"

class SoakFailed extends Schema.TaggedError<SoakFailed>()("SoakFailed", { text: Schema.String }) {
  override readonly [Runtime.errorExitCode] = 1
  override get [CliError.userMessage]() {
    return this.text
  }
}

setFlagsFromString("--expose-gc")
const collect: () => void = runInNewContext("gc")

/** Bytes in use, when what can go has gone. */
const heapInUse = () => {
  collect()
  collect()
  return process.memoryUsage().heapUsed
}

/** Heap that may be left behind: as much as it varies, and for each connection less than any object of one. */
const Noise = 2 * 1024 * 1024
const BytesPerConnection = 1024

/** Connections after which code is compiled and caches are full. */
const WarmUp = 100

let unhandled = 0
process.on("unhandledRejection", () => unhandled++)
process.on("uncaughtExceptionMonitor", () => unhandled++)

const megabytes = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MB`
const text = (handles: Readonly<Record<string, number>>) =>
  Object.entries(handles).map(([kind, count]) => `${count} ${kind}`).join(", ") || "none"

const soak = Effect.fnUntraced(function*(count: number, seed: number) {
  const bare = Connects.handles()
  yield* Console.log(`${count} connections made, ${count} given up, seed ${seed}`)
  const growth = yield* Effect.scoped(Effect.gen(function*() {
    const { url } = yield* SoraServer.make()
    const start = Connects.handles()
    yield* Connects.make(url, WarmUp)
    yield* Connects.interrupt(url, WarmUp, seed)
    yield* Connects.settled(Connects.handles, start)
    const heap = heapInUse()
    const [time] = yield* Effect.timed(Connects.make(url, count))
    const [, up] = yield* Effect.timed(Connects.interrupt(url, count, seed + 1))
    const left = yield* Connects.settled(Connects.handles, start)
    const grown = heapInUse() - heap
    yield* Console.log(`made in ${Duration.format(time)}; of those given up ${up} were up`)
    yield* Console.log(`handles before, after: ${text(start)}; ${text(left)}`)
    yield* Console.log(
      `heap before: ${megabytes(heap)}, grown by ${Math.round(grown / count / 2)} bytes per connection`
    )
    return {
      handles: JSON.stringify(left) !== JSON.stringify(start),
      heap: grown > Noise + 2 * count * BytesPerConnection
    }
  }))
  const left = yield* Connects.settled(Connects.handles, bare)
  yield* Console.log(`handles when the server is stopped: ${text(left)}; unhandled errors: ${unhandled}`)
  const problems = [
    ...(growth.handles || JSON.stringify(left) !== JSON.stringify(bare) ? ["handles are left"] : []),
    ...(growth.heap ? ["the heap grew"] : []),
    ...(unhandled === 0 ? [] : ["errors went unhandled"])
  ]
  if (problems.length > 0) return yield* new SoakFailed({ text: problems.join("; ") })
  yield* Console.log("Nothing is left.")
})

const command = Command.make(
  "soak-connects",
  {
    count: Flag.Int("count").pipe(
      Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100_000 }))),
      Flag.withDescription("How many of each"),
      Flag.withDefault(1000)
    ),
    seed: Flag.Int("seed").pipe(Flag.withDescription("Seed of the moments"), Flag.withDefault(1))
  },
  ({ count, seed }) => soak(count, seed)
).pipe(Command.withDescription("Connect and disconnect many times, and look what is left"))

command.pipe(
  Command.run({ version: "0.1.0" }),
  Effect.provide(Layer.merge(NodeServices.layer, Logger.layer([]))),
  NodeRuntime.runMain
)
