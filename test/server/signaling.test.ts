import { assert, describe, it, vi } from "@effect/vitest"
import { SoraAuth, SoraServer } from "effect-sora-rpc/server"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { client, joined, type Message, type RawClient } from "./rawClient.ts"

// More than the client's patience, which tells what it waited for.
vi.setConfig({ testTimeout: 20_000 })

const wait = <A>(promise: () => Promise<A>) => Effect.promise(promise)

const isId = (id: string) => /^[0-9A-HJKMNP-TV-Z]{26}$/.test(id)

/** The Close that a first message earns. */
const refused = (url: string, first: unknown) =>
  Effect.scoped(Effect.gen(function*() {
    const raw = yield* client(url)
    yield* wait(() => raw.opened)
    raw.send("ws", first)
    const close = yield* wait(() => raw.closed)
    return { ...close, received: raw.received.length }
  }))

const invalid = { code: 4490, reason: "INVALID-MESSAGE", received: 0 }

const labelsOf = (raw: RawClient) => raw.offer.data_channels.map(({ label }: Message) => label)

describe("connecting", () => {
  it.live("the offer has every member that an SDK requires", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({
        iceServers: [{ urls: "turn:127.0.0.1:3478", username: "u", credential: "c" }]
      })
      assert.match(server.url, /^ws:\/\/127\.0\.0\.1:\d+\/signaling$/)
      const raw = yield* joined(server.url, "offers", {
        connect: { simulcast: true, colour: "unknown members are ignored", video: { codec_type: "VP8" } }
      })
      const { connection_id, data_channels, mid, rpc_methods, sdp, session_id, ...offer } = raw.offer
      assert.isTrue(isId(connection_id) && isId(session_id))
      assert.deepStrictEqual(offer, {
        type: "offer",
        version: "2025.2.0",
        channel_id: "offers",
        client_id: connection_id,
        bundle_id: connection_id,
        config: {
          iceServers: [{ urls: ["turn:127.0.0.1:3478"], username: "u", credential: "c" }],
          iceTransportPolicy: "all"
        },
        simulcast: true,
        simulcast_multicodec: false,
        spotlight: false,
        encodings: [
          { rid: "r0", active: true, maxBitrate: 140_000, scaleResolutionDownBy: 4, scalabilityMode: "L1T1" },
          { rid: "r1", active: true, maxBitrate: 460_000, scaleResolutionDownBy: 2, scalabilityMode: "L1T1" },
          { rid: "r2", active: true, maxBitrate: 1_400_000, scaleResolutionDownBy: 1, scalabilityMode: "L1T1" }
        ],
        audio: true,
        audio_codec_type: "OPUS",
        video: true,
        video_codec_type: "VP8",
        data_channel_signaling: true,
        ignore_disconnect_websocket: false
      })
      assert.deepStrictEqual(data_channels, [
        { label: "signaling", direction: "sendrecv", compress: true },
        { label: "notify", direction: "recvonly", compress: true },
        { label: "push", direction: "recvonly", compress: true },
        { label: "stats", direction: "sendrecv", compress: true },
        { label: "rpc", direction: "sendrecv", compress: true }
      ])
      assert.deepStrictEqual(rpc_methods, [
        "2025.2.0/RequestSimulcastRid",
        "2025.2.0/RequestSpotlightRid",
        "2025.2.0/ResetSpotlightRid",
        "2025.2.0/PutSignalingNotifyMetadata",
        "2025.2.0/PutSignalingNotifyMetadataItem"
      ])
      assert.include(sdp, "m=application")
      assert.deepStrictEqual(Object.keys(mid).toSorted(), ["audio", "video"])
      for (const name of Object.values(mid)) assert.include(sdp, `a=mid:${name}`)
      assert.include(sdp, "a=candidate:")
      assert.include(sdp, "127.0.0.1")
      assert.include(sdp, "a=max-message-size:262144")
    }))

  it.live("a first connection, seen by itself and by the server", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const raw = yield* joined(server.url, "lobby", {
        role: "recvonly",
        connect: { audio: false, client_id: "viewer", signaling_notify_metadata: { nickname: "Mika" } }
      })
      const own = yield* wait(() => raw.event("connection.created"))
      const { connection_id, session_id } = raw.offer
      // It comes before the switch, on the WebSocket.
      assert.strictEqual(own.via, "ws")
      const { timestamp, ...event } = own.message
      assert.match(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
      assert.deepStrictEqual(event, {
        type: "notify",
        event_type: "connection.created",
        role: "recvonly",
        session_id,
        client_id: "viewer",
        bundle_id: connection_id,
        connection_id,
        audio: false,
        video: true,
        authn_metadata: { nickname: "Mika" },
        data: [],
        minutes: 0,
        channel_connections: 1,
        channel_sendrecv_connections: 0,
        channel_sendonly_connections: 0,
        channel_recvonly_connections: 1,
        turn_transport_type: "udp"
      })
      const [connection, ...others] = yield* server.connections
      assert.strictEqual(others.length, 0)
      assert.deepInclude(connection, {
        connectionId: connection_id,
        clientId: "viewer",
        bundleId: connection_id,
        sessionId: session_id,
        channelId: "lobby",
        role: "recvonly",
        simulcast: false,
        switched: true,
        metadata: undefined
      })
    }))

  for (const candidates of ["none", "sdp"] as const) {
    it.live(`with candidates of the client: ${candidates}`, () =>
      Effect.gen(function*() {
        const { url } = yield* SoraServer.make()
        const raw = yield* joined(url, "ice", { candidates })
        assert.strictEqual(raw.channels.get("rpc")?.readyState, "open")
      }))
  }

  it.live("without DataChannel signaling everything stays on the WebSocket", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const raw = yield* client(server.url)
      yield* wait(() => raw.join("plain"))
      assert.deepStrictEqual([raw.offer.data_channel_signaling, labelsOf(raw)], [false, []])
      assert.notProperty(raw.offer, "rpc_methods")
      assert.include(raw.offer.sdp, "m=application")
      yield* wait(() => raw.event("connection.created"))
      yield* server.push("plain", { n: 1 })
      assert.deepStrictEqual(yield* wait(() => raw.type("push", "ws")), { type: "push", data: { n: 1 } })
      assert.deepStrictEqual(yield* server.requestStats(raw.offer.connection_id), [{ id: "T1", type: "transport" }])
      raw.send("ws", { type: "disconnect", reason: "NO-ERROR" })
      assert.deepStrictEqual(yield* wait(() => raw.closed), { code: 1000, reason: "TYPE-DISCONNECT" })
      assert.isFalse(raw.received.some(({ message }) => message.type === "switched"))
    }))

  it.live("statistics asked for before their channel is open: that fails at once, and the next question has its answer", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ switchOrder: "before-open" })
      const context = yield* Effect.context<never>()
      const idOf = ({ offer }: RawClient) => offer.connection_id
      let early: Promise<string> | undefined
      const raw: RawClient = yield* client(server.url, {
        connect: { data_channel_signaling: true },
        onChannel({ label }) {
          if (label !== "stats") return
          const asked = Effect.map(Effect.flip(server.requestStats(idOf(raw))), ({ message }) => message)
          early = Effect.runPromiseWith(context)(asked)
        }
      })
      yield* wait(() => raw.join("early"))
      // What the client opened before this, the server knows to be open after it.
      yield* wait(() => raw.rpc("fence"))
      const later = yield* Effect.forkChild(server.requestStats(idOf(raw)))
      yield* wait(() => raw.type("req-stats", "stats"))
      raw.send("stats", { type: "stats", reports: [{ id: "later", type: "transport" }] })
      assert.deepStrictEqual(yield* Fiber.join(later), [{ id: "later", type: "transport" }])
      assert.include(yield* wait(() => early!), "the client cannot be asked")
    }))

  it.live("a connect that Sora would not take", () =>
    Effect.gen(function*() {
      const { connections, url } = yield* SoraServer.make()
      const connect = { type: "connect", role: "sendonly", channel_id: "c" }
      const bad: ReadonlyArray<unknown> = [
        "not json",
        "[]",
        "\"connect\"",
        {},
        { type: "nonsense" },
        { type: "answer", sdp: "" },
        { type: "connect", channel_id: "c" },
        { ...connect, role: "admin" },
        { type: "connect", role: "sendonly" },
        { ...connect, channel_id: "" },
        { ...connect, channel_id: "ä".repeat(128) },
        { ...connect, client_id: "" },
        { ...connect, audio: false, video: false },
        {
          ...connect,
          role: "recvonly",
          audio: false,
          video: false,
          data_channels: [{ label: "#rpc", direction: "recvonly" }]
        },
        { ...connect, spotlight_focus_rid: "r1" },
        { ...connect, spotlight: false, spotlight_unfocus_rid: "r1" },
        { ...connect, data_channels: [{ label: "chat", direction: "sendrecv" }] },
        { ...connect, data_channels: [{ label: "#chat" }] },
        {
          ...connect,
          data_channels: [{ label: "#chat", direction: "sendrecv" }, { label: "#chat", direction: "sendrecv" }]
        },
        {
          ...connect,
          data_channels: [{ label: "#chat", direction: "sendrecv", max_retransmits: 1, max_packet_life_time: 1 }]
        },
        { ...connect, data_channels: [{ label: "#chat", direction: "sendrecv", max_retransmits: -1 }] }
      ]
      for (const first of bad) assert.deepStrictEqual(yield* refused(url, first), invalid, JSON.stringify(first))
      assert.deepStrictEqual(yield* connections, [])
    }))

  it.live("a recvonly connection without media, where it is allowed", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({ recvonlyWithoutMedia: true })
      const data_channels = [{ label: "#rpc", direction: "recvonly" }]
      const raw = yield* joined(url, "quiet", {
        role: "recvonly",
        connect: { audio: false, video: false, data_channels }
      })
      assert.include(labelsOf(raw), "#rpc")
      const connect = { type: "connect", role: "recvonly", channel_id: "c", audio: false, video: false }
      assert.deepStrictEqual(yield* refused(url, connect), invalid)
    }))

  it.live("defaults hold for clients that say nothing", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({
        defaultDataChannelSignaling: true,
        defaultIgnoreDisconnectWebsocket: true
      })
      for (
        const [asked, signaling, ignore] of [
          [{}, true, true],
          [{ ignore_disconnect_websocket: false }, true, false],
          [{ data_channel_signaling: false }, false, false]
        ] as const
      ) {
        const raw = yield* client(url, { connect: asked })
        yield* wait(() => raw.join("defaults"))
        assert.deepInclude(raw.offer, { data_channel_signaling: signaling, ignore_disconnect_websocket: ignore })
        assert.strictEqual(labelsOf(raw).includes("rpc"), signaling)
      }
    }))

  it.live("no connect, and no WebRTC connection, in time", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({ connectTimeout: "300 millis" })
      const [silent, unanswered] = yield* Effect.all([client(url), client(url)])
      yield* wait(() => unanswered.opened)
      unanswered.connect("late", "sendrecv")
      for (const raw of [silent, unanswered]) {
        assert.deepStrictEqual(yield* wait(() => raw.closed), { code: 4490, reason: "TIMEOUT" })
      }
    }))

  it.live("an answer that is no answer", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      for (const sdp of ["", "v=0\r\n", "garbage", "v=0\r\nm=application nonsense\r\n"]) {
        const raw = yield* client(url)
        yield* wait(() => raw.opened)
        raw.connect("answers", "sendrecv")
        yield* wait(() => raw.type("offer"))
        raw.send("ws", { type: "answer", sdp })
        assert.deepStrictEqual(yield* wait(() => raw.closed), { code: 4490, reason: "INVALID-MESSAGE" }, sdp)
      }
    }))

  it.live("any path is served", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      for (const path of ["//", "/", "/?redirected=x", "/%zz"]) {
        const raw = yield* client(url.replace("/signaling", path))
        yield* wait(() => raw.opened)
        raw.connect("paths", "sendrecv")
        assert.isString((yield* wait(() => raw.type("offer"))).sdp)
      }
    }))

  it.live("redirects as often as it is told", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({ redirects: 2 })
      let location = url
      for (let i = 0; i < 2; i++) {
        const raw = yield* client(location)
        yield* wait(() => raw.opened)
        raw.connect("elsewhere", "sendrecv", i === 0 ? {} : { redirect: true })
        const redirect = yield* wait(() => raw.type("redirect"))
        assert.deepStrictEqual(Object.keys(redirect), ["type", "location"])
        assert.notStrictEqual(redirect.location, location)
        location = redirect.location
      }
      const raw = yield* joined(location, "elsewhere", { connect: { redirect: true } })
      assert.strictEqual(raw.offer.channel_id, "elsewhere")
    }))

  it.live("the session is new when a channel was empty", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      // One that never gets as far as its channel must not keep the session.
      const lost = yield* client(server.url)
      yield* wait(() => lost.opened)
      lost.connect("sessions", "sendrecv")
      const { session_id } = yield* wait(() => lost.type("offer"))
      yield* wait(() => lost.leave())
      yield* wait(() => lost.closed)
      const first = yield* joined(server.url, "sessions")
      const second = yield* joined(server.url, "sessions")
      assert.strictEqual(first.offer.session_id, second.offer.session_id)
      assert.strictEqual(yield* server.disconnect({ channelId: "sessions" }), 2)
      const third = yield* joined(server.url, "sessions")
      assert.notInclude([session_id, first.offer.session_id], third.offer.session_id)
    }))
})

