/**
 * The development server: Sora's signaling and RPC for one machine, with no
 * licence and no network, for developing and for tests. It speaks the protocol
 * of `sora-protocol.md` (Appendix C is its checklist) to this library and to
 * the official SDKs.
 *
 * Audio and video reach the others of a channel as they were sent, of a simulcast
 * sender the layer that each asked for. It is an aid for developing, not an SFU:
 * it does not adapt to anyone's bandwidth, asks for lost packets again of senders without simulcast only, gives every
 * receiver the sender's codec, and a spotlight changes nothing in what is sent.
 *
 * It is not Sora. It knows no clusters, recording or webhooks, a small part of
 * the HTTP API, and where the behaviour of a real Sora is not known it guesses:
 * docstrings say where.
 *
 * @since 0.1.0
 * @module
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { ServicesOf } from "../internal/connection/model.ts"
import * as Hop from "../internal/hop.ts"
import * as Dispatcher from "../internal/rpc/dispatcher.ts"
import * as NodeSora from "../node/NodeSora.ts"
import type * as Signaling from "../Signaling.ts"
import type { SoraConnection } from "../SoraConnection.ts"
import type { SoraConnectionError } from "../SoraConnectionError.ts"
import * as SoraMethod from "../SoraMethod.ts"
import type { SoraRpc } from "../SoraRpc.ts"
import { InvalidOptions } from "../SoraRpcError.ts"
import * as Api from "./internal/api/api.ts"
import * as Operations from "./internal/api/operations.ts"
import * as ServerConnection from "./internal/connection/connection.ts"
import { detached } from "./internal/connection/detached.ts"
import type { Services } from "./internal/connection/services.ts"
import { disconnectedApi } from "./internal/ends.ts"
import * as Faults from "./internal/faults.ts"
import * as Inside from "./internal/inside.ts"
import * as Listener from "./internal/listener.ts"
import * as Methods from "./internal/methods.ts"
import { DefaultHost, issueOfOptions, type Options, settingsOf } from "./internal/options.ts"
import * as Rooms from "./internal/rooms.ts"
import { cannotListen, SoraServerError } from "./internal/serverError.ts"
import * as Tap from "./internal/tap.ts"
import { grantAll } from "./SoraAuth.ts"
import * as SoraFaults from "./SoraFaults.ts"

export type {
  /**
   * How the server behaves.
   *
   * @category models
   * @since 0.1.0
   */
  Options
} from "./internal/options.ts"

export {
  /**
   * The server could not start, or could not do what was asked of it.
   *
   * @category errors
   * @since 0.1.0
   */
  SoraServerError
} from "./internal/serverError.ts"

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
  /**
   * What the channel sees as its `metadata`: what the authentication or RPC put there; without the metadata extension what
   * the authentication gave, else what the client sent in `connect`.
   */
  readonly metadata: Schema.Json | undefined
  /** The simulcast layer asked for, of senders without one of their own. */
  readonly rid: SoraMethod.Rid
  /** The simulcast layers asked for of single senders, by their connection ids. */
  readonly senderRids: ReadonlyMap<string, SoraMethod.Rid>
  readonly spotlightFocusRid: SoraMethod.Rid
  readonly spotlightUnfocusRid: SoraMethod.Rid
}

/**
 * A running development server.
 *
 * @category services
 * @since 0.1.0
 */
export class SoraServer extends Context.Service<SoraServer, {
  /** The signaling URL, `ws://127.0.0.1:PORT/signaling`. Any path is served. */
  readonly url: string
  /** The URL of the HTTP API, `http://127.0.0.1:PORT/`; nothing without the option `apiPort`. */
  readonly apiUrl: string | undefined
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
  const { allowedOrigins, apiPort, host = DefaultHost, port = 0 } = options
  const settings = settingsOf(options)
  const now = () => clock.currentTimeMillisUnsafe()
  const rooms = Rooms.make(now)
  const tap = Tap.make()
  const handlersOf = (limitRids: boolean) => [
    ...Methods.make(rooms, now, {
      itemResult: options.itemResult ?? "metadata",
      metadataExtension: settings.signalingNotifyMetadataExt,
      limitRids
    }),
    ...(options.handlers ?? []).map(({ handler, method }) =>
      SoraMethod.handle(
        method,
        (params, caller) => provide(Dispatcher.asEffect("a handler", handler(params, caller)))
      )
    )
  ]
  const handlers = handlersOf(true)
  const allMethods = Array.from(new Set(handlers.map(({ method }) => SoraMethod.wireName(method))))
  const alias = (method: string) =>
    options.acceptUnprefixedMethods === true
      ? allMethods.find((name) => name.endsWith(`/${method}`)) ?? method
      : method
  let wrong = options.faults ?? {}
  let faults = Faults.sourceOf(options.faults)

