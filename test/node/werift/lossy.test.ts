/**
 * DataChannels of real peers over a bad network: ours at both ends, and ours with
 * libwebrtc and with libdatachannel (usrsctp) at the other. With Chromium at the
 * other it is in `test/browser/lossy.browser.ts`.
 */
import { assert, describe, it } from "@effect/vitest"
import { constructorOf, type Implementation, type Peer } from "../../../scripts/bench/peer.ts"
import * as Lossy from "./lossy.ts"
import { seeded } from "./random.ts"
import { connectThrough, makeRelay } from "./relay.ts"

const make = (implementation: Implementation): Peer => new (constructorOf(implementation))({ iceServers: [] })

const connect = (seed: number, [offerer, answerer]: readonly [Implementation, Implementation]) =>
  Lossy.connect(seed, make(offerer), make(answerer))

const pairs: ReadonlyArray<readonly [Implementation, Implementation]> = [
  ["werift", "werift"],
  ["werift", "@roamhq/wrtc"],
  ["@roamhq/wrtc", "werift"],
  ["werift", "node-datachannel"],
  ["node-datachannel", "werift"]
]

describe("over a bad network", { timeout: 60_000 }, () => {
  for (const [index, implementations] of pairs.entries()) {
    const name = implementations.join(" and ")

    it(`each message arrives once, both ways: ${name}`, async () => {
      const connected = await connect(index + 1, implementations)
      // node-datachannel does not tell; libwebrtc says 65,535 for null.
      if (implementations[1] !== "node-datachannel") {
        const told = (value: number | null) => value === 65_535 ? null : value
        for (const [label, options] of Object.entries(Lossy.kinds)) {
          const { maxPacketLifeTime, maxRetransmits, ordered } = connected.sides[1][label as Lossy.Kind]
          assert.deepStrictEqual(
            { ordered, maxRetransmits: told(maxRetransmits), maxPacketLifeTime: told(maxPacketLifeTime) },
            { ordered: true, maxRetransmits: null, maxPacketLifeTime: null, ...options }
          )
        }
      }
      await Lossy.exchange(connected, index)
      assert.isAbove(connected.relay.counts.dropped, 0)
      assert.isTrue(connected.haveWrapped())
      await connected.close()
    })

    it(`the numbers of messages begin at zero again: ${implementations[0]} to ${implementations[1]}`, async () => {
      const connected = await connect(index + 21, implementations)
      await Lossy.wrap(connected, 0)
      await connected.close()
    })

    for (const from of [0, 1] as const) {
      it(`what waits on a channel comes before it closes: ${implementations[from]} of ${name}`, async () => {
        const connected = await connect(index + 11, implementations)
        await Lossy.closeUnderLoad(connected, from, index)
        await connected.close()
      })
    }

    const ours = implementations[0] === "werift" ? 0 : 1
    it(`what is given up holds up nothing: ${name}`, async () => {
      const connected = await connect(index + 51, implementations)
      await Lossy.giveUp(connected, ours)
      await connected.close()
    })

    it(`a window may close again and again: ${name}`, async () => {
      const connected = await connect(index + 61, implementations)
      await Lossy.throughWindow(connected, ours, index)
      await connected.close()
    })

    it(`heartbeats are answered: ${name}`, async () => {
      const connected = await connect(index + 31, implementations)
      await Lossy.beat(connected)
      await connected.close()
    })

    for (const from of [0, 1] as const) {
      it(`of one that leaves in the middle the other hears: ${implementations[from]} of ${name}`, async () => {
        const connected = await connect(index + 41, implementations)
        await Lossy.leave(connected, from, index)
        await connected.close()
      })
    }
  }

  for (const implementations of pairs) {
    for (const seed of [3, 9, 14]) {
      const name = implementations.join(" and ")
      // What native code does about what is lost takes seconds.
      const isOurs = implementations.every((each) => each === "werift")
      it(`a connection is set up${isOurs ? ", whatever is lost" : " in whatever order"}: ${name}, seed ${seed}`, async () => {
        const relay = await makeRelay(seed)
        // Before anything else: ICE, DTLS and the association are set up over it, and the channels opened.
        relay.set({ drop: isOurs ? 0.1 : 0, duplicate: 0.1, delay: 2, jitter: 10 })
        const [offerer, answerer] = [make(implementations[0]), make(implementations[1])]
        const own: Lossy.Channel = (offerer as any).createDataChannel("x")
        const other = new Promise<Lossy.Channel>((resolve) =>
          answerer.addEventListener("datachannel", ({ channel }: { channel: Lossy.Channel }) => resolve(channel))
        )
        await connectThrough(relay, offerer, answerer)
        const ends = [own, await other]
        for (const channel of ends) channel.binaryType = "arraybuffer"
        await Promise.all(ends.map(Lossy.opened))
        const listener = Lossy.listen(ends[1]!)
        const messages = Lossy.contents(seeded(seed), 100, 10_000)
        for (const data of messages) own.send(data)
        await listener.until(({ length }) => length === 100)
        assert.deepStrictEqual(Lossy.numbers(listener.received), Lossy.numbers(messages))
        await Promise.all([offerer.close(), answerer.close()])
        await relay.close()
      })
    }
  }
})
