/**
 * What a client can make the server hold and do, and where that ends. The
 * figures are those of `docs/reliability.md`.
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import { assert, describe, it, vi } from "@effect/vitest"
import { SoraMethod } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { randomBytes } from "node:crypto"
import { deflateSync } from "node:zlib"
import { client, joined, type RawClient } from "./rawClient.ts"

vi.setConfig({ testTimeout: 20_000 })

const wait = <A>(promise: () => Promise<A>) => Effect.promise(promise)

const Put = "2025.2.0/PutSignalingNotifyMetadata"
const PutItem = "2025.2.0/PutSignalingNotifyMetadataItem"

const MiB = 1024 * 1024

const overflow = { code: 4490, reason: "BUFFER-OVERFLOW" }
const invalid = { code: 4490, reason: "INVALID-MESSAGE" }
const internal = { code: 4490, reason: "INTERNAL-ERROR" }

/** From now on it acknowledges nothing, and hears that its own messages arrive. */
const stopAcknowledging = (raw: RawClient) => {
  const { sctp } = raw.peer!.sctpTransport!
  const sendChunk = sctp["sendChunk"]
  sctp["sendChunk"] = async (chunk: Parameters<typeof sendChunk>[0]) => {
    if (chunk.type !== 3) await sendChunk.call(sctp, chunk)
  }
}

const noneLeft = (server: SoraServer.SoraServer["Service"], channelId: string) =>
  Effect.gen(function*() {
    const isLeft = Effect.map(server.connections, (all) => all.some((one) => one.channelId === channelId))
    while (yield* isLeft) yield* Effect.sleep("5 millis")
  }).pipe(Effect.timeout("8 seconds"))

describe("a client that takes nothing is ended, and released", () => {
  it.live("when it asks for answers all the same", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ maxBufferedBytes: MiB })
      const raw = yield* joined(server.url, "asks")
      yield* wait(() => raw.rpc(Put, { metadata: { noise: randomBytes(60_000).toString("base64") } }))
      stopAcknowledging(raw)
      for (let i = 0; i < 40; i++) {
        raw.send("rpc", { jsonrpc: "2.0", id: i, method: PutItem, params: { key: "k", value: i } })
      }
      assert.deepStrictEqual(
        yield* wait(() => raw.closed),
        overflow
      )
      yield* noneLeft(server, "asks")
    }))

  it.live("when others send to it", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ maxBufferedBytes: MiB })
      const connect = { data_channels: [{ label: "#chat", direction: "sendrecv" }] }
      const sender = yield* joined(server.url, "relay", { connect })
      const receiver = yield* joined(server.url, "relay", { connect })
      stopAcknowledging(receiver)
      for (let i = 0; i < 40; i++) sender.send("#chat", randomBytes(50_000))
      assert.deepStrictEqual(yield* wait(() => receiver.closed), overflow)
      assert.strictEqual((yield* wait(() => sender.rpc(Put, { metadata: 1 }))).result, 1)
    }))

  it.live("when the server pushes", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ maxBufferedBytes: MiB })
      const raw = yield* joined(server.url, "pushed")
      stopAcknowledging(raw)
      for (let i = 0; i < 40; i++) yield* server.push("pushed", randomBytes(50_000).toString("base64"))
      assert.deepStrictEqual(yield* wait(() => raw.closed), overflow)
      yield* noneLeft(server, "pushed")
    }))

  it.live("when all is on a WebSocket that it does not read", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ maxBufferedBytes: MiB })
      let socket: NodeWS.WebSocket | undefined
      const raw = yield* client(server.url, {
        makeSocket: (url) => (socket = new NodeWS.WebSocket(url)) as unknown as WebSocket
      })
      yield* wait(() => raw.join("unread"))
      socket!.pause()
      // What the system buffers comes on top.
      for (let i = 0; i < 40; i++) yield* server.push("unread", "x".repeat(MiB))
      yield* noneLeft(server, "unread")
      socket!.terminate()
    }))
})

