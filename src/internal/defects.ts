/**
 * What somebody else's code throws when it is called from here: an observer of a
 * caller's fiber, a listener, a WebRTC implementation. Its owner is told once, as
 * of any uncaught exception, and no other call may suffer from it.
 */
import * as Effect from "effect/Effect"

/**
 * Hands a defect to the process, as an uncaught exception, or to the page, as
 * an `error` event of its window.
 *
 * @internal
 */
export const report = (defect: unknown): void => {
  const { reportError } = globalThis as { readonly reportError?: (error: unknown) => void }
  if (reportError !== undefined) return reportError(defect)
  queueMicrotask(() => {
    throw defect
  })
}

/**
 * For an effect that runs code of the program's own, such as a log: what that
 * throws is reported, and nothing else comes of it.
 *
 * @internal
 */
export const reported = (effect: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.catchDefect(effect, (defect) => Effect.sync(() => report(defect)))

/**
 * Runs what must not throw into the code that calls it.
 *
 * @internal
 */
export const isolated = (run: () => void): void => {
  try {
    run()
  } catch (defect) {
    report(defect)
  }
}
