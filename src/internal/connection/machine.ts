/**
 * What a connection to Sora does, as a function of what has happened
 * (`sora-protocol.md` section 2): from a state and an event to the next state,
 * and to the commands that are to be carried out.
 *
 * It holds no socket, no peer and no timer, and waits for nothing. `session.ts`
 * carries the commands out, one event after the other, and what comes of them
 * comes back as events. So the state has one writer, and is never seen half
 * changed.
 */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import {
  type ChannelClosed,
  type DisconnectReason,
  PeerFailed,
  Redirected,
  Released,
  ServerClosed
} from "../../DisconnectReason.ts"
import * as Signaling from "../../Signaling.ts"
import { ConnectTimeout, type SoraConnectionErrorReason, TooManyRedirects } from "../../SoraConnectionError.ts"
import { MaxSignalingBytes, tooLong } from "../limits.ts"
import { end, endByMessage, whileEnding } from "./ending.ts"
import {
  and,
  type Event,
  isOpen,
  isOver,
  offerOf,
  type Phase,
  type Question,
  seen,
  send,
  type State,
  stay,
  type Step,
  type Task,
  usualWays,
  wait,
  type Way,
  WebSocketWay,
  withoutChannel
} from "./state.ts"

/** Redirects in a row before the nodes are taken to disagree. */
const MaxRedirects = 10

/** How long a peer may be `disconnected` before it is given up; the JS and Rust SDKs wait as long. */
const DisconnectedGrace = Duration.seconds(10)

/**
 * How long a WebSocket that is still open has to say why a DataChannel closed. The two are different transports, and a
 * server that ends a connection closes both: the Close, with its code and reason, may be read later.
 */
const ReasonGrace = Duration.millis(500)

const WaitingFor: { readonly [Tag in Phase["_tag"]]?: string } = {
  Dialling: "a signaling URL to open",
  AwaitingOffer: "the server's offer",
  Negotiating: "the SDP exchange",
  Joining: "the WebRTC connection"
}

// ------------------------------------------------------------------ getting there

/** The connection is made when what the offer promises for RPC is up, and the application's own channels with it. */
const checkReady = (task: Task, state: State): Step => {
  const { phase } = state
  if (phase._tag !== "Joining") return stay(state)
  const labels = new Set((phase.offer.dataChannels ?? []).map(({ label }) => label))
  const up = labels.has("rpc")
    ? isOpen(state, "rpc")
    : labels.has("signaling")
    ? isOpen(state, "signaling")
    : state.peer.state === "connected"
  // Those of the application too, which it would miss: they open one by one, in any order.
  const own = task.labels.every((label) => !labels.has(label) || isOpen(state, label))
  return up && own
    ? stay({ ...state, phase: { _tag: "Connected", offer: phase.offer } }, { _tag: "Ready", offer: phase.offer })
    : stay(state)
}

/** The WebSocket may go once every channel that replaces it is there. */
const checkSwitched = (state: State): Step => {
  const offer = offerOf(state)
  const complete = state.switched?.ignoreSocket === true && state.url !== undefined && offer !== undefined &&
    (offer.dataChannels ?? []).every(({ label }) => isOpen(state, label))
  return complete ? stay({ ...state, url: undefined }, { _tag: "HangUp" }) : stay(state)
}

/** What `connect` says goes to the new node too, so it must be reached no less safely than the old one. */
const redirectIssue = (from: string, location: string): string | undefined => {
  const { protocol } = URL.parse(location) ?? {}
  return protocol !== "ws:" && protocol !== "wss:"
    ? "its location is no ws:// or wss:// URL"
    : protocol === "ws:" && from.startsWith("wss:")
    ? "it leaves wss:// for ws://"
    : undefined
}

const onRedirect = (task: Task, state: State, location: string): Step => {
  // Later than it may come: the node gives the connection up.
  if (offerOf(state) !== undefined) return end(task, state, new Redirected())
  const issue = state.url === undefined ? "it came before the connect" : redirectIssue(state.url, location)
  if (issue !== undefined) {
    return end(task, state, new Released(), new Signaling.InvalidMessage({ messageType: "redirect", issue }))
  }
  const node = state.node + 1
  return node > MaxRedirects
    ? end(task, state, new Released(), new TooManyRedirects({ count: node }))
    : stay({ ...state, node, url: undefined, phase: { _tag: "Dialling" } }, { _tag: "Dial", node, urls: [location] })
}

