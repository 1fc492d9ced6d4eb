/**
 * The signaling messages of Sora, both directions: one JSON object with a
 * `type` per WebSocket text message or DataChannel message (`sora-protocol.md`
 * section 2). Members are camelCase here and Sora's own names on the wire.
 *
 * The same schemas serve the client and the development server. Both are
 * liberal in what they accept: unknown members are ignored, and nothing is
 * required that some Sora release leaves out.
 *
 * @since 0.1.0
 * @module
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type Members, Struct } from "./internal/wire.ts"
import { Rid } from "./SoraMethod.ts"

/**
 * A JSON object as it stands on the wire.
 *
 * @category models
 * @since 0.1.0
 */
export type Wire = { readonly [member: string]: Schema.Json }

/**
 * A schema between a message in this program and its JSON on the wire.
 *
 * @category models
 * @since 0.1.0
 */
export interface WireSchema<T> extends Schema.Codec<T, Wire> {}

const wire: <const M extends Members>(
  members: M,
  names?: { readonly [Name in keyof M]?: string }
) => WireSchema<Schema.Struct.Type<M>> = Struct

const messageOf = <const Type extends string, const M extends Members>(
  type: Type,
  members: M,
  names?: { readonly [Name in keyof M]?: string }
) => wire({ type: Schema.tag(type), ...members }, names)

const optional = Schema.optionalKey
const text = /* @__PURE__ */ optional(Schema.String)
const flag = optional(Schema.Boolean)
const number = optional(Schema.Finite)
const json = /* @__PURE__ */ optional(Schema.Json)

/**
 * What a connection does in its channel.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Role = Schema.Literals(["sendrecv", "sendonly", "recvonly"])

/**
 * What a connection does in its channel.
 *
 * @category schemas
 * @since 0.1.0
 */
export type Role = typeof Role.Type

/**
 * Parameters of Opus (RFC 7587, section 6.1): `maxplaybackrate` in hertz,
 * `minptime` and `ptime` in milliseconds. With `stereo` the server sends both
 * channels. Sora takes them with `codecType: "OPUS"` alone, and where sora.conf has
 * `signaling_opus_params = true` (section 2.3).
 *
 * @category schemas
 * @since 0.1.0
 */
export const OpusParams = /* @__PURE__ */ wire({
  channels: number,
  maxplaybackrate: number,
  minptime: number,
  ptime: number,
  stereo: flag,
  spropStereo: flag,
  useinbandfec: flag,
  usedtx: flag
})

/**
 * Audio settings of `connect`; `bitRate` in kbit/s, 6 to 510 (section 2.3).
 *
 * @category schemas
 * @since 0.1.0
 */
export const AudioOptions = wire({
  codecType: optional(Schema.Literal("OPUS")),
  bitRate: number,
  opusParams: optional(OpusParams)
})

/**
 * Video settings of `connect`; `bitRate` in kbit/s, 1 to 50,000. Parameters are
 * those of the codec of `codecType`; Sora takes them where sora.conf has, for
 * example, `signaling_vp9_params = true` (section 2.3).
 *
 * @category schemas
 * @since 0.1.0
 */
export const VideoOptions = wire({
  codecType: optional(Schema.Literals(["VP8", "VP9", "AV1", "H264", "H265"])),
  bitRate: number,
  vp9Params: optional(wire({ profileId: number })),
  av1Params: optional(wire({ profile: number, levelIdx: number, tier: number })),
  h264Params: optional(wire({ profileLevelId: text, bFrame: flag })),
  h265Params: optional(wire({ profileId: number, levelId: number, tierFlag: number, txMode: text, bFrame: flag }))
})

/**
 * Which senders, and of them which kinds of media, a connection does not receive
 * (`block`), or does (`allow`): those that the conditions in `rules` fit (section
 * 2.3).
 *
 * @category schemas
 * @since 0.1.0
 */
export const ForwardingFilter = /* @__PURE__ */ wire({
  name: text,
  priority: number,
  action: optional(Schema.Literals(["block", "allow"])),
  rules: Schema.Array(Schema.Array(wire({
    field: Schema.Literals(["connection_id", "client_id", "kind"]),
    operator: Schema.Literals(["is_in", "is_not_in"]),
    values: Schema.Array(Schema.String)
  }))),
  version: text,
  metadata: json
})

