/**
 * The deadlines of all waiting calls, behind one timer.
 *
 * Calls with the same timeout expire in the order in which they came, and a
 * program uses few timeouts. So there is one insertion-ordered set per timeout,
 * whose first member is the earliest: adding and removing cost a `Set` entry,
 * and the sets are looked through only when the timer fires. The timer follows
 * Effect's `Clock`, is started by the first deadline and is gone after the last.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberHandle from "effect/FiberHandle"
import type * as Scope from "effect/Scope"

/** @internal */
export interface Deadline {
  /** Milliseconds of the monotonic clock. */
  readonly startedAt: number
  readonly timeoutMillis: number
}

/** @internal */
export interface Deadlines<D extends Deadline> {
  /** To be added at the time at which it starts. It is removed, and then expires, unless it is removed before. */
  readonly add: (deadline: D) => void
  readonly remove: (deadline: D) => void
  readonly size: () => number
  /** Milliseconds of the monotonic clock. */
  readonly now: () => number
}

/** @internal */
export const make = Effect.fnUntraced(function*<D extends Deadline>(
  expire: (deadline: D) => void
): Effect.fn.Return<Deadlines<D>, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const runTimer = yield* FiberHandle.makeRuntime<never>()
  const byTimeout = new Map<number, Set<D>>()
  /** When the running timer wakes; infinite when there is none. */
  let wakesAt = Infinity

  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

  const expiry = (deadline: D) => deadline.startedAt + deadline.timeoutMillis

  const remove = (deadline: D) => {
    const set = byTimeout.get(deadline.timeoutMillis)
    if (set?.delete(deadline) === true && set.size === 0) byTimeout.delete(deadline.timeoutMillis)
  }

  /** Expires what is due, and returns when the next one is. */
  const expireDue = () => {
    const time = now()
    const due: Array<D> = []
    for (const set of byTimeout.values()) {
      for (const deadline of set) {
        if (expiry(deadline) > time) break
        due.push(deadline)
      }
    }
    for (const deadline of due) remove(deadline)
    for (const deadline of due) expire(deadline)
    // Only now: a caller that expired may have called again.
    let next = Infinity
    for (const [first] of byTimeout.values()) next = Math.min(next, expiry(first!))
    return next
  }

  const timer: Effect.Effect<void> = Effect.suspend(() => clock.sleep(Duration.millis(Math.max(0, wakesAt - now()))))
    .pipe(
      Effect.map(() => {
        wakesAt = expireDue()
        return wakesAt < Infinity
      }),
      Effect.repeat({ while: (more) => more }),
      Effect.asVoid
    )

  return {
    add(deadline) {
      const set = byTimeout.get(deadline.timeoutMillis)
      if (set === undefined) byTimeout.set(deadline.timeoutMillis, new Set([deadline]))
      else set.add(deadline)
      if (expiry(deadline) < wakesAt) {
        wakesAt = expiry(deadline)
        runTimer(timer)
      }
    },
    remove,
    now,
    size: () => {
      let size = 0
      for (const set of byTimeout.values()) size += set.size
      return size
    }
  }
})
