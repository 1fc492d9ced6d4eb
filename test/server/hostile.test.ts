/**
 * What a client, a page or the program's own code can do to the development
 * server: it ends at most the connection that it is about.
 */
import { assert, describe, it, vi } from "@effect/vitest"
import { SoraMethod } from "effect-sora-rpc"
import { type SoraAuth, SoraServer } from "effect-sora-rpc/server"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import { createSocket } from "node:dgram"
import * as Net from "node:net"
import { RtpHeader } from "werift"
import { client, joined, type RawClient } from "./rawClient.ts"

vi.setConfig({ testTimeout: 20_000 })

const wait = <A>(promise: () => Promise<A>) => Effect.promise(promise)

const portOf = (url: string) => Number(new URL(url).port)

/** A TCP socket, and what came on it, when it has ended. */
const tcp = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(() =>
      new Promise<{ readonly socket: Net.Socket; readonly ended: Promise<string> }>((resolve, reject) => {
        let received = ""
        const socket = Net.connect(port, "127.0.0.1")
        socket.once("error", reject)
        socket.on("data", (data) => {
          received += data
        })
        const ended = new Promise<string>((resolve) => socket.on("close", () => resolve(received)))
        socket.once("connect", () => {
          socket.on("error", () => {})
          resolve({ socket, ended })
        })
      })
    ),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

const upgrade = (headers: Record<string, string>) =>
  [
    "GET /signaling HTTP/1.1",
    ...Object.entries({
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
      ...headers
    }).map(([name, value]) => `${name}: ${value}`),
    "",
    ""
  ].join("\r\n")

/** The first line that a request to upgrade is answered with, and the last one. */
const answerTo = (port: number, headers: Record<string, string>) =>
  Effect.scoped(Effect.gen(function*() {
    const { ended, socket } = yield* tcp(port)
    const data = new Promise<string>((resolve) => socket.once("data", (data) => resolve(String(data))))
    socket.write(upgrade(headers))
    const first = yield* wait(() => data)
    if (first.startsWith("HTTP/1.1 101")) return [first.split("\r\n")[0], ""]
    const lines = (yield* wait(() => ended)).split("\r\n")
    return [lines[0], lines.at(-1)]
  }))

/** Somebody else is still served. */
const stillServes = ({ url }: SoraServer.SoraServer["Service"]) =>
  Effect.scoped(Effect.gen(function*() {
    const raw = yield* joined(url, "others")
    assert.strictEqual(
      (yield* wait(() => raw.rpc("2025.2.0/PutSignalingNotifyMetadata", { metadata: 1 }))).result,
      1
    )
  }))

const noneLeft = (server: SoraServer.SoraServer["Service"]) =>
  Effect.gen(function*() {
    while ((yield* server.connections).length > 0) yield* Effect.sleep("5 millis")
  }).pipe(Effect.timeout("8 seconds"))

