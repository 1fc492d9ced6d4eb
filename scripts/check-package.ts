/**
 * Checks the package as users get it: what is in the tarball, `publint` and
 * `attw` on it, and a project that installs it, compiles every program of the
 * README and the documents, runs the first one, and each command of the binary, on Node 22 and
 * on the Node that runs this.
 */
import { spawn, spawnSync } from "node:child_process"
import { createHmac } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { gzipSync } from "node:zlib"

const root = resolve(import.meta.dirname, "..")
const bin = join(root, "node_modules", ".bin")
const sizeOf = (files: ReadonlyArray<Uint8Array>) => files.reduce((sum, { byteLength }) => sum + byteLength, 0)
const log = (text: string) => void process.stdout.write(`${text}\n`)
/** Gives what the command printed; shows it when the command fails. */
const run = (command: string, args: ReadonlyArray<string>, cwd: string): string => {
  const { status, stdout } = spawnSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] })
  if (status === 0) return stdout
  log(stdout)
  throw new Error(`${command.split("/").at(-1)} ${args.join(" ")} failed`)
}

const jwtSecret = "a secret of this check alone, of 32 bytes and more"

/** What `serve --jwt` takes. */
const jwt = (claims: object): string => {
  const text = [{ alg: "HS256" }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(
    "."
  )
  return `${text}.${createHmac("sha256", jwtSecret).update(text).digest("base64url")}`
}

/** Each command of the binary, against its own `serve`. Gives the version of that Node. */
const checkCommands = async (node: string, main: string, file: string): Promise<string> => {
  const running: Array<ReturnType<typeof spawn>> = []
  /** A command that goes on; gives what it says of its URLs. */
  const serving = (...args: ReadonlyArray<string>) =>
    new Promise<{ readonly url: string; readonly uiUrl?: string }>((resolve, reject) => {
      const child = spawn(node, [main, ...args, "--port", "0"], {
        stdio: ["ignore", "pipe", "ignore"],
        env: { ...process.env, SORA_JWT_SECRET: jwtSecret }
      })
      running.push(child)
      child.stdout!.on("data", (data) => resolve(JSON.parse(String(data))))
      child.on("exit", (code) => reject(new Error(`it ended with ${code}`)))
    })
  try {
    const expectOf = (url: string, env = {}) => (args: ReadonlyArray<string>, code: number, out: RegExp, err = /^/) => {
      const { status, stderr, stdout } = spawnSync(node, [main, ...args], {
        encoding: "utf8",
        env: { ...process.env, SORA_SIGNALING_URL: url, SORA_CHANNEL_ID: "lobby", ...env }
      })
      if (status === code && out.test(stdout) && err.test(stderr)) return
      throw new Error(`sora-rpc ${args.join(" ")} ended with ${status}, and printed:\n${stdout}${stderr}`)
    }
    const { uiUrl, url } = await serving("serve", "--ui")
    const expect = expectOf(url)
    const page = await (await fetch(uiUrl!)).text()
    if (!page.includes("main.js")) throw new Error(`the page of serve --ui is:\n${page}`)
    const item = ["PutSignalingNotifyMetadataItem", "{\"key\":\"mood\",\"value\":\"busy\"}"]
    const mood = /^\{"mood":"busy"\}\n$/
    expect(["call", ...item], 0, mood, /^$/)
    expect(["call", item[0]!, "{\"colour\":1}"], 3, /^$/, /^RpcError -32602: JSON-RPC-INVALID-PARAMS/)
    expect(["notify", ...item], 0, /^$/, /^$/)
    expect(["methods"], 0, /^(\{"method":"2025\.2\.0\/\w+","known":true\}\n){5}$/, /^$/)
    expect(["ping", "--count", "2"], 0, /^\{"sent":2,"answered":2,"loss":0,/)
    expect(["watch", "--type", "notify", "--count", "1"], 0, /^\{"type":"notify",.*"connection\.created".*\}\n$/, /^$/)
    expect(["doctor"], 0, /^\{.*"findings":\[.*\n$/, /✓ rpc/)
    expect(["record", file, "--include", "metadata", "--calls", `@${file}.calls`], 1, /^$/, /cannot be read/)
    writeFileSync(`${file}.calls`, `{"method":"${item[0]}","params":${item[1]}}\n`)
    expect(["record", file, "--include", "metadata", "--calls", `@${file}.calls`], 0, /"result":\{"mood":"busy"\}/)
    expectOf((await serving("replay", file)).url)(["call", ...item], 0, mood, /^$/)
    const checking = (await serving("serve", "--jwt")).url
    const token = jwt({ rpc_methods: ["2025.2.0/PutSignalingNotifyMetadataItem"] })
    expectOf(checking, { SORA_ACCESS_TOKEN: token })(["call", ...item], 0, mood, /^$/)
    expectOf(checking, { SORA_ACCESS_TOKEN: token.slice(0, -4) })(["call", ...item], 2, /^$/, /refused/)
    for (
      const [shell, pattern] of [["bash", /complete .*sora-rpc/], ["zsh", /#compdef/], ["fish", /complete -c/]] as const
    ) {
      expect(["--completions", shell], 0, pattern, /^$/)
    }
    for (const child of running) {
      const ended = new Promise((resolve) => child.on("exit", resolve))
      child.kill("SIGINT")
      const code = await ended
      if (code !== 0) throw new Error(`told to stop, it ended with ${String(code)}`)
    }
    return run(node, ["--version"], ".").trim()
  } finally {
    for (const child of running) child.kill("SIGKILL")
  }
}

const work = mkdtempSync(join(tmpdir(), "effect-sora-rpc-"))
try {
  const [packed] = JSON.parse(run("npm", ["pack", "--json", "--loglevel=error", "--pack-destination", work], root))
  const tarball = join(work, packed.filename)
  const files: ReadonlyArray<string> = packed.files.map(({ path }: { path: string }) => path)
  const strangers = files.filter((path) =>
    !/^(package\.json|README(\.ja)?\.md|LICENSE|CHANGELOG\.md|(AGENTS|CONTRIBUTING)\.md|docs\/[\w-]+\.(md|svg)|docs\/images\/[\w-]+\.png|examples\/.*|(src|dist)\/.*)$/
      .test(path)
  )
  if (strangers.length > 0) throw new Error(`the tarball has files that users do not need: ${strangers.join(", ")}`)
  log(`packed ${files.length} files, ${packed.size} bytes`)
  const page = ["index.html", "main.css", "main.js"].map((name) => readFileSync(join(root, "dist/ui/page", name)))
  const pageFiles = files.filter((path) => path.includes("ui/page/"))
  if (pageFiles.length !== page.length) {
    throw new Error(`the page's files are not in the tarball, or more: ${pageFiles.join(", ")}`)
  }
  const sizes = [sizeOf(page), sizeOf(page.map((file) => gzipSync(file))), packed.size].map((bytes) => bytes / 1000)
  log(`of which the page: ${sizes[0]} kB, ${sizes[1]} gzipped`)
  const said = /The page is ([\d.]+) kB, ([\d.]+) kB gzipped, and the package ([\d.]+) kB/
    .exec(readFileSync(join(root, "docs/ui.md"), "utf8"))?.slice(1).map(Number) ?? []
  if (!sizes.every((size, i) => Math.abs(size / said[i]! - 1) < 0.15)) {
    throw new Error(`docs/ui.md says of these sizes, and of the package's ${sizes[2]} kB: ${said.join(", ")}`)
  }

  log(run(join(bin, "publint"), ["--strict", tarball], root).trim())
  log(run(join(bin, "attw"), ["--profile", "esm-only", tarball], root).trim())

  const project = join(work, "project")
  mkdirSync(project)
  const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
  const dependencies = Object.fromEntries(
    [
      "effect",
      "werift",
      "@effect/platform-node",
      "jose",
      "@roamhq/wrtc",
      "@effect/vitest",
      "vitest",
      "typescript",
      "@types/node"
    ].map((
      name
    ) => [
      name,
      devDependencies[name]
    ])
  )
  writeFileSync(
    join(project, "package.json"),
    JSON.stringify({
      private: true,
      type: "module",
      dependencies: { ...dependencies, "effect-sora-rpc": `file:${tarball}` }
    })
  )
  run("npm", ["install", "--loglevel=error", "--no-audit", "--no-fund"], project)

  const installedAt = join(project, "node_modules", "effect-sora-rpc")
  // What a link leads to has to be in the tarball too.
  log(run(process.execPath, [join(root, "scripts", "check-docs.ts"), installedAt], root).trim())

  const programs = ["README.md", "AGENTS.md", "docs/calling.md", "docs/connecting.md", "docs/testing.md"].flatMap((
    document
  ) => Array.from(readFileSync(join(root, document), "utf8").matchAll(/^```ts\n([^]*?)^```$/gm), ([, code]) => code!))
  programs.forEach((code, i) => writeFileSync(join(project, `program${i}.ts`), code))
  for (const module of ["nodenext", "preserve"]) {
    const options = {
      module,
      moduleResolution: module === "nodenext" ? "nodenext" : "bundler",
      target: "ES2023",
      lib: ["ES2023", "DOM"],
      types: ["node"],
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: true,
      noEmit: true
    }
    writeFileSync(
      join(project, "tsconfig.json"),
      JSON.stringify({ compilerOptions: options, include: ["program*.ts"] })
    )
    run(join(project, "node_modules", ".bin", "tsc"), ["-p", "tsconfig.json"], project)
  }
  log(`all ${programs.length} programs of the README and the documents compile against the tarball`)

  const output = run(process.execPath, ["program0.ts"], project)
  if (!output.includes("metadata: { mood: 'busy' }")) throw new Error(`the README's first program printed:\n${output}`)
  log("the README's first program runs")

  const { bin: commands } = JSON.parse(readFileSync(join(installedAt, "package.json"), "utf8"))
  for (const name of ["sora-rpc", "effect-sora-rpc"]) {
    // As npx finds it.
    const { stdout } = spawnSync(join(project, "node_modules", ".bin", name), ["--version"], {
      encoding: "utf8",
      env: { ...process.env, PATH: `${dirname(process.execPath)}:${process.env["PATH"]}` }
    })
    if (!stdout.startsWith("sora-rpc v")) throw new Error(`${name} --version printed: ${stdout}`)
  }
  const main = join(installedAt, commands["sora-rpc"])
  run("npm", ["install", "--loglevel=error", "--no-audit", "--no-fund", "--prefix", work, "node@22"], work)
  const node22 = join(work, "node_modules", "node", "bin", "node")
  for (const [i, node] of [node22, process.execPath].entries()) {
    const version = await checkCommands(node, main, join(work, `session${i}.jsonl`))
    log(`each command runs from the tarball on Node ${version}`)
  }

  rmSync(join(project, "node_modules", "jose"), { recursive: true })
  const unsigned = spawnSync(process.execPath, [main, "serve", "--jwt"], { encoding: "utf8", cwd: project })
  if (unsigned.status !== 1 || unsigned.stderr !== "--jwt: needs the package jose: npm install jose\n") {
    throw new Error(`without jose it ended with ${unsigned.status} and said:\n${unsigned.stderr}`)
  }
  for (const peer of ["werift", "@effect/platform-node", "effect"]) {
    rmSync(join(project, "node_modules", peer), { recursive: true })
    const { status, stderr } = spawnSync(process.execPath, [main, "--help"], { encoding: "utf8", cwd: project })
    if (status !== 1 || !/^sora-rpc needs the package \S+: npm install [^\n]+\n$/.test(stderr)) {
      throw new Error(`without ${peer} it ended with ${status} and said:\n${stderr}`)
    }
  }
  log("the binary says which package it misses")
} finally {
  rmSync(work, { recursive: true, force: true })
}
