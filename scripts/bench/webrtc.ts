/**
 * Calls over real WebRTC on loopback, client and other end in two processes, for
 * werift, libwebrtc (`@roamhq/wrtc`) and `node-datachannel`:
 *
 *   npx tsx scripts/bench/webrtc.ts [--json] [--quick]
 *
 * Medians of interleaved rounds. The bare echo is the limit: a message of the
 * same 200 bytes sent back by the other end, with nothing of this library in
 * either process, at the concurrency that does best. The floor is a client that
 * does no more than it must. Both ends are of one implementation; for werift the
 * other end of the calls is `SoraServer`.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { BenchError, child, median, spawn, table } from "./bench.ts"
import { BareConcurrencies, bareEcho, type Figure } from "./client.ts"
import { type Implementation, implementations } from "./peer.ts"

/** One figure. `target` is what the figure is to be, in words, where there is one. */
export interface Row {
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly min: number
  readonly max: number
  readonly target?: string
  readonly met?: boolean
}

/** No round begins after this time: a busy machine gets fewer rounds, and not a longer wait. */
const BudgetMs = 180_000

/** All figures. */
export const run = (options: { readonly quick?: boolean | undefined } = {}) => Effect.scoped(measure(options))

type Round = ReadonlyArray<Figure>

const measure = Effect.fnUntraced(function*({ quick = false }: { readonly quick?: boolean | undefined }) {
  const url: string = yield* child("server.ts", "--no-compress")
  const lossyUrl: string = yield* child("relay.ts", url)
  const start = Effect.fnUntraced(function*(implementation: Implementation) {
    const client = yield* spawn("client.ts", implementation, url, lossyUrl, ...(quick ? ["--quick"] : []))
    // It is ready.
    yield* client.next()
    clients.set(implementation, client)
    return client
  })
  const clients = new Map<Implementation, Effect.Success<ReturnType<typeof spawn>>>()
  const figuresOf = (implementation: Implementation, message: "round" | "fleet") =>
    Effect.gen(function*() {
      const client = clients.get(implementation) ?? (yield* start(implementation))
      const { error, figures } = yield* Effect.timeout(client.next(message), "90 seconds")
      return error === undefined ? figures : yield* new BenchError({ message: error })
    }).pipe(
      Effect.catch((error) => {
        clients.delete(implementation)
        return Effect.as(Console.error(`a ${message} of ${implementation} was given up: ${error.message}`), [])
      })
    )

  const rounds: Array<Round> = []
  const begun = performance.now()
  // The first round is for the compiler, in every process.
  for (let i = -1; i < (quick ? 1 : 5) && performance.now() - begun < BudgetMs; i++) {
    const figures: Array<Figure> = []
    for (const implementation of implementations) figures.push(...(yield* figuresOf(implementation, "round")))
    if (i >= 0) rounds.push(figures)
  }
  const fleet: ReadonlyArray<Round> = yield* figuresOf("werift", "fleet")
  return [...rowsOf(rounds), ...rowsOf(fleet), ...targets([...rounds, ...fleet])]
})

const valuesOf = (round: Round, name: string) =>
  round.filter((figure) => figure.name === name).map(({ value }) => value)

const row = (name: string, unit: string, values: ReadonlyArray<number>): Row => ({
  name,
  unit,
  value: median(values),
  min: Math.min(...values),
  max: Math.max(...values)
})

const rowsOf = (rounds: ReadonlyArray<Round>): Array<Row> =>
  Array.from(
    new Map(rounds.flat().map(({ name, unit }) => [name, unit])),
    ([name, unit]) => row(name, unit, rounds.flatMap((round) => valuesOf(round, name)))
  )

