/**
 * The end of a connection: whoever decides on it says so here, and the first one
 * counts. `closing.ts` carries it out.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { End } from "../ends.ts"

export interface Ending {
  readonly end: (by: End) => void
  /** Whether the end has begun: nothing of the client's is looked at any more. */
  readonly isOver: () => boolean
  /** Waits for the end to begin. */
  readonly begun: Effect.Effect<End>
}

export const make: Effect.Effect<Ending> = Effect.sync(() => {
  const begun = Deferred.makeUnsafe<End>()
  return {
    end: (by) => void Deferred.doneUnsafe(begun, Exit.succeed(by)),
    isOver: () => Deferred.isDoneUnsafe(begun),
    begun: Deferred.await(begun)
  }
})
