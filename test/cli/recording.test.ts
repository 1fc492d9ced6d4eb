/**
 * What is recorded, what is taken out of it, and a server that answers as it was
 * recorded.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Option, Schema, Stream } from "effect"
import { SoraConnection, SoraRpc } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import { readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { withConnection } from "../../src/cli/connection.ts"
import type * as Flags from "../../src/cli/flags.ts"
import * as Format from "../../src/cli/recording/format.ts"
import * as Recorder from "../../src/cli/recording/recorder.ts"
import * as Redact from "../../src/cli/recording/redact.ts"
import * as Replay from "../../src/cli/recording/replay.ts"
import { connect, first } from "../utils/connect.ts"
import { ending, makeClient, makeServer, type Seed, steps } from "../utils/seed.ts"
import { folder, linesOf, run, start } from "./run.ts"

const flagsOf = (url: string, transcript: string, change: Partial<Flags.Connection> = {}): Flags.Connection => ({
  signalingUrls: [url],
  channelId: "example-channel",
  metadata: Option.none(),
  accessToken: Option.none(),
  clientId: Option.none(),
  role: "sendrecv",
  media: false,
  simulcast: true,
  spotlight: false,
  connectTimeout: Duration.seconds(30),
  ca: Option.none(),
  cert: Option.none(),
  key: Option.none(),
  proxy: Option.none(),
  transcript: Option.some(transcript),
  include: ["metadata"],
  ...change
})

const scriptFrom = (file: string) => Effect.flatMap(Format.decode(readFileSync(file, "utf8")), Replay.scriptOf)

/** The whole scenario in one session, written down. */
const recordSeed = Effect.fnUntraced(function*(file: string) {
  const { server } = yield* makeServer
  yield* withConnection(flagsOf(server.url, file), () =>
    Effect.gen(function*() {
      const connection = yield* SoraConnection.SoraConnection
      const rpc = yield* SoraRpc.SoraRpc
      const { connectionId: ownId } = yield* connection.offer
      const seed: Seed = { connection, rpc, close: Effect.void, server, ownId, notified: undefined }
      for (const step of Object.values(steps)) yield* step(seed)
    }))
})

