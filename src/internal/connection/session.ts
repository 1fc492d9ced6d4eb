/**
 * One connection to Sora as a state machine.
 *
 * Everything that happens (a WebSocket message, a DataChannel that opens, the
 * peer connection that fails) is an event in one inbox, and one fiber handles
 * them in order, so that no two handlers see the state half changed. What takes
 * time (negotiating, statistics) runs in fibers beside it. The frames of the
 * `rpc` channel do not come through here.
 *
 * `end` is the one way to die: it stores the reason, fails the waiting calls,
 * and wakes `teardown`, which says goodbye and releases everything. Closing the
 * scope is `end(Released)`, then waiting for `teardown`.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { Socket } from "effect/socket"
import {
  ChannelClosed,
  ClientFault,
  type DisconnectReason,
  PeerFailed,
  Redirected,
  Released,
  ServerClosed,
  type SocketLost
} from "../../DisconnectReason.ts"
import { type DataChannelLike, PeerConnection, type PeerConnectionLike, type TrackEvent } from "../../PeerConnection.ts"
import type { RpcChannel } from "../../RpcChannel.ts"
import * as Signaling from "../../Signaling.ts"
import {
  ConnectionLost,
  ConnectTimeout,
  NegotiationFailed,
  Refused,
  SoraConnectionError,
  type SoraConnectionErrorReason,
  TooManyRedirects
} from "../../SoraConnectionError.ts"
import * as Hop from "../hop.ts"
import { MaxSignalingBytes, sdpIssue, tooLong } from "../limits.ts"
import * as Channel from "../rpc/channel.ts"
import * as ConnectMessage from "./connectMessage.ts"
import * as Media from "./media.ts"
import type { Options, SignalingEvent } from "./model.ts"
import * as SignalingSocket from "./signalingSocket.ts"

/** Redirects in a row before the nodes are taken to disagree. */
const MaxRedirects = 10

/** How long a peer may be `disconnected` before it is given up; the JS and Rust SDKs wait as long. */
const DisconnectedGrace = Duration.seconds(10)

/**
 * How long a WebSocket that is still open has to say why a DataChannel closed. The two are different transports, and a
 * server that ends a connection closes both: the Close, with its code and reason, may be read later.
 */
const CloseGrace = Duration.millis(500)

/** How long what is under way may take to stop: two closing handshakes of WebSockets. */
const StopGrace = Duration.seconds(2)

/** How long what a WebRTC implementation closes may take; one that never says it is done holds nobody up. */
const ReleaseGrace = Duration.seconds(5)

type Event =
  | { readonly _tag: "SocketMessage"; readonly node: number; readonly text: string }
  | {
    readonly _tag: "SocketEnded"
    readonly node: number
    readonly reason: ServerClosed | SocketLost
    readonly invalid: Signaling.InvalidMessage | undefined
  }
  | { readonly _tag: "ChannelMessage"; readonly label: string; readonly text: string }
  | { readonly _tag: "ChannelOpen"; readonly label: string }
  | { readonly _tag: "ChannelClosed"; readonly label: string; readonly detail?: string }
  | { readonly _tag: "PeerState"; readonly state: string }
  | { readonly _tag: "Candidate"; readonly candidate: Signaling.ClientMessage }

interface OpenChannel {
  readonly channel: DataChannelLike
  readonly compress: boolean
}

const fail = (reason: SoraConnectionErrorReason) => new SoraConnectionError({ reason })

/**
 * What is told of a session as it happens.
 *
 * @internal
 */
export interface Observer {
  readonly onMessage: (event: SignalingEvent) => void
  readonly onNotify: (notify: Signaling.Notify) => void
  readonly onPush: (push: Signaling.Push) => void
  readonly onTrack: (event: TrackEvent) => void
  readonly onSwitched: Effect.Effect<void>
}

/** @internal */
export interface Session {
  readonly offer: Signaling.Offer
  readonly rpcMethods: () => ReadonlyArray<string>
  readonly switched: () => boolean
  readonly rpc: RpcChannel | undefined
  readonly peer: PeerConnectionLike
  readonly dataChannels: () => ReadonlyMap<string, DataChannelLike>
  /** Why it ended, once it has. */
  readonly ended: Effect.Effect<DisconnectReason>
}

