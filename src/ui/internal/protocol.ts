/**
 * What the development server and its page say to each other: `effect/rpc` over
 * one WebSocket. Streams go on for as long as the page is open.
 */
import { Rpc, RpcGroup } from "effect/rpc"
import * as Schema from "effect/Schema"
import * as Signaling from "../../Signaling.ts"
import { Field } from "./form.ts"

/** Where the page is, beside signaling; its WebSocket is `socket` below it. */
export const Path = "/ui/"

const key = Schema.optionalKey

/** A method that the server serves; no form for one without params. */
export const Method = Schema.Struct({
  /** As it is called on the wire. */
  name: Schema.String,
  /** For its params as they are on the wire. */
  form: key(Field)
})
export type Method = typeof Method.Type

export const Info = Schema.Struct({
  version: Schema.String,
  signalingUrl: Schema.String,
  methods: Schema.Array(Method)
})
export type Info = typeof Info.Type

export const Rids = Schema.Array(Schema.String)

/** A connection, in a channel or on its way into one. */
export const Connection = Schema.Struct({
  connectionId: Schema.String,
  clientId: Schema.String,
  bundleId: Schema.String,
  sessionId: Schema.String,
  channelId: Schema.String,
  role: Signaling.Role,
  state: Schema.Literals(["connecting", "joined"]),
  /** Whether signaling has moved to the DataChannels. */
  switched: Schema.Boolean,
  /** Milliseconds since the epoch. */
  since: Schema.Finite,
  simulcast: Schema.Boolean,
  spotlight: Schema.Boolean,
  metadata: key(Schema.Json),
  authnMetadata: key(Schema.Json),
  authzMetadata: key(Schema.Json),
  rid: Schema.String,
  /** The layers asked for of single senders. */
  ridsBySender: Schema.Record(Schema.String, Schema.String),
  spotlightFocusRid: Schema.String,
  spotlightUnfocusRid: Schema.String,
  /** Its tracks that arrive, with the layers of simulcast. */
  sends: Schema.Array(Schema.Struct({ kind: Schema.String, rids: Rids })),
  /** The tracks of others that it gets. */
  receives: Schema.Array(Schema.Struct({ kind: Schema.String, from: Schema.String }))
})
export type Connection = typeof Connection.Type

/** What has changed; the first one of a stream has all. */
export const Connections = Schema.Struct({
  changed: Schema.Array(Connection),
  removed: Schema.Array(Schema.String)
})

/** What an entry of the timeline is of. */
const entryMembers = {
  seq: Schema.Int,
  /** Milliseconds since the epoch, with a fraction. */
  at: Schema.Finite,
  /** Counts the WebSockets of the server: before `connect` is answered there is no connection id. */
  line: Schema.Int,
  connectionId: key(Schema.String),
  channelId: key(Schema.String)
}

/** A message, as text. Directions are the server's: what clients send is `received`. */
export const Message = Schema.TaggedStruct("Message", {
  ...entryMembers,
  direction: Schema.Literals(["received", "sent"]),
  transport: Schema.Literals(["websocket", "datachannel"]),
  label: key(Schema.String),
  /** The `type` of signaling, the method of a request, or `response`, `error`; empty for what cannot be read. */
  name: Schema.String,
  error: Schema.Boolean,
  /** Of a response: the request that it answers, and the time from its coming until this was sent, in milliseconds. */
  replyTo: key(Schema.Int),
  duration: key(Schema.Finite),
  text: Schema.String
})
export type Message = typeof Message.Type

/** A client got ids of its own. */
export const Opened = Schema.TaggedStruct("Opened", {
  ...entryMembers,
  clientId: Schema.String,
  role: Signaling.Role
})

/** A connection ended, and so the server said why. */
export const Closed = Schema.TaggedStruct("Closed", {
  ...entryMembers,
  code: Schema.Int,
  reason: Schema.String
})

export const Entry = Schema.Union([Message, Opened, Closed])
export type Entry = typeof Entry.Type

export const Entries = Schema.Struct({
  entries: Schema.Array(Entry),
  /** How many were forgotten before they could be sent. */
  lost: Schema.Int
})

/** One second of calls. Latencies, in milliseconds, are the server's: from the request's coming until the response was sent. */
export const Second = Schema.Struct({
  /** Seconds since the epoch. */
  at: Schema.Int,
  calls: Schema.Int,
  errors: Schema.Int,
  p50: key(Schema.Finite),
  p99: key(Schema.Finite),
  /** Calls without an answer at the end of it. */
  waiting: Schema.Int
})
export type Second = typeof Second.Type

/** The server did not do what it was asked to. */
export class Refused extends Schema.TaggedError<Refused>()("Refused", { message: Schema.String }) {}

export const Fault = Schema.Literals(["closeRpc", "killSocket", "killPeer", "closeAbruptly"])
export type Fault = typeof Fault.Type

const onConnection = { connectionId: Schema.String }

export class Protocol extends RpcGroup.make(
  Rpc.make("Info", { success: Info }),
  Rpc.make("Connections", { success: Connections, stream: true }),
  /** What goes wrong on purpose, as `SoraFaults` has it: now, and whenever somebody changes it. */
  Rpc.make("Faults", { success: Schema.JsonObject, stream: true }),
  /** From the first one that is kept, or those after `after`. */
  Rpc.make("Timeline", { payload: { after: Schema.Int }, success: Entries, stream: true }),
  /** The last minutes, then each second as it ends. */
  Rpc.make("Figures", { success: Schema.Array(Second), stream: true }),
  Rpc.make("Disconnect", {
    payload: { channelId: key(Schema.String), connectionId: key(Schema.String) },
    success: Schema.Int,
    error: Refused
  }),
  Rpc.make("Push", {
    payload: { channelId: Schema.String, connectionId: key(Schema.String), data: Schema.Json },
    error: Refused
  }),
  Rpc.make("ReOffer", { payload: onConnection, error: Refused }),
  Rpc.make("RequestStats", { payload: onConnection, success: Schema.Json, error: Refused }),
  Rpc.make("SetFaults", { payload: { faults: Schema.JsonObject }, error: Refused }),
  Rpc.make("Inject", { payload: { ...onConnection, fault: Fault }, error: Refused })
) {}
