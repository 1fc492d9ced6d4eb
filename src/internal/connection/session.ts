/**
 * One connection to Sora: carries out what `machine.ts` wants done.
 *
 * Everything that happens (a WebSocket message, a DataChannel that opens, the
 * peer connection that fails, a time that is over) is an event in one inbox, and
 * one fiber hands them to the machine, in order. What takes time (dialling and
 * negotiating, one after the other; statistics; waiting) runs in fibers beside
 * it and posts what came of it. The frames of the `rpc` channel do not come
 * through here.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type { Socket } from "effect/socket"
import { ClientFault, type DisconnectReason, Released } from "../../DisconnectReason.ts"
import { PeerConnection, type PeerConnectionLike, type TrackEvent } from "../../PeerConnection.ts"
import type { RpcChannel } from "../../RpcChannel.ts"
import type * as Signaling from "../../Signaling.ts"
import { SoraConnectionError } from "../../SoraConnectionError.ts"
import { reported } from "../defects.ts"
import * as Hop from "../hop.ts"
import * as Channels from "./channels.ts"
import * as ConnectMessage from "./connectMessage.ts"
import * as Machine from "./machine.ts"
import type * as Messaging from "./messaging.ts"
import type { AnyOptions, SignalingEvent } from "./model.ts"
import * as Negotiation from "./negotiation.ts"
import type { OnMove } from "./observe.ts"
import type { Outlet } from "./outlet.ts"
import type { Command, Event, Task } from "./state.ts"
import * as Transport from "./transport.ts"

/**
 * How long what was begun may take to stop.
 *
 * @internal
 */
export const StopGrace = Duration.seconds(2)

/** How long what a WebSocket or a WebRTC implementation closes may take; one that never says it is done holds nobody up. */
const ReleaseGrace = Duration.seconds(5)

/**
 * What is told of a session as it happens.
 *
 * @internal
 */
export interface Observer {
  /** It has an offer, and nothing else was heard before. */
  readonly offered: (offer: Signaling.Offer) => void
  readonly signaling: (event: SignalingEvent) => void
  readonly notify: (notify: Signaling.Notify) => void
  readonly push: (push: Signaling.Push) => void
  readonly tracks: (event: TrackEvent) => void
  readonly removedTracks: (event: TrackEvent) => void
  /** Of each `rpc` channel that opens; only one that takes the place of another is news. */
  readonly rpc: (channel: RpcChannel) => void
  readonly messaging: Messaging.Listener
}

/** @internal */
export interface Session {
  readonly offer: Signaling.Offer
  /** The signaling URL that the offer came from. */
  readonly url: string
  readonly rpcMethods: () => ReadonlyArray<string>
  readonly rpc: () => RpcChannel | undefined
  readonly peer: PeerConnectionLike
  /** The application's own channels. */
  readonly outlets: ReadonlyMap<string, Outlet>
  /** Why it ended, once it has. */
  readonly ended: Effect.Effect<DisconnectReason>
}

/** @internal */
export const connectTimeoutOf = ({ connectTimeout }: AnyOptions): Duration.Duration =>
  Duration.fromInputUnsafe(connectTimeout ?? "30 seconds")

const taskOf = (options: AnyOptions, connect: Signaling.Connect, timeLeft: Duration.Duration): Task => ({
  urls: options.signalingUrls,
  connect,
  labels: (options.dataChannels ?? []).map(({ label }) => label),
  connectTimeout: connectTimeoutOf(options),
  timeLeft,
  disconnectTimeout: Duration.fromInputUnsafe(options.disconnectTimeout ?? "3 seconds")
})

/**
 * Connects within what is left of `connectTimeout`; the session ends with the
 * scope, if it has not before. `onMove` is told what becomes of it.
 *
 * @internal
 */
