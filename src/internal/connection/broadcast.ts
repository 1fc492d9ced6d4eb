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
  Effect.sync(() => {
    // A PubSub has room from the start for all that its subscribers may fall behind by: not before somebody subscribes.
    let events: PubSub.PubSub<Take.Take<A>> | undefined
    const early: Array<Take.Take<A>> = []
    const tell = (take: Take.Take<A>) => {
      if (events !== undefined) return publish(events, take)
      if (early.length === limits.replay) early.shift()
      early.push(take)
    }
    const listened = () => {
      if (events !== undefined) return events
      const made = Effect.runSync(PubSub.sliding<Take.Take<A>>(limits))
      for (const take of early.splice(0)) publish(made, take)
      return events = made
    }
    return {
      publish: (event) => tell([event]),
      end: () => tell(Exit.void),
      stream: Hop.stream(Stream.suspend(() => Stream.fromPubSubTake(listened())))
    }
  })