describe("a recording of the development server, replayed", () => {
  for (const title of [...Object.keys(steps), "the client closes", "the server closes"]) {
    it.live(title, () =>
      Effect.gen(function*() {
        const file = join(yield* folder, "seed.jsonl")
        yield* recordSeed(file)
        const server = yield* Replay.make(yield* scriptFrom(file))
        const seed = yield* makeClient({ server, notified: undefined })
        const step = steps[title]
        yield* step === undefined ? ending(seed, title as "the client closes") : step(seed)
      }), 30_000)
  }

  it.live(
    "grants, answers, errors and what is told are those of the recording, ids its own",
    () =>
      Effect.gen(function*() {
        const file = join(yield* folder, "session.jsonl")
        const original = yield* SoraServer.make({
          compress: false,
          authenticate: () =>
            Effect.succeed({
              rpcMethods: ["2025.2.0/PutSignalingNotifyMetadataItem", "1.0/gone"],
              metadata: { given: "by the authentication" }
            })
        })
        yield* withConnection(flagsOf(original.url, file), () =>
          Effect.gen(function*() {
            const { notify, push } = yield* SoraConnection.SoraConnection
            const rpc = yield* SoraRpc.SoraRpc
            yield* rpc.call("2025.2.0/PutSignalingNotifyMetadataItem", { key: "a", value: 1, push: true })
            yield* first(push, () => true)
            const other = yield* connect({ url: original.url, channelId: "example-channel", clientId: "the other" })
            yield* first(notify, (event) => event._tag === "connection.created" && event.clientId === "the other")
            yield* other.close
            yield* first(notify, ({ _tag }) => _tag === "connection.destroyed")
            yield* rpc.call("2025.2.0/PutSignalingNotifyMetadataItem", { key: "b", value: 2 })
            yield* original.push("example-channel", { from: "the server" })
            yield* first(push, ({ data }) => JSON.stringify(data) === "{\"from\":\"the server\"}")
          }))

        const server = yield* Replay.make(yield* scriptFrom(file))
        // Another channel, and the calls in another order of members.
        const { connection, rpc } = yield* connect({ url: server.url, channelId: "elsewhere" })
        const offer = yield* connection.offer
        assert.deepStrictEqual(offer.rpcMethods, ["2025.2.0/PutSignalingNotifyMetadataItem", "1.0/gone"])
        assert.deepStrictEqual(offer.metadata, { given: "by the authentication" })
        assert.isFalse(offer.dataChannels?.find(({ label }) => label === "rpc")?.compress)
        const result = yield* rpc.call("2025.2.0/PutSignalingNotifyMetadataItem", { push: true, value: 1, key: "a" })
        assert.deepStrictEqual(result, { a: 1 })
        const pushed = yield* first(connection.push, () => true)
        assert.deepStrictEqual(pushed.data, {
          action: "PutMetadataItem",
          connection_id: offer.connectionId,
          key: "a",
          type: "signaling_notify_metadata_ext",
          value: 1
        })
        yield* first(
          connection.notify,
          (event) => event._tag === "connection.created" && event.clientId === "the other"
        )
        assert.deepStrictEqual(yield* rpc.call("2025.2.0/PutSignalingNotifyMetadataItem", { key: "b", value: 2 }), {
          a: 1,
          b: 2
        })
        yield* first(connection.push, ({ data }) => JSON.stringify(data) === "{\"from\":\"the server\"}")
        // Once more is answered as the last time, and tells nothing again.
        assert.deepStrictEqual(yield* rpc.call("2025.2.0/PutSignalingNotifyMetadataItem", { key: "b", value: 2 }), {
          a: 1,
          b: 2
        })
        const strange = yield* Effect.flip(rpc.call("2025.2.0/PutSignalingNotifyMetadataItem", { key: "c", value: 3 }))
        assert.isTrue(strange._tag === "RpcError" && strange.message === "NOT-IN-THE-RECORDING")
        const pushes = yield* connection.push.pipe(
          Stream.take(3),
          Stream.runCollect,
          Effect.timeoutOption("300 millis")
        )
        assert.isTrue(Option.isNone(pushes))
      }),
    30_000
  )

  it.live("record, replay and call are commands that fit together", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const file = join(yield* folder, "session.jsonl")
      const calls = [
        { method: "PutSignalingNotifyMetadataItem", params: { key: "mood", value: "busy" } },
        { method: "PutSignalingNotifyMetadataItem", params: { key: "mood", value: "free" }, notify: true },
        { method: "example.unknown" }
      ]
      const recorded = yield* run(
        ["record", file, "--calls", "-", "--include", "metadata"],
        { SORA_SIGNALING_URL: url, SORA_CHANNEL_ID: "lobby" },
        calls.map((call) => JSON.stringify(call)).join("\n")
      )
      assert.strictEqual(recorded.code, 0, recorded.stderr)
      assert.deepStrictEqual(linesOf(recorded.stdout), [
        { method: "2025.2.0/PutSignalingNotifyMetadataItem", result: { mood: "busy" } },
        { method: "2025.2.0/PutSignalingNotifyMetadataItem", notified: true },
        {
          method: "example.unknown",
          error: { _tag: "RpcError", code: -32601, message: "UNSUPPORTED-JSON-RPC-METHOD" }
        }
      ])
      assert.strictEqual(statSync(file).mode & 0o777, 0o600)
      const replaying = yield* start(["replay", file, "--port", "0"])
      const [, replayed] = yield* replaying.written("stdout", /"url":"(ws:[^"]+)"/)
      const env = { SORA_SIGNALING_URL: replayed!, SORA_CHANNEL_ID: "lobby" }
      const called = yield* run(["call", calls[0]!.method, JSON.stringify(calls[0]!.params)], env)
      assert.deepStrictEqual([called.code, called.stdout], [0, "{\"mood\":\"busy\"}\n"])
      yield* replaying.signal("SIGINT")
      assert.strictEqual((yield* replaying.ended).code, 0)
    }), 120_000)
})

