/**
 * The HTTP server that takes WebSockets. Whatever a client does to its socket
 * ends at most that socket.
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import { SocketCloseGrace } from "../../internal/protocol.ts"
import * as HttpServer from "./httpServer.ts"
import { type AllowedOrigins, refusalOf } from "./origins.ts"

/** The largest message of the WebSocket, in bytes. */
export const MaxSocketMessageBytes = 1024 * 1024

/** What is served on the same port beside signaling: requests and WebSockets of its own paths. */
export interface Guest {
  readonly owns: (path: string) => boolean
  readonly onRequest: (request: IncomingMessage, response: ServerResponse) => void
  /** Why a WebSocket is refused; nothing when it is not. */
  readonly refusalOf: (request: IncomingMessage) => string | undefined
  readonly serve: (webSocket: NodeWS.WebSocket) => Effect.Effect<void>
}

export interface Listener {
  readonly port: number
  /** Gives what sends the guest away; nothing when there is another one. */
  readonly invite: (guest: Guest) => (() => void) | undefined
}

const ignore = () => {}

const pathOf = (request: IncomingMessage): string => (request.url ?? "/").split("?")[0]!

const answer = (status: number, text: string): string =>
  [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    "Connection: close",
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(text)}`,
    "",
    text
  ].join("\r\n")

/**
 * Listens until the scope closes. `serve` runs for each
 * WebSocket, with the path that was asked for, and is interrupted first.
 *
 * @internal
 */
export const make = Effect.fnUntraced(function*(options: {
  readonly host: string
  readonly port: number
  readonly allowedOrigins: AllowedOrigins | undefined
  readonly connectTimeout: Duration.Duration
  readonly serve: (webSocket: NodeWS.WebSocket, path: string) => Effect.Effect<void>
}): Effect.fn.Return<Listener, Error, Scope.Scope> {
  const { host, port, serve } = options
  const webSockets = new NodeWS.WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: MaxSocketMessageBytes,
    closeTimeout: Duration.toMillis(SocketCloseGrace)
  } as NodeWS.ServerOptions)
  const { server } = yield* Effect.acquireRelease(
    Effect.sync(() => HttpServer.make(options.connectTimeout)),
    ({ stop }) => stop
  )
  let invited: Guest | undefined
  const guestOf = (request: IncomingMessage) => invited?.owns(pathOf(request)) === true ? invited : undefined
  server.on("request", (request, response) => {
    const guest = guestOf(request)
    if (guest !== undefined) return guest.onRequest(request, response)
    const text = "Here is a development server for Sora's signaling: connect to it with a WebSocket.\n"
    response.writeHead(426, { connection: "close", "content-type": "text/plain", upgrade: "websocket" }).end(text)
  })

  const run = yield* FiberSet.makeRuntime<never>()
  let stopping = false
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      stopping = true
      server.close(ignore)
    })
  )

  const refuse = (socket: Duplex, status: number, text: string) => {
    socket.end(answer(status, text), () => socket.destroy())
  }
  const accept = (
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    serve: (webSocket: NodeWS.WebSocket) => Effect.Effect<void>
  ) =>
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on("error", ignore)
      // Nothing may arrive before there is somebody to read it.
      webSocket.pause()
      run(serve(webSocket))
    })
  server.on("upgrade", (request, socket, head) => {
    if (stopping) return refuse(socket, 503, "the server is stopping\n")
    const guest = guestOf(request)
    if (guest !== undefined) {
      const refusal = guest.refusalOf(request)
      if (refusal !== undefined) return refuse(socket, 403, `${refusal}\n`)
      return accept(request, socket, head, guest.serve)
    }
    const { headers } = request
    const [origin] = [headers.origin ?? headers["sec-websocket-origin"]].flat()
    const refusal = refusalOf({ host: headers.host, origin }, options)
    if (refusal !== undefined) {
      return refuse(socket, 403, `${refusal}: see the option allowedOrigins of SoraServer (--allow-origin)\n`)
    }
    accept(request, socket, head, (webSocket) => serve(webSocket, request.url ?? "/"))
  })

  yield* Effect.callback<void, Error>((resume) => {
    server.once("error", (cause) => resume(Effect.fail(cause)))
    server.once("listening", () => resume(Effect.void))
    server.listen(port, host)
  })
  // One that comes later is of a connection that could not be accepted.
  server.on("error", ignore)
  return {
    port: (server.address() as AddressInfo).port,
    invite(guest) {
      if (invited !== undefined) return undefined
      invited = guest
      return () => {
        invited = undefined
      }
    }
  }
})
