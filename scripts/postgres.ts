/**
 * A PostgreSQL of one's own for a test or a measurement: in a temporary folder,
 * on the loopback interface, gone when the scope closes. It needs the binaries:
 * `apt-get install postgresql`.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { spawn, spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { chownSync, existsSync, globSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

export class PostgresError extends Schema.TaggedError<PostgresError>()("PostgresError", { message: Schema.String }) {}

/** Debian keeps the server's binaries out of the path. The newest, which is the last one. */
const folder = [...globSync("/usr/lib/postgresql/*/bin"), ...(process.env["PATH"] ?? "").split(":")].toReversed()
  .find((folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres")))

export const isInstalled = folder !== undefined

/** It refuses to run as root; Debian's package makes a user for it. */
const user: { readonly uid?: number; readonly gid?: number } = (() => {
  if (process.getuid?.() !== 0) return {}
  const [uid, gid] = ["-u", "-g"].map((flag) =>
    Number(spawnSync("id", [flag, "postgres"], { encoding: "utf8" }).stdout)
  )
  return { uid: uid!, gid: gid! }
})()

/** A port that is free on loopback. */
export const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as { port: number }
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** Starts one, and gives its URL. */
export const make = Effect.gen(function*() {
  if (folder === undefined) {
    return yield* new PostgresError({ message: "there is no PostgreSQL: apt-get install postgresql" })
  }
  const port = yield* freePort
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "postgres-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
  const password = randomBytes(12).toString("hex")
  writeFileSync(join(directory, "password"), password)
  if (user.uid !== undefined) {
    for (const path of [directory, join(directory, "password")]) chownSync(path, user.uid, user.gid!)
  }
  const data = join(directory, "data")
  const initdb = spawnSync(join(folder, "initdb"), [
    `--pgdata=${data}`,
    "--username=postgres",
    `--pwfile=${join(directory, "password")}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--no-locale",
    "--no-sync"
  ], { cwd: directory, encoding: "utf8", ...user })
  if (initdb.status !== 0) {
    return yield* new PostgresError({ message: `initdb failed: ${initdb.error?.message ?? initdb.stderr}` })
  }
  const server = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(
        join(folder, "postgres"),
        ["-D", data, `-k${directory}`, `-p${port}`, "-clisten_addresses=127.0.0.1", "-cfsync=off"],
        { cwd: directory, stdio: ["ignore", "ignore", "pipe"], ...user }
      )
    ),
    (server) =>
      Effect.callback<void>((resume) => {
        if (server.exitCode !== null || server.signalCode !== null) return resume(Effect.void)
        server.once("exit", () => resume(Effect.void))
        // Its fast shutdown: whoever is connected is cut off.
        server.kill("SIGINT")
      })
  )
  let output = ""
  yield* Effect.callback<void, PostgresError>((resume) => {
    server.stderr.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-4000)
      if (output.includes("ready to accept connections")) resume(Effect.void)
    })
    server.once("exit", () => resume(Effect.fail(new PostgresError({ message: `postgres ended: ${output}` }))))
    server.once("error", ({ message }) => resume(Effect.fail(new PostgresError({ message }))))
  }).pipe(
    Effect.timeoutOrElse({
      duration: "30 seconds",
      orElse: () => Effect.fail(new PostgresError({ message: `postgres does not come up: ${output}` }))
    })
  )
  return `postgres://postgres:${password}@127.0.0.1:${port}/postgres`
})
