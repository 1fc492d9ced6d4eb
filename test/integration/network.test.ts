/**
 * The way to the servers on Node: certificates of one's own, and HTTP proxies.
 */
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Duration, Effect, Layer, Redacted } from "effect"
import { SoraConnection } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import { SoraServer } from "effect-sora-rpc/server"
import { createServer as createTcpServer } from "node:net"
import { makeAuthority } from "../utils/certificates.ts"
import { connect } from "../utils/connect.ts"
import { listening, proxyServer, secured } from "../utils/network.ts"
import { ifMissing, missing, turnServer, user } from "../utils/turnServer.ts"

/** What an attempt is told for one URL. */
const unreachable = (options: Partial<NodeSora.Options> & { readonly url: string }) =>
  Effect.map(Effect.flip(connect(options)), ({ message, reason }) => {
    assert.notInclude(message, "s3cret")
    return reason._tag === "Unreachable" ? reason.failures[0]!.detail : message
  })

const isUp = (connection: SoraConnection.SoraConnection["Service"]) =>
  Effect.map(connection.state, ({ _tag }) => assert.strictEqual(_tag, "Connected"))

const authority = Effect.promise(() => makeAuthority())

describe("TLS", () => {
  it.live("a CA of one's own is trusted when it is given, and it alone", () =>
    Effect.gen(function*() {
      const [ours, theirs] = yield* Effect.all([authority, authority])
      const server = yield* SoraServer.make()
      const url = yield* secured(server.url, yield* Effect.promise(() => ours.issue()))
      yield* isUp((yield* connect({ url, tls: { ca: ours.ca } })).connection)
      yield* isUp((yield* connect({ url, tls: { ca: [theirs.ca, Buffer.from(ours.ca)] } })).connection)
      yield* isUp((yield* connect({ url, tls: { rejectUnauthorized: false } })).connection)
      assert.match(yield* unreachable({ url }), /^unable to (verify|get)/)
      assert.match(yield* unreachable({ url, tls: { ca: theirs.ca } }), /^unable to (verify|get)/)
    }))

  it.live("a certificate for another name", () =>
    Effect.gen(function*() {
      const ours = yield* authority
      const server = yield* SoraServer.make()
      const url = yield* secured(server.url, yield* Effect.promise(() => ours.issue("sora.example.com")))
      assert.include(yield* unreachable({ url, tls: { ca: ours.ca } }), "does not match certificate's altnames")
    }))

  it.live("a client certificate that is asked for", () =>
    Effect.gen(function*() {
      const ours = yield* authority
      const [own, client] = yield* Effect.promise(() => Promise.all([ours.issue(), ours.issue("client")]))
      const server = yield* SoraServer.make()
      const url = yield* secured(server.url, { ...own, ca: ours.ca, requestCert: true, rejectUnauthorized: true })
      yield* isUp((yield* connect({ url, tls: { ca: ours.ca, ...client } })).connection)
      const detail = yield* unreachable({ url, tls: { ca: ours.ca } })
      assert.strictEqual(detail, "tlsv13 alert certificate required")
    }))

  it.live("from Config, with what is secret Redacted", () =>
    Effect.gen(function*() {
      const ours = yield* authority
      const [own, client] = yield* Effect.promise(() => Promise.all([ours.issue(), ours.issue("client")]))
      const server = yield* SoraServer.make()
      const url = yield* secured(server.url, { ...own, ca: ours.ca, requestCert: true, rejectUnauthorized: true })
      const proxy = yield* proxyServer({ credentials: "mika:s3cret" })
      const env = {
        CA: ours.ca,
        CERT: client.cert,
        KEY: client.key,
        HTTPS_PROXY: `http://mika:s3cret@127.0.0.1:${proxy.port}`
      }
      yield* SoraConnection.SoraConnection.use(isUp).pipe(
        Effect.provide(NodeSora.layerConfig({
          signalingUrls: Config.succeed([url]),
          channelId: Config.succeed("test"),
          role: Config.succeed("sendrecv" as const),
          tls: { ca: Config.String("CA"), cert: Config.String("CERT"), key: Config.Redacted("KEY") },
          proxy: Config.Redacted("HTTPS_PROXY")
        })),
        Effect.provide(Layer.succeed(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(env)))
      )
      assert.deepStrictEqual(proxy.targets, [new URL(url).host])
    }))

  it.live.skipIf(missing)(`turns: with a CA of one's own${ifMissing}`, () =>
    Effect.gen(function*() {
      const ours = yield* authority
      const { port } = yield* turnServer("tls", { certificate: yield* Effect.promise(() => ours.issue()) })
      for (const host of ["localhost", "127.0.0.1"]) {
        const turn = `turns:${host}:${port}?transport=tcp`
        const server = yield* SoraServer.make({
          iceServers: [{ urls: [turn], ...user }],
          iceTransportPolicy: "relay"
        })
        yield* isUp((yield* connect({ url: server.url, tls: { ca: ours.ca } })).connection)
        const error = yield* Effect.flip(connect({ url: server.url }))
        assert.strictEqual(error.reason._tag, "TurnFailed")
        assert.include(error.message, `${turn} (unable to `)
      }
    }))
})

