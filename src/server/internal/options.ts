/**
 * How the server is told to behave: the options, what they must be, and what
 * they are where they are absent.
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import type { PeerConfig } from "werift"
import { Count, issueOf, Time } from "../../internal/options.ts"
import { isLoopbackHost } from "../../node/internal/loopback.ts"
import * as Werift from "../../node/internal/werift/peer.ts"
import * as Signaling from "../../Signaling.ts"
import * as SoraMethod from "../../SoraMethod.ts"
import type { Authenticate } from "../SoraAuth.ts"
import * as SoraFaults from "../SoraFaults.ts"

/**
 * How the server behaves.
 *
 * @category models
 */
export interface Options<R = never> {
  /** Address to listen on. Default `127.0.0.1`. */
  readonly host?: string | undefined
  /** Port to listen on; 0 takes a free one. Default 0. */
  readonly port?: number | undefined
  /**
   * Port of the HTTP API, on the loopback address whatever `host` is; 0 takes a free one (section 4.12). Default: there is
   * none.
   */
  readonly apiPort?: number | undefined
  /**
   * Pages that may connect, and call the HTTP API, by their origin such as `https://app.example`, or `"*"` for all. Requests that come from no
   * page, and pages of this machine (`http://localhost:3000`), always may. Default: on a loopback address no others, so
   * that no page on the web drives the server; on any other address all.
   */
  readonly allowedOrigins?: "*" | ReadonlyArray<string> | undefined
  /** Who may connect, and what they are granted. Default: everyone, everything. It has `connectTimeout` to tell. */
  readonly authenticate?: Authenticate<R> | undefined
  /** Your own methods. One with the name of a known method takes its place. */
  readonly handlers?: ReadonlyArray<SoraMethod.Handled<R>> | undefined
  /** `data_channel_rpc` of sora.conf: whether there is an `rpc` channel. Default true. */
  readonly rpc?: boolean | undefined
  /**
   * `signaling_notify_metadata_ext` of sora.conf: whether a connection has metadata that RPC can change, beside what it
   * sent in `connect` and what the authentication gave (section 4.8). Without it there are no methods that change it, which
   * is a guess. Default true, unlike Sora's, because RPC needs it.
   */
  readonly signalingNotifyMetadataExt?: boolean | undefined
  /** Whether the built-in channels are compressed, as Sora's are. Default true. */
  readonly compress?: boolean | undefined
  /** `default_data_channel_signaling` of sora.conf, for clients that say nothing. Default false. */
  readonly defaultDataChannelSignaling?: boolean | undefined
  /** `default_ignore_disconnect_websocket` of sora.conf, for clients that say nothing. Default false. */
  readonly defaultIgnoreDisconnectWebsocket?: boolean | undefined
  /** Whether the WebSocket may go after the switch. Default: what the authentication gives, or the client asks for. */
  readonly ignoreDisconnectWebsocket?: boolean | undefined
  /** How many times a client is redirected (back to this server) before the offer. Default 0. */
  readonly redirects?: number | undefined
  /** STUN and TURN servers of the offer. Default none. */
  readonly iceServers?: ReadonlyArray<typeof Signaling.IceServer.Type> | undefined
  /** `iceTransportPolicy` of the offer. Default `all`. */
  readonly iceTransportPolicy?: "all" | "relay" | undefined
  /** Time between pings on the WebSocket. Default 5 seconds, as Sora's. */
  readonly pingInterval?: Duration.Input | undefined
  /** A client that sent no pong for this long is cut off. Default 60 seconds, as Sora's. */
  readonly pongTimeout?: Duration.Input | undefined
  /** Time for `connect` to come, for the WebRTC connection, and for each `re-answer`. Default 30 seconds, as Sora's. */
  readonly connectTimeout?: Duration.Input | undefined
  /**
   * Bytes that may wait to be sent to one client, on all its transports, and as many that it sent may wait to be
   * handled. One that takes more is ended with 4490 `BUFFER-OVERFLOW`. Default 16 MiB.
   */
  readonly maxBufferedBytes?: number | undefined
  /** Size of a compressed DataChannel message once it is inflated, in bytes. Default 1 MiB. */
  readonly maxInflatedBytes?: number | undefined
  /** Calls of one client that may be under way at a time; more are refused with -32603. Default 16,384. */
  readonly maxCalls?: number | undefined
  /** `data_channel_signaling_close_message` of sora.conf. Default false. */
  readonly closeMessage?: boolean | undefined
  /** Whether `switched` is sent before or after the channels are open: Sora promises neither. Default after. */
  readonly switchOrder?: "before-open" | "after-open" | undefined
  /**
   * Whether a `recvonly` connection may be without audio and video, when it has a DataChannel of its own. Sora probably
   * refuses it, so that an RPC-only client is `sendonly` (section 1). Default false: 4490 `INVALID-MESSAGE`.
   */
  readonly recvonlyWithoutMedia?: boolean | undefined
  /** Serve `RequestSimulcastRid` as well as `2025.2.0/RequestSimulcastRid`. Default false. */
  readonly acceptUnprefixedMethods?: boolean | undefined
  /** What `PutSignalingNotifyMetadataItem` answers: the whole metadata or the item (section 4.9). Default the former. */
  readonly itemResult?: "metadata" | "item" | undefined
  /** A werift configuration. Default: the loopback interface alone when `host` is a loopback address. */
  readonly peer?: Partial<PeerConfig> | undefined
  /** What goes wrong on purpose. Default nothing. */
  readonly faults?: SoraFaults.Faults | undefined
}

