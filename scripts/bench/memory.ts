/**
 * What a call costs in this process, without a network:
 *
 *   npx tsx scripts/bench/memory.ts [--json] [--quick]
 *
 * Every row is a ratio to the floor of the same round and the same concurrency:
 * `JSON.stringify`, a `Map`, a `Promise` and `JSON.parse`. Rounds are made by
 * hand, because tinybench runs all of one task before the next one: whatever
 * else the machine does meanwhile would hit one contestant alone, and here only
 * ratios count. In each round every contestant runs once.
 */
import * as Effect from "effect/Effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { child, median, type Row, table, type Target, target } from "./bench.ts"
import * as Contestants from "./contestants.ts"
import type { Heap } from "./heap.ts"

setFlagsFromString("--expose-gc")
const collectGarbage: () => void = runInNewContext("gc")

export interface Options {
  /** Fewer calls, for a look in passing. */
  readonly quick?: boolean
}

interface Entry {
  readonly name: string
  readonly concurrency: number
  readonly run: Contestants.Run
  /** Calls of one round. */
  readonly calls: number
}

const Concurrencies = [1, 16, 256, 4096]

/** Of a compressed call, which is slow; enough of them for each concurrency. */
const CompressedCalls = 400

const entries = async (quick: boolean): Promise<Array<Entry>> => {
  const all: Array<Entry> = []
  const add = (name: string, run: Contestants.Run, concurrencies: ReadonlyArray<number> = Concurrencies) => {
    for (const concurrency of concurrencies) {
      if (quick && concurrency !== 16) continue
      const calls = name.includes("compress")
        ? Math.max(quick ? CompressedCalls / 4 : CompressedCalls, concurrency)
        : Math.max(4000, concurrency * 2)
      all.push({ name, run, concurrency, calls })
    }
  }
  add("floor", Contestants.floor())
  add("floor of an Effect", Contestants.effectFloor())
  for (const kind of ["typed", "raw"]) {
    for (const timeout of [true, false]) {
      const options = { raw: kind === "raw", timeout }
      const name = `${kind}, ${timeout ? "timeout" : "no timeout"}`
      add(name, await Contestants.ours(options))
      add(`${name}, traced`, await Contestants.ours({ ...options, traced: true }))
      add(`${name}, compress`, await Contestants.ours({ ...options, compress: true }))
    }
  }
  add("typed, timeout, window of 32", await Contestants.ours({ maxInFlight: 32 }), [4096])
  add("typed, timeout, answer's members sorted", await Contestants.ours({ answers: "sorted" }), [16])
  for (const timeout of [true, false]) {
    const name = timeout ? "timeout" : "no timeout"
    add(`sora-js-sdk, ${name}`, Contestants.soraJsSdk({ timeout }))
    // Thousands of its zlib streams at once take seconds.
    const concurrencies = timeout ? Concurrencies : Concurrencies.slice(0, -1)
    add(`sora-js-sdk, ${name}, compress`, Contestants.soraJsSdk({ timeout, compress: true }), concurrencies)
    add(`json-rpc-2.0, ${name}`, Contestants.jsonRpc2(timeout))
  }
  add("effect/rpc, no timeout", await Contestants.effectRpc())
  add("effect/rpc, no timeout, traced", await Contestants.effectRpc({ traced: true }))
  // What is compared runs one after the other, so that whatever else the machine does hits both.
  return all.toSorted((a, b) =>
    a.concurrency - b.concurrency || Number(a.name.includes("compress")) - Number(b.name.includes("compress"))
  )
}

/** Microseconds per call: `[entry][round]`. */
const measure = async (all: ReadonlyArray<Entry>, rounds: number) => {
  const times = all.map((): Array<number> => [])
  for (let round = -2; round < rounds; round++) {
    for (const [i, { calls, concurrency, run }] of all.entries()) {
      // What one leaves behind is not collected on the next one's time.
      collectGarbage()
      const start = performance.now()
      await run(calls, concurrency)
      // The first two rounds are for the compiler.
      if (round >= 0) times[i]!.push((performance.now() - start) * 1000 / calls)
    }
  }
  return times
}

