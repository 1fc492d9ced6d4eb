/**
 * One connection on the server, from its WebSocket to its end: carries out what
 * `machine.ts` wants done.
 *
 * Everything that happens (a message, a DataChannel that opens, the peer that is
 * up, a time that is over) is an event in one inbox, and one fiber hands them to
 * the machine, in order. What takes time (admitting a client, applying its
 * answer, waiting) runs in fibers beside it and posts what came of it.
 */
import type { WebSocket } from "@effect/platform-node/NodeWS"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Werift from "../../../node/internal/werift/peer.ts"
import { bufferOverflow, internalError, invalidMessage, serverStopped } from "../ends.ts"
import * as Codecs from "../media/codecs.ts"
import type { SoraServerError } from "../serverError.ts"
import { type Admission, admit } from "./admission.ts"
import * as Channels from "./channels.ts"
import { closeInOrder } from "./closing.ts"
import * as Ending from "./ending.ts"
import { establish, type Established } from "./established.ts"
import * as Fate from "./fate.ts"
import { offerOf, type Terms } from "./grant.ts"
import * as Inbox from "./inbox.ts"
import * as Machine from "./machine.ts"
import type { Negotiation } from "./negotiation.ts"
import * as Pings from "./pings.ts"
import type { Services } from "./services.ts"
import { type Command, type Event, isBusy, type Task } from "./state.ts"
import * as Transport from "./transport.ts"
import * as Waiting from "./waiting.ts"