describe("a recording", () => {
  const header = JSON.stringify({
    format: "effect-sora-rpc/recording",
    version: 1,
    by: "x",
    startedAt: "2026-11-24T00:00:00.000Z",
    redacted: []
  })

  it.effect("that is none is refused, with the line and without what it holds", () =>
    Effect.gen(function*() {
      const issueOf = (text: string) => Effect.map(Effect.flip(Format.decode(text)), ({ message }) => message)
      assert.match(yield* issueOf(""), /first line/)
      assert.match(yield* issueOf(header.replace("\"version\":1", "\"version\":2")), /first line.*version 1/)
      const bad = yield* issueOf(`${header}\n{"type":"state","at":1,"state":"Connected"}\n{"type":"s3cret"}`)
      assert.match(bad, /line 3/)
      assert.notInclude(bad, "s3cret")
      const empty = yield* Effect.flip(Effect.flatMap(Format.decode(header), Replay.scriptOf))
      assert.match(empty.message, /no offer/)
    }))

  it.effect.prop(
    "reads back what was written",
    [Schema.Array(Format.Line)],
    ([lines]) =>
      Effect.map(Format.decode(`${header}\n${lines.map(Format.encodeLine).join("")}`), (recording) =>
        // As JSON: it has one zero.
        assert.deepStrictEqual(recording.lines, JSON.parse(JSON.stringify(lines))))
  )

  it("of a live session has no token, credential, address or metadata", () =>
    Effect.runPromise(Effect.scoped(Effect.gen(function*() {
      const file = join(yield* folder, "t.jsonl")
      const { url } = yield* SoraServer.make({
        iceServers: [{ urls: ["turn:192.0.2.7:3478"], username: "user", credential: "s3cret-credential" }],
        authenticate: () => Effect.succeed({ metadata: { m3tadata: 1 }, signalingNotifyMetadata: "m3tadata" })
      })
      const flags = flagsOf(url, file, { include: [] })
      yield* withConnection(flags, () =>
        Effect.gen(function*() {
          yield* SoraRpc.putSignalingNotifyMetadataItem({ key: "k", value: "m3tadata", push: true })
          const { push } = yield* SoraConnection.SoraConnection
          yield* first(push, () => true)
        }))
      const text = readFileSync(file, "utf8")
      for (const hidden of ["s3cret", "m3tadata", "127.0.0.1", "192.0.2.7"]) assert.notInclude(text, hidden)
      assert.notMatch(text, /a=ice-pwd:[^[]/)
      assert.include(text, "\"type\":\"disconnect\"")
      assert.deepStrictEqual(linesOf(text)[0].redacted, ["metadata", "addresses"])
    }))))
})

describe("a recorder", () => {
  it.effect("takes a file that was there away from others", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "t.jsonl")
      writeFileSync(path, "what was there", { mode: 0o644 })
      yield* Effect.scoped(Recorder.make({ path, secrets: [], keep: [] }))
      assert.strictEqual(statSync(path).mode & 0o777, 0o600)
      assert.notInclude(readFileSync(path, "utf8"), "was there")
    }))
})

describe("a redactor", () => {
  const redactor = Redact.make({ secrets: ["hunter2hunter2"], keep: [] })

  it("takes out secrets wherever they stand, and what is named like one", () => {
    const json = redactor.json({
      type: "offer",
      config: { iceServers: [{ urls: ["turn:turn.example.com:443?transport=tcp"], credential: "c" }] },
      "of hunter2hunter2": ["x hunter2hunter2 y"],
      access_token: 1,
      metadata: { role: "host" },
      data: [{ authz_metadata: 1, connection_id: "ID" }]
    })
    assert.deepStrictEqual(json, {
      type: "offer",
      config: { iceServers: [{ urls: ["turn:[redacted]?transport=tcp"], credential: "[redacted]" }] },
      "of [redacted]": ["x [redacted] y"],
      access_token: "[redacted]",
      metadata: "[redacted]",
      data: [{ authz_metadata: "[redacted]", connection_id: "ID" }]
    })
  })

  it("takes out addresses, and leaves versions, times and ids alone", () => {
    for (const address of ["192.0.2.1", "2001:db8::1", "::1", "fe80::1:2", "7b8a-41d2.local", "::ffff:192.0.2.1"]) {
      const text = redactor.text(`candidate:1 1 udp 2122260223 ${address} 9 typ host`)
      assert.strictEqual(text, "candidate:1 1 udp 2122260223 [redacted] 9 typ host", address)
    }
    for (const text of ["2025.2.0", "12:34:56", "2026-11-24T12:34:56.123456Z", "0FQE5EA5YN3FS13P01QZ1JG8R0", "a:b:c"]) {
      assert.strictEqual(redactor.text(text), text)
    }
    assert.strictEqual(redactor.text("wss://u:p@sora.example.com:443/signaling"), "wss://[redacted]/signaling")
  })

  it("with everything asked for still has no credential", () => {
    const all = Redact.make({ secrets: [], keep: ["metadata", "addresses"] })
    const connect = { type: "connect", metadata: { a: 1 }, signaling_notify_metadata: { b: "192.0.2.1" } }
    assert.deepStrictEqual(all.json(connect), { ...connect, metadata: "[redacted]" })
    assert.deepStrictEqual(
      all.json({ method: "PutSignalingNotifyMetadata", params: { metadata: { password: 1, n: 2 } } }),
      {
        method: "PutSignalingNotifyMetadata",
        params: { metadata: { password: "[redacted]", n: 2 } }
      }
    )
  })
})