const heapRows = async (rounds: number): Promise<Array<Row>> => {
  const samples: Array<Heap> = []
  for (let i = 0; i < rounds; i++) samples.push(await Effect.runPromise(Effect.scoped(child("heap.ts"))))
  return Object.keys(samples[0]!).map((name) => {
    const bytes = samples.map((sample) => sample[name]!)
    const value = median(bytes)
    return {
      name: `heap of a waiting call: ${name}`,
      median: value,
      spread: [Math.min(...bytes), Math.max(...bytes)],
      unit: "bytes",
      ratioToFloor: median(samples.map((sample) => sample[name]! / sample.floor!)),
      ...(name === "typed, timeout" ? { target: target("heap per waiting call, fiber included", 1000, value) } : {})
    }
  })
}

export const memoryRows = async (options: Options = {}): Promise<Array<Row>> => {
  const quick = options.quick === true
  const rounds = quick ? 5 : 7
  const all = await entries(quick)
  // A channel counts on from one concurrency to the next.
  const compressedCalls = all.filter(({ name }) => name === "typed, timeout, compress").map(({ calls }) => calls)
  Contestants.prepareDeflated(compressedCalls.reduce((sum, calls) => sum + calls, 0) * (rounds + 2) + 1)
  const times = await measure(all, rounds)

  const find = (name: string, concurrency: number) =>
    times[all.findIndex((entry) => entry.name === name && entry.concurrency === concurrency)]!
  const ratio = (of: ReadonlyArray<number>, to: ReadonlyArray<number>) => median(of.map((time, i) => time / to[i]!))
  const targets: Record<string, readonly [text: string, limit: number, to: string]> = {
    "typed, timeout": ["typed call / sora-js-sdk, both with timeout", 1.3, "sora-js-sdk, timeout"],
    "typed, timeout, compress": ["the same, compressed", 0.12, "sora-js-sdk, timeout, compress"],
    "raw, timeout": ["raw call / sora-js-sdk, both with timeout", 1.1, "sora-js-sdk, timeout"],
    "typed, no timeout": ["typed call / effect/rpc, no tracing", 0.5, "effect/rpc, no timeout"],
    "typed, timeout, traced": ["tracing on, no exporter / off", 1.6, "typed, timeout"]
  }
  const rows = all.map(({ concurrency, name }, i): Row => {
    const own = times[i]!
    const aim = concurrency === 16 ? targets[name] : undefined
    return {
      name: `${name}, ${concurrency} at a time`,
      median: median(own),
      spread: [Math.min(...own), Math.max(...own)],
      ratioToFloor: ratio(own, find("floor", concurrency)),
      ...(aim === undefined ? {} : { target: target(aim[0], aim[1], ratio(own, find(aim[2], concurrency))) })
    }
  })
  return [...rows, ...await heapRows(quick ? 1 : 3)]
}

/** Prints rows as a table. */
export const printRows = (rows: ReadonlyArray<Row>) => {
  table([
    ["", "median", "min", "max", "", "× floor"],
    ...rows.map(({ median, name, ratioToFloor, spread, unit }) => [
      name,
      median,
      ...spread,
      unit ?? "µs",
      ratioToFloor
    ])
  ])
  const targets = rows.flatMap(({ target }): Array<Target> => target === undefined ? [] : [target])
  table([
    ["target", "at most", "measured", ""],
    ...targets.map(({ limit, met, text, value }) => [text, limit, value, met ? "met" : "missed"])
  ])
}

if (import.meta.main) {
  const rows = await memoryRows({ quick: process.argv.includes("--quick") })
  if (process.argv.includes("--json")) process.stdout.write(`${JSON.stringify(rows, undefined, 2)}\n`)
  else printRows(rows)
  // The fake channels' clients have no end of their own.
  process.exit(0)
}
