/**
 * Checks the package as users get it: what is in the tarball, `publint` and
 * `attw` on it, and a project that installs it, compiles every program of the
 * README and the documents, runs the first one, and each command of the binary, on Node 22 and
 * on the Node that runs this.
 */
import { spawn, spawnSync } from "node:child_process"
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

/** Each command of the binary, against its own `serve`. Gives the version of that Node. */
const checkCommands = async (node: string, main: string, file: string): Promise<string> => {
  const serve = spawn(node, [main, "serve", "--port", "0"], { stdio: ["ignore", "pipe", "ignore"] })
  let replay: ReturnType<typeof spawn> | undefined
  const urlOf = (child: ReturnType<typeof spawn>) =>
    new Promise<string>((resolve, reject) => {
      child.stdout!.on("data", (data) => resolve(JSON.parse(String(data)).url))
      child.on("exit", (code) => reject(new Error(`it ended with ${code}`)))
    })
  try {
    const expectOf = (url: string) => (args: ReadonlyArray<string>, code: number, out: RegExp, err = /^/) => {
      const { status, stderr, stdout } = spawnSync(node, [main, ...args], {
        encoding: "utf8",
        env: { ...process.env, SORA_SIGNALING_URL: url, SORA_CHANNEL_ID: "lobby" }
      })
      if (status === code && out.test(stdout) && err.test(stderr)) return
      throw new Error(`sora-rpc ${args.join(" ")} ended with ${status}, and printed:\n${stdout}${stderr}`)
    }
    const expect = expectOf(await urlOf(serve))
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
    replay = spawn(node, [main, "replay", file, "--port", "0"], { stdio: ["ignore", "pipe", "ignore"] })
    expectOf(await urlOf(replay))(["call", ...item], 0, mood, /^$/)
    for (const child of [serve, replay]) {
      const ended = new Promise((resolve) => child.on("exit", resolve))
      child.kill("SIGINT")
      const code = await ended
      if (code !== 0) throw new Error(`told to stop, it ended with ${String(code)}`)
    }
    return run(node, ["--version"], ".").trim()
  } finally {
    serve.kill("SIGKILL")
    replay?.kill("SIGKILL")
  }
}

const work = mkdtempSync(join(tmpdir(), "effect-sora-rpc-"))
try {
  const [packed] = JSON.parse(run("npm", ["pack", "--json", "--loglevel=error", "--pack-destination", work], root))
  const tarball = join(work, packed.filename)
  const files: ReadonlyArray<string> = packed.files.map(({ path }: { path: string }) => path)
  const strangers = files.filter((path) =>
    !/^(package\.json|README(\.ja)?\.md|LICENSE|CHANGELOG\.md|(AGENTS|CONTRIBUTING)\.md|docs\/[\w-]+\.(md|svg)|examples\/.*|(src|dist)\/.*)$/
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

  const installed = join(project, "node_modules", "effect-sora-rpc", "package.json")
  const { bin: commands } = JSON.parse(readFileSync(installed, "utf8"))
  for (const name of ["sora-rpc", "effect-sora-rpc"]) {
    // As npx finds it.
    const { stdout } = spawnSync(join(project, "node_modules", ".bin", name), ["--version"], {
      encoding: "utf8",
      env: { ...process.env, PATH: `${dirname(process.execPath)}:${process.env["PATH"]}` }
    })
    if (!stdout.startsWith("sora-rpc v")) throw new Error(`${name} --version printed: ${stdout}`)
  }
  const main = join(project, "node_modules", "effect-sora-rpc", commands["sora-rpc"])
  run("npm", ["install", "--loglevel=error", "--no-audit", "--no-fund", "--prefix", work, "node@22"], work)
  const node22 = join(work, "node_modules", "node", "bin", "node")
  for (const [i, node] of [node22, process.execPath].entries()) {
    const version = await checkCommands(node, main, join(work, `session${i}.jsonl`))
    log(`each command runs from the tarball on Node ${version}`)
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