  const services: Services = {
    settings,
    url: () => url,
    rooms,
    tap,
    dispatcher: Dispatcher.make(handlers, alias),
    authenticate: (connect) =>
      provide(Effect.suspend(() => Dispatcher.asEffect("authenticate", authenticate(connect)))),
    allMethods,
    faults: () => faults
  }
  const { invite, port: taken } = yield* Listener.make({
    host,
    port,
    allowedOrigins,
    connectTimeout: settings.connectTimeout,
    serve: (webSocket, path) => Effect.scoped(ServerConnection.serve(services, webSocket, path))
  }).pipe(Effect.mapError(cannotListen(host, port)))
  const apiUrl = apiPort === undefined ? undefined : yield* Api.make({
    port: apiPort,
    allowedOrigins,
    operations: Operations.make({ rooms, dispatcher: Dispatcher.make(handlersOf(false)) })
  }).pipe(Effect.mapError(cannotListen(DefaultHost, apiPort)))
  const url = `ws://${host.includes(":") ? `[${host}]` : host}:${taken}/signaling`

  const withConnection = <A>(
    connectionId: string,
    use: (connection: Rooms.ServerConnection) => Effect.Effect<A, SoraServerError>
  ) =>
    Hop.effect(Effect.suspend(() => {
      const connection = rooms.all().find(({ member }) => member.connectionId === connectionId)
      return connection === undefined
        ? Effect.fail(new SoraServerError({ message: `there is no connection ${connectionId}` }))
        : use(connection)
    }))

  const service = SoraServer.of({
    url,
    apiUrl,
    connections: Effect.sync(() => rooms.joined().map(viewOf)),
    push: (channelId, data, options) =>
      Effect.sync(() => {
        if (options?.connectionId === undefined) rooms.push(channelId, data)
        else rooms.find(channelId, options.connectionId)?.deliver("push", { type: "push", data })
      }),
    disconnect: (target) =>
      Hop.effect(Effect.suspend(() => {
        const targets = rooms.all().filter(({ member }) =>
          "connectionId" in target
            ? member.connectionId === target.connectionId
            : member.channelId === target.channelId
        )
        for (const { end } of targets) end(disconnectedApi)
        return Effect.as(
          Effect.forEach(targets, ({ ended }) => ended, { concurrency: "unbounded", discard: true }),
          targets.length
        )
      })),
    reOffer: (connectionId) => withConnection(connectionId, ({ reOffer }) => reOffer),
    requestStats: (connectionId) => withConnection(connectionId, ({ requestStats }) => requestStats),
    setFaults: (next) =>
      Hop.effect(Effect.flatMap(Effect.orDie(SoraFaults.decode(next)), (decoded) => {
        wrong = decoded
        faults = Faults.sourceOf(decoded)
        return Effect.forEach(rooms.all(), ({ redraw }) => redraw, { discard: true })
      })),
    inject: (connectionId, fault) => withConnection(connectionId, ({ inject }) => inject(fault))
  })
  Inside.keep(service, {
    host,
    port: taken,
    rooms,
    tap,
    methods: Array.from(new Map(handlers.map(({ method }) => [SoraMethod.wireName(method), method])).values()),
    faults: () => wrong,
    invite
  })
  return service
})

const viewOf = ({ isSwitched, member }: Rooms.ServerConnection): Connection => ({
  connectionId: member.connectionId,
  clientId: member.clientId,
  bundleId: member.bundleId,
  sessionId: member.sessionId,
  channelId: member.channelId,
  role: member.role,
  switched: isSwitched(),
  simulcast: member.simulcast,
  spotlight: member.spotlight,
  metadata: member.metadata,
  rid: member.rids.all,
  senderRids: new Map(member.rids.bySender),
  spotlightFocusRid: member.spotlightRids.focus,
  spotlightUnfocusRid: member.spotlightRids.unfocus
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
export const layerTest = <R = never, E = never, R2 = never, E2 = never, R3 = never>(
  connection: Omit<NodeSora.Options<E, R2, E2, R3>, "signalingUrls">,
  server?: Options<R>
): Layer.Layer<
  SoraServer | SoraRpc | SoraConnection,
  SoraServerError | SoraConnectionError | E | E2,
  R | Exclude<ServicesOf<R2, R3>, SoraServer>
> =>
  Layer.unwrap(
    Effect.map(SoraServer, ({ url }) => NodeSora.layer<E, R2, E2, R3>({ ...connection, signalingUrls: [url] }))
  ).pipe(Layer.provideMerge(layer(server)))
