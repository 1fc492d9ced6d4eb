/**
 * The examples as a user runs them: processes of their own, one after the other. The
 * bot's tests stand beside it, and the page is tested in Chromium.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option, Queue, Schema, Stream } from "effect"
import { SoraAuth, SoraServer } from "effect-sora-rpc/server"
import { execFile, spawn } from "node:child_process"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { createInterface } from "node:readline"
import { connect, first } from "./utils/connect.ts"
import * as Restartable from "./utils/restartable.ts"

const run = (example: string, env: Record<string, string>) =>
  Effect.callback<{ readonly code: number; readonly stdout: string; readonly stderr: string }>((resume) => {
    const child = execFile(
      process.execPath,
      ["--import", "tsx", `examples/${example}.ts`],
      { env: { ...process.env, NO_COLOR: "1", ...env } },
      (error, stdout, stderr) =>
        resume(Effect.succeed({ code: error === null ? 0 : Number(error.code), stdout, stderr }))
    )
    return Effect.sync(() => child.kill())
  })

/** One that goes on until it is told to stop. `until` waits for a line of its output. */
const start = Effect.fnUntraced(function*(example: string, env: Record<string, string>) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, ["--import", "tsx", `examples/${example}.ts`], {
        env: { ...process.env, NO_COLOR: "1", ...env },
        stdio: ["ignore", "pipe", "inherit"]
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  const lines: Array<string> = []
  const ticks = yield* Queue.sliding<void>(1)
  createInterface(child.stdout).on("line", (line) => {
    lines.push(line)
    Queue.offerUnsafe(ticks, undefined)
  })
  const ended = yield* Effect.forkScoped(
    Effect.callback<number | null>((resume) => void child.once("exit", (code) => resume(Effect.succeed(code)))),
    { startImmediately: true }
  )
  return {
    /** Waits until a text has been in so many lines, from the beginning. */
    until: (text: string, times = 1) =>
      Queue.take(ticks).pipe(
        Effect.when(Effect.sync(() => lines.filter((line) => line.includes(text)).length < times)),
        Effect.repeat({ until: Option.isNone })
      ),
    stop: Effect.andThen(Effect.sync(() => child.kill("SIGINT")), Fiber.join(ended))
  }
})

/** Takes what an OTLP exporter posts, as JSON, by path. */
const collector = Effect.acquireRelease(
  Effect.callback<{ readonly url: string; readonly posted: Map<string, Array<any>>; readonly close: () => void }>(
    (resume) => {
      const posted = new Map<string, Array<any>>()
      const server = createServer(async (request, response) => {
        const chunks = await request.toArray()
        const path = request.url ?? ""
        posted.set(path, [...posted.get(path) ?? [], JSON.parse(Buffer.concat(chunks).toString())])
        response.end("{}")
      }).listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, posted, close: () => server.close() }))
      })
    }
  ),
  ({ close }) => Effect.sync(close)
)

describe("tracing", { concurrent: false }, () => {
  it.live("sends the spans of the connection, the calls and the server, and the metrics", () =>
    Effect.gen(function*() {
      const { posted, url } = yield* collector
      const { code, stderr, stdout } = yield* run("tracing", { OTEL_EXPORTER_OTLP_ENDPOINT: url })
      assert.deepStrictEqual([code, stderr], [0, ""])
      const connectionId = /^connected as (\w{26})$/m.exec(stdout)?.[1]
      const spans: ReadonlyArray<any> = (posted.get("/v1/traces") ?? []).flatMap(({ resourceSpans }) =>
        resourceSpans.flatMap((resource: any) => resource.scopeSpans.flatMap((scope: any) => scope.spans))
      )
      // Kinds of OTLP: 1 internal, 2 server, 3 client.
      const one = (name: string, kind: number) => {
        const found = spans.filter((span) => span.name === name && span.kind === kind)
        assert.lengthOf(found, 1, name)
        return found[0]
      }
      const attribute = (span: any, name: string) =>
        Object.values(span.attributes.find(({ key }: any) => key === name)?.value ?? {})[0]
      const attempt = one("sora.connect", 3)
      assert.strictEqual(attribute(attempt, "sora.connection_id"), connectionId)
      for (const step of ["sora.dial", "sora.await_offer", "sora.negotiate", "sora.join"]) {
        assert.strictEqual(one(step, 1).parentSpanId, attempt.spanId)
      }
      for (const method of ["PutSignalingNotifyMetadataItem", "RequestSimulcastRid"]) {
        const call = one(`2025.2.0/${method}`, 3)
        assert.strictEqual(call.parentSpanId, one("program", 1).spanId)
        assert.strictEqual(attribute(call, "server.address"), "127.0.0.1")
        const served = one(`2025.2.0/${method}`, 2)
        assert.deepStrictEqual([served.traceId, served.parentSpanId], [call.traceId, call.spanId])
      }
      assert.strictEqual(attribute(one("2025.2.0/RequestSimulcastRid", 3), "error.type"), "-32602")
      const metrics = JSON.stringify(posted.get("/v1/metrics"))
      assert.include(metrics, "sora.client.connect.duration")
      assert.include(metrics, "rpc.client.call.duration")
    }), 40_000)
})

