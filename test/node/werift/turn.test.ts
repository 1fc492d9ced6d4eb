/**
 * What is mended in werift's TURN, beside what `integration/relay.test.ts` and
 * `network.test.ts` show through a connection.
 */
import { assert, describe, it, vi } from "@effect/vitest"
import { Effect } from "effect"
import { createSocket } from "node:dgram"
import { createServer, type Socket } from "node:net"
import type { PeerConfig, StunOverTurnProtocol } from "werift"
import { WeriftPeer } from "../../../src/node/internal/werift/peer.ts"
import type { CandidateError } from "../../../src/node/internal/werift/turn.ts"
import { ifMissing, missing, turnServer, user } from "../../utils/turnServer.ts"

/** A peer that gathers relays alone, and what it tells of failures. */
const gathering = async (urls: Array<string>, config: Partial<PeerConfig> = {}) => {
  const peer = new WeriftPeer({ iceTransportPolicy: "relay", iceServers: [{ urls, ...user }], ...config })
  const errors: Array<CandidateError> = []
  const states = peer as unknown as EventTarget
  states.addEventListener("icecandidateerror", (event) => errors.push(event as unknown as CandidateError))
  peer.createDataChannel("x")
  await peer.setLocalDescription(await peer.createOffer())
  return { peer, errors }
}

const waiting = { timeout: 10_000 }

const relaysOf = (peer: WeriftPeer) =>
  (peer.iceTransports[0]!.connection as unknown as { readonly protocols: ReadonlyArray<StunOverTurnProtocol> })
    .protocols

describe("asking TURN servers", () => {
  it("an address that cannot be bound is told: werift leaves it to nobody, and the process ends", async () => {
    const url = "turn:127.0.0.1:9"
    const { errors, peer } = await gathering([url], { iceInterfaceAddresses: { udp4: "192.0.2.1" } })
    await peer.gathered
    assert.deepStrictEqual(errors.map(({ errorCode, url }) => ({ errorCode, url })), [{ errorCode: 701, url }])
    assert.include(errors[0]!.errorText, "EADDRNOTAVAIL")
    await peer.close()
  })

  it("one that takes the connection and ends it before it grants a relay is not waited for", async () => {
    const tcp = createServer((socket) => socket.once("data", () => socket.end()))
    await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", resolve))
    const url = `turn:127.0.0.1:${(tcp.address() as { port: number }).port}?transport=tcp`
    const started = performance.now()
    const { errors, peer } = await gathering([url])
    await peer.gathered
    assert.isBelow(performance.now() - started, 5_000)
    assert.deepStrictEqual(errors.map(({ errorCode, errorText, url }) => ({ errorCode, errorText, url })), [
      { errorCode: 701, errorText: "it closed the connection", url }
    ])
    await peer.close()
    tcp.close()
  })

  it("a peer that is closed asks nobody any more", async () => {
    const udp = createSocket("udp4")
    await new Promise<void>((resolve) => udp.bind(0, "127.0.0.1", resolve))
    let requests = 0
    udp.on("message", () => requests++)
    const tcp = createServer()
    await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", resolve))
    const accepted = new Promise<Socket>((resolve) => tcp.once("connection", resolve))
    const { errors, peer } = await gathering([
      `turn:127.0.0.1:${udp.address().port}`,
      `turn:127.0.0.1:${(tcp.address() as { port: number }).port}?transport=tcp`
    ])
    const socket = await accepted
    socket.resume()
    const closed = new Promise((resolve) => socket.once("close", resolve))
    await peer.close()
    await closed
    await peer.gathered
    const before = requests
    await new Promise((resolve) => setTimeout(resolve, 300))
    assert.strictEqual(requests, before)
    // It was this end that gave up.
    assert.deepStrictEqual(errors, [])
    udp.close()
    tcp.close()
  })
})

