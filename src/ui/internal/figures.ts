/**
 * Calls per second and how long they took, over the last minutes. A second costs
 * the same however many calls it had.
 */
import type { Second } from "./protocol.ts"

export const Seconds = 300

/** Latencies are counted in classes that grow by a fifth: from 0.01 milliseconds to 100 seconds. */
const Growth = 1.2
const FirstMillis = 0.01
const Classes = 90

const classOf = (millis: number): number =>
  Math.min(Classes - 1, Math.max(0, Math.ceil(Math.log(millis / FirstMillis) / Math.log(Growth))))

interface Counted {
  readonly at: number
  calls: number
  errors: number
  answered: number
  waiting: number
  readonly latencies: Uint32Array
}

/** The upper end of the class that the share falls into. */
const quantile = ({ answered, latencies }: Counted, share: number): number => {
  let left = Math.ceil(answered * share)
  const index = latencies.findIndex((count) => (left -= count) <= 0)
  return FirstMillis * Growth ** index
}

export interface Figures {
  readonly called: () => void
  /** A call was answered, after so many milliseconds. */
  readonly answered: (millis: number, error: boolean) => void
  /** A call that nobody will answer: its connection is over, or it is no longer remembered. */
  readonly forgotten: () => void
  /** The seconds that are over, from `after` on; those without calls too. */
  readonly since: (after: number) => ReadonlyArray<Second>
}

/** `now` in seconds since the epoch. */
export const make = (now: () => number): Figures => {
  const kept: Array<Counted> = []
  let waiting = 0

  const begin = (at: number): Counted => {
    const begun = { at, calls: 0, errors: 0, answered: 0, waiting, latencies: new Uint32Array(Classes) }
    kept.push(begun)
    if (kept.length > Seconds) kept.shift()
    return begun
  }

  const current = (): Counted => {
    const at = Math.floor(now())
    const last = kept.at(-1)
    if (last === undefined || at - last.at > Seconds) {
      kept.length = 0
      return begin(at)
    }
    // The clock may have been put back.
    let newest = last
    while (newest.at < at) newest = begin(newest.at + 1)
    return newest
  }

  return {
    called() {
      const second = current()
      second.calls++
      second.waiting = ++waiting
    },
    answered(millis, error) {
      const second = current()
      second.answered++
      if (error) second.errors++
      const index = classOf(millis)
      second.latencies[index] = second.latencies[index]! + 1
      second.waiting = --waiting
    },
    forgotten() {
      current().waiting = --waiting
    },
    since(after) {
      const { at: running } = current()
      return kept.filter(({ at }) => at > after && at < running).map((second) => ({
        at: second.at,
        calls: second.calls,
        errors: second.errors,
        ...(second.answered === 0 ? {} : { p50: quantile(second, 0.5), p99: quantile(second, 0.99) }),
        waiting: second.waiting
      }))
    }
  }
}
