/**
 * Calls of 200 bytes over werift, client and server in two processes:
 *
 *   npm run bench:backpressure
 *   npm run bench:backpressure -- --no-compress
 *
 * How many calls per second complete for a number of fibers that call without
 * pause, and a window (`maxInFlight`). Every cell has a connection and a time
 * limit of its own; without a window werift loses messages, and calls hang.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import type { SoraRpc } from "effect-sora-rpc"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { BenchError, child, connect, Echo, median, params200, table, timed } from "./bench.ts"

const Rounds = 3
const Seconds = 2
const Unbounded = 1_000_000
const Windows = [16, 32, 64, 128, Unbounded]
const Fibers = [64, 256, 1024, 4096]
const Fixed = [8, 16, 32, 64, 128]
const Total = 100_000

const serverArgs = process.argv.slice(2)

/** Completed calls per second of `fibers` that call without pause. */
const rate = Effect.fnUntraced(function*(url: string, fibers: number, rpcOptions: SoraRpc.Options) {
  const { rpc } = yield* connect(url, rpcOptions)
  let completed = 0
  const call = Effect.map(rpc.call(Echo, params200, { timeout: Duration.infinity }), () => void completed++)
  // A short run first, for the compiler and for SCTP's window.
  yield* Effect.replicateEffect(call, 200, { concurrency: 8, discard: true })
  completed = 0
  yield* Effect.raceFirst(
    Effect.replicateEffect(Effect.forever(call), fibers, { concurrency: "unbounded", discard: true }),
    Effect.sleep(Seconds * 1000)
  )
  return completed / Seconds
}, Effect.scoped)

interface Cell {
  readonly fibers: number
  readonly maxInFlight: number
}

/** Median rates. Every cell once per round, so that whatever else the machine does hits all alike. */
const medianRates = Effect.fnUntraced(function*(cells: ReadonlyArray<Cell>) {
  const rates = cells.map((): Array<number> => [])
  for (let round = 0; round < Rounds; round++) {
    for (const [i, { fibers, maxInFlight }] of cells.entries()) {
      // A server of its own too: what a flooded one has left to do must not slow the next cell.
      const cell = Effect.flatMap(
        child("server.ts", ...serverArgs),
        (url: string) => rate(url, fibers, { maxInFlight })
      )
      rates[i]!.push(yield* Effect.scoped(cell))
    }
  }
  return rates.map(median)
})

/** Calls per second when all of {@link Total} have to complete. */
const all = Effect.fnUntraced(function*(fibers: number, rpcOptions?: SoraRpc.Options) {
  const url: string = yield* child("server.ts", ...serverArgs)
  const { rpc } = yield* connect(url, rpcOptions)
  let started = 0
  let completed = 0
  const worker = Effect.whileLoop({
    while: () => started++ < Total,
    body: () => rpc.call(Echo, params200, { timeout: Duration.infinity }),
    step: () => void completed++
  })
  const { ms } = yield* timed(
    Effect.replicateEffect(worker, fibers, { concurrency: "unbounded", discard: true }).pipe(
      Effect.timeout("5 minutes")
    )
  )
  if (completed !== Total) return yield* new BenchError({ message: `only ${completed} of ${Total} calls completed` })
  return completed / ms * 1000
}, Effect.scoped)

NodeRuntime.runMain(Effect.gen(function*() {
  const name = (window: number) => window === Unbounded ? "no window" : `maxInFlight ${window}`
  yield* Console.log(`calls per second, ${Seconds} s each, medians of ${Rounds} rounds\n`)

  const cells = [
    ...Fixed.map((fibers) => ({ fibers, maxInFlight: Unbounded })),
    ...Windows.flatMap((maxInFlight) => Fibers.map((fibers) => ({ fibers, maxInFlight })))
  ]
  const rates = yield* medianRates(cells)
  const fixed = rates.slice(0, Fixed.length)
  table([["fixed concurrency", ...Fixed.map(String)], ["no window", ...fixed]])
  table([
    ["fibers", ...Fibers.map(String)],
    ...Windows.map((maxInFlight, row) => [
      name(maxInFlight),
      ...rates.slice(Fixed.length + row * Fibers.length).slice(0, Fibers.length)
    ])
  ])

  // Side by side: the crowd behind the window of 32, and the concurrency that did best without one.
  const best = Fixed[fixed.indexOf(Math.max(...fixed))]!
  const crowd: Array<number> = []
  const reference: Array<number> = []
  for (let round = 0; round < Rounds; round++) {
    crowd.push(yield* all(4096))
    reference.push(yield* all(best, { maxInFlight: Unbounded }))
  }
  table([
    [`${Total} calls, all completed, medians of ${Rounds} rounds`, "calls per second"],
    ["4096 fibers, window of 32", median(crowd)],
    [`${best} fibers, no window`, median(reference)],
    ["ratio", median(crowd) / median(reference)]
  ])
}))
