import { assert, describe, it, layer, vi } from "@effect/vitest"
import { SoraMethod } from "effect-sora-rpc"
import { SoraAuth, SoraServer } from "effect-sora-rpc/server"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as TestClock from "effect/testing/TestClock"
import { randomBytes } from "node:crypto"
import { deflateSync, inflateSync } from "node:zlib"
import { ServerError } from "../../src/SoraRpcError.ts"
import { jwt, part } from "./jwt.ts"
import { client, joined, type RawClient } from "./rawClient.ts"

// More than the client's patience, which tells what it waited for.
vi.setConfig({ testTimeout: 20_000 })

const wait = <A>(promise: () => Promise<A>) => Effect.promise(promise)

const Put = "2025.2.0/PutSignalingNotifyMetadata"
const PutItem = "2025.2.0/PutSignalingNotifyMetadataItem"
const RequestSimulcast = "2025.2.0/RequestSimulcastRid"
const RequestSpotlight = "2025.2.0/RequestSpotlightRid"
const ResetSpotlight = "2025.2.0/ResetSpotlightRid"

const idOf = (raw: RawClient): string => raw.offer.connection_id

const inflated = (message: Buffer) => inflateSync(message).toString()

/** After it, every push that was sent before has arrived. */
const fence = Effect.fnUntraced(function*(
  server: SoraServer.SoraServer["Service"],
  channelId: string,
  clients: ReadonlyArray<RawClient>
) {
  yield* server.push(channelId, "fence")
  for (const raw of clients) yield* wait(() => raw.take("the fence", ({ message }) => message.data === "fence"))
})

/** Waits until the error was thrown where nobody caught it, so many times. It is no failure of the test's. */
const whenUncaught = Effect.fnUntraced(function*(defect: Error) {
  const others = process.listeners("uncaughtException")
  const changed = yield* Effect.acquireRelease(SubscriptionRef.make(0), () =>
    Effect.sync(() => {
      process.removeAllListeners("uncaughtException")
      for (const listener of others) process.on("uncaughtException", listener)
    }))
  process.removeAllListeners("uncaughtException")
  process.on("uncaughtException", (error, origin) => {
    if (error === defect) Effect.runSync(SubscriptionRef.update(changed, (times) => times + 1))
    else for (const listener of others) listener(error, origin)
  })
  return (times: number) => Stream.runDrain(Stream.takeUntil(SubscriptionRef.changes(changed), (now) => now >= times))
})

