/** What is mended in werift's DataChannels and in setting up an association, and that werift itself has the fault. */
import { assert, describe, it } from "@effect/vitest"
import wrtc from "@roamhq/wrtc"
import type { RTCDataChannel, RTCPeerConnection } from "werift"
import { guard } from "../../../src/node/internal/werift/sctp.ts"
import { type Data, Packets, read } from "../../../src/node/internal/werift/sctp/packet.ts"
import { closeAll, connected, mended, negotiate, plain } from "./pair.ts"

const both = [["werift", plain], ["here", mended]] as const

const next = (channel: RTCDataChannel, type: string) =>
  new Promise<any>((resolve) => channel.addEventListener(type, resolve, { once: true }))

/** Another channel, at both ends. */
const another = async (from: RTCPeerConnection, to: RTCPeerConnection, label: string, options = {}) => {
  const arrived = new Promise<RTCDataChannel>((resolve) => to.onDataChannel.once(resolve))
  const own = from.createDataChannel(label, options)
  const other = await arrived
  if (own.readyState !== "open") await next(own, "open")
  return { own, other }
}

const listen = (channel: RTCDataChannel) => {
  const received: Array<string> = []
  channel.addEventListener("message", ({ data }: any) => received.push(String(data)))
  return received
}

describe("an empty message", () => {
  for (const [name, make] of both) {
    it(`and what follows it ${make === plain ? "never comes" : "comes"}: ${name}`, async () => {
      const [a, b] = [make(), make()]
      const { channel, other } = await connected(a, b)
      const second = await another(a, b, "second")
      const received = listen(other)
      const isOver = next(second.other, "message")
      channel.send("")
      channel.send(Buffer.alloc(0))
      channel.send("after")
      assert.strictEqual(channel.bufferedAmount, 5)
      // Nothing overtakes what was sent on another channel before.
      second.own.send("over")
      await isOver
      assert.deepStrictEqual(received, make === plain ? [] : ["", "", "after"])
      await closeAll(a, b)
    })
  }
})

describe("a channel that opens", () => {
  for (const [name, make] of both) {
    it(`has ${make === plain ? "another" : "the same"} name and kind at the other end: ${name}`, async () => {
      const [a, b] = [make(), make()]
      await connected(a, b)
      const { other } = await another(a, b, "名前", { protocol: "プロトコル", ordered: false, maxRetransmits: 3 })
      const { label, maxRetransmits, ordered, protocol } = other
      assert.strictEqual(maxRetransmits, 3)
      if (make === plain) {
        assert.notStrictEqual(label, "名前")
        assert.isTrue(ordered)
      } else {assert.deepStrictEqual({ label, protocol, ordered }, {
          label: "名前",
          protocol: "プロトコル",
          ordered: false
        })}
      await closeAll(a, b)
    })
  }
})

