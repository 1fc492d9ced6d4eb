/**
 * The demo as a user runs it: a process of its own, which ends by itself, with
 * the output and the exit code that the README promises. The binary has tests of
 * its own, in `test/cli`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SoraMethod } from "effect-sora-rpc"
import { SoraAuth, SoraServer } from "effect-sora-rpc/server"
import { execFile } from "node:child_process"

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