describe("odd input", () => {
  it.live("hurts at most the connection that it came from", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const watching = yield* joined(server.url, "odd")

      const binary = yield* client(server.url)
      yield* wait(() => binary.opened)
      binary.socket.send(Buffer.from(JSON.stringify({ type: "connect", role: "sendrecv", channel_id: "odd" })))
      yield* wait(() => binary.type("offer"))
      binary.send("ws", { type: "candidate", candidate: "nonsense", sdpMid: null, sdpMLineIndex: 99 })
      binary.send("ws", { type: "pong", stats: "nobody asked" })
      binary.send("ws", { type: "re-answer", sdp: "too early" })
      assert.deepStrictEqual(yield* wait(() => binary.closed), { code: 4490, reason: "INVALID-MESSAGE" })

      const huge = yield* client(server.url)
      yield* wait(() => huge.opened)
      huge.socket.send("x".repeat(2 * 1024 * 1024))
      assert.strictEqual((yield* wait(() => huge.closed)).code, 1009)

      const twice = yield* client(server.url)
      yield* wait(() => twice.join("odd"))
      twice.connect("odd", "sendrecv")
      assert.deepStrictEqual(yield* wait(() => twice.closed), { code: 4490, reason: "INVALID-MESSAGE" })

      // Sora knows no channels of the client: nobody listens to it.
      const own = yield* joined(server.url, "odd")
      const channel = own.peer!.createDataChannel("mine")
      yield* wait(() => channel.stateChanged.watch((state) => state === "open"))
      channel.send("hello")

      // Frames below the DataChannels: an acknowledgement for no channel, a payload of no known kind.
      for (const [stream, protocol] of [[98, 50], [1, 999]] as const) {
        const low = yield* joined(server.url, "odd")
        yield* wait(() => low.peer!.sctpTransport!.sctp.send(stream, protocol, Buffer.from([2]), {}))
        assert.deepStrictEqual(yield* wait(() => low.closed), { code: 4490, reason: "INTERNAL-ERROR" })
      }

      const gone = yield* joined(server.url, "odd")
      gone.channels.get("stats")!.close()
      yield* wait(() => gone.closed)

      yield* server.push("odd", "all is well")
      assert.strictEqual((yield* wait(() => watching.type("push"))).data, "all is well")
    }))
})

