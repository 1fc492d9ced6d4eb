/**
 * What a connection does on the server, as a function of what has happened
 * (`sora-protocol.md` section 2, Appendix C): from a state and an event to the
 * next state, and to the commands that are to be carried out.
 *
 * It holds no socket, no peer and no timer, and waits for nothing.
 * `connection.ts` carries the commands out, one event after the other, and what
 * comes of them comes back as events. Calls and the application's own messages
 * do not come through here.
 */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as Signaling from "../../../Signaling.ts"
import {
  type End,
  internalError,
  invalidMessage,
  lifetimeExpired,
  peerGone,
  socketGone,
  timedOut,
  typeDisconnect
} from "../ends.ts"
import { isAcceptable } from "./connectRules.ts"
import { MaxCandidates } from "./sdp.ts"
import type { Alarm, Command, Event, Offered, State, Step, Task } from "./state.ts"

/** How long a client whose WebSocket is gone has to say `disconnect` on the DataChannel (section 2.16). */
const GoodbyeGrace = Duration.seconds(1)

const stay = (state: State, ...commands: ReadonlyArray<Command>): Step => [state, commands]

const and = ([state, commands]: Step, next: (state: State) => Step): Step => {
  const [after, more] = next(state)
  return [after, [...commands, ...more]]
}

const end = (state: State, by: End): Step => stay(state, { _tag: "End", by })

const wait = (duration: Duration.Duration, alarm: Alarm): Command => ({ _tag: "Wait", duration, alarm })

const offeredOf = ({ phase }: State): Offered | undefined => "offered" in phase ? phase.offered : undefined

// ------------------------------------------------------------------ getting there

/** When signaling is to move to the DataChannels it moves first: then it is on one path, for good. */
const checkMedia = (state: State): Step =>
  state.phase._tag === "Joined" && (state.switched || !state.channels.has("signaling"))
    ? stay(state, { _tag: "Renegotiate" })
    : stay(state)

const checkSwitch = (task: Task, state: State): Step => {
  const { phase } = state
  if (state.switched || phase._tag !== "Joined" || !state.channels.has("signaling")) return stay(state)
  const areOpen = Array.from(state.channels.values()).every((is) => is === "open")
  if (task.switchOrder === "after-open" && !areOpen) return stay(state)
  const { ignoreDisconnectWebsocket } = phase.offered
  return and(stay({ ...state, switched: true }, { _tag: "TellSwitched", ignoreDisconnectWebsocket }), checkMedia)
}

/** Before the channel is open nothing can be answered on it, and before it has joined the connection has no place. */
const checkCalls = (state: State): Step =>
  state.phase._tag === "Joined" && state.channels.get("rpc") === "open"
    ? stay(state, { _tag: "StartCalls" })
    : stay(state)

const onPeerState = (task: Task, state: State, peer: string): Step => {
  switch (peer) {
    case "connected": {
      // The client was quiet and is back: meanwhile it could not be offered anything.
      if (state.phase._tag === "Joined") return checkMedia(state)
      if (state.phase._tag !== "Offered") return stay(state)
      const joined: State = { ...state, phase: { _tag: "Joined", offered: state.phase.offered } }
      const step = and(and(stay(joined, { _tag: "Join" }), checkCalls), (state) => checkSwitch(task, state))
      // Once is enough.
      return step[0].switched ? step : and(step, checkMedia)
    }
    case "failed":
    case "closed":
      return end(state, peerGone)
    default:
      return stay(state)
  }
}

const onChannelOpen = (task: Task, before: State, label: string): Step => {
  const state: State = { ...before, channels: new Map(before.channels).set(label, "open") }
  // An offer that was due before this one was open may have found no way to the client.
  if (label === "signaling" && state.switched) return checkMedia(state)
  return and(label === "rpc" ? checkCalls(state) : stay(state), (state) => checkSwitch(task, state))
}

const onOffered = (task: Task, state: State, offered: Offered): Step => {
  const { labels, lifetime } = offered
  const channels = new Map(labels.map((label) => [label, state.channels.get(label) ?? "connecting"] as const))
  return stay(
    { ...state, channels, phase: { _tag: "Offered", offered } },
    { _tag: "Ping" },
    wait(task.connectTimeout, "Join"),
    ...(lifetime === undefined ? [] : [wait(lifetime, "Lifetime")])
  )
}

// ------------------------------------------------------------------ messages

const applyAnswer = (state: State, sdp: string, type: "answer" | "re-answer"): Step =>
  stay({ ...state, isApplying: true }, { _tag: "ApplyAnswer", sdp, type })

