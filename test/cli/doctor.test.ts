/**
 * What `doctor` says of servers: of the development server that nothing
 * differs, of one with an option turned round that just this does, and of what
 * is no Sora where it ends.
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SoraMethod } from "effect-sora-rpc"
import { SoraAuth, type SoraFaults, SoraServer } from "effect-sora-rpc/server"
import { execFileSync, spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { createServer, type RequestListener } from "node:http"
import { createServer as createTlsServer } from "node:https"
import { createServer as createTcpServer, type Server } from "node:net"
import { join } from "node:path"
import { diagnose } from "../../src/cli/doctor/diagnose.ts"
import * as Report from "../../src/cli/doctor/report.ts"
import * as Recorder from "../../src/cli/recording/recorder.ts"
import * as Redact from "../../src/cli/recording/redact.ts"
import { connect } from "../utils/connect.ts"
import { Nowhere } from "../utils/nowhere.ts"
import * as ScriptedSora from "../utils/scriptedSora.ts"
import { folder, run } from "./run.ts"

const examine = (
  url: string | ReadonlyArray<string>,
  options: {
    readonly connectTimeout?: number
    readonly metadata?: string
    readonly secrets?: ReadonlyArray<string>
  } = {}
) =>
  diagnose({
    options: {
      signalingUrls: [url].flat(),
      channelId: "lobby",
      role: "sendonly",
      audio: false,
      video: false,
      connectTimeout: options.connectTimeout ?? 10_000,
      ...(options.metadata === undefined ? {} : { metadata: options.metadata })
    },
    recorder: Recorder.nowhere(Redact.make({ secrets: options.secrets ?? [], keep: [] })),
    write: true,
    teller: { step: () => Effect.void, progress: () => Effect.void }
  })

const differences = ({ findings }: Report.Report) =>
  Object.fromEntries(
    findings.filter(({ verdict }) => verdict === "differs").map(({ about, observed }) => [about, observed])
  )

const faults = ({ steps }: Report.Report) => steps.filter(({ outcome }) => outcome === "fault").map(({ step }) => step)

const stepOf = ({ steps }: Report.Report, name: string) => steps.find(({ step }) => step === name)

interface Turned {
  readonly options: SoraServer.Options
  readonly differs: Record<string, unknown>
  readonly step?: readonly [name: string, detail: RegExp]
  readonly exitCode?: number
  readonly faults?: ReadonlyArray<string>
}

const withoutAsking = "DataChannel signaling for who does not ask for it"
const mayGo = "ignore_disconnect_websocket of the offer"

const turned: Record<string, Turned> = {
  nothing: { options: {}, differs: {} },
  rpc: {
    options: { rpc: false },
    differs: {
      "the order of data_channels": "signaling, notify, push, stats",
      "the rpc channel and rpc_methods": "neither"
    },
    faults: ["rpc", "grants"]
  },
  signalingNotifyMetadataExt: {
    options: { signalingNotifyMetadataExt: false },
    differs: {
      "the two metadata methods": "not granted, by the authentication or without signaling_notify_metadata_ext"
    }
  },
  compress: {
    options: { compress: false },
    differs: { "compress of rpc in the offer": "false" },
    step: ["compression", /^none$/]
  },
  defaultDataChannelSignaling: {
    options: { defaultDataChannelSignaling: true },
    differs: { [withoutAsking]: "on, and the WebSocket must stay" }
  },
  defaultIgnoreDisconnectWebsocket: {
    options: { defaultDataChannelSignaling: true, defaultIgnoreDisconnectWebsocket: true },
    differs: { [withoutAsking]: "on, and the WebSocket may go", [mayGo]: "true" }
  },
  ignoreDisconnectWebsocket: { options: { ignoreDisconnectWebsocket: true }, differs: { [mayGo]: "true" } },
  redirects: { options: { redirects: 1 }, differs: { "redirects before the offer": "1" } },
  iceServers: {
    options: { iceServers: [{ urls: ["stun:127.0.0.1:1", "turn:127.0.0.1:1"], username: "u", credential: "c" }] },
    differs: {},
    step: ["offer", /1 STUN, 1 TURN/]
  },
  // There is no relay.
  iceTransportPolicy: {
    options: { iceTransportPolicy: "relay" },
    differs: {},
    faults: ["ICE"],
    exitCode: 2,
    step: ["ICE", /relay/i]
  },
  maxInflatedBytes: {
    options: { maxInflatedBytes: 10_000 },
    differs: { "a call of 200,000 bytes": "-32700 JSON-RPC-PARSE-ERROR, no data" }
  },
  recvonlyWithoutMedia: {
    options: { recvonlyWithoutMedia: true },
    differs: { "recvonly without media, with a channel of its own": "accepted" }
  },
  acceptUnprefixedMethods: {
    options: { acceptUnprefixedMethods: true },
    differs: {
      "a granted method by its name without a version": "-32602 JSON-RPC-INVALID-PARAMS, data with UNKNOWN-KEYS"
    }
  },
  itemResult: {
    options: { itemResult: "item" },
    differs: { "the result of PutSignalingNotifyMetadataItem": "the item" }
  },
  closeMessage: { options: { closeMessage: true }, differs: {} },
  handlers: {
    options: { handlers: [SoraMethod.handle(SoraMethod.make("Own", { version: "1.0" }), () => Effect.succeed(null))] },
    differs: { "versions of what is granted": "2025.2.0, 1.0" },
    step: ["grants", /^6 methods$/]
  },
  // Its calls are answered before the next one comes.
  maxCalls: { options: { maxCalls: 5 }, differs: {} },
  maxBufferedBytes: {
    options: { maxBufferedBytes: 100_000 },
    differs: {
      "a call of 200,000 bytes":
        "no answer; the connection ended: the server closed the connection: 4490 BUFFER-OVERFLOW"
    }
  },
  allowedOrigins: { options: { allowedOrigins: ["https://app.example"] }, differs: {} },
  host: { options: { host: "localhost" }, differs: {} },
  faults: { options: { faults: { drop: 1 } }, differs: {}, faults: ["rpc"] },
  authenticate: {
    options: { authenticate: () => Effect.succeed({ rpcMethods: ["2025.2.0/RequestSimulcastRid"] }) },
    differs: {
      "the two metadata methods": "not granted, by the authentication or without signaling_notify_metadata_ext"
    }
  }
}

describe("doctor against the development server, turned round", { timeout: 120_000 }, () => {
  for (const [name, { differs, exitCode = 6, faults: expectedFaults = [], options, step }] of Object.entries(turned)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const { url } = yield* SoraServer.make(options)
        const { failure, report } = yield* examine(url)
        assert.deepStrictEqual(differences(report), differs)
        assert.deepStrictEqual(faults(report), expectedFaults)
        assert.strictEqual(failure?.exitCode, expectedFaults.length === 0 ? undefined : exitCode)
        if (step !== undefined) assert.match(stepOf(report, step[0])!.detail, step[1])
        if (name === "nothing") {
          assert.match(stepOf(report, "ICE")!.detail, /^host to host over udp$/)
          assert.isAbove(report.findings.filter(({ verdict }) => verdict === "as guessed").length, 30)
          assert.notInclude(Report.toMarkdown(report), "Differs")
        } else if (Object.keys(differs).length > 0) assert.include(Report.toMarkdown(report), "## Differs")
      }))
  }

  // Of one that fails at random: a finding is about the call that was made, and what cannot be told is not told.
  const order = "the order of answers to 20 calls"
  const none = /^(no answer|no answer, but another frame|no result|\d+ of 20 are answered)$/
  const unwell: Record<string, readonly [faults: SoraFaults.Faults, differs: Record<string, unknown> | RegExp]> = {
    "answers that come twice": [{ duplicate: 1 }, { [order]: "as called, some twice, all with -32601" }],
    "answers that come late": [{ delay: "1 second", seed: 1 }, { [order]: "not as called, all with -32601" }],
    "answers that come too late": [{ delay: "1 minute", delayRate: 0.3, seed: 3 }, none],
    "answers that are lost": [{ drop: 0.3, seed: 1 }, none],
    "answers to nobody": [{ wrongId: 0.4, seed: 1 }, none],
    "answers that are none": [
      { corrupt: 0.5, seed: 4 },
      new RegExp(
        `${none.source}|FAULT-INJECTED|^(an error that is none|neither a result nor an error|a result|zlib and binary)$`
      )
    ]
  }
  for (const [name, [faults, expected]] of Object.entries(unwell)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const { url } = yield* SoraServer.make({ faults })
        const { failure, report } = yield* examine(url)
        assert.isUndefined(failure)
        const differs = differences(report)
        if (!(expected instanceof RegExp)) assert.deepStrictEqual(differs, expected)
        else for (const observed of Object.values(differs)) assert.match(observed!, expected)
      }))
  }

  it.live("pings that come oftener", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({ pingInterval: "100 millis" })
      const { report } = yield* examine(url)
      assert.deepStrictEqual(Object.keys(differences(report)), ["the time between pings"])
    }))

  it.live("one that checks tokens, with a good one and a bad one", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({
        authenticate: ({ metadata }) =>
          metadata === "the good one" ? Effect.succeed({}) : Effect.fail(new SoraAuth.Refusal({ reason: "NOT-YOU" }))
      })
      const good = yield* examine(url, { metadata: "the good one" })
      assert.deepStrictEqual([differences(good.report), good.failure], [{}, undefined])
      assert.include(JSON.stringify(good.report.findings), "closed with 4490 NOT-YOU")
      const bad = yield* examine(url, { metadata: "another" })
      assert.deepStrictEqual([faults(bad.report), bad.failure?.exitCode], [["authentication"], 2])
      assert.include(bad.failure!.text, "4490 NOT-YOU")
    }))

  it.live("one that says which token would have been good", () =>
    Effect.gen(function*() {
      const token = "Tok3n-that-nobody-may-see"
      const { url } = yield* SoraServer.make({
        authenticate: ({ metadata }) =>
          metadata === token ? Effect.succeed({}) : Effect.fail(new SoraAuth.Refusal({ reason: `NOT-${token}` })),
        handlers: [SoraMethod.handle(SoraMethod.make(token), () => Effect.succeed(null))]
      })
      const { report } = yield* examine(url, { metadata: token, secrets: [token] })
      assert.include(JSON.stringify(report.findings), "closed with 4490 NOT-[redacted]")
      assert.include(report.grants, "[redacted]")
      assert.notInclude(Report.toMarkdown(report), token)
    }))

  it.live("tries each row of section 9 of the notes, or says why not", () =>
    Effect.gen(function*() {
      const notes = readFileSync("docs/sora-protocol.md", "utf8")
      const section = /^## 9\. [^]*?(?=^## )/m.exec(notes)![0]
      const rows = Array.from(section.matchAll(/^\| (\d+) \|/gm), ([, row]) => Number(row))
      assert.isAbove(rows.length, 35)
      const { url } = yield* SoraServer.make()
      const { report } = yield* examine(url)
      const known = new Set(report.findings.map(({ row }) => row).filter((row) => row !== null))
      assert.sameMembers([...known], rows)
      for (const { reason, verdict } of report.findings) if (verdict === "not tried") assert.isNotEmpty(reason)
    }))

  it.live("of several URLs, each; one that is dead is a fault, and nothing more", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const dead = "ws://127.0.0.1:1/signaling"
      const { failure, report } = yield* examine([dead, url])
      assert.deepStrictEqual([faults(report), failure?.exitCode, differences(report)], [["TCP 1"], 6, {}])
      assert.match(failure!.text, /TCP 1: port 1: ECONNREFUSED/)
      assert.strictEqual(stepOf(report, "TCP 2")!.outcome, "ok")
      assert.strictEqual(stepOf(report, "rpc")!.outcome, "ok")
      const none = yield* examine([dead, "ws://127.0.0.1:2/signaling"])
      assert.deepStrictEqual([faults(none.report), none.failure?.exitCode], [["TCP 1", "TCP 2"], 2])
      const unfit = yield* examine([url, "http://127.0.0.1/"])
      assert.deepStrictEqual([faults(unfit.report), unfit.failure?.exitCode], [["URL 2"], 1])
    }))

  it.live("switched before the channels are open", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make({ switchOrder: "before-open" })
      const { failure, report } = yield* examine(url)
      assert.isUndefined(failure)
      // The two go over two transports, so that they may come in either order.
      const { "when rpc opens": order = "after switched", ...others } = differences(report)
      assert.deepStrictEqual([order, others], ["after switched", {}])
    }))

  it.live("one whose candidates nobody listens at", () =>
    Effect.gen(function*() {
      const { url } = yield* ScriptedSora.make(({ send, take }) =>
        Effect.andThen(
          take,
          Effect.sync(() => send({ type: "offer", sdp: Nowhere, connection_id: "C" }))
        )
      )
      const { failure, report } = yield* examine(url, { connectTimeout: 2000 })
      assert.deepStrictEqual([faults(report), failure?.exitCode], [["ICE"], 2])
      assert.strictEqual(stepOf(report, "authentication")!.outcome, "ok")
      assert.strictEqual(stepOf(report, "DTLS")!.outcome, "skipped")
    }))

  it.live("leaves the metadata of others and, without --write, its own alone", () =>
    Effect.gen(function*() {
      const { connections, url } = yield* SoraServer.make()
      const other = yield* connect({ url, channelId: "lobby" })
      yield* other.rpc.call("2025.2.0/PutSignalingNotifyMetadata", { metadata: { mood: "busy" } })
      const { code, stdout } = yield* run(["doctor"], { SORA_SIGNALING_URL: url, SORA_CHANNEL_ID: "lobby" })
      assert.strictEqual(code, 0)
      assert.include(stdout, "--write tries it")
      assert.notInclude(stdout, "\"observed\":\"the whole metadata\"")
      assert.deepStrictEqual((yield* connections).map(({ metadata }) => metadata), [{ mood: "busy" }])
    }))
})

/** A server that is none of Sora, for as long as the scope. */
const listening = <S extends Server>(make: () => S) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<S>((resume) => {
        const server = make()
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.sync(() => {
          server.close()
          if ("closeAllConnections" in server) (server.closeAllConnections as () => void)()
        })
    ),
    (server) => `ws://127.0.0.1:${(server.address() as { port: number }).port}/signaling`
  )