describe("authentication", () => {
  it.live("a refusal closes with 4490 and its reason, cut to what a Close frame holds", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({
        authenticate: ({ channelId }) => new SoraAuth.Refusal({ reason: channelId === "long" ? "ä".repeat(100) : "NO" })
      })
      const connect = { type: "connect", role: "sendrecv", channel_id: "c" }
      assert.deepStrictEqual(yield* refused(url, connect), { code: 4490, reason: "NO", received: 0 })
      const { reason } = yield* refused(url, { ...connect, channel_id: "long" })
      assert.strictEqual(reason, "ä".repeat(61))
    }))

  it.live("a hook that dies ends that connection alone", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({
        authenticate: ({ channelId }) => channelId === "bad" ? Effect.die("a mistake") : Effect.succeed({})
      })
      const connect = { type: "connect", role: "sendrecv", channel_id: "bad" }
      assert.deepInclude(yield* refused(url, connect), { code: 4490, reason: "INTERNAL-ERROR" })
      yield* joined(url, "good")
    }).pipe(Effect.provide(Logger.layer([]))))

  it.live("a hook that gives no grant ends that connection alone, and the log says what is wrong with it", () =>
    Effect.gen(function*() {
      const grants: Record<string, unknown> = {
        nothing: undefined,
        text: "everything",
        "no list": { rpcMethods: "all" },
        "no rid": { simulcastRpcRids: ["r9"] },
        "no time": { connectionLifetime: "soon" },
        typo: { rpcMethod: [] }
      }
      const logs: Array<string> = []
      const logger = Logger.make(({ cause }) => void logs.push(Cause.pretty(cause).split("\n")[0]!))
      yield* Effect.gen(function*() {
        const { url } = yield* SoraServer.make({
          authenticate: ({ channelId }): any => Effect.succeed(channelId in grants ? grants[channelId] : {})
        })
        for (const channel_id of Object.keys(grants)) {
          const connect = { type: "connect", role: "sendrecv", channel_id }
          assert.deepStrictEqual(
            yield* refused(url, connect),
            { code: 4490, reason: "INTERNAL-ERROR", received: 0 },
            channel_id
          )
        }
        yield* joined(url, "good")
      }).pipe(Effect.provide(Logger.layer([logger])))
      assert.deepStrictEqual(
        logs.map((text) => /authenticate gave no grant: (\w*)/.exec(text)?.[1] ?? text),
        ["Expected", "Expected", "rpcMethods", "simulcastRpcRids", "connectionLifetime", "rpcMethod"]
      )
    }))

  it.live("a grant rules over what the client asked for", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({
        authenticate: () =>
          Effect.succeed({
            clientId: "granted",
            bundleId: "bundle",
            metadata: { private: true },
            signalingNotifyMetadata: { team: 1 },
            rpcMethods: ["2025.2.0/RequestSimulcastRid"],
            simulcast: true,
            simulcastRequestRid: "r0",
            simulcastRpcRids: ["r0", "r1"],
            spotlight: true,
            dataChannelSignaling: true,
            ignoreDisconnectWebsocket: true
          })
      })
      const raw = yield* client(server.url)
      yield* wait(() => raw.opened)
      raw.connect("grants", "sendrecv", { client_id: "asked", bundle_id: "asked" })
      yield* wait(() => raw.answer())
      assert.deepInclude(raw.offer, {
        client_id: "granted",
        bundle_id: "bundle",
        metadata: { private: true },
        rpc_methods: ["2025.2.0/RequestSimulcastRid"],
        simulcast: true,
        simulcast_rpc_rids: ["r0", "r1"],
        spotlight: true,
        data_channel_signaling: true,
        ignore_disconnect_websocket: true
      })
      const switched = yield* wait(() => raw.type("switched"))
      assert.deepStrictEqual(switched, { type: "switched", ignore_disconnect_websocket: true })
      const { message } = yield* wait(() => raw.event("connection.created"))
      assert.deepStrictEqual(message.authz_metadata, { team: 1 })
      assert.doesNotHaveAnyKeys(message, ["authn_metadata", "metadata"])
    }))
})

