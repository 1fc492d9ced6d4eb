/**
 * The chaos soak: clients that reconnect, over real WebRTC, against a server
 * that does everything wrong that it can:
 *
 *   npm run soak -- --minutes 10 --seed 7
 *
 * Reports what became of every call, how long each kind of death went unnoticed,
 * and whether heap and handles grow. Exit code 0 only if every call is accounted
 * for, nothing was rejected or died unhandled, and neither grew.
 *
 * With `--hostile` it is the hostile soak of `soak/hostile.ts` instead, with
 * `--heals` that of `soak/heals.ts`, with `--loss 2` the lossy one of `soak/lossy.ts`.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { SoraConnection, SoraMethod, SoraRpc } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import { type SoraFaults, SoraServer } from "effect-sora-rpc/server"
import * as Cause from "effect/Cause"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { heapInUse, megabytes, sockets as handles } from "./soak/gauges.ts"
import * as Heals from "./soak/heals.ts"
import * as Hostile from "./soak/hostile.ts"
import * as Lossy from "./soak/lossy.ts"

class SoakFailed extends Schema.TaggedError<SoakFailed>()("SoakFailed", { text: Schema.String }) {
  override readonly [Runtime.errorExitCode] = 1
  override get [CliError.userMessage]() {
    return this.text
  }
}

/** Everything at once, at rates that leave most calls alone. */
const faults = (seed: number): SoraFaults.Faults => ({
  delay: "200 millis",
  delayRate: 0.05,
  drop: 0.01,
  duplicate: 0.03,
  reorder: 0.05,
  corrupt: 0.02,
  wrongId: 0.01,
  giant: 0.005,
  bomb: 0.001,
  swapForm: 0.05,
  refuse: 0.03,
  ignoreConnect: 0.03,
  redirectLoop: 0.03,
  closeRpc: 0.2,
  killSocket: 0.2,
  killPeer: 0.1,
  closeAbruptly: 0.2,
  lifeMax: "20 seconds",
  seed
})

const Clients = 4
const CallersPerClient = 8
const Deaths: ReadonlyArray<SoraFaults.ConnectionFault> = ["closeRpc", "killSocket", "killPeer", "closeAbruptly"]

const made = { calls: 0, notifications: 0 }
const ended = new Map<string, number>()
const noticed = new Map<string, Array<number>>()
let connections = 0
let unhandled = 0

const count = (kind: string) => void ended.set(kind, (ended.get(kind) ?? 0) + 1)

const kindOf = (exit: Exit.Exit<unknown, { readonly _tag: string; readonly reason?: unknown }>): string => {
  if (Exit.isSuccess(exit)) return "ok"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interrupted"
  const failure = exit.cause.reasons.find(Cause.isFailReason)
  if (failure === undefined) return "DEFECT"
  const { _tag, reason } = failure.error
  return _tag === "RpcError" ? `RpcError/${(reason as { readonly _tag: string })._tag}` : _tag
}

/** One call or notification of a random kind, sometimes given up half-way. */
const callOnce = Effect.fnUntraced(function*(rpc: SoraRpc.SoraRpc["Service"]) {
  const dice = yield* Random.nextBetween(0, 100)
  if (dice < 10) {
    made.notifications++
    yield* rpc.notify(SoraMethod.PutSignalingNotifyMetadataItem, { key: "n", value: dice }).pipe(
      Effect.onExit((exit) => Effect.sync(() => count(kindOf(exit)))),
      Effect.ignore
    )
    return
  }
  made.calls++
  const call = dice < 60
    ? rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, { key: "k", value: dice }, { timeout: "1 second" })
    : rpc.call("2025.2.0/RequestSimulcastRid", { rid: "r1" }, { timeout: "2 seconds" })
  const counted = call.pipe(Effect.onExit((exit) => Effect.sync(() => count(kindOf(exit)))), Effect.ignore)
  yield* dice >= 95 ? Effect.timeoutOption(counted, "1 millis") : counted
})

const connectOptions = (url: string): NodeSora.Options => ({
  signalingUrls: [url],
  channelId: "soak",
  role: "sendrecv",
  simulcast: true,
  connectTimeout: "3 seconds",
  disconnectTimeout: "1 second",
  reconnect: true
})

const build = Effect.fnUntraced(function*(options: NodeSora.Options) {
  const context = yield* Layer.build(NodeSora.layer(options))
  connections++
  return {
    rpc: Context.get(context, SoraRpc.SoraRpc),
    connection: Context.get(context, SoraConnection.SoraConnection)
  }
})

