/**
 * werift through a real TURN server, coturn's `turnserver`, on the loopback
 * interface. Skipped where it is not installed: `apt-get install coturn`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Stream } from "effect"
import { type SoraConnection, SoraRpc } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import { createSocket } from "node:dgram"
import { connect, reasonOf } from "../utils/connect.ts"
import { freePort, ifMissing, missing, turnServer, user } from "../utils/turnServer.ts"

interface Report {
  readonly type: string
  readonly id: string
  readonly [member: string]: unknown
}

/** What kind of local candidate a connection goes over. */
const selectedType = Effect.fnUntraced(function*(connection: SoraConnection.SoraConnection["Service"]) {
  const reports = new Map<unknown, Report>()
  const stats = yield* Effect.flatMap(connection.peerConnection, (peer) => Effect.promise(() => peer.getStats()))
  stats.forEach((report) => reports.set(report.id, report))
  const selected = Array.from(reports.values()).find(({ type }) => type === "transport")?.["selectedCandidatePairId"]
  return reports.get(reports.get(selected)?.["localCandidateId"])?.["candidateType"]
})

/** So long werift asks a server that is silent. */
const SilentMillis = 6_000

/** A UDP port where somebody listens and never answers. */
const silentPort = Effect.map(
  Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createSocket>>((resume) => {
      const socket = createSocket("udp4").bind(0, "127.0.0.1", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.close())
  ),
  (socket) => socket.address().port
)

describe.skipIf(missing)(`through a TURN server${ifMissing}`, () => {
  for (const transport of ["udp", "tcp"] as const) {
    it.live(`a call, the client over ${transport}`, () =>
      Effect.gen(function*() {
        const { port } = yield* turnServer(transport)
        const server = yield* SoraServer.make({
          iceServers: [{ urls: [`turn:127.0.0.1:${port}?transport=${transport}`], ...user }],
          iceTransportPolicy: "relay"
        })
        const { close, connection, rpc } = yield* connect({ url: server.url })
        assert.include(yield* rpc.methods, "2025.2.0/RequestSimulcastRid")
        const metadata = yield* SoraRpc.putSignalingNotifyMetadataItem({ key: "mood", value: "far" }).pipe(
          Effect.provideService(SoraRpc.SoraRpc, rpc)
        )
        assert.deepStrictEqual(metadata, { mood: "far" })
        assert.strictEqual(yield* selectedType(connection), "relay")

        yield* close
        const sent = yield* connection.signaling.pipe(
          Stream.filter(({ direction }) => direction === "sent"),
          Stream.map(({ message }) => JSON.stringify(message)),
          Stream.runCollect
        )
        const types = sent.flatMap((message) => message.match(/ typ \w+/g) ?? [])
        assert.deepStrictEqual(Array.from(new Set(types)), [" typ relay"])
      }))
  }

  it.live("servers that are silent, gone or refuse hold nobody up, and each has its own credential", () =>
    Effect.gen(function*() {
      const silent = yield* silentPort
      const nobody = yield* freePort
      const [udp, tcp] = yield* Effect.all([turnServer("udp"), turnServer("tcp")])
      const server = yield* SoraServer.make({
        iceServers: [
          { urls: [`turn:127.0.0.1:${silent}`, `turn:127.0.0.1:${nobody}?transport=tcp`], ...user },
          { urls: [`turn:127.0.0.1:${udp.port}?transport=udp`], ...user, credential: "wrong" },
          { urls: [`turn:127.0.0.1:${tcp.port}?transport=tcp`], ...user }
        ],
        iceTransportPolicy: "relay"
      })
      const [duration, { close, connection }] = yield* Effect.timed(connect({ url: server.url }))
      assert.isBelow(Duration.toMillis(duration), SilentMillis)
      assert.strictEqual(yield* selectedType(connection), "relay")
      yield* close
    }))

  it.live("a silent server does not hold up a connection that needs none", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({
        iceServers: [{ urls: [`turn:127.0.0.1:${yield* silentPort}`], ...user }]
      })
      const [duration, { connection }] = yield* Effect.timed(connect({ url: server.url }))
      assert.isBelow(Duration.toMillis(duration), SilentMillis)
      assert.strictEqual(yield* selectedType(connection), "host")
    }))

  it.live("a server at an IPv6 address", () =>
    Effect.gen(function*() {
      const { port } = yield* turnServer("udp", { ip: "::1" })
      const server = yield* SoraServer.make({
        iceServers: [{ urls: [`turn:[::1]:${port}`], ...user }],
        iceTransportPolicy: "relay"
      })
      const { connection } = yield* connect({ url: server.url })
      assert.strictEqual(yield* selectedType(connection), "relay")
    }))

  for (const transport of ["udp", "tcp"] as const) {
    it.live(`a credential that is refused over ${transport} is told, and not shown`, () =>
      Effect.gen(function*() {
        const { port } = yield* turnServer(transport)
        const url = `turn:127.0.0.1:${port}?transport=${transport}`
        const server = yield* SoraServer.make({
          iceServers: [{ urls: [url], username: "somebody", credential: "not-it" }],
          iceTransportPolicy: "relay"
        })
        const [duration, error] = yield* Effect.timed(Effect.flip(connect({ url: server.url })))
        assert.strictEqual(error.reason._tag, "TurnFailed")
        assert.strictEqual(
          error.message,
          "no TURN server gave a relay, and the offer allows no other way: " +
            `${url} (TURN refused the credential, 401); are the TURN credentials right, and not out of date?`
        )
        assert.isTrue(error.isRetryable)
        assert.isBelow(Duration.toMillis(duration), SilentMillis)
      }))
  }

  it.live("no address of this machine is told where none of the servers can be asked", () =>
    Effect.gen(function*() {
      const url = `turn:127.0.0.1:${yield* freePort}?transport=tcp`
      for (const iceServers of [[], [{ urls: [url], ...user }], [{ urls: [url] }]]) {
        const server = yield* SoraServer.make({ iceServers, iceTransportPolicy: "relay" })
        const error = yield* Effect.flip(connect({ url: server.url }))
        assert.strictEqual(error.reason._tag, "TurnFailed")
        assert.include(error.message, iceServers.length === 0 ? "firewall" : `${url} (`)
      }
    }))

  it.live("a nonce that has run out is replaced, and the relay renewed", () =>
    Effect.gen(function*() {
      const { port, said } = yield* turnServer("udp", { args: ["--stale-nonce=1", "--max-allocate-lifetime=3"] })
      const server = yield* SoraServer.make({
        iceServers: [{ urls: [`turn:127.0.0.1:${port}`], ...user }],
        iceTransportPolicy: "relay"
      })
      const { connection } = yield* connect({ url: server.url })
      yield* said(/error 438[^]*REFRESH processed, success/)
      assert.strictEqual((yield* connection.state)._tag, "Connected")
    }))

  it.live("a relay is given back", () =>
    Effect.gen(function*() {
      const { port, said } = yield* turnServer("udp")
      const server = yield* SoraServer.make({
        iceServers: [{ urls: [`turn:127.0.0.1:${port}`], ...user }],
        iceTransportPolicy: "relay"
      })
      const { close } = yield* connect({ url: server.url })
      yield* close
      yield* said(/refreshed.*lifetime=0/)
    }))

  it.live("a relay whose server dies ends the connection", () =>
    Effect.gen(function*() {
      const { kill, port } = yield* turnServer("tcp")
      const server = yield* SoraServer.make({
        iceServers: [{ urls: [`turn:127.0.0.1:${port}?transport=tcp`], ...user }],
        iceTransportPolicy: "relay"
      })
      const { connection } = yield* connect({ url: server.url })
      yield* kill
      const [duration, reason] = yield* Effect.timed(reasonOf(connection))
      assert.strictEqual(reason._tag, "PeerFailed")
      assert.isBelow(Duration.toMillis(duration), SilentMillis)
    }))
})