describe.skipIf(missing)(`a relay${ifMissing}`, () => {
  it.live("of each server, the one over UDP before the one over TCP", () =>
    Effect.gen(function*() {
      const [udp, tcp] = yield* Effect.all([turnServer("udp"), turnServer("tcp")])
      yield* Effect.promise(async () => {
        const { errors, peer } = await gathering([
          `turn:127.0.0.1:${tcp.port}?transport=tcp`,
          `turn:127.0.0.1:${udp.port}?transport=udp`
        ])
        await peer.gathered
        // The other one may come a moment later.
        await vi.waitUntil(() => relaysOf(peer).length === 2)
        const byTransport = Object.fromEntries(
          relaysOf(peer).map(({ localCandidate, turn }) => [turn.transport.type, localCandidate])
        )
        assert.isAbove(byTransport["udp"]!.priority, byTransport["tcp"]!.priority)
        assert.notStrictEqual(byTransport["udp"]!.foundation, byTransport["tcp"]!.foundation)
        // Permissions last 300 seconds (RFC 8656, section 9).
        for (const { turn } of relaysOf(peer)) assert.isBelow(turn["channelRefreshTime"], 300)
        assert.deepStrictEqual(errors, [])
        await peer.close()
      })
    }))

  it.live("is given back whenever its peer is closed", () =>
    Effect.gen(function*() {
      const { output, port } = yield* turnServer("udp")
      // By session: it says so again of a request that it has heard before, which UDP may lose or repeat.
      const sessions = (what: RegExp) => new Set(Array.from(output().matchAll(what), ([, session]) => session))
      yield* Effect.forEach(
        Array.from({ length: 60 }, (_, i) => i / 20),
        (millis) =>
          Effect.promise(async () => {
            const { peer } = await gathering([`turn:127.0.0.1:${port}`])
            await new Promise((resolve) => setTimeout(resolve, millis))
            await peer.close()
          })
      )
      const granted = () => sessions(/session (\d+): new, realm/g)
      const givenBack = () => sessions(/session (\d+): refreshed.*lifetime=0/g)
      yield* Effect.sleep("20 millis").pipe(
        Effect.repeat({ until: () => granted().size > 0 && givenBack().size === granted().size }),
        Effect.timeout("5 seconds")
      )
    }))

  it.live("that is not used is given back when nothing comes over it, and asked for again by an ICE restart", () =>
    Effect.gen(function*() {
      const { port, said } = yield* turnServer("udp")
      // No other test here gets as far as looking.
      const set = vi.spyOn(globalThis, "setInterval")
      const clear = vi.spyOn(globalThis, "clearInterval")
      const connected = async (iceTransportPolicy: "all" | "relay") => {
        const { peer } = await gathering([`turn:127.0.0.1:${port}`], { iceTransportPolicy })
        const relays = () => relaysOf(peer).filter(({ type }) => type === "turn")
        await vi.waitUntil(() => relays().length === 1, waiting)
        const other = new WeriftPeer({ iceAdditionalHostAddresses: ["127.0.0.1"] })
        await other.setRemoteDescription(peer.localDescription!)
        await other.setLocalDescription(await other.createAnswer())
        await other.gathered
        await peer.setRemoteDescription(other.localDescription!)
        await vi.waitUntil(() => peer.connectionState === "connected", waiting)
        const at = set.mock.calls.findLastIndex(([, millis]) => millis === 10_000)
        const look = set.mock.calls[at]![0]
        const close = async () => {
          await Promise.all([peer.close(), other.close()])
          assert.isTrue(clear.mock.calls.some(([timer]) => timer === set.mock.results[at]!.value))
        }
        return { peer, relays, look, close }
      }
      yield* Effect.promise(async () => {
        const used = await connected("relay")
        for (let looks = 0; looks < 3; looks++) used.look()
        assert.lengthOf(used.relays(), 1)
        await used.close()

        const { close, look, peer, relays } = await connected("all")
        const [relay] = relays()
        for (let looks = 0; looks < 3; looks++) {
          relay!.turn.onData.execute(Buffer.from("x"), ["127.0.0.1", 9])
          look()
          assert.deepStrictEqual(relays(), [relay!])
        }
        const told = Effect.runPromise(said(/refreshed.*lifetime=0[^]*refreshed.*lifetime=0/))
        // The other end may be checking it still.
        await vi.waitUntil(() => {
          look()
          return relays().length === 0
        }, waiting)
        await told
        assert.strictEqual(peer.connectionState, "connected")
        await peer.setLocalDescription(await peer.createOffer({ iceRestart: true }))
        await vi.waitUntil(() => relays().length === 1, waiting)
        await close()
      })
    }).pipe(Effect.ensuring(Effect.sync(() => vi.restoreAllMocks()))))
})