describe("a page", () => {
  it.live("of elsewhere is refused, and told why; one of this machine is not", () =>
    Effect.gen(function*() {
      const port = portOf((yield* SoraServer.make()).url)
      const Host = `127.0.0.1:${port}`
      for (
        const Origin of [
          "https://elsewhere.example",
          "http://127.0.0.1.elsewhere.example",
          "http://localhost.elsewhere.example",
          "http://elsewhere.example#localhost",
          "http://localhost@elsewhere.example",
          "http://128.0.0.1",
          "null"
        ]
      ) {
        const [status, text] = yield* answerTo(port, { Host, Origin })
        assert.strictEqual(status, "HTTP/1.1 403 Forbidden", Origin)
        assert.strictEqual(
          text,
          `the origin ${
            JSON.stringify(Origin)
          } is not allowed: see the option allowedOrigins of SoraServer (--allow-origin)\n`
        )
      }
      for (
        const Origin of [
          "http://localhost:3000",
          "https://localhost",
          "http://127.0.0.1:5173",
          "http://[::1]:8080",
          "http://app.localhost"
        ]
      ) {
        assert.strictEqual((yield* answerTo(port, { Host, Origin }))[0], "HTTP/1.1 101 Switching Protocols", Origin)
      }
    }))

  it.live("whose name resolves to this machine is refused", () =>
    Effect.gen(function*() {
      const port = portOf((yield* SoraServer.make()).url)
      for (const host of ["elsewhere.example", "127.0.0.1.elsewhere.example", ""]) {
        const [status, text] = yield* answerTo(port, { Host: `${host}:${port}` })
        assert.strictEqual(status, "HTTP/1.1 403 Forbidden")
        assert.include(text, "is not this machine")
      }
      for (const host of ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"]) {
        assert.match((yield* answerTo(port, { Host: `${host}:${port}` }))[0]!, /101/, host)
      }
    }))

  it.live("of an origin that is allowed may connect, by that name too", () =>
    Effect.gen(function*() {
      const port = portOf((yield* SoraServer.make({ allowedOrigins: ["https://app.example"] })).url)
      const status = (headers: Record<string, string>) =>
        Effect.map(answerTo(port, headers), ([first]) => Number(first!.split(" ")[1]))
      assert.strictEqual(yield* status({ Host: "localhost", Origin: "https://app.example" }), 101)
      assert.strictEqual(yield* status({ Host: "app.example", Origin: "https://app.example" }), 101)
      assert.strictEqual(yield* status({ Host: "localhost", Origin: "http://localhost:3000" }), 101)
      assert.strictEqual(yield* status({ Host: "localhost", Origin: "http://app.example" }), 403)
      const open = portOf((yield* SoraServer.make({ allowedOrigins: "*" })).url)
      const [first] = yield* answerTo(open, { Host: "any.example", Origin: "https://any.example" })
      assert.match(first!, /101/)
    }))
})

describe("a socket", () => {
  it.live("with garbage on it, before and after the upgrade, hurts nobody", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const port = portOf(server.url)
      const Host = `127.0.0.1:${port}`
      const frame = (...bytes: ReadonlyArray<number>) => Buffer.from(bytes)
      const huge = Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3, 4])
      const garbage: ReadonlyArray<string | Buffer> = [
        frame(0x81, 0x01, 0x41), // not masked
        frame(0xf1, 0x81, 1, 2, 3, 4, 5), // reserved bits
        frame(0x83, 0x80, 1, 2, 3, 4), // no such opcode
        frame(0x09, 0x80, 1, 2, 3, 4), // a control frame in pieces
        frame(0x81, 0x81, 0, 0, 0, 0, 0xff), // no UTF-8
        frame(0x88, 0x81, 0, 0, 0, 0, 1), // a Close of one byte
        huge,
        randomBytes(1000)
      ]
      for (const bytes of garbage) {
        // With the request, and when it has been answered; closed in order, and cut off.
        for (const late of [false, true]) {
          const { ended, socket } = yield* tcp(port)
          if (!late) socket.write(Buffer.concat([Buffer.from(upgrade({ Host })), Buffer.from(bytes)]))
          else {
            socket.write(upgrade({ Host }))
            yield* wait(() => new Promise((resolve) => socket.once("data", resolve)))
            socket.write(bytes)
            if (bytes === huge) socket.resetAndDestroy()
          }
          yield* wait(() => ended)
        }
      }
      for (const bytes of ["\r\n\r\n", "GET", "POST / HTTP/1.1\r\nHost: x\r\n\r\n", randomBytes(500)]) {
        const { socket } = yield* tcp(port)
        socket.write(bytes)
        const reset = yield* tcp(port)
        reset.socket.write(bytes)
        reset.socket.resetAndDestroy()
      }
      yield* stillServes(server)
    }))

  it.live("that never says anything, or whose other end does not answer, does not keep the server from stopping", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { url } = yield* Scope.provide(SoraServer.make(), scope)
      const port = portOf(url)
      const Host = `127.0.0.1:${port}`
      const silent = yield* tcp(port)
      const half = yield* tcp(port)
      half.socket.write("GET /signaling HTTP/1.1\r\n")
      const upgraded = yield* tcp(port)
      upgraded.socket.write(upgrade({ Host }))
      yield* wait(() => new Promise((resolve) => upgraded.socket.once("data", resolve)))
      const refused = yield* tcp(port)
      refused.socket.pause().write(upgrade({ Host, Origin: "https://elsewhere.example" }))
      const raw = yield* client(url)
      yield* wait(() => raw.opened)
      raw.connect("stopping", "sendrecv")
      yield* wait(() => raw.type("offer", "ws"))
      yield* Effect.timeout(Scope.close(scope, Exit.void), "5 seconds")
      yield* wait(() => Promise.all([silent.ended, half.ended, upgraded.ended, raw.closed]))
      const exit = yield* Effect.exit(tcp(port))
      assert.isTrue(Exit.isFailure(exit))
    }))

  it.live("may go at any moment of a connection", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      // At every message that comes of the server, until there is one connection that saw no end.
      for (let moment = 0; moment < 6; moment++) {
        for (const abrupt of [false, true]) {
          yield* Effect.scoped(Effect.gen(function*() {
            const raw = yield* client(server.url, { connect: { data_channel_signaling: true } })
            yield* wait(() => raw.opened)
            if (moment > 0) raw.connect("moments", "sendrecv")
            if (moment > 1) yield* wait(() => raw.type("offer", "ws"))
            if (moment > 2) raw.send("ws", { type: "answer", sdp: "v=0\r\nm=application 9 DTLS/SCTP 5000\r\n" })
            if (moment > 3) raw.send("ws", { type: "candidate", candidate: "candidate:1 1 udp 1 127.0.0.1 9 typ host" })
            if (abrupt) raw.send("ws", "not json")
            raw.socket.close()
            yield* wait(() => raw.closed)
          }))
        }
      }
      yield* noneLeft(server)
      yield* stillServes(server)
    }))
})

