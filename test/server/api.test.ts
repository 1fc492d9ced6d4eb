import { assert, describe, it, vi } from "@effect/vitest"
import { SoraMethod } from "effect-sora-rpc"
import { SoraAuth, SoraServer } from "effect-sora-rpc/server"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { request } from "node:http"
import { connect } from "node:net"
import { ServerError } from "../../src/SoraRpcError.ts"
import { client, joined, type Message, type RawClient } from "./rawClient.ts"

// More than the client's patience, which tells what it waited for.
vi.setConfig({ testTimeout: 20_000 })

const wait = <A>(promise: () => Promise<A>) => Effect.promise(promise)

const idOf = (raw: RawClient): string => raw.offer.connection_id

/** What a backend sees of an answer. */
const post = (url: string, target: string | undefined, body?: unknown, headers: Record<string, string> = {}) =>
  wait(async () => {
    const response = await fetch(url, {
      method: "POST",
      headers: { ...(target === undefined ? {} : { "x-sora-target": target }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) })
    })
    const text = await response.text()
    return { status: response.status, body: JSON.parse(text), headers: response.headers }
  })

const make = Effect.fnUntraced(function*(options: SoraServer.Options = {}) {
  const server = yield* SoraServer.make({ apiPort: 0, ...options })
  const call = (target: string | undefined, body?: unknown, headers?: Record<string, string>) =>
    post(server.apiUrl!, target, body, headers)
  /** The body of an answer that says yes. */
  const ok = (target: string, body?: unknown) =>
    Effect.map(call(target, body), ({ body, status }) => {
      assert.strictEqual(status, 200, JSON.stringify(body))
      return body
    })
  return { server, call, ok }
})

