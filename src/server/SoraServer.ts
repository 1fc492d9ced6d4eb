/**
 * The development server: Sora's signaling and RPC for one machine, with no
 * licence and no network, for developing and for tests. It speaks the protocol
 * of `sora-protocol.md` (Appendix C is its checklist) to this library and to
 * the official SDKs.
 *
 * Audio and video reach the others of a channel as they were sent, of a simulcast
 * sender the layer that each asked for. It is an aid for developing, not an SFU:
 * it does not adapt to anyone's bandwidth, repairs few losses, gives every
 * receiver the sender's codec, and a spotlight changes nothing in what is sent.
 *
 * It is not Sora. It knows no clusters, recording or HTTP API, and where the
 * behaviour of a real Sora is not known it guesses: docstrings say where.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { PeerConfig } from "werift"
import { Count, issueOf, Time } from "../internal/options.ts"
import * as Dispatcher from "../internal/rpc/dispatcher.ts"
import * as Werift from "../node/internal/werift/peer.ts"
import * as NodeSora from "../node/NodeSora.ts"
import * as Signaling from "../Signaling.ts"
import type { SoraConnection } from "../SoraConnection.ts"
import type { SoraConnectionError } from "../SoraConnectionError.ts"
import * as SoraMethod from "../SoraMethod.ts"
import type { SoraRpc } from "../SoraRpc.ts"
import { InvalidOptions } from "../SoraRpcError.ts"
import * as ServerConnection from "./internal/connection/connection.ts"
import { detached } from "./internal/connection/detached.ts"
import * as Faults from "./internal/faults.ts"
import * as Listener from "./internal/listener.ts"
import * as Methods from "./internal/methods.ts"
import { isLoopback } from "./internal/origins.ts"
import * as Channels from "./internal/rooms.ts"
import type { Handle, Shared } from "./internal/shared.ts"
import { type Authenticate, grantAll } from "./SoraAuth.ts"
import * as SoraFaults from "./SoraFaults.ts"

/**
 * How the server behaves.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<R = never> {
  /** Address to listen on. Default `127.0.0.1`. */
  readonly host?: string | undefined
  /** Port to listen on; 0 takes a free one. Default 0. */
  readonly port?: number | undefined
  /**
   * Pages that may connect, by their origin such as `https://app.example`, or `"*"` for all. Requests that come from no
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
  /** Whether the built-in channels are compressed, as Sora's are. Default true. */
  readonly compress?: boolean | undefined
  /** Whether the WebSocket may go after the switch. Default: what the client asks for. */
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
  /** Time for `connect` to come, and then for the WebRTC connection. Default 30 seconds, as Sora's. */
  readonly connectTimeout?: Duration.Input | undefined
  /**
   * Bytes that may wait to be sent to one client, on all its transports, and as many that it sent may wait to be
   * handled. One that takes more is ended with 4490 `BUFFER-OVERFLOW`. Default 16 MiB.
   */
  readonly maxBufferedBytes?: number | undefined
  /** Size of a compressed DataChannel message once it is inflated, in bytes. Default 1 MiB. */
  readonly maxInflatedBytes?: number | undefined
  /** Calls of one client that may be under way at a time; more are refused with -32603. Default 1,024. */
  readonly maxCalls?: number | undefined
  /** `data_channel_signaling_close_message` of sora.conf. Default false. */
  readonly closeMessage?: boolean | undefined
  /** Whether `switched` is sent before or after the channels are open: Sora promises neither. Default after. */
  readonly switchOrder?: "before-open" | "after-open" | undefined
  /** Serve `RequestSimulcastRid` as well as `2025.2.0/RequestSimulcastRid`. Default false. */
  readonly acceptUnprefixedMethods?: boolean | undefined
  /** What `PutSignalingNotifyMetadataItem` answers: the whole metadata or the item (section 4.9). Default the former. */
  readonly itemResult?: "metadata" | "item" | undefined
  /** A werift configuration. Default: the loopback interface alone when `host` is a loopback address. */
  readonly peer?: Partial<PeerConfig> | undefined
  /** What goes wrong on purpose. Default nothing. */
  readonly faults?: SoraFaults.Faults | undefined
}

/**
 * A connection as the server sees it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connection {
  readonly connectionId: string
  readonly clientId: string
  readonly bundleId: string
  readonly sessionId: string
  readonly channelId: string
  readonly role: Signaling.Role
  /** Whether signaling has moved to the DataChannels. */
  readonly switched: boolean
  /** Whether simulcast is active on this connection, by `connect` or by the grant. */
  readonly simulcast: boolean
  /** Whether spotlight is active on this connection, by `connect` or by the grant. */
  readonly spotlight: boolean
  /** What the channel sees as its metadata: what RPC put there, else what the client sent in `connect`. */
  readonly metadata: Schema.Json | undefined
  /** The simulcast layer asked for, of senders without one of their own. */
  readonly rid: SoraMethod.Rid
  readonly spotlightFocusRid: SoraMethod.Rid
  readonly spotlightUnfocusRid: SoraMethod.Rid
}

