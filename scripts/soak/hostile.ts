/**
 * The hostile soak: clients, servers and callers that do all they can to bring
 * the library down, many at a time, beside one good client that must not notice.
 *
 *   npm run soak -- --hostile --minutes 10 --seed 7
 *
 * Each iteration is one scenario, drawn from the seed and its number alone, so
 * that `--iteration` can repeat it. What others do meanwhile, and when, is not
 * the same again.
 */
import { SoraServer } from "effect-sora-rpc/server"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Callers from "./callers.ts"
import * as Connecting from "./connecting.ts"
import * as Dice from "./dice.ts"
import { heapInUse, megabytes, sockets } from "./gauges.ts"
import * as Ledger from "./ledger.ts"
import * as Peers from "./peers.ts"
import * as RawClients from "./rawClients.ts"
import * as Servers from "./servers.ts"
import { connect, handlers, type Scenario, type Stage, witness } from "./stage.ts"
import * as Watch from "./watch.ts"

const Concurrency = 8

/** Nothing that a scenario does takes as long. */
const ScenarioTimeout = Duration.seconds(60)

/** How long the server may keep a connection whose client is gone: werift notices after 29 seconds. */
const Lingering = Duration.seconds(60)

/** How much the heap may grow from the first quarter of the run to the last, beside what a few scenarios hold. */
const MaxGrowth = 1.2
const Slack = 8 * 1024 * 1024

/** Until then the heap grows: timers hold what is gone, the last of them for half a minute, and code is compiled. */
const WarmUp = Duration.seconds(60)

const SampleTime = Duration.seconds(5)

const scenarios: Readonly<Record<string, Scenario>> = {
  ...RawClients.scenarios,
  ...Peers.scenarios,
  ...Servers.scenarios,
  ...Callers.scenarios,
  ...Connecting.scenarios
}

const names = Object.keys(scenarios)

/** Its name as many times as it weighs. */
const urn = names.flatMap((name) => Array.from({ length: scenarios[name]!.weight }, () => name))

export interface Options {
  readonly minutes: number
  readonly seed: number
  /** Only scenarios whose name contains this. */
  readonly only: Option.Option<string>
  /** No scenarios whose name contains this. */
  readonly except: Option.Option<string>
  /** Only this iteration, once. */
  readonly iteration: Option.Option<number>
}

