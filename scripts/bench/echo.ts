/**
 * The responding end of a measurement in a process of its own: `echo.ts
 * IMPLEMENTATION`. It answers a JSON-RPC request with its params, and gives back
 * any other message as it is. Signaling is over IPC, or over the WebSocket whose
 * URL it tells first, in the two round trips that Sora's signaling takes.
 */
import { WebSocketServer } from "ws"
import { type Implementation, offer, type Signal } from "./peer.ts"

process.on("disconnect", () => process.exit(0))

const implementation = process.argv[2] as Implementation

const respond = ({ channel, peer }: Awaited<ReturnType<typeof offer>>) => {
  const send = (text: string) => {
    try {
      channel.send(text)
    } catch {
      // The other end has left with messages under way, which `readyState` need not tell yet.
    }
  }
  channel.addEventListener("close", () => void peer.close())
  if ("binaryType" in channel) (channel as { binaryType: string }).binaryType = "arraybuffer"
  channel.addEventListener("message", ({ data }) => {
    const text = String(data)
    if (!text.startsWith("{")) return send(text)
    const { id, params } = JSON.parse(text)
    send(JSON.stringify({ jsonrpc: "2.0", id, result: params }))
  })
}

const peers = new Map<number, ReturnType<typeof offer>>()

process.on("message", async ({ id, start, ...signal }: any) => {
  if (start === true) {
    const made = offer(implementation, (signal) => process.send!({ id, ...signal }))
    peers.set(id, made)
    respond(await made)
  } else {
    await (await peers.get(id)!).receive(signal)
  }
})

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 }, () => {
  process.send!({ url: `ws://127.0.0.1:${(server.address() as { port: number }).port}` })
})

server.on("connection", (socket) => {
  let made: ReturnType<typeof offer> | undefined
  socket.on("message", async (data) => {
    if (made === undefined) {
      made = offer(implementation, (signal: Signal) => socket.send(JSON.stringify(signal)))
      respond(await made)
    } else {
      await (await made).receive(JSON.parse(String(data)))
    }
  })
})
