/**
 * werift through a real TURN server, coturn's `turnserver`, on the loopback
 * interface. Skipped where it is not installed: `apt-get install coturn`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Stream } from "effect"
import { type SoraConnection, SoraRpc } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import { createSocket } from "node:dgram"
import { createServer } from "node:net"
import { makeAuthority } from "../utils/certificates.ts"
import { connect, reasonOf } from "../utils/connect.ts"
import { freePort, ifMissing, missing, turnServer, user } from "../utils/turnServer.ts"

interface Report {
  readonly type: string
  readonly id: string
  readonly [member: string]: unknown
}

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
        const reports = new Map<unknown, Report>()
        const stats = yield* Effect.flatMap(connection.peerConnection, (peer) => Effect.promise(() => peer.getStats()))
        stats.forEach((report) => reports.set(report.id, report))
        const selected = Array.from(reports.values()).find(({ type }) => type === "transport")
          ?.["selectedCandidatePairId"]
        const local = reports.get(reports.get(selected)?.["localCandidateId"])
        assert.strictEqual(local?.["candidateType"], "relay")

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
})
