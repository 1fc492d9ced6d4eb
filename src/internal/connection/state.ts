/**
 * What the state machine of a connection is made of: what can happen, what can
 * be wanted, and where a connection stands.
 */
import type * as Duration from "effect/Duration"
import type * as Schema from "effect/Schema"
import type {
  ChannelClosed,
  ClientFault,
  DisconnectReason,
  Released,
  ServerClosed,
  SocketLost
} from "../../DisconnectReason.ts"
import type * as Signaling from "../../Signaling.ts"
import type { SoraConnectionErrorReason } from "../../SoraConnectionError.ts"
import type { SignalingEvent } from "./model.ts"

/**
 * The label of a DataChannel, or the WebSocket.
 *
 * @internal
 */
export type Way = { readonly label: string } | "websocket"

/**
 * What happened.
 *
 * @internal
 */
export type Event =
  | { readonly _tag: "SocketOpen"; readonly node: number; readonly url: string }
  | { readonly _tag: "SocketMessage"; readonly node: number; readonly text: string }
  | {
    readonly _tag: "SocketEnded"
    readonly node: number
    readonly reason: ServerClosed | SocketLost
    readonly invalid: Signaling.InvalidMessage | undefined
  }
  | { readonly _tag: "Channel"; readonly label: string; readonly is: "connecting" | "open" }
  | { readonly _tag: "ChannelMessage"; readonly label: string; readonly text: string }
  | ChannelClosed
  | { readonly _tag: "PeerState"; readonly state: string }
  | { readonly _tag: "Candidate"; readonly candidate: Signaling.ClientMessage }
  | { readonly _tag: "Answered"; readonly to: Question; readonly sdp: string }
  | { readonly _tag: "Statistics" } & StatisticsAsked & { readonly reports: Schema.Json }
  | { readonly _tag: "Failed"; readonly reason: SoraConnectionErrorReason }
  /** The time for the whole of connecting is over. */
  | { readonly _tag: "ConnectOver" }
  /** The server's time to close its side. */
  | { readonly _tag: "GoodbyeOver" }
  /** The WebSocket's time to say why a channel closed. */
  | { readonly _tag: "ReasonOver"; readonly closed: DisconnectReason }
  /** The time of a peer to be heard of again, if nothing was heard since its change number `change`. */
  | { readonly _tag: "PeerOver"; readonly change: number }
  | Released
  | ClientFault

/**
 * An SDP of the server that wants an answer, and the way it came.
 *
 * @internal
 */
export interface Question {
  readonly type: "offer" | "re-offer" | "update"
  readonly sdp: string
  readonly way: Way
}

/**
 * How statistics are to be sent.
 *
 * @internal
 */
export interface StatisticsAsked {
  readonly type: "pong" | "stats"
  readonly way: Way
}

/**
 * What is to be done.
 *
 * @internal
 */
export type Command =
  /** Closes the WebSocket that there is, and then dials. */
  | { readonly _tag: "Dial"; readonly node: number; readonly urls: ReadonlyArray<string> }
  /** Closes the WebSocket; what the server says to that is not waited for. */
  | { readonly _tag: "HangUp" }
  /** By the first way that takes it. */
  | { readonly _tag: "Send"; readonly message: Signaling.ClientMessage; readonly ways: ReadonlyArray<Way> }
  | { readonly _tag: "Answer"; readonly offer: Signaling.Offer; readonly to: Question }
  | { readonly _tag: "CollectStatistics" } & StatisticsAsked
  /** The event comes when the time is over. */
  | { readonly _tag: "Wait"; readonly duration: Duration.Duration; readonly event: Event }
  /** Those who watch the connection hear of it. */
  | { readonly _tag: "Message"; readonly event: SignalingEvent }
  | { readonly _tag: "Notify"; readonly notify: Signaling.Notify }
  | { readonly _tag: "Push"; readonly push: Signaling.Push }
  | { readonly _tag: "Log"; readonly level: "debug" | "warning"; readonly text: string }
  /** The connection is made. */
  | { readonly _tag: "Ready"; readonly offer: Signaling.Offer }
  /** It is over: nothing is called or waited for any more. */
  | { readonly _tag: "End"; readonly reason: DisconnectReason; readonly error: SoraConnectionErrorReason }
  /** Everything that it holds is let go. */
  | { readonly _tag: "Release" }

