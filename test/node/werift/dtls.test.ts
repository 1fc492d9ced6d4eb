/**
 * What is mended in werift's DTLS, seen from other implementations' ends of it.
 */
import { assert, describe, it } from "@effect/vitest"
import { answer, offer, type Signal } from "../../../scripts/bench/peer.ts"
import { loopback, WeriftPeer } from "../../../src/node/internal/werift/peer.ts"

interface DtlsRecord {
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
    records.push({ epoch, number: packet.readUIntBE(at + 5, 6), isHello })
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

describe("werift on both sides", () => {
  it("gets past a handshake of which each flight is said twice", { timeout: 20_000 }, async () => {
    const offerer = new WeriftPeer({ ...loopback, iceServers: [] })
    const answerer = new WeriftPeer({ ...loopback, iceServers: [] })
    const channel = offerer.createDataChannel("x")
    await offerer.setLocalDescription(await offerer.createOffer())
    await offerer.gathered
    await answerer.setRemoteDescription({ type: "offer", sdp: offerer.localDescription!.sdp })
    for (const peer of [offerer, answerer]) {
      const { connection } = peer.iceTransports[0]!
      const send = connection.send
      connection.send = async (data) => {
        await send.call(connection, data)
        // As an end does that has waited half a second for the other.
        if (data[0] === 22) await send.call(connection, data)
      }
    }
    const states: Array<string> = []
    for (const peer of [offerer, answerer]) peer.connectionStateChange.subscribe((state) => states.push(state))
    const over = new Promise<void>((resolve) => {
      channel.addEventListener("open", () => resolve())
      answerer.connectionStateChange.subscribe((state) => {
        if (state === "failed") resolve()
      })
    })
    await answerer.setLocalDescription(await answerer.createAnswer())
    await answerer.gathered
    await offerer.setRemoteDescription({ type: "answer", sdp: answerer.localDescription!.sdp })
    await over
    await Promise.all([offerer.close(), answerer.close()])
    assert.notInclude(states, "failed")
  })
})
