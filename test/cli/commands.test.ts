/**
 * Every command as a user runs it: a process of its own against a `serve` of its
 * own, with stdout, stderr and exit code.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { SoraMethod, SoraRpcError } from "effect-sora-rpc"
import { SoraAuth, SoraServer } from "effect-sora-rpc/server"
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { connect } from "../utils/connect.ts"
import { type Ended, folder, linesOf, run, runBy, settled, start } from "./run.ts"

const shown = ({ code, stderr, stdout }: Ended) => ({ code, stdout: settled(stdout), stderr: settled(stderr) })

/** `serve` itself. */
const serving = Effect.gen(function*() {
  const served = yield* start(["serve", "--port", "0"])
  const [, url] = yield* served.written("stdout", /"url":"(ws:[^"]+)"/)
  return { url: url!, env: { SORA_SIGNALING_URL: url!, SORA_CHANNEL_ID: "lobby" }, served }
})

const item = ["PutSignalingNotifyMetadataItem", "{\"key\":\"mood\",\"value\":\"busy\"}"]

it.live("serve takes the settings of sora.conf", () =>
  Effect.gen(function*() {
    const flags = ["--default-ignore-disconnect-websocket", "--no-signaling-notify-metadata-ext"]
    const served = yield* start(["serve", "--port", "0", ...flags])
    const [, url] = yield* served.written("stdout", /"url":"(ws:[^"]+)"/)
    const { connection, rpc } = yield* connect({ url: url! })
    assert.isTrue((yield* connection.offer).ignoreDisconnectWebsocket)
    assert.notInclude((yield* rpc.methods).join(), "Metadata")
  }), 60_000)

