import { Deferred, Effect, Exit } from "effect"
import { execFile, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Node strips the types by itself, which starts faster than a loader. */
const command = ["src/cli/main.ts"]

/** Nothing of the shell that runs the tests. */
const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SORA_")))

export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

const execute = (
  file: string,
  args: ReadonlyArray<string>,
  env: Record<string, string>,
  stdin?: string
): Effect.Effect<Ended> =>
  Effect.callback((resume) => {
    const child = execFile(
      file,
      args,
      { env: { ...clean, NO_COLOR: "1", ...env }, maxBuffer: 16 * 1024 * 1024 },
      (error, stdout, stderr) =>
        resume(Effect.succeed({ code: error === null ? 0 : Number(error.code), stdout, stderr }))
    )
    child.stdin?.end(stdin ?? "")
    return Effect.sync(() => child.kill())
  })

/** The binary as a process of its own, until it ends. */
export const run = (args: ReadonlyArray<string>, env: Record<string, string> = {}, stdin?: string) =>
  execute(process.execPath, [...command, ...args], env, stdin)

/** The same by a script, which has it as its arguments, `"$0" "$@"`. */
export const runBy = (script: string, args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
  execute("sh", ["-c", script, process.execPath, ...command, ...args], env)

/** The binary as a process that goes on; killed with the scope. */
export const start = Effect.fnUntraced(function*(args: ReadonlyArray<string>, env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [...command, ...args], { env: { ...clean, NO_COLOR: "1", ...env } })
  const ended = yield* Deferred.make<Ended>()
  const output = { stdout: "", stderr: "" }
  const waiting = new Set<() => void>()
  for (const name of ["stdout", "stderr"] as const) {
    child[name].on("data", (data) => {
      output[name] += String(data)
      for (const look of waiting) look()
    })
  }
  child.on("close", (code) => {
    Deferred.doneUnsafe(ended, Exit.succeed({ code: code ?? -1, ...output }))
    for (const look of waiting) look()
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
  return {
    pid: child.pid!,
    /** Nobody reads what it writes any more, as after `| head`. */
    stopReading: Effect.sync(() => child.stdout.destroy()),
    signal: (signal: "SIGINT" | "SIGTERM") => Effect.sync(() => child.kill(signal)),
    ended: Deferred.await(ended),
    /** What matches, as soon as it has been written. */
    written: (where: "stdout" | "stderr", pattern: RegExp) =>
      Effect.callback<RegExpExecArray>((resume) => {
        const look = () => {
          const found = pattern.exec(output[where])
          if (found !== null) resume(Effect.succeed(found))
          else if (child.exitCode !== null) resume(Effect.die(new Error(`it ended: ${output.stderr}`)))
        }
        waiting.add(look)
        look()
        return Effect.sync(() => waiting.delete(look))
      })
  }
})

/** A folder that goes with the scope. */
export const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "sora-rpc-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** JSON Lines. */
export const linesOf = (text: string): Array<any> =>
  text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line))

/** What differs from run to run: ids, ports, times, SDP. */
export const settled = (text: string): string =>
  text
    .replace(/"sdp":"[^"]*"/g, "\"sdp\":\"SDP\"")
    .replace(/"candidate":"[^"]*"/g, "\"candidate\":\"CANDIDATE\"")
    .replace(/\b[0-9A-Z]{26}\b/g, "ID")
    .replace(/127\.0\.0\.1:\d+/g, "127.0.0.1:PORT")
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "TIME")
    .replace(/("(?:min|p50|p99|max)Millis":)[\d.]+/g, "$1MILLIS")
    .replace(/Node\.js [\d.]+/g, "Node.js VERSION")