/** A client that lives until its reconnecting gives up, and its callers. */
const client = (url: string) =>
  Effect.scoped(Effect.gen(function*() {
    const { connection, rpc } = yield* build(connectOptions(url))
    const callers = Effect.forEach(
      Array.from({ length: CallersPerClient }),
      () => Effect.forever(Effect.andThen(callOnce(rpc), Effect.sleep("5 millis"))),
      { concurrency: "unbounded", discard: true }
    )
    // Sometimes a program leaves by itself.
    const leave = Effect.flatMap(Random.nextBetween(10, 60), (seconds) => Effect.sleep(Duration.seconds(seconds)))
    yield* Effect.raceFirst(callers, Effect.raceFirst(Stream.runDrain(connection.changes), leave))
  })).pipe(Effect.catch(() => Effect.sleep("500 millis")))

/** How long each kind of death goes unnoticed, on a server without other faults. */
const deaths = Effect.fnUntraced(function*() {
  const server = yield* SoraServer.make()
  const die = (fault: SoraFaults.ConnectionFault, ignoreDisconnectWebsocket: boolean) =>
    Effect.scoped(Effect.gen(function*() {
      const { connection } = yield* build({
        ...connectOptions(server.url),
        reconnect: false,
        ignoreDisconnectWebsocket
      })
      yield* connection.signaling.pipe(Stream.filter(({ message }) => message.type === "switched"), Stream.runHead)
      // A WebSocket that is not needed any more may go unmissed.
      if (fault === "killSocket" && ignoreDisconnectWebsocket) return
      const start = performance.now()
      yield* server.inject((yield* connection.offer).connectionId, fault)
      yield* connection.changes.pipe(Stream.filter(({ _tag }) => _tag !== "Connected"), Stream.runHead)
      noticed.set(fault, [...(noticed.get(fault) ?? []), performance.now() - start])
    }))
  while (true) {
    for (const fault of Deaths) for (const ignore of [false, true]) yield* Effect.ignore(die(fault, ignore))
  }
}, Effect.scoped)

const droppedFrames = Effect.map(Metric.snapshot, (states) =>
  Object.fromEntries(
    states.filter(({ id }) => id === "sora.rpc.client.responses.dropped").map(({ attributes, state }) => [
      (attributes as Record<string, string>)["reason"],
      (state as { readonly count: number }).count
    ])
  ))

const median = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

const soak = Effect.fnUntraced(function*(minutes: number, seed: number) {
  process.on("unhandledRejection", () => unhandled++)
  process.on("uncaughtExceptionMonitor", () => unhandled++)
  const heaps: Array<number> = []
  const handleCounts: Array<number> = []
  yield* Console.log(
    `${minutes} minutes, seed ${seed}: ${Clients} clients with ${CallersPerClient} callers each, every fault on`
  )

  const work = Effect.scoped(Effect.gen(function*() {
    const server = yield* SoraServer.make({ faults: faults(seed) })
    yield* Effect.forEach(
      Array.from({ length: Clients }),
      () => Effect.forever(client(server.url)),
      { concurrency: "unbounded", discard: true }
    ).pipe(Effect.forkScoped)
    yield* Effect.forkScoped(deaths())
    // Two samples a minute; the first minute is warm-up.
    for (let half = 1; half <= minutes * 2; half++) {
      yield* Effect.sleep("30 seconds")
      const heap = heapInUse()
      heaps.push(heap)
      handleCounts.push(handles())
      yield* Console.log(
        `${half / 2} min: ${made.calls} calls, ${connections} connections, heap ${
          megabytes(heap)
        }, ${handles()} sockets`
      )
    }
  }))
  yield* Random.withSeed(work, seed)

  // The last goodbyes, and the sockets that Node closes a turn later.
  yield* Effect.sleep("3 seconds")
  const completed = Array.from(ended.values()).reduce((a, b) => a + b, 0)
  const unaccounted = made.calls + made.notifications - completed
  const settled = heapInUse()
  const early = heaps[1] ?? settled
  const late = Math.min(...heaps.slice(-2))
  const table = [
    ["calls made", made.calls],
    ["notifications made", made.notifications],
    ...Array.from(ended).toSorted(([a], [b]) => a < b ? -1 : 1).map(([kind, n]) => [`  ended: ${kind}`, n]),
    ["unaccounted", unaccounted],
    ["frames that ended no call", JSON.stringify(yield* droppedFrames)],
    ["connections made", connections],
    ...Array.from(noticed, ([kind, times]) => [
      `noticed ${kind}`,
      `median ${Math.round(median(times))} ms, at most ${Math.round(Math.max(...times))} ms (${times.length})`
    ]),
    ["unhandled rejections and exceptions", unhandled],
    ["heap after the first minute, at the end, when all is closed", [early, late, settled].map(megabytes).join(", ")],
    ["sockets in use during the run, when all is closed", `${Math.max(...handleCounts)} at most, ${handles()}`]
  ] as const
  for (const [name, value] of table) yield* Console.log(`${String(name).padEnd(62)}${value}`)

  const problems = [
    ...(unaccounted === 0 ? [] : [`${unaccounted} calls are unaccounted for`]),
    ...(unhandled === 0 ? [] : [`${unhandled} rejections or exceptions went unhandled`]),
    ...((ended.get("DEFECT") ?? 0) === 0 ? [] : ["calls died of defects"]),
    ...(late <= early * 1.1 ? [] : [`the heap grew from ${megabytes(early)} to ${megabytes(late)}`]),
    ...(handles() === 0 ? [] : [`${handles()} sockets are still open`])
  ]
  if (handles() > 0) yield* Console.log(process.getActiveResourcesInfo().join(" "))
  if (problems.length > 0) return yield* new SoakFailed({ text: problems.join("; ") })
  yield* Console.log("Every call is accounted for, and nothing grew.")
})

