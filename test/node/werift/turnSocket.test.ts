import { assert, it } from "@effect/vitest"
import { createServer, type Socket } from "node:net"
import { WeriftPeer } from "../../../src/node/internal/werift/peer.ts"
import * as TurnSocket from "../../../src/node/internal/werift/turnSocket.ts"

it("over a stream that has stalled packets are lost, and none in part", async () => {
  const server = createServer({ pauseOnConnect: true })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve))
  const { port } = server.address() as { port: number }
  const peer = new WeriftPeer({})
  const made = TurnSocket.make({ host: "127.0.0.1", port, transport: "tcp" }, peer.config)
  const to = await made.opened
  const stalled = await accepted
  const packet = Buffer.alloc(1024, 1)
  // More than systems keep of their own accord.
  const sent = 64 * 1024
  for (let i = 0; i < sent; i++) {
    void made.send(packet, to)
    // Now and then with time to go out.
    // oxlint-disable-next-line no-await-in-loop -- that time
    if (i % 1024 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  let received = 0
  let isLast = false
  await new Promise<void>((resolve) => {
    stalled.on("data", (data) => {
      received += data.length
      isLast ||= data.includes(2)
      // Room again.
      if (!isLast) void made.send(Buffer.alloc(1024, 2), to)
      // Never, if one were cut off.
      else if (received % 1024 === 0) resolve()
    })
    stalled.resume()
  })
  assert.isBelow(received, sent * 1024 / 2)
  await Promise.all([made.close(), peer.close()])
  stalled.destroy()
  server.close()
})
