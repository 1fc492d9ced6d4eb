import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Redacted, Schema, Scope, Stream } from "effect"
import { SoraMethod, SoraRpc } from "effect-sora-rpc"
import { SoraAuth, SoraServer } from "effect-sora-rpc/server"
import { createHmac } from "node:crypto"
import { connect, first, reasonOf, switched } from "../utils/connect.ts"
import * as ScriptedPeer from "../utils/scriptedPeer.ts"
import * as ScriptedSora from "../utils/scriptedSora.ts"

const since = new Date(86_400_000)

describe("the matrix", () => {
  for (const compress of [true, false]) {
    for (const ignoreDisconnectWebsocket of [true, false]) {
      for (const switchOrder of ["before-open", "after-open"] as const) {
        it.live(`compress ${compress}, ignore ${ignoreDisconnectWebsocket}, switched ${switchOrder}`, () =>
          Effect.gen(function*() {
            const server = yield* SoraServer.make({ compress, ignoreDisconnectWebsocket, switchOrder, redirects: 2 })
            const other = yield* connect({ url: server.url, role: "recvonly" })
            const { close, connection, rpc } = yield* connect({ url: server.url, simulcast: true })
            yield* switched(connection)
            assert.deepStrictEqual(
              (yield* connection.offer).dataChannels?.find(({ label }) => label === "rpc")?.compress,
              compress
            )
            yield* rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, {
              key: "k",
              value: "é".repeat(1000),
              push: true
            })
            const { data } = yield* first(other.connection.push, () => true)
            assert.deepInclude(data, { key: "k", connection_id: (yield* connection.offer).connectionId })
            yield* server.reOffer((yield* connection.offer).connectionId)
            const reports = yield* server.requestStats((yield* connection.offer).connectionId)
            assert.isTrue(Array.isArray(reports) && reports.length > 0)
            yield* close
            yield* first(other.connection.notify, (event) => event._tag === "connection.destroyed")
            assert.strictEqual((yield* server.connections).length, 1)
            const sent = yield* connection.signaling.pipe(
              Stream.filter(({ direction }) => direction === "sent"),
              Stream.map(({ message, transport }) => `${message.type} ${transport}`),
              Stream.runCollect
            )
            // Two redirects make three connects, and the goodbye goes where signaling is.
            assert.strictEqual(sent.filter((message) => message === "connect websocket").length, 3)
            assert.strictEqual(sent.at(-1), "disconnect datachannel")
            assert.include(sent, "answer websocket")
            assert.include(sent, "re-answer datachannel")
            assert.include(sent, "stats datachannel")
          }))
      }
    }
  }
})

