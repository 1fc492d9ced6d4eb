/**
 * The connection that a program sees: one session, or, with `reconnect`, one
 * after the other under the same streams, state and `rpc` channel.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { Socket } from "effect/socket"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { ClientFault, type DisconnectReason, Released, ServerClosed } from "../../DisconnectReason.ts"
import type { PeerConnection, TrackEvent } from "../../PeerConnection.ts"
import { RpcTransport } from "../../RpcTransport.ts"
import type * as Signaling from "../../Signaling.ts"
import type { SoraConnectionError } from "../../SoraConnectionError.ts"
import { reported } from "../defects.ts"
import * as Hop from "../hop.ts"
import { CloseCode, CloseReason } from "../protocol.ts"
import * as ReconnectingChannel from "../rpc/reconnectingChannel.ts"
import * as Broadcast from "./broadcast.ts"
import * as ConnectOptions from "./connectOptions.ts"
import { type Options, type SignalingEvent, SoraConnection, type State } from "./model.ts"
import * as Session from "./session.ts"

/** Sora refuses a client that comes back before the old connection is gone (section 2.16). */
const Pause = Duration.seconds(1)

/** @internal */
export const reconnectSchedule: Schedule.Schedule<unknown, SoraConnectionError> = Schedule.min([
  Schedule.exponential("1 second"),
  Schedule.spaced("30 seconds")
]).pipe(Schedule.jittered, Schedule.setInputType<SoraConnectionError>())

const scheduleOf = (option: Options["reconnect"]): Schedule.Schedule<unknown, SoraConnectionError> | undefined =>
  option === true ? reconnectSchedule : option === false ? undefined : option

const retryOn = (schedule: Schedule.Schedule<unknown, SoraConnectionError>) => ({
  schedule,
  while: (error: SoraConnectionError) => error.isRetryable
})

/** Ends that were meant, by this program or by somebody with the server's API. */
const isFinal = (reason: DisconnectReason): boolean =>
  reason._tag === "Released" ||
  reason._tag === "ServerClosed" && reason.code === CloseCode.Normal && reason.reason === CloseReason.DisconnectedApi