// ------------------------------------------------------------------ messages

const onInvalid = (task: Task, state: State, invalid: Signaling.InvalidMessage): Step =>
  state.phase._tag === "Connected"
    ? stay(state, { _tag: "Log", level: "warning", text: `ignored a message: ${invalid.message}` })
    : end(task, state, new Released(), invalid)

const onMessage = (
  task: Task,
  state: State,
  message: Signaling.ServerMessage | Signaling.UnknownMessage,
  way: Way
): Step => {
  switch (message.type) {
    case "redirect":
      return way === WebSocketWay ? onRedirect(task, state, message.location) : stay(state)
    case "offer": {
      if (state.phase._tag !== "AwaitingOffer") return stay(state)
      const { rpcMethods = [], sdp } = message
      return stay(
        { ...state, rpcMethods, phase: { _tag: "Negotiating", offer: message, candidates: [] } },
        { _tag: "Answer", offer: message, to: { type: "offer", sdp, way } }
      )
    }
    case "re-offer":
    case "update": {
      const offer = offerOf(state)
      if (offer === undefined) return stay(state)
      const rpcMethods = message.type === "re-offer" ? message.rpcMethods ?? state.rpcMethods : state.rpcMethods
      const { sdp, type } = message
      return stay({ ...state, rpcMethods }, { _tag: "Answer", offer, to: { type, sdp, way } })
    }
    case "ping":
      return message.stats === true
        ? stay(state, { _tag: "CollectStatistics", type: "pong", way })
        : stay(state, send({ type: "pong" }, [way]))
    case "req-stats":
      return stay(state, { _tag: "CollectStatistics", type: "stats", way })
    case "notify":
      return stay(state, { _tag: "Notify", notify: message })
    case "push":
      return stay(state, { _tag: "Push", push: message })
    case "switched": {
      const ignoreSocket = message.ignoreDisconnectWebsocket ?? offerOf(state)?.ignoreDisconnectWebsocket ?? false
      return and(stay({ ...state, switched: { ignoreSocket } }), checkSwitched)
    }
    case "close":
      return endByMessage(state, new ServerClosed({ code: message.code, reason: message.reason ?? "" }))
    case "unknown":
      return stay(state, {
        _tag: "Log",
        level: "debug",
        text: `ignored a signaling message of unknown type "${message.messageType}"`
      })
  }
}

const onText = (task: Task, state: State, text: string, way: Way): Step => {
  if (text.length > MaxSignalingBytes) {
    return onInvalid(task, state, new Signaling.InvalidMessage({ issue: tooLong }))
  }
  const parsed = Signaling.parseMessage(text)
  if (Result.isFailure(parsed)) return onInvalid(task, state, parsed.failure)
  return and(stay(state, { _tag: "Message", event: seen("received", way, parsed.success) }), (state) => {
    const decoded = Signaling.decodeServerMessage(parsed.success)
    return Result.isFailure(decoded)
      ? onInvalid(task, state, decoded.failure)
      : onMessage(task, state, decoded.success, way)
  })
}

// ------------------------------------------------------------------ everything else

const onAnswered = (task: Task, state: State, to: Question, sdp: string): Step => {
  if (to.type !== "offer") {
    const answer = { type: to.type === "update" ? "update" : "re-answer", sdp } as const
    // The WebSocket may have been given up meanwhile. (Then a pong has no place to go: on the DataChannel it would be a
    // violation.)
    return stay(state, send(answer, [to.way, ...usualWays(state)]))
  }
  const { phase } = state
  if (phase._tag !== "Negotiating") return stay(state)
  return and(
    stay(
      { ...state, phase: { _tag: "Joining", offer: phase.offer } },
      send({ type: "answer", sdp }, [WebSocketWay]),
      ...phase.candidates.map((candidate) => send(candidate, usualWays(state)))
    ),
    (state) => checkReady(task, state)
  )
}

