import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Retrying from "../../../src/internal/connection/retrying.ts"

const Outcomes = Schema.Array(Schema.Literals(["worth it", "not worth it", "success"]))
const Times = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 6 }))

describe("retry", () => {
  it.effect.prop(
    "does what Effect.retry does, whatever fails and however often",
    [Outcomes, Times],
    ([outcomes, times]) =>
      Effect.gen(function*() {
        const run = Effect.fnUntraced(function*(
          retry: (attempt: Effect.Effect<number, string>) => Effect.Effect<number, string>
        ) {
          const startedAt = yield* Clock.currentTimeMillis
          const made: Array<number> = []
          const attempt = Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const outcome = outcomes[made.push(now - startedAt) - 1] ?? "success"
            return outcome === "success" ? Effect.succeed(made.length) : Effect.fail(outcome)
          })
          const fiber = yield* Effect.forkChild(Effect.exit(retry(attempt)))
          yield* TestClock.adjust("1 hour")
          return { exit: yield* Fiber.join(fiber), made }
        })
        const schedule = Schedule.max([Schedule.exponential("1 second"), Schedule.recurs(times)]).pipe(
          Schedule.setInputType<string>()
        )
        const worth = (error: string) => error === "worth it"
        let paused = 0
        const onPause = Effect.sync(() => void paused++)
        const ours = yield* run((attempt) => Retrying.retry(attempt, schedule, Retrying.makePauses(), worth, onPause))
        assert.strictEqual(paused, ours.made.length - 1)
        assert.deepStrictEqual(ours, yield* run((attempt) => Effect.retry(attempt, { schedule, while: worth })))
      })
  )

  it.effect("a pause ends at once when it is told to, and each pause anew", () =>
    Effect.gen(function*() {
      const pauses = Retrying.makePauses()
      let made = 0
      const attempt = Effect.suspend(() => Effect.fail(++made))
      const schedule = Schedule.spaced("1 hour").pipe(Schedule.setInputType<number>())
      // Before there is one: nothing, then or later.
      pauses.endUnsafe()
      const fiber = yield* Effect.forkChild(
        Retrying.retry(attempt, schedule, pauses, (n) => n < 4, Effect.sync(() => made === 2 && pauses.endUnsafe()))
      )
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual(made, 1)
      // The second pause is ended by who hears of it.
      pauses.endUnsafe()
      pauses.endUnsafe()
      yield* TestClock.adjust(Duration.zero)
      assert.strictEqual(made, 3)
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* Fiber.await(fiber), Exit.fail(4))
      assert.strictEqual(made, 4)
      pauses.endUnsafe()
    }))
})
