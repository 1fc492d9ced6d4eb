/**
 * One connection on the server, from its WebSocket to its end: a state machine
 * over one inbox, like the client's (`sora-protocol.md` section 2, Appendix C).
 *
 * `end` is the one way to die; it wakes `teardown`, which closes things in the
 * order that official clients take for a normal end: the WebSocket's Close
 * first, then the DataChannels, then, once the client has left or had its time,
 * the peer.
 */
import type { WebSocket } from "@effect/platform-node/NodeWS"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { Socket } from "effect/socket"
import * as Channel from "../../../internal/rpc/channel.ts"
import { compression } from "../../../internal/rpc/compression.ts"
import { internalErrorOf } from "../../../internal/rpc/dispatcher.ts"
import * as Werift from "../../../node/internal/werift/peer.ts"
import * as Sctp from "../../../node/internal/werift/sctp.ts"
import type { DataChannelLike } from "../../../PeerConnection.ts"
import * as Signaling from "../../../Signaling.ts"
import type { Rid } from "../../../SoraMethod.ts"
import { type Grant, Refusal } from "../../SoraAuth.ts"
import type * as Faults from "../faults.ts"
import { makeId } from "../ids.ts"
import * as Media from "../media/media.ts"
import type { Member } from "../rooms.ts"
import { type Handle, HandleError, type Shared } from "../shared.ts"
import { isAcceptable } from "./connectRules.ts"
import {
  bufferOverflow,
  closeReason,
  type End,
  faultInjected,
  internalError,
  invalidMessage,
  SignalingFailure,
  timedOut,
  typeDisconnect
} from "./ends.ts"
import { isUsableCandidate, MaxCandidates, withUsableCandidates } from "./sdp.ts"

/** Time for a closing step that depends on the client: the WebSocket handshake, the last bytes, its leaving. */
const CloseGrace = Duration.seconds(1)

/** What a message costs beside its bytes, roughly: so that many small ones count as well. */
const MessageOverheadBytes = 512

/** Channels that a client may open itself, which no client has a reason to do. */
const MaxForeignChannels = 32

type Event =
  | { readonly _tag: "SocketMessage"; readonly text: string }
  | { readonly _tag: "SocketEnded" }
  | { readonly _tag: "ChannelMessage"; readonly label: string; readonly data: unknown }
  | { readonly _tag: "ChannelOpen" }
  | { readonly _tag: "ChannelClosed"; readonly label: string }
  | { readonly _tag: "PeerState"; readonly state: string }
  | { readonly _tag: "MediaChanged" }

interface ServerChannel {
  readonly channel: DataChannelLike
  readonly compress: boolean
  readonly options: typeof Signaling.DataChannelOptions.Type | undefined
}

const sizeOf = (data: unknown): number =>
  typeof data === "string" ? data.length : ArrayBuffer.isView(data) || data instanceof ArrayBuffer ? data.byteLength : 0

/** Of what a client can send as much as it likes; 0 of what it cannot. */
const weightOf = (event: Event): number =>
  event._tag === "SocketMessage"
    ? MessageOverheadBytes + event.text.length
    : event._tag === "ChannelMessage"
    ? MessageOverheadBytes + sizeOf(event.data)
    : 0

/**
 * Serves one WebSocket until the connection is over and everything of it is
 * released. `path` is what the client asked for, with the count of redirects.
 */