describe("packets", () => {
  /** A client that says nonsense and hears nothing, which spares it from what it causes. */
  const vandal = (server: SoraServer.SoraServer["Service"]) =>
    Effect.map(joined(server.url, "vandals"), (raw) => {
      raw.peer!.sctpTransport!.sctp["handleData"] = async () => {}
      return raw
    })

  const chunk = (type: number, body: Buffer, length = body.length + 4) => {
    const head = Buffer.from([type, Math.floor(Math.random() * 256), length >> 8, length & 0xff])
    return { type, bytes: Buffer.concat([head, body, Buffer.alloc((4 - body.length % 4) % 4)]) }
  }
  const noise = (length = 100) => randomBytes(1 + Math.floor(Math.random() * length))

  const times = (count: number, send: (i: number) => Promise<unknown>) =>
    Promise.all(Array.from({ length: count }, (_, i) => send(i).catch(() => {})))
  const sendChunk = (raw: RawClient, sent: ReturnType<typeof chunk>) =>
    raw.peer!.sctpTransport!.sctp["sendChunk"](sent as never)

  const nonsense: Record<string, (raw: RawClient) => Promise<unknown>> = {
    "of no protocol": (raw) => {
      const ice = raw.peer!.iceTransports[0]!.connection
      return times(512, (first) => ice.send(Buffer.concat([Buffer.from([first & 0xff]), noise()])))
    },
    "that are no SCTP": (raw) => times(100, async () => raw.peer!.dtlsTransports[0]!.sendData(noise())),
    "whose chunk says that it has no length": (raw) => sendChunk(raw, chunk(0, noise(), 0)),
    "whose parameter says that it has no length": (raw) => sendChunk(raw, chunk(4, Buffer.from([0, 1, 0, 0]))),
    "of chunks of noise": (raw) => times(300, (i) => sendChunk(raw, chunk([130, 192, 14, i % 16][i % 4]!, noise()))),
    "to no channel": (raw) =>
      times(100, async (i) => {
        const message = Buffer.concat([Buffer.from([i % 5]), noise(60)])
        // It is done when all is acknowledged, which this client does not hear of.
        void raw.peer!.sctpTransport!.sctp.send(i % 40, 50 + i % 8, message).catch(() => {})
      }),
    "of media that is none": (raw) => {
      const [dtls] = raw.peer!.dtlsTransports
      const ssrcs = raw.peer!.getTransceivers().map(({ sender }) => sender.ssrc)
      return times(200, async (i) => {
        const extensions = [{ id: 1 + i % 14, payload: noise(10) }]
        const ssrc = ssrcs[i % 3] ?? i
        const header = new RtpHeader({ payloadType: i % 128, sequenceNumber: i, ssrc, extension: true, extensions })
        await dtls!.sendRtp(noise(), header)
        const serialize = () => Buffer.concat([Buffer.from([0x80 | i % 32, 200 + i % 8]), noise()])
        await dtls!.sendRtcp([{ serialize }] as never)
      })
    }
  }
  for (const [name, send] of Object.entries(nonsense)) {
    it.live(`${name} end at most the connection that they come on`, () =>
      Effect.gen(function*() {
        const server = yield* SoraServer.make()
        const raw = yield* vandal(server)
        yield* wait(() => send(raw))
        yield* stillServes(server)
      }))
  }
})

