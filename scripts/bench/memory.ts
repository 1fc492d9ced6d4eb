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

const entries = async (quick: boolean): Promise<Array<Entry>> => {
  const floor = Contestants.floor()
  const all: Array<readonly [name: string, run: Contestants.Run, only?: ReadonlyArray<number>]> = [
    ["floor", floor],
    ["typed, timeout", await Contestants.ours()],
    ["typed, no timeout", await Contestants.ours({ timeout: false })],
    ["typed, timeout, traced", await Contestants.ours({ traced: true })],
    ["typed, timeout, default window", await Contestants.ours({ maxInFlight: 32 }), [4096]],
    ["raw, timeout", await Contestants.ours({ raw: true })],
    ["raw, no timeout", await Contestants.ours({ raw: true, timeout: false })],
    ["raw, timeout, traced", await Contestants.ours({ raw: true, traced: true })],
    ["sora-js-sdk, timeout", Contestants.soraJsSdk()],
    ["sora-js-sdk, no timeout", Contestants.soraJsSdk({ timeout: false })],
    ["json-rpc-2.0, timeout", Contestants.jsonRpc2(true)],
    ["json-rpc-2.0, no timeout", Contestants.jsonRpc2(false)],
    ["effect/rpc, no timeout", await Contestants.effectRpc()],
    ["effect/rpc, no timeout, traced", await Contestants.effectRpc({ traced: true })]
  ]
  const plain = all.flatMap(([name, run, only]) =>
    (only ?? (quick ? [16] : Concurrencies)).filter((concurrency) => !quick || concurrency === 16)
      .map((concurrency) => ({ name, run, concurrency, calls: Math.max(4000, concurrency * 2) }))
  )
  const compressed = (await Promise.all(
    [
      ["typed, timeout, compress", Contestants.ours({ compress: true })],
      ["sora-js-sdk, timeout, compress", Contestants.soraJsSdk({ compress: true })]
    ] as const
  )).map(async ([name, run]) => ({ name, run: await run, concurrency: 16, calls: quick ? 100 : 400 }))
  // What is compared runs one after the other, so that whatever else the machine does hits both.
  return [...plain.toSorted((a, b) => a.concurrency - b.concurrency), ...await Promise.all(compressed)]
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
  const compressedCalls = Math.max(...all.filter(({ name }) => name.endsWith("compress")).map(({ calls }) => calls))
  Contestants.prepareDeflated(compressedCalls * (rounds + 2) + 1)
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