const targets = (rounds: ReadonlyArray<Round>): Array<Row> => {
  /** Round by round, because what else the machine does hits both of a pair alike. */
  const ratio = (name: string, over: string, by: string, sign: ">=" | "<=", limit: number): Row => {
    const ratios = rounds.flatMap((round) => {
      const [a, b] = [valuesOf(round, over), valuesOf(round, by)]
      return a.length === 0 || b.length === 0 ? [] : [median(a) / median(b)]
    })
    const made = row(name, "x", ratios)
    return { ...made, target: `${sign} ${limit}`, met: sign === ">=" ? made.value >= limit : made.value <= limit }
  }
  const share = (name: string, over: string, of: number, sign: ">=" | "<=", limit: number, unit = "x"): Row => {
    const made = row(name, unit, rounds.flatMap((round) => valuesOf(round, over).map((value) => value / of)))
    return { ...made, target: `${sign} ${limit}`, met: sign === ">=" ? made.value >= limit : made.value <= limit }
  }
  /** By its median over all rounds: the best of each round would be the luckiest. */
  const bestBareEcho = (implementation: Implementation) => {
    const rate = (name: string) => median(rounds.flatMap((round) => valuesOf(round, name)))
    return BareConcurrencies[implementation]
      .map((concurrency) => bareEcho(implementation, concurrency))
      .reduce((a, b) => rate(a) >= rate(b) ? a : b)
  }
  const [werift, native] = ["calls, werift, 1024 callers", "calls, node-datachannel, 1024 callers"]
  return [
    ratio("set-up to rpc open / bare peer", "set-up, werift, rpc open", "set-up, werift, bare peer", "<=", 1.1),
    ratio(
      "the same / bare peer, plain werift",
      "set-up, werift, rpc open",
      "set-up, plain werift, bare peer",
      "<=",
      0.5
    ),
    ratio("calls / bare echo, werift", werift, bestBareEcho("werift"), ">=", 0.8),
    ratio("calls / bare echo, plain werift", werift, bestBareEcho("plain werift"), ">=", 3.5),
    // One caller makes 20 calls per second there, and five: 1,024 / 0.05 and 1,024 / 0.2 are all that is possible.
    share(
      "calls, server takes 50 ms / the 20,480 that are possible",
      "calls, werift, server takes 50 ms",
      20 * 1024,
      ">=",
      0.8
    ),
    share(
      "calls, server takes 200 ms / the 5,120 that are possible",
      "calls, werift, server takes 200 ms",
      5 * 1024,
      ">=",
      0.8
    ),
    ratio(
      "quick call beside 1,000 slow ones / alone, p99",
      "quick call beside slow ones, werift, p99",
      "round trip, werift, p99",
      "<=",
      5
    ),
    share(
      "p99 of one caller, 1 % loss each way",
      "round trip, werift, 1 % loss each way, p99",
      1000,
      "<=",
      0.3,
      "s"
    ),
    ratio("calls, 16,384 callers / 64", "calls, werift, 16384 callers", "calls, werift, 64 callers", ">=", 0.8),
    ratio(
      "CPU of the client / plain werift",
      "CPU of the client, werift",
      "CPU of the client, plain werift",
      "<=",
      0.5
    ),
    // With as many messages under way as there are callers, and at its best.
    ratio("calls / bare echo, node-datachannel, 1024", native, bareEcho("node-datachannel", 1024), ">=", 0.5),
    ratio("calls / bare echo, node-datachannel", native, bestBareEcho("node-datachannel"), ">=", 0.5),
    ratio("calls, werift / node-datachannel", werift, native, ">=", 0.6),
    // Limited by werift: JSON-RPC and the dispatch, at both ends, may take a fifth at most.
    ratio("fleet of clients of SoraServer / bare echo", "fleet, calls", "fleet, bare echo", ">=", 0.8)
  ]
}

/** Prints figures as a table. */
export const print = (rows: ReadonlyArray<Row>) => {
  const round = (value: number) => Number(value.toPrecision(3))
  table([
    ["over WebRTC on loopback, medians", "value", "unit", "min", "max", "target", "met"],
    ...rows.map(({ max, met, min, name, target, unit, value }) => [
      name,
      round(value),
      unit,
      round(min),
      round(max),
      target ?? "",
      met === undefined ? "" : met ? "yes" : "NO"
    ])
  ])
}

if (import.meta.main) {
  const rows = await Effect.runPromise(run({ quick: process.argv.includes("--quick") }))
  if (process.argv.includes("--json")) process.stdout.write(JSON.stringify(rows, null, 2) + "\n")
  else print(rows)
  // The native implementations keep threads that end with the process.
  process.exit(0)
}
