/**
 * What is counted in the hostile soak: every call and what became of it, and
 * everything that must not be.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** What the soak throws itself. It may come out where it was thrown in, and nowhere else. */
export class Provoked extends Error {
  override readonly name = "Provoked"
}

/** What a call may take beyond its timeout on a machine that is busy. */
const GraceMillis = 3000

export interface Expected {
  /** When the call is over at the latest. */
  readonly withinMillis: number
  /** How it may end, beside interruption and the end of its connection. */
  readonly as: ReadonlyArray<string>
}

interface Entry extends Expected {
  readonly where: string
  readonly startedAt: number
  state: "open" | "ended" | "missed"
}

type Failure = { readonly _tag: string; readonly reason?: unknown; readonly message?: string }

const messageOf = (cause: Cause.Cause<unknown>): string => {
  const squashed = Cause.squash(cause)
  return squashed instanceof Error ? `${squashed.name}: ${squashed.message}`.slice(0, 200) : String(squashed)
}

/** `ok`, `interrupted`, `DEFECT`, or the tag of the error and of its reason. */
export const kindOf = (exit: Exit.Exit<unknown, Failure>): string => {
  if (Exit.isSuccess(exit)) return "ok"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interrupted"
  if (Cause.hasDies(exit.cause)) return "DEFECT"
  const { _tag, reason } = exit.cause.reasons.find(Cause.isFailReason)!.error
  return _tag === "RpcError" ? `RpcError/${(reason as Failure)._tag}` : _tag
}

export interface Problem {
  readonly what: string
  /** The first few scenarios in which it happened, with their iteration. */
  readonly where: Array<string>
  count: number
}

export const make = () => {
  const open = new Set<Entry>()
  const ends = new Map<string, number>()
  const problems = new Map<string, Problem>()
  const made = { calls: 0, connections: 0, attempts: 0 }
  const provoked = { thrown: 0, caught: 0 }

  /** Equal ones are told once; what differs from time to time, such as ids and ports, makes no difference. */
  const problem = (where: string, what: string, kind = what) => {
    const scenario = where.split("#")[0]!
    const key = `${scenario} ${kind.replace(/\b[0-9A-Z]{26}\b|\d+/g, "…")}`
    const known = problems.get(key)
    if (known === undefined) problems.set(key, { what, where: [where], count: 1 })
    else {
      known.count++
      if (known.where.length < 3) known.where.push(where)
    }
    return known === undefined
  }

  const begin = (where: string, expected: Expected): Entry => {
    const entry: Entry = { ...expected, where, startedAt: performance.now(), state: "open" }
    made.calls++
    open.add(entry)
    return entry
  }

  const end = (entry: Entry, exit: Exit.Exit<unknown, Failure>) => {
    open.delete(entry)
    // Told already, as one that does not end.
    if (entry.state === "missed") return
    if (entry.state === "ended") return void problem(entry.where, "a call ended twice")
    entry.state = "ended"
    const kind = kindOf(exit)
    ends.set(kind, (ends.get(kind) ?? 0) + 1)
    const late = performance.now() - entry.startedAt - entry.withinMillis
    if (late > GraceMillis) {
      problem(entry.where, `a call that may take ${entry.withinMillis} ms ended as ${kind} too late`)
    }
    if (kind === "interrupted" || kind === "Disconnected" || entry.as.includes(kind)) return
    problem(
      entry.where,
      `a call ended as ${kind}, where it may as ${entry.as.join(", ")}: ${
        Exit.isFailure(exit) ? messageOf(exit.cause) : ""
      }`
    )
  }

  return {
    made,
    ends,
    problems,
    problem,
    provoked,
    /** Counts a call, and looks at how it ends. */
    call: <A, E extends Failure, R>(where: string, expected: Expected, call: Effect.Effect<A, E, R>) =>
      Effect.suspend(() => {
        const entry = begin(where, expected)
        return Effect.onExit(call, (exit) => Effect.sync(() => end(entry, exit)))
      }),
    /** The same for a call with a callback, which `onExit` is told of. */
    callback: <A, E extends Failure>(
      where: string,
      expected: Expected,
      call: Effect.Effect<A, E>,
      onExit: (exit: Exit.Exit<A, E>) => void
    ) => {
      const entry = begin(where, expected)
      return Effect.runCallback(call, {
        onExit: (exit) => {
          end(entry, exit)
          onExit(exit)
        }
      })
    },
    /** Calls that are not over and should be. Each is told once. */
    checkOverdue() {
      const now = performance.now()
      for (const entry of open) {
        if (now - entry.startedAt <= entry.withinMillis + GraceMillis) continue
        open.delete(entry)
        ends.set("NEVER", (ends.get("NEVER") ?? 0) + 1)
        entry.state = "missed"
        problem(entry.where, `a call that may take ${entry.withinMillis} ms has not ended`)
      }
    },
    open: () => open.size,
    messageOf
  }
}

export type Ledger = ReturnType<typeof make>
