/**
 * TLS in front of a server, and HTTP proxies, on the loopback interface.
 */
import { Effect } from "effect"
import { createServer as createHttpServer, type Server as HttpServer } from "node:http"
import { connect as connectTcp, type Server, type Socket } from "node:net"
import { createServer as createTlsServer, type TlsOptions } from "node:tls"

/** Listens on the loopback interface until the scope closes. Gives its port. */
export const listening = (server: Server | HttpServer) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<Set<Socket>>((resume) => {
        const sockets = new Set<Socket>()
        server.on("connection", (socket: Socket) => {
          sockets.add(socket)
          socket.on("error", () => {})
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(sockets)))
      }),
      (sockets) =>
        Effect.callback<void>((resume) => {
          for (const socket of sockets) socket.destroy()
          server.close(() => resume(Effect.void))
        })
    ),
    (sockets) => ({ port: (server.address() as { port: number }).port, sockets })
  )

const join = (a: Socket, b: Socket) => {
  a.pipe(b).pipe(a)
  for (const [one, other] of [[a, b], [b, a]] as const) {
    one.on("error", () => {})
    one.on("close", () => other.destroy())
  }
}

/** TLS in front of a server. Gives its URL. */
export const secured = Effect.fnUntraced(function*(url: string, options: TlsOptions) {
  const target = new URL(url)
  const tls = createTlsServer(options, (socket) => join(socket, connectTcp(Number(target.port), target.hostname)))
  tls.on("tlsClientError", () => {})
  const { port } = yield* listening(tls)
  return `wss://localhost:${port}${target.pathname}`
})

/** A proxy that knows `CONNECT`, and whom it has connected to. */
export const proxyServer = Effect.fnUntraced(function*(
  options: { readonly credentials?: string; readonly refuseWith?: string; readonly tls?: TlsOptions } = {}
) {
  const targets: Array<string | undefined> = []
  const http = createHttpServer((_, response) => response.writeHead(405).end())
  http.on("connect", (request, socket) => {
    socket.on("error", () => {})
    const expected = options.credentials && `Basic ${Buffer.from(options.credentials).toString("base64")}`
    if (expected !== undefined && request.headers["proxy-authorization"] !== expected) {
      return void socket.end("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
    }
    if (options.refuseWith !== undefined) return void socket.end(`HTTP/1.1 ${options.refuseWith}\r\n\r\n`)
    targets.push(request.url)
    const [host, port] = request.url!.split(":")
    const upstream = connectTcp(Number(port), host, () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n")
      join(socket as Socket, upstream)
    })
    upstream.on("error", () => socket.destroy())
  })
  if (options.tls === undefined) return { ...(yield* listening(http)), targets }
  const tls = createTlsServer(options.tls, (socket) => http.emit("connection", socket))
  tls.on("tlsClientError", () => {})
  return { ...(yield* listening(tls)), targets }
})
