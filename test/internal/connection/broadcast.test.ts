/**
 * Events for whoever listens: before, while and after they come.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import * as Broadcast from "../../../src/internal/connection/broadcast.ts"

const from = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i)

describe("a subscriber", () => {
  it.effect("gets the latest from before it came, be it the first one or not, and then all", () =>
    Effect.gen(function*() {
      const events = yield* Broadcast.make<number>()
      for (const n of from(1, 100)) events.publish(n)
      const first = yield* Effect.forkChild(Stream.runCollect(events.stream), { startImmediately: true })
      yield* Effect.yieldNow
      for (const n of from(101, 110)) events.publish(n)
      const second = yield* Effect.forkChild(Stream.runCollect(events.stream), { startImmediately: true })
      yield* Effect.yieldNow
      events.publish(111)
      events.end()
      assert.deepStrictEqual(yield* Fiber.join(first), from(37, 111))
      assert.deepStrictEqual(yield* Fiber.join(second), from(47, 111))
    }))

  it.effect("that comes after the end gets the latest, and the end", () =>
    Effect.gen(function*() {
      const events = yield* Broadcast.make<number>()
      for (const n of from(1, 100)) events.publish(n)
      events.end()
      // The end is one of the 64.
      assert.deepStrictEqual(yield* Stream.runCollect(events.stream), from(38, 100))
      assert.deepStrictEqual(yield* Stream.runCollect(events.stream), from(38, 100))
    }))
})
