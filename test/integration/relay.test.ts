/**
 * werift through a real TURN server, coturn's `turnserver`, on the loopback
 * interface. Skipped where it is not installed: `apt-get install coturn`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { SoraRpc } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import { spawn, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect } from "../utils/connect.ts"

const missing = spawnSync("turnserver", ["--version"]).error !== undefined
const title = "through a TURN server" + (missing ? " (skipped: no turnserver; apt-get install coturn)" : "")

class TurnError extends Schema.TaggedError<TurnError>()("TurnError", { message: Schema.String }) {}

const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as { port: number }
    server.close(() => resume(Effect.succeed(port)))
  })
})

const user = { username: "mika", credential: "hush" }

/** A TURN server for clients over one transport alone, which runs as long as the scope. Gives its port. */
const turnServer = Effect.fnUntraced(function*(transport: "udp" | "tcp") {
  const port = yield* freePort
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "turnserver-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      // No configuration file, no log file, no database; verbose, else it does not say that it listens.
      spawn("turnserver", [
        "-n",
        "-v",
        "--listening-ip=127.0.0.1",
        "--relay-ip=127.0.0.1",
        `--listening-port=${port}`,
        "--allow-loopback-peers",
        "--lt-cred-mech",
        "--realm=test",
        `--user=${user.username}:${user.credential}`,
        transport === "udp" ? "--no-tcp" : "--no-udp",
        "--no-tls",
        "--no-dtls",
        "--no-cli",
        "--relay-threads=1",
        "--userdb=:memory:",
        "--log-file=stdout",
        `--pidfile=${join(directory, "pid")}`
      ], { stdio: ["ignore", "pipe", "ignore"] })
    ),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )
  yield* Effect.callback<void, TurnError>((resume) => {
    let output = ""
    const listening = new RegExp(`${transport} listener opened on ?: 127\\.0\\.0\\.1:${port}`, "i")
    child.stdout.on("data", (chunk) => {
      output += chunk
      if (listening.test(output)) resume(Effect.void)
    })
    child.once("error", ({ message }) => resume(Effect.fail(new TurnError({ message }))))
    child.once("exit", () => resume(Effect.fail(new TurnError({ message: output }))))
  }).pipe(Effect.timeout("10 seconds"))
  return port
})

interface Report {
  readonly type: string
  readonly id: string
  readonly [member: string]: unknown
}

describe.skipIf(missing)(title, () => {
  for (const transport of ["udp", "tcp"] as const) {
    it.live(`a call, the client over ${transport}`, () =>
      Effect.gen(function*() {
        const port = yield* turnServer(transport)
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