/**
 * A DataChannel for messages of the application, asked for in `connect`. Its
 * label starts with `#`. `maxPacketLifeTime` is in milliseconds. With `header`
 * what the server delivers tells who sent it (section 3.6).
 *
 * @category schemas
 * @since 0.1.0
 */
export const DataChannelOptions = wire({
  label: Schema.String,
  direction: Role,
  ordered: flag,
  compress: flag,
  maxPacketLifeTime: number,
  maxRetransmits: number,
  protocol: text,
  header: optional(Schema.Array(Schema.Struct({ type: Schema.Literal("sender_connection_id") })))
})

/**
 * The client's first message (section 2.3). `metadata` goes to the server's
 * authentication only; `signalingNotifyMetadata` is shown to the channel.
 *
 * @category client messages
 * @since 0.1.0
 */
export const Connect = messageOf("connect", {
  role: Role,
  channelId: Schema.String,
  clientId: text,
  bundleId: text,
  metadata: json,
  signalingNotifyMetadata: json,
  sdp: text,
  soraClient: text,
  libwebrtc: text,
  environment: text,
  redirect: flag,
  audio: optional(Schema.Union([Schema.Boolean, AudioOptions])),
  video: optional(Schema.Union([Schema.Boolean, VideoOptions])),
  simulcast: flag,
  simulcastRid: optional(Rid),
  simulcastRequestRid: optional(Rid),
  spotlight: flag,
  spotlightNumber: number,
  spotlightFocusRid: optional(Rid),
  spotlightUnfocusRid: optional(Rid),
  dataChannelSignaling: flag,
  ignoreDisconnectWebsocket: flag,
  dataChannels: optional(Schema.Array(DataChannelOptions)),
  audioStreamingLanguageCode: text,
  forwardingFilters: optional(Schema.Array(ForwardingFilter)),
  forwardingFilter: optional(ForwardingFilter)
})

/**
 * The client's first message.
 *
 * @category client messages
 * @since 0.1.0
 */
export type Connect = typeof Connect.Type

/**
 * The client's answer to the offer (section 2.5).
 *
 * @category client messages
 * @since 0.1.0
 */
export const Answer = messageOf("answer", { sdp: Schema.String })

/**
 * One ICE candidate of the client, in the members of `RTCIceCandidate`
 * (section 2.5). Some SDKs send `candidate` alone.
 *
 * @category client messages
 * @since 0.1.0
 */
export const Candidate = messageOf("candidate", {
  candidate: Schema.String,
  sdpMid: optional(Schema.NullOr(Schema.String)),
  sdpMLineIndex: optional(Schema.NullOr(Schema.Int)),
  usernameFragment: optional(Schema.NullOr(Schema.String))
}, { sdpMid: "sdpMid", sdpMLineIndex: "sdpMLineIndex", usernameFragment: "usernameFragment" })

/**
 * The answer to a {@link Ping}, with statistics when it asked for them
 * (section 2.6).
 *
 * @category client messages
 * @since 0.1.0
 */
export const Pong = messageOf("pong", { stats: json })

/**
 * The client's answer to a {@link ReOffer}, on the same transport (section 2.9).
 *
 * @category client messages
 * @since 0.1.0
 */
export const ReAnswer = messageOf("re-answer", { sdp: Schema.String })

/**
 * The client's half of the renegotiation that Sora abolished in 2022.1
 * (section 2.9).
 *
 * @category client messages
 * @since 0.1.0
 */
export const Update = messageOf("update", { sdp: Schema.String })

/**
 * The client leaves, and why: `NO-ERROR`, `WEBSOCKET-ONCLOSE`, … (section 2.10).
 *
 * @category client messages
 * @since 0.1.0
 */
export const Disconnect = messageOf("disconnect", { reason: text })

/**
 * The answer to a {@link ReqStats} on the `stats` DataChannel (section 3.5).
 *
 * @category client messages
 * @since 0.1.0
 */
export const Stats = messageOf("stats", { reports: Schema.Json })

/**
 * The node that serves the channel is elsewhere (section 2.8).
 *
 * @category server messages
 * @since 0.1.0
 */
export const Redirect = messageOf("redirect", { location: Schema.String })

/**
 * A STUN or TURN server of an offer.
 *
 * @category schemas
 * @since 0.1.0
 */