/**
 * The server could not start, or could not do what was asked of it.
 *
 * @category errors
 * @since 0.1.0
 */
export class SoraServerError extends Schema.TaggedError<SoraServerError>()("SoraServerError", {
  message: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {}

/**
 * A running development server.
 *
 * @category services
 * @since 0.1.0
 */
export class SoraServer extends Context.Service<SoraServer, {
  /** The signaling URL, `ws://127.0.0.1:PORT/signaling`. Any path is served. */
  readonly url: string
  /** The connections that are in a channel. */
  readonly connections: Effect.Effect<ReadonlyArray<Connection>>
  /** Sends a push to a channel, or to one connection of it, as Sora's push APIs do (section 4.11). */
  readonly push: (
    channelId: string,
    data: Schema.Json,
    options?: { readonly connectionId?: string | undefined }
  ) => Effect.Effect<void>
  /**
   * Ends a connection, or all of a channel, as Sora's HTTP API does: 1000
   * `DISCONNECTED-API`. Gives the number of connections, when they are gone.
   */
  readonly disconnect: (
    target: { readonly connectionId: string } | { readonly channelId: string }
  ) => Effect.Effect<number>
  /** Renegotiates: sends a `re-offer` and waits for the `re-answer` (section 2.9). */
  readonly reOffer: (connectionId: string) => Effect.Effect<void, SoraServerError>
  /** Asks a client for its statistics, on whichever transport signaling is (sections 2.6 and 3.5). */
  readonly requestStats: (connectionId: string) => Effect.Effect<Schema.Json, SoraServerError>
  /**
   * What goes wrong on purpose from now on, in place of what did so far: for new connections, and for the running
   * ones, whose fate is drawn anew. Faults that do not fit the schema are a defect.
   */
  readonly setFaults: (faults: SoraFaults.Faults) => Effect.Effect<void>
  /**
   * Makes a connection die, now. Of one that dies whole, by `killPeer` or `closeAbruptly`, the server has released
   * everything when it completes.
   */
  readonly inject: (connectionId: string, fault: SoraFaults.ConnectionFault) => Effect.Effect<void, SoraServerError>
}>()("effect-sora-rpc/server/SoraServer") {}

const optional = Schema.optional

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

const issueOfOptions = issueOf(Schema.Struct({
  host: optional(Schema.NonEmptyString),
  port: optional(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))),
  allowedOrigins: optional(Schema.Union([Schema.Literal("*"), Schema.Array(Schema.NonEmptyString)])),
  authenticate: optional(isFunction),
  handlers: optional(Handlers),
  rpc: optional(Schema.Boolean),
  compress: optional(Schema.Boolean),
  ignoreDisconnectWebsocket: optional(Schema.Boolean),
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

/**
 * Starts a server; it stops with the scope, and ends its connections first.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*<R = never>(
  options: Options<R> = {}
): Effect.fn.Return<SoraServer["Service"], SoraServerError, R | Scope.Scope> {
  const issue = issueOfOptions(options)
  if (issue !== undefined) {
    const cause = new InvalidOptions({ issue })
    return yield* new SoraServerError({ message: cause.message, cause })
  }
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<R>()
  // The compiler cannot see that `Exclude<R, R>` is never while R is a parameter.
  const provide = <A, E>(effect: Effect.Effect<A, E, R>) =>
    detached(Effect.provideContext(effect, context) as Effect.Effect<A, E>)
  const authenticate = options.authenticate ?? grantAll
  const host = options.host ?? "127.0.0.1"
  const now = () => clock.currentTimeMillisUnsafe()
  const channels = Channels.make(now)
  const handlers = [
    ...Methods.make(channels, now, { itemResult: options.itemResult ?? "metadata" }),
    ...(options.handlers ?? []).map(({ handler, method }) =>
      SoraMethod.handle(
        method,
        (params, caller) => provide(Dispatcher.asEffect("a handler", handler(params, caller)))
      )
    )
  ]
  const allMethods = Array.from(new Set(handlers.map(({ method }) => SoraMethod.wireName(method))))
  const alias = (method: string) =>
    options.acceptUnprefixedMethods === true
      ? allMethods.find((name) => name.endsWith(`/${method}`)) ?? method
      : method

  // None of them, or an empty set: no dice are cast.
  const sourceOf = (faults: SoraFaults.Faults = {}) =>
    Object.keys(faults).some((name) => name !== "seed") ? Faults.make(faults) : undefined
  let faults = sourceOf(options.faults)

  const handles = new Map<string, Handle>()
  const shared: Shared = {
    url: () => url,
    channels,
    handles,
    dispatcher: Dispatcher.make(handlers, alias),
    authenticate: (connect) =>
      provide(Effect.suspend(() => Dispatcher.asEffect("authenticate", authenticate(connect)))),
    allMethods,
    rpc: options.rpc ?? true,
    compress: options.compress ?? true,
    ignoreDisconnectWebsocket: options.ignoreDisconnectWebsocket,
    redirects: options.redirects ?? 0,
    iceServers: options.iceServers ?? [],
    iceTransportPolicy: options.iceTransportPolicy,
    pingInterval: Duration.fromInputUnsafe(options.pingInterval ?? "5 seconds"),
    pongTimeout: Duration.fromInputUnsafe(options.pongTimeout ?? "60 seconds"),
    connectTimeout: Duration.fromInputUnsafe(options.connectTimeout ?? "30 seconds"),
    maxBufferedBytes: options.maxBufferedBytes ?? 16 * 1024 * 1024,
    maxInflatedBytes: options.maxInflatedBytes ?? 1024 * 1024,
    maxCalls: options.maxCalls ?? 1024,
    closeMessage: options.closeMessage ?? false,
    switchOrder: options.switchOrder ?? "after-open",
    peer: options.peer ?? (isLoopback(host) ? Werift.loopback : {}),
    faults: () => faults
  }
  const port = yield* Listener.make({
    host,
    port: options.port ?? 0,
    allowedOrigins: options.allowedOrigins,
    connectTimeout: shared.connectTimeout,
    serve: (webSocket, path) => Effect.scoped(ServerConnection.serve(shared, webSocket, path))
  }).pipe(
    Effect.mapError((cause) =>
      new SoraServerError({
        message: `the development server cannot listen on ${host}:${options.port ?? 0}; is the port in use?`,
        cause
      })
    )
  )
  const url = `ws://${host.includes(":") ? `[${host}]` : host}:${port}/signaling`

  const handleOf = (connectionId: string) => {
    const handle = handles.get(connectionId)
    return handle === undefined
      ? Effect.fail(new SoraServerError({ message: `there is no connection ${connectionId}` }))
      : Effect.succeed(handle)
  }
  const toServerError = (cause: Error) => new SoraServerError({ message: cause.message, cause })

  return SoraServer.of({
    url,
    connections: Effect.sync(() =>
      channels.all().map((member) => ({
        connectionId: member.connectionId,
        clientId: member.clientId,
        bundleId: member.bundleId,
        sessionId: member.sessionId,
        channelId: member.channelId,
        role: member.role,
        switched: handles.get(member.connectionId)?.switched() ?? false,
        simulcast: member.simulcast,
        spotlight: member.spotlight,
        metadata: member.authzMetadata ?? member.authnMetadata,
        rid: member.rids.all,
        spotlightFocusRid: member.spotlightRids.focus,
        spotlightUnfocusRid: member.spotlightRids.unfocus
      }))
    ),
    push: (channelId, data, options) =>
      Effect.sync(() => {
        if (options?.connectionId === undefined) channels.push(channelId, data)
        else channels.find(channelId, options.connectionId)?.deliver("push", { type: "push", data })
      }),
    disconnect: (target) =>
      Effect.suspend(() => {
        const targets = Array.from(handles.values()).filter(({ member }) =>
          "connectionId" in target
            ? member.connectionId === target.connectionId
            : member.channelId === target.channelId
        )
        for (const { end } of targets) end({ code: 1000, reason: "DISCONNECTED-API", announce: true })
        return Effect.as(
          Effect.forEach(targets, ({ ended }) => ended, { concurrency: "unbounded", discard: true }),
          targets.length
        )
      }),
    reOffer: (connectionId) =>
      Effect.flatMap(handleOf(connectionId), ({ reOffer }) => Effect.mapError(reOffer, toServerError)),
    requestStats: (connectionId) =>
      Effect.flatMap(handleOf(connectionId), ({ requestStats }) => Effect.mapError(requestStats, toServerError)),
    setFaults: (next) =>
      Effect.flatMap(Effect.orDie(SoraFaults.decode(next)), (decoded) => {
        faults = sourceOf(decoded)
        return Effect.forEach(Array.from(handles.values()), ({ redraw }) => redraw, { discard: true })
      }),
    inject: (connectionId, fault) =>
      Effect.flatMap(handleOf(connectionId), ({ inject }) => Effect.mapError(inject(fault), toServerError))
  })
})

/**
 * A server that runs as long as the layer.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <R = never>(options?: Options<R>): Layer.Layer<SoraServer, SoraServerError, R> =>
  Layer.effect(SoraServer, make(options))

/**
 * A server on the loopback interface and a client of it, for tests and for
 * trying things out: everything that a program over `NodeSora.layer` uses is
 * real, and nothing leaves the machine. The program runs on the live clock.
 *
 * ```ts
 * program.pipe(Effect.provide(SoraServer.layerTest({ channelId: "lobby", role: "sendrecv" })))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerTest = <R = never>(
  connection: Omit<NodeSora.Options, "signalingUrls">,
  server?: Options<R>
): Layer.Layer<SoraServer | SoraRpc | SoraConnection, SoraServerError | SoraConnectionError, R> =>
  Layer.unwrap(Effect.map(SoraServer, ({ url }) => NodeSora.layer({ ...connection, signalingUrls: [url] }))).pipe(
    Layer.provideMerge(layer(server))
  )