describe("a port that is offered", () => {
  it.live("may be sent anything by anybody before the client is there", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const stranger = yield* Effect.acquireRelease(
        Effect.sync(() => createSocket("udp4")),
        (socket) => Effect.sync(() => socket.close())
      )
      const raw = yield* client(server.url, { connect: { data_channel_signaling: true } })
      const offered = () => raw.received.find(({ message }) => message["type"] === "offer")?.message["sdp"]
      const joining = raw.join("strangers")
      yield* wait(() => raw.until("the offer", () => offered() !== undefined))
      const port = Number(/127\.0\.0\.1 (\d+) typ host/.exec(String(offered()))![1])
      let here = false
      const bother = () => {
        // The first byte of a handshake record of DTLS, and nothing after it.
        stranger.send(Buffer.from([22]), port, "127.0.0.1")
        if (!here) setImmediate(bother)
      }
      bother()
      yield* wait(() => joining)
      here = true
      yield* stillServes(server)
    }))
})

describe("the program's own code", () => {
  const authenticates: Record<string, SoraAuth.Authenticate> = {
    "throws": () => {
      throw new Error("a mistake")
    },
    "dies": () => Effect.die("a mistake"),
    "fails with something else": () => Effect.fail("a mistake" as never),
    "returns no effect": () => Promise.reject(new Error("a mistake")) as never,
    "interrupts itself": () => Effect.interrupt
  }
  for (const [name, authenticate] of Object.entries(authenticates)) {
    it.live(`an authentication that ${name} ends that connection`, () =>
      Effect.gen(function*() {
        const server = yield* SoraServer.make({
          authenticate: (connect) => connect.channelId === "bad" ? authenticate(connect) : Effect.succeed({})
        })
        const raw = yield* client(server.url)
        yield* wait(() => raw.opened)
        raw.connect("bad", "sendrecv")
        assert.deepStrictEqual(yield* wait(() => raw.closed), { code: 4490, reason: "INTERNAL-ERROR" })
        yield* stillServes(server)
      }).pipe(Effect.provide(Logger.layer([]))))
  }

  it.live("an authentication that never ends has its time", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({ authenticate: () => Effect.never, connectTimeout: "50 millis" })
      const raw = yield* client(url)
      yield* wait(() => raw.opened)
      raw.connect("hangs", "sendrecv")
      assert.deepStrictEqual(yield* wait(() => raw.closed), { code: 4490, reason: "TIMEOUT" })
    }))

  for (const hanging of [Effect.never, Effect.uninterruptible(Effect.never)]) {
    const manner = hanging === Effect.never ? "never ends" : "cannot be interrupted"
    it.live(`an authentication that ${manner} keeps nobody: neither the client that leaves nor the server`, () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const interrupted = yield* Deferred.make<void>()
        const asked = yield* Deferred.make<void>()
        const { url } = yield* Scope.provide(
          SoraServer.make({
            authenticate: () =>
              Effect.onInterrupt(
                Effect.andThen(Deferred.succeed(asked, undefined), hanging),
                () => Deferred.succeed(interrupted, undefined)
              )
          }),
          scope
        )
        const raw = yield* client(url)
        yield* wait(() => raw.opened)
        raw.connect("hangs", "sendrecv")
        yield* Deferred.await(asked)
        raw.socket.close()
        yield* wait(() => raw.closed)
        if (hanging === Effect.never) yield* Effect.timeout(Deferred.await(interrupted), "5 seconds")
        const other = yield* client(url)
        yield* wait(() => other.opened)
        other.connect("hangs", "sendrecv")
        yield* Effect.timeout(Scope.close(scope, Exit.void), "5 seconds")
      }))

    it.live(`a handler that ${manner} does not keep its connection`, () =>
      Effect.gen(function*() {
        const Hang = SoraMethod.make("Hang", { version: "1" })
        const called = yield* Deferred.make<void>()
        const server = yield* SoraServer.make({
          handlers: [SoraMethod.handle(Hang, () => Effect.andThen(Deferred.succeed(called, undefined), hanging))]
        })
        const raw = yield* joined(server.url, "hangs")
        raw.send("rpc", { jsonrpc: "2.0", id: 1, method: "1/Hang" })
        yield* Deferred.await(called)
        const ended = yield* Effect.forkChild(server.disconnect({ channelId: "hangs" }))
        yield* wait(() => raw.closed)
        yield* wait(() => raw.leave())
        assert.strictEqual(yield* Effect.timeout(Fiber.join(ended), "5 seconds"), 1)
      }))
  }

  it.live("a logger that throws ends nothing else", () =>
    Effect.gen(function*() {
      const Mistake = SoraMethod.make("Mistake", { version: "1" })
      const server = yield* SoraServer.make({
        authenticate: ({ channelId }) => channelId === "bad" ? Effect.die("a mistake") : Effect.succeed({}),
        handlers: [SoraMethod.handle(Mistake, () => Effect.die("a mistake"))]
      })
      const bad = yield* client(server.url)
      yield* wait(() => bad.opened)
      bad.connect("bad", "sendrecv")
      assert.deepStrictEqual(yield* wait(() => bad.closed), { code: 4490, reason: "INTERNAL-ERROR" })
      const raw = yield* joined(server.url, "good")
      assert.strictEqual((yield* wait(() => raw.rpc("1/Mistake"))).error.code, -32603)
      assert.strictEqual((yield* wait(() => raw.rpc("none"))).error.code, -32601)
    }).pipe(Effect.provide(Logger.layer([Logger.make(() => {
      throw new Error("no room on the disk")
    })]))))
})