export const IceServer = wire({
  urls: Schema.Union([Schema.Array(Schema.String), Schema.String]),
  username: text,
  credential: text
})

/**
 * One entry of the offer's `data_channels`: whether the payloads of the label
 * are zlib-compressed (section 3.3).
 *
 * @category schemas
 * @since 0.1.0
 */
export const OfferedDataChannel = wire({
  label: Schema.String,
  direction: text,
  compress: flag,
  header: json
})

/**
 * The server's offer (section 2.4). `rpcMethods` are the methods that it grants,
 * `metadata` what its authentication gave to this client alone.
 *
 * @category server messages
 * @since 0.1.0
 */
export const Offer = messageOf("offer", {
  sdp: Schema.String,
  connectionId: Schema.String,
  clientId: text,
  sessionId: text,
  bundleId: text,
  channelId: text,
  version: text,
  metadata: json,
  config: optional(Schema.Struct({
    iceServers: optional(Schema.Array(IceServer)),
    iceTransportPolicy: optional(Schema.Literals(["all", "relay"]))
  })),
  simulcast: flag,
  simulcastMulticodec: flag,
  spotlight: flag,
  encodings: optional(Schema.Array(Schema.JsonObject)),
  mid: optional(wire({ audio: text, video: text })),
  dataChannelSignaling: flag,
  ignoreDisconnectWebsocket: flag,
  dataChannels: optional(Schema.Array(OfferedDataChannel)),
  rpcMethods: optional(Schema.Array(Schema.String)),
  simulcastRpcRids: optional(Schema.Array(Schema.String)),
  audio: json,
  audioCodecType: text,
  audioBitRate: number,
  video: json,
  videoCodecType: text,
  videoBitRate: number
})

/**
 * The server's offer.
 *
 * @category server messages
 * @since 0.1.0
 */
export type Offer = typeof Offer.Type

/**
 * Asks for a {@link Pong}, with statistics when `stats` is true (section 2.6).
 *
 * @category server messages
 * @since 0.1.0
 */
export const Ping = messageOf("ping", { stats: flag })

/**
 * Signaling has moved to the DataChannels; `ignoreDisconnectWebsocket` tells
 * whether the WebSocket may go (section 2.7).
 *
 * @category server messages
 * @since 0.1.0
 */
export const Switched = messageOf("switched", { ignoreDisconnectWebsocket: flag })

/**
 * A new offer for the running connection (section 2.9).
 *
 * @category server messages
 * @since 0.1.0
 */
export const ReOffer = messageOf("re-offer", {
  sdp: Schema.String,
  rpcMethods: optional(Schema.Array(Schema.String))
})

/**
 * The server ends the connection, said on the `signaling` DataChannel before
 * the channels close (section 2.16).
 *
 * @category server messages
 * @since 0.1.0
 */
export const Close = messageOf("close", { code: Schema.Int, reason: text })

/**
 * Asks for {@link Stats} on the `stats` DataChannel (section 3.5).
 *
 * @category server messages
 * @since 0.1.0
 */
export const ReqStats = messageOf("req-stats", {})

/**
 * Data that a server-side API or an RPC sent to the channel (sections 4.10 and
 * 4.11).
 *
 * @category server messages
 * @since 0.1.0
 */
export const Push = messageOf("push", { data: Schema.Json })

/**
 * Data that a server-side API or an RPC sent to the channel.
 *
 * @category server messages
 * @since 0.1.0
 */
export type Push = typeof Push.Type

/**
 * The `data` of a {@link Push} that `PutSignalingNotifyMetadata` or
 * `PutSignalingNotifyMetadataItem` with `push: true` causes (section 4.10):
 * `key` and `value`, or `metadata`, according to `action`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const MetadataPush = /* @__PURE__ */ messageOf("signaling_notify_metadata_ext", {
  action: Schema.String,
  connectionId: Schema.String,
  key: text,
  value: json,
  metadata: json
})

const connectionMembers = {
  timestamp: text,
  role: optional(Role),
  sessionId: text,
  clientId: text,
  bundleId: text,
  connectionId: text,
  audio: flag,
  video: flag,
  authnMetadata: json,
  authzMetadata: json,
  metadata: json,
  minutes: number,
  channelConnections: number,
  channelSendrecvConnections: number,
  channelSendonlyConnections: number,
  channelRecvonlyConnections: number,
  turnTransportType: text
}