describe("a proxy", () => {
  it.live("carries ws: and wss:", () =>
    Effect.gen(function*() {
      const ours = yield* authority
      const server = yield* SoraServer.make()
      const url = yield* secured(server.url, yield* Effect.promise(() => ours.issue()))
      const { port, targets } = yield* proxyServer()
      const proxy = `http://127.0.0.1:${port}`
      yield* isUp((yield* connect({ url: server.url, proxy })).connection)
      yield* isUp((yield* connect({ url, proxy, tls: { ca: ours.ca } })).connection)
      assert.deepStrictEqual(targets, [new URL(server.url).host, new URL(url).host])
    }))

  it.live("over TLS", () =>
    Effect.gen(function*() {
      const ours = yield* authority
      const server = yield* SoraServer.make()
      const { port, targets } = yield* proxyServer({ tls: yield* Effect.promise(() => ours.issue()) })
      const proxy = `https://localhost:${port}`
      yield* isUp((yield* connect({ url: server.url, proxy, tls: { ca: ours.ca } })).connection)
      assert.strictEqual(targets.length, 1)
      assert.match(yield* unreachable({ url: server.url, proxy }), /^the proxy cannot be reached: unable to/)
    }))

  it.live("that wants credentials has them, percent-encoded and Redacted ones too, or says 407", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const { port, targets } = yield* proxyServer({ credentials: "mi:ka:s3cret@ä" })
      const proxy = `http://mi%3Aka:s3cret%40%C3%A4@127.0.0.1:${port}`
      yield* isUp((yield* connect({ url: server.url, proxy: Redacted.make(proxy) })).connection)
      const refused = "the proxy wants a user and a password, and not those that it was given, if any (407)"
      for (const userInfo of ["", "mika:s3cret@"]) {
        const detail = yield* unreachable({ url: server.url, proxy: `http://${userInfo}127.0.0.1:${port}` })
        assert.strictEqual(detail, refused)
      }
      assert.strictEqual(targets.length, 1)
    }))

  it.live("that refuses, is not there, or is no proxy", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const { port } = yield* proxyServer({ refuseWith: "403 Forbidden" })
      const via = (port: number) => unreachable({ url: server.url, proxy: `http://mika:s3cret@127.0.0.1:${port}` })
      assert.strictEqual(yield* via(port), "the proxy does not connect to it (403)")
      assert.strictEqual(yield* via(1), "the proxy cannot be reached: connect ECONNREFUSED 127.0.0.1:1")
      const hangingUp = yield* listening(createTcpServer((socket) => socket.end()))
      assert.include(yield* via(hangingUp.port), "the proxy cannot be reached: ")
    }))

  it.live("that says nothing is left alone in time", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const { port, sockets } = yield* listening(createTcpServer(() => {}))
      const proxy = `http://127.0.0.1:${port}`
      const [duration, detail] = yield* Effect.timed(unreachable({ url: server.url, proxy, openTimeout: "200 millis" }))
      assert.strictEqual(detail, "it did not open in time")
      assert.isBelow(Duration.toMillis(duration), 3000)
      yield* Effect.callback<void>((resume) => {
        const [socket] = sockets
        socket!.resume()
        if (socket!.closed) resume(Effect.void)
        else socket!.once("close", () => resume(Effect.void))
      })
    }))
})

describe("options", () => {
  const cases: ReadonlyArray<readonly [object, string]> = [
    [{ tls: { ca: 5 } }, "tls.ca: "],
    [{ tls: { ca: "s3cret" } }, "tls: OpenSSL does not take them: "],
    [{ tls: { cert: "s3cret" } }, "tls: cert is given, and key is not"],
    [{ tls: { cert: "s3cret", key: Redacted.make("s3cret") } }, "tls: OpenSSL does not take them: "],
    [{ tls: { passphrase: 5 } }, "tls.passphrase: Expected a text, or a Redacted one"],
    [{ tls: { pfx: "s3cret" } }, "tls.pfx: there is no option of this name"],
    [{ proxy: "s3cret" }, "proxy: no URL of an HTTP proxy, such as http://proxy.example.com:3128"],
    [{ proxy: Redacted.make("socks5://s3cret@host:1") }, "proxy: no URL of an HTTP proxy"],
    [{ proxy: "http://s3cret%zz@host:1" }, "proxy: its user or password is not percent-encoded"],
    [{ proxy: 5 }, "proxy: Expected a text, or a Redacted one"]
  ]
  for (const [options, expected] of cases) {
    it.effect(`${Object.keys(options)}: ${expected}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(connect({ url: "ws://127.0.0.1:1/", ...options }))
        assert.strictEqual(error.reason._tag, "InvalidOptions")
        assert.include(error.message, expected)
        assert.notInclude(error.message, "s3cret")
      }))
  }
})
