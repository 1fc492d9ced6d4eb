/** What is mended in werift's ICE, and that werift itself still has the fault. */
import { assert, describe, it, vi } from "@effect/vitest"
import { createSocket } from "node:dgram"
import { type RTCIceTransport, RTCPeerConnection } from "werift"
import { watchLife } from "../../../src/node/internal/werift/ice.ts"
import { loopback, WeriftPeer } from "../../../src/node/internal/werift/peer.ts"
import { closeAll, connected, mended, plain } from "./pair.ts"

const stunServerOf = (peer: RTCPeerConnection) =>
  (peer.iceTransports[0]!.connection as { readonly stunServer?: unknown }).stunServer

describe("a STUN server", () => {
  it("is a public one in werift where none is configured, and none here", async () => {
    const theirs = new RTCPeerConnection({ iceServers: [] })
    theirs.createDataChannel("x")
    assert.isDefined(stunServerOf(theirs))
    const ours = mended()
    ours.createDataChannel("x")
    assert.isDefined(stunServerOf(ours))
    await ours.setLocalDescription(await ours.createOffer())
    assert.isUndefined(stunServerOf(ours))
    await closeAll(theirs, ours)
  })

  it("that is configured is asked", async () => {
    const ours = new WeriftPeer({ iceUseIpv4: false, iceUseIpv6: false, iceServers: [{ urls: "stun:127.0.0.1:9" }] })
    ours.createDataChannel("x")
    await ours.setLocalDescription(await ours.createOffer())
    assert.deepStrictEqual(stunServerOf(ours), ["127.0.0.1", 9])
    await ours.close()
  })
})

describe("the loopback interface", () => {
  const addresses = async (peer: WeriftPeer) => {
    peer.createDataChannel("x")
    await peer.setLocalDescription(await peer.createOffer())
    await peer.gathered
    const bound = (peer.iceTransports[0]!.connection as unknown as {
      readonly protocols: ReadonlyArray<{ readonly transport: { readonly host: string } }>
    }).protocols.map(({ transport }) => transport.host)
    const told = [...peer.localDescription!.sdp.matchAll(/^a=candidate:\S+ \d udp \d+ (\S+)/gm)].map(([, ip]) => ip)
    await peer.close()
    return { bound, told }
  }

  it("is the only one of `loopback`", async () => {
    assert.deepStrictEqual(await addresses(mended()), { bound: ["127.0.0.1"], told: ["127.0.0.1"] })
  })

  it("is left out of what werift looks for itself", async () => {
    const peer = new WeriftPeer({ iceServers: [], iceInterfaceAddresses: { udp4: "127.0.0.1" }, iceUseIpv6: false })
    assert.notInclude((await addresses(peer)).told, "127.0.0.1")
  })
})

/** A STUN server that answers each request after a tenth of a second, and whether it has. */
const slowStun = async () => {
  const socket = createSocket("udp4")
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve))
  let hasAnswered = false
  // The first request alone: a client that waits says it again.
  socket.once("message", (request, { address, port }) => {
    // A success response (RFC 8489, section 5) with port 9 of 127.0.0.1 as XOR-MAPPED-ADDRESS (section 14.2).
    const mapped = Buffer.from([0, 0x20, 0, 8, 0, 1, 0x21, 0x1b, 0x5e, 0x12, 0xa4, 0x43])
    const head = Buffer.from(request.subarray(0, 20))
    head.writeUInt16BE(0x0101, 0)
    head.writeUInt16BE(mapped.length, 2)
    setTimeout(() => {
      hasAnswered = true
      socket.send(Buffer.concat([head, mapped]), port, address)
    }, 100)
  })
  return {
    server: { urls: `stun:127.0.0.1:${socket.address().port}` },
    hasAnswered: () => hasAnswered,
    close: () => new Promise<void>((resolve) => socket.close(resolve))
  }
}

describe("`setLocalDescription`", () => {
  const described = async (make: typeof RTCPeerConnection | typeof WeriftPeer) => {
    const stun = await slowStun()
    const peer = new make({ ...loopback, iceServers: [stun.server] })
    peer.createDataChannel("x")
    await peer.setLocalDescription(await peer.createOffer())
    const isGathered = stun.hasAnswered()
    if (peer instanceof WeriftPeer) await peer.gathered
    assert.isTrue(stun.hasAnswered())
    await peer.close()
    await stun.close()
    return isGathered
  }
  it("waits until the candidates are gathered in werift", async () => assert.isTrue(await described(RTCPeerConnection)))
  it("does not wait for them here", async () => assert.isFalse(await described(WeriftPeer)))
})

it("sockets hold more than what the system gives, which is what werift has", async () => {
  const peers = [plain(), mended()] as const
  await connected(...peers)
  const [theirs, ours] = peers.map(({ iceTransports }) =>
    (iceTransports[0]!.connection as any).protocols[0].transport.socket.getRecvBufferSize() as number
  )
  const socket = createSocket("udp4")
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve))
  assert.strictEqual(theirs, socket.getRecvBufferSize())
  socket.setRecvBufferSize(1024 * 1024)
  assert.strictEqual(ours, socket.getRecvBufferSize())
  socket.close()
  await closeAll(...peers)
})

describe("`disconnected`", { concurrent: false }, () => {
  it("comes after 7 seconds without a sign of life, and goes with the next one", () => {
    vi.useFakeTimers()
    try {
      let onData = () => {}
      const connection = {
        consentExpiryTimer: {},
        onData: {
          subscribe: (run: () => void) => {
            onData = run
          }
        }
      }
      const told: Array<boolean> = []
      const stop = watchLife({ connection } as unknown as RTCIceTransport, (isQuiet) => told.push(isQuiet))
      vi.advanceTimersByTime(6000)
      onData()
      vi.advanceTimersByTime(6000)
      // A consent check was answered.
      connection.consentExpiryTimer = {}
      vi.advanceTimersByTime(7000)
      assert.deepStrictEqual(told, [])
      vi.advanceTimersByTime(2000)
      assert.deepStrictEqual(told, [true])
      onData()
      vi.advanceTimersByTime(1000)
      assert.deepStrictEqual(told, [true, false])
      stop()
      assert.strictEqual(vi.getTimerCount(), 0)
    } finally {
      vi.useRealTimers()
    }
  })

  it("relies on a timer that werift starts anew with every answer to a consent check", async () => {
    const [offerer, answerer] = [plain(), plain()]
    await connected(offerer, answerer)
    const { connection } = offerer.iceTransports[0]! as unknown as {
      readonly connection: { readonly consentExpiryTimer: unknown }
    }
    const first = connection.consentExpiryTimer
    assert.isDefined(first)
    await vi.waitUntil(() => connection.consentExpiryTimer !== first, { timeout: 10_000, interval: 100 })
    await closeAll(offerer, answerer)
  })
})
