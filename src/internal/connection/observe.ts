/**
 * Spans and metrics of connections, under the names of OpenTelemetry's
 * conventions where those have one.
 *
 * A span is made only when a tracer other than Effect's own in-memory one is
 * there to see it, and one that throws is reported and ends no connection. No
 * attribute holds a URL, metadata or a message.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Tracer from "effect/Tracer"
import type { DisconnectReason } from "../../DisconnectReason.ts"
import type { RpcChannel } from "../../RpcChannel.ts"
import { SoraConnectionError } from "../../SoraConnectionError.ts"
import { isolated, report } from "../defects.ts"
import * as CallSpans from "../rpc/callSpans.ts"
import { isTraced } from "../rpc/observe.ts"
import { type Event, offerOf, type Phase, type State } from "./state.ts"

const connections = Metric.gauge("sora.client.connections", { description: "Connections that are up" })

const connectDuration = Metric.histogram("sora.client.connect.duration", {
  description: "Duration of attempts to connect, in seconds; those that failed have error.type",
  boundaries: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
})

const reconnects = Metric.counter("sora.client.reconnects", {
  description: "Connections that broke, by why, and what came of making them again",
  incremental: true
})

/**
 * Told of each event of a session that is being made, and where it stands after
 * it.
 *
 * @internal
 */
export type OnMove = (event: Event, state: State) => void

/** The steps of connecting: a span each. */
const Steps: { readonly [Tag in Phase["_tag"]]?: string } = {
  Dialling: "sora.dial",
  AwaitingOffer: "sora.await_offer",
  Negotiating: "sora.negotiate",
  Joining: "sora.join"
}

/**
 * Where a signaling URL goes, as OpenTelemetry names it.
 *
 * @internal
 */
export const serverOf = (url: string): Readonly<Record<string, unknown>> => {
  const parsed = URL.parse(url)
  if (parsed === null) return {}
  return {
    // An IPv6 address without its brackets.
    "server.address": parsed.hostname.replace(/^\[(.*)\]$/, "$1"),
    "server.port": parsed.port === "" ? (parsed.protocol === "wss:" ? 443 : 80) : Number(parsed.port)
  }
}

const annotate = (span: Tracer.Span, attributes: Readonly<Record<string, unknown>>) => {
  for (const [name, value] of Object.entries(attributes)) span.attribute(name, value)
}

/** In a span, if somebody is there to see it. */
const withSpan = <A, E, R>(
  name: string,
  options: Tracer.SpanOptionsNoTrace,
  use: (span: Tracer.Span | undefined, tracer: Tracer.Tracer) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const tracer = fiber.getRef(Tracer.Tracer)
    const clock = fiber.getRef(Clock.Clock)
    if (!isTraced(fiber)) return use(undefined, tracer)
    // Not `Effect.useSpan`, by which a tracer that throws would end the connection.
    return Effect.makeSpan(name, options).pipe(
      Effect.catchDefect((defect) => Effect.sync(() => report(defect))),
      Effect.flatMap((span) =>
        span === undefined
          ? use(undefined, tracer)
          : Effect.onExit(
            use(span, tracer),
            (exit) => Effect.sync(() => isolated(() => span.end(clock.currentTimeNanosUnsafe(), exit)))
          )
      )
    )
  })

/** A span for each step of the attempt that `attempt` stands for. */
const stepsOf = (attempt: Tracer.Span, tracer: Tracer.Tracer, clock: Clock.Clock) => {
  let phase: Phase["_tag"] | undefined
  let step: Tracer.Span | undefined
  let connectionId: string | undefined

  const end = (exit: Exit.Exit<unknown, unknown>) => {
    step?.end(clock.currentTimeNanosUnsafe(), exit)
    step = undefined
  }
  const enter = (next: Phase["_tag"]) => {
    if (next === phase) return
    phase = next
    const name = Steps[next]
    if (name === undefined) return next === "Connected" ? end(Exit.void) : undefined
    end(Exit.void)
    step = tracer.span({
      name,
      parent: Option.some(attempt),
      annotations: attempt.annotations,
      links: [],
      startTime: clock.currentTimeNanosUnsafe(),
      kind: "internal",
      root: false,
      sampled: attempt.sampled
    })
  }
  const moved: OnMove = (event, state) => {
    if (event._tag === "SocketOpen" && state.url === event.url) annotate(attempt, serverOf(event.url))
    const offer = offerOf(state)
    if (offer !== undefined && offer.connectionId !== connectionId) {
      connectionId = offer.connectionId
      attempt.attribute("sora.connection_id", connectionId)
    }
    if (event._tag === "PeerState") step?.event(`peer ${event.state}`, clock.currentTimeNanosUnsafe())
    if (event._tag === "Channel" && event.is === "open") {
      step?.event("channel open", clock.currentTimeNanosUnsafe(), { "sora.label": event.label })
    }
    enter(state.phase._tag)
  }
  isolated(() => enter("Dialling"))
  return {
    moved: (event: Event, state: State) => isolated(() => moved(event, state)),
    end: (exit: Exit.Exit<unknown, unknown>) => isolated(() => end(exit))
  }
}

