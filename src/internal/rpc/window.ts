/**
 * The window of a transport that stalls when many messages are under way. It is
 * for what the transport carries, not for how long the server takes: a call that
 * has waited for long was carried long ago, and no longer holds a place, or a slow
 * method would hold up the others.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Deadlines from "./deadlines.ts"

/** Longer than any transport takes that works, and short for who waits behind a slow method. */
const PatienceMillis = 250

/** @internal */
export interface Window {
  readonly hasRoom: () => boolean
  /** The call is sent. */
  readonly enter: (id: number) => void
  /** It is over. */
  readonly leave: (id: number) => void
}

interface Place extends Deadlines.Deadline {
  readonly id: number
}

/** @internal */
export const make = Effect.fnUntraced(function*(
  size: number,
  onRoom: () => void
): Effect.fn.Return<Window, never, Scope.Scope> {
  const places = new Map<number, Place>()
  const deadlines = yield* Deadlines.make<Place>({
    waiting: () => places.values(),
    expire({ id }) {
      if (places.delete(id)) onRoom()
    }
  })
  return {
    // One may always go, whatever number is given.
    hasRoom: () => places.size === 0 || places.size < size,
    enter(id) {
      const place = { id, startedAt: deadlines.now(), timeoutMillis: PatienceMillis }
      places.set(id, place)
      deadlines.start(place)
    },
    leave: (id) => void places.delete(id)
  }
})
