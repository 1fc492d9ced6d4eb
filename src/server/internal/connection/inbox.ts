/**
 * What happens to a connection, in order, for the one fiber that deals with it.
 * How much of what the client sent may wait there is limited.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { type Event, isMessage } from "./state.ts"

/** What a message costs beside its bytes, roughly: so that many small ones count as well. */
export const MessageOverheadBytes = 512

/** How much waits of what the client sent. */
export interface Load {
  /** Whether there is room for a message of so many bytes. When there is not, the connection is over. */
  readonly take: (bytes: number) => boolean
  /** The message was dealt with. */
  readonly free: (bytes: number) => void
}

export const makeLoad = (maxBytes: number, onOverflow: () => void): Load => {
  let waiting = 0
  return {
    take(bytes) {
      if (waiting + bytes + MessageOverheadBytes > maxBytes) {
        onOverflow()
        return false
      }
      waiting += bytes + MessageOverheadBytes
      return true
    },
    free(bytes) {
      waiting -= bytes + MessageOverheadBytes
    }
  }
}

export interface Inbox {
  readonly post: (event: Event) => void
  /**
   * Hands over one event after the other. What the client says is kept back, in order, while `isBusy` says so; whatever
   * else happens is not.
   */
  readonly run: (isBusy: () => boolean, handle: (event: Event) => Effect.Effect<void>) => Effect.Effect<never>
}

export const make = Effect.fnUntraced(function*(load: Load): Effect.fn.Return<Inbox> {
  const queue = yield* Queue.unbounded<Event>()
  return {
    post(event) {
      if (!isMessage(event) || load.take(event.text.length)) Queue.offerUnsafe(queue, event)
    },
    run: (isBusy, handle) => {
      const kept: Array<Event> = []
      return Effect.suspend(() => {
        const next = isBusy() ? undefined : kept.shift()
        return next === undefined ? Queue.take(queue) : Effect.succeed(next)
      }).pipe(
        Effect.flatMap((event) => {
          if (isMessage(event)) {
            if (isBusy()) {
              kept.push(event)
              return Effect.void
            }
            load.free(event.text.length)
          }
          return handle(event)
        }),
        Effect.forever
      )
    }
  }
})