describe("against serve", { concurrent: false, timeout: 180_000 }, () => {
  it.live("each command has its output and its exit code", ({ expect }) =>
    Effect.gen(function*() {
      const { env, served, url } = yield* serving
      const files = yield* folder
      writeFileSync(join(files, "params.json"), "{\"metadata\":{\"mood\":\"free\"}}")
      writeFileSync(join(files, "calls.jsonl"), "{\"method\":\"RequestSimulcastRid\",\"params\":{\"rid\":\"r1\"}}\n")
      const cases: ReadonlyArray<readonly [name: string, args: ReadonlyArray<string>, stdin?: string]> = [
        ["call", ["call", ...item]],
        ["call, pretty", ["call", ...item, "--output", "pretty"]],
        ["call, params from a file", ["call", "PutSignalingNotifyMetadata", `@${files}/params.json`]],
        ["call, params from stdin", ["call", "PutSignalingNotifyMetadata", "-"], "{\"metadata\":[1]}"],
        ["call, flags in place of variables", ["call", ...item, "--signaling-url", url, "--channel-id", "other"]],
        ["notify", ["notify", ...item]],
        ["methods", ["methods"]],
        ["methods, pretty", ["methods", "--output", "pretty"]],
        ["methods --schema", ["methods", "--schema"]],
        ["ping", ["ping", "--count", "3", "--interval", "10 millis"]],
        ["watch", ["watch", "--type", "notify", "--count", "1"]],
        ["record", ["record", join(files, "session.jsonl"), "--calls", `@${files}/calls.jsonl`]],
        ["an error of the server", ["call", "RequestSimulcastRid", "{\"rid\":\"r1\",\"colour\":2}"]],
        ["an error as JSON", ["call", "RequestSimulcastRid", "{\"rid\":\"r1\",\"colour\":2}", "--output", "json"]],
        ["a method that is not granted", ["call", "example.method"]],
        ["params that are no JSON", ["call", "x", "{s3cret"]],
        ["a file that is not there", ["call", "x", "@/nowhere/at/all"]],
        ["no method", ["call"]],
        ["no method, as JSON", ["call", "--output", "json"]],
        ["no such command", ["cal"]],
        ["no such flag", ["ping", "--cuont", "3"]],
        ["no duration", ["ping", "--timeout", "soon"]],
        ["too few lines", ["watch", "--count", "-1"]],
        ["a password that is not encoded", ["call", "x", "--signaling-url", "ws://u:50%@127.0.0.1/x"]],
        ["a password of a proxy that is not encoded", ["call", "x", "--proxy", "http://u:50%@127.0.0.1/x"]],
        ["too few lines in time", ["watch", "--type", "push", "--count", "1", "--timeout", "300 millis"]],
        ["no such recording", ["replay", join(files, "none.jsonl")]]
      ]
      const results = yield* Effect.forEach(cases, ([, args, stdin]) => run(args, env, stdin), { concurrency: 2 })
      const told = Object.fromEntries(
        cases.map(([name], i) => [
          name,
          Object.fromEntries(
            Object.entries(shown(results[i]!)).map((
              [k, v]
            ) => [k, typeof v === "string" ? v.replaceAll(files, "FILES") : v])
          )
        ])
      )
      expect(told).toMatchSnapshot()
      const replaying = yield* start(["replay", join(files, "session.jsonl"), "--port", "0"])
      const [, replayed] = yield* replaying.written("stdout", /"url":"(ws:[^"]+)"/)
      const again = ["call", "RequestSimulcastRid", "{\"rid\":\"r1\"}"]
      expect(shown(yield* run(again, { ...env, SORA_SIGNALING_URL: replayed! }))).toMatchSnapshot("call, of a replay")
      yield* replaying.signal("SIGINT")
      expect(shown(yield* replaying.ended)).toMatchSnapshot("replay, until SIGINT")
      // How many pings come and which transport switches first is a matter of time.
      const report = (text: string) => text.replace(/^.*(?:when rpc opens|the time between pings).*\n/gm, "")
      const doctor = shown(yield* run(["doctor", "--output", "pretty"], env))
      expect({ ...doctor, stdout: report(doctor.stdout) }).toMatchSnapshot("doctor")
      yield* served.signal("SIGINT")
      expect(shown(yield* served.ended)).toMatchSnapshot("serve, until SIGINT")
    }))

  it.live("each command says in its help what it is for, with examples", ({ expect }) =>
    Effect.gen(function*() {
      const names = ["call", "notify", "methods", "watch", "ping", "serve", "doctor", "record", "replay"]
      const helps = yield* Effect.forEach(names, (name) => run([name, "--help"]), { concurrency: 2 })
      for (const [i, { code, stdout }] of helps.entries()) {
        assert.strictEqual(code, 0)
        assert.match(stdout, new RegExp(`EXAMPLES[^]*sora-rpc ${names[i]}`), names[i])
        for (const [, flag] of stdout.matchAll(/^ {2}--(\S+?),? .*$/gm)) {
          if (["help", "version", "wizard", "completions", "log-level"].includes(flag!)) continue
          // What a name says in one command alone has its variable.
          const own = flag === "count" || (flag === "timeout" && names[i] === "watch") ? `${names[i]}-${flag}` : flag!
          assert.include(stdout, `SORA_${own.toUpperCase().replaceAll("-", "_")}`, `${names[i]} --${flag}`)
        }
      }
      expect((yield* run(["--help"])).stdout).toMatchSnapshot()
      assert.deepStrictEqual((yield* run(["--version"])).code, 0)
    }))
})

/** Makes a package one that cannot be found. */
const without = (name: string) =>
  `data:text/javascript,${
    encodeURIComponent(
      `import{registerHooks}from"node:module";registerHooks({resolve(s,c,n){if(s==="${name}")throw new Error("none");return n(s,c)}})`
    )
  }`

