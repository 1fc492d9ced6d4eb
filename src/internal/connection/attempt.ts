/**
 * One attempt to connect, from its `metadata` to its `onConnected`, within
 * `connectTimeout` as a whole. What fails leaves nothing of it.
 *
 * Both are code of the program's own, which may fail, die, hang, or not stop
 * when it is told to: each runs in a fiber beside, which is waited for no longer
 * than the attempt lasts.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type { Socket } from "effect/socket"
import * as Tracer from "effect/Tracer"
import { PeerConnection } from "../../PeerConnection.ts"
import { RpcTransport } from "../../RpcTransport.ts"
import { ConnectionLost, ConnectTimeout, SoraConnectionError } from "../../SoraConnectionError.ts"
import * as SoraRpc from "../../SoraRpc.ts"
import * as Hop from "../hop.ts"
import * as CallSpans from "../rpc/callSpans.ts"
import type * as ReconnectingChannel from "../rpc/reconnectingChannel.ts"
import { metadataOf } from "./connectOptions.ts"
import type { Options, ServicesOf } from "./model.ts"
import type { Observe, OnMove } from "./observe.ts"
import * as Session from "./session.ts"

/** @internal */
export interface Attempt extends Session.Session {
  /** Ends it, with a goodbye. */
  readonly close: Effect.Effect<void>
}

/**
 * Runs code of the program's own until it is over, or until `stop` fails, which
 * counts when both happen in one turn: what came of the end of a connection is no
 * news. Stopped from within it has died: nobody else would hear of it.
 */
const guarded = <A, E, R, E2>(
  name: string,
  effect: Effect.Effect<A, E, R>,
  stop: Effect.Effect<never, E2>
): Effect.Effect<A, E | E2, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkDetach(Effect.interruptible(effect))
      const exit = yield* restore(Effect.raceFirst(Hop.effect(Fiber.await(fiber)), stop)).pipe(
        Effect.onError(() => Session.bounded(Fiber.interrupt(fiber), Session.StopGrace))
      )
      return yield* Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
        ? Effect.die(new Error(`${name} was interrupted from within`))
        : exit
    })
  )

const lostBy = (session: Session.Session) =>
  Effect.flatMap(session.ended, (reason) => new SoraConnectionError({ reason: new ConnectionLost({ reason }) }))

/**
 * Connects; the session ends with the scope, if it has not before. `number` is
 * asked when it is up; `port` is told of what `onConnected` calls over.
 *
 * @internal
 */
export const make = Effect.fnUntraced(function*<E, R, E2, R2>(
  options: Options<E, R, E2, R2>,
  it: {
    readonly scope: Scope.Scope
    readonly observer: Session.Observer
    readonly observe: Observe
    readonly onMove: OnMove | undefined
    /** Of the attempt: what the program's own code does is a part of it. */
    readonly span: Tracer.Span | undefined
    readonly rpc: SoraRpc.Options
    readonly number: () => number
    readonly port: () => ReconnectingChannel.ReconnectingChannel
  }
): Effect.fn.Return<
  Attempt,
  SoraConnectionError | E | E2,
  ServicesOf<R, R2> | PeerConnection | Socket.WebSocketConstructor
> {
  const { maxInFlight } = yield* PeerConnection
  const timeout = Session.connectTimeoutOf(options)
  const clock = yield* Clock.Clock
  const startedAt = clock.monotonicTimeNanosUnsafe()
  const timeLeft = () =>
    Duration.max(
      Duration.subtract(timeout, Duration.nanos(clock.monotonicTimeNanosUnsafe() - startedAt)),
      Duration.zero
    )
  const whenOver = (waitingFor: string) =>
    Effect.suspend(() => Effect.sleep(timeLeft())).pipe(
      Effect.andThen(Effect.fail(new SoraConnectionError({ reason: new ConnectTimeout({ waitingFor, timeout }) })))
    )

  const within = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    it.span === undefined ? effect : Effect.provideService(effect, Tracer.ParentSpan, it.span)

  const welcome = Effect.fnUntraced(function*(session: Session.Session) {
    const { onConnected } = options
    if (onConnected === undefined) return
    const port = it.port()
    port.attach(session.rpc())
    const forget = CallSpans.over(session.offer.connectionId, port.channel)
    const transport = {
      channel: port.channel,
      methodsUnsafe: session.rpcMethods,
      obstacleUnsafe: port.obstacle,
      maxInFlight,
      spanAttributesUnsafe: () => it.observe.whereOf(session)
    }
    const run = Effect.scoped(Effect.gen(function*() {
      const rpc = yield* Effect.orDie(Effect.provideService(SoraRpc.make(it.rpc), RpcTransport, transport))
      yield* Effect.provideService(
        onConnected({ offer: session.offer, number: it.number() }),
        SoraRpc.SoraRpc,
        rpc
      )
    }))
    yield* guarded("onConnected", within(run), Effect.raceFirst(lostBy(session), whenOver("onConnected"))).pipe(
      Effect.ensuring(Effect.sync(() => {
        forget()
        port.release()
      }))
    )
  })

  const { metadata: source } = options
  const metadata: Schema.Json | undefined = source === undefined
    ? undefined
    : yield* Effect.flatMap(
      Effect.isEffect(source)
        ? guarded("metadata", within(Effect.scoped(source)), whenOver("the metadata effect"))
        : Effect.succeed(source),
      metadataOf
    )
  const held = yield* Scope.fork(it.scope)
  const close = Scope.close(held, Exit.void)
  return yield* Session.connect(options, { metadata, timeLeft: timeLeft() }, it.observer, it.onMove).pipe(
    Scope.provide(held),
    Effect.tap(welcome),
    Effect.map((session) => ({ ...session, close })),
    Effect.onError(() => close)
  )
})