/** Messages that may come on the WebSocket and on the `signaling` channel alike. */
const onSignaling = (state: State, message: Signaling.ClientMessage | Signaling.UnknownMessage): Step => {
  switch (message.type) {
    case "candidate": {
      const candidates = state.candidates + 1
      return candidates > MaxCandidates
        ? end(state, invalidMessage)
        : stay({ ...state, candidates }, { _tag: "AddCandidate", candidate: message.candidate })
    }
    case "re-answer":
    case "update":
      return offeredOf(state) === undefined ? stay(state) : applyAnswer(state, message.sdp, "re-answer")
    case "disconnect":
      return end(state, typeDisconnect)
    default:
      return end(state, invalidMessage)
  }
}

const decode = (text: string) => Result.flatMap(Signaling.parseMessage(text), Signaling.decodeClientMessage)

const onSocketMessage = (task: Task, state: State, text: string): Step => {
  const decoded = decode(text)
  if (Result.isFailure(decoded)) return end(state, invalidMessage)
  const message = decoded.success
  // First of all, and only first: `connect`.
  if ((message.type === "connect") !== (state.phase._tag === "AwaitingConnect")) return end(state, invalidMessage)
  switch (message.type) {
    case "connect":
      return isAcceptable(message, task)
        ? stay({ ...state, phase: { _tag: "Admitting" } }, { _tag: "Admit", connect: message })
        : end(state, invalidMessage)
    case "answer":
      return offeredOf(state) === undefined ? end(state, invalidMessage) : applyAnswer(state, message.sdp, "answer")
    case "pong": {
      const pong: Command = { _tag: "Pong" }
      return message.stats === undefined
        ? stay(state, pong)
        : stay(state, pong, { _tag: "Statistics", reports: message.stats })
    }
    default:
      return onSignaling(state, message)
  }
}

/** What does not belong on a label that the server manages ends the connection (section 2.11). */
const onChannelMessage = (state: State, label: string, text: string): Step => {
  const decoded = decode(text)
  if (Result.isFailure(decoded)) return end(state, internalError)
  const message = decoded.success
  if (label === "stats" && message.type === "stats") {
    return stay(state, { _tag: "Statistics", reports: message.reports })
  }
  const isSignaling = message.type === "candidate" || message.type === "re-answer" || message.type === "disconnect"
  return label === "signaling" && isSignaling ? onSignaling(state, message) : end(state, internalError)
}

// ------------------------------------------------------------------ everything else

const onTimeOver = (state: State, alarm: Alarm): Step => {
  switch (alarm) {
    case "Connect":
      return state.phase._tag === "AwaitingConnect" ? end(state, timedOut) : stay(state)
    case "Join":
      return state.phase._tag === "Joined" ? stay(state) : end(state, timedOut)
    case "Lifetime":
      return end(state, lifetimeExpired)
    case "Goodbye":
      return end(state, typeDisconnect)
  }
}

const onSocketEnded = (state: State): Step =>
  !state.switched
    ? end(state, socketGone)
    : offeredOf(state)?.ignoreDisconnectWebsocket === true
    ? stay(state)
    : stay(state, wait(GoodbyeGrace, "Goodbye"))

/** The first state, and what is to be done first. */
export const start = (task: Task): Step =>
  stay(
    {
      phase: { _tag: "AwaitingConnect" },
      isApplying: false,
      switched: false,
      channels: new Map(),
      candidates: 0
    },
    wait(task.connectTimeout, "Connect")
  )

/** What an event makes of a state. */
export const step = (task: Task, state: State, event: Event): Step => {
  switch (event._tag) {
    case "SocketMessage":
      return onSocketMessage(task, state, event.text)
    case "ChannelMessage":
      return onChannelMessage(state, event.label, event.text)
    case "SocketEnded":
      return onSocketEnded(state)
    case "ChannelOpen":
      return onChannelOpen(task, state, event.label)
    case "ChannelClosed":
      return end(state, internalError)
    case "ChannelDropped": {
      const channels = new Map(state.channels)
      channels.delete(event.label)
      return checkSwitch(task, { ...state, channels })
    }
    case "PeerState":
      return onPeerState(task, state, event.state)
    case "Redirected":
      return stay({ ...state, phase: { _tag: "AwaitingConnect" } })
    case "Ignored":
      return stay({ ...state, phase: { _tag: "Ignoring" } })
    case "Offered":
      return onOffered(task, state, event.offered)
    case "AnswerApplied":
      return checkMedia({ ...state, isApplying: false })
    case "MediaChanged":
      return checkMedia(state)
    case "TimeOver":
      return onTimeOver(state, event.alarm)
  }
}
