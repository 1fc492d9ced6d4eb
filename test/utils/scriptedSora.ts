import { NodeSocketServer } from "@effect/platform-node"
import { Context, Effect, Queue } from "effect"
import * as NetAddress from "effect/net/NetAddress"
import { Socket } from "effect/socket"

/** A WebSocket server that does what a test says, for what no proper server would do. */
export const make = Effect.fnUntraced(function*(
  script: (peer: {
    /** The next message of the client, parsed. */
    readonly take: Effect.Effect<any>
    readonly send: (message: unknown) => void
    readonly close: (code: number, reason: string) => void
    readonly terminate: () => void
  }) => Effect.Effect<void>
) {
  const server = yield* NodeSocketServer.makeWebSocket({ host: "127.0.0.1", port: 0 })
  const open = new Set<unknown>()
  const waiting: Array<(effect: Effect.Effect<void>) => void> = []
  yield* Effect.forkScoped(
    server.run((socket) =>
      Effect.contextWith((context: Context.Context<never>) => {
        const webSocket: any = Context.getUnsafe(context, Socket.WebSocket)
        open.add(webSocket)
        webSocket.addEventListener("close", () => {
          open.delete(webSocket)
          if (open.size === 0) { for (const resume of waiting.splice(0)) resume(Effect.void) }
        })
        return Effect.gen(function*() {
          const messages = yield* Queue.unbounded<any>()
          const pull = yield* Socket.readerString(socket)
          yield* Effect.forkScoped(script({
            take: Queue.take(messages),
            send: (message) => webSocket.send(typeof message === "string" ? message : JSON.stringify(message)),
            close: (code, reason) => webSocket.close(code, reason),
            terminate: () => webSocket.terminate()
          }))
          while (true) for (const text of yield* pull) yield* Queue.offer(messages, JSON.parse(text))
        }).pipe(Effect.scoped, Effect.ignore)
      })
    ),
    { startImmediately: true }
  )
  const port = NetAddress.isInetAddress(server.address) ? server.address.port : 0
  return {
    url: `ws://127.0.0.1:${port}/signaling`,
    open: () => open.size,
    /** When the last client is gone. */
    allClosed: Effect.callback<void>((resume) => {
      if (open.size === 0) resume(Effect.void)
      else waiting.push(resume)
    })
  }
})
