/**
 * Both ends of an association over a network that drops, delays, doubles and
 * reorders, in time that is made up: thousands of seconds pass in one.
 */
import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import { type Header, Packets, read, readSack } from "../../../../src/node/internal/werift/sctp/packet.ts"
import type { Message } from "../../../../src/node/internal/werift/sctp/sending.ts"
import { Transfer } from "../../../../src/node/internal/werift/sctp/transfer.ts"
import { fate, seeded, type Weather } from "../random.ts"

interface End {
  readonly transfer: Transfer
  /** What arrived: stream and contents. */
  readonly received: Array<readonly [streamId: number, data: string]>
  readonly resets: Array<number>
  readonly sent: Array<Buffer>
  readonly sctp: any
}

const fair: Weather = { drop: 0, duplicate: 0, delay: 10, jitter: 0 }
const header: Header = { localPort: 5000, remotePort: 5000, verificationTag: 1 }

/** Two ends. The numbers that they begin with are given. */
const ends = (random: () => number, weather: () => Weather, initial: readonly [number, number]) => {
  const made: Array<End> = []
  const make = (own: number): End => {
    const sent: Array<Buffer> = []
    const received: Array<readonly [number, string]> = []
    const resets: Array<number> = []
    const sctp = {
      localTsn: initial[own]!,
      // As werift has it: one below zero is -1.
      lastReceivedTsn: (initial[1 - own]! - 1) % 2 ** 32,
      peerAdvertisedRwnd: 1024 * 1024,
      maxPayloadSize: 1160,
      mtu: 1191,
      localPort: 5000,
      remotePort: 5000,
      remoteVerificationTag: 1,
      isStopped: false,
      state: "connected",
      sackTimeout: undefined,
      transport: {
        send: async (packet: Buffer) => {
          assert.isAtMost(packet.length, 1191)
          sent.push(packet)
          for (const after of fate(random, weather())) {
            setTimeout(() => {
              const { chunks } = read(Buffer.from(packet))!
              made[1 - own]!.transfer.receive(chunks, () => assert.fail("no chunk of another kind"))
            }, after)
          }
        }
      },
      onReceive: {
        execute: (streamId: number, _: number, data: Buffer) =>
          received.push([streamId, data.length > 100 ? `${data.subarray(0, 20)}…${data.length}` : String(data)])
      }
    }
    const transfer = new Transfer(sctp as any, {
      maxBytes: 16 * 1024 * 1024,
      onBad: () => assert.fail("nothing is bad")
    }, { streams: () => [], onReset: (streams) => resets.push(...streams) })
    return { transfer, received, resets, sent, sctp }
  }
  made.push(make(0), make(1))
  return made as [End, End]
}

const isSettled = ({ transfer }: End) => transfer.queue.length === 0 && transfer.sent.length === 0

/** Lets time pass until `isDone`. */
const until = async (isDone: () => boolean, maxMillis: number) => {
  for (let passed = 0; !isDone(); passed += 50) {
    if (passed > maxMillis) assert.fail(`not done after ${maxMillis} ms`)
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await vi.advanceTimersByTimeAsync(50)
  }
}

const message = (options: Partial<Omit<Message, "data">> & { readonly data: string }): Message => ({
  streamId: 0,
  protocol: 51,
  isOrdered: true,
  ...options,
  data: Buffer.from(options.data)
})

const shown = (data: string) => data.length > 100 ? `${data.slice(0, 20)}…${data.length}` : data

/** Messages of all sizes on some streams, of which odd ones are unordered; those of a stream in the order they are sent. */
const someMessages = (random: () => number, count: number) =>
  Array.from({ length: count }, (_, i) => {
    const size = random() < 0.7 ? 1 + random() * 300 : random() < 0.9 ? random() * 5000 : random() * 262_144
    const streamId = Math.floor(random() * 4)
    return message({ data: `${i}:`.padEnd(size, "x"), streamId, isOrdered: streamId % 2 === 0 })
  })

const assertArrived = (messages: ReadonlyArray<Message>, { received }: End) => {
  const of = (streamId: number) => received.filter(([id]) => id === streamId).map(([, data]) => data)
  const sentOn = (streamId: number) =>
    messages.filter((each) => each.streamId === streamId).map(({ data }) => shown(String(data)))
  for (const streamId of [0, 2]) assert.deepStrictEqual(of(streamId), sentOn(streamId))
  for (const streamId of [1, 3]) assert.deepStrictEqual(of(streamId).toSorted(), sentOn(streamId).toSorted())
}

