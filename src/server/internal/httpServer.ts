/**
 * An HTTP server of which nothing stays when it stops: a socket that never said
 * anything, or whose other end does not answer, would keep an `http.Server` from
 * closing.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Http from "node:http"
import type { Socket } from "node:net"

const ignore = () => {}

export interface HttpServer {
  readonly server: Http.Server
  /** Cuts off whoever is still there. */
  readonly stop: Effect.Effect<void>
}

/** `patience` is the time for a request to come. */
export const make = (patience: Duration.Duration): HttpServer => {
  // Node looks at it every so often only; a time of more than its timers know is none.
  const requestTimeout = Math.min(Duration.toMillis(patience), 2 ** 31 - 1)
  const server = Http.createServer({ requestTimeout, headersTimeout: requestTimeout })
  const sockets = new Set<Socket>()
  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
    // Node, and then `ws`, listen as long as a socket is theirs. Between them, and afterwards, nobody else does, and an
    // error that nobody hears ends the process.
    socket.on("error", ignore)
  })
  return {
    server,
    stop: Effect.callback<void>((resume) => {
      // It calls back with an error when it does not listen, which is as good.
      server.close(() => resume(Effect.void))
      for (const socket of sockets) socket.destroy()
    })
  }
}