describe("the HTTP API", () => {
  it.live("is there only when it is asked for", () =>
    Effect.gen(function*() {
      assert.isUndefined((yield* SoraServer.make()).apiUrl)
      const { server } = yield* make({ host: "0.0.0.0" })
      assert.match(server.apiUrl!, /^http:\/\/127\.0\.0\.1:\d+\/$/)
      const taken = Number(new URL(server.apiUrl!).port)
      const error = yield* Effect.flip(SoraServer.make({ apiPort: taken }))
      assert.include(error.message, `cannot listen on 127.0.0.1:${taken}`)
    }))

  it.live("ends connections: one, those of a client, those of a role, all of a channel", () =>
    Effect.gen(function*() {
      const { ok, server } = yield* make({ closeMessage: true })
      const channel_id = "ends"
      const end = Effect.fnUntraced(function*(target: string, body: Record<string, unknown>, gone: Array<RawClient>) {
        const reason = { type: "normal" }
        assert.deepStrictEqual(yield* ok(target, { channel_id, ...body, reason }), { channel_id, ...body })
        for (const raw of gone) {
          assert.deepStrictEqual(yield* wait(() => raw.closed), { code: 1000, reason: "DISCONNECTED-API" })
          assert.deepStrictEqual(yield* wait(() => raw.type("close", "signaling")), {
            type: "close",
            code: 1000,
            reason: "DISCONNECTED-API"
          })
        }
      })
      const add = (connect: Record<string, unknown>, role = "sendonly") =>
        joined(server.url, channel_id, { role, connect })
      const [a, b, c, d, e] = yield* Effect.all([
        add({ client_id: "one" }),
        add({ client_id: "two" }),
        add({ client_id: "two" }),
        add({}, "recvonly"),
        add({})
      ], { concurrency: "unbounded" })
      const elsewhere = yield* joined(server.url, "elsewhere", { connect: { client_id: "two" } })
      yield* end("Sora_20151104.DisconnectConnection", { connection_id: idOf(a) }, [a])
      yield* end("Sora_20151104.DisconnectClient", { client_id: "two" }, [b, c])
      yield* end("Sora_20201120.DisconnectChannelByRole", { role: "recvonly" }, [d])
      yield* end("Sora_20151104.DisconnectChannel", {}, [e])
      assert.strictEqual(elsewhere.socket.readyState, WebSocket.OPEN)
    }))

  it.live("pushes to one, to those of a client, to those of a role, to all of a channel", () =>
    Effect.gen(function*() {
      const { ok, server } = yield* make()
      const channel_id = "pushes"
      const [a, b, other] = yield* Effect.all([
        joined(server.url, channel_id, { connect: { client_id: "one" } }),
        joined(server.url, channel_id, { role: "recvonly", connect: { client_id: "two" } }),
        joined(server.url, "other", { connect: { client_id: "one" } })
      ], { concurrency: "unbounded" })
      const pushes: ReadonlyArray<readonly [string, Record<string, unknown>, ReadonlyArray<RawClient>]> = [
        ["Sora_20160711.PushConnection", { connection_id: idOf(b) }, [b]],
        ["Sora_20160711.PushClient", { client_id: "one" }, [a]],
        ["Sora_20201120.PushChannelByRole", { role: "recvonly" }, [b]],
        ["Sora_20160711.PushChannel", {}, [a, b]]
      ]
      for (const [target, body, receivers] of pushes) {
        const data = { by: target }
        assert.deepStrictEqual(yield* ok(target, { channel_id, ...body, data }), { type: "push", data })
        for (const raw of receivers) {
          assert.deepStrictEqual(yield* wait(() => raw.type("push", "push")), { type: "push", data })
        }
      }
      // The last one was for all of the channel: whatever else was to come had come by then.
      const count = (raw: RawClient) => raw.received.filter(({ message }) => message.type === "push").length
      assert.deepStrictEqual([a, b, other].map(count), [2, 3, 0])
    }))

  it.live("lists channels, connections and metadata", () =>
    Effect.gen(function*() {
      const { ok, server } = yield* make()
      assert.deepStrictEqual(yield* ok("Sora_20201013.ListChannels"), [])
      const raw = yield* joined(server.url, "one", { role: "recvonly", connect: { client_id: "viewer", audio: false } })
      const other = yield* joined(server.url, "two", { connect: { spotlight: true, simulcast: true } })
      assert.sameDeepMembers(yield* ok("Sora_20201013.ListChannels", {}), [
        { channel_id: "one", multistream: true, spotlight: false },
        { channel_id: "two", multistream: true, spotlight: true }
      ])
      const viewer = {
        channel_id: "one",
        session_id: raw.offer.session_id,
        client_id: "viewer",
        bundle_id: idOf(raw),
        connection_id: idOf(raw),
        role: "recvonly",
        audio: false,
        video: true,
        simulcast: false,
        spotlight: false
      }
      assert.deepStrictEqual(yield* ok("Sora_20201013.ListChannelConnections", { channel_id: "one" }), [viewer])
      assert.deepStrictEqual(yield* ok("Sora_20201013.ListChannelConnections", { channel_id: "three" }), [])
      const all = yield* ok("Sora_20201013.ListConnections", { local: true })
      assert.sameMembers(all.map(({ connection_id }: Message) => connection_id), [idOf(raw), idOf(other)])
      const ids = { client_id: "viewer", bundle_id: idOf(raw), connection_id: idOf(raw) }
      const metadata = () => ok("Sora_20201124.ListSignalingNotifyMetadata", { channel_id: "one" })
      assert.deepStrictEqual(yield* metadata(), [ids])
      yield* wait(() => raw.rpc("2025.2.0/PutSignalingNotifyMetadata", { metadata: { mood: "busy" } }))
      assert.deepStrictEqual(yield* metadata(), [{ ...ids, metadata: { mood: "busy" } }])
    }))

  it.live("has the five methods of RPC, for a connection that is named", () =>
    Effect.gen(function*() {
      const { call, ok, server } = yield* make({
        authenticate: () => Effect.succeed({ simulcastRpcRids: ["r0"], rpcMethods: [] })
      })
      const channel_id = "methods"
      const sender = yield* joined(server.url, channel_id, { role: "sendonly", connect: { simulcast: true } })
      const raw = yield* joined(server.url, channel_id, {
        role: "recvonly",
        connect: { simulcast: true, spotlight: true, simulcast_request_rid: "r2" }
      })
      const own = idOf(raw)
      for (const [date, rid] of [["20251210", "r1"], ["20251217", "r0"]] as const) {
        const params = { channel_id, receiver_connection_id: own, sender_connection_id: idOf(sender), rid }
        // A backend may ask for what the connection itself may not.
        assert.deepStrictEqual(yield* ok(`Sora_${date}.RequestSimulcastRid`, params), params)
        const { message } = yield* wait(() => raw.event("simulcast.switched"))
        assert.strictEqual(message.current_rid, rid)
      }
      const rids = { spotlight_focus_rid: "r2", spotlight_unfocus_rid: "none" }
      const named = { channel_id, recv_connection_id: own }
      assert.deepStrictEqual(yield* ok("Sora_20211215.RequestSpotlightRid", { ...named, ...rids }), {
        ...named,
        ...rids
      })
      const view = () => Effect.map(server.connections, (all) => all.find(({ connectionId }) => connectionId === own)!)
      assert.strictEqual((yield* view()).spotlightUnfocusRid, "none")
      assert.deepStrictEqual(yield* ok("Sora_20211215.ResetSpotlightRid", named), named)
      assert.strictEqual((yield* view()).spotlightUnfocusRid, "r0")
      const ids = { channel_id, connection_id: own }
      const put = { ...ids, metadata: { a: 1 }, push: true }
      assert.deepStrictEqual(yield* ok("Sora_20201124.PutSignalingNotifyMetadata", put), { a: 1 })
      assert.deepStrictEqual((yield* wait(() => sender.type("push", "push"))).data, {
        action: "PutMetadata",
        connection_id: own,
        metadata: { a: 1 },
        type: "signaling_notify_metadata_ext"
      })
      const item = { ...ids, key: "b", value: 2 }
      assert.deepStrictEqual(yield* ok("Sora_20201124.PutSignalingNotifyMetadataItem", item), { a: 1, b: 2 })
      assert.deepStrictEqual((yield* view()).metadata, { a: 1, b: 2 })

      const unknown = yield* call("Sora_20201124.PutSignalingNotifyMetadataItem", { ...item, colour: "red" })
      assert.deepStrictEqual([unknown.status, unknown.body], [400, {
        error: "JSON-RPC-INVALID-PARAMS",
        code: -32602,
        data: { "UNKNOWN-KEYS": ["colour"] }
      }])
      const elsewhere = yield* call("Sora_20211215.ResetSpotlightRid", { ...named, channel_id: "other" })
      assert.deepStrictEqual([elsewhere.status, elsewhere.body], [404, {
        error: `there is no connection with channelId other and connectionId ${own}`
      }])
      const unnamed = yield* call("Sora_20211215.ResetSpotlightRid", { channel_id })
      assert.strictEqual(unnamed.status, 400)
      assert.include(unnamed.body.error, "recv_connection_id")
    }))

  it.live("has the program's own methods in the place of known ones, with their errors and mistakes", () =>
    Effect.gen(function*() {
      const { call, server } = yield* make({
        handlers: [
          SoraMethod.handle(
            SoraMethod.ResetSpotlightRid,
            () => Effect.fail(new ServerError({ code: 7, message: "no", data: [1] }))
          ),
          SoraMethod.handle(SoraMethod.PutSignalingNotifyMetadata, () => Effect.die("a mistake"))
        ]
      })
      const raw = yield* joined(server.url, "own")
      const refused = yield* call("Sora_20211215.ResetSpotlightRid", {
        channel_id: "own",
        recv_connection_id: idOf(raw)
      })
      assert.deepStrictEqual([refused.status, refused.body], [400, { error: "no", code: 7, data: [1] }])
      const died = yield* call("Sora_20201124.PutSignalingNotifyMetadata", {
        channel_id: "own",
        connection_id: idOf(raw),
        metadata: 1
      })
      assert.strictEqual(died.status, 500)
    }).pipe(Effect.provide(Logger.layer([]))))

  it.live("says what is wrong with a request", () =>
    Effect.gen(function*() {
      const { call, server } = yield* make()
      const bad: ReadonlyArray<readonly [string | undefined, unknown, number, string]> = [
        [undefined, {}, 400, "x-sora-target"],
        ["Sora_20990101.PushChannel", {}, 400, "but Sora_20160711.PushChannel"],
        ["constructor", {}, 400, "there is no \"constructor\""],
        ["Sora_20160711.PushChannel", "{", 400, "no JSON"],
        ["Sora_20160711.PushChannel", [], 400, "Expected"],
        ["Sora_20160711.PushChannel", { channel_id: "c", data: "text" }, 400, "data"],
        ["Sora_20160711.PushChannel", { channel_id: "c", data: {}, colour: "red" }, 400, "colour"],
        ["Sora_20160711.PushChannel", { channel_id: "c", data: {} }, 404, "there is no connection with channelId c"],
        ["Sora_20160711.PushChannel", " ".repeat(1_048_577), 413, "1048576"],
        ["Sora_20151104.DisconnectConnection", { channel_id: "c", connection_id: "x" }, 404, "connectionId x"]
      ]
      for (const [target, body, status, text] of bad) {
        const answer = yield* call(target, body)
        assert.strictEqual(answer.status, status, JSON.stringify(answer.body))
        assert.include(answer.body.error, text)
      }
      const at = (path: string, method: string) =>
        wait(async () => (await fetch(new URL(path, server.apiUrl!), { method })).status)
      assert.deepStrictEqual([yield* at("/elsewhere", "POST"), yield* at("/", "GET")], [404, 405])
    }))

  it.live("is for the pages that may connect, and no other", () =>
    Effect.gen(function*() {
      const { call, server } = yield* make({ allowedOrigins: ["https://app.example"] })
      const list = "Sora_20201013.ListChannels"
      for (const origin of ["https://app.example", "http://localhost:3000"]) {
        const preflight = yield* wait(() => fetch(server.apiUrl!, { method: "OPTIONS", headers: { origin } }))
        assert.strictEqual(preflight.status, 204)
        const answers = [preflight, yield* call(list, {}, { origin }), yield* call("none", {}, { origin })]
        for (const { headers } of answers) {
          assert.strictEqual(headers.get("access-control-allow-origin"), origin)
          assert.include(headers.get("access-control-allow-headers"), "x-sora-target")
        }
      }
      const refused = yield* call(list, {}, { origin: "https://evil.example" })
      assert.strictEqual(refused.status, 403)
      assert.include(refused.body.error, "https://evil.example")
      assert.isNull(refused.headers.get("access-control-allow-origin"))
      // A name that somebody else has made point to this machine.
      const status = yield* wait(() =>
        new Promise((resolve, reject) => {
          const headers = { host: "evil.example", "x-sora-target": list }
          request(server.apiUrl!, { method: "POST", headers }, ({ statusCode }) => resolve(statusCode)).on(
            "error",
            reject
          ).end()
        })
      )
      assert.strictEqual(status, 403)
    }))

  it.live("does not keep the server from stopping", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { apiUrl } = yield* Scope.provide(SoraServer.make({ apiPort: 0 }), scope)
      const { hostname, port } = new URL(apiUrl!)
      const silent = connect(Number(port), hostname)
      yield* wait(() => new Promise((resolve) => silent.once("connect", resolve)))
      // And one that has begun to say something.
      silent.write(
        "POST / HTTP/1.1\r\nhost: 127.0.0.1\r\nx-sora-target: Sora_20201013.ListChannels\r\ncontent-length: 9\r\n\r\n"
      )
      const closed = new Promise((resolve) => silent.once("close", resolve))
      silent.on("error", () => {})
      yield* Effect.timeout(Scope.close(scope, Exit.void), "5 seconds")
      yield* wait(() => closed)
    }))
})

