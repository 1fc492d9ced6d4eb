/**
 * Who waits for an answer of the client. Answers have no ids: they belong to the
 * questions in the order in which those were asked.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { SoraServerError } from "../serverError.ts"

export interface Waiting<A> {
  /** Asks, and waits. What could not be asked is not waited for. */
  readonly ask: (question: Effect.Effect<void, SoraServerError>) => Effect.Effect<A, SoraServerError>
  /** The next answer has come. Nobody need have asked. */
  readonly answer: (value: A) => void
  /** No more answers come. */
  readonly giveUp: () => void
}

const connectionEnded = new SoraServerError({ message: "the connection ended" })

export const make = <A>(): Waiting<A> => {
  const waiting = new Set<Deferred.Deferred<A, SoraServerError>>()
  let isOver = false
  return {
    ask: (question) =>
      Effect.suspend(() => {
        if (isOver) return Effect.fail(connectionEnded)
        const answered = Deferred.makeUnsafe<A, SoraServerError>()
        waiting.add(answered)
        return question.pipe(
          Effect.onError(() => Effect.sync(() => waiting.delete(answered))),
          Effect.andThen(Deferred.await(answered))
        )
      }),
    answer(value) {
      for (const first of waiting) {
        waiting.delete(first)
        Deferred.doneUnsafe(first, Exit.succeed(value))
        return
      }
    },
    giveUp() {
      isOver = true
      for (const answered of waiting) Deferred.doneUnsafe(answered, Exit.fail(connectionEnded))
      waiting.clear()
    }
  }
}
