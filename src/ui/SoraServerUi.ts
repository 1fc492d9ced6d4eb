/**
 * The development server's page: who is in which channel, what goes over the
 * wires and how fast, with the means to break it. It is served beside signaling,
 * on the same port, for as long as the layer lives.
 *
 * ```ts
 * const Live = SoraServerUi.layer.pipe(Layer.provideMerge(SoraServer.layer({ port: 5000 })))
 *
 * const program = Effect.gen(function*() {
 *   const { url } = yield* SoraServerUi.SoraServerUi
 *   yield* Console.log(`Open ${url}`)
 * })
 * ```
 *
 * The page shows messages whole, secrets in them too, and can end connections.
 * So its WebSocket wants the token of `url`, and refuses the
 * pages of other origins and names that are not this server's.
 *
 * @since 0.1.0
 * @module
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import { RpcSerialization, RpcServer } from "effect/rpc"
import type * as Scope from "effect/Scope"
import { Socket, SocketServer } from "effect/socket"
import { randomBytes } from "node:crypto"
import { insideOf } from "../server/internal/inside.ts"
import { SoraServerError } from "../server/internal/serverError.ts"
import { SoraServer } from "../server/SoraServer.ts"
import * as Figures from "./internal/figures.ts"
import * as Handlers from "./internal/handlers.ts"
import { Path, Protocol } from "./internal/protocol.ts"
import * as Site from "./internal/site.ts"
import * as Timeline from "./internal/timeline.ts"

/**
 * The page of a running development server.
 *
 * @category services
 * @since 0.1.0
 */
export class SoraServerUi extends Context.Service<SoraServerUi, {
  /** Where the page is, `http://127.0.0.1:PORT/ui/?token=…`. Whoever has it can drive the server. */
  readonly url: string
}>()("effect-sora-rpc/ui/SoraServerUi") {}

/** Nobody can connect to every address at once. */
const hostOf = (host: string): string =>
  host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host

/**
 * Serves the page of the server in the context until the scope closes. It keeps
 * the latest 20,000 messages, or 16 Mi characters of them, and five minutes of
 * figures. Fails where the page was not built, and for a server that is a double
 * or has its page already.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<SoraServerUi["Service"], SoraServerError, SoraServer | Scope.Scope> = Effect.gen(
  function*() {
    const server = yield* SoraServer
    const inside = insideOf(server)
    if (inside === undefined) {
      return yield* new SoraServerError({ message: "a page is served of servers that SoraServer.make made" })
    }
    const clock = yield* Clock.Clock
    const files = yield* Site.readFiles
    const token = randomBytes(16).toString("base64url")
    const site = Site.make({ files, host: inside.host, token })

    const now = () => Number(clock.currentTimeNanosUnsafe()) / 1e6
    const figures = Figures.make(() => now() / 1000)
    const timeline = Timeline.make(now, figures)
    yield* Effect.acquireRelease(
      Effect.sync(() => inside.tap.listen(timeline.listener)),
      (unlisten) => Effect.sync(unlisten)
    )

    // The RPC server takes its sockets from here: it says what is to be done with one, and then waits for ever.
    const accept = yield* Deferred.make<(socket: Socket.Socket) => Effect.Effect<void>>()
    const sockets = SocketServer.SocketServer.of({
      address: NetAddress.inetAddressUnsafe(NetAddress.ipv4Loopback, inside.port),
      run: (handler) =>
        Effect.contextWith((context: Context.Context<Effect.Services<ReturnType<typeof handler>>>) =>
          Effect.andThen(
            Deferred.succeed(accept, (socket) => Effect.ignoreCause(Effect.provideContext(handler(socket), context))),
            Effect.never
          )
        )
    })
    yield* Layer.build(
      RpcServer.layer(Protocol, { disableTracing: true }).pipe(
        Layer.provide([
          Handlers.layer({ server, inside, timeline, figures }),
          RpcServer.layerProtocolSocketServer.pipe(
            Layer.provide([Layer.succeed(SocketServer.SocketServer, sockets), RpcSerialization.layerJson])
          )
        ])
      )
    )

    // Gone before what they talk to is.
    const pages = yield* FiberSet.make()
    yield* Effect.acquireRelease(
      Effect.suspend(() => {
        const leave = inside.invite({
          ...site,
          serve: (webSocket) =>
            Socket.fromWebSocket(
              Effect.acquireRelease(Effect.succeed(webSocket), () => Effect.sync(() => webSocket.terminate()))
            ).pipe(
              Effect.flatMap((socket) => Effect.flatMap(Deferred.await(accept), (handle) => handle(socket))),
              FiberSet.run(pages),
              Effect.flatMap(Fiber.await),
              Effect.asVoid
            )
        })
        return leave === undefined
          ? new SoraServerError({ message: "the server has its page already" })
          : Effect.succeed(leave)
      }),
      (leave) => Effect.sync(leave)
    )
    return SoraServerUi.of({ url: `http://${hostOf(inside.host)}:${inside.port}${Path}?token=${token}` })
  }
)

/**
 * The page of the server in the context, for as long as the layer lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<SoraServerUi, SoraServerError, SoraServer> = Layer.effect(SoraServerUi, make)