describe("pings", () => {
  it.live("are sent until nobody answers for too long", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({ pingInterval: "50 millis", pongTimeout: "400 millis" })
      const answering = yield* joined(url, "alive")
      const mute = yield* joined(url, "mute", { pong: false })
      assert.deepStrictEqual(yield* wait(() => mute.type("ping", "ws")), { type: "ping", stats: false })
      assert.deepStrictEqual(yield* wait(() => mute.closed), { code: 4490, reason: "PONG-TIMEOUT-ERROR" })
      assert.deepStrictEqual(answering.ends, [])
      // Nothing but the offer and what follows it; pings do not come first.
      assert.strictEqual(answering.received[0]?.message.type, "offer")
    }))
})

describe("the end", () => {
  it.live("a disconnect on the signaling channel closes the channels and the WebSocket", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const [leaving, staying] = yield* Effect.all([joined(server.url, "end"), joined(server.url, "end")], {
        concurrency: "unbounded"
      })
      leaving.send("signaling", { type: "disconnect", reason: "NO-ERROR" })
      assert.deepStrictEqual(yield* wait(() => leaving.closed), { code: 1000, reason: "TYPE-DISCONNECT" })
      yield* wait(() => leaving.channelsClosed())
      // The order in which Chromium and the official SDK take it for a normal end.
      assert.strictEqual(leaving.ends[0], "ws")
      assert.strictEqual(leaving.peer?.connectionState, "connected")
      const event = yield* wait(() => staying.event("connection.destroyed"))
      assert.strictEqual(event.via, "notify")
      assert.deepInclude(event.message, { connection_id: leaving.offer.connection_id, channel_connections: 1 })
    }))

  it.live("the API's disconnect, without and with a close message", () =>
    Effect.gen(function*() {
      for (const closeMessage of [false, true]) {
        const server = yield* SoraServer.make({ closeMessage })
        const raw = yield* joined(server.url, "api")
        assert.strictEqual(yield* server.disconnect({ connectionId: "nobody" }), 0)
        const disconnected = yield* Effect.forkChild(server.disconnect({ connectionId: raw.offer.connection_id }))
        assert.deepStrictEqual(yield* wait(() => raw.closed), { code: 1000, reason: "DISCONNECTED-API" })
        yield* wait(() => raw.channelsClosed())
        yield* wait(() => raw.leave())
        assert.deepStrictEqual(
          raw.received.filter(({ message }) => message.type === "close").map(({ message, via }) => ({ via, message })),
          closeMessage
            ? [{ via: "signaling", message: { type: "close", code: 1000, reason: "DISCONNECTED-API" } }]
            : []
        )
        assert.deepStrictEqual(yield* server.connections, [])
        assert.strictEqual(yield* Fiber.join(disconnected), 1)
      }
    }))

  it.live("a lifetime", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({
        authenticate: () => Effect.succeed({ connectionLifetime: "1 second" }),
        closeMessage: true
      })
      const raw = yield* joined(server.url, "life")
      assert.deepInclude(yield* wait(() => raw.type("close", "signaling")), { code: 1000, reason: "LIFETIME-EXPIRED" })
      assert.deepStrictEqual(yield* wait(() => raw.closed), { code: 1000, reason: "LIFETIME-EXPIRED" })
    }))

  it.live("the WebSocket goes after the switch: with and without leave to", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const free = yield* joined(server.url, "free", { connect: { ignore_disconnect_websocket: true } })
      const bound = yield* joined(server.url, "bound")
      free.socket.close()
      bound.socket.close()
      yield* wait(() => bound.channelsClosed())
      assert.deepStrictEqual((yield* server.connections).map(({ channelId }) => channelId), ["free"])
      yield* server.push("free", "still here")
      assert.deepStrictEqual(yield* wait(() => free.type("push", "push")), { type: "push", data: "still here" })
      free.send("signaling", { type: "disconnect", reason: "NO-ERROR" })
      yield* wait(() => free.channelsClosed())
    }))

  it.live("a client that leaves without a word, before and after the switch", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const watching = yield* joined(server.url, "rude")
      const plain = yield* client(server.url)
      yield* wait(() => plain.join("rude"))
      plain.socket.close()
      const first = yield* wait(() => watching.event("connection.destroyed"))
      assert.strictEqual(first.message.connection_id, plain.offer.connection_id)
      const modern = yield* joined(server.url, "rude", { connect: { ignore_disconnect_websocket: true } })
      yield* wait(() => modern.peer!.close())
      const second = yield* wait(() => watching.event("connection.destroyed"))
      assert.strictEqual(second.message.connection_id, modern.offer.connection_id)
    }))

  it.live("closing the server's scope ends every connection, promptly", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const server = yield* Scope.provide(SoraServer.make(), scope)
      const switched = yield* joined(server.url, "stop")
      const idle = yield* client(server.url)
      yield* wait(() => idle.opened)
      const started = performance.now()
      yield* Scope.close(scope, Exit.void)
      assert.isBelow(performance.now() - started, 3_500)
      assert.strictEqual((yield* wait(() => switched.closed)).code, 1001)
      assert.strictEqual((yield* wait(() => idle.closed)).code, 1001)
      yield* wait(() => switched.channelsClosed())
      assert.deepStrictEqual(yield* server.connections, [])
      const late = yield* client(server.url)
      yield* wait(() => late.closed)
    }))

  it.live("a process exits by itself once the server is closed", () =>
    Effect.gen(function*() {
      const script = new URL("./exits.ts", import.meta.url).pathname
      const { stdout } = yield* wait(() =>
        promisify(execFile)(process.execPath, ["--disable-warning=ExperimentalWarning", script], { timeout: 15_000 })
      )
      assert.strictEqual(stdout, "closed\n")
    }))

  it.live("a port in use is an error that names it", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const { port } = new URL(url)
      const error = yield* Effect.flip(SoraServer.make({ port: Number(port) }))
      assert.strictEqual(error._tag, "SoraServerError")
      assert.include(error.message, `127.0.0.1:${port}`)
    }))
})