describe("a connection", () => {
  it.live("has its ids, and the grants of its token", () =>
    Effect.gen(function*() {
      const secret = "hush"
      const claims = {
        channel_id: "test",
        rpc_methods: ["2025.2.0/RequestSimulcastRid"],
        simulcast: true,
        simulcast_rpc_rids: ["r0", "r1"],
        metadata: { plan: "gold" }
      }
      const server = yield* SoraServer.make({ authenticate: SoraAuth.jwtClaims({ secret: Redacted.make(secret) }) })
      const part = (json: unknown) => Buffer.from(JSON.stringify(json)).toString("base64url")
      const body = `${part({ alg: "HS256" })}.${part(claims)}`
      const token = `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`
      const { connection, rpc } = yield* connect({
        url: server.url,
        clientId: "me",
        bundleId: "us",
        metadata: Redacted.make({ access_token: token })
      })
      assert.deepInclude(yield* connection.offer, {
        clientId: "me",
        bundleId: "us",
        channelId: "test",
        version: "2025.2.0"
      })
      assert.deepStrictEqual((yield* connection.offer).metadata, { plan: "gold" })
      assert.match((yield* connection.offer).connectionId, /^[0-9A-Z]{26}$/)
      assert.deepStrictEqual(yield* rpc.methods, claims.rpc_methods)
      assert.strictEqual((yield* rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r0" })).rid, "r0")
      const refused = yield* Effect.flip(rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r2" }))
      assert.isTrue(refused._tag === "RpcError" && refused.code === -32602)

      for (const bad of [`${body}.AAAA`, "x", `${body}`]) {
        const error = yield* Effect.flip(connect({ url: server.url, metadata: { access_token: bad } }))
        assert.isTrue(error.reason._tag === "Refused" && error.reason.code === 4490)
        assert.match(error.message, /INVALID-ACCESS-TOKEN/)
      }
    }))

  it.live("for RPC alone asks for a channel of its own, as Sora wants", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const { connection, rpc } = yield* connect({ url: server.url, role: "sendonly", audio: false, video: false })
      assert.isTrue((yield* connection.offer).dataChannels?.some(({ label }) => label === "#effect-sora-rpc"))
      assert.deepStrictEqual(yield* rpc.call(SoraMethod.PutSignalingNotifyMetadata, { metadata: [1] }), [1])
    }))

  it.live("without an rpc channel is made all the same; calls fail with Unavailable", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ rpc: false })
      const { connection, rpc } = yield* connect({ url: server.url })
      assert.strictEqual(connection.transport.obstacleUnsafe()?._tag, "Unavailable")
      const error = yield* Effect.flip(rpc.call("x"))
      assert.isTrue(error._tag === "RpcError" && error.reason._tag === "Unavailable")
    }))

  it.live("without any grant has an open channel, and the server refuses", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ authenticate: () => Effect.succeed({ rpcMethods: [] }) })
      const { rpc } = yield* connect({ url: server.url, rpc: { checkMethods: false } })
      assert.deepStrictEqual(yield* rpc.methods, [])
      const error = yield* Effect.flip(rpc.call("9999.0.0/not_exist", { key: "value" }))
      assert.isTrue(
        error._tag === "RpcError" && error.code === -32601 && error.message === "UNSUPPORTED-JSON-RPC-METHOD"
      )
    }))

  it.live("answers pings on the WebSocket", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ pingInterval: "20 millis" })
      const { connection } = yield* connect({ url: server.url })
      yield* first(connection.signaling, ({ direction, message }) => direction === "sent" && message.type === "pong")
      const reports = yield* server.requestStats((yield* connection.offer).connectionId)
      assert.isTrue(Array.isArray(reports))
    }))

  it.live("takes an offer with audio and video, and sections added by a re-offer", () =>
    Effect.gen(function*() {
      const renegotiated = yield* Deferred.make<string>()
      const labels = ["signaling", "notify", "push", "stats", "rpc"]
      const { channels, url } = yield* ScriptedPeer.make(
        { sections: ["audio", "video"], labels },
        ({ answered, close, offer, peer, send, take }) =>
          Effect.gen(function*() {
            // Somebody joined: another section.
            peer.addTransceiver("video", { direction: "sendonly" })
            send({ type: "re-offer", sdp: yield* offer })
            const { sdp } = yield* take
            yield* answered(sdp)
            yield* Deferred.succeed(renegotiated, sdp)
            assert.strictEqual((yield* take).type, "disconnect")
            close(1000, "TYPE-DISCONNECT")
          })
      )
      channels.at(-1)!.onMessage.subscribe((frame) => {
        const { id } = JSON.parse(String(frame))
        channels.at(-1)!.send(JSON.stringify({ jsonrpc: "2.0", id, result: "ok" }))
      })
      const { connection, rpc } = yield* connect({ url, role: "recvonly" })
      const sdp = yield* Deferred.await(renegotiated)
      assert.deepStrictEqual(sdp.match(/^m=\w+/gm), ["m=audio", "m=video", "m=application", "m=video"])
      assert.strictEqual(yield* rpc.call("m"), "ok")
      assert.strictEqual((yield* connection.state)._tag, "Connected")
    }))

  it.live("is made when the application's own channels are open too", () =>
    Effect.gen(function*() {
      const { url } = yield* ScriptedPeer.make(
        { sections: [], labels: ["signaling", "rpc"], offered: ["signaling", "rpc", "#chat"] },
        ({ close, peer, take }) =>
          Effect.gen(function*() {
            // The others are open already.
            peer.createDataChannel("#chat")
            yield* take
            close(1000, "TYPE-DISCONNECT")
          })
      )
      const { connection } = yield* connect({
        url,
        dataChannels: [{ label: "#chat", direction: "sendrecv" }],
        // The script does not close its channels.
        disconnectTimeout: "100 millis"
      })
      const chat = yield* connection.messaging("#chat")
      yield* chat.send("it is open")
    }))

  it.live("says why the server ended it, also when the channels close before the WebSocket", () =>
    Effect.gen(function*() {
      const { url } = yield* ScriptedPeer.make(
        { sections: [], labels: ["signaling", "rpc"] },
        ({ channels, close }) =>
          Effect.gen(function*() {
            for (const channel of channels) channel.close()
            // The client has closed its side by then.
            yield* Effect.forEach(channels, ScriptedPeer.whenClosed, { discard: true })
            close(1000, "DISCONNECTED-API")
          })
      )
      const { connection } = yield* connect({ url, reconnect: true })
      // Somebody meant it: it does not come back.
      const reason = yield* reasonOf(connection)
      assert.deepInclude(reason, { _tag: "ServerClosed", code: 1000, reason: "DISCONNECTED-API" })
    }))

  it.live("outlives pings that come while its WebSocket goes", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ pingInterval: "1 millis", ignoreDisconnectWebsocket: true })
      const clients = yield* Effect.forEach([1, 2, 3, 4], () => connect({ url: server.url }), { concurrency: 4 })
      for (const { connection, rpc } of clients) {
        yield* switched(connection)
        yield* rpc.call(SoraMethod.PutSignalingNotifyMetadata, { metadata: 1 })
        assert.strictEqual((yield* connection.state)._tag, "Connected")
      }
    }))

  it.live("sees who joins, with their metadata, and simulcast.switched of its own", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const sender = yield* connect({
        url: server.url,
        simulcast: true,
        signalingNotifyMetadata: { nickname: "Stage" }
      })
      yield* sender.rpc.call(SoraMethod.PutSignalingNotifyMetadata, { metadata: { mood: "busy" } })
      const viewer = yield* connect({ url: server.url, role: "recvonly", simulcast: true, simulcastRequestRid: "r2" })
      const created = yield* first(viewer.connection.notify, (event) => event._tag === "connection.created")
      assert.isTrue(created._tag === "connection.created" && created.channelConnections === 2)
      assert.deepInclude(created._tag === "connection.created" ? created.data?.[0] : {}, {
        connectionId: (yield* sender.connection.offer).connectionId,
        authnMetadata: { nickname: "Stage" },
        metadata: { mood: "busy" }
      })
      yield* viewer.rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r1" })
      const seen = yield* first(viewer.connection.notify, (event) => event._tag === "simulcast.switched")
      assert.deepInclude(seen, {
        senderConnectionId: (yield* sender.connection.offer).connectionId,
        trigger: "receiver",
        priority: "lower",
        currentRid: "r1",
        previousRid: "r2",
        rpcRids: ["none", "r0", "r1", "r2"]
      })
    }))

  it.live("spotlight rids are set and reset", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const { rpc } = yield* connect({ url: server.url, spotlight: true, spotlightFocusRid: "r1" })
      const rids = Effect.map(server.connections, ([own]) => [own!.spotlightFocusRid, own!.spotlightUnfocusRid])
      yield* rpc.call(SoraMethod.RequestSpotlightRid, { spotlightFocusRid: "r2", spotlightUnfocusRid: "none" })
      assert.deepStrictEqual(yield* rids, ["r2", "none"])
      yield* rpc.call(SoraMethod.ResetSpotlightRid)
      assert.deepStrictEqual(yield* rids, ["r1", "r0"])
    }))
})

