/**
 * Spans and metrics of calls, under the names of OpenTelemetry's RPC and
 * JSON-RPC conventions (semantic conventions 1.45).
 *
 * A span is made only when a tracer other than Effect's own in-memory one is
 * there to see it. Metrics have their attributes bound once per method.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Tracer from "effect/Tracer"
import type { RpcTransport } from "../../RpcTransport.ts"
import type { Caller } from "../../SoraMethod.ts"
import type { ServerError, SoraRpcError } from "../../SoraRpcError.ts"
import { isolated } from "../defects.ts"
import * as CallSpans from "./callSpans.ts"

const callDuration = Metric.histogram("rpc.client.call.duration", {
  description: "Duration of outgoing calls, in seconds",
  boundaries: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
})

const callErrors = Metric.counter("sora.rpc.client.errors", {
  description: "Calls and notifications that were accepted for sending, and failed",
  incremental: true
})

const droppedResponses = Metric.counter("sora.rpc.client.responses.dropped", {
  description: "Frames that ended no call: late, without a known id, or malformed",
  incremental: true
})

const waitingCalls = Metric.gauge("sora.rpc.client.waiting", {
  description: "Calls that wait for their response or to be sent"
})

/** @internal */
export interface MethodMetrics {
  readonly ended: (exit: Exit.Exit<unknown, SoraRpcError>, seconds: number) => void
}

/** @internal */
export const make = (context: Context.Context<never>) => {
  return {
    dropped: (reason: "late" | "uncorrelated" | "malformed") =>
      Metric.withAttributes(droppedResponses, { reason }).updateUnsafe(1, context),
    forMethod(method: string): MethodMetrics {
      const attributes = { "rpc.system.name": "jsonrpc", "rpc.method": method }
      const duration = Metric.withAttributes(callDuration, attributes)
      return {
        ended(exit, seconds) {
          duration.updateUnsafe(seconds, context)
          const error = errorOf(exit)
          if (error !== undefined) {
            Metric.withAttributes(callErrors, { ...attributes, "error.type": errorType(error) }).updateUnsafe(
              1,
              context
            )
          }
        }
      }
    },
    waiting: (change: 1 | -1) => waitingCalls.modifyUnsafe(change, context)
  }
}

const errorOf = (exit: Exit.Exit<unknown, SoraRpcError>): SoraRpcError | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  const reason = exit.cause.reasons.find((reason) => reason._tag === "Fail")
  return reason?.error
}

/** The server's code, or the tag of what went wrong on this side. */
const errorType = (error: SoraRpcError): string =>
  error._tag !== "RpcError" ? error._tag : error.reason._tag === "ServerError" ? String(error.code) : error.reason._tag

/**
 * Whether anybody sees spans: Effect's own tracer keeps them in memory and shows
 * them to nobody.
 *
 * @internal
 */
export const isTraced = (fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  fiber.getRef(Tracer.Tracer) !== Tracer.nativeTracer

/**
 * Tells the span of a failure before the caller is told.
 *
 * @internal
 */
export const recording =
  (span: Tracer.Span, resume: (exit: Exit.Exit<any, SoraRpcError>) => void) => (exit: Exit.Exit<any, SoraRpcError>) => {
    const error = errorOf(exit)
    if (error === undefined) return resume(exit)
    try {
      span.attribute("error.type", errorType(error))
      if (error._tag === "RpcError") span.attribute("rpc.response.status_code", String(error.code))
    } catch (defect) {
      // The application's tracer threw. The call dies of it; others end as ever.
      return resume(Exit.die(defect))
    }
    resume(exit)
  }

/**
 * Tells a span where its call goes.
 *
 * @internal
 */
export const locate = (span: Tracer.Span, { spanAttributesUnsafe }: RpcTransport["Service"]): void =>
  isolated(() => {
    for (const [name, value] of Object.entries(spanAttributesUnsafe?.() ?? {})) span.attribute(name, value)
  })

const attributesOf = (method: string, id: unknown): Record<string, unknown> => {
  const attributes: Record<string, unknown> = {
    "rpc.system.name": "jsonrpc",
    "rpc.method": method,
    "jsonrpc.protocol.version": "2.0"
  }
  if (id !== undefined) attributes["jsonrpc.request.id"] = String(id)
  return attributes
}

/** @internal */
export const traced = <A>(
  call: (span: Tracer.Span) => Effect.Effect<A, SoraRpcError>,
  method: string,
  id: number | undefined,
  { spanAttributesUnsafe }: RpcTransport["Service"]
): Effect.Effect<A, SoraRpcError> => {
  const attributes = attributesOf(method, id)
  if (spanAttributesUnsafe !== undefined) Object.assign(attributes, spanAttributesUnsafe())
  return Effect.useSpan(method, { kind: "client", attributes }, call)
}

/**
 * What a server does for a call, in a span that continues the client's where that
 * is in this process.
 *
 * @internal
 */
export const served = <A, R>(
  handled: Effect.Effect<A, ServerError, R>,
  method: string,
  id: unknown,
  { channelId, connectionId }: Caller
): Effect.Effect<A, ServerError, R> =>
  Effect.withFiber((fiber) => {
    if (!isTraced(fiber)) return handled
    const parent = CallSpans.find(connectionId, id)
    const attributes = { ...attributesOf(method, id), "sora.channel_id": channelId, "sora.connection_id": connectionId }
    return Effect.useSpan(method, { kind: "server", parent, root: parent === undefined, attributes }, (span) =>
      Effect.tapError(Effect.withParentSpan(handled, span), ({ code }) =>
        Effect.sync(() => {
          span.attribute("error.type", String(code))
          span.attribute("rpc.response.status_code", String(code))
        })))
  })
