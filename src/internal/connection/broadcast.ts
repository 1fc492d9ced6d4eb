/**
 * Events of a connection for whoever listens, at any time.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type * as Take from "effect/Take"
import * as Hop from "../hop.ts"

/** Events that a new subscriber gets from before it came, and that it may fall behind by. */
const Limits = { replay: 64, capacity: 1024 }

/** @internal */
export interface Broadcast<A> {
  readonly publish: (event: A) => void
  /** Ends the streams of all subscribers. */
  readonly end: () => void
  readonly stream: Stream.Stream<A>
}

/** Not `publishUnsafe`, which takes nothing for anybody while one subscriber is full. */
const publish = <A>(events: PubSub.PubSub<A>, event: A): void => void Effect.runSync(PubSub.publish(events, event))

/** @internal */
export const make = <A>(limits = Limits): Effect.Effect<Broadcast<A>> =>
  Effect.map(PubSub.sliding<Take.Take<A>>(limits), (events) => ({
    publish: (event) => publish(events, [event]),
    end: () => publish<Take.Take<A>>(events, Exit.void),
    stream: Hop.stream(Stream.fromPubSubTake(events))
  }))
