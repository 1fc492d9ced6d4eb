/**
 * The connection that a program sees: one session, or, with `reconnect`, one
 * after the other under the same streams, state and `rpc` channel.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Socket } from "effect/socket"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type * as Tracer from "effect/Tracer"
import { ClientFault, type DisconnectReason, Released, ServerClosed } from "../../DisconnectReason.ts"
import { PeerConnection, type TrackEvent } from "../../PeerConnection.ts"
import { RpcTransport } from "../../RpcTransport.ts"
import type * as Signaling from "../../Signaling.ts"
import { SoraConnectionError } from "../../SoraConnectionError.ts"
import type { Options as RpcOptions } from "../../SoraRpc.ts"
import { reported } from "../defects.ts"
import * as Hop from "../hop.ts"
import { CloseCode, CloseReason } from "../protocol.ts"
import { shareIds } from "../rpc/client.ts"
import * as ReconnectingChannel from "../rpc/reconnectingChannel.ts"
import * as Attempt from "./attempt.ts"
import * as Broadcast from "./broadcast.ts"
import * as ConnectOptions from "./connectOptions.ts"
import * as Members from "./members.ts"
import * as Messaging from "./messaging.ts"
import { type Options, type ServicesOf, type SignalingEvent, SoraConnection, type State } from "./model.ts"
import * as Observe from "./observe.ts"
import * as Retrying from "./retrying.ts"
import type * as Session from "./session.ts"

/** Sora refuses a client that comes back before the old connection is gone (section 2.16). */
const Pause = Duration.seconds(1)

/** @internal */
export const reconnectSchedule: Schedule.Schedule<unknown> = Schedule.min([
  Schedule.exponential("1 second"),
  Schedule.spaced("30 seconds")
]).pipe(Schedule.jittered)

const scheduleOf = <E>(option: boolean | Schedule.Schedule<unknown, E> | undefined) =>
  option === true ? Schedule.setInputType<E>()(reconnectSchedule) : option === false ? undefined : option

/** Ends that were meant, by this program or by somebody with the server's API. */
const isFinal = (reason: DisconnectReason): boolean =>
  reason._tag === "Released" ||
  reason._tag === "ServerClosed" && reason.code === CloseCode.Normal && reason.reason === CloseReason.DisconnectedApi

/** Never what an error of the program's own says, which may hold a secret. */
const describe = (error: unknown): string =>
  error instanceof SoraConnectionError
    ? error.message
    : `metadata or onConnected failed${Predicate.hasProperty(error, "_tag") ? ` (${String(error._tag)})` : ""}`

const tellFailed = (error: unknown) => reported(Effect.logDebug(`attempt to connect failed: ${describe(error)}`))

/** Section 2.11: the vendor's tests saw Sora refuse it (4490 `INVALID-MESSAGE`). */
const unverified = reported(Effect.logWarning(
  "recvonly without audio and video is a connection that Sora probably refuses: for RPC alone, let role be sendonly"
))

/** What a page has, and Node has not. */
interface Platform {
  readonly check: ConnectOptions.Check
  /** Tells, until the scope closes, when it is worth trying again at once. */
  readonly watchNetwork: (isBack: () => void) => Effect.Effect<unknown, never, Scope.Scope>
}

/** Why it is over for good, when the last attempt says more than what broke the connection. */
const lastReason = (error: unknown): DisconnectReason | undefined => {
  if (!(error instanceof SoraConnectionError)) return undefined
  const { reason } = error
  return reason._tag === "Refused"
    ? new ServerClosed({ code: reason.code, reason: reason.reason })
    : reason._tag === "ConnectionLost" && isFinal(reason.reason)
    ? reason.reason
    : undefined
}

