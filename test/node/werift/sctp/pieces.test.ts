/** The pieces of the transfer of data, with whatever there may be. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Congestion } from "../../../../src/node/internal/werift/sctp/congestion.ts"
import {
  type Data,
  type Forward,
  Packets,
  read,
  readData,
  readForward,
  readSack,
  type Sack
} from "../../../../src/node/internal/werift/sctp/packet.ts"
import { Receiving } from "../../../../src/node/internal/werift/sctp/receiving.ts"
import { type Message, Sending } from "../../../../src/node/internal/werift/sctp/sending.ts"
import { add16, add32, ahead16, ahead32 } from "../../../../src/node/internal/werift/sctp/serial.ts"
import { seeded } from "../random.ts"

const Uint32 = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 32 - 1 }))
const Uint16 = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 16 - 1 }))
const Seed = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 }))

describe("numbers that begin again at zero", () => {
  it.prop("are ahead by what was added, up to half of the way round", [Uint32, Uint16], ([number, by]) => {
    assert.strictEqual(ahead32(add32(number, by), number), by)
    assert.strictEqual(ahead32(number, add32(number, by)), -by)
    assert.isAtLeast(add32(number, by), 0)
    assert.isBelow(add32(number, by), 2 ** 32)
    const small = by % 2 ** 15
    const start = number % 2 ** 16
    assert.strictEqual(ahead16(add16(start, small), start), small)
    assert.strictEqual(ahead16(start, add16(start, small)), small === 0 ? 0 : -small)
  })

  it("at their ends", () => {
    assert.strictEqual(add32(2 ** 32 - 1, 1), 0)
    assert.strictEqual(add32(0, -1), 2 ** 32 - 1)
    assert.strictEqual(ahead32(0, 2 ** 32 - 1), 1)
    assert.strictEqual(ahead32(2 ** 31 - 1, 0), 2 ** 31 - 1)
    assert.strictEqual(add16(65_535, 1), 0)
    assert.strictEqual(ahead16(0, 65_535), 1)
  })
})

const written = (write: (packets: Packets) => void, maxBytes = 1191) => {
  const sent: Array<Buffer> = []
  const packets = new Packets(
    maxBytes,
    { localPort: 1, remotePort: 2, verificationTag: 3 },
    (packet) => sent.push(packet)
  )
  write(packets)
  packets.end()
  return sent
}

describe("packets", () => {
  it.prop("say what was put into them, in its order, and are no larger than they may be", [Seed], ([seed]) => {
    const random = seeded(seed)
    const pieces: Array<Data> = Array.from({ length: 1 + random() * 60 }, () => ({
      tsn: Math.floor(random() * 2 ** 32),
      streamId: Math.floor(random() * 2 ** 16),
      ssn: Math.floor(random() * 2 ** 16),
      protocol: Math.floor(random() * 2 ** 32),
      isOrdered: random() < 0.5,
      isFirst: random() < 0.5,
      isLast: random() < 0.5,
      data: Buffer.alloc(1 + random() * (random() < 0.8 ? 60 : 1159), 7)
    }))
    const sent = written((packets) => {
      for (const piece of pieces) packets.data(piece)
    })
    const got: Array<Data> = []
    for (const packet of sent) {
      assert.isAtMost(packet.length, 1191)
      assert.strictEqual(packet.length % 4, 0)
      const { chunks, verificationTag } = read(packet)!
      assert.strictEqual(verificationTag, 3)
      for (const { body, flags, type } of chunks) {
        assert.strictEqual(type, 0)
        got.push(readData(flags, body))
      }
    }
    assert.deepStrictEqual(got, pieces)
    // None that would have fitted into the one before it is in a packet of its own.
    for (const [i, packet] of sent.entries()) {
      if (i > 0) assert.isAbove(sent[i - 1]!.length + 16 + read(packet)!.chunks[0]!.body.length - 12, 1191 - 4)
    }
  })

  it.prop("of acknowledgements and of what is given up", [Uint32, Seed], ([cumulative, seed]) => {
    const random = seeded(seed)
    let at = 1
    const gaps: Sack["gaps"] = Array.from({ length: random() * 100 }, () => {
      const start = at += 1 + Math.floor(random() * 20)
      at += Math.floor(random() * 20)
      return [start, at++] as const
    })
    const sack: Sack = { cumulative, window: 77, gaps, duplicates: [1, 2] }
    const forward: Forward = { cumulative, streams: [[1, 2], [3, 65_535]] }
    const sent = written((packets) => {
      packets.sack(sack)
      packets.forward(forward)
    })
    const [first, second] = sent.flatMap((packet) => read(packet)!.chunks)
    assert.deepStrictEqual(readSack(first!.body), { ...sack, duplicates: [] })
    assert.deepStrictEqual(readForward(second!.body), forward)
  })

  it("whose sum is wrong are not read", () => {
    const [packet] = written((packets) => packets.reconfig(16, Buffer.alloc(8)))
    assert.isDefined(read(packet!))
    packet![packet!.length - 1]! ^= 1
    assert.isUndefined(read(packet!))
    assert.isUndefined(read(Buffer.alloc(3)))
  })
})

describe("receiving", () => {
  /** Messages of some streams in pieces, with the numbers that a sender gives them. */
  const pieces = (random: () => number, initialTsn: number) => {
    let tsn = initialTsn
    const ssns = new Map<number, number>()
    return Array.from({ length: 1 + random() * 40 }, (_, i): ReadonlyArray<Data> => {
      const streamId = Math.floor(random() * 3)
      const isOrdered = streamId !== 1
      const ssn = isOrdered ? ssns.get(streamId) ?? 65_530 : 0
      if (isOrdered) ssns.set(streamId, add16(ssn, 1))
      const count = 1 + Math.floor(random() * random() * 8)
      return Array.from({ length: count }, (_, part) => {
        const piece = {
          tsn,
          streamId,
          ssn,
          protocol: 51,
          isOrdered,
          isFirst: part === 0,
          isLast: part === count - 1,
          data: Buffer.from(`${part === 0 ? `${i}:` : ""}${part}`)
        }
        tsn = add32(tsn, 1)
        return piece
      })
    })
  }
  const shuffled = <A>(random: () => number, values: ReadonlyArray<A>) =>
    values.map((value) => [random(), value] as const).toSorted(([a], [b]) => a - b).map(([, value]) => value)

  const receiver = (initialTsn: number) => {
    const delivered: Array<readonly [number, string]> = []
    const receiving = new Receiving(initialTsn, (streamId, _, data) => delivered.push([streamId, String(data)]))
    return { delivered, receiving }
  }
  /** Three numbers on, the ordered streams are at the message 65,530: what was before it was given up. */
  const late = (initialTsn: number) => {
    const made = receiver(initialTsn)
    for (const [i, ssn] of [20_000, 45_000, 65_529].entries()) {
      made.receiving.forward({ cumulative: add32(initialTsn, i), streams: [[0, ssn], [2, ssn]] })
    }
    return made
  }

  it.prop("each message once and in order, whatever comes when and how often", [Uint32, Seed], ([initialTsn, seed]) => {
    const random = seeded(seed)
    const messages = pieces(random, add32(initialTsn, 3))
    const { delivered, receiving } = late(initialTsn)
    assert.strictEqual(receiving.cumulative, add32(initialTsn, 2))
    const all = messages.flat()
    const coming = shuffled(random, [...all, ...all.filter(() => random() < 0.3)])
    const seen = new Set<number>()
    for (const piece of coming) {
      assert.strictEqual(receiving.take(piece), !seen.has(piece.tsn))
      seen.add(piece.tsn)
      // The acknowledgement says what came, and nothing else.
      const { cumulative, gaps } = receiving.acknowledgement(1000)
      for (const { tsn } of all) {
        const ahead = ahead32(tsn, cumulative)
        const isAcknowledged = ahead <= 0 || gaps.some(([start, end]) => ahead >= start && ahead <= end)
        assert.strictEqual(isAcknowledged, seen.has(tsn))
      }
      for (let i = 1; i < gaps.length; i++) assert.isAbove(gaps[i]![0], gaps[i - 1]![1] + 1)
    }
    assert.strictEqual(receiving.cumulative, all.at(-1)!.tsn)
    assert.strictEqual(receiving.held, 0)
    assert.isFalse(receiving.isMissing)
    const of = (streamId: number) => delivered.filter(([id]) => id === streamId).map(([, data]) => data)
    for (const streamId of [0, 1, 2]) {
      const sent = messages.filter(([first]) => first!.streamId === streamId)
        .map((each) => each.map(({ data }) => String(data)).join(""))
      if (streamId === 1) assert.deepStrictEqual(of(streamId).toSorted(), sent.toSorted())
      else assert.deepStrictEqual(of(streamId), sent)
    }
  })

  it.prop("what is given up comes never, and the rest does", [Uint32, Seed], ([initialTsn, seed]) => {
    const random = seeded(seed)
    const messages = pieces(random, add32(initialTsn, 3))
    const { delivered, receiving } = late(initialTsn)
    const given = new Set(messages.filter(() => random() < 0.3))
    // Of those that are given up some pieces come all the same.
    const coming = shuffled(random, messages.flatMap((each) => given.has(each) ? each.slice(random() * 3) : each))
    const isWhole = new Map([...given].map((each) => [each, 0]))
    for (const piece of coming) {
      receiving.take(piece)
      const of = messages.find((each) => each.includes(piece))!
      if (given.has(of)) isWhole.set(of, isWhole.get(of)! + 1)
    }
    const last = messages.at(-1)!.at(-1)!.tsn
    const streams = new Map<number, number>()
    for (const [{ isOrdered, ssn, streamId }] of given as Set<[Data, ...Array<Data>]>) {
      if (isOrdered) streams.set(streamId, ssn)
    }
    receiving.forward({ cumulative: last, streams: [...streams] })
    assert.strictEqual(receiving.cumulative, last)
    const expected = (streamId: number) =>
      messages.filter((each) =>
        each[0]!.streamId === streamId && (!given.has(each) || isWhole.get(each) === each.length)
      )
        .map((each) => each.map(({ data }) => String(data)).join(""))
    for (const streamId of [0, 1, 2]) {
      const of = delivered.filter(([id]) => id === streamId).map(([, data]) => data)
      if (streamId === 1) assert.deepStrictEqual(of.toSorted(), expected(1).toSorted())
      else assert.deepStrictEqual(of, expected(streamId))
    }
    assert.strictEqual(receiving.held, 0)
  })

  it("what is further ahead than can be told of is not taken, nor what leaves too many gaps", () => {
    const { receiving } = receiver(0)
    const piece: Data = {
      tsn: 0,
      streamId: 0,
      ssn: 0,
      protocol: 51,
      isOrdered: false,
      isFirst: true,
      isLast: true,
      data: Buffer.from("x")
    }
    assert.isFalse(receiving.take({ ...piece, tsn: 65_535 }))
    let taken = 0
    for (let tsn = 1; tsn < 60_000; tsn += 2) if (receiving.take({ ...piece, tsn })) taken++
    assert.strictEqual(taken, 4096)
    assert.isTrue(receiving.take(piece))
    assert.strictEqual(receiving.cumulative, 1)
    assert.isAtMost(receiving.acknowledgement(100).gaps.length, 100)
  })

  it("what is half of the way round ahead of the message that is next is not taken until others have come", () => {
    const { delivered, receiving } = receiver(0)
    const message = (number: number): Data => ({
      tsn: number,
      streamId: 0,
      ssn: number,
      protocol: 51,
      isOrdered: true,
      isFirst: true,
      isLast: true,
      data: Buffer.from(String(number))
    })
    assert.isFalse(receiving.take(message(32_768)))
    assert.isFalse(receiving.take(message(40_000)))
    assert.isTrue(receiving.take(message(32_767)))
    for (let number = 0; number < 32_767; number++) receiving.take(message(number))
    assert.isTrue(receiving.take(message(32_768)))
    assert.deepStrictEqual(delivered.map(([, data]) => Number(data)), Array.from({ length: 32_769 }, (_, i) => i))
    assert.strictEqual(receiving.held, 0)
  })

  it("pieces of different messages are not put together", () => {
    const { delivered, receiving } = receiver(0)
    const piece: Data = {
      tsn: 0,
      streamId: 0,
      ssn: 0,
      protocol: 51,
      isOrdered: true,
      isFirst: true,
      isLast: false,
      data: Buffer.from("x")
    }
    receiving.take(piece)
    receiving.take({ ...piece, tsn: 1, streamId: 1, isFirst: false, isLast: true })
    receiving.take({ ...piece, tsn: 2 })
    receiving.take({ ...piece, tsn: 3, protocol: 53, isFirst: false, isLast: true })
    receiving.take({ ...piece, tsn: 4, isFirst: false, isLast: true })
    assert.deepStrictEqual(delivered, [])
  })
})