/** What fails in code of the server's own, or of a handler, and has no other consequence. */
const logged = (effect: Effect.Effect<unknown, unknown>): Effect.Effect<void> =>
  Effect.catchCause(
    Effect.asVoid(effect),
    (cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.void
        // A logger of the user's that fails takes nothing else with it.
        : Effect.ignoreCause(Effect.logWarning("the development server failed", cause))
  )

/**
 * Serves one WebSocket until the connection is over and everything of it is
 * released. `path` is what the client asked for, with the count of redirects.
 */
export const serve = Effect.fnUntraced(function*(
  services: Services,
  webSocket: WebSocket,
  path: string
): Effect.fn.Return<void, never, Scope.Scope> {
  const { rooms, settings } = services
  const clock = yield* Clock.Clock
  const { connectTimeout, recvonlyWithoutMedia, switchOrder } = settings
  const task: Task = { connectTimeout, recvonlyWithoutMedia, switchOrder }
  // Everything that the connection holds. Closed by `teardown`, which closes other things before it.
  const held = yield* Scope.make()
  const tornDown = yield* Deferred.make<void>()

  const ending = yield* Ending.make
  const load = Inbox.makeLoad(settings.maxBufferedBytes, () => ending.end(bufferOverflow))
  const inbox = yield* Inbox.make(load)
  const line = services.tap.line()
  const post = (event: Event) => {
    if (event._tag === "SocketMessage") line.message("received", "websocket", undefined, event.text)
    else if (event._tag === "ChannelMessage") line.message("received", "datachannel", event.label, event.text)
    inbox.post(event)
  }
  const beside = (effect: Effect.Effect<unknown, unknown>) => Effect.forkIn(logged(effect), held)
  const runCall = yield* FiberSet.makeRuntime<never>().pipe(Scope.provide(held))

  // Written by the fiber of the inbox alone.
  let [state, first] = Machine.start(task)
  // Written once, by the fiber that admits the client.
  let established: Established | undefined

  const statistics = Waiting.make<Schema.Json>()
  const channels = Channels.make(settings, ending, post)
  const transport = yield* Transport.make(webSocket, {
    channels,
    ending,
    line,
    maxBufferedBytes: settings.maxBufferedBytes,
    isSwitched: () => state.switched,
    post
  })
  const pings = Pings.make(settings, transport, ending)
  const fate = Fate.make({
    source: services.faults,
    channels,
    transport,
    ending,
    ended: Deferred.await(tornDown),
    beside
  })

  // ---------------------------------------------------------------- the end

  const teardown = Effect.gen(function*() {
    const by = yield* ending.begun
    line.closed(by)
    if (established !== undefined) {
      rooms.leave(established.connection)
      established.connection.media.release()
    }
    const peer = established?.negotiation
    yield* closeInOrder(by, { transport, channels, peer, closeMessage: settings.closeMessage })
  }).pipe(
    Effect.ensuring(Effect.sync(() => {
      established?.negotiation.giveUp()
      established?.negotiation.release()
      statistics.giveUp()
      channels.release()
    })),
    Effect.ensuring(Scope.close(held, Exit.void)),
    // Whatever went wrong on the way: who waits for the end must not wait for ever.
    Effect.catchCause((cause) =>
      Effect.ignoreCause(Effect.logWarning("the development server could not end a connection in order", cause))
    ),
    Effect.ensuring(Deferred.succeed(tornDown, undefined))
  )

  // In a fiber of its own, which nobody interrupts: a server that stops ends its connections in order.
  yield* Effect.acquireRelease(Effect.forkDetach(teardown), (fiber) => {
    ending.end(serverStopped)
    // The WebSocket of one that ended in silence is still open.
    return Effect.tap(Fiber.await(fiber), () => Effect.sync(transport.terminate))
  })

  // ---------------------------------------------------------------- getting there

  /** What throws where it should not ends the connection. */
  const orEnd = (effect: Effect.Effect<unknown, unknown>): Effect.Effect<void> =>
    Effect.catchCause(Effect.asVoid(effect), (cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        // What was under way when the connection ended fails on what is closed already.
        : ending.isOver()
        ? Effect.void
        : Effect.andThen(
          Effect.ignoreCause(Effect.logError("the development server failed", cause)),
          Effect.sync(() => ending.end(internalError))
        ))

  const makeOffer = Effect.fnUntraced(function*(terms: Terms) {
    const peer = yield* Werift.make({ iceServers: [], ...Codecs.peerConfig(), ...settings.peer }).pipe(
      Scope.provide(held)
    )
    // The client may have left meanwhile: there is nobody to offer to.
    if (ending.isOver()) return
    established = establish(terms, peer, {
      services,
      clock,
      channels,
      transport,
      ending,
      ended: Deferred.await(tornDown),
      fate,
      load,
      line,
      statistics,
      isSwitched: () => state.switched,
      beside,
      runCall: (call) => runCall(logged(call)),
      post
    })
    const { connection: { media, member }, negotiation } = established
    const sdp = yield* negotiation.makeOffer
    transport.sendOnSocket(offerOf({ sdp, terms, member, media, channels: channels.all(), settings }))
    yield* beside(media.watch)
    const { ignoreDisconnectWebsocket, lifetime } = terms
    post({ _tag: "Offered", offered: { labels: [...channels.all().keys()], ignoreDisconnectWebsocket, lifetime } })
  })

  const onAdmission = (admission: Admission): Effect.Effect<void, SoraServerError> => {
    switch (admission._tag) {
      case "Admitted":
        return makeOffer(admission.terms)
      case "Redirected":
        return Effect.sync(() => {
          transport.sendOnSocket({ type: "redirect", location: admission.location })
          post({ _tag: "Redirected" })
        })
      case "Ignored":
        return Effect.sync(() => post({ _tag: "Ignored" }))
      case "Refused":
        return Effect.sync(() => ending.end(admission.by))
    }
  }

  // ---------------------------------------------------------------- what the machine wants done

  const join = ({ connection }: Established) =>
    Effect.suspend(() => {
      rooms.join(connection)
      connection.media.join()
      return fate.join
    })

  const applyAnswer = (negotiation: Negotiation, sdp: string, type: "answer" | "re-answer") =>
    negotiation.applyAnswer(sdp, type).pipe(
      Effect.match({
        onFailure: () => ending.end(invalidMessage),
        onSuccess: () => post({ _tag: "AnswerApplied" })
      })
    )

  /** There is nothing to be done with a peer that is not there. */
  const withEstablished = (use: (established: Established) => Effect.Effect<unknown>) =>
    Effect.suspend(() => established === undefined ? Effect.void : use(established))

  const carryOut = (command: Command): Effect.Effect<unknown> => {
    switch (command._tag) {
      case "Admit":
        return beside(orEnd(Effect.flatMap(admit(command.connect, path, { services, fate }), onAdmission)))
      case "ApplyAnswer": {
        const { sdp, type } = command
        return withEstablished(({ negotiation }) => beside(orEnd(applyAnswer(negotiation, sdp, type))))
      }
      case "AddCandidate":
        return withEstablished(({ negotiation }) => negotiation.addCandidate(command.candidate))
      case "Join":
        return withEstablished(join)
      case "StartCalls":
        return withEstablished(({ rpc }) => Effect.sync(rpc.start))
      case "TellSwitched": {
        const { ignoreDisconnectWebsocket } = command
        return Effect.sync(() => transport.sendOnSocket({ type: "switched", ignoreDisconnectWebsocket }))
      }
      case "Renegotiate":
        // One that cannot be made now is due again when what it lacks is there: an answer, the client, a channel.
        return withEstablished(({ negotiation }) => beside(Effect.ignore(negotiation.renegotiate)))
      case "Ping":
        return beside(pings.run)
      case "Pong":
        return pings.onPong
      case "Statistics":
        return Effect.sync(() => statistics.answer(command.reports))
      case "Wait": {
        const { alarm, duration } = command
        return beside(Effect.delay(Effect.sync(() => post({ _tag: "TimeOver", alarm })), duration))
      }
      case "End":
        return Effect.sync(() => ending.end(command.by))
    }
  }

  const advance = (event: Event) =>
    Effect.suspend(() => {
      if (ending.isOver()) return Effect.void
      const [next, commands] = Machine.step(task, state, event)
      state = next
      return Effect.forEach(commands, carryOut, { discard: true })
    })

  // ---------------------------------------------------------------- running

  yield* Effect.forEach(first, carryOut, { discard: true })
  yield* beside(transport.read)
  yield* beside(inbox.run(() => isBusy(state), (event) => orEnd(advance(event))))
  yield* Deferred.await(tornDown)
  // One that ended in silence has its WebSocket open for as long as the client believes in it.
  if ((yield* ending.begun).manner === "silent") yield* transport.closed
})