const makeWith = Effect.fnUntraced(function*<E, R, E2, R2>(
  options: Options<E, R, E2, R2>,
  rpc: RpcOptions,
  { check, watchNetwork }: Platform
): Effect.fn.Return<
  SoraConnection["Service"],
  SoraConnectionError | E | E2,
  ServicesOf<R, R2> | PeerConnection | Socket.WebSocketConstructor | Scope.Scope
> {
  yield* check(options)
  const { maxInFlight } = yield* PeerConnection
  if (options.role === "recvonly" && options.audio === false && options.video === false) yield* unverified
  const schedule = scheduleOf(options.reconnect)
  const retrySchedule = scheduleOf(options.retryConnect)
  const scope = yield* Effect.scope
  // Nobody sees the first one.
  const state = yield* SubscriptionRef.make<State>({ _tag: "Connected", connectionId: "", number: 0 })
  const signaling = yield* Broadcast.make<SignalingEvent>()
  const notify = yield* Broadcast.make<Signaling.Notify>()
  const push = yield* Broadcast.make<Signaling.Push>()
  const members = yield* Members.make
  const tracks = yield* Broadcast.make<TrackEvent>()
  const removedTracks = yield* Broadcast.make<TrackEvent>()
  const endsAll = (reason: DisconnectReason) => schedule === undefined || isFinal(reason)
  const channel = ReconnectingChannel.make(endsAll)
  /** What `onConnected` calls over, while it runs. */
  let port: ReconnectingChannel.ReconnectingChannel | undefined
  const pauses = Retrying.makePauses()
  const messaging = yield* Messaging.make(options.dataChannels)

  const observer: Session.Observer = {
    signaling: signaling.publish,
    offered: members.begin,
    // First the members: who hears of an event finds them up to date.
    notify(event) {
      members.notify(event)
      notify.publish(event)
    },
    push(event) {
      members.push(event)
      push.publish(event)
    },
    tracks: tracks.publish,
    removedTracks: removedTracks.publish,
    rpc(next) {
      channel.replace(next)
      port?.replace(next)
    },
    messaging
  }

  // `state` is written by the one fiber of `supervise`, and at the end by `finish`, once; `session` by `supervise` alone.
  let finished = false
  const observe = yield* Observe.make(options.channelId)
  const finish = (reason: DisconnectReason) =>
    Effect.suspend(() => {
      if (finished) return Effect.void
      finished = true
      observe.down()
      channel.end(reason)
      messaging.end(reason)
      for (const { end } of [signaling, notify, push, members, tracks, removedTracks]) end()
      return SubscriptionRef.set(state, { _tag: "Disconnected", reason })
    })
  // The first finalizer, so the last to run: by then the session has said goodbye.
  yield* Effect.addFinalizer(() => finish(new Released()))
  yield* watchNetwork(pauses.endUnsafe)

  let number = 1
  const connectWith = (onMove: Observe.OnMove | undefined, span: Tracer.Span | undefined) =>
    Attempt.make(options, {
      scope,
      observer,
      observe,
      onMove,
      span,
      rpc,
      number: () => number,
      port() {
        port = ReconnectingChannel.make(() => true)
        shareIds(channel.channel, port.channel)
        return port
      }
    })
  const connect = observe.connecting(connectWith)

  const isWorthwhile = (error: SoraConnectionError | E | E2): boolean => {
    if (!(error instanceof SoraConnectionError)) return true
    // Somebody may end it before it is up, too.
    const last = lastReason(error)
    if (last !== undefined && isFinal(last)) return false
    const { reason } = error
    // Another token may be taken, but not another `connect`.
    const mayChange = Effect.isEffect(options.metadata) && reason._tag === "Refused" &&
      reason.reason !== CloseReason.InvalidMessage
    return error.isRetryable || mayChange
  }

  /** First the channels and the members: who sees "Connected" may call, and asks who is there. */
  const welcome = (session: Attempt.Attempt) =>
    Effect.suspend(() => {
      observe.up(session, channel.channel)
      channel.attach(session.rpc())
      messaging.attach(session.outlets)
      members.up()
      const { connectionId } = session.offer
      return SubscriptionRef.set(state, { _tag: "Connected", connectionId, number: number++ })
    })

  let session = yield* retrySchedule === undefined
    ? connect
    : Retrying.retry(Effect.tapError(connect, tellFailed), retrySchedule, pauses, isWorthwhile, Effect.void)
  yield* welcome(session)

  const supervise = Effect.gen(function*() {
    while (true) {
      const reason = yield* session.ended
      if (schedule === undefined || endsAll(reason)) {
        // First the state: who learns of the end from a call finds it told here too.
        yield* finish(reason)
        return yield* session.close
      }
      observe.down()
      channel.interrupt(reason)
      messaging.interrupt(reason)
      members.down()
      let attempt = 1
      const announceNext = Effect.suspend(() =>
        SubscriptionRef.set(state, { _tag: "Reconnecting", reason, attempt: attempt++ })
      )
      yield* announceNext
      const next = yield* observe.reconnecting(reason, (span) =>
        Effect.gen(function*() {
          yield* session.close
          yield* Effect.sleep(Pause)
          return yield* observe.connecting(connectWith, span).pipe(
            Effect.tapError(tellFailed),
            (attempts) => Retrying.retry(attempts, schedule, pauses, isWorthwhile, announceNext),
            Effect.tapError((error) => {
              const last = lastReason(error) ?? reason
              const log = last._tag === "Released"
                ? Effect.void
                : reported(Effect.logWarning(`gave up reconnecting: ${describe(error)}`))
              return Effect.andThen(log, finish(last))
            }),
            Effect.orElseSucceed(() => undefined)
          )
        }))
      if (next === undefined) return
      session = next
      yield* welcome(session)
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
    messaging: messaging.of,
    transport: {
      channel: channel.channel,
      methodsUnsafe: () => session.rpcMethods(),
      obstacleUnsafe: channel.obstacle,
      maxInFlight,
      spanAttributesUnsafe: observe.where
    },
    state: SubscriptionRef.get(state),
    reconnectNow: Effect.sync(pauses.endUnsafe),
    changes: Hop.stream(Stream.takeUntil(SubscriptionRef.changes(state), ({ _tag }) => _tag === "Disconnected")),
    notify: notify.stream,
    push: push.stream,
    members: members.members,
    memberChanges: members.changes,
    tracks: tracks.stream,
    removedTracks: removedTracks.stream,
    signaling: signaling.stream
  }
})

const layerOf = <E, R>(
  connection: Effect.Effect<SoraConnection["Service"], E, R>
): Layer.Layer<SoraConnection | RpcTransport, E, Exclude<R, Scope.Scope>> =>
  Layer.effectContext(
    Effect.map(connection, (connection) =>
      Context.make(SoraConnection, connection).pipe(Context.add(RpcTransport, connection.transport)))
  )

const anywhere: Platform = { check: ConnectOptions.check, watchNetwork: () => Effect.void }

/** Its WebSocket takes no headers, and it is told when the network is back, but for what only looks like a page. */
const page: Platform = {
  check: ConnectOptions.checkWithoutHeaders,
  watchNetwork: (isBack) =>
    Effect.acquireRelease(
      Effect.sync(() => globalThis.addEventListener?.("online", isBack)),
      () => Effect.sync(() => globalThis.removeEventListener?.("online", isBack))
    )
}

/**
 * `rpc` are the options of the `SoraRpc` that `onConnected` has.
 *
 * @internal
 */
export const make = <E = never, R = never, E2 = never, R2 = never>(
  options: Options<E, R, E2, R2>,
  rpc: RpcOptions = {}
) => makeWith(options, rpc, anywhere)

/** @internal */
export const layer = <E = never, R = never, E2 = never, R2 = never>(options: Options<E, R, E2, R2>, rpc?: RpcOptions) =>
  layerOf(make(options, rpc))

/**
 * For a page.
 *
 * @internal
 */
export const layerOfPage = <E = never, R = never, E2 = never, R2 = never>(
  options: Options<E, R, E2, R2>,
  rpc: RpcOptions = {}
) => layerOf(makeWith(options, rpc, page))
