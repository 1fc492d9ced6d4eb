/**
 * Checks the package as users get it: what is in the tarball, `publint` and
 * `attw` on it, and a project that installs it, compiles every program of the
 * README and the documents, and runs the first one.
 */
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"

const root = resolve(import.meta.dirname, "..")
const bin = join(root, "node_modules", ".bin")
const log = (text: string) => void process.stdout.write(`${text}\n`)
/** Gives what the command printed; shows it when the command fails. */
const run = (command: string, args: ReadonlyArray<string>, cwd: string): string => {
  const { status, stdout } = spawnSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] })
  if (status === 0) return stdout
  log(stdout)
  throw new Error(`${command.split("/").at(-1)} ${args.join(" ")} failed`)
}

const work = mkdtempSync(join(tmpdir(), "effect-sora-rpc-"))
try {
  const [packed] = JSON.parse(run("npm", ["pack", "--json", "--loglevel=error", "--pack-destination", work], root))
  const tarball = join(work, packed.filename)
  const files: ReadonlyArray<string> = packed.files.map(({ path }: { path: string }) => path)
  const strangers = files.filter((path) =>
    !/^(package\.json|README(\.ja)?\.md|LICENSE|CHANGELOG\.md|AGENTS\.md|docs\/[\w-]+\.md|(src|dist)\/.*)$/.test(path)
  )
  if (strangers.length > 0) throw new Error(`the tarball has files that users do not need: ${strangers.join(", ")}`)
  log(`packed ${files.length} files, ${packed.size} bytes`)

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

  const programs = ["README.md", "docs/calling.md", "docs/connecting.md", "docs/testing.md"].flatMap((document) =>
    Array.from(readFileSync(join(root, document), "utf8").matchAll(/^```ts\n([^]*?)^```$/gm), ([, code]) => code!)
  )
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
} finally {
  rmSync(work, { recursive: true, force: true })
}