const hostile = Effect.fnUntraced(function*(options: Hostile.Options) {
  const problems = yield* Hostile.run(options)
  if (problems.length > 0) return yield* new SoakFailed({ text: problems.join("\n") })
  yield* Console.log("Every call is accounted for, the good client noticed nothing, and nothing grew.")
})

const heals = Effect.fnUntraced(function*(options: Heals.Options) {
  const problems = yield* Heals.run(options)
  if (problems.length > 0) return yield* new SoakFailed({ text: problems.join("\n") })
  yield* Console.log("Every bot has stayed, and found on the server what it wants there.")
})

const lossy = Effect.fnUntraced(function*(options: Lossy.Options) {
  const problems = yield* Lossy.run(options)
  if (problems.length > 0) return yield* new SoakFailed({ text: problems.join("\n") })
  yield* Console.log("Every call is accounted for, and every message arrived once.")
})

const command = Command.make(
  "soak",
  {
    minutes: Flag.Finite("minutes").pipe(
      Flag.withSchema(Schema.Finite.check(Schema.isBetween({ minimum: 0.5, maximum: 120 }))),
      Flag.withDescription("How long, 0.5 to 120"),
      Flag.withDefault(10)
    ),
    seed: Flag.Int("seed").pipe(Flag.withDescription("Seed of all randomness"), Flag.withDefault(1)),
    hostile: Flag.Boolean("hostile").pipe(
      Flag.withDescription("Peers and programs that mean harm, in place of the faults that happen"),
      Flag.withDefault(false)
    ),
    heals: Flag.Boolean("heals").pipe(
      Flag.withDescription("Bots with short tokens that are killed at any time, in place of the faults that happen"),
      Flag.withDefault(false)
    ),
    loss: Flag.Finite("loss").pipe(
      Flag.withSchema(Schema.Finite.check(Schema.isBetween({ minimum: 0.1, maximum: 20 }))),
      Flag.withDescription("A network that loses so many percent of all packets, in place of the faults that happen"),
      Flag.optional
    ),
    only: Flag.String("only").pipe(
      Flag.withDescription("Of the hostile scenarios those whose name contains this"),
      Flag.optional
    ),
    except: Flag.String("except").pipe(
      Flag.withDescription("Of the hostile scenarios those whose name does not contain this"),
      Flag.optional
    ),
    iteration: Flag.Int("iteration").pipe(
      Flag.withDescription("Of the hostile scenarios the one of this number, once"),
      Flag.optional
    )
  },
  (options) => {
    const { heals: isHeals, hostile: isHostile, loss, minutes, seed } = options
    if (isHeals) return heals(options)
    if (isHostile) return hostile(options)
    return Option.isSome(loss) ? lossy({ minutes, seed, loss: loss.value }) : soak(minutes, seed)
  }
).pipe(Command.withDescription("Run clients against a server that does everything wrong"))

command.pipe(
  Command.run({ version: "0.1.0" }),
  // What the faults provoke is expected, and would drown the report.
  Effect.provide(Layer.merge(NodeServices.layer, Logger.layer([]))),
  NodeRuntime.runMain
)