describe("options", () => {
  const Twice = SoraMethod.make("Twice", { version: "1" })
  const twice = SoraMethod.handle(Twice, () => Effect.succeed(null))
  const bad: Record<string, unknown> = {
    port: { port: 99_999 },
    host: { host: "" },
    pingInterval: { pingInterval: NaN },
    pongTimeout: { pongTimeout: -1 },
    connectTimeout: { connectTimeout: "soon" },
    redirects: { redirects: 1.5 },
    switchOrder: { switchOrder: "x" },
    itemResult: { itemResult: "all" },
    maxBufferedBytes: { maxBufferedBytes: 0 },
    maxInflatedBytes: { maxInflatedBytes: "1 MiB" },
    maxCalls: { maxCalls: NaN },
    allowedOrigins: { allowedOrigins: "https://app.example" },
    authenticate: { authenticate: {} },
    "handlers: two handlers of 1/Twice": { handlers: [twice, twice] },
    "handlers.0.method": { handlers: [{ method: "Twice", handler: () => Effect.succeed(null) }] },
    "iceServers.0.urls": { iceServers: [{ urls: 1 }] },
    "faults.dorp": { faults: { dorp: 1 } },
    "prot: there is no option of this name": { prot: 5000 }
  }
  for (const [name, options] of Object.entries(bad)) {
    it.live(`that do not fit are named: ${name}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(SoraServer.make(options as SoraServer.Options))
        assert.strictEqual(error._tag, "SoraServerError")
        assert.include(error.message, `bad options: ${name}`)
        assert.include(String((error.cause as Error).name), "InvalidOptions")
        const test = SoraServer.layerTest({ channelId: "c", role: "sendrecv" }, options as SoraServer.Options)
        const failed = yield* Effect.flip(Effect.scoped(Layer.build(test)))
        assert.strictEqual(failed.message, error.message)
      }))
  }
})
