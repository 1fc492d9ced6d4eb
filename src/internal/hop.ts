/**
 * A fiber that waits for an event is resumed within the loop that tells everybody
 * of it: what an observer of that fiber throws would come up there, before the
 * others are told. So such a fiber first yields, and goes on from the scheduler.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/**
 * For an effect that waits: its end is seen a turn later.
 *
 * @internal
 */
export const effect = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.onExit(self, () => Effect.yieldNow)

/**
 * For a stream of events: each, and the end, is seen a turn later.
 *
 * @internal
 */
export const stream = <A, E, R>(self: Stream.Stream<A, E, R>): Stream.Stream<A, E, R> =>
  self.pipe(
    Stream.tap(() => Effect.yieldNow),
    Stream.concat(Stream.fromEffectDrain(Effect.yieldNow))
  )