/** Of an error of the program's own its tag alone. */
const errorTypeOf = (exit: Exit.Exit<unknown, unknown>): string | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  const failure = exit.cause.reasons.find((reason) => reason._tag === "Fail")
  if (failure === undefined) return "interrupted"
  const { error } = failure
  return error instanceof SoraConnectionError
    ? error.reason._tag
    : Predicate.hasProperty(error, "_tag")
    ? String(error._tag)
    : "_OTHER"
}

/** What of a connection spans say. */
interface Up {
  readonly offer: { readonly connectionId: string }
  /** The signaling URL. */
  readonly url: string
}

/** @internal */
export interface Observe {
  /** One attempt to connect, which has its span; as a part of making a connection again, in the span of that. */
  readonly connecting: <A, E, R>(
    attempt: (onMove: OnMove | undefined, span: Tracer.Span | undefined) => Effect.Effect<A, E, R>,
    parent?: Tracer.Span
  ) => Effect.Effect<A, E, R>
  /** Making a connection that broke again. It succeeds with nothing when it was given up. */
  readonly reconnecting: <A, R>(
    reason: DisconnectReason,
    reconnect: (span: Tracer.Span | undefined) => Effect.Effect<A | undefined, never, R>
  ) => Effect.Effect<A | undefined, never, R>
  /** A connection is up, and calls go over this channel. */
  readonly up: (session: Up, channel: RpcChannel) => void
  /** It is not up any more. */
  readonly down: () => void
  /** Where calls go, for their spans: over the current connection, or the last one. */
  readonly where: () => Readonly<Record<string, unknown>>
  /** The same of a connection that is not up yet. */
  readonly whereOf: (session: Up) => Readonly<Record<string, unknown>>
}

/** @internal */
export const make = Effect.fnUntraced(function*(channelId: string): Effect.fn.Return<Observe> {
  const context = yield* Effect.context<never>()
  const clock = yield* Clock.Clock
  const attributes = { "sora.channel_id": channelId }
  let where: Readonly<Record<string, unknown>> = attributes
  /** While a connection is up. */
  let forget: (() => void) | undefined

  const whereOf = ({ offer: { connectionId }, url }: Up) => ({
    ...attributes,
    "sora.connection_id": connectionId,
    ...serverOf(url)
  })

  return {
    connecting(attempt, parent) {
      const measured = <A, E, R>(self: Effect.Effect<A, E, R>, span?: Tracer.Span) =>
        Effect.suspend(() => {
          const startedAt = clock.currentTimeMillisUnsafe()
          return Effect.onExit(self, (exit) =>
            Effect.sync(() => {
              const error = errorTypeOf(exit)
              const duration = error === undefined
                ? connectDuration
                : Metric.withAttributes(connectDuration, { "error.type": error })
              duration.updateUnsafe((clock.currentTimeMillisUnsafe() - startedAt) / 1000, context)
              if (error !== undefined) isolated(() => span?.attribute("error.type", error))
            }))
        })
      return withSpan("sora.connect", { kind: "client", parent, attributes }, (span, tracer) => {
        if (span === undefined) return measured(attempt(undefined, undefined))
        const steps = stepsOf(span, tracer, clock)
        return measured(Effect.onExit(attempt(steps.moved, span), (exit) => Effect.sync(() => steps.end(exit))), span)
      })
    },
    reconnecting(reason, reconnect) {
      const counted = <A, R>(self: Effect.Effect<A | undefined, never, R>, span?: Tracer.Span) =>
        Effect.onExit(self, (exit) =>
          Effect.sync(() => {
            const outcome = Exit.isFailure(exit) ? "released" : exit.value === undefined ? "gave_up" : "connected"
            Metric.withAttributes(reconnects, { reason: reason._tag, outcome }).updateUnsafe(1, context)
            isolated(() => span?.attribute("sora.reconnect.outcome", outcome))
          }))
      return withSpan("sora.reconnect", {
        // It may come months after what began the connection.
        root: true,
        attributes: { ...attributes, "sora.disconnect.reason": reason._tag }
      }, (span) => counted(reconnect(span), span))
    },
    up(session, channel) {
      connections.modifyUnsafe(1, context)
      where = whereOf(session)
      forget = CallSpans.over(session.offer.connectionId, channel)
    },
    down() {
      if (forget === undefined) return
      connections.modifyUnsafe(-1, context)
      forget()
      forget = undefined
    },
    where: () => where,
    whereOf
  }
})
