/**
 * What the state machine of a connection is made of: what can happen, what can
 * be wanted, and where a connection stands.
 */
import type * as Duration from "effect/Duration"
import type * as Schema from "effect/Schema"
import type * as Signaling from "../../../Signaling.ts"
import type { End } from "../ends.ts"

/** What the client says. It waits while something is being done that it may be about. */
export type Message =
  | { readonly _tag: "SocketMessage"; readonly text: string }
  /** Of the labels that signaling goes over. Nothing for what is no text. */
  | { readonly _tag: "ChannelMessage"; readonly label: string; readonly text: string }

/** What is waited for. */
export type Alarm =
  /** The time for `connect` to come. */
  | "Connect"
  /** The time for the WebRTC connection, once there is an offer. */
  | "Join"
  /** The time that the authentication gave. */
  | "Lifetime"
  /** The time of a client to say goodbye on the DataChannel, when its WebSocket is gone (section 2.16). */
  | "Goodbye"

/** What happened. */
export type Event =
  | Message
  | { readonly _tag: "SocketEnded" }
  | { readonly _tag: "ChannelOpen"; readonly label: string }
  | { readonly _tag: "ChannelClosed"; readonly label: string }
  /** The server itself has closed it, as a fault. */
  | { readonly _tag: "ChannelDropped"; readonly label: string }
  | { readonly _tag: "PeerState"; readonly state: string }
  /** What came of `Admit`: another address, silence, or an offer. */
  | { readonly _tag: "Redirected" }
  | { readonly _tag: "Ignored" }
  | { readonly _tag: "Offered"; readonly offered: Offered }
  | { readonly _tag: "AnswerApplied" }
  /** A track that the client should receive has begun or ended. */
  | { readonly _tag: "MediaChanged" }
  | { readonly _tag: "TimeOver"; readonly alarm: Alarm }

/** What a connection was offered. */
export interface Offered {
  readonly labels: ReadonlyArray<string>
  readonly ignoreDisconnectWebsocket: boolean
  readonly lifetime: Duration.Duration | undefined
}

/** What is to be done. */
export type Command =
  /** Looks at who comes, and makes the offer. */
  | { readonly _tag: "Admit"; readonly connect: Signaling.Connect }
  | { readonly _tag: "ApplyAnswer"; readonly sdp: string; readonly type: "answer" | "re-answer" }
  | { readonly _tag: "AddCandidate"; readonly candidate: string }
  /** The connection is in its channel. */
  | { readonly _tag: "Join" }
  /** Calls are answered, those that have come already first. */
  | { readonly _tag: "StartCalls" }
  /** Signaling has moved to the DataChannels. */
  | { readonly _tag: "TellSwitched"; readonly ignoreDisconnectWebsocket: boolean }
  /** Makes a new offer, if the client is to receive other tracks than it does. */
  | { readonly _tag: "Renegotiate" }
  | { readonly _tag: "Ping" }
  | { readonly _tag: "Pong" }
  | { readonly _tag: "Statistics"; readonly reports: Schema.Json }
  | { readonly _tag: "Wait"; readonly duration: Duration.Duration; readonly alarm: Alarm }
  | { readonly _tag: "End"; readonly by: End }

/** How far it has come. That it has ended is not said here: others than the machine may end it. */
export type Phase =
  | { readonly _tag: "AwaitingConnect" }
  /** What the client says waits until there is an offer. */
  | { readonly _tag: "Admitting" }
  /** Nothing is answered, as a fault. */
  | { readonly _tag: "Ignoring" }
  | { readonly _tag: "Offered"; readonly offered: Offered }
  | { readonly _tag: "Joined"; readonly offered: Offered }

/** Where a connection stands. */
export interface State {
  readonly phase: Phase
  /** While an answer is applied, what the client says waits. */
  readonly isApplying: boolean
  /** Whether signaling has moved to the DataChannels. */
  readonly switched: boolean
  /** Those that there are, and whether each is open. */
  readonly channels: ReadonlyMap<string, "connecting" | "open">
  /** Messages with one so far. */
  readonly candidates: number
}

/** What is the same all its life. */
export interface Task {
  readonly connectTimeout: Duration.Duration
  readonly switchOrder: "before-open" | "after-open"
  readonly recvonlyWithoutMedia: boolean
}

/** The next state, and what is to be done. */
export type Step = readonly [State, ReadonlyArray<Command>]

/** Whether something is under way that what the client says may be about. */
export const isBusy = ({ isApplying, phase }: State): boolean => isApplying || phase._tag === "Admitting"

export const isMessage = (event: Event): event is Message =>
  event._tag === "SocketMessage" || event._tag === "ChannelMessage"
