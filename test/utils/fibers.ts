import { Effect, Fiber, Metric } from "effect"

/** Runs an effect, and counts the fibers that were started in it and are not over. */
export const withFiberCount = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    let live = 0
    const service: Metric.FiberRuntimeMetricsService = {
      recordFiberStart: () => void live++,
      recordFiberEnd: () => void live--
    }
    return Effect.forkChild(self).pipe(
      Effect.flatMap(Fiber.join),
      Effect.provideService(Metric.FiberRuntimeMetrics, service),
      Effect.tap(Effect.yieldNow),
      Effect.map((value) => ({ value, leaked: () => live }))
    )
  })
