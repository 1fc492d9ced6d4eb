/** What is mended in werift's SCTP, and that werift itself still has the fault. */
import { assert, describe, it } from "@effect/vitest"
import { once } from "node:events"
import { Worker } from "node:worker_threads"
import { crc32c, type RTCSctpTransport } from "werift"
import { guard } from "../../../src/node/internal/werift/sctp.ts"
import { isReadable } from "../../../src/node/internal/werift/sctp/packet.ts"
import { closeAll, connected, mended, plain } from "./pair.ts"

/** A packet of chunks: type, body, and a length that may be a lie. */
const packet = (...chunks: ReadonlyArray<readonly [type: number, body: ReadonlyArray<number>, length?: number]>) =>
  Buffer.concat([
    Buffer.alloc(12),
    ...chunks.map(([type, body, length = 4 + body.length]) => {
      const padding = Array.from({ length: (4 - body.length % 4) % 4 }, () => 0)
      return Buffer.from([type, 0, length >> 8, length & 0xff, ...body, ...padding])
    })
  ])

const sack = (...gaps: ReadonlyArray<readonly [number, number]>) => {
  const body = Buffer.alloc(12 + 4 * gaps.length)
  body.writeUInt16BE(gaps.length, 8)
  gaps.forEach(([start, end], i) => {
    body.writeUInt16BE(start, 12 + 4 * i)
    body.writeUInt16BE(end, 14 + 4 * i)
  })
  return packet([3, [...body]])
}

describe("isReadable", () => {
  it("what has the lengths that it says", () => {
    assert.isTrue(isReadable(packet()))
    assert.isTrue(isReadable(packet([0, [...Buffer.alloc(12), 1]], [11, []])))
    assert.isTrue(isReadable(packet([4, [0, 1, 0, 8, 9, 9, 9, 9]])))
    assert.isTrue(isReadable(sack()))
    assert.isTrue(isReadable(sack([2, 2], [4, 65_535])))
  })

  it("what would go round in circles, or beyond the end", () => {
    assert.isFalse(isReadable(Buffer.alloc(11)))
    for (const length of [0, 3, 100]) assert.isFalse(isReadable(packet([0, [1, 2, 3, 4], length])), `chunk ${length}`)
    for (const type of [4, 5, 6, 9, 130]) assert.isFalse(isReadable(packet([type, [0, 1, 0, 0]])), `type ${type}`)
    for (const type of [1, 2]) assert.isFalse(isReadable(packet([type, [...Buffer.alloc(16), 0, 1, 0, 0]])))
  })

  it("acknowledgements of the same again and again, or of more than are there", () => {
    assert.isFalse(isReadable(sack([1, 65_535], [1, 65_535])))
    assert.isFalse(isReadable(sack([5, 4])))
    const short = sack([1, 1])
    short.writeUInt16BE(2, 24)
    assert.isFalse(isReadable(short))
    assert.isFalse(isReadable(packet([3, [1]])))
  })
})

/** An association of werift's, and one that is mended; and how often something was dropped there. */
const associations = async (maxBytes = 100_000) => {
  const peers = [plain(), mended()] as const
  await connected(...peers)
  const [bare, guarded] = peers.map(({ sctpTransport }) => sctpTransport!) as [RTCSctpTransport, RTCSctpTransport]
  let bad = 0
  guard(guarded, { maxBytes, onBad: () => bad++ })
  return { bare, guarded, bad: () => bad, close: () => closeAll(...peers) }
}

/** The private methods that the other end's packets and messages come to. */
const entrances = ({ datachannelReceive, sctp }: any) => ({
  packet: (data: Buffer): Promise<void> => sctp.handleData(data),
  message: (streamId: number, protocol: number, data: Buffer): Promise<void> =>
    datachannelReceive(streamId, protocol, data),
  sctp
})

/** Says what a packet of the other end says, with the sum that it must have. */
const signed = ({ sctp }: any, data: Buffer): Buffer => {
  const made = Buffer.from(data)
  made.writeUInt32BE(sctp.localVerificationTag, 4)
  made.writeUInt32LE(0, 8)
  made.writeUInt32LE(crc32c(made), 8)
  return made
}

