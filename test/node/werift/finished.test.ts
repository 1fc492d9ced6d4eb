/**
 * Data that comes before the handshake of DTLS is done, as when its last message
 * is lost.
 */
import { assert, describe, it } from "@effect/vitest"
import { loopback, WeriftPeer } from "../../../src/node/internal/werift/peer.ts"

/** Whether a packet has the encrypted `Finished`: a handshake record of epoch 1 (RFC 6347, section 4.1). */
const hasFinished = (packet: Buffer): boolean => {
  let at = 0
  while (at + 13 <= packet.length && packet[at]! >= 20 && packet[at]! < 64) {
    if (packet[at] === 22 && packet.readUInt16BE(at + 3) === 1) return true
    at += 13 + packet.readUInt16BE(at + 11)
  }
  return false
}

/** Two peers of which one has the other's offer; `connect` answers it in a role of DTLS, and waits until both are connected. */
const pair = async (setup: "active" | "passive") => {
  const offerer = new WeriftPeer({ ...loopback, iceServers: [] })
  const answerer = new WeriftPeer({ ...loopback, iceServers: [] })
  const channel = offerer.createDataChannel("x")
  await offerer.setLocalDescription(await offerer.createOffer())
  await offerer.gathered
  await answerer.setRemoteDescription({ type: "offer", sdp: offerer.localDescription!.sdp })
  const states: Array<string> = []
  for (const peer of [offerer, answerer]) peer.connectionStateChange.subscribe((state) => states.push(state))
  const connect = async () => {
    const over = new Promise<void>((resolve) => {
      const look = () => {
        const connected = states.filter((state) => state === "connected").length === 2
        if (connected && channel.readyState === "open" || states.includes("failed")) resolve()
      }
      channel.addEventListener("open", look)
      for (const peer of [offerer, answerer]) peer.connectionStateChange.subscribe(look)
    })
    const { sdp } = await answerer.createAnswer()
    await answerer.setLocalDescription({ type: "answer", sdp: sdp.replace(/a=setup:\w+/g, `a=setup:${setup}`) })
    await answerer.gathered
    await offerer.setRemoteDescription({ type: "answer", sdp: answerer.localDescription!.sdp })
    await over
    await Promise.all([offerer.close(), answerer.close()])
    assert.notInclude(states, "failed")
  }
  return { offerer, answerer, connect }
}

/** What `change` gives is sent in place of each packet. */
const onSend = (peer: WeriftPeer, change: (packet: Buffer) => ReadonlyArray<Buffer>) => {
  const { connection } = peer.iceTransports[0]!
  const send = connection.send
  connection.send = async (packet) => {
    await Promise.all(change(packet).map((changed) => send.call(connection, changed)))
  }
}

describe("werift on both sides", () => {
  /** The other end is connected by then, and sends. */
  const loseFinished = (peer: WeriftPeer) => {
    let lost = 0
    onSend(peer, (packet) => {
      return hasFinished(packet) && lost++ === 0 ? [] : [packet]
    })
    return () => lost
  }

  it("gets past a handshake of which the last message is lost", { timeout: 20_000 }, async () => {
    const { connect, offerer } = await pair("active")
    const lost = loseFinished(offerer)
    await connect()
    assert.isAbove(lost(), 0)
  })

  it(
    "gets past it when the answerer has said the last message, and begins with SCTP",
    { timeout: 20_000 },
    async () => {
      const { answerer, connect } = await pair("passive")
      const lost = loseFinished(answerer)
      const transport = answerer.sctpTransport!
      const start = transport.sctp.start.bind(transport.sctp)
      transport.sctp.start = async (port) => {
        // werift lets the offerer begin. Other implementations begin both, and answer as well.
        transport.sctp.isServer = false
        await start(port)
        transport.sctp.isServer = true
      }
      await connect()
      assert.isAbove(lost(), 0)
    }
  )
})