layer(SoraServer.layer(), { excludeTestServices: true })("with the defaults", (it) => {
  it.effect("the errors of a real Sora, to the letter", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.SoraServer
      const raw = yield* joined(url, "errors")
      assert.deepStrictEqual(yield* wait(() => raw.rpc("9999.0.0/not_exist", { key: "value" })), {
        jsonrpc: "2.0",
        id: 1,
        error: { code: -32601, message: "UNSUPPORTED-JSON-RPC-METHOD" }
      })
      // Without its version a method does not exist.
      assert.strictEqual((yield* wait(() => raw.rpc("RequestSimulcastRid", { rid: "r0" }))).error.code, -32601)
      const params = { rid: "r0", invalid_param: 1, other: 2 }
      assert.deepStrictEqual(yield* wait(() => raw.rpc(RequestSimulcast, params)), {
        jsonrpc: "2.0",
        id: 3,
        error: {
          code: -32602,
          message: "JSON-RPC-INVALID-PARAMS",
          data: { "UNKNOWN-KEYS": ["invalid_param", "other"] }
        }
      })
      for (const params of [undefined, [], {}, { key: 1, value: 1 }, { key: "k" }]) {
        assert.strictEqual((yield* wait(() => raw.rpc(PutItem, params))).error.code, -32602)
      }
    }))

  it.effect("ids come back to the digit", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.SoraServer
      const raw = yield* joined(url, "ids")
      const ids = ["18446744073709551615", "0", "\"text\"", "1.50"]
      for (const id of ids) raw.send("rpc", deflateSync(`{"jsonrpc":"2.0","method":"none","id":${id}}`))
      yield* wait(() => raw.until("the answers", () => raw.received.filter(({ via }) => via === "rpc").length === 4))
      const frames = raw.received.filter(({ via }) => via === "rpc")
      assert.deepStrictEqual(frames.map(({ frame }) => frame), ids.map(() => "zlib"))
      assert.deepStrictEqual(frames.map(({ data }) => /"id":(.*?),"error"/.exec(String(data))?.[1]), ids)
    }))

  it.effect("garbage on rpc is answered and hurts nobody", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.SoraServer
      const raw = yield* joined(url, "garbage")
      for (const garbage of ["not json", "[]", "7", "{}", Buffer.from([0x78, 0x9c, 1, 2, 3]), Buffer.from([0xff])]) {
        raw.send("rpc", garbage)
        const { error } = yield* wait(() => raw.response(null))
        assert.include([-32700, -32600], error.code)
      }
      // Uncompressed text and bytes are as good as a zlib stream.
      for (const form of [(text: string) => text, (text: string) => Buffer.from(text)]) {
        raw.send("rpc", form(JSON.stringify({ jsonrpc: "2.0", id: "form", method: Put, params: { metadata: 1 } })))
        assert.strictEqual((yield* wait(() => raw.response("form"))).result, 1)
      }
    }))

  it.effect("a call that comes before the channel is open at the server is answered", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.SoraServer
      const request = JSON.stringify({ jsonrpc: "2.0", id: "early", method: Put, params: { metadata: 1 } })
      const raw = yield* joined(url, "early", {
        onChannel: (channel) => {
          if (channel.label === "rpc") channel.send(request)
        }
      })
      assert.strictEqual((yield* wait(() => raw.response("early"))).result, 1)
    }))

  it.effect("a notification is silent, whatever comes of it", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.SoraServer
      const raw = yield* joined(url, "silence")
      const notify = (method: string, params: unknown) => raw.send("rpc", { jsonrpc: "2.0", method, params })
      notify("9999.0.0/not_exist", {})
      notify(PutItem, { colour: "red" })
      notify(PutItem, { key: "mood", value: "busy" })
      // The answer to the next call is the first: the channel keeps the order.
      const { result } = yield* wait(() => raw.rpc(PutItem, { key: "more", value: [1] }))
      assert.deepStrictEqual(result, { mood: "busy", more: [1] })
      assert.strictEqual(raw.received.filter(({ via }) => via === "rpc").length, 1)
    }))

  it.effect("metadata: pushed to all, notified to a late joiner, and refused where it is no object", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.SoraServer
      const [a, b] = yield* Effect.all([
        joined(server.url, "meta", { connect: { signaling_notify_metadata: { name: "A" } } }),
        // Pushes reach the caller's own bundle too.
        joined(server.url, "meta", { connect: { bundle_id: "b" } })
      ], { concurrency: "unbounded" })
      const put = yield* wait(() => a.rpc(Put, { metadata: { mood: "busy" }, push: true, channel_id: "meta" }))
      assert.deepStrictEqual(put.result, { mood: "busy" })
      for (const raw of [a, b]) {
        assert.deepStrictEqual(yield* wait(() => raw.type("push", "push")), {
          type: "push",
          data: {
            action: "PutMetadata",
            connection_id: idOf(a),
            metadata: { mood: "busy" },
            type: "signaling_notify_metadata_ext"
          }
        })
      }
      const own = { connection_id: idOf(a), channel_id: "" }
      const item = yield* wait(() => a.rpc(PutItem, { key: "place", value: null, push: true, ...own }))
      assert.deepStrictEqual(item.result, { mood: "busy", place: null })
      for (const raw of [a, b]) {
        assert.deepStrictEqual((yield* wait(() => raw.type("push", "push"))).data, {
          action: "PutMetadataItem",
          connection_id: idOf(a),
          key: "place",
          value: null,
          type: "signaling_notify_metadata_ext"
        })
      }
      yield* wait(() => a.rpc(PutItem, { key: "quiet", value: 1, push: false }))
      yield* fence(server, "meta", [a, b])
      assert.strictEqual(b.received.filter(({ message }) => message.type === "push").length, 3)

      const late = yield* joined(server.url, "meta")
      const created = yield* wait(() => late.event("connection.created"))
      assert.deepStrictEqual(created.message.channel_connections, 3)
      const members = new Map<string, unknown>(created.message.data.map((it: any) => [it.connection_id, it]))
      assert.deepStrictEqual(members.get(idOf(a)), {
        client_id: idOf(a),
        bundle_id: idOf(a),
        connection_id: idOf(a),
        authn_metadata: { name: "A" },
        metadata: { mood: "busy", place: null, quiet: 1 }
      })
      assert.deepStrictEqual(members.get(idOf(b)), { client_id: idOf(b), bundle_id: "b", connection_id: idOf(b) })
      // Those who were there hear of it on their label, compressed.
      const seen = yield* wait(() => a.event("connection.created", (it) => it.connection_id === idOf(late)))
      assert.deepInclude(seen, { via: "notify", frame: "zlib" })
      assert.notProperty(seen.message, "data")

      for (const params of [{ connection_id: idOf(b) }, { channel_id: "other" }]) {
        const refused = yield* wait(() => a.rpc(PutItem, { key: "k", value: 1, ...params }))
        assert.strictEqual(refused.error.code, -32602)
      }
      yield* wait(() => a.rpc(Put, { metadata: "text" }))
      assert.strictEqual((yield* wait(() => a.rpc(PutItem, { key: "k", value: 1 }))).error.code, -32602)
    }))

  it.effect(
    "simulcast.switched tells the caller of every layer that changed, and only then",
    () =>
      Effect.gen(function*() {
        const server = yield* SoraServer.SoraServer
        const sending = { simulcast: true, video: { codec_type: "VP8" } }
        const [viewer, one, two] = yield* Effect.all([
          joined(server.url, "layers", { role: "recvonly", connect: { simulcast: true } }),
          joined(server.url, "layers", { role: "sendonly", connect: sending }),
          joined(server.url, "layers", { role: "sendrecv", connect: sending }),
          // These send no layers that could be switched.
          joined(server.url, "layers", { role: "recvonly", connect: { simulcast: true } }),
          joined(server.url, "layers", { role: "sendonly", connect: { simulcast: true, video: false } }),
          joined(server.url, "layers", { role: "sendonly" })
        ], { concurrency: 3 })
        const switched = () => viewer.event("simulcast.switched")
        const { result } = yield* wait(() => viewer.rpc(RequestSimulcast, { rid: "r1", sender_connection_id: "" }))
        assert.deepStrictEqual(result, { channel_id: "layers", receiver_connection_id: idOf(viewer), rid: "r1" })
        const both = yield* wait(() => Promise.all([switched(), switched()]))
        assert.sameMembers(both.map(({ message }) => message.sender_connection_id), [idOf(one), idOf(two)])
        const { sender_connection_id: _, timestamp, ...event } = both[0].message
        assert.match(timestamp, /Z$/)
        assert.strictEqual(both[0].via, "notify")
        assert.deepStrictEqual(event, {
          type: "notify",
          event_type: "simulcast.switched",
          priority: "lower",
          trigger: "receiver",
          rpc_rids: ["none", "r0", "r1", "r2"],
          auto_rids: ["r0", "r1", "r2"],
          request_rid: "r1",
          current_rid: "r1",
          previous_rid: "r2"
        })
        // The same again: no event. Then one sender alone.
        yield* wait(() => viewer.rpc(RequestSimulcast, { rid: "r1" }))
        const single = { rid: "r2", sender_connection_id: idOf(two), receiver_connection_id: idOf(viewer) }
        assert.strictEqual(
          (yield* wait(() => viewer.rpc(RequestSimulcast, single))).result.sender_connection_id,
          idOf(two)
        )
        const { message } = yield* wait(switched)
        assert.deepInclude(message, {
          sender_connection_id: idOf(two),
          priority: "higher",
          current_rid: "r2",
          previous_rid: "r1"
        })
        const asked = Effect.map(server.connections, (connections) => {
          const found = connections.find((it) => it.connectionId === idOf(viewer))
          return { rid: found?.rid, senderRids: found?.senderRids }
        })
        assert.deepStrictEqual(yield* asked, { rid: "r1", senderRids: new Map([[idOf(two), "r2" as const]]) })
        for (
          const wrong of [
            { rid: "auto" },
            { rid: "r1", receiver_connection_id: idOf(one) },
            { rid: "r1", sender_connection_id: "NOBODY" }
          ]
        ) assert.strictEqual((yield* wait(() => viewer.rpc(RequestSimulcast, wrong))).error.code, -32602)
        yield* fence(server, "layers", [viewer, one])
        assert.strictEqual(viewer.received.filter((it) => it.message.event_type === "simulcast.switched").length, 3)
        // With the sender goes what was asked for of it.
        yield* server.disconnect({ connectionId: idOf(two) })
        assert.deepStrictEqual(yield* asked, { rid: "r1", senderRids: new Map() })
        assert.isFalse(one.received.some((it) => it.message.event_type === "simulcast.switched"))
      }),
    10_000
  )

  it.effect("spotlight rids are set and go back to those of connect", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.SoraServer
      const connect = { spotlight: true, spotlight_focus_rid: "r2", spotlight_unfocus_rid: "r1" }
      const [raw, without] = yield* Effect.all([
        joined(server.url, "spot", { connect }),
        joined(server.url, "spot")
      ], { concurrency: "unbounded" })
      const rids = Effect.map(server.connections, (all) => {
        const found = all.find(({ connectionId }) => connectionId === idOf(raw))
        return [found?.spotlightFocusRid, found?.spotlightUnfocusRid]
      })
      assert.deepStrictEqual(yield* rids, ["r2", "r1"])
      const params = { spotlight_focus_rid: "r0", spotlight_unfocus_rid: "none" }
      const request = yield* wait(() => raw.rpc(RequestSpotlight, { ...params, recv_connection_id: "" }))
      assert.deepStrictEqual(request.result, { channel_id: "spot", recv_connection_id: idOf(raw), ...params })
      assert.deepStrictEqual(yield* rids, ["r0", "none"])
      const reset = yield* wait(() => raw.rpc(ResetSpotlight))
      assert.deepStrictEqual(reset.result, { channel_id: "spot", recv_connection_id: idOf(raw) })
      assert.deepStrictEqual(yield* rids, ["r2", "r1"])
      const refusals = [
        yield* wait(() => without.rpc(RequestSpotlight, params)),
        yield* wait(() => without.rpc(ResetSpotlight, {})),
        yield* wait(() => without.rpc(RequestSimulcast, { rid: "r0" })),
        yield* wait(() => raw.rpc(ResetSpotlight, { recv_connection_id: idOf(without) })),
        yield* wait(() => raw.rpc(ResetSpotlight, { send_connection_id: "NOBODY" }))
      ]
      assert.deepStrictEqual(refusals.map(({ error }) => error.code), Array.from(refusals, () => -32602))
    }))

  it.effect("push reaches the channel or one connection; a bundle does not hear of itself", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.SoraServer
      const connect = { bundle_id: "same" }
      const [a, b] = yield* Effect.all([
        joined(server.url, "pushes", { connect }),
        joined(server.url, "pushes", { connect })
      ], { concurrency: "unbounded" })
      yield* server.push("pushes", { to: "one" }, { connectionId: idOf(b) })
      yield* server.push("elsewhere", { to: "nobody" })
      yield* fence(server, "pushes", [a, b])
      const pushes = (raw: RawClient) =>
        raw.received.filter((it) => it.message.type === "push").map((it) => it.message.data)
      assert.deepStrictEqual([pushes(a), pushes(b)], [["fence"], [{ to: "one" }, "fence"]])
      for (const raw of [a, b]) {
        const events = raw.received.filter((it) => it.message.event_type === "connection.created")
        assert.deepStrictEqual(events.map((it) => [it.message.connection_id, it.message.data]), [[idOf(raw), []]])
      }
    }))

  it.effect("re-offers and statistics, on the transport in use", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.SoraServer
      const raw = yield* joined(server.url, "again", { connect: { ignore_disconnect_websocket: true } })
      raw.socket.close()
      yield* wait(() => raw.closed)
      const reOffer = (again: RawClient, via: string) =>
        Effect.gen(function*() {
          const answered = yield* Effect.forkChild(server.reOffer(idOf(again)))
          const { sdp } = yield* wait(() => again.type("re-offer", via))
          again.send(via, { type: "re-answer", sdp: yield* wait(() => again.makeAnswer(sdp)) })
          yield* Fiber.join(answered)
        })
      yield* reOffer(raw, "signaling")
      yield* reOffer(raw, "signaling")
      const stats = yield* Effect.forkChild(server.requestStats(idOf(raw)))
      assert.deepStrictEqual(yield* wait(() => raw.type("req-stats", "stats")), { type: "req-stats" })
      raw.send("stats", { type: "stats", reports: [{ id: "DC1", type: "data-channel" }] })
      assert.deepStrictEqual(yield* Fiber.join(stats), [{ id: "DC1", type: "data-channel" }])
      // It still works, and candidates may come here as well.
      raw.send("signaling", { type: "candidate", candidate: "candidate:1 1 udp 1 nonsense.local 9 typ host" })
      assert.strictEqual((yield* wait(() => raw.rpc(Put, { metadata: 1 }))).result, 1)
      const plain = yield* client(server.url)
      yield* wait(() => plain.join("again"))
      yield* reOffer(plain, "ws")

      const error = yield* Effect.flip(server.reOffer("NOBODY"))
      assert.strictEqual(error.message, "there is no connection NOBODY")
      const waiting = yield* Effect.forkChild(Effect.flip(server.requestStats(idOf(raw))))
      yield* wait(() => raw.type("req-stats", "stats"))
      yield* server.disconnect({ connectionId: idOf(raw) })
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "SoraServerError")
    }))

  it.effect("whoever waits for the server's API, and throws, hurts nobody", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.SoraServer
      const [raw, other] = yield* Effect.all([joined(server.url, "throws"), joined(server.url, "throws")])
      const defect = new Error("mine")
      const uncaught = yield* whenUncaught(defect)
      const context = yield* Effect.context<never>()
      const callAndThrow = (effect: Effect.Effect<unknown, unknown>) =>
        Effect.runCallbackWith(context)(effect, {
          onExit() {
            throw defect
          }
        })

      callAndThrow(server.requestStats(idOf(raw)))
      yield* wait(() => raw.type("req-stats", "stats"))
      raw.send("stats", { type: "stats", reports: [] })
      yield* uncaught(1)
      callAndThrow(server.reOffer(idOf(raw)))
      const { sdp } = yield* wait(() => raw.type("re-offer", "signaling"))
      raw.send("signaling", { type: "re-answer", sdp: yield* wait(() => raw.makeAnswer(sdp)) })
      yield* uncaught(2)
      // It lives.
      assert.strictEqual((yield* wait(() => raw.rpc(Put, { metadata: 1 }))).result, 1)
      callAndThrow(server.disconnect({ channelId: "throws" }))
      yield* uncaught(3)
      yield* wait(() => Promise.all([raw.closed, other.closed]))
    }))

  it.effect("a re-answer that is none ends the connection, and the re-offer with it", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.SoraServer
      const raw = yield* joined(server.url, "bad-answer")
      const failed = yield* Effect.forkChild(Effect.flip(server.reOffer(idOf(raw))))
      yield* wait(() => raw.type("re-offer", "signaling"))
      raw.send("signaling", { type: "re-answer", sdp: "v=0\r\n" })
      assert.deepStrictEqual(yield* wait(() => raw.closed), { code: 4490, reason: "INVALID-MESSAGE" })
      yield* wait(() => raw.channelsClosed())
      yield* wait(() => raw.leave())
      assert.strictEqual((yield* Fiber.join(failed)).message, "the connection ended")
    }))

  it.effect("an answer larger than a message can be is dropped, and the channel lives", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.SoraServer
      const raw = yield* joined(server.url, "large")
      // Hexadecimal digits of noise halve when compressed: 400,000 fit in a message and 600,000 do not.
      const half = () => randomBytes(100_000).toString("hex")
      yield* wait(() => raw.rpc(PutItem, { key: "a", value: half() }))
      raw.send("rpc", { jsonrpc: "2.0", id: "lost", method: PutItem, params: { key: "b", value: [half(), half()] } })
      raw.send("rpc", { jsonrpc: "2.0", id: "next", method: Put, params: { metadata: {} } })
      assert.deepStrictEqual((yield* wait(() => raw.response("next"))).result, {})
      assert.isFalse(raw.received.some(({ message }) => message.id === "lost"))
    }))

  for (const label of ["signaling", "notify", "push", "stats"]) {
    it.effect(`garbage on ${label} ends the connection and leaves the others alone`, () =>
      Effect.gen(function*() {
        const { connections, url } = yield* SoraServer.SoraServer
        const channelId = `violation-${label}`
        const garbage: ReadonlyArray<unknown> = label === "signaling"
          ? ["not json", { type: "stats", reports: [] }, Buffer.from([0x78, 0x9c, 7, 7]), { type: "nonsense" }]
          : [{ type: label === "stats" ? "disconnect" : label }]
        for (const message of garbage) {
          const raw = yield* joined(url, channelId)
          raw.send(label, message)
          assert.deepStrictEqual(yield* wait(() => raw.closed), { code: 4490, reason: "INTERNAL-ERROR" })
          yield* wait(() => raw.channelsClosed())
        }
        assert.isFalse((yield* connections).some((it) => it.channelId === channelId))
      }))
  }

  it.effect("application channels are relayed in the directions that were asked for", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.SoraServer
      const chatting = (direction: string, more: object = {}) => ({
        connect: { audio: false, video: false, data_channels: [{ label: "#chat", direction, ...more }] }
      })
      const header = [{ type: "sender_connection_id" }]
      const [talking, hearing, headed, deaf] = yield* Effect.all([
        joined(url, "chat", chatting("sendrecv", { compress: true })),
        joined(url, "chat", chatting("recvonly", { ordered: false, max_retransmits: 3 })),
        joined(url, "chat", chatting("sendrecv", { header, compress: true })),
        joined(url, "chat", chatting("sendonly"))
      ], { concurrency: 2 })
      const chat = headed.offer.data_channels.find((it: any) => it.label === "#chat")
      assert.deepStrictEqual(chat, { label: "#chat", direction: "sendrecv", compress: true, header })
      const receives = (raw: RawClient) => raw.take("a message", ({ via }) => via === "#chat")
      hearing.send("#chat", Buffer.from("must not arrive"))
      talking.send("#chat", Buffer.from("not zlib, dropped"))
      talking.send("#chat", deflateSync("hello"))
      assert.strictEqual((yield* wait(() => receives(hearing))).message.toString(), "hello")
      const { message } = yield* wait(() => receives(headed))
      assert.strictEqual(inflated(message), `${idOf(talking)}hello`)
      deaf.send("#chat", "text is taken too")
      assert.strictEqual((yield* wait(() => receives(hearing))).message.toString(), "text is taken too")
      assert.strictEqual(inflated((yield* wait(() => receives(talking))).message), "text is taken too")
      assert.isFalse(
        [talking, deaf].some((it) => it.received.some(({ message }) => String(message).includes("must not")))
      )
    }))
})