describe("what a client sends", () => {
  it.live("is not kept without end while the server is busy with it", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({ maxBufferedBytes: MiB, authenticate: () => Effect.never })
      const raw = yield* client(url)
      yield* wait(() => raw.opened)
      raw.connect("busy", "sendrecv")
      for (let i = 0; i < 20; i++) raw.send("ws", { type: "candidate", candidate: "x".repeat(100_000) })
      assert.deepStrictEqual(yield* wait(() => raw.closed), overflow)
    }))

  it.live("in pieces whose last one never comes is not kept without end", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ maxBufferedBytes: MiB })
      const raw = yield* joined(server.url, "pieces")
      const { sctp } = raw.peer!.sctpTransport!
      const sendChunk = sctp["sendChunk"]
      sctp["sendChunk"] = async (chunk: Parameters<typeof sendChunk>[0]) => {
        // The flag of a last piece (RFC 9260, section 3.3.1).
        if (chunk.type === 0) chunk.flags &= ~1
        await sendChunk.call(sctp, chunk)
      }
      // Beyond the window, which it does not look at.
      Object.defineProperty(sctp, "peerAdvertisedRwnd", { get: () => 1e9, set: () => {} })
      for (let i = 0; i < 40; i++) raw.send("rpc", randomBytes(100_000))
      assert.strictEqual((yield* wait(() => raw.closed)).code, 4490)
    }))

  it.live("is refused on rpc, and ends the connection elsewhere, when it inflates to more than the limit", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const raw = yield* joined(url, "bombs")
      const request = (bytes: number) =>
        deflateSync(`{"jsonrpc":"2.0","id":7,"method":"${Put}","params":{"metadata":1}}`.padEnd(bytes))
      raw.send("rpc", request(MiB + 1))
      assert.strictEqual((yield* wait(() => raw.response(null))).error.code, -32700)
      raw.send("rpc", request(MiB))
      assert.strictEqual((yield* wait(() => raw.response(7))).result, 1)
      raw.send("signaling", deflateSync("{\"type\":\"disconnect\"}".padEnd(MiB + 1)))
      assert.deepStrictEqual(yield* wait(() => raw.closed), internal)

      const small = yield* SoraServer.make({ maxInflatedBytes: 1000 })
      const other = yield* joined(small.url, "bombs")
      other.send("rpc", request(1001))
      assert.strictEqual((yield* wait(() => other.response(null))).error.code, -32700)
    }))

  it.live("ends the connection when it is larger than the offer allows", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const raw = yield* joined(url, "large")
      raw.peer!.sctpTransport!.setRemoteMaxMessageSize(0)
      raw.send("rpc", randomBytes(262_145))
      assert.deepStrictEqual(yield* wait(() => raw.closed), internal)
    }))

  it.live("does not keep the server for long", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const raw = yield* joined(url, "dear")
      const members = Array.from({ length: 80_000 }, (_, i) => `"m${i}":1`).join()
      const depth = 500_000
      const requests = [
        `{"jsonrpc":"2.0","id":${"9".repeat(MiB - 100)},"method":"none"}`,
        `{"jsonrpc":"2.0","id":1,"method":"${Put}","params":{${members}}}`,
        `{"jsonrpc":"2.0","id":2,"method":"${Put}","params":{"metadata":{${members}}}}`,
        `{${members},"jsonrpc":"2.0","id":3,"method":"none"}`,
        `{"jsonrpc":"2.0","id":4,"method":"${Put}","params":{"metadata":${"[".repeat(depth)}${"]".repeat(depth)}}}`
      ]
      for (const request of requests) {
        assert.isAtMost(request.length, MiB)
        const before = performance.now()
        raw.send("rpc", deflateSync(request))
        assert.strictEqual((yield* wait(() => raw.rpc("none"))).error.code, -32601)
        // What takes the square of its length takes minutes; the machine may have much else to do.
        assert.isBelow(performance.now() - before, 15_000, request.slice(0, 60))
      }
    }), 90_000)

  it.live("are at most so many calls at a time, and more when those are done", () =>
    Effect.gen(function*() {
      const Hang = SoraMethod.make("Hang", { version: "1" })
      const go = yield* Deferred.make<void>()
      const { url } = yield* SoraServer.make({
        maxCalls: 2,
        handlers: [SoraMethod.handle(Hang, () => Effect.as(Deferred.await(go), "done"))]
      })
      const raw = yield* joined(url, "calls")
      for (let id = 1; id <= 3; id++) raw.send("rpc", { jsonrpc: "2.0", id: `call ${id}`, method: "1/Hang" })
      assert.deepStrictEqual((yield* wait(() => raw.response("call 3"))).error, {
        code: -32603,
        message: "JSON-RPC-INTERNAL-ERROR",
        data: { ISSUE: "2 calls are under way" }
      })
      yield* Deferred.succeed(go, undefined)
      for (let id = 1; id <= 2; id++) {
        assert.strictEqual((yield* wait(() => raw.response(`call ${id}`))).result, "done")
      }
      assert.strictEqual((yield* wait(() => raw.rpc("1/Hang"))).result, "done")
    }))

  it.live("are not kept without end, however few, while they are not answered", () =>
    Effect.gen(function*() {
      const Hang = SoraMethod.make("Hang", { version: "1", params: Schema.Struct({ data: Schema.String }) })
      const { url } = yield* SoraServer.make({
        maxBufferedBytes: 400_000,
        handlers: [SoraMethod.handle(Hang, () => Effect.never)]
      })
      const raw = yield* joined(url, "large calls")
      const params = { data: "x".repeat(100_000) }
      for (let id = 1; id <= 4; id++) raw.send("rpc", { jsonrpc: "2.0", id, method: "1/Hang", params })
      assert.deepStrictEqual(yield* wait(() => raw.closed), overflow)
    }))

  it.live("are no channels of its own without end", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const raw = yield* joined(url, "foreign")
      for (let i = 0; i < 40; i++) raw.peer!.createDataChannel(`own ${i}`)
      assert.deepStrictEqual(yield* wait(() => raw.closed), internal)
    }))

  it.live("is not stored item by item without end", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const raw = yield* joined(url, "items")
      const errors: Array<unknown> = []
      for (let i = 0; i < 6; i++) {
        raw.send("rpc", {
          jsonrpc: "2.0",
          id: `put ${i}`,
          method: PutItem,
          params: { key: `k${i}`, value: "x".repeat(200_000) }
        })
        errors.push((yield* wait(() => raw.response(`put ${i}`))).error?.data)
      }
      const issue = { ISSUE: "the metadata would have more than 1048576 bytes, or is nested too deep" }
      assert.deepStrictEqual(errors, [...Array.from({ length: 5 }, () => undefined), issue])
    }))
})