/** A notify event; `event` is its `event_type` on the wire and its tag here. */
const notify = <const Event extends string, const M extends Members>(event: Event, members: M) =>
  messageOf("notify", { _tag: Schema.tag(event), ...members }, { _tag: "event_type" })

/**
 * A connection joined the channel. The first one that a connection receives is
 * its own; its `data` lists who was there already (section 6.1).
 *
 * @category notify events
 * @since 0.1.0
 */
export const ConnectionCreated = notify("connection.created", {
  ...connectionMembers,
  data: optional(Schema.Array(wire({
    connectionId: text,
    clientId: text,
    bundleId: text,
    authnMetadata: json,
    authzMetadata: json,
    metadata: json
  })))
})

/**
 * Periodic counts of the channel (section 6.1). `minutes` is the age of the
 * connection in minutes.
 *
 * @category notify events
 * @since 0.1.0
 */
export const ConnectionUpdated = notify("connection.updated", connectionMembers)

/**
 * A connection left the channel (section 6.1).
 *
 * @category notify events
 * @since 0.1.0
 */
export const ConnectionDestroyed = notify("connection.destroyed", connectionMembers)

const spotlightMembers = {
  clientId: optional(Schema.NullOr(Schema.String)),
  connectionId: optional(Schema.NullOr(Schema.String)),
  spotlightId: text,
  fixed: flag,
  audio: flag,
  video: flag
}

/**
 * Who is in the spotlight changed (section 6.2).
 *
 * @category notify events
 * @since 0.1.0
 */
export const SpotlightChanged = notify("spotlight.changed", spotlightMembers)

/**
 * A sender came into focus (section 6.2).
 *
 * @category notify events
 * @since 0.1.0
 */
export const SpotlightFocused = notify("spotlight.focused", spotlightMembers)

/**
 * A sender went out of focus (section 6.2).
 *
 * @category notify events
 * @since 0.1.0
 */
export const SpotlightUnfocused = notify("spotlight.unfocused", spotlightMembers)

/**
 * Quality of the network between this client and the server; `unstableLevel` 0
 * (good) to 3 (section 6.2).
 *
 * @category notify events
 * @since 0.1.0
 */
export const NetworkStatus = notify("network.status", { unstableLevel: Schema.Finite })

/**
 * The simulcast layer that this connection receives changed (section 6.3).
 *
 * @category notify events
 * @since 0.1.0
 */
export const SimulcastSwitched = notify("simulcast.switched", {
  timestamp: text,
  senderConnectionId: optional(Schema.NullOr(Schema.String)),
  priority: text,
  trigger: text,
  rpcRids: optional(Schema.Array(Schema.String)),
  autoRids: optional(Schema.Array(Schema.String)),
  requestRid: text,
  currentRid: text,
  previousRid: text
})

const notifyEvents = {
  "connection.created": ConnectionCreated,
  "connection.updated": ConnectionUpdated,
  "connection.destroyed": ConnectionDestroyed,
  "spotlight.changed": SpotlightChanged,
  "spotlight.focused": SpotlightFocused,
  "spotlight.unfocused": SpotlightUnfocused,
  "network.status": NetworkStatus,
  "simulcast.switched": SimulcastSwitched
}

/**
 * A notify event that this release does not know, or whose members are not
 * those it knows: handed on as it came.
 *
 * @category notify events
 * @since 0.1.0
 */
export interface UnknownNotify {
  readonly _tag: "unknown"
  readonly type: "notify"
  /** The `event_type`, empty when there is none. */
  readonly eventType: string
  /** The whole message. */
  readonly message: Wire
}

/**
 * A notify event of which the members are known; `_tag` is its `event_type`.
 *
 * @category notify events
 * @since 0.1.0
 */
export type KnownNotify = (typeof notifyEvents)[keyof typeof notifyEvents]["Type"]

/**
 * A notify event (section 6).
 *
 * @category notify events
 * @since 0.1.0
 */
export type Notify = KnownNotify | UnknownNotify

/**
 * A message with a `type` that this release does not know, handed on as it came.
 *
 * @category models
 * @since 0.1.0
 */
