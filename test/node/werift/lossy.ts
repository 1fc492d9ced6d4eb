/**
 * What DataChannels of any two peers have to do over a bad network. One of them at
 * least is ours. For the tests, and for the soak; what is wrong is thrown.
 */
import * as assert from "node:assert/strict"
import type { RTCSctpTransport } from "werift"
import type { Peer } from "../../../scripts/bench/peer.ts"
import { guard } from "../../../src/node/internal/werift/sctp.ts"
import { seeded, type Weather } from "./random.ts"
import { connectThrough, makeRelay } from "./relay.ts"

export const weather: Weather = { drop: 0.03, duplicate: 0.02, delay: 2, jitter: 6 }
const fair: Weather = { drop: 0, duplicate: 0, delay: 0, jitter: 0 }

export const kinds = {
  ordered: {},
  unordered: { ordered: false },
  unreliable: { ordered: false, maxRetransmits: 0 },
  repeated: { ordered: true, maxRetransmits: 1 },
  brief: { ordered: true, maxPacketLifeTime: 200 },
  fleeting: { ordered: false, maxPacketLifeTime: 200 }
}
/** Those that may lose messages. */
const lossy = ["unreliable", "repeated", "brief", "fleeting"] as const
export type Kind = keyof typeof kinds
const labels = Object.keys(kinds) as Array<Kind>