const onPeerState = (task: Task, before: State, peerState: string): Step => {
  const change = before.peer.change + 1
  const state: State = { ...before, peer: { state: peerState, change } }
  switch (peerState) {
    case "connected":
      return checkReady(task, state)
    case "failed":
    case "closed":
      return end(task, state, new PeerFailed({ state: peerState }))
    case "disconnected":
      return stay(state, wait(DisconnectedGrace, { _tag: "PeerOver", change }))
    default:
      return stay(state)
  }
}

const onChannelClosed = (task: Task, before: State, closed: ChannelClosed): Step => {
  const state = withoutChannel(before, closed.label)
  return state.url === undefined
    ? end(task, state, closed)
    : stay(state, wait(ReasonGrace, { _tag: "ReasonOver", closed }))
}

/** A renegotiation that fails on a running connection ends it: the server waits for the answer. */
const lostBy = (reason: SoraConnectionErrorReason): DisconnectReason =>
  reason._tag === "NegotiationFailed"
    ? new PeerFailed({ state: `unable to renegotiate (${reason.step})` })
    : new Released()

/**
 * The first state, and what is to be done first.
 *
 * @internal
 */
export const start = (task: Task): Step =>
  stay(
    {
      phase: { _tag: "Dialling" },
      node: 0,
      url: undefined,
      channels: new Map(),
      peer: { state: "new", change: 0 },
      rpcMethods: [],
      switched: undefined
    },
    wait(task.timeLeft, { _tag: "ConnectOver" }),
    { _tag: "Dial", node: 0, urls: task.urls }
  )

/**
 * What an event makes of a state.
 *
 * @internal
 */
export const step = (task: Task, state: State, event: Event): Step =>
  isOver(state) ? whileEnding(state, event) : whileAlive(task, state, event)

const whileAlive = (task: Task, state: State, event: Event): Step => {
  switch (event._tag) {
    case "SocketOpen": {
      // One that opened too late is closed with everything else, or by the next dial.
      if (event.node !== state.node || state.phase._tag !== "Dialling") return stay(state)
      const message = event.node > 0 ? { ...task.connect, redirect: true } : task.connect
      return stay({ ...state, url: event.url, phase: { _tag: "AwaitingOffer" } }, send(message, [WebSocketWay]))
    }
    case "SocketMessage":
      return event.node === state.node ? onText(task, state, event.text, WebSocketWay) : stay(state)
    case "SocketEnded": {
      if (event.node !== state.node) return stay(state)
      const closed: State = { ...state, url: undefined }
      return state.switched?.ignoreSocket === true
        ? stay(closed)
        : end(task, closed, event.reason, event.invalid)
    }
    case "Channel": {
      const channels = new Map(state.channels).set(event.label, event.is)
      return and(checkReady(task, { ...state, channels }), checkSwitched)
    }
    case "ChannelMessage":
      return onText(task, state, event.text, { label: event.label })
    case "ChannelClosed":
      return onChannelClosed(task, state, event)
    case "PeerState":
      return onPeerState(task, state, event.state)
    case "Candidate": {
      const { phase } = state
      return phase._tag === "Negotiating"
        ? stay({ ...state, phase: { ...phase, candidates: [...phase.candidates, event.candidate] } })
        : stay(state, send(event.candidate, usualWays(state)))
    }
    case "Answered":
      return onAnswered(task, state, event.to, event.sdp)
    case "Statistics": {
      const { reports, type, way } = event
      return stay(state, send(type === "pong" ? { type, stats: reports } : { type, reports }, [way]))
    }
    case "Failed":
      return end(task, state, lostBy(event.reason), event.reason)
    case "ConnectOver": {
      if (state.phase._tag === "Connected") return stay(state)
      const waitingFor = WaitingFor[state.phase._tag]!
      const error = new ConnectTimeout({ waitingFor, timeout: task.connectTimeout })
      return end(task, state, new Released(), error)
    }
    case "ReasonOver":
      return end(task, state, event.closed)
    case "PeerOver":
      // Unless it came back meanwhile, even for a moment.
      return event.change === state.peer.change
        ? end(task, state, new PeerFailed({ state: "disconnected" }))
        : stay(state)
    case "GoodbyeOver":
      return stay(state)
    case "Released":
    case "ClientFault":
      return end(task, state, event)
  }
}