describe("errors", { concurrent: false, timeout: 180_000 }, () => {
  it.live("have an exit code each", () =>
    Effect.gen(function*() {
      const running: { server?: SoraServer.SoraServer["Service"] } = {}
      const hang = SoraMethod.handle(SoraMethod.make("Hang", { version: "1" }), () => Effect.never)
      const kick = SoraMethod.handle(SoraMethod.make("Kick", { version: "1" }), (_, { connectionId }) =>
        // Not awaited: the connection that asks is the one that goes.
        Effect.andThen(Effect.forkDetach(running.server!.disconnect({ connectionId })), Effect.never))
      const server = yield* SoraServer.make({
        handlers: [hang, kick],
        authenticate: ({ metadata }) =>
          metadata === undefined ? Effect.succeed({}) : Effect.fail(new SoraAuth.Refusal({ reason: "NOT-YOU" }))
      })
      running.server = server
      const env = { SORA_SIGNALING_URL: server.url, SORA_CHANNEL_ID: "c" }
      const results = yield* Effect.all([
        run(["call", "x"], { ...env, SORA_SIGNALING_URL: "http://127.0.0.1/" }),
        run(["call", "x"], { ...env, SORA_SIGNALING_URL: "ws://127.0.0.1:1/x" }),
        run(["call", "x"], { ...env, SORA_METADATA: "{\"access_token\":\"s3cret-token\"}" }),
        run(["call", "2025.2.0/PutSignalingNotifyMetadataItem", "{\"key\":\"k\",\"value\":1,\"colour\":2}"], env),
        run(["call", "1/Hang", "--timeout", "300 millis"], env),
        run(["call", "1/Kick"], env),
        run(["serve", "--jwt"], { SORA_JWT_SECRET: "" }),
        run(["serve", "--port", new URL(server.url).port]),
        // As where it is not installed.
        run(["serve", "--jwt"], { NODE_OPTIONS: `--import ${without("jose")}` }),
        // Of another command.
        run(["call", "1/Hang", "--timeout", "300 millis"], { ...env, SORA_WATCH_TIMEOUT: "1 hour", SORA_COUNT: "x" })
      ], { concurrency: 2 })
      const expected = [
        [1, /bad options: signalingUrls/],
        [2, /SoraConnectionError: .*ECONNREFUSED/],
        [2, /SoraConnectionError: the server refused the connection: 4490 NOT-YOU/],
        [3, /RpcError -32602: JSON-RPC-INVALID-PARAMS \{"UNKNOWN-KEYS":\["colour"\]\}/],
        [4, /TimeoutError: 1\/Hang: no response within 300ms/],
        [5, /Disconnected -1: Disconnected \(the server closed the connection: 1000 DISCONNECTED-API\)/],
        [1, /SORA_JWT_SECRET: it is empty/],
        [2, /SoraServerError: .*cannot listen on 127\.0\.0\.1:\d+; is the port in use\?/],
        [1, /^--jwt: needs the package jose: npm install jose\n$/],
        [4, /TimeoutError/]
      ] as const
      expected.forEach(([code, message], i) => {
        assert.match(results[i]!.stderr, message)
        assert.strictEqual(results[i]!.code, code, results[i]!.stderr)
        assert.strictEqual(results[i]!.stdout, "")
        assert.notInclude(results[i]!.stderr, "s3cret")
      })
    }))
})