const makeWith = Effect.fnUntraced(function*(
  options: Options,
  check: ConnectOptions.Check
): Effect.fn.Return<
  SoraConnection["Service"],
  SoraConnectionError,
  PeerConnection | Socket.WebSocketConstructor | Scope.Scope
> {
  yield* check(options)
  const schedule = scheduleOf(options.reconnect)
  const retrySchedule = scheduleOf(options.retryConnect)
  const scope = yield* Effect.scope
  const state = yield* SubscriptionRef.make<State>({ _tag: "Connected", switched: false })
  const signaling = yield* Broadcast.make<SignalingEvent>()
  const notify = yield* Broadcast.make<Signaling.Notify>()
  const push = yield* Broadcast.make<Signaling.Push>()
  const tracks = yield* Broadcast.make<TrackEvent>()
  const removedTracks = yield* Broadcast.make<TrackEvent>()
  const endsAll = (reason: DisconnectReason) => schedule === undefined || isFinal(reason)
  const channel = ReconnectingChannel.make(endsAll)

  const observer: Session.Observer = {
    signaling: signaling.publish,
    notify: notify.publish,
    push: push.publish,
    tracks: tracks.publish,
    removedTracks: removedTracks.publish,
    rpc: channel.replace,
    // While a session is being made, that it switched is told with its "Connected".
    switched: SubscriptionRef.update(
      state,
      (current): State => current._tag === "Connected" ? { _tag: "Connected", switched: true } : current
    )
  }

  // `state` is written by the session that is up when it switches, by the one fiber of `supervise`, and at the end by
  // `finish`, once; `session` by `supervise` alone.
  let finished = false
  const finish = (reason: DisconnectReason) =>
    Effect.suspend(() => {
      if (finished) return Effect.void
      finished = true
      channel.end(reason)
      for (const { end } of [signaling, notify, push, tracks, removedTracks]) end()
      return SubscriptionRef.set(state, { _tag: "Disconnected", reason })
    })
  // The first finalizer, so the last to run: by then the session has said goodbye.
  yield* Effect.addFinalizer(() => finish(new Released()))

  const connect = Effect.gen(function*() {
    const held = yield* Scope.fork(scope)
    const session = yield* Session.connect(options, observer).pipe(
      Scope.provide(held),
      Effect.onError(() => Scope.close(held, Exit.void))
    )
    return { ...session, close: Scope.close(held, Exit.void) }
  })

  let session = yield* retrySchedule === undefined ? connect : Effect.retry(connect, retryOn(retrySchedule))
  channel.attach(session.rpc)
  yield* SubscriptionRef.set(state, { _tag: "Connected", switched: session.switched() })

  const supervise = Effect.gen(function*() {
    while (true) {
      const reason = yield* session.ended
      if (schedule === undefined || endsAll(reason)) {
        // First the state: who learns of the end from a call finds it told here too.
        yield* finish(reason)
        return yield* session.close
      }
      channel.interrupt(reason)
      let attempt = 1
      const announce = Effect.suspend(() => SubscriptionRef.set(state, { _tag: "Reconnecting", reason, attempt }))
      yield* announce
      yield* session.close
      yield* Effect.sleep(Pause)
      const next = yield* connect.pipe(
        Effect.tapError(({ message }) => {
          attempt++
          return Effect.andThen(reported(Effect.logDebug(`attempt to reconnect failed: ${message}`)), announce)
        }),
        Effect.retry(retryOn(schedule)),
        Effect.tapError(({ message, reason: cause }) =>
          Effect.andThen(
            reported(Effect.logWarning(`gave up reconnecting: ${message}`)),
            finish(cause._tag === "Refused" ? new ServerClosed({ code: cause.code, reason: cause.reason }) : reason)
          )
        ),
        Effect.orElseSucceed(() => undefined)
      )
      if (next === undefined) return
      session = next
      // First the channel: who sees "Connected" may call.
      channel.attach(session.rpc)
      yield* SubscriptionRef.set(state, { _tag: "Connected", switched: session.switched() })
    }
  }).pipe(
    // A schedule or a logger may die, and nobody else would end what it leaves.
    Effect.catchDefect((cause) =>
      Effect.andThen(finish(new ClientFault({ cause })), Effect.suspend(() => session.close))
    )
  )
  yield* Effect.forkIn(supervise, scope)

  return {
    offer: Effect.sync(() => session.offer),
    peerConnection: Effect.sync(() => session.peer),
    dataChannels: Effect.sync(() => session.dataChannels()),
    transport: {
      channel: channel.channel,
      methodsUnsafe: () => session.rpcMethods(),
      obstacleUnsafe: channel.obstacle
    },
    state: SubscriptionRef.get(state),
    changes: Hop.stream(Stream.takeUntil(SubscriptionRef.changes(state), ({ _tag }) => _tag === "Disconnected")),
    notify: notify.stream,
    push: push.stream,
    tracks: tracks.stream,
    removedTracks: removedTracks.stream,
    signaling: signaling.stream
  }
})

const layerOf = <R>(
  connection: Effect.Effect<SoraConnection["Service"], SoraConnectionError, R>
): Layer.Layer<SoraConnection | RpcTransport, SoraConnectionError, Exclude<R, Scope.Scope>> =>
  Layer.effectContext(
    Effect.map(connection, (connection) =>
      Context.make(SoraConnection, connection).pipe(Context.add(RpcTransport, connection.transport)))
  )

/** @internal */
export type ConnectionLayer = Layer.Layer<
  SoraConnection | RpcTransport,
  SoraConnectionError,
  PeerConnection | Socket.WebSocketConstructor
>

/** @internal */
export const make = (options: Options) => makeWith(options, ConnectOptions.check)

/** @internal */
export const layer = (options: Options): ConnectionLayer => layerOf(make(options))

/**
 * For a page, whose WebSocket takes no headers.
 *
 * @internal
 */
export const layerOfPage = (options: Options): ConnectionLayer =>
  layerOf(makeWith(options, ConnectOptions.checkWithoutHeaders))