const weathers: ReadonlyArray<readonly [name: string, Weather]> = [
  ["fair", fair],
  ["overtaking", { drop: 0, duplicate: 0, delay: 5, jitter: 40 }],
  ["doubling", { drop: 0, duplicate: 0.5, delay: 5, jitter: 5 }],
  ["lossy", { drop: 0.02, duplicate: 0.01, delay: 20, jitter: 5 }],
  ["bad", { drop: 0.1, duplicate: 0.1, delay: 20, jitter: 40 }],
  ["very bad", { drop: 0.3, duplicate: 0.2, delay: 30, jitter: 60 }]
]

/** Beginning in the middle, and just before the numbers begin again at zero. */
const beginnings: ReadonlyArray<readonly [number, number]> = [[1_000_000, 7], [2 ** 32 - 40, 2 ** 32 - 3], [0, 1]]

describe("an association", { concurrent: false }, () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  for (const [name, weather] of weathers) {
    for (const seed of [1, 2, 3]) {
      it(`delivers each message once, both ways, ${name}, seed ${seed}`, async () => {
        const random = seeded(seed)
        const both = ends(random, () => weather, beginnings[seed - 1]!)
        const messages = both.map(() => someMessages(random, 300))
        for (const [i, { transfer }] of both.entries()) {
          for (const each of messages[i]!) setTimeout(() => transfer.send(each), random() * 2000)
        }
        // Which is sent when is random: this is the order.
        for (const [i, { transfer }] of both.entries()) {
          const { send } = transfer
          const order: Array<Message> = []
          transfer.send = (each) => {
            order.push(each)
            send.call(transfer, each)
          }
          messages[i] = order
        }
        await until(() => messages.every(({ length }) => length === 300) && both.every(isSettled), 600_000)
        assertArrived(messages[0]!, both[1])
        assertArrived(messages[1]!, both[0])
        for (const { transfer } of both) assert.strictEqual(transfer.flight, 0)
        // No timer is left to run out for nothing.
        await vi.advanceTimersByTimeAsync(10_000)
        assert.strictEqual(vi.getTimerCount(), 0)
      })
    }
  }

  it("begins its message numbers at zero again after 65,535", async () => {
    const [a, b] = ends(seeded(1), () => ({ ...fair, delay: 1 }), [5, 5])
    const count = 70_000
    for (let i = 0; i < count; i++) a.transfer.send(message({ data: String(i) }))
    await until(() => isSettled(a), 60_000)
    assert.deepStrictEqual(b.received.map(([, data]) => Number(data)), Array.from({ length: count }, (_, i) => i))
  })

  it("sends a message that is alone at once, and the others of a turn together", () => {
    const [a] = ends(seeded(1), () => fair, [5, 5])
    a.transfer.send(message({ data: "first" }))
    assert.strictEqual(a.sent.length, 1)
    for (let i = 0; i < 20; i++) a.transfer.send(message({ data: `${i}` }))
    assert.strictEqual(a.sent.length, 1)
    vi.advanceTimersByTime(1)
    assert.strictEqual(a.sent.length, 2)
    assert.strictEqual(read(a.sent[1]!)!.chunks.length, 20)
  })

  it("acknowledges with what it answers, every second packet at once, and one that is alone soon", async () => {
    const [a, b] = ends(seeded(1), () => fair, [5, 5])
    const types = ({ sent }: End) => sent.map((packet) => read(packet)!.chunks.map(({ type }) => type))
    const { execute } = b.sctp.onReceive
    b.sctp.onReceive.execute = (streamId: number, protocol: number, data: Buffer) => {
      execute(streamId, protocol, data)
      if (String(data) === "question") b.transfer.send(message({ data: "answer" }))
    }
    a.transfer.send(message({ data: "question" }))
    await vi.advanceTimersByTimeAsync(25)
    assert.deepStrictEqual(types(b), [[3, 0]])
    // The answer is acknowledged although nothing follows it.
    await vi.advanceTimersByTimeAsync(25)
    assert.deepStrictEqual(types(a), [[0], [3]])
    // Two packets that come at a time.
    a.transfer.send(message({ data: "x".repeat(2000) }))
    await vi.advanceTimersByTimeAsync(15)
    assert.deepStrictEqual(types(b), [[3, 0], [3]])
    await until(() => isSettled(a) && isSettled(b), 1000)
  })

  it("sends again what is lost without waiting for its clock, when others follow", async () => {
    let drop = 0
    const [a, b] = ends(seeded(1), () => ({ ...fair, drop }), [5, 5])
    drop = 1
    a.transfer.send(message({ data: "lost" }))
    drop = 0
    const began = performance.now()
    // Each a packet.
    for (let i = 0; i < 4; i++) a.transfer.send(message({ data: `${i}`.padEnd(1160) }))
    await until(() => b.received.length === 5, 100)
    assert.isBelow(performance.now() - began, 100)
  })

  it("sends again what is lost alone after a quarter of a second, and each time after twice as long", async () => {
    let drop = 0
    const [a, b] = ends(seeded(1), () => ({ ...fair, drop }), [5, 5])
    a.transfer.send(message({ data: "that it knows the way" }))
    await until(() => isSettled(a), 1000)
    drop = 1
    const at: Array<number> = []
    const { send } = a.sctp.transport
    a.sctp.transport.send = (packet: Buffer) => {
      at.push(Math.round(performance.now()))
      return send(packet)
    }
    a.transfer.send(message({ data: "lost" }))
    await vi.advanceTimersByTimeAsync(20_000)
    const waits = at.slice(1).map((time, i) => time - at[i]!)
    assert.isAbove(waits[0]!, 220)
    assert.isBelow(waits[0]!, 280)
    assert.approximately(waits[1]! / waits[0]!, 2, 0.1)
    // At most.
    assert.approximately(waits.at(-1)!, 3000, 10)
    drop = 0
    await until(() => isSettled(a), 4000)
    assert.deepStrictEqual(b.received.at(-1), [0, "lost"])
  })

  it("has ten pieces under way to an end that nothing is known of", () => {
    const [a] = ends(seeded(1), () => ({ ...fair, drop: 1 }), [5, 5])
    a.transfer.send(message({ data: "x".repeat(262_144) }))
    vi.advanceTimersByTime(1)
    assert.strictEqual(a.sent.length, 10)
  })

  it("asks a window that is closed whether it has opened, with one piece at a time", async () => {
    const [a] = ends(seeded(1), () => ({ ...fair, drop: 1 }), [5, 5])
    const say = (cumulative: number, window: number) => {
      const packets = new Packets(1191, header, (packet) => a.transfer.receive(read(packet)!.chunks, () => {}))
      packets.sack({ cumulative, window, gaps: [], duplicates: [] })
      packets.end()
    }
    const tsns = () =>
      a.sent.splice(0).flatMap((packet) => read(packet)!.chunks.map(({ body }) => body.readUInt32BE(0)))
    a.transfer.send(message({ data: "x" }))
    say(5, 0)
    assert.deepStrictEqual(tsns(), [5])
    a.transfer.send(message({ data: "y".repeat(5000) }))
    await vi.advanceTimersByTimeAsync(3000)
    // The second one again and again, and nothing else.
    assert.deepStrictEqual([...new Set(tsns())], [6])
    say(6, 0)
    await vi.advanceTimersByTimeAsync(1)
    assert.deepStrictEqual(tsns(), [7])
    say(7, 2500)
    await vi.advanceTimersByTimeAsync(1)
    assert.deepStrictEqual(tsns(), [8, 9])
  })

  for (const seed of [1, 2, 3]) {
    it(`gets everything through a window that closes again and again, seed ${seed}`, async () => {
      const [a, b] = ends(seeded(seed), () => weathers[4]![1], beginnings[seed - 1]!)
      // Three pieces fill it that wait for one before them. What it is told of too late is dropped.
      b.transfer.limits = { maxBytes: 4000 - 1024 * 1024, onBad: () => {} }
      const messages = Array.from({ length: 200 }, (_, i) => message({ data: `${i}:`.padEnd(1160, "x") }))
      for (const each of messages) a.transfer.send(each)
      await until(() => isSettled(a), 600_000)
      assert.deepStrictEqual(b.received.map(([, data]) => data), messages.map(({ data }) => shown(String(data))))
      const windows = b.sent.flatMap((packet) => read(packet)!.chunks.map(({ body }) => body.readUInt32BE(4)))
      assert.isBelow(Math.min(...windows), 1160)
    })
  }

  it("takes what there is room for, however small it is, and the rest when there is", async () => {
    const [a, b] = ends(seeded(1), () => fair, [5, 5])
    b.transfer.limits = { maxBytes: 1024 * 1024, onBad: () => assert.fail("nothing is bad") }
    // So that as much is under way as may be.
    for (let i = 0; i < 32; i++) a.transfer.send(message({ data: "x".repeat(262_144), streamId: 2 }))
    await until(() => isSettled(a), 60_000)
    const { send } = a.sctp.transport
    let isFirst = true
    a.sctp.transport.send = async (packet: Buffer) => {
      if (!isFirst) await send(packet)
      isFirst = false
    }
    const count = 20_000
    for (let i = 0; i < count; i++) a.transfer.send(message({ data: `${i}`.padEnd(100) }))
    await until(() => isSettled(a), 60_000)
    assert.deepStrictEqual(
      b.received.slice(32).map(([, data]) => Number(data)),
      Array.from({ length: count }, (_, i) => i)
    )
  })

  it("waits for an answer that came while nothing could be read", async () => {
    const [a, b] = ends(seeded(1), () => fair, [5, 5])
    a.transfer.send(message({ data: "question" }))
    const { receive } = a.transfer
    // Packets that come are read after what the clock says, and before what is for the next turn of the event loop.
    const waiting: Array<() => void> = []
    a.transfer.receive = (...args) => void waiting.push(() => receive.apply(a.transfer, args))
    await vi.advanceTimersByTimeAsync(490)
    const sent = a.sent.length
    const { setImmediate } = globalThis
    const immediate = vi.spyOn(globalThis, "setImmediate").mockImplementation(
      ((run: () => void) =>
        setImmediate(() => {
          for (const read of waiting.splice(0)) read()
          run()
        })) as typeof setImmediate
    )
    await vi.advanceTimersByTimeAsync(100)
    immediate.mockRestore()
    assert.strictEqual(a.sent.length, sent)
    assert.isTrue(isSettled(a))
    assert.deepStrictEqual(b.received, [[0, "question"]])
    // And it runs out where none has come.
    a.transfer.receive = () => {}
    a.transfer.send(message({ data: "again" }))
    await vi.advanceTimersByTimeAsync(2000)
    assert.strictEqual(a.sent.length, sent + 2)
  })

  it("fills no packet beyond its end, however small that may be", async () => {
    const [a, b] = ends(seeded(1), () => ({ ...fair, jitter: 100 }), [5, 5])
    for (const { sctp, transfer } of [a, b]) {
      sctp.mtu = 600
      sctp.maxPayloadSize = 560
      assert.isDefined(transfer)
    }
    const hear = (tsn: number) => {
      const packets = new Packets(600, header, (packet) => b.transfer.receive(read(packet)!.chunks, () => {}))
      packets.data({
        tsn,
        streamId: 0,
        ssn: 0,
        protocol: 51,
        isOrdered: false,
        isFirst: true,
        isLast: true,
        data: Buffer.from("x")
      })
      packets.end()
    }
    for (let tsn = 6; tsn < 1000; tsn += 2) hear(tsn)
    const sack = readSack(read(b.sent.at(-1)!)!.chunks[0]!.body)
    assert.isAbove(sack.gaps.length, 100)
    for (const packet of b.sent) assert.isAtMost(packet.length, 600)
    // And what is given up of many streams.
    const { send } = a.sctp.transport
    a.sctp.transport.send = async () => {}
    for (let streamId = 0; streamId < 300; streamId++) {
      a.transfer.send(message({ data: "x", streamId, maxRetransmits: 0 }))
    }
    await vi.advanceTimersByTimeAsync(400)
    a.sctp.transport.send = send
    a.sent.length = 0
    await until(() => a.sent.length > 0, 5000)
    for (const packet of a.sent) assert.isAtMost(packet.length, 600)
  })

  it("tells of what has gone when sending is over, and what throws then stops nothing", async () => {
    const [a, b] = ends(seeded(1), () => fair, [5, 5])
    const reported = vi.spyOn(globalThis, "queueMicrotask").mockImplementation(() => {})
    let left = 0
    for (let i = 0; i < 40; i++) {
      a.transfer.send(message({
        data: `${i}`.padEnd(1160),
        onLeft: (bytes) => {
          left += bytes
          throw new Error("thrown")
        }
      }))
    }
    await until(() => isSettled(a), 10_000)
    assert.strictEqual(left, 40 * 1160)
    assert.lengthOf(reported.mock.calls, 40)
    assert.throws(reported.mock.calls[0]![0], "thrown")
    assert.lengthOf(b.received, 40)
    reported.mockRestore()
    // Each was on its way when its bytes were told of.
    const packets = a.sent.length
    let packetsThen = 0
    a.transfer.send(message({ data: "x", onLeft: () => void (packetsThen = a.sent.length) }))
    assert.strictEqual(packetsThen, packets + 1)
    await until(() => isSettled(a), 1000)
  })

  it("takes a message that is larger than the window", async () => {
    const [a, b] = ends(seeded(1), () => fair, [5, 5])
    a.transfer.send(message({ data: "x".repeat(3 * 1024 * 1024) }))
    await until(() => isSettled(a), 60_000)
    assert.deepStrictEqual(b.received, [[0, shown("x".repeat(3 * 1024 * 1024))]])
  })

  it("drops what is acknowledged that was never sent, and what was acknowledged before", async () => {
    const [a] = ends(seeded(1), () => ({ ...fair, drop: 1 }), [5, 5])
    const say = (cumulative: number) => {
      const packets = new Packets(1191, header, (packet) => a.transfer.receive(read(packet)!.chunks, () => {}))
      packets.sack({ cumulative, window: 1_000_000, gaps: [[1, 5]], duplicates: [] })
      packets.end()
    }
    a.transfer.send(message({ data: "x" }))
    say(9)
    say(2 ** 32 - 1)
    assert.strictEqual(a.transfer.sent.length, 1)
    say(5)
    assert.strictEqual(a.transfer.sent.length, 0)
    assert.strictEqual(a.transfer.flight, 0)
  })

  describe("what may be lost", () => {
    for (const seed of [1, 2, 3]) {
      for (
        const [name, options] of [
          ["no retransmission", () => ({ maxRetransmits: 0 })],
          ["one retransmission", () => ({ maxRetransmits: 1 })],
          ["100 ms", () => ({ expiresAt: performance.now() + 100 })]
        ] as const
      ) {
        it(`is given up with ${name}, and the rest comes, seed ${seed}`, async () => {
          const random = seeded(seed)
          const weather: Weather = { drop: 0.2, duplicate: 0.1, delay: 20, jitter: 30 }
          const [a, b] = ends(random, () => weather, beginnings[seed - 1]!)
          const all = someMessages(random, 400)
          const sent: Array<Message> = []
          for (const each of all) {
            setTimeout(() => {
              // Of the streams 0 and 1 everything comes.
              const made = each.streamId < 2 ? each : { ...each, ...options() }
              sent.push(made)
              a.transfer.send(made)
            }, random() * 20_000)
          }
          await until(() => sent.length === all.length && isSettled(a), 600_000)
          const of = (streamId: number) => b.received.filter(([id]) => id === streamId).map(([, data]) => data)
          const sentOn = (streamId: number) =>
            sent.filter((each) => each.streamId === streamId).map(({ data }) => shown(String(data)))
          assert.deepStrictEqual(of(0), sentOn(0))
          assert.deepStrictEqual(of(1).toSorted(), sentOn(1).toSorted())
          // The others once, some of them not, and in order where that is promised.
          for (const streamId of [2, 3]) {
            assert.isBelow(of(streamId).length, sentOn(streamId).length)
            assert.isAbove(of(streamId).length, 0)
            assert.strictEqual(new Set(of(streamId)).size, of(streamId).length)
            assert.includeMembers(sentOn(streamId), of(streamId))
          }
          assert.deepStrictEqual(of(2), sentOn(2).filter((data) => of(2).includes(data)))
          assert.strictEqual(a.transfer.flight, 0)
        })
      }
    }

    it("is sent as often as it may be, and then the other end is told not to wait, until it has heard", async () => {
      for (const maxRetransmits of [0, 1, 3]) {
        const weather = { ...fair, drop: 1 }
        const [a, b] = ends(seeded(1), () => weather, [5, 5])
        const types = () => a.sent.flatMap((packet) => read(packet)!.chunks.map(({ type }) => type))
        a.transfer.send(message({ data: "lost", maxRetransmits }))
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await vi.advanceTimersByTimeAsync(60_000)
        assert.strictEqual(types().filter((type) => type === 0).length, 1 + maxRetransmits)
        assert.isAbove(types().filter((type) => type === 192).length, 5)
        weather.drop = 0
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await until(() => isSettled(a), 10_000)
        a.transfer.send(message({ data: "after" }))
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await until(() => isSettled(a), 1000)
        assert.deepStrictEqual(b.received, [[0, "after"]])
      }
    })

    for (const isOrdered of [true, false]) {
      it(`and of which only some was sent, that arrived, holds up nothing: ${isOrdered ? "" : "un"}ordered`, async () => {
        const [a, b] = ends(seeded(1), () => fair, [5, 5])
        b.transfer.limits = { maxBytes: 0, onBad: () => assert.fail("nothing is bad") }
        let left = 0
        a.transfer.send(message({
          data: "x".repeat(100_000),
          expiresAt: performance.now() + 200,
          isOrdered,
          onLeft: (bytes) => {
            left += bytes
          }
        }))
        // Nothing is heard of the ten pieces that come.
        const { send } = b.sctp.transport
        b.sctp.transport.send = async () => {}
        await vi.advanceTimersByTimeAsync(550)
        b.sctp.transport.send = send
        assert.strictEqual(left, 100_000)
        await until(() => isSettled(a), 10_000)
        a.transfer.send(message({ data: "after", isOrdered }))
        await until(() => isSettled(a), 1000)
        assert.deepStrictEqual(b.received, [[0, "after"]])
        const { body } = b.sent.flatMap((packet) => read(packet)!.chunks).at(-1)!
        assert.strictEqual(readSack(body).window, 1024 * 1024)
        assert.isFalse(a.transfer.isResetting(0))
      })
    }

    it("whatever is given up, all that follows comes once the network is good again", async () => {
      for (let seed = 1; seed <= 40; seed++) {
        const random = seeded(seed)
        // One direction alone, or both, are bad or dead for some time, again and again.
        const worse = [fair, fair]
        const [a, b] = ends(random, () => fair, beginnings[seed % 3]!)
        for (const [i, { sctp }] of [a, b].entries()) {
          const { send } = sctp.transport
          sctp.transport.send = async (packet: Buffer) => {
            if (random() >= worse[i]!.drop) await send(packet)
          }
        }
        const options = [
          () => ({}),
          () => ({ maxRetransmits: 0 }),
          () => ({ maxRetransmits: 2 }),
          () => ({ expiresAt: performance.now() + random() * 500 })
        ]
        for (let round = 0; round < 20; round++) {
          for (const i of [0, 1]) worse[i] = { ...fair, drop: random() < 0.3 ? 1 : random() < 0.5 ? 0.2 : 0 }
          for (let i = 0; i < 10; i++) {
            const kind = Math.floor(random() * options.length)
            const size = random() < 0.5 ? 1 + random() * 100 : random() * 40_000
            const isOrdered = random() < 0.7
            a.transfer.send(message({ data: "x".repeat(size), streamId: kind, isOrdered, ...options[kind]!() }))
          }
          // oxlint-disable-next-line no-await-in-loop -- one after the other
          await vi.advanceTimersByTimeAsync(random() * 800)
        }
        worse.splice(0, 2, fair, fair)
        // oxlint-disable-next-line no-await-in-loop -- as above
        await until(() => isSettled(a), 120_000)
        b.received.length = 0
        for (const streamId of options.keys()) a.transfer.send(message({ data: "last", streamId }))
        // oxlint-disable-next-line no-await-in-loop -- as above
        await until(() => isSettled(a), 10_000)
        assert.deepStrictEqual(b.received.map(([streamId]) => streamId), [0, 1, 2, 3], `seed ${seed}`)
        assert.strictEqual(a.transfer.flight, 0)
      }
    })

    it("is not sent at all when its time is over before", async () => {
      const [a, b] = ends(seeded(1), () => fair, [5, 5])
      let left = 0
      const onLeft = (bytes: number) => {
        left += bytes
      }
      // Fills what may be under way.
      a.transfer.send(message({ data: "x".repeat(100_000), onLeft }))
      a.transfer.send(message({ data: "late", expiresAt: performance.now() + 5, onLeft }))
      a.transfer.send(message({ data: "after", onLeft }))
      await until(() => isSettled(a), 10_000)
      assert.deepStrictEqual(b.received.map(([, data]) => data), [shown("x".repeat(100_000)), "after"])
      assert.strictEqual(left, 100_009)
    })
  })

  describe("a stream that is reset", () => {
    for (const [name, weather] of weathers) {
      it(`is so after all that was sent on it, in both directions, and can be used anew, ${name}`, async () => {
        const random = seeded(9)
        const both = ends(random, () => weather, beginnings[1]!)
        const [a, b] = both
        // Neither end knows how far the other is when it gets the news.
        const heard: Array<readonly [End, number]> = []
        for (const each of both) {
          const { push } = each.resets
          each.resets.push = (...streams) => {
            for (const _ of streams) heard.push([each, each.received.length])
            return push.apply(each.resets, streams)
          }
        }
        for (let i = 0; i < 100; i++) {
          a.transfer.send(message({ data: `a${i}`.padEnd(random() * 3000) }))
          b.transfer.send(message({ data: `b${i}`.padEnd(random() * 3000) }))
        }
        await vi.advanceTimersByTimeAsync(30)
        a.transfer.reset(0)
        a.transfer.reset(0)
        assert.isTrue(a.transfer.isResetting(0))
        await until(() => both.every(({ transfer }) => !transfer.isResetting(0)) && a.resets.length > 0, 600_000)
        for (const each of both) assert.strictEqual(each.received.length, 100)
        // What the other end resets it has sent all of before: each hears of it once for each direction.
        for (const each of both) assert.strictEqual(each.resets.length, 2)
        assert.isTrue(heard.some(([end, count]) => end === b && count === 100))
        const again = Array.from({ length: 10 }, (_, i) => `again ${i}`)
        for (const data of again) a.transfer.send(message({ data }))
        for (const data of again) b.transfer.send(message({ data }))
        await until(() => both.every(isSettled), 600_000)
        for (const { received } of both) assert.deepStrictEqual(received.slice(100).map(([, data]) => data), again)
      })
    }

    it("is so at once when the last of what was sent on it is given up before it was sent", async () => {
      const [a, b] = ends(seeded(1), () => fair, [5, 5])
      // Ten pieces, of which only the last acknowledgement comes: nothing is heard after it.
      a.transfer.send(message({ data: "x".repeat(11_600), streamId: 2 }))
      const { send } = b.sctp.transport
      b.sctp.transport.send = async (packet: Buffer) => {
        const { body, type } = read(Buffer.from(packet))!.chunks[0]!
        if (type !== 3 || readSack(body).cumulative === 14) await send(packet)
      }
      a.transfer.send(message({ data: "late", expiresAt: performance.now() + 5 }))
      a.transfer.reset(0)
      assert.isTrue(a.transfer.isResetting(0))
      await until(() => isSettled(a) && !a.transfer.isResetting(0), 500)
      assert.deepStrictEqual(b.received.map(([streamId]) => streamId), [2])
    })

    it("waits for what the other end has sent before, and says that it does", async () => {
      const [a] = ends(seeded(1), () => ({ ...fair, drop: 1 }), [5, 100])
      const hear = (write: (packets: Packets) => void) => {
        const packets = new Packets(1191, header, (packet) => a.transfer.receive(read(packet)!.chunks, () => {}))
        write(packets)
        packets.end()
      }
      const data = (tsn: number, ssn: number) =>
        hear((packets) =>
          packets.data({
            tsn,
            streamId: 0,
            ssn,
            protocol: 51,
            isOrdered: true,
            isFirst: true,
            isLast: true,
            data: Buffer.from(`${ssn}`)
          })
        )
      const request = (sequence: number, lastTsn: number) => {
        const body = Buffer.alloc(14)
        body.writeUInt32BE(sequence, 0)
        body.writeUInt32BE(lastTsn, 8)
        hear((packets) => packets.reconfig(13, body))
      }
      /** What was said of the request: its number and the result. */
      const answers = () =>
        a.sent.splice(0).flatMap((packet) => read(packet)!.chunks)
          .filter(({ body, type }) => type === 130 && body.readUInt16BE(0) === 16)
          .map(({ body }) => [body.readUInt32BE(4), body.readUInt32BE(8)])
      data(100, 0)
      request(100, 101)
      assert.deepStrictEqual(answers(), [[100, 6]])
      assert.deepStrictEqual(a.resets, [])
      // The same again, and then under another number.
      request(100, 101)
      request(101, 101)
      assert.deepStrictEqual(answers(), [[100, 6], [101, 6]])
      data(101, 1)
      assert.deepStrictEqual(a.resets, [0])
      request(101, 101)
      request(102, 101)
      assert.deepStrictEqual(answers(), [[101, 1], [102, 1]])
      assert.deepStrictEqual(a.resets, [0])
      // One that is out of turn, and one that there is no use for.
      request(200, 101)
      hear((packets) => packets.reconfig(14, Buffer.from([0, 0, 0, 103, 0, 0])))
      assert.deepStrictEqual(answers(), [[200, 5], [103, 2]])
      assert.deepStrictEqual(a.received, [[0, "0"], [0, "1"]])
    })

    it("is asked for anew while the other end has nothing to do, which is what libwebrtc says to what comes twice", async () => {
      const [a] = ends(seeded(1), () => ({ ...fair, drop: 1 }), [5, 100])
      /** The numbers of what was asked. */
      const requests = () =>
        a.sent.splice(0).flatMap((packet) => read(packet)!.chunks)
          .filter(({ body, type }) => type === 130 && body.readUInt16BE(0) === 13)
          .map(({ body }) => body.readUInt32BE(4))
      const answer = (sequence: number, result: number) => {
        const packets = new Packets(1191, header, (packet) => a.transfer.receive(read(packet)!.chunks, () => {}))
        const body = Buffer.alloc(8)
        body.writeUInt32BE(sequence, 0)
        body.writeUInt32BE(result, 4)
        packets.reconfig(16, body)
        packets.end()
      }
      a.transfer.reset(0)
      // Its answer, that it is in progress, is lost.
      assert.deepStrictEqual(requests(), [5])
      answer(5, 0)
      assert.deepStrictEqual(requests(), [6])
      assert.deepStrictEqual(a.resets, [])
      answer(5, 0)
      assert.deepStrictEqual(requests(), [])
      answer(6, 1)
      assert.deepStrictEqual(a.resets, [0])

      // Not for ever, of one that has no other answer.
      a.transfer.reset(1)
      for (const sequence of [7, 8, 9, 10]) {
        assert.deepStrictEqual(requests(), [sequence])
        answer(sequence, 0)
      }
      assert.deepStrictEqual(requests(), [])
      assert.deepStrictEqual(a.resets, [0, 1])
    })

    it("may be reset by both ends at the same time, and others with it", async () => {
      const both = ends(seeded(3), () => weathers[4]![1], beginnings[2]!)
      for (const { transfer } of both) {
        for (let streamId = 0; streamId < 300; streamId++) {
          transfer.send(message({ data: `${streamId}`, streamId }))
          transfer.reset(streamId)
        }
      }
      const streams = Array.from({ length: 300 }, (_, i) => i)
      await until(() => both.every(({ transfer }) => !streams.some((id) => transfer.isResetting(id))), 600_000)
      for (const { received, resets } of both) {
        assert.deepStrictEqual(received.map(([id]) => id).toSorted((a, b) => a - b), streams)
        assert.strictEqual(resets.length, 600)
      }
    })
  })

  it("keeps nothing when it has ended in the middle, and sends no more", async () => {
    const both = ends(seeded(3), () => weathers[4]![1], beginnings[2]!)
    for (const { transfer } of both) for (const each of someMessages(seeded(1), 200)) transfer.send(each)
    await vi.advanceTimersByTimeAsync(100)
    for (const { sctp, transfer } of both) {
      sctp.state = "closed"
      transfer.end()
    }
    await vi.advanceTimersByTimeAsync(100)
    const before = both.map(({ sent }) => sent.length)
    both[0].transfer.send(message({ data: "late" }))
    await vi.advanceTimersByTimeAsync(60_000)
    assert.deepStrictEqual(both.map(({ sent }) => sent.length), before)
    for (const { transfer } of both) {
      assert.deepStrictEqual([transfer.queue, transfer.sent, transfer.flight], [[], [], 0])
    }
    assert.strictEqual(vi.getTimerCount(), 0)
  })
})