describe("connecting", () => {
  const asks = (url: string, more: Record<string, unknown>) =>
    Effect.scoped(Effect.gen(function*() {
      const raw = yield* client(url)
      yield* wait(() => raw.opened)
      raw.connect("asks", "sendrecv", { data_channel_signaling: true, ...more })
      return yield* wait(() => Promise.race([raw.closed, raw.type("offer", "ws").then(() => "offered")]))
    }))

  it.live("with as many channels, and with as much about them, as is taken", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const channels = (count: number, more: object = {}) => ({
        data_channels: Array.from(
          { length: count },
          (_, i) => ({ label: `#channel-${i}`, direction: "sendrecv", ...more })
        )
      })
      assert.strictEqual(yield* asks(url, channels(32)), "offered")
      assert.deepStrictEqual(yield* asks(url, channels(33)), invalid)
      assert.deepStrictEqual(yield* asks(url, channels(1, { protocol: "p".repeat(256) })), invalid)
      const header = [{ type: "sender_connection_id" }]
      assert.strictEqual(yield* asks(url, channels(1, { header })), "offered")
      for (const other of [["h"], [{ type: "nobody-knows" }], header[0], Array.from({ length: 64 }, () => header[0])]) {
        assert.deepStrictEqual(yield* asks(url, channels(1, { header: other })), invalid)
      }
      for (const bit_rate of [0, 50_001, 1e300]) {
        assert.deepStrictEqual(yield* asks(url, { video: { bit_rate } }), invalid)
      }
      assert.deepStrictEqual(yield* asks(url, { audio: { bit_rate: 511 } }), invalid)
    }))

  const candidate = (i: number, address = "127.0.0.1") => `candidate:${i} 1 udp ${i} ${address} ${1024 + i} typ host`

  /** The Close that an answer with these candidates earns, or that it is connected. */
  const answered = (count: number, address: string | undefined, as: "sdp" | "message") =>
    Effect.scoped(Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const raw = yield* client(url, { candidates: "none" })
      yield* wait(() => raw.opened)
      raw.connect("candidates", "sendrecv")
      const send = raw.send.bind(raw)
      const more = Array.from({ length: count }, (_, i) => candidate(i + 1, address))
      raw.send = (via, message) => {
        const { sdp, type } = message as { readonly sdp?: string; readonly type?: string }
        if (type !== "answer") return send(via, message)
        send(via, as === "sdp" ? { type, sdp: sdp + more.map((line) => `a=${line}\r\n`).join("") } : message)
        if (as === "message") { for (const line of more) send(via, { type: "candidate", candidate: line }) }
      }
      yield* wait(() => raw.answer())
      const up = raw.event("connection.created").then(() => "connected")
      up.catch(() => {})
      return yield* wait(() => Promise.race([raw.closed, up]))
    }))

  for (const as of ["sdp", "message"] as const) {
    it.live(`with as many candidates as is taken: ${as}`, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* answered(256, undefined, as), "connected")
        assert.deepStrictEqual(yield* answered(257, undefined, as), invalid)
        assert.deepStrictEqual(yield* answered(10_000, undefined, as), invalid)
        // A name is nothing that the server looks up.
        const threads = () => process.getActiveResourcesInfo().filter((name) => name === "MessagePort").length
        const before = threads()
        assert.strictEqual(yield* answered(100, "6a4b5e0c.local", as), "connected")
        assert.isAtMost(threads(), before)
      }))
  }

  it.live("with an answer to nothing, or to more than was offered", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const raw = yield* joined(url, "answers")
      raw.send("ws", { type: "answer", sdp: raw.peer!.localDescription!.sdp })
      assert.deepStrictEqual(yield* wait(() => raw.closed), invalid)

      const other = yield* client(url)
      yield* wait(() => other.opened)
      other.connect("answers", "sendrecv")
      yield* wait(() => other.type("offer", "ws"))
      const section = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
      other.send("ws", { type: "answer", sdp: `v=0\r\n${section.repeat(4)}` })
      assert.deepStrictEqual(yield* wait(() => other.closed), invalid)
    }))
})