describe("moderation", { concurrent: false }, () => {
  /** Gives a new token with each request. */
  const tokens = Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly issued: Set<string>; readonly close: () => void }>((resume) => {
      const issued = new Set<string>()
      const server = createServer((_, response) => {
        const access_token = `token ${issued.size + 1}`
        issued.add(access_token)
        response.setHeader("content-type", "application/json").end(JSON.stringify({ access_token }))
      }).listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, issued, close: () => server.close() }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

  it.live("survives a restart of the server: rids and metadata are as it wants them", () =>
    Effect.gen(function*() {
      const { issued, url: tokenUrl } = yield* tokens
      const used = new Set<string>()
      const decode = Schema.decodeUnknownOption(Schema.Struct({ access_token: Schema.String }))
      const server = yield* Restartable.make({
        // The bot's tokens are good for one connection each.
        authenticate: ({ clientId, metadata }) => {
          if (clientId === "viewer") return Effect.succeed({})
          const token = Option.getOrUndefined(decode(metadata))?.access_token ?? ""
          if (!issued.has(token) || used.has(token)) return Effect.fail(new SoraAuth.Refusal({ reason: "TOKEN" }))
          used.add(token)
          return Effect.succeed({})
        }
      })
      const join = Effect.gen(function*() {
        const { connection } = yield* connect({
          url: server.url,
          clientId: "viewer",
          channelId: "lobby",
          simulcast: true,
          reconnect: true
        })
        return connection
      })
      type Viewer = Effect.Success<typeof join>
      const bot = Effect.map(
        Effect.suspend(() => server.current().connections),
        (connections) => connections.find(({ clientId }) => clientId !== "viewer")
      )

      const before = yield* join
      const { stop, until } = yield* start("moderation", {
        SORA_SIGNALING_URL: server.url,
        SORA_CHANNEL_ID: "lobby",
        SORA_TOKEN_URL: tokenUrl
      })
      /** Waits until each has been asked for so many times, and looks at the server. */
      const areAskedFor = Effect.fnUntraced(function*(wanted: ReadonlyArray<readonly [viewer: Viewer, times: number]>) {
        const rids = new Map<string, string>()
        for (const [viewer, times] of wanted) {
          const { connectionId } = yield* viewer.offer
          yield* until(`low layer of ${connectionId}`, times)
          rids.set(connectionId, "r0")
        }
        const { metadata, senderRids } = (yield* bot) ?? assert.fail("the bot is not there")
        assert.deepStrictEqual({ metadata, senderRids }, { metadata: { nickname: "Moderator" }, senderRids: rids })
      })
      const between = yield* join
      yield* areAskedFor([[before, 1], [between, 1]])

      // Its own connection breaks, and somebody joins while it is away.
      yield* server.current().inject((yield* bot)?.connectionId ?? "", "closeAbruptly")
      const meanwhile = yield* join
      yield* areAskedFor([[before, 2], [between, 2], [meanwhile, 1]])

      // The others come back by themselves, with other ids.
      yield* server.stop
      yield* server.start()
      const viewers = [before, between, meanwhile]
      yield* Effect.forEach(viewers, ({ changes }) =>
        first(changes, (state) => state._tag === "Connected" && state.number === 2))
      const after = yield* join
      yield* areAskedFor([...viewers, after].map((viewer) => [viewer, 1]))

      assert.isAtLeast(used.size, 3)
      yield* stop
      assert.isUndefined(yield* bot)
    }), 60_000)
})

describe("ownMethod", { concurrent: false }, () => {
  it.live("is called and served, and its error is the application's own", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* run("ownMethod", {}), {
        code: 0,
        stdout: "counted: { yesCount: 1, noCount: 0 }\nvoted already: yes\n",
        stderr: ""
      })
    }), 40_000)
})

describe("fleet", { concurrent: false }, () => {
  it.live(
    "does its work in every channel but the one that refuses it, over one connection each",
    () =>
      Effect.gen(function*() {
        const connects: Array<string> = []
        const server = yield* SoraServer.make({
          authenticate: ({ channelId, clientId }) => {
            if (clientId !== "viewer") connects.push(channelId)
            return channelId === "closed"
              ? Effect.fail(new SoraAuth.Refusal({ reason: "NOT-YOU" }))
              : Effect.succeed({})
          }
        })
        const { connection } = yield* connect({ url: server.url, channelId: "stage", clientId: "viewer" })
        const { code, stderr, stdout } = yield* run("fleet", {
          SORA_SIGNALING_URL: server.url,
          SORA_CHANNEL_IDS: "lobby,closed,stage",
          SORA_ACCESS_TOKEN: "s3cret"
        })
        const lines = (text: string) => text.trim().split("\n")
        assert.strictEqual(code, 0)
        const open = ["lobby", "stage"]
        assert.sameMembers(lines(stdout), [
          ...open.map((channelId) => `${channelId}: closing in five minutes`),
          ...open.map((channelId) => `${channelId}: taken back`)
        ])
        assert.lengthOf(lines(stderr), 2)
        for (const line of lines(stderr)) assert.match(line, /^closed: the server refused the connection: 4490 NOT-YOU/)
        assert.notInclude(stdout + stderr, "s3cret")
        // Of the channel that refuses it is tried anew each time.
        assert.deepStrictEqual(connects.toSorted(), ["closed", "closed", "lobby", "stage"])
        const puts = yield* Stream.runCollect(Stream.take(connection.push, 2))
        assert.deepStrictEqual(puts.map(({ data }: any) => [data.key, data.value]), [
          ["notice", "closing in five minutes"],
          ["notice", null]
        ])
        assert.deepStrictEqual((yield* server.connections).map(({ clientId }) => clientId), ["viewer"])
      }),
    40_000
  )
})