describe("sending", () => {
  it("grows with what is acknowledged, and halves with what is lost, once for each time", () => {
    const sending = new Sending({ initialTsn: 1, window: 10_000_000, maxPiece: 1000 })
    const data = Buffer.alloc(1000)
    for (let i = 0; i < 3000; i++) sending.add({ streamId: 0, protocol: 51, data, isOrdered: true })
    let tsns: Array<number> = []
    const transmit = () => {
      tsns = []
      sending.transmit(0, ({ tsn }) => {
        tsns.push(tsn)
        return true
      })
      return tsns.length
    }
    assert.strictEqual(transmit(), 10)
    sending.acknowledge({ cumulative: 10, window: 10_000_000, gaps: [] }, 1)
    // Two pieces more for an acknowledgement.
    assert.strictEqual(transmit(), 12)
    for (const cumulative of [12, 14, 16]) sending.acknowledge({ cumulative, window: 10_000_000, gaps: [] }, 1)
    transmit()
    const before = sending.flight
    // 17 is missing, and three tell of it.
    for (const end of [2, 3, 4]) sending.acknowledge({ cumulative: 16, window: 10_000_000, gaps: [[2, end]] }, 2)
    transmit()
    assert.strictEqual(tsns[0], 17)
    // And another of that time, which costs nothing more.
    for (const end of [6, 7, 8]) {
      sending.acknowledge({ cumulative: 16, window: 10_000_000, gaps: [[2, 4], [6, end]] }, 3)
    }
    while (transmit() > 0) { /* what may be under way */ }
    assert.approximately(sending.flight, before / 2, 1500)
    // Nothing heard: one piece.
    sending.expire(1000)
    assert.strictEqual(transmit(), 1)
  })

  it("a piece that is lost once more is sent again once more, when what was sent after it has arrived", () => {
    const sending = new Sending({ initialTsn: 1, window: 1_000_000, maxPiece: 1000 })
    for (let i = 0; i < 40; i++) sending.add({ streamId: 0, protocol: 51, data: Buffer.alloc(1000), isOrdered: true })
    const sent: Array<number> = []
    const transmit = () =>
      sending.transmit(0, ({ tsn }) => {
        sent.push(tsn)
        return true
      })
    const say = (end: number) => sending.acknowledge({ cumulative: 0, window: 1_000_000, gaps: [[2, end]] }, 1)
    transmit()
    for (const end of [2, 3, 4]) say(end)
    transmit()
    assert.strictEqual(sent.filter((tsn) => tsn === 1).length, 2)
    // Those that were sent before it the second time say nothing of that.
    for (const end of [5, 6, 7, 8]) say(end)
    transmit()
    assert.strictEqual(sent.filter((tsn) => tsn === 1).length, 2)
    const next = sent.lastIndexOf(1) + 1
    for (let i = 0; i < 3; i++) {
      say(sent[next + i]!)
      transmit()
    }
    assert.strictEqual(sent.filter((tsn) => tsn === 1).length, 3)
  })

  const byte = (options: Partial<Message> = {}): Message => ({
    streamId: 0,
    protocol: 51,
    data: Buffer.alloc(1),
    isOrdered: true,
    ...options
  })
  const everything = (sending: Sending, now = 0) => {
    const sent: Array<Data> = []
    sending.transmit(now, (piece) => sent.push({ ...piece, tsn: piece.tsn, ssn: piece.ssn } as Data) > 0)
    return sent
  }

  it("has no more messages under way than the other end can tell which is later of", () => {
    const sending = new Sending({ initialTsn: 0, window: 1_000_000, maxPiece: 1_000_000 })
    for (let i = 0; i < 70_000; i++) sending.add(byte())
    assert.strictEqual(everything(sending).length, 32_767)
    assert.isFalse(sending.canSend)
    // The first one is missing, and all others have come.
    sending.acknowledge({ cumulative: 2 ** 32 - 1, window: 1_000_000, gaps: [[2, 32_767]] }, 1)
    assert.strictEqual(everything(sending).length, 0)
    sending.acknowledge({ cumulative: 32_766, window: 1_000_000, gaps: [] }, 1)
    assert.strictEqual(everything(sending).length, 32_767)
  })

  describe("an acknowledgement that another one has overtaken", () => {
    const some = () => {
      const sending = new Sending({ initialTsn: 1, window: 1_000_000, maxPiece: 1000 })
      for (let i = 0; i < 9; i++) sending.add(byte({ data: Buffer.alloc(1000) }))
      everything(sending)
      return sending
    }

    it("takes nothing back, and opens no window", () => {
      const sending = some()
      sending.acknowledge({ cumulative: 0, window: 100, gaps: [[2, 6]] }, 1)
      assert.strictEqual(sending.flight, 4000)
      sending.acknowledge({ cumulative: 0, window: 1_000_000, gaps: [[2, 3]] }, 1)
      assert.strictEqual(sending.flight, 4000)
      sending.add(byte())
      assert.strictEqual(everything(sending).length, 0)
      // Nor does one that had no room for all blocks.
      sending.acknowledge({ cumulative: 0, window: 1_000_000, gaps: [[2, 3], [8, 8]] }, 1)
      assert.strictEqual(sending.flight, 3000)
      assert.strictEqual(everything(sending).length, 1)
    })

    it("is none where the other end waits for what it had", () => {
      const sending = some()
      sending.acknowledge({ cumulative: 0, window: 1_000_000, gaps: [[2, 3], [5, 6]] }, 1)
      // The first one has come, and those after it were dropped.
      sending.acknowledge({ cumulative: 1, window: 1_000_000, gaps: [[4, 4]] }, 1)
      assert.deepStrictEqual(everything(sending).map(({ tsn }) => tsn), [2, 3, 6])
      sending.acknowledge({ cumulative: 6, window: 1_000_000, gaps: [] }, 1)
      assert.strictEqual(sending.flight, 3000)
      sending.acknowledge({ cumulative: 9, window: 1_000_000, gaps: [] }, 1)
      assert.strictEqual(sending.flight, 0)
    })
  })

  describe("with 10,000 pieces of 20 bytes under way", () => {
    const count = 10_000
    /** They, and how often they have been looked at. */
    const make = (options: Partial<Message> = {}) => {
      const sending = new Sending({ initialTsn: 1, window: 1_000_000, maxPiece: 20_000 })
      // A window of ten pieces, which are smaller here.
      for (let i = 0; i < count; i++) sending.add(byte({ data: Buffer.alloc(20), ...options }))
      everything(sending)
      assert.strictEqual(sending.sent.length, count)
      let looks = 0
      for (const piece of sending.sent) {
        for (const name of ["state", "of"] as const) {
          let value: any = piece[name]
          Object.defineProperty(piece, name, {
            get: () => {
              looks++
              return value
            },
            set: (next) => {
              value = next
            }
          })
        }
      }
      return { sending, looks: () => looks }
    }
    const say = (sending: Sending, gaps: Sack["gaps"], cumulative = 0) =>
      sending.acknowledge({ cumulative, window: 1_000_000, gaps }, 1)

    it("one that is missing does not make each acknowledgement look at all", () => {
      const { looks, sending } = make()
      for (let end = 50; end <= count; end += 50) {
        say(sending, [[2, end]])
        everything(sending, 1)
      }
      assert.isBelow(looks() / count, 20)
    })

    it("nor do a thousand that are missing", () => {
      const { looks, sending } = make()
      const gaps: Array<readonly [number, number]> = []
      for (let end = 10; end <= count; end += 10) {
        gaps.push([end - 8, end])
        say(sending, gaps)
        everything(sending, 1)
      }
      assert.isBelow(looks() / count, 30)
      // They come, one after the other.
      for (let at = 1; at < count; at += 10) {
        say(sending, gaps.slice(at / 10 + 1).map(([start, end]) => [start - at - 9, end - at - 9]), at + 9)
        everything(sending, 1)
      }
      assert.isBelow(looks() / count, 60)
      assert.strictEqual(sending.flight, 0)
    })

    it("giving up all messages does not look at all for each", () => {
      const { looks, sending } = make({ expiresAt: 1 })
      sending.expire(2)
      assert.isBelow(looks() / count, 20)
      assert.strictEqual(sending.forward(100)!.cumulative, count)
    })
  })
})

