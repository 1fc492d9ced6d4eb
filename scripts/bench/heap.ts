/**
 * Heap of one waiting call, fiber included, in a process of its own: nothing
 * else allocates, and garbage is collected before and after.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as Contestants from "./contestants.ts"

const Calls = 10_000

/** Bytes by name. */
export type Heap = Record<string, number>

setFlagsFromString("--expose-gc")
const collectGarbage: () => void = runInNewContext("gc")

const heapUsed = async () => {
  // Twice with a turn in between: what finalizers and timers let go of is free only then.
  for (let i = 0; i < 3; i++) {
    collectGarbage()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return process.memoryUsage().heapUsed
}

const perCall = async (start: () => unknown) => {
  const held: Array<unknown> = Array.from({ length: Calls }, () => undefined)
  const before = await heapUsed()
  for (let i = 0; i < Calls; i++) held[i] = start()
  const bytes = (await heapUsed() - before) / Calls
  return { bytes, held }
}

const ours = async (options: Contestants.OursOptions) => {
  const { call, close } = await Contestants.oursCall({ ...options, answers: "none" })
  const { bytes, held } = await perCall(() => Effect.runFork(call()))
  await Effect.runPromise(Fiber.interruptAll(held as Array<Fiber.Fiber<unknown, unknown>>))
  await close()
  return bytes
}

const measure = async (): Promise<Heap> => {
  const waiting = new Map<number, unknown>()
  let id = 0
  const floor = () => new Promise((resolve) => waiting.set(++id, resolve))
  const sora = Contestants.soraCall({ answers: "none" })
  return {
    floor: (await perCall(floor)).bytes,
    "a fiber that waits for nothing": (await perCall(() => Effect.runFork(Effect.never))).bytes,
    "typed, timeout": await ours({}),
    "typed, timeout, queued": await ours({ maxInFlight: 1 }),
    "typed, no timeout": await ours({ timeout: false }),
    "sora-js-sdk, timeout": (await perCall(sora)).bytes
  }
}

if (import.meta.main) {
  // The official SDK's calls time out one day, and nobody holds their promises.
  process.on("unhandledRejection", () => {})
  // The first time is for what is made once: compiled codecs, the compiler's own data.
  await measure()
  process.send!(await measure())
}