describe("metadata", () => {
  const authenticate = () =>
    Effect.succeed({ signalingNotifyMetadata: { team: 1 }, signalingNotifyMetadataExt: { mood: "free" } })
  const connect = { signaling_notify_metadata: { nickname: "Mika" } }
  /** What one who comes later is told of one who is there, when that one joins and when it leaves. */
  const told = Effect.fnUntraced(function*(url: string, about: RawClient) {
    const late = yield* joined(url, "meta")
    const { message } = yield* wait(() => late.event("connection.created"))
    const member = message.data.find((it: any) => it.connection_id === idOf(about))
    about.send("signaling", { type: "disconnect", reason: "NO-ERROR" })
    const destroyed = yield* wait(() => late.event("connection.destroyed"))
    return [member, destroyed.message].map(({ authn_metadata, authz_metadata, metadata }) => ({
      authn_metadata,
      authz_metadata,
      metadata
    }))
  })
  const asConnected = { authn_metadata: { nickname: "Mika" }, authz_metadata: { team: 1 } }

  it.live("of the extension begins with what was granted, is what RPC changes, and is nobody else's", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ authenticate })
      const raw = yield* joined(server.url, "meta", { connect })
      const { message } = yield* wait(() => raw.event("connection.created"))
      assert.deepInclude(message, { ...asConnected, metadata: { mood: "free" } })
      assert.deepStrictEqual((yield* server.connections)[0]?.metadata, { mood: "free" })
      // The item is added to what was granted.
      const { result } = yield* wait(() => raw.rpc(PutItem, { key: "place", value: "here" }))
      assert.deepStrictEqual(result, { mood: "free", place: "here" })
      const now = { ...asConnected, metadata: { mood: "free", place: "here" } }
      assert.deepStrictEqual(yield* told(server.url, raw), [now, now])
    }))

  it.live("of the extension is not there before anybody put it there", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const raw = yield* joined(server.url, "meta", { connect })
      const { message } = yield* wait(() => raw.event("connection.created"))
      assert.deepStrictEqual(message.authn_metadata, { nickname: "Mika" })
      assert.doesNotHaveAnyKeys(message, ["authz_metadata", "metadata"])
    }))

  it.live("without the extension is what was granted, else what was sent, and RPC has no methods for it", () =>
    Effect.gen(function*() {
      for (const granted of [true, false]) {
        const server = yield* SoraServer.make({
          signalingNotifyMetadataExt: false,
          ...(granted ? { authenticate } : {})
        })
        const raw = yield* joined(server.url, "meta", { connect })
        assert.deepStrictEqual(raw.offer.rpc_methods, [RequestSimulcast, RequestSpotlight, ResetSpotlight])
        for (const method of [Put, PutItem]) {
          const { error } = yield* wait(() => raw.rpc(method, { metadata: {}, key: "k", value: 1 }))
          assert.deepStrictEqual(error, { code: -32601, message: "UNSUPPORTED-JSON-RPC-METHOD" })
        }
        const now = granted
          ? { ...asConnected, metadata: { team: 1 } }
          : { authn_metadata: { nickname: "Mika" }, authz_metadata: undefined, metadata: { nickname: "Mika" } }
        assert.deepStrictEqual(yield* told(server.url, raw), [now, now])
      }
    }))
})