export interface Channel {
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
type Side = Readonly<Record<Kind, Channel>>

/** The largest message that there is. */
const Largest = 262_144

export const opened = (channel: Channel) =>
  new Promise<void>((resolve) =>
    channel.readyState === "open" ? resolve() : channel.addEventListener("open", () => resolve())
  )

export const closed = (channel: Channel) =>
  new Promise<void>((resolve) => channel.addEventListener("close", () => resolve()))

/** A number, and contents that its end does not know for another's. */
export const contents = (random: () => number, count: number, maxBytes: number): ReadonlyArray<Buffer> =>
  Array.from({ length: count }, (_, i) => {
    const size = Math.floor(4 + (random() < 0.8 ? random() * 400 : random() * maxBytes))
    const data = Buffer.alloc(size)
    for (let at = 0; at < size; at++) data[at] = (at * 31 + i * 17) ^ (at >> 8)
    data.writeUInt32BE(i, 0)
    return data
  })

/** The association of a peer of ours. */
const associationOf = (peer: Peer) => (peer as { sctpTransport?: RTCSctpTransport }).sctpTransport?.sctp as any

/** Two connected peers, the first of which offers, with a channel of each kind. What ours sends soon has the number 0. */
export const connect = async (seed: number, offerer: Peer, answerer: Peer) => {
  const relay = await makeRelay(seed)
  const sides: [Partial<Record<Kind, Channel>>, Partial<Record<Kind, Channel>>] = [{}, {}]
  for (const kind of labels) sides[0][kind] = (offerer as any).createDataChannel(kind, kinds[kind])
  const allOpen = new Promise<void>((resolve) =>
    answerer.addEventListener("datachannel", ({ channel }: { channel: Channel }) => {
      sides[1][channel.label as Kind] = channel
      if (Object.keys(sides[1]).length === labels.length) resolve()
    })
  )
  const wrapped = new Set<Peer>()
  await connectThrough(relay, offerer, answerer, () => {
    for (const peer of [offerer, answerer]) {
      const association = associationOf(peer)
      if (association === undefined) continue
      association.localTsn = 2 ** 32 - 20
      const { transport } = association
      const { send } = transport
      transport.send = (packet: Buffer) => {
        // The first chunk is DATA.
        if (packet[12] === 0 && packet.readUInt32BE(16) < 1000) wrapped.add(peer)
        return send(packet)
      }
    }
  })
  await allOpen
  const both = sides as unknown as readonly [Side, Side]
  for (const channel of both.flatMap((side) => Object.values(side))) channel.binaryType = "arraybuffer"
  await Promise.all(both.flatMap((side) => Object.values(side).map(opened)))
  return {
    relay,
    sides: both,
    peers: [offerer, answerer] as const,
    /** Whether the numbers of what each of ours has sent began at zero again. */
    haveWrapped: () => [offerer, answerer].every((peer) => associationOf(peer) === undefined || wrapped.has(peer)),
    close: async () => {
      await Promise.all([offerer.close(), answerer.close()])
      await relay.close()
    }
  }
}
export type Connected = Awaited<ReturnType<typeof connect>>

/** What arrives on a channel, from now on. */
export const listen = (channel: Channel) => {
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

export const numbers = (received: ReadonlyArray<Buffer>) => received.map((data) => data.readUInt32BE(0))
const isRising = (values: ReadonlyArray<number>) => values.every((value, i) => i === 0 || value > values[i - 1]!)
const areSame = (a: ReadonlyArray<Buffer>, b: ReadonlyArray<Buffer>) => Buffer.concat(a).equals(Buffer.concat(b))
const sorted = (received: ReadonlyArray<Buffer>) => received.toSorted((a, b) => a.readUInt32BE(0) - b.readUInt32BE(0))

/**
 * Each message arrives once, both ways, on all kinds of channels: in order where
 * that is promised, and all of them where that is. Gives how many were sent, and
 * how many of those that may be lost were.
 */
export const exchange = async ({ relay, sides }: Connected, seed: number, bad = weather) => {
  const random = seeded(seed)
  const messages = {
    ordered: contents(random, 150, 30_000),
    unordered: contents(random, 150, 5000),
    unreliable: contents(random, 150, 1000),
    repeated: contents(random, 150, 1000),
    brief: contents(random, 150, 1000),
    fleeting: contents(random, 150, 1000)
  }
  // One of each end is as large as can be.
  const largest = Buffer.alloc(Largest, 1)
  largest.writeUInt32BE(150, 0)
  relay.set(bad)
  const listeners = sides.map((side) => ({
    ordered: listen(side.ordered),
    unordered: listen(side.unordered),
    unreliable: listen(side.unreliable),
    repeated: listen(side.repeated),
    brief: listen(side.brief),
    fleeting: listen(side.fleeting)
  }))
  // Those that do not wait long come first, so that some of them arrive: the rest takes its time.
  for (const side of sides) {
    for (let i = 0; i < 150; i++) for (const kind of ["brief", "fleeting"] as const) side[kind].send(messages[kind][i]!)
  }
  await new Promise((resolve) => setImmediate(resolve))
  for (const side of sides) {
    for (let i = 0; i < 150; i++) {
      for (const kind of ["unreliable", "repeated", "ordered", "unordered"] as const) {
        side[kind].send(messages[kind][i]!)
      }
    }
    side.ordered.send(largest)
  }
  await Promise.all(listeners.flatMap(({ ordered, unordered }) => [
    ordered.until(({ length }) => length >= 151),
    unordered.until(({ length }) => length >= 150)
  ]))
  relay.set(fair)
  let lost = 0
  for (const { ordered, unordered, ...rest } of listeners) {
    assert.ok(areSame(ordered.received, [...messages.ordered, largest]), "ordered")
    assert.ok(areSame(sorted(unordered.received), messages.unordered), "unordered")
    for (const kind of lossy) {
      const { received } = rest[kind]
      const arrived = numbers(received)
      assert.ok(arrived.length > 0, kind)
      assert.equal(new Set(arrived).size, arrived.length, kind)
      for (const data of received) assert.ok(data.equals(messages[kind][data.readUInt32BE(0)]!), kind)
      lost += 150 - arrived.length
    }
    for (const kind of ["repeated", "brief"] as const) assert.ok(isRising(numbers(rest[kind].received)), kind)
  }
  return { sent: 2 * 901, lost }
}

/** More messages of a byte than there are numbers for those of a stream. */
export const wrap = async ({ relay, sides }: Connected, from: 0 | 1, bad = weather) => {
  const count = 66_000
  relay.set(bad)
  const { received, until } = listen(sides[from === 0 ? 1 : 0].ordered)
  for (let i = 0; i < count; i++) {
    sides[from].ordered.send(Buffer.from([i % 251]))
    // oxlint-disable-next-line no-await-in-loop -- others want to do something as well
    if (i % 1000 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await until(({ length }) => length >= count)
  assert.ok(received.every((data, i) => data.length === 1 && data[0] === i % 251))
  relay.set(fair)
}

/** Of messages that are given up half sent, while nothing is heard of what comes of them, later ones do not suffer. */
export const giveUp = async ({ relay, sides }: Connected, from: 0 | 1) => {
  const to = from === 0 ? 1 : 0
  const [own, other] = [sides[from], sides[to]]
  const listeners = lossy.map((kind) => listen(other[kind]))
  for (const kind of lossy) {
    relay.set({ ...fair, drop: 1 }, to)
    own[kind].send(Buffer.alloc(200_000))
    // It lives for 200 ms, and the clock for an answer runs out after that.
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await new Promise((resolve) => setTimeout(resolve, 600))
    relay.set(fair, to)
  }
  // Again and again: on a busy machine one may live too short.
  const timer = setInterval(() => {
    for (const kind of lossy) own[kind].send(Buffer.from("last"))
  }, 50)
  await Promise.all(listeners.map(({ until }) => until((received) => received.some((data) => String(data) === "last"))))
  clearInterval(timer)
}

/** All comes through a window that closes when something is missing, of which `to` must be ours. */
export const throughWindow = async ({ peers, relay, sides }: Connected, to: 0 | 1, seed: number, bad = weather) => {
  const { sctpTransport } = peers[to] as { readonly sctpTransport?: RTCSctpTransport }
  let bads = 0
  guard(sctpTransport!, { maxBytes: 4000 - 1024 * 1024, onBad: () => bads++ })
  const { transport } = associationOf(peers[to])
  const { send } = transport
  let closed = 0
  transport.send = (packet: Buffer) => {
    // The first chunk is a SACK.
    if (packet[12] === 3 && packet.readUInt32BE(20) < 1160) closed++
    return send(packet)
  }
  relay.set(bad)
  const { received, until } = listen(sides[to].ordered)
  const messages = contents(seeded(seed), 50, 5000)
  for (const data of messages) sides[to === 0 ? 1 : 0].ordered.send(data)
  await until(({ length }) => length >= messages.length)
  assert.ok(areSame(received, messages))
  assert.ok(closed > 0, "closed")
  relay.set(fair)
}

/**
 * A channel that `from` closes goes when all that was sent on it has come, and the others do not suffer. Not all that
 * native ends have sent comes before they close: what does is in order.
 */
export const closeUnderLoad = async ({ peers, relay, sides }: Connected, from: 0 | 1, seed: number, bad = weather) => {
  const [own, other] = [sides[from], sides[from === 0 ? 1 : 0]]
  relay.set(bad)
  const listener = listen(other.ordered)
  const others = [listen(own.unordered), listen(other.unordered)]
  const bothClosed = Promise.all([closed(other.ordered), closed(own.ordered)])
  const messages = contents(seeded(seed), 100, 10_000)
  for (const data of messages) for (const channel of [own.ordered, own.unordered, other.unordered]) channel.send(data)
  own.ordered.close()
  await bothClosed
  if (associationOf(peers[from]) !== undefined) assert.equal(listener.received.length, messages.length)
  assert.ok(areSame(listener.received, messages.slice(0, listener.received.length)))
  await Promise.all(others.map(({ until }) => until(({ length }) => length >= messages.length)))
  for (const { received } of others) assert.ok(areSame(sorted(received), messages))
  relay.set(fair)
}

/** A peer that leaves in the middle: what came of it before is whole and in order, and the other one hears of it. */
export const leave = async ({ peers, relay, sides }: Connected, from: 0 | 1, seed: number, bad = weather) => {
  const [own, other] = [sides[from], sides[from === 0 ? 1 : 0]]
  relay.set(bad)
  const listener = listen(other.ordered)
  const messages = contents(seeded(seed), 200, 10_000)
  for (const data of messages) own.ordered.send(data)
  await listener.until(({ length }) => length >= 50)
  // The one packet that says so may be lost, which is why it is not waited for.
  relay.set({ ...bad, drop: 0 })
  const over = closed(other.ordered)
  await peers[from].close()
  await over
  const { received } = listener
  assert.ok(areSame(received, messages.slice(0, received.length)))
}

/** The heartbeats of ours are answered, however many of them are lost. */
export const beat = async ({ peers, relay, sides }: Connected, bad: Weather = { ...weather, drop: 0.3 }) => {
  const HeartbeatAck = 5
  relay.set(bad)
  await Promise.all(
    peers.map(associationOf).filter((association) => association !== undefined).map((association) => {
      association.setHeartbeatInterval(0.01)
      association.rto = 0.01
      association.heartbeatRestart()
      const { receiveChunk } = association
      let answers = 0
      return new Promise<void>((resolve) => {
        association.receiveChunk = (chunk: { readonly type: number }) => {
          if (chunk.type === HeartbeatAck && ++answers === 5) resolve()
          return receiveChunk.call(association, chunk)
        }
      })
    })
  )
  relay.set(fair)
  const listener = listen(sides[1].ordered)
  sides[0].ordered.send(Buffer.alloc(4))
  await listener.until(({ length }) => length === 1)
}