/** Runs a soak; gives its problems, one line each. */
export const run = Effect.fnUntraced(function*({ except, iteration, minutes, only, seed }: Options) {
  const ledger = Ledger.make()
  const running = new Set<string>()
  const runs = new Map<string, { count: number; millis: number; longest: number }>()
  const { stalls } = yield* Watch.watch(ledger, seed, running)
  const chosen = urn.filter((name) =>
    Option.getOrElse(Option.map(only, (text) => name.includes(text)), () => true) &&
    !Option.exists(except, (text) => name.includes(text))
  )
  if (chosen.length === 0) return [`there is no such scenario; there are ${names.join(", ")}`]
  yield* Console.log(
    `${minutes} minutes, seed ${seed}: ${new Set(chosen).size} hostile scenarios, ${Concurrency} at a time`
  )

  const serverScope = yield* Scope.make()
  const goodScope = yield* Scope.make()
  const server = yield* Scope.provide(
    SoraServer.make({ handlers, pingInterval: "1 second", pongTimeout: "10 seconds", connectTimeout: "10 seconds" }),
    serverScope
  )
  const good = yield* Scope.provide(
    connect(ledger, { signalingUrls: [server.url], channelId: "good", role: "sendrecv" }),
    goodScope
  )
  const goodCalls = { count: 0, longest: 0 }
  const goodCalling = yield* Effect.forkChild(Effect.forever(Effect.gen(function*() {
    const startedAt = performance.now()
    yield* witness({ ledger, where: "the good client" }, good.rpc)
    goodCalls.count++
    goodCalls.longest = Math.max(goodCalls.longest, performance.now() - startedAt)
    const state = yield* good.connection.state
    if (state._tag === "Disconnected") {
      ledger.problem("the good client", `it was disconnected: ${state.reason.message}`)
      return yield* Effect.never
    }
    yield* Effect.sleep("20 millis")
  })))
  const offerSdp = (yield* good.connection.offer).sdp.replace(/(a=candidate:.* 127\.0\.0\.1) \d+/g, "$1 9")

  const play = Effect.fnUntraced(function*(number: number) {
    const dice = Dice.make(`${seed}/${number}`)
    const name = dice.pick(chosen)
    const where = `${name}#${number}`
    const problem = (what: string) => ledger.problem(where, what)
    const stage: Stage = {
      server,
      port: Number(new URL(server.url).port),
      ledger,
      dice,
      where,
      problem,
      channelId: dice.pick(["good", "a", "b", "c"]),
      offerSdp
    }
    running.add(where)
    const startedAt = performance.now()
    // Detached: a scenario that cannot even be interrupted must not hold up the soak.
    const fiber = yield* Effect.forkDetach(Effect.scoped(scenarios[name]!.run(stage)))
    const exit = yield* Effect.timeoutOption(Fiber.await(fiber), ScenarioTimeout)
    if (Option.isNone(exit)) {
      problem(`it hangs: it is not over after ${Duration.format(ScenarioTimeout)}`)
      yield* Effect.forkDetach(Fiber.interrupt(fiber))
    } else if (Exit.isFailure(exit.value)) {
      problem(`it failed: ${ledger.messageOf(exit.value.cause)}`)
    }
    running.delete(where)
    const millis = performance.now() - startedAt
    const { count, longest, millis: sum } = runs.get(name) ?? { count: 0, millis: 0, longest: 0 }
    runs.set(name, { count: count + 1, millis: sum + millis, longest: Math.max(longest, millis) })
  })

  const heaps: Array<number> = []
  const counts = (): string =>
    `${ledger.made.calls} calls, ${ledger.made.connections} of ${ledger.made.attempts} attempts connected, ${goodCalls.count} good calls`
  const told = new Set<Ledger.Problem>()
  const sample = Effect.gen(function*() {
    ledger.checkOverdue()
    const played = Array.from(runs.values()).reduce((sum, { count }) => sum + count, 0)
    heaps.push(heapInUse())
    yield* Console.log(
      `${Math.round((performance.now() - begun) / 1000)} s: ${played} scenarios, ${counts()}, heap ${
        megabytes(heaps.at(-1)!)
      }, ` +
        `RSS ${megabytes(process.memoryUsage().rss)}, ${sockets()} sockets, longest stall ${
          Math.round(stalls.longest)
        } ms`
    )
    for (const problem of ledger.problems.values()) {
      if (told.has(problem)) continue
      told.add(problem)
      yield* Console.log(`  PROBLEM in ${problem.where[0]}: ${problem.what}`)
    }
  })
  const before = heapInUse()
  const begun = performance.now()
  const until = begun + minutes * 60_000
  const sampling = yield* Effect.forkChild(Effect.forever(Effect.andThen(Effect.sleep(SampleTime), sample)))
  if (Option.isSome(iteration)) {
    yield* play(iteration.value)
  } else {
    let number = 0
    const worker = Effect.gen(function*() {
      while (performance.now() < until) yield* play(number++)
    })
    yield* Effect.forEach(Array.from({ length: Concurrency }), () => worker, {
      concurrency: "unbounded",
      discard: true
    })
  }
  yield* Fiber.interrupt(sampling)
  yield* sample
  yield* Fiber.interrupt(goodCalling)

  // The end: the server forgets who is gone, and everything closes.
  const waitFor = (condition: Effect.Effect<boolean>, patience: Duration.Input) =>
    Effect.timeoutOption(Effect.repeat(Effect.delay(condition, "200 millis"), { until: (holds) => holds }), patience)
  const goodId = (yield* good.connection.offer).connectionId
  const onlyGood = Effect.map(
    server.connections,
    (all) => all.every(({ channelId, connectionId }) => channelId === "good" && connectionId === goodId)
  )
  if (Option.isNone(yield* waitFor(onlyGood, Lingering))) {
    ledger.problem(
      "the end",
      `the server keeps ${(yield* server.connections).length - 1} connections of clients that are gone`
    )
  }
  const closes = Effect.fnUntraced(function*(what: string, scope: Scope.Closeable) {
    const startedAt = performance.now()
    const closing = yield* Effect.forkDetach(Scope.close(scope, Exit.void))
    const closed = yield* Effect.timeoutOption(Fiber.await(closing), "15 seconds")
    if (Option.isNone(closed)) ledger.problem("the end", `${what} does not close`)
    else yield* Console.log(`${what} closed in ${Math.round(performance.now() - startedAt)} ms`)
  })
  yield* closes("the good client", goodScope)
  yield* closes("the server", serverScope)
  if (Option.isNone(yield* waitFor(Effect.sync(() => sockets() === 0), "10 seconds"))) {
    ledger.problem("the end", `${sockets()} sockets are still open: ${process.getActiveResourcesInfo().join(" ")}`)
  }
  ledger.checkOverdue()
  if (ledger.open() > 0) ledger.problem("the end", `${ledger.open()} calls are not over`)
  const { caught, thrown } = ledger.provoked
  if (caught !== thrown) ledger.problem("the end", `${thrown} callbacks threw, and ${caught} of these came out`)

  const warm = heaps.slice(Math.floor(Duration.toMillis(WarmUp) / Duration.toMillis(SampleTime)))
  const quarter = warm.length >> 2
  const early = Math.min(...warm.slice(0, quarter))
  const late = Math.min(...warm.slice(-quarter))
  // A run that is short has no quarters worth comparing; what it left is seen when all is closed.
  if (quarter > 0 && late > early * MaxGrowth + Slack) {
    ledger.problem("the end", `the heap grew from ${megabytes(early)} to ${megabytes(late)}`)
  }
  const limit = before * MaxGrowth + 2 * Slack
  if (Option.isNone(yield* waitFor(Effect.sync(() => heapInUse() <= limit), WarmUp))) {
    ledger.problem("the end", `${megabytes(heapInUse())} are left when all is closed, of ${megabytes(before)} before`)
  }

  yield* Console.log("")
  for (const name of names) {
    const { count, longest, millis } = runs.get(name) ?? { count: 0, longest: 0, millis: 0 }
    if (count === 0) continue
    yield* Console.log(
      `${name.padEnd(44)}${String(count).padStart(6)} times, ${Math.round(millis / count)} ms, at most ${
        Math.round(longest)
      }`
    )
  }
  const table = [
    ["calls made", ledger.made.calls],
    ...Array.from(ledger.ends).toSorted(([a], [b]) => a < b ? -1 : 1).map(([kind, n]) =>
      [`  ended: ${kind}`, n] as const
    ),
    ["connections made, attempts", `${ledger.made.connections}, ${ledger.made.attempts}`],
    ["calls of the good client", `${goodCalls.count}, the slowest took ${Math.round(goodCalls.longest)} ms`],
    ["callbacks that threw, exceptions that came out", `${thrown}, ${caught}`],
    ["longest stall of the event loop", `${Math.round(stalls.longest)} ms`],
    ["heap before, at most, when all is closed", [before, Math.max(...heaps), heapInUse()].map(megabytes).join(", ")],
    ["heap in the first and last quarter after a minute", quarter > 0 ? [early, late].map(megabytes).join(", ") : "-"]
  ] as const
  for (const [name, value] of table) yield* Console.log(`${name.padEnd(62)}${value}`)
  return Array.from(
    ledger.problems.values(),
    ({ count, what, where }) => `${count} × in ${where.join(", ")} (seed ${seed}): ${what}`
  )
}, Effect.scoped)
