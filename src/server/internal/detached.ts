/**
 * The user's code, which may not end when it is told to.
 */
import * as Effect from "effect/Effect"

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
      fiber.addObserver(resume)
      return Effect.sync(() => fiber.interruptUnsafe())
    })
  )
