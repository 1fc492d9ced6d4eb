/**
 * coturn's `turnserver` on the loopback interface.
 */
import { Effect, Schema } from "effect"
import { spawn, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

export const missing = spawnSync("turnserver", ["--version"]).error !== undefined
export const ifMissing = missing ? " (skipped: no turnserver; apt-get install coturn)" : ""

class TurnError extends Schema.TaggedError<TurnError>()("TurnError", { message: Schema.String }) {}

export const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as { port: number }
    server.close(() => resume(Effect.succeed(port)))
  })
})

export const user = { username: "mika", credential: "hush" }

/**
 * A TURN server for clients over one transport alone, which runs as long as the
 * scope. Gives its port, and what it has logged so far.
 */
export const turnServer = Effect.fnUntraced(function*(
  transport: "udp" | "tcp" | "tls",
  options: {
    readonly certificate?: { readonly cert: string; readonly key: string }
    readonly args?: ReadonlyArray<string>
    readonly ip?: string
  } = {}
) {
  const { args = [], certificate, ip = "127.0.0.1" } = options
  const port = yield* freePort
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "turnserver-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
  const file = (name: string, contents: string) => {
    const path = join(directory, name)
    writeFileSync(path, contents)
    return path
  }
  const transports = transport === "tls"
    ? [
      "--no-udp",
      "--no-tcp",
      "--no-dtls",
      `--tls-listening-port=${port}`,
      `--cert=${file("cert.pem", certificate!.cert)}`,
      `--pkey=${file("key.pem", certificate!.key)}`
    ]
    : [transport === "udp" ? "--no-tcp" : "--no-udp", "--no-tls", "--no-dtls", `--listening-port=${port}`]
  let output = ""
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      // No configuration file, no log file, no database; verbose, else it does not say that it listens.
      spawn("turnserver", [
        "-n",
        "-v",
        `--listening-ip=${ip}`,
        "--relay-ip=127.0.0.1",
        ...transports,
        "--allow-loopback-peers",
        "--lt-cred-mech",
        "--realm=test",
        `--user=${user.username}:${user.credential}`,
        "--no-cli",
        "--relay-threads=1",
        "--userdb=:memory:",
        "--log-file=stdout",
        `--pidfile=${join(directory, "pid")}`,
        ...args
      ], { stdio: ["ignore", "pipe", "ignore"] })
    ),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )
  const said = (what: RegExp) =>
    Effect.callback<void, TurnError>((resume) => {
      const look = () => what.test(output) && resume(Effect.void)
      child.stdout.on("data", look)
      child.once("error", ({ message }) => resume(Effect.fail(new TurnError({ message }))))
      child.once("exit", () => resume(Effect.fail(new TurnError({ message: output }))))
      look()
      return Effect.sync(() => child.stdout.off("data", look))
    }).pipe(Effect.timeout("10 seconds"))
  child.stdout.on("data", (chunk) => {
    output += chunk
  })
  const host = ip.replaceAll(/[.[\]]/g, "\\$&")
  yield* said(
    new RegExp(`${transport === "tls" ? "tls/tcp|tls" : transport} listener opened on ?: \\[?${host}\\]?:${port}`, "i")
  )
  return { port, said, kill: Effect.sync(() => void child.kill("SIGKILL")), output: () => output }
})
