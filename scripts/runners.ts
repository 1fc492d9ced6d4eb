/** Runners of `examples/cluster` as processes of their own, which end with the scope. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { spawn } from "node:child_process"
import { join } from "node:path"
import { freePort } from "./postgres.ts"

export class RunnerFailed extends Schema.TaggedError<RunnerFailed>()("RunnerFailed", { message: Schema.String }) {}

const root = join(import.meta.dirname, "..")

export interface Runner {
  /** Its port, by which it is known in the cluster and in the metadata of its connections. */
  readonly port: number
  readonly pid: number
  /** Sends a signal; completes when the process has ended. */
  readonly kill: (signal: "SIGKILL" | "SIGTERM") => Effect.Effect<void>
}

/** Starts one; completes when it is up, which is before the others have seen it. */
export const start = Effect.fnUntraced(function*(options: {
  readonly databaseUrl: string
  readonly soraUrl: string
  readonly port?: number
}) {
  const port = options.port ?? (yield* freePort)
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, ["--import", "tsx", "examples/cluster/runner.ts"], {
        cwd: root,
        env: { ...process.env, PORT: String(port), DATABASE_URL: options.databaseUrl, SORA_URL: options.soraUrl },
        stdio: ["ignore", "pipe", process.env["RUNNER_LOG"] === undefined ? "pipe" : "inherit"]
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  const ended = Effect.callback<void>((resume) => {
    const end = () => resume(Effect.void)
    if (child.exitCode !== null || child.signalCode !== null) return end()
    child.once("exit", end)
    return Effect.sync(() => child.off("exit", end))
  })
  let errors = ""
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-4000)
  })
  yield* Effect.callback<void, RunnerFailed>((resume) => {
    child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      if (text.includes("is up")) resume(Effect.void)
    })
    child.once("exit", () => resume(Effect.fail(new RunnerFailed({ message: `a runner ended: ${errors}` }))))
  })
  const kill = (signal: "SIGKILL" | "SIGTERM") =>
    Effect.suspend(() => {
      child.kill(signal)
      return ended
    })
  return { port, pid: child.pid!, kill } satisfies Runner as Runner
})