const answering = (handler: RequestListener) => listening(() => createServer(handler))

/** A WebSocket server that does with a message what it is told to. */
const webSockets = (onMessage: (text: string, send: (text: string) => void) => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<NodeWS.WebSocketServer>((resume) => {
        const server = new NodeWS.WebSocketServer({ host: "127.0.0.1", port: 0 })
        server.on("connection", (socket) => {
          socket.on("message", (data: unknown) => onMessage(String(data), (text) => socket.send(text)))
        })
        server.on("listening", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.sync(() => {
          for (const client of server.clients) client.terminate()
          server.close()
        })
    ),
    (server) => `ws://127.0.0.1:${(server.address() as { port: number }).port}/signaling`
  )

describe("doctor against what is no Sora", { timeout: 60_000 }, () => {
  const cases: Record<string, readonly [make: Effect.Effect<string, never, any>, fault: string, text: RegExp]> = {
    "nothing at all": [Effect.succeed("ws://127.0.0.1:1/signaling"), "TCP", /ECONNREFUSED/],
    "no URL": [Effect.succeed("http://127.0.0.1/"), "URL", /no ws:\/\//],
    "a wrong path": [
      answering((_, response) => response.writeHead(404).end()),
      "WebSocket",
      /404.*path is wrong \(Sora's is \/signaling\)/
    ],
    "a web server": [answering((_, response) => response.end("hello")), "WebSocket", /200/],
    "a port that says nonsense": [
      listening(() => createTcpServer((socket) => socket.on("error", () => {}).end("220 mail.example.com\r\n"))),
      "WebSocket",
      /could be reached/
    ],
    "a WebSocket that echoes": [webSockets((text, send) => send(text)), "offer", /is it a Sora\?/],
    "a WebSocket that says nothing": [webSockets(() => {}), "offer", /is it a Sora\?/],
    "a WebSocket whose offer is none": [
      webSockets((_, send) => send("{\"type\":\"offer\",\"sdp\":1}")),
      "offer",
      /bad "offer"/
    ]
  }
  for (const [name, [make, fault, text]] of Object.entries(cases)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const url = yield* make as Effect.Effect<string>
        const { failure, report } = yield* examine(url, { connectTimeout: 2000 }).pipe(
          Effect.timeout("20 seconds"),
          Effect.orDie
        )
        assert.deepStrictEqual(faults(report), [fault])
        assert.match(failure!.text, text)
        assert.strictEqual(failure!.exitCode, fault === "URL" ? 1 : 2)
        // One line.
        assert.notInclude(failure!.text, "\n")
      }))
  }

  it.live.skipIf(spawnSync("openssl", ["version"]).status !== 0)(
    "a certificate that nobody trusts",
    () =>
      Effect.gen(function*() {
        const files = yield* folder
        const [key, cert] = [join(files, "key.pem"), join(files, "cert.pem")]
        const request = `req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 2 -keyout ${key} -out ${cert}`
        execFileSync("openssl", request.split(" "), { stdio: "ignore" })
        const url = yield* listening(() =>
          createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_, response) => response.end())
        )
        const { failure, report } = yield* examine(url.replace("ws:", "wss:"), { connectTimeout: 2000 })
        assert.deepStrictEqual(faults(report), ["TLS", "WebSocket"])
        assert.match(stepOf(report, "TLS")!.detail, /not trusted: DEPTH_ZERO_SELF_SIGNED_CERT/)
        assert.strictEqual(failure!.exitCode, 2)
      })
  )
})