describe("a packet that cannot be read", () => {
  it("rejects in werift, and is dropped here", async () => {
    const { bad, bare, close, guarded } = await associations()
    const packets = [Buffer.alloc(3), packet([4, [0, 1, 0, 100]]), Buffer.alloc(40)]
    const outcomes = await Promise.allSettled(packets.map((data) => entrances(bare).packet(data)))
    assert.deepStrictEqual(outcomes.map(({ status }) => status), ["rejected", "rejected", "rejected"])
    await Promise.all(packets.map((data) => entrances(guarded).packet(data)))
    assert.strictEqual(bad(), 3)
    await close()
  })

  it("with a length of zero fills the memory of werift", async () => {
    // A heartbeat with a parameter of no length, with its checksum.
    const worker = new Worker(
      `
        import { crc32c, RTCPeerConnection } from "werift"
        const peer = new RTCPeerConnection({})
        peer.createDataChannel("x")
        const packet = Buffer.alloc(20)
        packet.set([4, 0, 0, 8, 0, 1, 0, 0], 12)
        packet.writeUInt32LE(crc32c(packet), 8)
        peer.sctpTransport.sctp.handleData(packet)
      `,
      { eval: true, execArgv: ["--input-type=module"], resourceLimits: { maxOldGenerationSizeMb: 64 } }
    )
    const [error] = await once(worker, "error")
    assert.strictEqual(error.code, "ERR_WORKER_OUT_OF_MEMORY")
  })
})

it("a chunk of a type that is not known hides none beside it", async () => {
  const { bad, bare, close, guarded } = await associations()
  // A heartbeat after a padding chunk (RFC 4820), which is not among the types of RFC 9260.
  const chunks = packet([132, [0, 0, 0, 0]], [4, [0, 1, 0, 8, 1, 2, 3, 4]])
  const [outcome] = await Promise.allSettled([entrances(bare).packet(signed(bare, chunks))])
  assert.strictEqual(outcome.status, "rejected")
  const answered = new Promise<void>((resolve) => {
    const { sctp } = entrances(guarded)
    const sendChunk = sctp.sendChunk
    sctp.sendChunk = (chunk: { readonly type: number }) => {
      if (chunk.type === 5) resolve()
      return sendChunk.call(sctp, chunk)
    }
  })
  await entrances(guarded).packet(signed(guarded, chunks))
  await answered
  assert.strictEqual(bad(), 0)
  await close()
})

it("a message that names no channel, or is of no known kind, rejects in werift, and is dropped here", async () => {
  const { bad, bare, close, guarded } = await associations()
  const id = Object.values(guarded.dataChannels)[0]!.id!
  // An acknowledgement of a channel that nobody has opened (RFC 8832, section 5.2), and a protocol that there is not.
  const messages: Array<[number, number, Buffer]> = [[77, 50, Buffer.from([2])], [id, 99, Buffer.from("x")]]
  const outcomes = await Promise.allSettled(messages.map((message) => entrances(bare).message(...message)))
  assert.deepStrictEqual(outcomes.map(({ status }) => status), ["rejected", "rejected"])
  for (const message of messages) guarded.sctp.onReceive.execute(...message)
  await close()
  assert.strictEqual(bad(), 2)
})

it("messages whose last piece never comes are kept without end in werift, and up to a bound here", async () => {
  const { bad, bare, close, guarded } = await associations()
  let kept = 0
  const feed = (transport: RTCSctpTransport, count: number) =>
    Promise.all(Array.from({ length: count }, (_, i) => {
      const body = Buffer.alloc(12 + 1000)
      body.writeUInt32BE((entrances(transport).sctp.lastReceivedTsn + 1 + i) >>> 0, 0)
      body.writeUInt16BE(9, 4)
      body.writeUInt32BE(51, 8)
      const made = packet([0, [...body]])
      if (i === 0) made[13] = 2
      const read = entrances(transport).packet(signed(transport, made))
      if (bad() === 0) kept++
      return read
    }))
  const before = entrances(bare).sctp.advertisedRwnd
  await feed(bare, 1000)
  assert.strictEqual(before - entrances(bare).sctp.advertisedRwnd, 1_000_000)
  kept = 0
  await feed(guarded, 3000)
  assert.strictEqual(bad(), 1)
  // 2 MiB and 100,000 bytes are kept, as they come in order, and what it takes to keep them.
  assert.approximately(kept, (2 * 1024 * 1024 + 100_000) / 1256, 5)
  await close()
})
