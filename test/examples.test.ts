/**
 * The examples as a user runs them: processes of their own, which end by themselves.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFile } from "node:child_process"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

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

describe("tracing", () => {
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
    }))
})