export const serve = Effect.fnUntraced(function*(
  shared: Shared,
  webSocket: WebSocket,
  path: string
): Effect.fn.Return<void, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const held = yield* Scope.make()
  const inbox = yield* Queue.unbounded<Event>()
  const endedBy = yield* Deferred.make<End>()
  const tornDown = yield* Deferred.make<void>()
  const socketClosed = yield* Deferred.make<void>()
  const peerGone = yield* Deferred.make<void>()

  let ended = false
  /** Bytes of the inbox. */
  let unhandled = 0
  let callsUnderWay = 0
  let candidates = 0
  let joined = false
  /** Calls that are in the inbox. */
  let waitingCalls = 0
  let switched = false
  let ignoreSocket = false
  let socketOpen = true
  let lastPong = clock.currentTimeMillisUnsafe()
  let peer: Werift.WeriftPeer | undefined
  let member: Member | undefined
  let media: Media.Media | undefined
  let connect: Signaling.Connect | undefined
  let faults: Faults.ConnectionFaults | undefined
  let death: Fiber.Fiber<unknown> | undefined
  let silent = false
  let rpcMethods: ReadonlyArray<string> = []
  const channels = new Map<string, ServerChannel>()
  const renegotiating = Semaphore.makeUnsafe(1)
  const reAnswers: Array<Deferred.Deferred<void, HandleError>> = []
  const statsRequests: Array<Deferred.Deferred<Schema.Json, HandleError>> = []

  const end = (by: End) => {
    if (ended) return
    ended = true
    Deferred.doneUnsafe(endedBy, Exit.succeed(by))
  }

  const offer = (event: Event) => {
    const weight = weightOf(event)
    if (weight > 0 && ended) return
    if (weight > 0 && unhandled + weight > shared.maxBufferedBytes) return end(bufferOverflow)
    unhandled += weight
    Queue.offerUnsafe(inbox, event)
  }

  const logged = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.catchCause(
      effect,
      (cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.void
          // A logger of the user's that fails takes nothing else with it.
          : Effect.ignoreCause(Effect.logWarning("the development server failed", cause))
    )

  const beside = <A, E>(effect: Effect.Effect<A, E>) => Effect.forkIn(logged(effect), held)

  // ---------------------------------------------------------------- sending

  /** What waits to be sent, or to be acknowledged. */
  const buffered = (): number => {
    // Private to werift, which has no public count of what it keeps.
    const sctp = peer?.sctpTransport?.sctp
    const packets = sctp === undefined ? 0 : sctp["outboundQueue"].length + sctp["sentQueue"].length
    let bytes = webSocket.bufferedAmount + (sctp?.["flightSize"] ?? 0) + packets * MessageOverheadBytes
    for (const { channel } of channels.values()) bytes += channel.bufferedAmount
    return bytes
  }

  /** A client that asks and does not take the answers is not served any longer. */
  const hasRoomFor = (bytes: number): boolean => {
    if (buffered() + bytes <= shared.maxBufferedBytes) return true
    end(bufferOverflow)
    return false
  }

  const sendOnSocket = (message: Signaling.ServerMessage): boolean => {
    if (!socketOpen) return false
    try {
      const text = JSON.stringify(Signaling.encodeServerMessage(message))
      if (!hasRoomFor(text.length)) return false
      webSocket.send(text)
      return true
    } catch {
      return false
    }
  }

  const sendData = (open: ServerChannel | undefined, data: string | Uint8Array<ArrayBuffer>): boolean => {
    // werift takes data after close and drops it, and an empty message breaks a channel for good.
    if (open === undefined || open.channel.readyState !== "open" || data.length === 0) return false
    if (!hasRoomFor(data.length)) return false
    try {
      open.channel.send(data)
      return true
    } catch {
      return false
    }
  }

  const sendOnChannel = (label: string, text: string): boolean => {
    const open = channels.get(label)
    return open !== undefined && sendData(open, Channel.encodeMessage(text, open.compress))
  }

  /** On its label once signaling has moved to the DataChannels, else on the WebSocket. */
  const deliver = (label: "signaling" | "notify" | "push", message: Signaling.ServerMessage): boolean =>
    switched && sendOnChannel(label, JSON.stringify(Signaling.encodeServerMessage(message))) || sendOnSocket(message)

  // ---------------------------------------------------------------- the end

  const allDrained = Effect.gen(function*() {
    // SCTP has no event for "all sent and acknowledged": before a close the last bytes have to be looked for.
    const sctp = peer?.sctpTransport?.sctp
    const isSending = () =>
      Array.from(channels.values()).some(({ channel }) =>
        channel.readyState === "open" && channel.bufferedAmount > 0
      ) ||
      // Private to werift, which has no public count of the messages in flight.
      sctp !== undefined && sctp["sentQueue"].length > 0
    while (isSending()) yield* Effect.sleep("10 millis")
  })

  const terminate = () => {
    webSocket.terminate()
  }

  /**
   * From here on nothing reaches the client any more, so that all of it can be released as ever: what the release
   * would say, an SCTP ABORT, a DTLS alert, a Close frame, is said to nobody.
   */
  const vanish = () => {
    silent = true
    for (const transport of peer?.iceTransports ?? []) {
      // Private to werift: the sockets of the ICE agent. Closing them is up to the peer, when it is closed.
      const { protocols } = transport.connection as unknown as {
        readonly protocols: ReadonlyArray<{ sendData: () => Promise<void>; sendStun: () => Promise<void> }>
      }
      for (const protocol of protocols) {
        protocol.sendData = async () => {}
        protocol.sendStun = async () => {}
      }
    }
    // `ws` answers a Close frame and a ping by itself, and its reader says Close when it is released.
    Object.assign(webSocket, { send: () => {}, close: () => {}, pong: () => {} })
  }

  const teardown = Effect.gen(function*() {
    const { announce, code, manner, reason } = yield* Deferred.await(endedBy)
    if (member !== undefined) {
      shared.channels.leave(member)
      shared.handles.delete(member.connectionId)
    }
    media?.release()
    if (manner === "silent") return vanish()
    if (manner === "abrupt") return terminate()
    if (announce === true && shared.closeMessage && switched) {
      sendOnChannel("signaling", JSON.stringify(Signaling.encodeServerMessage({ type: "close", code, reason })))
    }
    // The Close and its reason must be there before the channels close, on another transport: so wait for its echo.
    if (socketOpen) {
      webSocket.close(code, closeReason(reason))
      yield* Effect.timeoutOption(Deferred.await(socketClosed), CloseGrace)
    }
    yield* Effect.timeoutOption(allDrained, CloseGrace)
    for (const { channel } of channels.values()) channel.close()
    if (peer?.connectionState === "connected") yield* Effect.timeoutOption(Deferred.await(peerGone), CloseGrace)
    // `ws` would wait 30 seconds for the other half of the handshake.
    if (socketOpen) terminate()
  }).pipe(
    Effect.ensuring(Effect.sync(() => {
      const gaveUp = Exit.fail(new HandleError({ message: "the connection ended" }))
      for (const waiting of reAnswers) Deferred.doneUnsafe(waiting, gaveUp)
      for (const waiting of statsRequests) Deferred.doneUnsafe(waiting, gaveUp)
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
    end({ code: 1001, reason: "SERVER-STOPPED", announce: true })
    // A silent connection's WebSocket is still open, and its `close` does nothing.
    return Effect.tap(Fiber.await(fiber), () => Effect.sync(() => silent && terminate()))
  })

  // ---------------------------------------------------------------- getting there

  const makeMember = (message: Signaling.Connect, grant: Grant): Member => {
    const connectionId = makeId()
    const all = message.simulcastRequestRid ?? grant.simulcastRequestRid ?? "r2"
    const spotlight = { focus: message.spotlightFocusRid ?? "r1", unfocus: message.spotlightUnfocusRid ?? "r0" }
    return {
      connectionId,
      clientId: grant.clientId ?? message.clientId ?? connectionId,
      bundleId: grant.bundleId ?? message.bundleId ?? connectionId,
      channelId: message.channelId,
      sessionId: shared.channels.enter(message.channelId),
      role: message.role,
      audio: message.audio !== false,
      video: message.video !== false,
      simulcast: grant.simulcast ?? message.simulcast ?? false,
      spotlight: grant.spotlight ?? message.spotlight ?? false,
      joinedAt: clock.currentTimeMillisUnsafe(),
      authnMetadata: message.signalingNotifyMetadata,
      authzMetadata: grant.signalingNotifyMetadata,
      rids: { all, bySender: new Map<string, Rid>() },
      spotlightRids: { ...spotlight },
      initialSpotlightRids: spotlight,
      rpcRids: grant.simulcastRpcRids ?? ["none", "r0", "r1", "r2"],
      deliver: (label, message) => void deliver(label, message)
    }
  }

  const attachChannel = (label: string, open: ServerChannel) => {
    channels.set(label, open)
    const { channel } = open
    const onOpen = () => offer({ _tag: "ChannelOpen" })
    const onMessage = (event: { readonly data: unknown }) => {
      if (ended) return
      // More than the offer allows; werift does not look at it.
      if (sizeOf(event.data) > Channel.MaxMessageBytes) return end(internalError)
      // Calls are many. Once the connection has joined and those before are done, they need not wait for what else happens.
      if (label === "rpc" && joined && channel.readyState === "open" && waitingCalls === 0) {
        return onRpcMessage(event.data)
      }
      if (label === "rpc") waitingCalls++
      offer({ _tag: "ChannelMessage", label, data: event.data })
    }
    const onClose = () => offer({ _tag: "ChannelClosed", label })
    channel.addEventListener("open", onOpen)
    channel.addEventListener("message", onMessage)
    channel.addEventListener("close", onClose)
    return Scope.addFinalizer(
      held,
      Effect.sync(() => {
        channel.removeEventListener("open", onOpen)
        channel.removeEventListener("message", onMessage)
        channel.removeEventListener("close", onClose)
      })
    )
  }

  const makePeer = Effect.fnUntraced(function*(message: Signaling.Connect, dataChannelSignaling: boolean) {
    const made = yield* Werift.make({ iceServers: [], ...Media.peerConfig(), ...shared.peer }).pipe(Scope.provide(held))
    peer = made
    const { unSubscribe } = made.connectionStateChange.subscribe((state) => {
      offer({ _tag: "PeerState", state })
    })
    yield* Scope.addFinalizer(held, Effect.sync(unSubscribe))
    const managed = dataChannelSignaling
      ? ["signaling", "notify", "push", "stats", ...(shared.rpc ? ["rpc"] : [])]
      : []
    for (const label of managed) {
      yield* attachChannel(label, {
        channel: made.createDataChannel(label),
        compress: shared.compress,
        options: undefined
      })
    }
    for (const options of dataChannelSignaling ? message.dataChannels ?? [] : []) {
      const { compress, label, maxPacketLifeTime, maxRetransmits, ordered, protocol } = options
      const channel = made.createDataChannel(label, {
        ordered: ordered ?? true,
        ...(maxPacketLifeTime === undefined ? {} : { maxPacketLifeTime }),
        ...(maxRetransmits === undefined ? {} : { maxRetransmits }),
        ...(protocol === undefined ? {} : { protocol })
      })
      yield* attachChannel(label, { channel, compress: compress ?? false, options })
    }
    // Every offer has an application section, also for a client that wants no channel.
    if (channels.size === 0) made.createDataChannel("unused")
    Sctp.guard(made.sctpTransport!, { maxBytes: shared.maxBufferedBytes, onBad: () => end(internalError) })
    let foreign = 0
    made.onDataChannel.subscribe(() => {
      if (++foreign > MaxForeignChannels) end(internalError)
    })
    return made
  })

  /** The SDP of a new offer with the candidates in it: Sora sends no `candidate` (section 2.2). */
  const makeOffer = (made: Werift.WeriftPeer) =>
    Effect.tryPromise(async () => {
      media?.beforeOffer()
      await made.setLocalDescription(await made.createOffer())
      await made.gathered
      return made.localDescription!.sdp
    })

  const onConnect = Effect.fnUntraced(function*(message: Signaling.Connect) {
    if (!isAcceptable(message)) return end(invalidMessage)
    const source = shared.faults()
    faults = source?.draw()
    const redirected = Number(/[?&]redirected=(\d+)/.exec(path)?.[1] ?? 0)
    if (faults !== undefined) {
      if (faults.onConnect === "refuse") return end(faultInjected)
      if (faults.onConnect === "ignoreConnect") {
        connect = message
        return
      }
      if (faults.onConnect === "redirectLoop" || source?.loops === true && path.includes("loop=1")) {
        sendOnSocket({ type: "redirect", location: `${shared.url()}?redirected=${redirected + 1}&loop=1` })
        return
      }
    }
    if (redirected < shared.redirects) {
      // The client closes this socket and comes back with one more on the count.
      sendOnSocket({ type: "redirect", location: `${shared.url()}?redirected=${redirected + 1}` })
      return
    }
    connect = message
    const granted = yield* Effect.timeoutOption(Effect.result(shared.authenticate(message)), shared.connectTimeout)
    // The client may have left meanwhile: there is nobody to offer to.
    if (ended) return
    if (Option.isNone(granted)) return end(timedOut)
    if (Result.isFailure(granted.value)) {
      const { failure } = granted.value
      if (!(failure instanceof Refusal)) return yield* Effect.die(failure)
      return end({ code: SignalingFailure, reason: failure.reason })
    }
    const grant = granted.value.success
    const dataChannelSignaling = grant.dataChannelSignaling ?? message.dataChannelSignaling ?? false
    ignoreSocket = dataChannelSignaling &&
      (shared.ignoreDisconnectWebsocket ?? grant.ignoreDisconnectWebsocket ?? message.ignoreDisconnectWebsocket ??
        false)
    rpcMethods = shared.rpc && dataChannelSignaling ? grant.rpcMethods ?? shared.allMethods : []
    const made = yield* makePeer(message, dataChannelSignaling)
    const self = makeMember(message, grant)
    member = self
    const ownMedia = Media.make({
      peer: made,
      member: self,
      connect: message,
      channels: shared.channels,
      now: () => clock.currentTimeMillisUnsafe(),
      fail: () => end(internalError),
      wake: () => offer({ _tag: "MediaChanged" })
    })
    media = ownMedia
    // Those of now: they may have been replaced while the authentication was under way.
    if (shared.faults() !== source) faults = shared.faults()?.draw()
    shared.handles.set(self.connectionId, {
      member: self,
      switched: () => switched,
      end,
      ended: Deferred.await(tornDown),
      reOffer,
      requestStats,
      inject,
      redraw: Effect.suspend(() => {
        faults = shared.faults()?.draw()
        return planDeath
      })
    })
    const sdp = yield* makeOffer(made)
    const { iceServers, iceTransportPolicy } = shared
    sendOnSocket({
      type: "offer",
      sdp,
      version: "2025.2.0",
      channelId: self.channelId,
      sessionId: self.sessionId,
      clientId: self.clientId,
      bundleId: self.bundleId,
      connectionId: self.connectionId,
      ...(grant.metadata === undefined ? {} : { metadata: grant.metadata }),
      config: {
        // Some SDKs read `urls` as an array only (section 2.4).
        iceServers: iceServers.map((server) => ({ ...server, urls: [server.urls].flat() })),
        iceTransportPolicy: iceTransportPolicy ?? "all"
      },
      simulcast: self.simulcast,
      simulcastMulticodec: false,
      spotlight: self.spotlight,
      ...ownMedia.offered,
      audio: self.audio,
      video: self.video,
      dataChannelSignaling,
      ignoreDisconnectWebsocket: ignoreSocket,
      dataChannels: Array.from(channels, ([label, { compress, options }]) => ({
        label,
        direction: options?.direction ?? (label === "notify" || label === "push" ? "recvonly" : "sendrecv"),
        compress,
        ...(options?.header === undefined ? {} : { header: options.header })
      })),
      ...(rpcMethods.length === 0 ? {} : { rpcMethods }),
      ...(grant.simulcastRpcRids === undefined ? {} : { simulcastRpcRids: grant.simulcastRpcRids })
    })
    // The time for a pong runs from the first moment at which a ping may be sent.
    lastPong = clock.currentTimeMillisUnsafe()
    yield* beside(ping)
    yield* beside(Effect.delay(
      Effect.sync(() => {
        if (made.connectionState !== "connected") end(timedOut)
      }),
      shared.connectTimeout
    ))
    if (grant.connectionLifetime !== undefined) {
      yield* beside(Effect.delay(
        Effect.sync(() => end({ code: 1000, reason: "LIFETIME-EXPIRED", announce: true })),
        grant.connectionLifetime
      ))
    }
  })

  const ping = Effect.gen(function*() {
    while (true) {
      yield* Effect.sleep(shared.pingInterval)
      if (!socketOpen) return
      if (clock.currentTimeMillisUnsafe() - lastPong > Duration.toMillis(shared.pongTimeout)) {
        return end({ code: SignalingFailure, reason: "PONG-TIMEOUT-ERROR" })
      }
      sendOnSocket({ type: "ping", stats: false })
    }
  })

  const checkSwitch = () => {
    if (switched || connect === undefined || channels.size === 0 || peer?.connectionState !== "connected") return
    const open = Array.from(channels.values()).every(({ channel }) => channel.readyState === "open")
    if (!channels.has("signaling") || shared.switchOrder === "after-open" && !open) return
    sendOnSocket({ type: "switched", ignoreDisconnectWebsocket: ignoreSocket })
    switched = true
    if (joined) offer({ _tag: "MediaChanged" })
  }

  // ---------------------------------------------------------------- the server's API

  /** One at a time: a peer has one pending offer. Whether it is still wanted is asked when it is its turn. */
  const offerAnew = (isWanted: () => boolean): Handle["reOffer"] =>
    Effect.gen(function*() {
      if (!isWanted()) return
      const made = peer
      if (made === undefined || made.signalingState !== "stable" || made.connectionState !== "connected") {
        return yield* new HandleError({ message: "the connection is not up, or an offer waits for its answer" })
      }
      const answered = yield* Deferred.make<void, HandleError>()
      reAnswers.push(answered)
      // Whole or not at all: an offer that was made and not sent would bar every later one.
      yield* makeOffer(made).pipe(
        Effect.mapError(({ cause }) => new HandleError({ message: "no new offer", cause })),
        Effect.map((sdp) => deliver("signaling", { type: "re-offer", sdp })),
        Effect.uninterruptible
      )
      return yield* Deferred.await(answered)
    }).pipe(renegotiating.withPermit)

  const reOffer = offerAnew(() => true)

  /** When signaling is to move to the DataChannels it moves first: then it is on one path, for good. */
  const mayRenegotiate = () => joined && !ended && (switched || !channels.has("signaling"))

  const renegotiate = Effect.suspend(() =>
    mayRenegotiate() && media?.isStale() === true
      // One that cannot be made now is due again after the answer that it waits for.
      ? beside(Effect.ignore(offerAnew(() => !ended && media?.isStale() === true)))
      : Effect.void
  )

  const requestStats: Handle["requestStats"] = Effect.gen(function*() {
    const answered = yield* Deferred.make<Schema.Json, HandleError>()
    statsRequests.push(answered)
    if (switched) sendOnChannel("stats", JSON.stringify(Signaling.encodeServerMessage({ type: "req-stats" })))
    else sendOnSocket({ type: "ping", stats: true })
    return yield* Deferred.await(answered)
  })

  // ---------------------------------------------------------------- faults

  const inject: Handle["inject"] = (fault) =>
    Effect.suspend(() => {
      switch (fault) {
        case "closeRpc": {
          const open = channels.get("rpc")
          if (open === undefined) return new HandleError({ message: "the connection has no rpc channel" })
          // Forgotten first: the server does not take it for a mistake of the client's, and ends nothing else.
          channels.delete("rpc")
          open.channel.close()
          return Effect.void
        }
        case "killSocket": {
          if (!socketOpen) return new HandleError({ message: "the connection has no WebSocket any more" })
          terminate()
          return Effect.void
        }
        case "killPeer":
        case "closeAbruptly":
          end({ ...faultInjected, manner: fault === "killPeer" ? "silent" : "abrupt" })
          return Deferred.await(tornDown)
      }
    })

  /** Of a connection that is up, and is to die of what was drawn for it. */
  const planDeath = Effect.suspend(() => {
    const last = death
    const drawn = faults?.death
    death = undefined
    return Effect.andThen(
      last === undefined ? Effect.void : Fiber.interrupt(last),
      drawn === undefined || !joined || ended
        ? Effect.void
        // What is gone already cannot be killed.
        : Effect.map(beside(Effect.delay(Effect.ignore(inject(drawn.fault)), drawn.after)), (fiber) => {
          death = fiber
        })
    )
  })

  // ---------------------------------------------------------------- what happens

  /** Whether it could be applied; if not, the connection is over. */
  const applyAnswer = (sdp: string): Effect.Effect<boolean> =>
    Effect.tryPromise(async () => {
      // werift takes an SDP without sections, and then closes.
      if (!sdp.includes("m=application")) throw new Error("no m=application")
      const usable = withUsableCandidates(sdp, peer!.localDescription!.sdp)
      await peer!.setRemoteDescription({ type: "answer", sdp: usable })
      media?.afterAnswer()
      offer({ _tag: "MediaChanged" })
      return true
    }).pipe(
      Effect.timeout(shared.connectTimeout),
      Effect.catch(() =>
        Effect.sync(() => {
          end(invalidMessage)
          return false
        })
      )
    )

  /** Messages that may come on the WebSocket and on the `signaling` channel alike. */
  const onSignaling = Effect.fnUntraced(function*(message: Signaling.ClientMessage | Signaling.UnknownMessage) {
    switch (message.type) {
      case "candidate": {
        if (++candidates > MaxCandidates) return end(invalidMessage)
        // Some SDKs name no section (section 2.5), or it may be one that was rejected; there is one transport.
        const mline = { sdpMLineIndex: peer?.sctpTransport?.mLineIndex ?? 0 }
        const { candidate } = message
        // A candidate that makes no sense is ignored; others may work.
        if (!isUsableCandidate(candidate)) return
        return yield* Effect.ignore(Effect.tryPromise(async () => peer?.addIceCandidate({ candidate, ...mline })))
      }
      case "re-answer":
      case "update": {
        if (peer === undefined) return
        if (!(yield* applyAnswer(message.sdp))) return
        const waiting = reAnswers.shift()
        if (waiting !== undefined) yield* Deferred.succeed(waiting, undefined)
        return
      }
      case "disconnect":
        return end(typeDisconnect)
      default:
        return end(invalidMessage)
    }
  })

  const onSocketMessage = Effect.fnUntraced(function*(text: string) {
    const decoded = Result.flatMap(Signaling.parseMessage(text), Signaling.decodeClientMessage)
    if (Result.isFailure(decoded)) return end(invalidMessage)
    const message = decoded.success
    // First of all, and only first: `connect`.
    if ((message.type === "connect") !== (connect === undefined)) return end(invalidMessage)
    switch (message.type) {
      case "connect":
        return yield* onConnect(message)
      case "answer": {
        yield* applyAnswer(message.sdp)
        return
      }
      case "pong": {
        lastPong = clock.currentTimeMillisUnsafe()
        if (message.stats !== undefined) onStats(message.stats)
        return
      }
      default:
        return yield* onSignaling(message)
    }
  })

  const onStats = (reports: Schema.Json) => {
    const waiting = statsRequests.shift()
    if (waiting !== undefined) Deferred.doneUnsafe(waiting, Exit.succeed(reports))
  }

  const runRpc = yield* FiberSet.makeRuntime<never>().pipe(Scope.provide(held))

  const onRpcMessage = (data: unknown) => {
    if (member === undefined || ended) return
    let frame: string
    try {
      frame = Channel.decodeMessage(data, channels.get("rpc")?.compress ?? false, shared.maxInflatedBytes)
    } catch {
      // Answered with a parse error.
      frame = ""
    }
    const refusal = callsUnderWay < shared.maxCalls ? undefined : tooManyCalls
    callsUnderWay++
    runRpc(
      logged(Effect.flatMap(shared.dispatcher.dispatch(frame, member, isGranted, refusal), onRpcAnswer)).pipe(
        Effect.onExit(callEnded)
      )
    )
  }

  const callEnded = () =>
    Effect.sync(() => {
      callsUnderWay--
    })

  const tooManyCalls = internalErrorOf(`${shared.maxCalls} calls are under way`)

  const isGranted = (method: string) => rpcMethods.includes(method)

  const onRpcAnswer = Effect.fnUntraced(function*(answer: string | undefined) {
    if (answer === undefined) return
    if (faults !== undefined) {
      const open = channels.get("rpc")
      return yield* faults.respond(answer, {
        compress: open?.compress ?? false,
        maxBytes: peer?.sctpTransport?.["remoteMaxMessageSize"] ?? 0,
        send: (data) => void sendData(open, data)
      })
    }
    if (sendOnChannel("rpc", answer)) return
    // What Sora does with an answer above the largest message is not known (section 9 row 14); here it is dropped.
    yield* Effect.logDebug(`an answer of ${answer.length} characters could not be sent`)
  })

  /** To the other connections of the channel that opened the label, in the directions they asked for. */
  const relay = (label: string, data: unknown) => {
    const own = channels.get(label)
    if (member === undefined || own?.options === undefined || own.options.direction === "recvonly") return
    let bytes: Uint8Array
    try {
      const raw = typeof data === "string" ? Buffer.from(data) : data as Uint8Array
      bytes = own.compress ? compression.inflate(raw, shared.maxInflatedBytes) : raw
    } catch {
      // The application's own messages: a bad one is nobody's but its own.
      return
    }
    for (const other of shared.channels.members(member.channelId)) {
      if (other === member || other.bundleId === member.bundleId) continue
      relays.get(other)?.(label, bytes, member.connectionId)
    }
  }

  const receiveRelayed: Relay = (label, bytes, sender) => {
    const open = channels.get(label)
    if (open?.options === undefined || open.options.direction === "sendonly") return
    // Whether a header goes inside the compression is not known (section 9 row 25); here it does.
    const message = Buffer.concat([Buffer.from(open.options.header === undefined ? "" : sender), bytes])
    sendData(open, open.compress ? compression.deflate(message) : message)
  }

  const onChannelMessage = Effect.fnUntraced(function*(label: string, data: unknown) {
    if (member === undefined) return
    if (label.startsWith("#")) return relay(label, data)
    if (label === "rpc") {
      waitingCalls--
      return onRpcMessage(data)
    }
    let text: string
    try {
      text = Channel.decodeMessage(data, channels.get(label)?.compress ?? false, shared.maxInflatedBytes)
    } catch {
      return end(internalError)
    }
    const decoded = Result.flatMap(Signaling.parseMessage(text), Signaling.decodeClientMessage)
    if (Result.isFailure(decoded)) return end(internalError)
    const { type } = decoded.success
    if (label === "stats" && decoded.success.type === "stats") return onStats(decoded.success.reports)
    // Anything else on a label that the server manages ends the connection (section 2.11).
    if (label !== "signaling" || !["candidate", "re-answer", "disconnect"].includes(type)) return end(internalError)
    yield* onSignaling(decoded.success)
  })

  const onEvent = Effect.fnUntraced(function*(event: Event) {
    unhandled -= weightOf(event)
    if (ended && event._tag !== "PeerState") return
    switch (event._tag) {
      case "SocketMessage":
        return yield* onSocketMessage(event.text)
      case "SocketEnded": {
        // The client says `disconnect` on the DataChannel (section 2.16); one that cannot is gone.
        if (!ignoreSocket) yield* beside(Effect.delay(Effect.sync(() => end(typeDisconnect)), CloseGrace))
        return
      }
      case "ChannelMessage":
        return yield* onChannelMessage(event.label, event.data)
      case "ChannelOpen":
        return checkSwitch()
      case "MediaChanged":
        return yield* renegotiate
      case "ChannelClosed":
        return channels.has(event.label) ? end(internalError) : undefined
      case "PeerState": {
        if (event.state === "connected" && member !== undefined && !ended) {
          if (joined) return
          joined = true
          relays.set(member, receiveRelayed)
          // A client that leaves aborts the association; werift's connection state does not tell for half a minute.
          const association = peer?.sctpTransport?.sctp.stateChanged.closed.subscribe(() => {
            offer({ _tag: "PeerState", state: "closed" })
          })
          if (association !== undefined) yield* Scope.addFinalizer(held, Effect.sync(association.unSubscribe))
          shared.channels.join(member)
          checkSwitch()
          media?.join()
          yield* renegotiate
          return faults === undefined ? undefined : yield* planDeath
        }
        if (event.state !== "failed" && event.state !== "closed") return
        yield* Deferred.succeed(peerGone, undefined)
        return end({ code: 1000, reason: "PEER-GONE" })
      }
    }
  })

  // ---------------------------------------------------------------- running

  const onSocketEnd = Effect.sync(() => {
    socketOpen = false
    Deferred.doneUnsafe(socketClosed, Exit.void)
    // At once, and not when it is its turn: what comes before it, such as an authentication, may take its time.
    if (!switched) return end({ code: 1000, reason: "" })
    offer({ _tag: "SocketEnded" })
  })

  const socket = yield* Socket.fromWebSocket(
    Effect.acquireRelease(Effect.succeed(webSocket), (webSocket) => Effect.sync(() => webSocket.close()))
  )
  yield* Socket.readerString(socket).pipe(
    Effect.flatMap((pull) =>
      Effect.forever(Effect.map(pull, (texts) => {
        for (const text of texts) offer({ _tag: "SocketMessage", text })
      }))
    ),
    Effect.scoped,
    Effect.catch(() => onSocketEnd),
    beside
  )
  yield* beside(Effect.delay(
    Effect.sync(() => {
      if (connect === undefined) end(timedOut)
    }),
    shared.connectTimeout
  ))
  yield* beside(
    Queue.take(inbox).pipe(
      Effect.flatMap((event) =>
        Effect.catchCause(onEvent(event), (cause) =>
          Cause.hasInterruptsOnly(cause)
            ? Effect.failCause(cause as Cause.Cause<never>)
            // What was under way when the connection ended fails on what is closed already.
            : ended
            ? Effect.void
            : Effect.andThen(
              Effect.ignoreCause(Effect.logError("the development server failed", cause)),
              Effect.sync(() => end(internalError))
            ))
      ),
      Effect.forever
    )
  )
  yield* Deferred.await(tornDown)
  // Silent, its WebSocket stays open for as long as the client believes in it.
  if (silent && webSocket.readyState !== 3) {
    yield* Effect.callback<void>((resume) =>
      webSocket.addEventListener("close", () => resume(Effect.void), { once: true })
    )
  }
})

type Relay = (label: string, bytes: Uint8Array, sender: string) => void

/** How a message reaches the `#` channels of a member. */
const relays = new WeakMap<Member, Relay>()
