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
  expiresAt: number
  readonly timeoutMillis: number
  readonly expire: () => void
}

/** @internal */
export interface Deadlines {
  /** Sets `expiresAt`, and calls `expire` then unless the deadline is removed before. */
  readonly add: (deadline: Deadline) => void
  readonly remove: (deadline: Deadline) => void
  readonly size: () => number
  /** Milliseconds of the monotonic clock. */
  readonly now: () => number
}

/** @internal */
export const make: Effect.Effect<Deadlines, never, Scope.Scope> = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const runTimer = yield* FiberHandle.makeRuntime<never>()
  const byTimeout = new Map<number, Set<Deadline>>()
  /** When the running timer wakes; infinite when there is none. */
  let wakesAt = Infinity

  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

  const remove = (deadline: Deadline) => {
    const set = byTimeout.get(deadline.timeoutMillis)
    if (set?.delete(deadline) === true && set.size === 0) byTimeout.delete(deadline.timeoutMillis)
  }

  /** Expires what is due, and returns when the next one is. */
  const expireDue = () => {
    const time = now()
    const due: Array<Deadline> = []
    for (const set of byTimeout.values()) {
      for (const deadline of set) {
        if (deadline.expiresAt > time) break
        due.push(deadline)
      }
    }
    for (const deadline of due) remove(deadline)
    for (const deadline of due) deadline.expire()
    // Only now: a caller that expired may have called again.
    let next = Infinity
    for (const [first] of byTimeout.values()) next = Math.min(next, first!.expiresAt)
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
      deadline.expiresAt = now() + deadline.timeoutMillis
      const set = byTimeout.get(deadline.timeoutMillis)
      if (set === undefined) byTimeout.set(deadline.timeoutMillis, new Set([deadline]))
      else set.add(deadline)
      if (deadline.expiresAt < wakesAt) {
        wakesAt = deadline.expiresAt
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
