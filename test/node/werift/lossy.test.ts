/**
 * DataChannels of real peers over a bad network: ours at both ends, and ours with
 * libwebrtc and with libdatachannel (usrsctp) at the other.
 */
import { assert, describe, it } from "@effect/vitest"
import { createHash } from "node:crypto"
import { constructorOf, type Implementation, type Peer } from "../../../scripts/bench/peer.ts"
import { seeded, type Weather } from "./random.ts"
import { connectThrough, makeRelay } from "./relay.ts"

const weather: Weather = { drop: 0.03, duplicate: 0.02, delay: 2, jitter: 6 }

const kinds = {
  ordered: {},
  unordered: { ordered: false },
  unreliable: { ordered: false, maxRetransmits: 0 },
  brief: { ordered: true, maxPacketLifeTime: 30 }
}
type Kind = keyof typeof kinds

interface Channel {
  readonly label: string
  readonly readyState: string
  binaryType?: string
  readonly ordered: boolean
  readonly maxRetransmits: number | null
  readonly maxPacketLifeTime: number | null
  send(data: any): void
  close(): void
  addEventListener(type: string, listener: (event: any) => void): void
}

const opened = (channel: Channel) =>
  new Promise<void>((resolve) =>
    channel.readyState === "open" ? resolve() : channel.addEventListener("open", () => resolve())
  )

/** A number, and contents that its end does not know for another's. */
const contents = (random: () => number, count: number, maxBytes: number): ReadonlyArray<Buffer> =>
  Array.from({ length: count }, (_, i) => {
    const size = Math.floor(4 + (random() < 0.8 ? random() * 400 : random() * maxBytes))
    const data = Buffer.alloc(size, createHash("sha256").update(`${i}`).digest())
    data.writeUInt32BE(i, 0)
    return data
  })

const pair = async (seed: number, implementations: readonly [Implementation, Implementation]) => {
  const relay = await makeRelay(seed)
  const [offerer, answerer] = implementations.map((each) => new (constructorOf(each))({ iceServers: [] })) as [
    Peer,
    Peer
  ]
  const channels: Array<Partial<Record<Kind, Channel>>> = [{}, {}]
  for (const kind of Object.keys(kinds) as Array<Kind>) {
    channels[0]![kind] = (offerer as any).createDataChannel(kind, kinds[kind])
  }
  const allOpen = new Promise<void>((resolve) =>
    answerer.addEventListener("datachannel", ({ channel }: { channel: Channel }) => {
      channels[1]![channel.label as Kind] = channel
      if (Object.keys(channels[1]!).length === 4) resolve()
    })
  )
  await connectThrough(relay, offerer, answerer)
  await allOpen
  const both = channels as [Record<Kind, Channel>, Record<Kind, Channel>]
  const each = both.flatMap((side) => Object.values(side))
  for (const channel of each) channel.binaryType = "arraybuffer"
  await Promise.all(each.map(opened))
  return {
    relay,
    channels: both,
    peers: [offerer, answerer] as const,
    close: async () => {
      await Promise.all([offerer.close(), answerer.close()])
      await relay.close()
    }
  }
}

/** What arrives on a channel, from now on. */
const listen = (channel: Channel) => {
  const received: Array<Buffer> = []
  let onMessage = () => {}
  channel.addEventListener("message", ({ data }: { data: any }) => {
    received.push(Buffer.from(data))
    onMessage()
  })
  return {
    received,
    until: (isDone: (received: ReadonlyArray<Buffer>) => boolean) =>
      new Promise<void>((resolve) => {
        onMessage = () => isDone(received) && resolve()
        onMessage()
      })
  }
}

const numbers = (received: ReadonlyArray<Buffer>) => received.map((data) => data.readUInt32BE(0))
const isRising = (values: ReadonlyArray<number>) => values.every((value, i) => i === 0 || value > values[i - 1]!)

const pairs: ReadonlyArray<readonly [Implementation, Implementation]> = [
  ["werift", "werift"],
  ["werift", "@roamhq/wrtc"],
  ["@roamhq/wrtc", "werift"],
  ["werift", "node-datachannel"],
  ["node-datachannel", "werift"]
]