describe("how long to wait for an answer", () => {
  const timeouts = (congestion: Congestion, count: number) =>
    Array.from({ length: count }, () => {
      congestion.expire()
      return congestion.timeout
    })

  it("is as long as answers take, and doubled up to 3 seconds", () => {
    const congestion = new Congestion(1000)
    assert.deepStrictEqual(timeouts(congestion, 5), [1000, 2000, 3000, 3000, 3000])
    congestion.observe(100)
    assert.strictEqual(congestion.timeout, 320)
    congestion.observe(20_000)
    assert.isAbove(congestion.timeout, 20_000)
    const before = congestion.timeout
    assert.deepStrictEqual(timeouts(congestion, 2), [before, before])
    for (let i = 0; i < 100; i++) congestion.observe(1_000_000)
    assert.strictEqual(congestion.timeout, 60_000)
  })

  it("grows until it is as long, where all answers come later", () => {
    const congestion = new Congestion(1000)
    timeouts(congestion, 3)
    congestion.cannotObserve()
    assert.deepStrictEqual(timeouts(congestion, 2), [6000, 6000])
    congestion.observe(100)
    congestion.cannotObserve()
    assert.deepStrictEqual(timeouts(congestion, 5), [640, 1280, 2560, 3000, 3000])
  })
})
