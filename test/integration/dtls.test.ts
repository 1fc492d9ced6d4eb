/**
 * What is mended in werift's DTLS, seen from other implementations' ends of it.
 */
import { assert, describe, it } from "@effect/vitest"
import { answer, offer, type Signal } from "../../scripts/bench/peer.ts"
import { loopback, WeriftPeer } from "../../src/internal/werift.ts"

interface DtlsRecord {
  readonly type: number
  readonly epoch: number
  readonly number: number
  /** Whether it is the first message of a client. */
  readonly isHello: boolean
}

/** RFC 6347, sections 4.1 and 4.2.2; none for what is not DTLS. */
const recordsOf = (packet: Buffer): Array<DtlsRecord> => {
  const records: Array<DtlsRecord> = []
  let at = 0
  while (at + 13 <= packet.length && packet[at]! >= 20 && packet[at]! < 64) {
    const epoch = packet.readUInt16BE(at + 3)
    // A handshake record in the clear, of message type client_hello with number 0.
    const isHello = packet[at] === 22 && epoch === 0 && packet[at + 13] === 1 && packet.readUInt16BE(at + 17) === 0
    records.push({ type: packet[at]!, epoch, number: packet.readUIntBE(at + 5, 6), isHello })
    at += 13 + packet.readUInt16BE(at + 11)
  }
  return records
}

describe("werift offers, node-datachannel answers", () => {
  it("hears the first ClientHello, and uses the number of no record twice", { timeout: 20_000 }, async () => {
    const sent: Array<DtlsRecord> = []
    const heard: Array<DtlsRecord> = []
    let toAnswerer: (signal: Signal) => void
    const answering = answer("node-datachannel", (receive) => {
      toAnswerer = receive
      return (signal) => void offering.then(({ receive }) => receive(signal))
    })
    const offering = offer("werift", (signal) => toAnswerer(signal))
    const { channel, peer } = await offering
    const { connection } = (peer as unknown as WeriftPeer).iceTransports[0]!
    const send = connection.send
    connection.send = (data) => {
      sent.push(...recordsOf(data))
      return send.call(connection, data)
    }
    connection.onData.subscribe((data) => heard.push(...recordsOf(data)))
    channel.addEventListener("message", ({ data }) => channel.send(String(data)))

    const other = await answering
    // More messages than the handshake has records, one after the other, so that each is a record.
    await new Promise<void>((resolve) => {
      let echoes = 0
      other.channel.addEventListener("message", () => ++echoes < 30 ? other.channel.send("x") : resolve())
      other.channel.send("x")
    })
    other.peer.close()
    await peer.close()

    // Played again for who was not there, it is still one on the wire.
    assert.strictEqual(new Set(heard.filter(({ isHello }) => isHello).map(({ number }) => number)).size, 1)
    const encrypted = sent.filter(({ epoch }) => epoch === 1).map(({ number }) => number)
    assert.isAbove(encrypted.length, 30)
    assert.strictEqual(new Set(encrypted).size, encrypted.length)
  })
})

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
  it("gets past a handshake of which each flight is said twice", { timeout: 20_000 }, async () => {
    const { answerer, connect, offerer } = await pair("active")
    // As an end does that has waited half a second for the other.
    for (const peer of [offerer, answerer]) onSend(peer, (packet) => packet[0] === 22 ? [packet, packet] : [packet])
    await connect()
  })

  /** The other end is connected by then, and sends. */
  const loseFinished = (peer: WeriftPeer) => {
    let lost = 0
    onSend(peer, (packet) => {
      const isFinished = recordsOf(packet).some(({ epoch, type }) => epoch === 1 && type === 22)
      return isFinished && lost++ === 0 ? [] : [packet]
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