describe("a process", { concurrent: false, timeout: 180_000 }, () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it.live(`says goodbye on ${signal}, and ends`, () =>
      Effect.gen(function*() {
        const server = yield* SoraServer.make()
        const env = { SORA_SIGNALING_URL: server.url, SORA_CHANNEL_ID: "c" }
        const files = yield* folder
        const watching = yield* start(["watch", "--transcript", join(files, "t.jsonl")], env)
        yield* watching.written("stdout", /connection\.created/)
        yield* watching.signal(signal)
        const { code, stderr } = yield* watching.ended
        assert.deepStrictEqual([code, stderr], [0, ""])
        const lines = linesOf(readFileSync(join(files, "t.jsonl"), "utf8"))
        assert.isTrue(lines.some(({ direction, message }) => direction === "sent" && message?.type === "disconnect"))
        assert.deepStrictEqual(yield* server.connections, [])
      }))
  }

  it.live("says goodbye when nobody reads what it writes, and ends", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const env = { SORA_SIGNALING_URL: server.url, SORA_CHANNEL_ID: "c" }
      const transcript = join(yield* folder, "t.jsonl")
      const watching = yield* start(["watch", "--transcript", transcript], env)
      yield* watching.written("stdout", /connection\.created/)
      yield* watching.stopReading
      yield* server.push("c", "who reads this?")
      const { code, stderr } = yield* watching.ended
      assert.deepStrictEqual([code, stderr], [0, ""])
      const lines = linesOf(readFileSync(transcript, "utf8"))
      assert.isTrue(lines.some(({ direction, message }) => direction === "sent" && message?.type === "disconnect"))
      assert.deepStrictEqual(yield* server.connections, [])
    }))

  it.live.skipIf(process.platform !== "linux")(
    "ends when its recording or its output cannot be written any more",
    () =>
      Effect.gen(function*() {
        const server = yield* SoraServer.make()
        const env = { SORA_SIGNALING_URL: server.url, SORA_CHANNEL_ID: "c" }
        const file = join(yield* folder, "r.jsonl")
        // Of blocks of 512 or 1,024 bytes: the connect and the offer do not fit.
        const limited = yield* runBy(`ulimit -f 2; exec "$0" "$@"`, ["record", file], env)
        assert.strictEqual(limited.code, 1)
        assert.match(limited.stderr, /r\.jsonl: cannot be written: EFBIG/)
        const full = yield* run(["record", "/dev/full"], env)
        assert.strictEqual(full.code, 1)
        assert.match(full.stderr, /^\/dev\/full: cannot be written: ENOSPC[^\n]*\n$/)
        const output = yield* runBy(`exec "$0" "$@" > /dev/full`, ["watch"], env)
        assert.strictEqual(output.code, 1)
        assert.match(output.stderr, /^stdout cannot be written: ENOSPC[^\n]*\n$/)
        assert.deepStrictEqual(yield* server.connections, [])
      })
  )

  it.live("has its token nowhere: not in its output, its transcript or the process list", () =>
    Effect.gen(function*() {
      const token = "Tok3n-that-nobody-may-see"
      const asked = yield* Deferred.make<unknown>()
      const server = yield* SoraServer.make({
        // A server that tells everybody what it was told.
        authenticate: ({ metadata }) =>
          Effect.as(Deferred.succeed(asked, metadata), {
            metadata: { echo: token },
            signalingNotifyMetadata: { list: [`Bearer ${token}`] }
          })
      })
      const env = { SORA_SIGNALING_URL: server.url, SORA_CHANNEL_ID: "c", SORA_ACCESS_TOKEN: token }
      const files = yield* folder
      const transcript = join(files, "t.jsonl")
      const watching = yield* start(["watch", "--transcript", transcript, "--include", "metadata,addresses"], env)
      yield* watching.written("stdout", /connection\.created/)
      assert.deepStrictEqual(yield* Deferred.await(asked), { access_token: token })
      assert.notInclude(
        execFileSync("ps", ["-ww", "-o", "args=", "-p", String(watching.pid)], { encoding: "utf8" }),
        token
      )
      yield* watching.signal("SIGINT")
      const { stderr, stdout } = yield* watching.ended
      const doctor = yield* run(["doctor", "--write", "--transcript", join(files, "d.jsonl")], env)
      assert.strictEqual(doctor.code, 0, doctor.stderr)
      const written = ["t.jsonl", "d.jsonl"].map((file) => readFileSync(join(files, file), "utf8"))
      for (const text of [stdout, stderr, doctor.stdout, doctor.stderr, ...written]) {
        assert.isNotEmpty(text + ".")
        assert.notInclude(text, token)
      }
      assert.include(written[0], "[redacted]")

      const refusing = yield* SoraServer.make({
        authenticate: () => Effect.fail(new SoraAuth.Refusal({ reason: `BAD ${token}` }))
      })
      for (const command of [["call", "x"], ["doctor"]]) {
        const { code, stderr, stdout } = yield* run(command, { ...env, SORA_SIGNALING_URL: refusing.url })
        assert.strictEqual(code, 2)
        assert.include(stderr, "4490 BAD [redacted]")
        assert.notInclude(stderr + stdout, token)
      }
    }))

  it.live("has its token nowhere either where the server answers with it", () =>
    Effect.gen(function*() {
      const token = "Tok3n-that-nobody-may-see"
      const echo = SoraMethod.handle(SoraMethod.make("Echo", { version: "1" }), () =>
        Effect.succeed({ next_token: "mine", [`of ${token}`]: [`Bearer ${token}`] }))
      const refuse = SoraMethod.handle(SoraMethod.make("Refuse", { version: "1" }), () =>
        Effect.fail(new SoraRpcError.ServerError({ code: -32000, message: `NO ${token}`, data: { of: token } })))
      const server = yield* SoraServer.make({
        handlers: [
          echo,
          refuse,
          SoraMethod.handle(SoraMethod.make(token, { version: "1" }), () =>
            Effect.succeed(null))
        ]
      })
      const env = { SORA_SIGNALING_URL: server.url, SORA_CHANNEL_ID: "c", SORA_ACCESS_TOKEN: token }
      const calls = "{\"method\":\"1/Echo\"}\n{\"method\":\"1/Refuse\"}"
      const [called, refused, methods, recorded, examined] = yield* Effect.all([
        run(["call", "1/Echo"], env),
        run(["call", "1/Refuse"], env),
        run(["methods"], env),
        run(["record", join(yield* folder, "r.jsonl"), "--calls", "-"], env, calls),
        run(["doctor"], env)
      ], { concurrency: 2 })
      for (const { stderr, stdout } of [called, refused, methods, recorded, examined]) {
        assert.notInclude(stderr + stdout, token)
        assert.include(stderr + stdout, "[redacted]")
      }
      // What else the application's own data holds is not ours to take away.
      assert.strictEqual(called.stdout, "{\"next_token\":\"mine\",\"of [redacted]\":[\"Bearer [redacted]\"]}\n")
      assert.strictEqual(refused.stderr, "RpcError -32000: NO [redacted] {\"of\":\"[redacted]\"}\n")
    }))
})

