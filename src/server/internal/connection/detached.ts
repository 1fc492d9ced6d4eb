/**
 * The user's code, which may not end when it is told to, or end by itself as if
 * it had been told to.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/**
 * The same in a fiber of its own: who waits for it can be interrupted at once,
 * and it is then told to end, and not waited for.
 *
 * @internal
 */
export const detached = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.contextWith((context) =>
    Effect.callback((resume) => {
      const fiber = Effect.runForkWith(context)(effect)
      fiber.addObserver((exit) =>
        resume(
          Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)
            // By us it was not: nobody would listen any more.
            ? Effect.die(new Error("it interrupted itself", { cause: Cause.squash(exit.cause) }))
            : exit
        )
      )
      return Effect.sync(() => fiber.interruptUnsafe())
    })
  )