describe("a channel that closes", () => {
  for (const [name, make] of both) {
    it(`before it has opened ${make === plain ? "takes all others with it" : "is the only one"}: ${name}`, async () => {
      const [a, b] = [make(), make()]
      const first = a.createDataChannel("first")
      const second = a.createDataChannel("second")
      const arrived: Array<string> = []
      b.onDataChannel.subscribe(({ label }) => void arrived.push(label))
      const closed = next(first, "close")
      first.close()
      await closed
      const up = new Promise<void>((resolve) => a.sctpTransport!.sctp.stateChanged.connected.subscribe(resolve as any))
      const open = next(second, "open")
      await negotiate(a, b)
      // One that is opened later opens in any case.
      await up
      const third = a.createDataChannel("third")
      await next(third, "open")
      if (make !== plain) await open
      assert.deepStrictEqual(arrived, make === plain ? ["third"] : ["second", "third"])
      await closeAll(a, b)
    })
  }

  it("and at whose end a listener throws closes at the other end too, as others do", async () => {
    const [a, b] = [mended(), mended()]
    const { channel, other } = await connected(a, b)
    const second = await another(a, b, "second")
    const reported = new Promise((resolve) => {
      const listeners = process.listeners("uncaughtException")
      process.removeAllListeners("uncaughtException")
      process.once("uncaughtException", (error) => {
        for (const listener of listeners) process.on("uncaughtException", listener)
        resolve(error)
      })
    })
    other.addEventListener("close", () => {
      throw new Error("thrown")
    })
    const closed = [channel, second.own, second.other].map((each) => next(each, "close"))
    channel.close()
    second.own.close()
    await Promise.all(closed)
    assert.instanceOf(await reported, Error)
    // The stream can be used anew.
    await another(a, b, "third")
    await closeAll(a, b)
  })

  for (const [name, make] of both) {
    it(`at once after a message ${make === plain ? "loses some" : "loses nothing"}: ${name}`, async () => {
      const [a, b] = [make(), make()]
      const { channel, other } = await connected(a, b)
      const received = listen(other)
      const closed = next(other, "close")
      for (let i = 0; i < 100; i++) channel.send(`${i}`.padEnd(10_000))
      channel.close()
      await closed
      if (make === plain) assert.isBelow(received.length, 100)
      else assert.strictEqual(received.length, 100)
      await closeAll(a, b)
    })
  }

  it("can be opened again and again, by either end, and all that is sent comes", async () => {
    const [a, b] = [mended(), mended()]
    await connected(a, b)
    const rounds = async (count: number): Promise<void> => {
      if (count === 0) return
      const [from, to] = count % 2 === 0 ? [a, b] : [b, a]
      const { other, own } = await another(from, to, `${count}`)
      const received = [listen(own), listen(other)]
      for (const text of ["x", "y"]) {
        own.send(text)
        other.send(text)
      }
      const closed = [own, other].map((each) => next(each, "close"))
      // One end or both.
      own.close()
      if (count % 3 === 0) other.close()
      await Promise.all(closed)
      assert.deepStrictEqual(received[1], ["x", "y"])
      await rounds(count - 1)
    }
    await rounds(20)
    await closeAll(a, b)
  })

  it("and on which nothing was ever sent, closes at an end that waits for both directions", async () => {
    const ours = mended()
    const theirs = new wrtc.RTCPeerConnection({})
    const own = ours.createDataChannel("x", { negotiated: true, id: 100 })
    const other = theirs.createDataChannel("x", { negotiated: true, id: 100 })
    const open = Promise.all([next(own, "open"), new Promise((resolve) => other.addEventListener("open", resolve))])
    theirs.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate !== null && candidate.candidate !== "") void ours.addIceCandidate(candidate.toJSON() as any)
    })
    await ours.setLocalDescription(await ours.createOffer())
    await ours.gathered
    await theirs.setRemoteDescription({ type: "offer", sdp: ours.localDescription!.sdp })
    const answer = await theirs.createAnswer()
    await ours.setRemoteDescription({ type: "answer", sdp: answer.sdp! })
    await theirs.setLocalDescription(answer)
    await open
    const closed = Promise.all([next(own, "close"), new Promise((resolve) => other.addEventListener("close", resolve))])
    other.close()
    await closed
    theirs.close()
    await ours.close()
  })
})