describe("over a bad network", () => {
  for (const [index, implementations] of pairs.entries()) {
    it(`each message arrives once, both ways: ${implementations.join(" and ")}`, { timeout: 60_000 }, async () => {
      const random = seeded(index)
      const { channels, close, relay } = await pair(index + 1, implementations)
      // node-datachannel does not tell; libwebrtc says 65,535 for null.
      if (implementations[1] !== "node-datachannel") {
        const told = (value: number | null) => value === 65_535 ? null : value
        for (const [label, options] of Object.entries(kinds)) {
          const { maxPacketLifeTime, maxRetransmits, ordered } = channels[1][label as Kind]
          assert.deepStrictEqual(
            { ordered, maxRetransmits: told(maxRetransmits), maxPacketLifeTime: told(maxPacketLifeTime) },
            { ordered: true, maxRetransmits: null, maxPacketLifeTime: null, ...options }
          )
        }
      }
      const messages = {
        ordered: contents(random, 150, 30_000),
        unordered: contents(random, 150, 5000),
        unreliable: contents(random, 150, 1000),
        brief: contents(random, 150, 1000)
      }
      // One of each end is as large as can be.
      const largest = Buffer.alloc(262_144, 1)
      largest.writeUInt32BE(150, 0)
      relay.set(weather)
      const listeners = channels.map((side) => ({
        ordered: listen(side.ordered),
        unordered: listen(side.unordered),
        unreliable: listen(side.unreliable),
        brief: listen(side.brief)
      }))
      // Those that do not wait long come first, so that some of them arrive: the rest takes its time.
      for (const side of channels) for (const data of messages.brief) side.brief.send(data)
      await new Promise((resolve) => setImmediate(resolve))
      for (const side of channels) {
        for (let i = 0; i < 150; i++) {
          for (const kind of ["unreliable", "ordered", "unordered"] as const) side[kind].send(messages[kind][i]!)
        }
        side.ordered.send(largest)
      }
      await Promise.all(listeners.flatMap(({ ordered, unordered }) => [
        ordered.until(({ length }) => length === 151),
        unordered.until(({ length }) => length === 150)
      ]))
      await close()
      assert.isAbove(relay.counts.dropped, 0)
      for (const { brief, ordered, unordered, unreliable } of listeners) {
        assert.isTrue(Buffer.concat(ordered.received).equals(Buffer.concat([...messages.ordered, largest])))
        const sorted = unordered.received.toSorted((a, b) => a.readUInt32BE(0) - b.readUInt32BE(0))
        assert.isTrue(Buffer.concat(sorted).equals(Buffer.concat(messages.unordered)))
        for (const [kind, { received }] of [["unreliable", unreliable], ["brief", brief]] as const) {
          const arrived = numbers(received)
          assert.isAbove(arrived.length, 0, kind)
          assert.strictEqual(new Set(arrived).size, arrived.length, kind)
          for (const data of received) assert.isTrue(data.equals(messages[kind][data.readUInt32BE(0)]!), kind)
        }
        assert.isTrue(isRising(numbers(brief.received)))
      }
    })

    it(`what waits on a channel comes before it closes: ${implementations.join(" and ")}`, {
      timeout: 60_000
    }, async () => {
      const { channels, close, relay } = await pair(index + 11, implementations)
      relay.set(weather)
      const ours = implementations.indexOf("werift")
      const listener = listen(channels[1 - ours]!.ordered)
      const closed = new Promise<void>((resolve) =>
        channels[1 - ours]!.ordered.addEventListener("close", () => resolve())
      )
      const ownClosed = new Promise<void>((resolve) =>
        channels[ours]!.ordered.addEventListener("close", () => resolve())
      )
      const messages = contents(seeded(index), 100, 10_000)
      for (const data of messages) channels[ours]!.ordered.send(data)
      channels[ours]!.ordered.close()
      await Promise.all([closed, ownClosed])
      assert.deepStrictEqual(numbers(listener.received), numbers(messages))
      // The others are as they were.
      const other = listen(channels[1 - ours]!.unordered)
      channels[ours]!.unordered.send(messages[0]!)
      await other.until(({ length }) => length === 1)
      await close()
    })
  }

  for (const seed of [1, 2, 3, 4]) {
    it(`two of ours connect, and hear of the end, seed ${seed}`, { timeout: 60_000 }, async () => {
      const relay = await makeRelay(seed)
      // Before anything else: ICE, DTLS and the association are set up over it, and the channels opened.
      relay.set({ drop: 0.1, duplicate: 0.1, delay: 2, jitter: 10 })
      const [offerer, answerer] = [0, 1].map(() => new (constructorOf("werift"))({ iceServers: [] })) as [Peer, Peer]
      const own: Channel = (offerer as any).createDataChannel("x")
      const other = new Promise<Channel>((resolve) =>
        answerer.addEventListener("datachannel", ({ channel }: { channel: Channel }) => resolve(channel))
      )
      await connectThrough(relay, offerer, answerer)
      await opened(own)
      const listener = listen(await other)
      const messages = contents(seeded(seed), 100, 10_000)
      for (const data of messages) own.send(data)
      await listener.until(({ length }) => length === 50)
      // In the middle. The one packet that says so may be lost, which is why it is not waited for.
      relay.set({ drop: 0, duplicate: 0.1, delay: 2, jitter: 0 })
      const closed = new Promise<void>((resolve) => own.addEventListener("close", () => resolve()))
      await answerer.close()
      await closed
      assert.deepStrictEqual(numbers(listener.received), numbers(messages).slice(0, listener.received.length))
      await offerer.close()
      await relay.close()
    })
  }
})