/** What is the same for all connections of a server. */
export interface Settings {
  readonly rpc: boolean
  readonly signalingNotifyMetadataExt: boolean
  readonly compress: boolean
  readonly defaultDataChannelSignaling: boolean
  readonly defaultIgnoreDisconnectWebsocket: boolean
  readonly ignoreDisconnectWebsocket: boolean | undefined
  readonly recvonlyWithoutMedia: boolean
  readonly redirects: number
  readonly iceServers: ReadonlyArray<typeof Signaling.IceServer.Type>
  readonly iceTransportPolicy: "all" | "relay"
  readonly pingInterval: Duration.Duration
  readonly pongTimeout: Duration.Duration
  readonly connectTimeout: Duration.Duration
  readonly maxBufferedBytes: number
  readonly maxInflatedBytes: number
  readonly maxCalls: number
  readonly closeMessage: boolean
  readonly switchOrder: "before-open" | "after-open"
  readonly peer: Partial<PeerConfig>
}

export const DefaultHost = "127.0.0.1"

export const settingsOf = (options: Options<any>): Settings => ({
  rpc: options.rpc ?? true,
  signalingNotifyMetadataExt: options.signalingNotifyMetadataExt ?? true,
  compress: options.compress ?? true,
  defaultDataChannelSignaling: options.defaultDataChannelSignaling ?? false,
  defaultIgnoreDisconnectWebsocket: options.defaultIgnoreDisconnectWebsocket ?? false,
  ignoreDisconnectWebsocket: options.ignoreDisconnectWebsocket,
  recvonlyWithoutMedia: options.recvonlyWithoutMedia ?? false,
  redirects: options.redirects ?? 0,
  iceServers: options.iceServers ?? [],
  iceTransportPolicy: options.iceTransportPolicy ?? "all",
  pingInterval: Duration.fromInputUnsafe(options.pingInterval ?? "5 seconds"),
  pongTimeout: Duration.fromInputUnsafe(options.pongTimeout ?? "60 seconds"),
  connectTimeout: Duration.fromInputUnsafe(options.connectTimeout ?? "30 seconds"),
  maxBufferedBytes: options.maxBufferedBytes ?? 16 * 1024 * 1024,
  maxInflatedBytes: options.maxInflatedBytes ?? 1024 * 1024,
  maxCalls: options.maxCalls ?? 16_384,
  closeMessage: options.closeMessage ?? false,
  switchOrder: options.switchOrder ?? "after-open",
  peer: options.peer ?? (isLoopbackHost(options.host ?? DefaultHost) ? Werift.loopback : {})
})

const optional = Schema.optional

const Port = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))

/** What cannot be looked into. */
const isFunction = Schema.declare((input): input is Function => typeof input === "function", { expected: "a function" })
const isObject = Schema.declare(
  (input): input is object => typeof input === "object" && input !== null,
  { expected: "an object" }
)

/** Without a pause between them pings would take all the time there is. */
const Interval = Time.check(
  Schema.makeFilter((time) => Duration.toMillis(Duration.fromInputUnsafe(time)) >= 1, {
    expected: "a duration of at least 1 millisecond"
  })
)

const Handled = Schema.Struct({
  method: Schema.declare(SoraMethod.isSoraMethod, { expected: "a method, made with SoraMethod.make" }),
  handler: isFunction
})

const Handlers = Schema.Array(Handled).check(
  Schema.makeFilter((handlers) => {
    const names = handlers.map(({ method }) => SoraMethod.wireName(method))
    const twice = names.find((name, i) => names.indexOf(name) !== i)
    return twice === undefined ? undefined : `two handlers of ${twice}`
  })
)

/** What is wrong with options, if anything. */
export const issueOfOptions = issueOf(Schema.Struct({
  host: optional(Schema.NonEmptyString),
  port: optional(Port),
  apiPort: optional(Port),
  allowedOrigins: optional(Schema.Union([Schema.Literal("*"), Schema.Array(Schema.NonEmptyString)])),
  authenticate: optional(isFunction),
  handlers: optional(Handlers),
  rpc: optional(Schema.Boolean),
  signalingNotifyMetadataExt: optional(Schema.Boolean),
  compress: optional(Schema.Boolean),
  defaultDataChannelSignaling: optional(Schema.Boolean),
  defaultIgnoreDisconnectWebsocket: optional(Schema.Boolean),
  ignoreDisconnectWebsocket: optional(Schema.Boolean),
  recvonlyWithoutMedia: optional(Schema.Boolean),
  redirects: optional(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
  iceServers: optional(Schema.Array(Schema.toType(Signaling.IceServer))),
  iceTransportPolicy: optional(Schema.Literals(["all", "relay"])),
  pingInterval: optional(Interval),
  pongTimeout: optional(Time),
  connectTimeout: optional(Time),
  maxBufferedBytes: optional(Count),
  maxInflatedBytes: optional(Count),
  maxCalls: optional(Count),
  closeMessage: optional(Schema.Boolean),
  switchOrder: optional(Schema.Literals(["before-open", "after-open"])),
  acceptUnprefixedMethods: optional(Schema.Boolean),
  itemResult: optional(Schema.Literals(["metadata", "item"])),
  peer: optional(isObject),
  faults: optional(SoraFaults.Faults)
}))