describe("what is sent", () => {
  it("when the first of what waits has gone comes after the rest of it", async () => {
    const [a, b] = [mended(), mended()]
    // The one that answers sends as soon as it has answered what sets the association up.
    const [channel, other] = [b, a].map((peer) => peer.createDataChannel("x", { negotiated: true, id: 6 })) as [
      RTCDataChannel,
      RTCDataChannel
    ]
    const received = listen(other)
    channel.send("A".repeat(100))
    channel.send("B")
    channel.bufferedAmountLowThreshold = 50
    channel.addEventListener("bufferedamountlow", () => channel.send("C"), { once: true })
    const all = new Promise<void>((resolve) =>
      other.addEventListener("message", () => received.length === 3 && resolve())
    )
    await negotiate(a, b)
    await all
    assert.deepStrictEqual(received.map(([first]) => first), ["A", "B", "C"])
    await closeAll(a, b)
  })

  it("before the channel opens comes in order", async () => {
    const [a, b] = [mended(), mended()]
    const channel = a.createDataChannel("x", { ordered: false })
    const received: Array<string> = []
    const all = new Promise<void>((resolve) =>
      b.onDataChannel.subscribe((other) =>
        other.addEventListener("message", ({ data }: any) => {
          received.push(data[0])
          if (received.length === 4) resolve()
        })
      )
    )
    channel.send("A".repeat(100))
    channel.send("B")
    channel.send("C")
    const flags: Array<number> = []
    await negotiate(a, b, () => {
      const { transport } = a.sctpTransport!.sctp as any
      const { send } = transport
      transport.send = (packet: Buffer) => {
        for (const { flags: own, type } of read(Buffer.from(packet))!.chunks) if (type === 0) flags.push(own)
        return send(packet)
      }
    })
    if (channel.readyState !== "open") await next(channel, "open")
    channel.send("D")
    await all
    assert.deepStrictEqual(received, ["A", "B", "C", "D"])
    // Ordered until it is open, and first and last pieces of what they are of.
    assert.deepStrictEqual(flags, [3, 3, 3, 3, 7])
    await closeAll(a, b)
  })

  it("is what there was when it was sent", async () => {
    const [a, b] = [mended(), mended()]
    const { channel, other } = await connected(a, b)
    const received = listen(other)
    const data = Buffer.from("before")
    const shared = new ArrayBuffer(6)
    for (const each of [data, new Uint8Array(shared).fill(97), shared]) {
      // The first goes at once, and the others wait.
      channel.send(data)
      channel.send(each as Buffer)
    }
    data.write("after!")
    new Uint8Array(shared).fill(98)
    const over = next(other, "message").then(() => another(a, b, "over"))
    await over
    assert.deepStrictEqual(received, ["before", "before", "before", "aaaaaa", "before", "aaaaaa"])
    await closeAll(a, b)
  })

  it("of a channel that is gone, that it has opened, is no fault", async () => {
    const [a, b] = [mended(), mended()]
    await connected(a, b)
    let bad = 0
    guard(a.sctpTransport!, { maxBytes: 1_000_000, onBad: () => bad++ })
    // The other end has an answer to the reset, and none of its own yet: its clock for that waits.
    const arrived = new Promise<RTCDataChannel>((resolve) => b.onDataChannel.once(resolve))
    const channel = a.createDataChannel("x")
    const { id } = channel
    const own = await arrived
    if (channel.readyState !== "open") await next(channel, "open")
    const { transport } = b.sctpTransport!.sctp as any
    const { send } = transport
    // Of the other end only the answers are heard, and not what it resets itself.
    transport.send = (packet: Buffer) => {
      const { body, type } = read(Buffer.from(packet))!.chunks[0]!
      return type === 130 && body.readUInt16BE(0) === 13 ? Promise.resolve() : send(packet)
    }
    const closed = next(channel, "close")
    channel.close()
    await closed
    a.sctpTransport!.sctp.onReceive.execute(id!, 50, Buffer.from([2]))
    transport.send = send
    if (own.readyState !== "closed") await next(own, "close")
    await closeAll(a, b)
    assert.strictEqual(bad, 0)
  })
})

describe("what is buffered", () => {
  it("is what waits to be sent, and its end is told once", async () => {
    const [a, b] = [mended(), mended()]
    const { channel, other } = await connected(a, b)
    const received = listen(other)
    channel.bufferedAmountLowThreshold = 50_000
    const amounts: Array<number> = []
    channel.addEventListener("bufferedamountlow", () => amounts.push(channel.bufferedAmount))
    for (let i = 0; i < 100; i++) channel.send(`${i}`.padEnd(10_000))
    // The first one has gone, when nothing was under way.
    assert.isAtLeast(channel.bufferedAmount, 990_000)
    const last = new Promise<void>((resolve) => {
      other.addEventListener("message", () => received.length === 100 && resolve())
    })
    await last
    assert.strictEqual(channel.bufferedAmount, 0)
    assert.strictEqual(amounts.length, 1)
    assert.isAtMost(amounts[0]!, 50_000)
    await closeAll(a, b)
  })

  it("of a listener that sends again when it hears of it, nothing is lost", async () => {
    const [a, b] = [mended(), mended()]
    const { channel, other } = await connected(a, b)
    let sent = 0
    const more = () => {
      while (channel.bufferedAmount < 20_000 && sent < 2000) channel.send(`${sent++}`.padEnd(500))
    }
    channel.bufferedAmountLowThreshold = 5000
    channel.addEventListener("bufferedamountlow", more)
    const received = listen(other)
    const all = new Promise<void>((resolve) => {
      other.addEventListener("message", () => received.length === 2000 && resolve())
    })
    more()
    await all
    assert.deepStrictEqual(received.map(Number), Array.from({ length: 2000 }, (_, i) => i))
    await closeAll(a, b)
  })
})