/**
 * How far it has come.
 *
 * @internal
 */
export type Phase =
  | { readonly _tag: "Dialling" }
  | { readonly _tag: "AwaitingOffer" }
  /** Sora knows the connection only after the answer, so candidates wait for it. */
  | { readonly _tag: "Negotiating"; readonly offer: Signaling.Offer; readonly candidates: Candidates }
  | { readonly _tag: "Joining"; readonly offer: Signaling.Offer }
  | { readonly _tag: "Connected"; readonly offer: Signaling.Offer }
  /** Goodbye is said, and the server may close its side. */
  | { readonly _tag: "Ending"; readonly reason: DisconnectReason }
  | { readonly _tag: "Ended"; readonly reason: DisconnectReason }

/** @internal */
export type Candidates = ReadonlyArray<Signaling.ClientMessage>

/**
 * Where a connection stands.
 *
 * @internal
 */
export interface State {
  readonly phase: Phase
  /** Which node of the cluster is spoken to: what one that redirected says after that is of no interest. */
  readonly node: number
  /** The URL of the WebSocket, while it is open. */
  readonly url: string | undefined
  /** Labels of the DataChannels that there are, and whether each is open. */
  readonly channels: ReadonlyMap<string, "connecting" | "open">
  readonly peer: { readonly state: string; readonly change: number }
  /** Of the latest offer or re-offer that had any. */
  readonly rpcMethods: ReadonlyArray<string>
  /** Once signaling has moved to the DataChannels, and whether the WebSocket may go. */
  readonly switched: { readonly ignoreSocket: boolean } | undefined
}

/**
 * What it is to do, all its life.
 *
 * @internal
 */
export interface Task {
  readonly urls: ReadonlyArray<string>
  readonly connect: Signaling.Connect
  /** The application's own channels, which it is to find open. */
  readonly labels: ReadonlyArray<string>
  readonly connectTimeout: Duration.Duration
  /** What is left of it. */
  readonly timeLeft: Duration.Duration
  readonly disconnectTimeout: Duration.Duration
}

/**
 * The next state, and what is to be done.
 *
 * @internal
 */
export type Step = readonly [State, ReadonlyArray<Command>]

/** @internal */
export const WebSocketWay = "websocket"

/** @internal */
export const and = ([state, commands]: Step, next: (state: State) => Step): Step => {
  const [after, more] = next(state)
  return [after, [...commands, ...more]]
}

/** @internal */
export const stay = (state: State, ...commands: ReadonlyArray<Command>): Step => [state, commands]

/** @internal */
export const offerOf = ({ phase }: State): Signaling.Offer | undefined => "offer" in phase ? phase.offer : undefined

/**
 * Whether the end has come.
 *
 * @internal
 */
export const isOver = ({ phase }: State): boolean => phase._tag === "Ending" || phase._tag === "Ended"

/** @internal */
export const isOpen = ({ channels }: State, label: string): boolean => channels.get(label) === "open"

/**
 * On the DataChannel once signaling has moved there, else on the WebSocket.
 *
 * @internal
 */
export const usualWays = ({ switched }: State): ReadonlyArray<Way> =>
  switched === undefined ? [WebSocketWay] : [{ label: "signaling" }, WebSocketWay]

/** @internal */
export const withoutChannel = (state: State, label: string): State => {
  const channels = new Map(state.channels)
  channels.delete(label)
  return { ...state, channels }
}

/** @internal */
export const send = (message: Signaling.ClientMessage, ways: ReadonlyArray<Way>): Command => ({
  _tag: "Send",
  message,
  ways
})

/** @internal */
export const wait = (duration: Duration.Duration, event: Event): Command => ({ _tag: "Wait", duration, event })

/**
 * A message as those hear of it who watch the connection.
 *
 * @internal
 */
export const seen = (direction: SignalingEvent["direction"], way: Way, message: Signaling.Wire): SignalingEvent =>
  way === WebSocketWay
    ? { direction, transport: WebSocketWay, message }
    : { direction, transport: "datachannel", label: way.label, message }