export const connect = Effect.fnUntraced(function*(
  options: AnyOptions,
  { metadata, timeLeft }: { readonly metadata: Schema.Json | undefined; readonly timeLeft: Duration.Duration },
  observer: Observer,
  onMove?: OnMove
): Effect.fn.Return<Session, SoraConnectionError, PeerConnection | Socket.WebSocketConstructor | Scope.Scope> {
  const platform = yield* PeerConnection
  const task = taskOf(options, ConnectMessage.make(options, metadata, platform.environment), timeLeft)

  const inbox = yield* Queue.unbounded<Event>()
  const post = (event: Event) => void Queue.offerUnsafe(inbox, event)
  /** Dialling and negotiating: each begins when the one before it is done. */
  const jobs = yield* Queue.unbounded<Effect.Effect<void, SoraConnectionError>>()
  const ready = yield* Deferred.make<Signaling.Offer, SoraConnectionError>()
  const ended = yield* Deferred.make<DisconnectReason>()
  const released = yield* Deferred.make<void>()

  // Everything that the connection holds, and the fibers that make more of it, which go first. Closed by `teardown`, never
  // by the caller's scope alone, because the goodbye needs it alive.
  const held = yield* Scope.make()
  const working = yield* Scope.make()

  const channels = Channels.make({
    post,
    onRpc: observer.rpc,
    messaging: observer.messaging,
    maxInflatedBytes: options.maxInflatedBytes
  })
  const transport = yield* Transport.make({
    options,
    held,
    channels,
    post,
    onSent: observer.signaling
  })
  const negotiation = Negotiation.make({
    platform,
    media: options.media,
    held,
    channels,
    post,
    onTrack: observer.tracks,
    onRemovedTrack: observer.removedTracks
  })

  // ---------------------------------------------------------------- what the machine wants done

  const postFault = (effect: Effect.Effect<unknown>) =>
    Effect.catchDefect(effect, (cause) => Effect.sync(() => post(new ClientFault({ cause }))))

  const beside = (effect: Effect.Effect<unknown>) => Effect.forkIn(postFault(effect), working)

  const carryOut = (command: Command): Effect.Effect<unknown> => {
    switch (command._tag) {
      case "Dial":
        return Queue.offer(jobs, transport.dial(command.node, command.urls))
      case "Answer": {
        const { offer, to } = command
        if (to.type === "offer") observer.offered(offer)
        return Queue.offer(
          jobs,
          Effect.map(negotiation.answer(offer, to), (sdp) => post({ _tag: "Answered", to, sdp }))
        )
      }
      case "HangUp":
        return beside(transport.hangUp("switched to DataChannels"))
      case "Send":
        transport.send(command.message, command.ways)
        break
      case "CollectStatistics":
        return beside(
          Effect.map(negotiation.statistics, (reports) => post({ ...command, _tag: "Statistics", reports }))
        )
      case "Wait":
        return beside(Effect.delay(Effect.sync(() => post(command.event)), command.duration))
      case "Message":
        observer.signaling(command.event)
        break
      case "Notify":
        observer.notify(command.notify)
        break
      case "Push":
        observer.push(command.push)
        break
      case "Log":
        return reported(command.level === "debug" ? Effect.logDebug(command.text) : Effect.logWarning(command.text))
      case "Ready":
        return Deferred.succeed(ready, command.offer)
      case "End":
        channels.endRpc(command.reason)
        Deferred.doneUnsafe(ended, Exit.succeed(command.reason))
        Deferred.doneUnsafe(ready, Exit.fail(new SoraConnectionError({ reason: command.error })))
        break
      case "Release":
        return Deferred.succeed(released, undefined)
    }
    return Effect.void
  }

  // Written by the fiber of the inbox alone.
  let [state, first] = Machine.start(task)
  let url = ""

  const advance = (event: Event) =>
    Effect.suspend(() => {
      const [next, commands] = Machine.step(task, state, event)
      state = next
      url = next.url ?? url
      onMove?.(event, next)
      return Effect.forEach(commands, carryOut, { discard: true })
    })

  // ---------------------------------------------------------------- running

  const teardown = Effect.gen(function*() {
    yield* Deferred.await(released)
    yield* bounded(Scope.close(working, Exit.void), StopGrace)
    yield* bounded(transport.hangUp("disconnected"), ReleaseGrace)
    yield* bounded(Scope.close(held, Exit.void), ReleaseGrace)
  })

  const run = (loop: Effect.Effect<unknown>) => Effect.forkIn(Effect.forever(postFault(loop)), working)

  // All of it or nothing: what is released is what has begun. The teardown is a fiber of its own, which nobody interrupts:
  // an interrupted caller still says goodbye.
  const begin = Effect.gen(function*() {
    yield* run(Effect.flatMap(Queue.take(inbox), advance))
    yield* run(
      Effect.flatMap(
        Queue.take(jobs),
        Effect.catch(({ reason }) => Effect.sync(() => post({ _tag: "Failed", reason })))
      )
    )
    yield* Effect.forEach(first, carryOut, { discard: true })
    return yield* Effect.forkDetach(teardown)
  })
  const release = (tornDown: Fiber.Fiber<void>) => {
    post(new Released())
    return Fiber.await(tornDown)
  }
  const tornDown = yield* Effect.acquireRelease(begin, release)

  const offer = yield* Hop.effect(Deferred.await(ready)).pipe(
    // An attempt that failed, or was given up, is over: a later one must not meet it in the channel.
    Effect.onError(() => release(tornDown))
  )
  return {
    offer,
    url,
    rpcMethods: () => state.rpcMethods,
    rpc: channels.rpc,
    // It was made for the offer.
    peer: negotiation.peer()!,
    outlets: channels.outlets(),
    ended: Deferred.await(ended)
  }
})

/**
 * Whether or not it fails, and beside: a finalizer of the user's that does not
 * come back must not be waited for.
 *
 * @internal
 */
export const bounded = (effect: Effect.Effect<void>, duration: Duration.Duration) =>
  Effect.flatMap(
    Effect.forkDetach(effect),
    (fiber) => Effect.timeoutOption(Fiber.await(fiber), duration)
  )
