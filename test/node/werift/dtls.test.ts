/**
 * What is mended in werift's DTLS, and that werift itself still has the fault.
 */
import { assert, describe, it } from "@effect/vitest"
import { KeyObject } from "node:crypto"
import { DtlsClient, Event, type RTCDtlsTransport, type RTCPeerConnection } from "werift"
import { answer, offer, type Signal } from "../../../scripts/bench/peer.ts"
import { endHandshake, hearEarly } from "../../../src/node/internal/werift/dtls.ts"
import type { WeriftPeer } from "../../../src/node/internal/werift/peer.ts"
import { closeAll, connected, mended, negotiate, plain } from "./pair.ts"

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

/** Says each flight twice, as an end does that has waited half a second for the other. Ends when connected or failed. */
const withRepeatedFlights = async (make: () => RTCPeerConnection) => {
  const peers = [make(), make()] as const
  const channel = peers[0].createDataChannel("x")
  const over = new Promise<string>((resolve) => {
    channel.addEventListener("open", () => resolve("open"))
    for (const peer of peers) peer.connectionStateChange.subscribe((state) => state === "failed" && resolve(state))
  })
  await negotiate(...peers, () => {
    for (const peer of peers) {
      const { connection } = peer.iceTransports[0]!
      const send = connection.send
      connection.send = async (data) => {
        await send.call(connection, data)
        if (data[0] === 22) await send.call(connection, data)
      }
    }
  })
  const outcome = await over
  await closeAll(...peers)
  return outcome
}

describe("a handshake of which each flight is said twice", () => {
  it("fails in werift", async () => assert.strictEqual(await withRepeatedFlights(plain), "failed"))
  it("succeeds here", async () => assert.strictEqual(await withRepeatedFlights(mended), "open"))
})

describe("once connected", () => {
  for (const [name, make] of [["werift", plain], ["here", mended]] as const) {
    it(`the number of the next record is ${make === plain ? "among" : "beyond"} those of the handshake: ${name}`, async () => {
      const peers = [make(), make()] as const
      const { channel, other } = await connected(...peers)
      const numbers: Array<number> = []
      const { connection } = peers[0].iceTransports[0]!
      const send = connection.send
      connection.send = (data) => {
        numbers.push(...recordsOf(data).map(({ number }) => number))
        return send.call(connection, data)
      }
      const heard = new Promise((resolve) => other.addEventListener("message", resolve))
      channel.send("x")
      await heard
      if (make === plain) assert.isBelow(Math.min(...numbers), 20)
      else assert.isAbove(Math.min(...numbers), 20)
      await closeAll(...peers)
    })

    it(`keys are ${make === plain ? "bytes" : "objects"}: ${name}`, async () => {
      const peers = [make(), make()] as const
      await connected(...peers)
      for (const peer of peers) {
        const { clientWriteKey, serverWriteKey } = peer.dtlsTransports[0]!.dtls!.cipher.cipher
        for (const key of [clientWriteKey, serverWriteKey]) {
          assert.strictEqual(key instanceof KeyObject, make === mended)
        }
      }
      await closeAll(...peers)
    })
  }
})

describe("a handshake that nobody answers", () => {
  /** A client whose packets go nowhere. */
  const client = () => {
    let packets = 0
    const dtls = new DtlsClient({
      transport: {
        type: "none",
        address: { address: "127.0.0.1", family: "IPv4", port: 9 },
        closed: false,
        onData: () => {},
        send: async () => {
          packets++
        },
        close: async () => {}
      }
    })
    return { dtls, packets: () => packets }
  }

  it("is over at its end", async () => {
    const { dtls, packets } = client()
    const connecting = dtls.connect()
    endHandshake({ dtls } as unknown as RTCDtlsTransport)
    // werift says the first flight eleven times, for 33 seconds, and then fails.
    await connecting
    assert.strictEqual(packets(), 1)
  })

  it("does not begin after its end", async () => {
    const { dtls, packets } = client()
    endHandshake({ dtls } as unknown as RTCDtlsTransport)
    await dtls.connect()
    assert.strictEqual(packets(), 0)
  })
})

describe("what comes before DTLS is up", () => {
  const transport = () => ({ dtls: undefined, iceTransport: { connection: { onData: new Event<[Buffer]>() } } })

  it("is heard when it is", () => {
    const ours = transport()
    const early = hearEarly(ours as unknown as RTCDtlsTransport)
    const { onData } = ours.iceTransport.connection
    onData.execute(Buffer.from([22, 1]))
    onData.execute(Buffer.from([22, 2]))
    onData.execute(Buffer.from([128]))
    const heard: Array<Buffer> = []
    onData.subscribe((data) => heard.push(data))
    early.replay()
    assert.deepStrictEqual(heard, [Buffer.from([22, 2])])
  })

  it("throws nowhere, whatever it is", () => {
    const ours = transport()
    const early = hearEarly(ours as unknown as RTCDtlsTransport)
    const { onData } = ours.iceTransport.connection
    onData.execute(Buffer.from([22]))
    onData.subscribe(() => {
      throw new RangeError("too short")
    })
    assert.throws(() => onData.execute(Buffer.from([22])))
    early.replay()
  })
})
