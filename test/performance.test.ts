/**
 * A call costs no multiple of what it did: a ratio to the least that a client
 * can do, measured side by side, so that a slow machine slows both.
 */
import { assert, it } from "@effect/vitest"
import { floor, ours } from "../scripts/bench/contestants.ts"

/** Medians here are 1.6 to 1.7 raw and 2.2 to 2.4 typed; twice the cost is above the limit. */
const Limits = { raw: 3, typed: 4.2 }

const Calls = 4000

it("a call costs a bounded multiple of JSON, a Map and a Promise", { timeout: 60_000 }, async () => {
  const contestants = { floor: floor(), raw: await ours({ raw: true }), typed: await ours() }
  const micros = async (run: (typeof contestants)["floor"]) => {
    const start = performance.now()
    await run(Calls, 16)
    return (performance.now() - start) * 1000 / Calls
  }
  const rounds: Array<{ readonly raw: number; readonly typed: number }> = []
  // The first rounds are for the compiler.
  for (let round = -5; round < 15; round++) {
    // One after the other: side by side they would measure each other.
    // oxlint-disable no-await-in-loop
    const least = await micros(contestants.floor)
    const ratios = { raw: await micros(contestants.raw) / least, typed: await micros(contestants.typed) / least }
    // oxlint-enable no-await-in-loop
    if (round >= 0) rounds.push(ratios)
  }
  for (const kind of ["raw", "typed"] as const) {
    const sorted = rounds.map((round) => round[kind]).toSorted((a, b) => a - b)
    const median = sorted[sorted.length >> 1]!
    assert.isBelow(median, Limits[kind], `${kind}: ${sorted.map((ratio) => ratio.toFixed(1)).join(" ")}`)
    if (process.env["SHOW_RATIOS"] !== undefined) process.stdout.write(`${kind} ${median.toFixed(2)}\n`)
  }
})