describe("setting an association up", () => {
  const sctpOf = (peer: RTCPeerConnection) => peer.sctpTransport!.sctp as any

  for (const [name, make] of both) {
    it(`is ${make === plain ? "done anew" : "answered"} when it is said again: ${name}`, async () => {
      const [a, b] = [make(), make()]
      const channel = a.createDataChannel("x")
      const open = next(channel, "open")
      const other = new Promise<RTCDataChannel>((resolve) => b.onDataChannel.once(resolve))
      const packets: Array<Buffer> = []
      await negotiate(a, b, () => {
        // The end that answers is the one that sets up, or the other.
        for (const peer of [a, b]) {
          const { transport } = sctpOf(peer)
          const { send } = transport
          transport.send = (packet: Buffer) => {
            // INIT or COOKIE ECHO
            if (packet[12] === 1 || packet[12] === 10) packets.push(packet)
            return send(packet)
          }
        }
      })
      await open
      const received = listen(await other)
      const to = sctpOf(a).isServer ? a : b
      const [sender, receiver] = to === b ? [channel, await other] : [await other, channel]
      const heard = to === b ? received : listen(receiver)
      const first = next(receiver, "message")
      sender.send("before")
      await first
      const tsn = () => sctpOf(to).lastReceivedTsn
      const before = tsn()
      for (const packet of packets) void sctpOf(to).handleData(packet)
      await new Promise((resolve) => setImmediate(resolve))
      if (make === plain) assert.notStrictEqual(tsn(), before)
      else {
        assert.strictEqual(tsn(), before)
        const second = next(receiver, "message")
        sender.send("after")
        await second
        assert.deepStrictEqual(heard, ["before", "after"])
      }
      await closeAll(a, b)
    })
  }

  it("begins once with data that comes in the same turn as what sets it up again", async () => {
    const [a, b] = [mended(), mended()]
    a.createDataChannel("x")
    let received = 0
    const over = new Promise<void>((resolve) => {
      void negotiate(a, b, () => {
        let init: Buffer
        for (const peer of [a, b]) {
          const sctp = sctpOf(peer)
          const { handleData } = sctp
          sctp.handleData = async (packet: Buffer) => {
            if (packet[12] === 1) init = Buffer.from(packet)
            if (packet[12] !== 10) return handleData.call(sctp, packet)
            sctp.handleData = handleData
            const [tsn, tag] = [init.readUInt32BE(28), sctp.localVerificationTag]
            const header = { localPort: 5000, remotePort: 5000, verificationTag: tag }
            const data: Data = {
              tsn,
              streamId: 7,
              ssn: 0,
              protocol: 51,
              isOrdered: true,
              isFirst: true,
              isLast: true,
              data: Buffer.from("x")
            }
            sctp.onReceive.subscribe(() => received++)
            const hear = () => {
              const packets = new Packets(1191, header, (made) => void handleData.call(sctp, made))
              packets.data(data)
              packets.end()
            }
            void handleData.call(sctp, Buffer.from(init))
            void handleData.call(sctp, packet)
            void handleData.call(sctp, Buffer.from(init))
            hear()
            setImmediate(() => {
              // It comes again, as its acknowledgement was lost.
              hear()
              resolve()
            })
          }
        }
      })
    })
    await over
    assert.strictEqual(received, 1)
    await closeAll(a, b)
  })

  it("is done again after half a second, for which werift takes three", async () => {
    const theirs = plain()
    theirs.createDataChannel("x")
    assert.strictEqual(sctpOf(theirs).rto, 3)
    const [a, b] = [mended(), mended()]
    const channel = a.createDataChannel("x")
    const open = next(channel, "open")
    let lost = 0
    await negotiate(a, b, () => {
      for (const peer of [a, b]) {
        const { transport } = sctpOf(peer)
        const { send } = transport
        transport.send = (packet: Buffer) => packet[12] === 1 && lost++ === 0 ? Promise.resolve() : send(packet)
      }
    })
    const began = performance.now()
    await open
    assert.isAbove(lost, 1)
    assert.isBelow(performance.now() - began, 2500)
    await closeAll(a, b, theirs)
  })
})
