import { Effect, Metric, Tracer } from "effect"

/** A tracer that keeps its spans. */
export const makeTracer = () => {
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span(options) {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return { spans, tracer }
}

/** The state of a metric with these attributes, among others. */
export const metric = (id: string, attributes: Record<string, string> = {}) =>
  Effect.map(Metric.snapshot, (states) =>
    states.find((state) =>
      state.id === id &&
      Object.entries(attributes).every(([name, value]) =>
        (state.attributes as Record<string, string>)?.[name] === value
      )
    )?.state as any)