/**
 * Connects; the session ends with the scope, if it has not before.
 *
 * @internal
 */
export const connect = Effect.fnUntraced(function*(
  options: Options,
  observer: Observer
): Effect.fn.Return<Session, SoraConnectionError, PeerConnection | Socket.WebSocketConstructor | Scope.Scope> {
  const platform = yield* PeerConnection
  const webSocketConstructor = yield* Socket.WebSocketConstructor
  const connectMessage = yield* ConnectMessage.make(options, platform.environment)
  const connectTimeout = Duration.fromInputUnsafe(options.connectTimeout ?? "30 seconds")
  const openTimeout = Duration.fromInputUnsafe(options.openTimeout ?? "5 seconds")
  const attemptDelay = Duration.fromInputUnsafe(options.attemptDelay ?? "250 millis")
  const disconnectTimeout = Duration.fromInputUnsafe(options.disconnectTimeout ?? "3 seconds")

  // Everything that the connection holds. Closed by `teardown`, never by the caller's scope alone,
  // because the goodbye needs it alive.
  const held = yield* Scope.make()
  // The fibers that make more of it, so the first to go: none dials on what is closed already.
  const working = yield* Scope.make()
  const inbox = yield* Queue.unbounded<Event>()
  const ready = yield* Deferred.make<void, SoraConnectionError>()
  const endedBy = yield* Deferred.make<DisconnectReason>()
  const allClosed = yield* Deferred.make<void>()
  const negotiations = yield* Queue.unbounded<Effect.Effect<void, SoraConnectionError>>()

  let waitingFor = "a signaling URL to open"
  let socket: SignalingSocket.SignalingSocket | undefined
  let offer: Signaling.Offer | undefined
  let rpcMethods: ReadonlyArray<string> = []
  let peer: PeerConnectionLike | undefined
  let rpc: Channel.Ended<RpcChannel> | undefined
  const channels = new Map<string, OpenChannel>()
  let connected = false
  let switched = false
  let ignoreSocket = false
  let answered = false
  let sending = false
  /** Which node of the cluster is spoken to: what one that redirected says after that is of no interest. */
  let node = 0
  let peerChanges = 0
  const candidates: Array<Signaling.ClientMessage> = []

  let endReason: DisconnectReason | undefined

  // ---------------------------------------------------------------- sending

  const sendOnSocket = (message: Signaling.ClientMessage): boolean => {
    if (socket === undefined) return false
    const wire = Signaling.encodeClientMessage(message)
    if (!socket.send(JSON.stringify(wire))) return false
    observer.onMessage({ direction: "sent", transport: "websocket", message: wire })
    return true
  }

  const sendOnChannel = (label: string, message: Signaling.ClientMessage): boolean => {
    const open = channels.get(label)
    if (open === undefined) return false
    const wire = Signaling.encodeClientMessage(message)
    try {
      if (open.channel.readyState !== "open") return false
      open.channel.send(Channel.encodeMessage(JSON.stringify(wire), open.compress))
    } catch {
      return false
    }
    observer.onMessage({ direction: "sent", transport: "datachannel", label, message: wire })
    return true
  }

  /** On the DataChannel once signaling has moved there, else on the WebSocket. */
  const send = (message: Signaling.ClientMessage) => {
    if (!(switched && sendOnChannel("signaling", message))) sendOnSocket(message)
  }

  // ---------------------------------------------------------------- the end

  /** Before the connection is made its end is the failure of `connect`, so `error` says it more exactly. */
  const end = (why: DisconnectReason, error?: SoraConnectionErrorReason) => {
    if (endReason !== undefined) return
    endReason = why
    endRpc(why)
    Deferred.doneUnsafe(endedBy, Exit.succeed(why))
    Deferred.doneUnsafe(ready, Exit.fail(fail(error ?? errorOf(why))))
    checkClosed()
  }

  const endRpc = (why: DisconnectReason) => {
    try {
      rpc?.end(why)
    } catch {
      // A DataChannel that cannot be let go in peace is no reason to tell nobody of the end.
    }
  }

  /**
   * A listener for an event of the WebRTC implementation. What it throws there ends the connection: thrown back, it
   * would be lost, or the end of the process.
   */
  const heard = <Args extends Array<any>>(listener: (...args: Args) => void) => (...args: Args) => {
    try {
      listener(...args)
    } catch (cause) {
      end(new ClientFault({ cause }))
    }
  }

  /** Takes a listener off, or closes; what fails there has no other consequence. */
  const letGo = (...each: ReadonlyArray<() => void>) => {
    for (const run of each) {
      try {
        run()
      } catch {
        // as above
      }
    }
  }

  const errorOf = (why: DisconnectReason): SoraConnectionErrorReason =>
    why._tag === "ServerClosed"
      ? new Refused({ code: why.code, reason: why.reason })
      : new ConnectionLost({ reason: why })

  const checkClosed = () => {
    if (endReason !== undefined && socket === undefined && channels.size === 0) {
      Deferred.doneUnsafe(allClosed, Exit.void)
    }
  }

  /** Section 2.16, state by state. Returns whether there is anything to wait for. */
  const sayGoodbye = (why: DisconnectReason): boolean => {
    const disconnect = (reason: string) => ({ type: "disconnect", reason } as const)
    switch (why._tag) {
      case "Released":
      case "ChannelClosed":
      case "Redirected":
        // Before the offer there is nothing to disconnect: the WebSocket is closed, and that is all.
        if (offer === undefined) return false
        send(disconnect("NO-ERROR"))
        return true
      case "SocketLost":
      case "ServerClosed":
        if (switched) {
          sendOnChannel("signaling", disconnect(why._tag === "SocketLost" ? "WEBSOCKET-ONERROR" : "WEBSOCKET-ONCLOSE"))
        }
        return switched
      case "ClientFault":
        send(disconnect("INTERNAL-ERROR"))
        return true
      case "PeerFailed":
        return false
    }
  }

  const teardown = Effect.gen(function*() {
    const why = yield* Deferred.await(endedBy)
    // A server that did not get as far as a connection gets less time to see it end.
    const patience = connected ? disconnectTimeout : Duration.min(disconnectTimeout, Duration.seconds(1))
    if (sayGoodbye(why)) yield* Effect.timeoutOption(Deferred.await(allClosed), patience)
    yield* bounded(Scope.close(working, Exit.void), StopGrace)
    if (socket !== undefined) yield* bounded(socket.close("disconnected"), ReleaseGrace)
    yield* bounded(Scope.close(held, Exit.void), ReleaseGrace)
  })

  // In a fiber of its own, which nobody interrupts: an interrupted caller still says goodbye.
  const tornDown = yield* Effect.acquireRelease(Effect.forkDetach(teardown), (tornDown) => {
    end(new Released())
    return Fiber.await(tornDown)
  })

  // ---------------------------------------------------------------- getting there

  const checkReady = () => {
    if (connected || offer === undefined || peer === undefined || endReason !== undefined) return
    const labels = new Set((offer.dataChannels ?? []).map(({ label }) => label))
    const open = (label: string) => channels.get(label)?.channel.readyState === "open"
    const up = labels.has("rpc")
      ? open("rpc")
      : labels.has("signaling")
      ? open("signaling")
      : peer.connectionState === "connected"
    // Those of the application too, which it would miss: they open one by one, in any order.
    if (!up || !(options.dataChannels ?? []).every(({ label }) => !labels.has(label) || open(label))) return
    connected = true
    Deferred.doneUnsafe(ready, Exit.void)
  }

  /** The WebSocket may go once every channel that replaces it is there. */
  const checkSwitched = Effect.suspend(() => {
    const complete = switched && ignoreSocket && socket !== undefined && endReason === undefined &&
      (offer?.dataChannels ?? []).every(({ label }) => channels.get(label)?.channel.readyState === "open")
    if (!complete) return Effect.void
    const last = socket
    socket = undefined
    // Not waited for: the server's half of the handshake must not hold up what comes on the DataChannels.
    return last === undefined ? Effect.void : Effect.asVoid(beside(last.close("switched to DataChannels")))
  })

  const dial = Effect.fnUntraced(function*(urls: ReadonlyArray<string>) {
    const dialled = node
    waitingFor = "a signaling URL to open"
    const opened = yield* SignalingSocket.open(urls, {
      headers: options.headers,
      openTimeout,
      attemptDelay,
      onMessage: (text) => Queue.offerUnsafe(inbox, { _tag: "SocketMessage", node: dialled, text }),
      onEnd: (reason, invalid) => Queue.offerUnsafe(inbox, { _tag: "SocketEnded", node: dialled, reason, invalid })
    }).pipe(
      Scope.provide(held),
      Effect.provideService(Socket.WebSocketConstructor, webSocketConstructor),
      Effect.mapError(fail)
    )
    socket = opened
    waitingFor = "the server's offer"
    sendOnSocket(dialled > 0 ? { ...connectMessage, redirect: true } : connectMessage)
  })

  /** What takes the listeners off again, of the peer and all channels that ever were. */
  const listeners: Array<() => void> = []

  /** What the RPC client uses of a channel; what throws there is the end of the connection, and not of a call. */
  const guarded = (channel: DataChannelLike): DataChannelLike => {
    const broken = <A>(cause: unknown, instead: A): A => {
      // Not now: whoever asks is in the midst of a call.
      queueMicrotask(() => end(new ClientFault({ cause })))
      return instead
    }
    return {
      label: channel.label,
      get readyState() {
        try {
          return channel.readyState
        } catch (cause) {
          return broken(cause, "closed")
        }
      },
      get bufferedAmount() {
        try {
          return channel.bufferedAmount
        } catch (cause) {
          return broken(cause, Infinity)
        }
      },
      get bufferedAmountLowThreshold() {
        return channel.bufferedAmountLowThreshold
      },
      set bufferedAmountLowThreshold(bytes) {
        channel.bufferedAmountLowThreshold = bytes
      },
      send: (data) => channel.send(data),
      close: () => channel.close(),
      addEventListener: (type, listener) => channel.addEventListener(type, listener),
      removeEventListener: (type, listener) => letGo(() => channel.removeEventListener(type, listener))
    }
  }

  const attachChannel = (channel: DataChannelLike) => {
    const { label } = channel
    const compress = offer?.dataChannels?.find((offered) => offered.label === label)?.compress ?? false
    const previous = channels.get(label)
    channels.set(label, { channel, compress })
    if ("binaryType" in channel) (channel as { binaryType: string }).binaryType = "arraybuffer"

    const current = () => channels.get(label)?.channel === channel
    const onOpen = heard(() => {
      if (label === "rpc" && current()) {
        endRpc(new ChannelClosed({ label }))
        const options = { compress, maxMessageBytes: maxMessageBytes(), endsWithChannel: false }
        rpc = Channel.fromDataChannel(guarded(channel), options)
      }
      Queue.offerUnsafe(inbox, { _tag: "ChannelOpen", label })
    })
    const onMessage = (event: { readonly data: unknown }) => {
      if (label === "rpc" || label.startsWith("#")) return
      try {
        Queue.offerUnsafe(inbox, { _tag: "ChannelMessage", label, text: Channel.decodeMessage(event.data, compress) })
      } catch {
        Queue.offerUnsafe(inbox, { _tag: "ChannelMessage", label, text: "" })
      }
    }
    const onClose = () => {
      if (current()) Queue.offerUnsafe(inbox, { _tag: "ChannelClosed", label })
    }
    const onError = () => {
      if (current()) Queue.offerUnsafe(inbox, { _tag: "ChannelClosed", label, detail: "it reported an error" })
    }
    listeners.push(
      () => channel.removeEventListener("open", onOpen),
      () => channel.removeEventListener("message", onMessage),
      () => channel.removeEventListener("close", onClose),
      () => channel.removeEventListener("error", onError)
    )
    // A label that comes again replaces the first one (section 3.2).
    previous?.channel.close()
    if (channel.readyState === "open") onOpen()
    else channel.addEventListener("open", onOpen)
    channel.addEventListener("message", onMessage)
    channel.addEventListener("close", onClose)
    channel.addEventListener("error", onError)
  }

  /** What the server's SDP allows, in bytes (RFC 8841: 65,536 when it does not say, 0 is no limit). */
  const maxMessageBytes = () => {
    const announced = /^a=max-message-size:(\d+)/m.exec(offer?.sdp ?? "")?.[1]
    const bytes = announced === undefined ? 65_536 : Number(announced)
    return bytes === 0 ? Channel.MaxMessageBytes : bytes
  }

  const attachPeer = (made: PeerConnectionLike) => {
    const onDataChannel = heard((event: { readonly channel: DataChannelLike }) => attachChannel(event.channel))
    const onCandidate = heard((event: { readonly candidate?: any }) => {
      // The end of candidates, `null` or an empty string, is not told to Sora (section 2.5).
      if (!event.candidate?.candidate) return
      const json = typeof event.candidate.toJSON === "function" ? event.candidate.toJSON() : event.candidate
      const { candidate, sdpMid, sdpMLineIndex, usernameFragment } = json
      const members = Object.entries({ sdpMid, sdpMLineIndex, usernameFragment }).filter(([, value]) => value != null)
      Queue.offerUnsafe(inbox, {
        _tag: "Candidate",
        candidate: { type: "candidate", candidate, ...Object.fromEntries(members) }
      })
    })
    const onState = heard(() => Queue.offerUnsafe(inbox, { _tag: "PeerState", state: made.connectionState }))
    const onTrack = heard((event: TrackEvent) => {
      if (Media.isRemote(event, offer?.connectionId)) observer.onTrack(event)
    })
    listeners.push(
      () => made.removeEventListener("track", onTrack),
      () => made.removeEventListener("datachannel", onDataChannel),
      () => made.removeEventListener("icecandidate", onCandidate),
      () => made.removeEventListener("connectionstatechange", onState)
    )
    made.addEventListener("track", onTrack)
    made.addEventListener("datachannel", onDataChannel)
    made.addEventListener("icecandidate", onCandidate)
    made.addEventListener("connectionstatechange", onState)
  }

  const step = <A>(name: string, run: () => Promise<A>) =>
    Effect.tryPromise({ try: run, catch: (cause) => fail(new NegotiationFailed({ step: name, cause })) })

  const answer = Effect.fnUntraced(function*(made: PeerConnectionLike, sdp: string) {
    yield* step("setRemoteDescription", () => made.setRemoteDescription({ type: "offer", sdp }))
    if (options.media !== undefined && !sending) {
      // Sora says once which sections are the client's to send on; later offers only add what it receives.
      sending = true
      yield* step("sending media", () => Media.send(made, options.media!, offer!))
    }
    const created = yield* step("createAnswer", () => made.createAnswer())
    const answer = { type: "answer", sdp: created.sdp ?? "" } as const
    yield* step("setLocalDescription", () => made.setLocalDescription(answer))
    // Not `answer`: the polyfill of node-datachannel creates the same one for every offer, and describes itself rightly.
    return made.localDescription?.sdp ?? answer.sdp
  })

  const reAnswer = (made: PeerConnectionLike, { sdp, type }: { readonly sdp: string; readonly type: string }) => {
    const issue = sdpIssue(sdp)
    return issue === undefined
      ? answer(made, sdp)
      : fail(new NegotiationFailed({ step: `reading the ${type}`, cause: new Error(issue) }))
  }

  const onOffer = Effect.fnUntraced(function*(received: Signaling.Offer) {
    const issue = sdpIssue(received.sdp)
    if (issue !== undefined) return yield* fail(new Signaling.InvalidMessage({ messageType: "offer", issue }))
    const made = yield* platform.make({
      iceServers: (received.config?.iceServers ?? []).map(({ urls, ...credentials }) => ({
        urls: typeof urls === "string" ? [urls] : urls,
        ...credentials
      })),
      iceTransportPolicy: received.config?.iceTransportPolicy ?? "all"
    }).pipe(Scope.provide(held))
    peer = made
    // Before the peer is closed: that is no news any more.
    yield* Scope.addFinalizer(held, Effect.sync(() => letGo(...listeners)))
    attachPeer(made)
    const sdp = yield* answer(made, received.sdp)
    sendOnSocket({ type: "answer", sdp })
    answered = true
    waitingFor = "the WebRTC connection"
    for (const candidate of candidates.splice(0)) send(candidate)
  })

  const statistics = Effect.suspend(() =>
    peer === undefined ? Effect.succeed([]) : Effect.tryPromise(() => peer!.getStats()).pipe(
      Effect.map((stats) => {
        const reports: Array<any> = []
        stats.forEach((report) => reports.push(report))
        // What JSON has no form for (a Map, a bigint) is not worth failing a pong for.
        return JSON.parse(JSON.stringify(reports, (_, value) => typeof value === "bigint" ? Number(value) : value))
      }),
      Effect.orElseSucceed(() => [])
    )
  )

  const beside = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.forkIn(
      Effect.catchCause(effect, (cause) =>
        Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logWarning("signaling failed", cause)),
      held
    )

  // ---------------------------------------------------------------- what happens

  const onMessage = Effect.fnUntraced(function*(text: string, label: string | undefined) {
    if (text.length > MaxSignalingBytes) return yield* onInvalid(new Signaling.InvalidMessage({ issue: tooLong }))
    const parsed = Signaling.parseMessage(text)
    if (Result.isFailure(parsed)) return yield* onInvalid(parsed.failure)
    observer.onMessage(
      label === undefined
        ? { direction: "received", transport: "websocket", message: parsed.success }
        : { direction: "received", transport: "datachannel", label, message: parsed.success }
    )
    const decoded = Signaling.decodeServerMessage(parsed.success)
    if (Result.isFailure(decoded)) return yield* onInvalid(decoded.failure)
    const message = decoded.success
    /** Answers go back the way the message came. */
    const reply = (answer: Signaling.ClientMessage): boolean =>
      label === undefined ? sendOnSocket(answer) : sendOnChannel(label, answer)

    switch (message.type) {
      case "redirect": {
        if (label !== undefined) return
        // Later than it may come: the node gives the connection up.
        if (offer !== undefined) return end(new Redirected())
        const last = socket
        const refuse = (issue: string) =>
          end(new Released(), new Signaling.InvalidMessage({ messageType: "redirect", issue }))
        if (last === undefined) return refuse("it came before the connect")
        const issue = redirectIssue(last.url, message.location)
        if (issue !== undefined) return refuse(issue)
        if (++node > MaxRedirects) return end(new Released(), new TooManyRedirects({ count: node }))
        socket = undefined
        return yield* Queue.offer(negotiations, Effect.andThen(last.close("redirected"), dial([message.location])))
      }
      case "offer": {
        if (offer !== undefined) return
        offer = message
        rpcMethods = message.rpcMethods ?? []
        waitingFor = "the SDP exchange"
        return yield* Queue.offer(negotiations, onOffer(message))
      }
      case "re-offer":
      case "update": {
        const made = peer
        if (made === undefined) return
        if (message.type === "re-offer" && message.rpcMethods !== undefined) rpcMethods = message.rpcMethods
        return yield* Queue.offer(
          negotiations,
          Effect.map(reAnswer(made, message), (sdp) => {
            const answered = { type: message.type === "update" ? "update" : "re-answer", sdp } as const
            // The WebSocket may have been given up meanwhile. (Then a pong has no place to go: on the DataChannel
            // it would be a violation.)
            if (!reply(answered)) send(answered)
          })
        )
      }
      case "ping": {
        if (message.stats !== true) return void reply({ type: "pong" })
        return yield* beside(Effect.map(statistics, (stats) => reply({ type: "pong", stats })))
      }
      case "req-stats":
        return yield* beside(Effect.map(statistics, (reports) => reply({ type: "stats", reports })))
      case "notify":
        return observer.onNotify(message)
      case "push":
        return observer.onPush(message)
      case "switched": {
        switched = true
        ignoreSocket = message.ignoreDisconnectWebsocket ?? offer?.ignoreDisconnectWebsocket ?? false
        yield* observer.onSwitched
        return yield* checkSwitched
      }
      case "close":
        return end(new ServerClosed({ code: message.code, reason: message.reason ?? "" }))
      case "unknown":
        return yield* Effect.logDebug(`ignored a signaling message of unknown type "${message.messageType}"`)
    }
  })

  const onInvalid = (invalid: Signaling.InvalidMessage) =>
    connected
      ? Effect.logWarning(`ignored a message: ${invalid.message}`)
      : Effect.sync(() => end(new Released(), invalid))

  const onEvent = Effect.fnUntraced(function*(event: Event) {
    switch (event._tag) {
      case "SocketMessage":
        return endReason === undefined && event.node === node ? yield* onMessage(event.text, undefined) : undefined
      case "ChannelMessage":
        return endReason === undefined ? yield* onMessage(event.text, event.label) : undefined
      case "SocketEnded": {
        if (event.node !== node) return
        socket = undefined
        if (!(switched && ignoreSocket)) end(event.reason, event.invalid)
        return checkClosed()
      }
      case "ChannelOpen": {
        checkReady()
        return yield* checkSwitched
      }
      case "ChannelClosed": {
        channels.delete(event.label)
        checkClosed()
        if (endReason !== undefined) return
        const closed = Effect.sync(() =>
          end(new ChannelClosed(event.detail === undefined ? { label: event.label } : event))
        )
        return yield* socket === undefined ? closed : beside(Effect.delay(closed, CloseGrace))
      }
      case "PeerState": {
        const change = ++peerChanges
        if (event.state === "connected") return checkReady()
        if (event.state === "failed" || event.state === "closed") return end(new PeerFailed({ state: event.state }))
        if (event.state === "disconnected") {
          yield* beside(Effect.delay(
            Effect.sync(() => {
              // Unless it came back meanwhile, be it for a moment.
              if (change === peerChanges) end(new PeerFailed({ state: "disconnected" }))
            }),
            DisconnectedGrace
          ))
        }
        return
      }
      case "Candidate": {
        // Sora knows the connection only after the answer.
        if (answered) send(event.candidate)
        else candidates.push(event.candidate)
      }
    }
  })

  /** A loop that died would leave a connection that looks alive: its defect is the end. */
  const loop = <A>(step: Effect.Effect<A>) =>
    step.pipe(
      Effect.forever,
      Effect.catchCause((cause) =>
        Effect.sync(() => {
          if (!Cause.hasInterruptsOnly(cause)) end(new ClientFault({ cause: Cause.squash(cause) }))
        })
      ),
      Effect.forkIn(working)
    )
  yield* loop(Effect.flatMap(Queue.take(inbox), onEvent))
  yield* loop(
    Effect.flatMap(
      Queue.take(negotiations),
      Effect.catch(({ reason }) => Effect.sync(() => end(lostBy(reason), reason)))
    )
  )
  yield* Queue.offer(negotiations, dial(options.signalingUrls))

  yield* Hop.effect(Deferred.await(ready)).pipe(
    Effect.timeoutOrElse({
      duration: connectTimeout,
      orElse: () => Effect.suspend(() => fail(new ConnectTimeout({ waitingFor, timeout: connectTimeout })))
    }),
    // An attempt that failed, or was given up, is over: a later one must not meet it in the channel.
    Effect.onError(() => Effect.andThen(Effect.sync(() => end(new Released())), Fiber.await(tornDown)))
  )

  return {
    offer: offer!,
    rpcMethods: () => rpcMethods,
    switched: () => switched,
    rpc: rpc?.channel,
    peer: peer!,
    dataChannels: () =>
      new Map(
        Array.from(channels, ([label, { channel }]) => [label, channel] as const).filter(([label]) =>
          label.startsWith("#")
        )
      ),
    ended: Deferred.await(endedBy)
  }
})

/** Whether or not it fails, and beside: a finalizer of the user's that does not come back must not be waited for. */
const bounded = (effect: Effect.Effect<void>, duration: Duration.Duration): Effect.Effect<void> =>
  Effect.flatMap(
    Effect.forkDetach(effect),
    (fiber) => Effect.asVoid(Effect.timeoutOption(Fiber.await(fiber), duration))
  )

/** What `connect` says goes to the new node too, so it must be reached no less safely than the old one. */
const redirectIssue = (from: string, location: string): string | undefined => {
  const { protocol } = URL.parse(location) ?? {}
  return protocol !== "ws:" && protocol !== "wss:"
    ? "its location is no ws:// or wss:// URL"
    : protocol === "ws:" && from.startsWith("wss:")
    ? "it leaves wss:// for ws://"
    : undefined
}

/** A renegotiation that fails on a running connection ends it: the server waits for the answer. */
const lostBy = (reason: SoraConnectionErrorReason): DisconnectReason =>
  reason._tag === "NegotiationFailed"
    ? new PeerFailed({ state: `unable to renegotiate (${reason.step})` })
    : new Released()
