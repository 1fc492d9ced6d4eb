/**
 * Attempts one after the other, by a schedule, with pauses that may be cut short.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Hop from "../hop.ts"

/** @internal */
export interface Pauses {
  /** `begun` is run once the pause may be ended, and before it is over. */
  readonly sleep: (duration: Duration.Duration, begun: Effect.Effect<void>) => Effect.Effect<void>
  /** Ends the pause that there is, if there is one. */
  readonly endUnsafe: () => void
}

/** @internal */
export const makePauses = (): Pauses => {
  let current: Deferred.Deferred<void> | undefined
  return {
    sleep: (duration, begun) =>
      Effect.suspend(() => {
        const cut = Deferred.makeUnsafe<void>()
        current = cut
        return Effect.andThen(begun, Effect.raceFirst(Effect.sleep(duration), Hop.effect(Deferred.await(cut)))).pipe(
          Effect.ensuring(Effect.sync(() => {
            current = undefined
          }))
        )
      }),
    endUnsafe() {
      if (current !== undefined) Deferred.doneUnsafe(current, Exit.void)
    }
  }
}

/**
 * `Effect.retry`, for as long as another attempt is worth it and the schedule
 * goes on. `onPause` is run at the beginning of each pause.
 *
 * @internal
 */
export const retry = Effect.fnUntraced(function*<A, E, R>(
  attempt: Effect.Effect<A, E, R>,
  schedule: Schedule.Schedule<unknown, E>,
  pauses: Pauses,
  isWorthwhile: (error: E) => boolean,
  onPause: Effect.Effect<void>
): Effect.fn.Return<A, E, R> {
  const next = yield* Schedule.toStep(schedule)
  while (true) {
    const result = yield* Effect.result(attempt)
    if (Result.isSuccess(result)) return result.success
    const error = result.failure
    if (!isWorthwhile(error)) return yield* Effect.fail(error)
    const delay = yield* next(yield* Clock.currentTimeMillis, error).pipe(
      Effect.map(([, delay]) => delay),
      Pull.catchDone(() => Effect.succeed(undefined))
    )
    if (delay === undefined) return yield* Effect.fail(error)
    yield* pauses.sleep(delay, onPause)
  }
})
