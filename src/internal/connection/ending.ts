/**
 * How a connection ends: what is said, what is waited for, and when everything
 * is let go (`sora-protocol.md` section 2.16).
 */
import * as Duration from "effect/Duration"
import type { DisconnectReason, ServerClosed } from "../../DisconnectReason.ts"
import { ConnectionLost, Refused, type SoraConnectionErrorReason } from "../../SoraConnectionError.ts"
import { DisconnectMessageReason as Reason } from "../protocol.ts"
import {
  and,
  type Command,
  type Event,
  isOver,
  offerOf,
  send,
  type State,
  stay,
  type Step,
  type Task,
  usualWays,
  wait,
  withoutChannel
} from "./state.ts"

/** How long a server that had not come as far as a connection has to close its side. */
const EarlyPatience = Duration.seconds(1)

/** Before the connection is made its end is the failure of connecting, and may be told more exactly. */
const errorOf = (reason: DisconnectReason): SoraConnectionErrorReason =>
  reason._tag === "ServerClosed"
    ? new Refused({ code: reason.code, reason: reason.reason })
    : new ConnectionLost({ reason })

/** Section 2.16, state by state: what is said at the end. Nothing, where there is nothing to wait for either. */
const goodbye = (state: State, reason: DisconnectReason): Command | undefined => {
  const say = (reason: string, ways = usualWays(state)) => send({ type: "disconnect", reason }, ways)
  switch (reason._tag) {
    case "SocketLost":
    case "ServerClosed":
      return state.switched === undefined
        ? undefined
        : say(reason._tag === "SocketLost" ? Reason.SocketFailed : Reason.SocketClosed, [{ label: "signaling" }])
    case "ClientFault":
      return say(Reason.InternalError)
    case "PeerFailed":
      return undefined
    default:
      // Before the offer there is nothing to disconnect: the WebSocket is closed, and that is all.
      return offerOf(state) === undefined ? undefined : say(Reason.NoError)
  }
}

const released = (state: State, reason: DisconnectReason): Step =>
  stay({ ...state, phase: { _tag: "Ended", reason } }, { _tag: "Release" })

/** Whether the server has closed its side. */
const checkClosed = (state: State): Step =>
  state.phase._tag === "Ending" && state.url === undefined && state.channels.size === 0
    ? released(state, state.phase.reason)
    : stay(state)

/**
 * What happens after the goodbye: the server closes its side, or has had its
 * time. Nothing else is of interest.
 *
 * @internal
 */
export const whileEnding = (state: State, event: Event): Step => {
  if (state.phase._tag !== "Ending") return stay(state)
  switch (event._tag) {
    case "SocketEnded":
      return event.node === state.node ? checkClosed({ ...state, url: undefined }) : stay(state)
    case "ChannelClosed":
      return checkClosed(withoutChannel(state, event.label))
    case "GoodbyeOver":
      return released(state, state.phase.reason)
    default:
      return stay(state)
  }
}

const atOnce = (state: State, reason: DisconnectReason, told: Command): Step =>
  stay({ ...state, phase: { _tag: "Ended", reason } }, told, { _tag: "Release" })

/**
 * The server has said `close`, which is not answered: the official SDK closes
 * everything at once. The WebSocket's own Close is another end, which a server
 * may not know of on the DataChannels.
 *
 * @internal
 */
export const endByMessage = (state: State, reason: ServerClosed): Step =>
  isOver(state) ? stay(state) : atOnce(state, reason, { _tag: "End", reason, error: errorOf(reason) })

/**
 * Before the connection is made its end is the failure of connecting, so
 * `error` says it more exactly.
 *
 * @internal
 */
export const end = (task: Task, state: State, reason: DisconnectReason, error = errorOf(reason)): Step => {
  if (isOver(state)) return stay(state)
  const told: Command = { _tag: "End", reason, error }
  const said = goodbye(state, reason)
  if (said === undefined) return atOnce(state, reason, told)
  const patience = state.phase._tag === "Connected"
    ? task.disconnectTimeout
    : Duration.min(task.disconnectTimeout, EarlyPatience)
  return and(
    stay({ ...state, phase: { _tag: "Ending", reason } }, told, said, wait(patience, { _tag: "GoodbyeOver" })),
    checkClosed
  )
}
