/**
 * A connection that is stopped while it is being made takes nothing along, and
 * leaves nothing that keeps the process alive. Each in a process of its own,
 * because it is the process that is at stake.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFile } from "node:child_process"

const run = (what: string) =>
  Effect.callback<{ readonly code: unknown; readonly stdout: string; readonly stderr: string }>((resume) => {
    const child = execFile(
      process.execPath,
      ["--import", "tsx", new URL("stopped.ts", import.meta.url).pathname, what],
      // What is left of DTLS's timers is gone after a second. Once it was half a minute.
      { timeout: 12_000 },
      (error, stdout, stderr) =>
        resume(Effect.succeed({ code: error === null ? 0 : error.signal ?? error.code, stdout, stderr }))
    )
    return Effect.sync(() => child.kill())
  })

describe("the process lives on, and ends by itself, after", { concurrent: false }, () => {
  for (
    const [what, title, output] of [
      ["interrupt", "an interrupt while several URLs are dialled", "stopped\n"],
      ["connectTimeout", "a timeout while several URLs are dialled", "stopped\n"],
      ["redirects", "eleven redirects at once, of which one counts", "ConnectTimeout\nstopped\n"],
      ["handshake", "an interrupt during the DTLS handshake", "stopped\n"]
    ] as const
  ) {
    it.live(title, () =>
      Effect.map(run(what), (result) => {
        assert.deepStrictEqual(result, { code: 0, stdout: output, stderr: "" })
      }))
  }
})