describe("the server ends it", () => {
  for (const closeMessage of [true, false]) {
    it.live(`by its API, close message ${closeMessage}`, () =>
      Effect.gen(function*() {
        const server = yield* SoraServer.make({ closeMessage })
        const { connection, rpc } = yield* connect({ url: server.url })
        yield* switched(connection)
        assert.strictEqual(yield* server.disconnect({ channelId: "test" }), 1)
        const reason = yield* reasonOf(connection)
        assert.deepInclude(reason, { _tag: "ServerClosed", code: 1000, reason: "DISCONNECTED-API" })
        const error = yield* Effect.flip(rpc.call("x"))
        assert.isTrue(error._tag === "Disconnected" && error.reason === reason)
        // The streams end with the connection.
        yield* Stream.runDrain(connection.notify)
      }))
  }

  it.live("by a close message, which is not answered, and everything is closed at once", () =>
    Effect.gen(function*() {
      const isSwitched = yield* Deferred.make<void>()
      const { channels, url } = yield* ScriptedPeer.make(
        { sections: [], labels: ["signaling", "rpc"] },
        ({ channels, send }) =>
          Effect.gen(function*() {
            send({ type: "switched", ignore_disconnect_websocket: false })
            yield* Deferred.await(isSwitched)
            channels[0]!.send(JSON.stringify({ type: "close", code: 1000, reason: "DISCONNECTED-API" }))
            yield* Effect.never
          })
      )
      const answers: Array<string> = []
      channels[0]!.onMessage.subscribe((message) => answers.push(String(message)))
      const { connection } = yield* connect({ url, disconnectTimeout: "1 hour" })
      yield* switched(connection)
      yield* Deferred.succeed(isSwitched, undefined)
      assert.deepInclude(yield* reasonOf(connection), { _tag: "ServerClosed", code: 1000, reason: "DISCONNECTED-API" })
      // This server closes nothing.
      yield* Effect.forEach(channels, ScriptedPeer.whenClosed)
      assert.deepStrictEqual(answers, [])
    }))

  it.live("after its lifetime, without a WebSocket by then", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({
        closeMessage: true,
        authenticate: () => Effect.succeed({ connectionLifetime: "600 millis" })
      })
      const { connection } = yield* connect({ url: server.url, ignoreDisconnectWebsocket: true })
      assert.deepInclude(yield* reasonOf(connection), { code: 1000, reason: "LIFETIME-EXPIRED" })
    }))

  it.live("by stopping", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const server = yield* SoraServer.make().pipe(Scope.provide(scope))
      const { connection } = yield* connect({ url: server.url })
      yield* Scope.close(scope, Exit.void)
      assert.deepInclude(yield* reasonOf(connection), { _tag: "ServerClosed", code: 1001 })
    }))
})