describe("a client that is told to close", () => {
  it.live("need not say goodbye: whether it closes at once, says something, or does nothing", () =>
    Effect.gen(function*() {
      const { ok, server } = yield* make({ closeMessage: true, authenticate: SoraAuth.grantAll })
      const then: ReadonlyArray<(raw: RawClient) => unknown> = [
        // As the official SDK for pages does.
        (raw) => raw.leave(),
        (raw) => raw.send("signaling", { type: "disconnect", reason: "NO-ERROR" }),
        () => {}
      ]
      for (const react of then) {
        const raw = yield* client(server.url, { connect: { data_channel_signaling: true } })
        yield* wait(() => raw.join("told"))
        const watching = yield* joined(server.url, "told")
        yield* ok("Sora_20151104.DisconnectConnection", { channel_id: "told", connection_id: idOf(raw) })
        yield* wait(() => raw.type("close", "signaling"))
        yield* Effect.promise(async () => react(raw))
        const gone = yield* wait(() => watching.event("connection.destroyed", (it) => it.connection_id === idOf(raw)))
        assert.strictEqual(gone.message.channel_connections, 1)
        assert.deepInclude(yield* wait(() => raw.closed), { code: 1000 })
        yield* server.disconnect({ channelId: "told" })
        assert.deepStrictEqual(yield* server.connections, [])
      }
    }))
})