describe("with options", () => {
  it.live("without compression every frame is text", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ compress: false, switchOrder: "before-open" })
      const raw = yield* joined(server.url, "text")
      assert.isFalse(raw.offer.data_channels.some((it: any) => it.compress))
      yield* wait(() => raw.rpc(Put, { metadata: {}, push: true }))
      yield* wait(() => raw.type("push", "push"))
      const frames = raw.received.filter(({ via }) => via !== "ws").map(({ frame }) => frame)
      assert.deepStrictEqual(frames, ["text", "text"])
    }))

  it.live("without rpc there is no label, and nothing is granted", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({ rpc: false })
      const raw = yield* joined(url, "norpc")
      assert.isFalse(raw.channels.has("rpc"))
      assert.notProperty(raw.offer, "rpc_methods")
    }))

  it.live("a grant of no method: the label is there, the methods are not", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({ authenticate: () => Effect.succeed({ rpcMethods: [] }) })
      const raw = yield* joined(url, "nothing")
      assert.isTrue(raw.channels.has("rpc"))
      assert.notProperty(raw.offer, "rpc_methods")
      const { error } = yield* wait(() => raw.rpc(Put, { metadata: 1 }))
      assert.deepStrictEqual(error, { code: -32601, message: "UNSUPPORTED-JSON-RPC-METHOD" })
    }))

  it.live("unprefixed names, and the item as the result, where asked for", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({
        acceptUnprefixedMethods: true,
        itemResult: "item",
        authenticate: () => Effect.succeed({ rpcMethods: [PutItem] })
      })
      const raw = yield* joined(url, "names")
      const item = yield* wait(() => raw.rpc("PutSignalingNotifyMetadataItem", { key: "k", value: 1 }))
      assert.deepStrictEqual(item.result, { key: "k", value: 1 })
      assert.strictEqual((yield* wait(() => raw.rpc("PutSignalingNotifyMetadata", { metadata: 1 }))).error.code, -32601)
    }))

  it.live("your own methods, with services, errors and mistakes; one may replace a known method", () =>
    Effect.gen(function*() {
      const Twice = SoraMethod.make("Twice", {
        version: "2027.1.0",
        params: Schema.Struct({ n: Schema.Int }),
        result: Schema.Struct({ twice: Schema.Int })
      })
      const called = yield* Deferred.make<SoraMethod.Caller>()
      const server = yield* SoraServer.make({
        handlers: [
          SoraMethod.handle(Twice, ({ n }, caller) =>
            n < 0
              ? Effect.fail(new ServerError({ code: 7, message: "NEGATIVE", data: n }))
              : n === 0
              ? Effect.die("a mistake")
              : Effect.as(Deferred.succeed(called, caller), { twice: 2 * n })),
          SoraMethod.handle(
            SoraMethod.ResetSpotlightRid,
            () => Effect.succeed({ channelId: "mine", recvConnectionId: "mine" })
          )
        ]
      })
      const raw = yield* joined(server.url, "own", { connect: { client_id: "me" } })
      assert.strictEqual(raw.offer.rpc_methods.length, 6)
      const twice = (n: number) => wait(() => raw.rpc("2027.1.0/Twice", { n }))
      assert.deepStrictEqual((yield* twice(4)).result, { twice: 8 })
      const caller = yield* Deferred.await(called)
      assert.deepInclude(caller, { connectionId: idOf(raw), clientId: "me", channelId: "own" })
      assert.deepStrictEqual((yield* twice(-1)).error, { code: 7, message: "NEGATIVE", data: -1 })
      assert.strictEqual((yield* twice(0)).error.code, -32603)
      assert.strictEqual((yield* wait(() => raw.rpc(ResetSpotlight))).result.channel_id, "mine")
    }))
})