describe("no connection", () => {
  const failure = (options: Parameters<typeof connect>[0]) =>
    Effect.map(Effect.flip(connect(options)), (error) => {
      assert.notInclude(Cause.pretty(Cause.fail(error)), "s3cret")
      return error
    })

  it.live("bad options are refused before dialling", () =>
    Effect.gen(function*() {
      const metadata = { token: "s3cret" }
      for (
        const bad of [
          { url: "https://127.0.0.1/signaling" },
          { url: "nonsense s3cret" },
          { url: "ws://127.0.0.1:1", channelId: "" },
          { url: "ws://127.0.0.1:1", signalingUrls: [] },
          { url: "ws://127.0.0.1:1", role: "sender" as "sendonly" },
          { url: "ws://127.0.0.1:1", simulcastRequestRid: "r9" as "r0" }
        ]
      ) {
        const error = yield* failure({ metadata, ...bad })
        assert.strictEqual(error.reason._tag, "InvalidOptions")
      }
    }))

  it.live("unreachable URLs are all named, without their query", () =>
    Effect.gen(function*() {
      const error = yield* failure({
        url: "",
        signalingUrls: ["ws://127.0.0.1:1/signaling?token=s3cret", "ws://user:s3cret@127.0.0.1:2/other"]
      })
      assert.strictEqual(error.reason._tag, "Unreachable")
      assert.match(error.message, /127\.0\.0\.1:1\/signaling .*ECONNREFUSED.*127\.0\.0\.1:2\/other/)
    }))

  it.live("the second URL is taken when the first is dead", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const { connection } = yield* connect({ url: "", signalingUrls: ["ws://127.0.0.1:1/signaling", server.url] })
      assert.isString((yield* connection.offer).connectionId)
    }))

  it.live("a refusal has the server's code and reason", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({
        authenticate: () => Effect.fail(new SoraAuth.Refusal({ reason: "NOT-YOU" }))
      })
      const error = yield* failure({ url: server.url, metadata: "s3cret" })
      assert.isTrue(error.reason._tag === "Refused" && error.reason.code === 4490 && error.reason.reason === "NOT-YOU")
      const impossible = yield* failure({ url: server.url, spotlightFocusRid: "r0" })
      assert.match(impossible.message, /4490 INVALID-MESSAGE: it does not accept this connect/)
    }))

  const offer = { type: "offer", sdp: "v=0\r\n", connection_id: "C" }
  const scripts: Record<string, { readonly send: ReadonlyArray<unknown>; readonly message: RegExp }> = {
    "not JSON": { send: ["s3cret{"], message: /not JSON/ },
    "no object": { send: ["[]"], message: /JSON object/ },
    "an offer without sdp": {
      send: [{ ...offer, sdp: undefined, metadata: "s3cret" }],
      message: /bad "offer".*\n?.*sdp/
    },
    "an offer with a wrong member": { send: [{ ...offer, rpc_methods: "s3cret" }], message: /rpc_methods/ },
    "an offer without an application section": { send: [offer], message: /m=application/ },
    "an offer with garbage": {
      send: [{ ...offer, sdp: "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\ns3cret" }],
      message: /failed|no connection within/
    }
  }
  for (const [name, { message, send }] of Object.entries(scripts)) {
    it.live(`${name}: one clear error, nothing left open`, () =>
      Effect.gen(function*() {
        const sora = yield* ScriptedSora.make((peer) =>
          Effect.map(peer.take, () => {
            for (const text of send) peer.send(text)
          })
        )
        const error = yield* failure({ url: sora.url, connectTimeout: "1 second" })
        assert.match(error.message, message)
        assert.strictEqual(sora.open(), 0)
      }))
  }

  it.live("a server that says nothing: a timeout that names the step", () =>
    Effect.gen(function*() {
      const sora = yield* ScriptedSora.make(() => Effect.void)
      const error = yield* failure({ url: sora.url, connectTimeout: "100 millis" })
      assert.match(error.message, /no connection within 100ms: still waiting for the server's offer/)
      assert.strictEqual(sora.open(), 0)
    }))

  it.live("a server that vanishes", () =>
    Effect.gen(function*() {
      const sora = yield* ScriptedSora.make((peer) => Effect.map(peer.take, peer.terminate))
      const error = yield* failure({ url: sora.url })
      assert.isTrue(error.reason._tag === "ConnectionLost" && error.reason.reason._tag === "SocketLost")
    }))

  it.live("redirects without end", () =>
    Effect.gen(function*() {
      const sora: { url: string; open: () => number } = yield* ScriptedSora.make((peer) =>
        Effect.map(peer.take, () => peer.send({ type: "redirect", location: sora.url }))
      )
      assert.strictEqual((yield* failure({ url: sora.url })).reason._tag, "TooManyRedirects")
      assert.strictEqual(sora.open(), 0)
      const bad = yield* ScriptedSora.make((peer) =>
        Effect.map(peer.take, () => peer.send({ type: "redirect", location: "s3cret nonsense" }))
      )
      assert.match((yield* failure({ url: bad.url })).message, /bad "redirect": its location is no ws:/)
    }))
})

describe("layers", () => {
  it.live("one program, two connections", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const a = yield* connect({ url: server.url })
      const b = yield* connect({ url: server.url })
      assert.notStrictEqual((yield* a.connection.offer).connectionId, (yield* b.connection.offer).connectionId)
      assert.strictEqual((yield* a.connection.offer).sessionId, (yield* b.connection.offer).sessionId)
      yield* SoraRpc.putSignalingNotifyMetadata({ metadata: null }).pipe(Effect.provideService(SoraRpc.SoraRpc, a.rpc))
    }))

  it.live("own methods with schemas, both ways", () =>
    Effect.gen(function*() {
      const GetRoomInfo = SoraMethod.make("GetRoomInfo", {
        version: "2027.1.0",
        params: Schema.Struct({ since: Schema.Date }),
        result: Schema.Struct({ since: Schema.Date, members: Schema.Int })
      })
      const server = yield* SoraServer.make({
        handlers: [SoraMethod.handle(GetRoomInfo, ({ since }) => Effect.succeed({ since, members: 3 }))]
      })
      const { rpc } = yield* connect({ url: server.url })
      assert.deepStrictEqual(yield* rpc.call(GetRoomInfo, { since }), { since, members: 3 })
    }))
})