export interface UnknownMessage {
  readonly type: "unknown"
  readonly messageType: string
  readonly message: Wire
}

const clientMessages = {
  connect: Connect,
  answer: Answer,
  candidate: Candidate,
  pong: Pong,
  "re-answer": ReAnswer,
  update: Update,
  disconnect: Disconnect,
  stats: Stats
}

/**
 * A message from the client.
 *
 * @category client messages
 * @since 0.1.0
 */
export type ClientMessage = (typeof clientMessages)[keyof typeof clientMessages]["Type"]

const serverMessages = {
  redirect: Redirect,
  offer: Offer,
  ping: Ping,
  push: Push,
  switched: Switched,
  "re-offer": ReOffer,
  update: Update,
  close: Close,
  "req-stats": ReqStats
}

/**
 * A message from the server.
 *
 * @category server messages
 * @since 0.1.0
 */
export type ServerMessage = (typeof serverMessages)[keyof typeof serverMessages]["Type"] | Notify

/**
 * A text that is no signaling message. `issue` names the members and what was
 * expected of them, not their values.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidMessage extends Schema.TaggedError<InvalidMessage>()("InvalidMessage", {
  /** The message's `type`, where it has one. */
  messageType: Schema.optionalKey(Schema.String),
  issue: Schema.String
}) {
  override get message(): string {
    return `${this.messageType === undefined ? "not a signaling message" : `bad "${this.messageType}"`}: ${this.issue}`
  }
}

type Schemas = Readonly<Record<string, WireSchema<any>>>

/** Undefined for a type that is not known. What is compiled of a schema is compiled once, and kept with it. */
const decodeAs = (type: string, schemas: Schemas, message: Wire) =>
  Object.hasOwn(schemas, type) ? Schema.decodeUnknownResult(schemas[type]!)(message) : undefined

const encodeAs = (type: string, schemas: Schemas, message: unknown): Wire =>
  Schema.encodeUnknownSync(schemas[type]!)(message)

const decodeNotify = (message: Wire): Notify => {
  const eventType = typeof message.event_type === "string" ? message.event_type : ""
  const decoded = decodeAs(eventType, notifyEvents, message)
  return decoded !== undefined && Result.isSuccess(decoded)
    ? decoded.success
    : { _tag: "unknown", type: "notify", eventType, message }
}

const decode = (schemas: Schemas, message: Wire): Result.Result<any, InvalidMessage> => {
  const { type } = message
  if (typeof type !== "string") return invalid("expected a string member \"type\"")
  const decoded = decodeAs(type, schemas, message)
  return decoded === undefined
    ? Result.succeed({ type: "unknown", messageType: type, message })
    : Result.mapError(decoded, ({ message }) => new InvalidMessage({ messageType: type, issue: message }))
}

const invalid = (issue: string) => Result.fail(new InvalidMessage({ issue }))

/**
 * Parses the text of one message into a JSON object.
 *
 * @category decoding
 * @since 0.1.0
 */
export const parseMessage = (input: string): Result.Result<Wire, InvalidMessage> => {
  let message: unknown
  try {
    message = JSON.parse(input)
  } catch {
    return invalid("not JSON")
  }
  return Predicate.isObject(message)
    ? Result.succeed(message as Wire)
    : invalid("expected a JSON object")
}

/**
 * Decodes a message from the server.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeServerMessage = (message: Wire): Result.Result<ServerMessage | UnknownMessage, InvalidMessage> =>
  message.type === "notify" ? Result.succeed(decodeNotify(message)) : decode(serverMessages, message)

/**
 * Decodes a message from a client.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeClientMessage = (message: Wire): Result.Result<ClientMessage | UnknownMessage, InvalidMessage> =>
  decode(clientMessages, message)

/**
 * Encodes a message from the client. Throws a `SchemaError` for a message that
 * does not fit its schema.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodeClientMessage = (message: ClientMessage): Wire => encodeAs(message.type, clientMessages, message)

/**
 * Encodes a message from the server. Throws a `SchemaError` for a message that
 * does not fit its schema.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodeServerMessage = (message: ServerMessage): Wire =>
  message.type !== "notify"
    ? encodeAs(message.type, serverMessages, message)
    : message._tag === "unknown"
    ? message.message
    : encodeAs(message._tag, notifyEvents, message)
