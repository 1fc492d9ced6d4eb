/**
 * The scripts as a user runs them: processes of their own, which end by
 * themselves, with the output and the exit code that the README promises.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit } from "effect"
import { SoraMethod } from "effect-sora-rpc"
import { SoraAuth, SoraServer } from "effect-sora-rpc/server"
import { execFile, spawn } from "node:child_process"

const run = (script: string, args: ReadonlyArray<string> = [], env: Record<string, string> = {}) =>
  Effect.callback<{ readonly code: number; readonly stdout: string; readonly stderr: string }>((resume) => {
    const child = execFile(
      process.execPath,
      ["--import", "tsx", `scripts/${script}.ts`, ...args],
      { env: { ...process.env, NO_COLOR: "1", ...env } },
      (error, stdout, stderr) =>
        resume(Effect.succeed({ code: error === null ? 0 : Number(error.code), stdout, stderr }))
    )
    return Effect.sync(() => child.kill())
  })

const Hang = SoraMethod.make("Hang", { version: "1" })
const hanging = SoraMethod.handle(Hang, () => Effect.never)

describe("demo", { concurrent: false }, () => {
  it.live("on the embedded server: all of it happens", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("demo")
      assert.deepStrictEqual([code, stderr], [0, ""])
      for (const method of SoraMethod.known) assert.include(stdout, `✓ ${method.name}`)
      assert.include(stdout, "All of it happened: 17 steps.")
    }), 20_000)

  it.live("against a given server, with what it grants", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({
        authenticate: ({ metadata }) =>
          metadata === "open"
            ? Effect.succeed({ rpcMethods: ["2025.2.0/PutSignalingNotifyMetadataItem"] })
            : Effect.fail(new SoraAuth.Refusal({ reason: "NOT-YOU" }))
      })
      const to = ["--signaling-url", server.url, "--channel-id", "c"]
      const granted = yield* run("demo", [...to, "--metadata", "\"open\""])
      assert.strictEqual(granted.code, 0, granted.stderr)
      assert.include(granted.stdout, "12 steps, 5 skipped")
      const refused = yield* run("demo", [...to, "--metadata", "\"s3cret\""])
      assert.strictEqual(refused.code, 1)
      assert.include(refused.stderr, "4490 NOT-YOU")
      assert.notInclude(refused.stderr + refused.stdout, "s3cret")
    }), 20_000)
})

describe("call", { concurrent: false }, () => {
  const put = ["--method", "PutSignalingNotifyMetadataItem", "--params", "{\"key\":\"mood\",\"value\":\"busy\"}"]

  it.live("prints the result as JSON on stdout", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const to = ["--signaling-url", url, "--channel-id", "c"]
      assert.deepStrictEqual(yield* run("call", [...to, ...put]), {
        code: 0,
        stdout: "{\"mood\":\"busy\"}\n",
        stderr: ""
      })
      assert.deepStrictEqual(yield* run("call", [...to, ...put, "--notify"]), { code: 0, stdout: "", stderr: "" })
    }), 20_000)

  it.live("has an exit code for each error, and says it on stderr", () =>
    Effect.gen(function*() {
      const running: { server?: SoraServer.SoraServer["Service"] } = {}
      const kick = SoraMethod.handle(SoraMethod.make("Kick", { version: "1" }), (_, { connectionId }) =>
        // Not awaited: the connection that asks is the one that goes.
        Effect.andThen(Effect.forkDetach(running.server!.disconnect({ connectionId })), Effect.never))
      const server = yield* SoraServer.make({ handlers: [hanging, kick] })
      running.server = server
      const to = ["--signaling-url", server.url, "--channel-id", "c"]
      const raw = "2025.2.0/PutSignalingNotifyMetadataItem"
      const results = yield* Effect.all([
        run("call", [...to, "--method", "x", "--params", "{s3cret"]),
        run("call", [
          "--signaling-url",
          "ws://127.0.0.1:1/x",
          "--channel-id",
          "c",
          "--method",
          "x",
          "--metadata",
          "\"s3cret\""
        ]),
        run("call", [...to, "--method", raw, "--params", "{\"key\":\"k\",\"value\":1,\"colour\":2}"]),
        run("call", [...to, "--method", "1/Hang", "--timeout", "300 millis"]),
        run("call", [...to, "--method", "1/Kick"])
      ], { concurrency: 2 })
      const expected = [
        [1, /--params: not JSON/],
        [2, /SoraConnectionError: .*ECONNREFUSED/],
        [3, /RpcError -32602: JSON-RPC-INVALID-PARAMS \{"UNKNOWN-KEYS":\["colour"\]\}/],
        [4, /TimeoutError: 1\/Hang: no response within 300ms/],
        [5, /Disconnected -1: Disconnected/]
      ] as const
      expected.forEach(([code, message], i) => {
        assert.strictEqual(results[i]!.code, code, results[i]!.stderr)
        assert.match(results[i]!.stderr, message)
        assert.strictEqual(results[i]!.stdout, "")
        assert.notInclude(results[i]!.stderr, "s3cret")
      })
    }), 30_000)
})

describe("serve", { concurrent: false }, () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it.live(`prints its URL, serves, and stops on ${signal}`, () =>
      Effect.gen(function*() {
        const url = yield* Deferred.make<string>()
        const ended = yield* Deferred.make<number | null>()
        const child = spawn(process.execPath, ["--import", "tsx", "scripts/serve.ts", "--port", "0", "--no-compress"])
        yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
        child.stdout.on("data", (data) => {
          const found = /ws:\S+/.exec(String(data))
          if (found !== null) Deferred.doneUnsafe(url, Exit.succeed(found[0]))
        })
        child.on("exit", (code) => Deferred.doneUnsafe(ended, Exit.succeed(code)))
        const to = ["--signaling-url", yield* Deferred.await(url), "--channel-id", "c"]
        const { code } = yield* run("call", [
          ...to,
          "--method",
          "PutSignalingNotifyMetadata",
          "--params",
          "{\"metadata\":1}"
        ])
        assert.strictEqual(code, 0)
        child.kill(signal)
        assert.strictEqual(yield* Deferred.await(ended), 0)
      }), 20_000)
  }

  it.live("says in its help which pages may connect, and refuses an empty secret", () =>
    Effect.gen(function*() {
      assert.match((yield* run("serve", ["--help"])).stdout, /--allow-origin/)
      const { code, stderr } = yield* run("serve", ["--jwt", "--jwt-secret", ""])
      assert.strictEqual(code, 2)
      assert.match(stderr, /SORA_JWT_SECRET is empty/)
    }), 20_000)

  it.live("says so when the port is taken", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const { code, stderr } = yield* run("serve", ["--port", new URL(url).port])
      assert.strictEqual(code, 2)
      assert.match(stderr, /cannot listen on 127\.0\.0\.1:\d+; is the port in use\?/)
    }), 20_000)
})