describe("completions", { concurrent: false, timeout: 180_000 }, () => {
  it.live("of bash are executed; zsh and fish have theirs", () =>
    Effect.gen(function*() {
      const [bash, zsh, fish] = yield* Effect.forEach(["bash", "zsh", "fish"], (shell) => run(["--completions", shell]))
      for (const { code, stdout } of [bash!, zsh!, fish!]) {
        assert.strictEqual(code, 0)
        assert.include(stdout, "sora-rpc")
      }
      const complete = (words: ReadonlyArray<string>) => {
        const script = `${bash!.stdout}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}
COMP_LINE='${words.join(" ")}'; COMP_POINT=\${#COMP_LINE}
$(complete -p sora-rpc | sed -E 's/.*-F ([^ ]+).*/\\1/') sora-rpc '${words.at(-1)}' '${words.at(-2)}'
printf '%s\\n' "\${COMPREPLY[@]}"`
        return execFileSync("bash", ["--norc", "-c", script], { encoding: "utf8" }).split("\n").filter((word) =>
          word !== ""
        )
      }
      assert.deepStrictEqual(complete(["sora-rpc", "re"]).map((word) => word.trim()).toSorted(), ["record", "replay"])
      assert.include(complete(["sora-rpc", "call", "--signal"]).map((word) => word.trim()), "--signaling-url")
      assert.sameMembers(complete(["sora-rpc", "call", "--role", ""]).map((word) => word.trim()), [
        "sendrecv",
        "sendonly",
        "recvonly"
      ])
    }))
})
