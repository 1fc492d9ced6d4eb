/**
 * The deadlines of all waiting calls, behind one timer.
 *
 * Nearly every call ends in time, so a deadline must cost nothing then: all that
 * is kept is when the timer wakes. Only when it does are the calls looked
 * through, for those that are due and for when the next one is. A call moves the
 * timer only if it is due before it. The timer follows Effect's `Clock`, and is
 * gone when it wakes and finds no deadline.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"

/** @internal */
export interface Deadline {
  /** Milliseconds of the monotonic clock. */
  readonly startedAt: number
  /** Infinite when there is none. */
  readonly timeoutMillis: number
}

/** @internal */
export interface Deadlines<D extends Deadline> {
  /** For a deadline that waits now: when its time is over it expires, if it still waits. */
  readonly start: (deadline: D) => void
  /** Milliseconds of the monotonic clock. */
  readonly now: () => number
}

/** @internal */
export const make = Effect.fnUntraced(function*<D extends Deadline>(options: {
  readonly waiting: () => Iterable<D>
  readonly expire: (deadline: D) => void
}): Effect.fn.Return<Deadlines<D>, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  let running: Fiber.Fiber<unknown> | undefined
  yield* Effect.addFinalizer(() => running === undefined ? Effect.void : Fiber.interrupt(running))
  /** When the running timer wakes; infinite when there is none. */
  let wakesAt = Infinity

  /** Milliseconds that make no difference, in a sum of numbers that are not whole: without them a timer spins. */
  const epsilon = 0.001

  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

  const expiry = (deadline: D) => deadline.startedAt + deadline.timeoutMillis

  const expireDue = () => {
    const time = now()
    const due: Array<D> = []
    wakesAt = Infinity
    for (const deadline of options.waiting()) {
      if (expiry(deadline) <= time + epsilon) due.push(deadline)
      else wakesAt = Math.min(wakesAt, expiry(deadline))
    }
    // Only now: a caller that expires may call again, and start the timer anew.
    for (const deadline of due) options.expire(deadline)
  }

  const untilNext = Effect.suspend(() => Effect.sleep(Math.max(epsilon, wakesAt - now())))

  const timer = untilNext.pipe(
    Effect.andThen(Effect.sync(expireDue)),
    Effect.repeat({ while: () => wakesAt < Infinity })
  )

  return {
    start(deadline) {
      if (expiry(deadline) >= wakesAt) return
      wakesAt = expiry(deadline)
      running?.interruptUnsafe()
      running = runFork(timer)
    },
    now
  }
})
