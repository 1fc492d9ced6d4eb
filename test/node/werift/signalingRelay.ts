/**
 * A bad network between a server that speaks Sora's protocol and its clients, of
 * any make: signaling goes to and fro as it is, but for the candidates, in the
 * place of which stands a relay, one for each connection.
 */
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { type RawData, WebSocket, WebSocketServer } from "ws"
import type { Weather } from "./random.ts"
import { makeRelay, type Relay } from "./relay.ts"

/** Nothing comes any more of peers that were quiet for so long: they look for each other every few seconds. */
const QuietMillis = 20_000

/** `weather` is asked for each connection. What a relay does follows from the seed and the number of its connection. */
export const relaySignaling = async (serverUrl: string, options: {
  readonly seed: number
  readonly weather: () => Weather
}) => {
  const relays = new Set<Relay>()
  const closes = new Set<() => Promise<void>>()
  const sum = { connections: 0, packets: 0, dropped: 0 }
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 })
  await once(server, "listening")

  const connect = async (client: WebSocket) => {
    const early: Array<RawData> = []
    const keep = (data: RawData) => void early.push(data)
    client.on("message", keep)
    const relay = await makeRelay(options.seed * 1000 + sum.connections++)
    relays.add(relay)
    relay.set(options.weather())
    const close = async () => {
      clearInterval(watch)
      if (!relays.delete(relay)) return
      sum.packets += relay.counts.packets
      sum.dropped += relay.counts.dropped
      await relay.close()
    }
    // The peers may do without signaling, so that its end says nothing.
    let before = -1
    const watch = setInterval(() => {
      if (relay.counts.packets === before) void close()
      before = relay.counts.packets
    }, QuietMillis)
    closes.add(close)
    const upstream = new WebSocket(serverUrl)
    const pass = (from: WebSocket, to: WebSocket, rewrite: (message: any) => object | undefined) => {
      const onMessage = (data: RawData) => {
        const message = rewrite(JSON.parse(String(data)))
        if (message !== undefined && to.readyState === WebSocket.OPEN) to.send(JSON.stringify(message))
      }
      from.on("message", onMessage)
      // One that cannot be reached closes as well.
      from.on("error", () => {})
      from.on("close", (code) => code === 1006 || code === 1005 ? to.terminate() : to.close(code))
      return onMessage
    }
    const through = (side: 0 | 1) => (message: any) =>
      "sdp" in message ? { ...message, sdp: relay.through(side, message.sdp) } : message
    pass(upstream, client, through(0))
    upstream.on("open", () => {
      client.off("message", keep)
      // There is one way to the client, and the relay hears it.
      const toServer = pass(
        client,
        upstream,
        (message) => message.type === "candidate" ? undefined : through(1)(message)
      )
      for (const data of early) toServer(data)
    })
  }
  server.on("connection", (client) => void connect(client))
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/signaling`,
    /** Of the packets of all connections so far. */
    counts: () => {
      const counts = { ...sum }
      for (const { counts: { dropped, packets } } of relays) {
        counts.packets += packets
        counts.dropped += dropped
      }
      return counts
    },
    /** Ends every connection. */
    close: async () => {
      for (const client of server.clients) client.terminate()
      await new Promise((resolve) => server.close(resolve))
      await Promise.all(Array.from(closes, (close) => close()))
    }
  }
}