describe("JWT claims", () => {
  const secret = "s3cret"

  it.live("are the grant", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({
        authenticate: SoraAuth.jwtClaims({ secret: Redacted.make(secret) })
      })
      const access_token = jwt({
        channel_id: "tokens",
        exp: (yield* Clock.currentTimeMillis) / 1000 + 60,
        rpc_methods: [RequestSimulcast],
        simulcast: true,
        simulcast_request_rid: "r0",
        simulcast_rpc_rids: ["r1"],
        signaling_notify_metadata_ext: { mood: "free" }
      }, secret)
      const raw = yield* joined(server.url, "tokens", { connect: { metadata: { access_token } } })
      assert.deepStrictEqual(raw.offer.rpc_methods, [RequestSimulcast])
      assert.deepStrictEqual(raw.offer.simulcast_rpc_rids, ["r1"])
      assert.isTrue(raw.offer.simulcast)
      const [connection] = yield* server.connections
      assert.strictEqual(connection?.rid, "r0")
      assert.deepStrictEqual(connection?.metadata, { mood: "free" })
      assert.strictEqual((yield* wait(() => raw.rpc(RequestSimulcast, { rid: "r1" }))).result.rid, "r1")
      const outside = yield* wait(() => raw.rpc(RequestSimulcast, { rid: "r2" }))
      assert.strictEqual(outside.error.code, -32602)
    }))

  it.live("are refused with a reason", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({ authenticate: SoraAuth.jwtClaims({ secret: Redacted.make(secret) }) })
      const refusal = (metadata: unknown) =>
        Effect.scoped(Effect.gen(function*() {
          const raw = yield* client(url)
          yield* wait(() => raw.opened)
          raw.connect("tokens", "sendrecv", { metadata })
          const { code, reason } = yield* wait(() => raw.closed)
          assert.strictEqual(code, 4490)
          return reason
        }))
      const token = (access_token: unknown) => refusal({ access_token })
      assert.strictEqual(yield* refusal("text"), "NO-ACCESS-TOKEN")
      assert.strictEqual(yield* token(1), "NO-ACCESS-TOKEN")
      for (const text of ["", "a.b", "a.b.c", `${jwt({}, secret)}.more`, jwt({ rpc_methods: 1 }, secret)]) {
        assert.strictEqual(yield* token(text), "INVALID-ACCESS-TOKEN")
      }
      for (
        const bad of [
          jwt({}, "other"),
          jwt({}, secret, { alg: "none" }),
          `${part({ alg: "HS256" })}.${part({})}.`,
          `${jwt({}, secret)}!!`,
          `${jwt({}, secret)}=`
        ]
      ) {
        assert.strictEqual(yield* token(bad), "INVALID-ACCESS-TOKEN-SIGNATURE")
      }
      assert.strictEqual(yield* token(jwt({ channel_id: "other" }, secret)), "ACCESS-TOKEN-OF-ANOTHER-CHANNEL")
      assert.strictEqual(yield* token(jwt({ exp: 1 }, secret)), "ACCESS-TOKEN-EXPIRED")
    }))

  const grantOf = (access_token: string, options?: { readonly secret: Redacted.Redacted<string> }) =>
    SoraAuth.jwtClaims(options)({ type: "connect", role: "sendrecv", channelId: "any", metadata: { access_token } })
      .pipe(
        Effect.match({ onSuccess: () => "granted", onFailure: ({ reason }) => reason })
      )

  for (const options of [{ secret: Redacted.make(secret) }, undefined]) {
    it.effect(`hold from nbf to exp, by the program's clock, ${options === undefined ? "not verified" : "verified"}`, () =>
      Effect.gen(function*() {
        const token = jwt({ nbf: 100, exp: 200 }, secret)
        assert.strictEqual(yield* grantOf(token, options), "ACCESS-TOKEN-NOT-YET-VALID")
        yield* TestClock.adjust("100 seconds")
        assert.strictEqual(yield* grantOf(token, options), "granted")
        yield* TestClock.adjust("100 seconds")
        assert.strictEqual(yield* grantOf(token, options), "ACCESS-TOKEN-EXPIRED")
      }))

    it.effect(`with a critical header or claims of no use are none, ${options === undefined ? "not verified" : "verified"}`, () =>
      Effect.gen(function*() {
        for (
          const token of [
            jwt({}, secret, { alg: "HS256", crit: ["exp"], exp: 1 }),
            jwt({ nbf: "soon" }, secret),
            jwt({ exp: "never" }, secret),
            jwt({ connection_lifetime: -1 }, secret)
          ]
        ) {
          assert.strictEqual(yield* grantOf(token, options), "INVALID-ACCESS-TOKEN")
        }
      }))
  }

  it.effect("are not needed by whoever has the secret itself", () =>
    Effect.gen(function*() {
      const connect = { type: "connect", role: "sendrecv", channelId: "any" } as const
      const options = { secret: Redacted.make(secret) }
      const grant = yield* SoraAuth.jwtClaims(options)({ ...connect, metadata: { access_token: secret } })
      assert.deepStrictEqual(grant, {})
      assert.strictEqual(yield* grantOf(`${secret} `, options), "INVALID-ACCESS-TOKEN")
      assert.strictEqual(yield* grantOf(secret), "INVALID-ACCESS-TOKEN")
    }))

  it("are not checked with an empty secret", () => {
    assert.throws(() => SoraAuth.jwtClaims({ secret: Redacted.make("") }), /bad options: secret/)
  })

  it.effect("are not verified without a secret", () =>
    Effect.gen(function*() {
      const grant = yield* SoraAuth.jwtClaims()({
        type: "connect",
        role: "sendrecv",
        channelId: "any",
        metadata: { access_token: jwt({ connection_lifetime: 5 }, "unknown") }
      })
      assert.deepStrictEqual(Object.keys(grant), ["connectionLifetime"])
    }))
})
