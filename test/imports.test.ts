/**
 * What each entry point pulls in. The root must run in a browser, and the
 * modules of a call must rest on what Effect calls stable.
 */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { dirname, resolve } from "node:path"
import packageJson from "../package.json" with { type: "json" }
import { Version } from "../src/internal/version.ts"

const source = (file: string) => resolve(import.meta.dirname, "../src", file)

const RunTime = /^(?:import|export)\s(?!type\s)[^"]*?from "([^"]+)"/gm
const All = /^(?:import|export)\s[^"]*?from "([^"]+)"/gm

/** Every module that a file imports, at run time or in types too, through all of ours. */
const graph = (
  entry: string,
  imports = RunTime,
  seen = new Set<string>(),
  foreign = new Set<string>()
): Set<string> => {
  if (seen.has(entry)) return foreign
  seen.add(entry)
  for (const [, specifier] of readFileSync(entry, "utf8").matchAll(imports)) {
    if (specifier!.startsWith(".")) graph(resolve(dirname(entry), specifier!), imports, seen, foreign)
    else foreign.add(specifier!)
  }
  return foreign
}

describe("imports", () => {
  it("the root and /browser have no Node built-in and no werift", () => {
    for (const entry of ["index.ts", "browser/index.ts"]) {
      const foreign = [...graph(source(entry))]
      assert.deepStrictEqual(foreign.filter((specifier) => !/^(effect(\/|$)|fflate$)/.test(specifier)), [], entry)
    }
    // The walk does find them where they are.
    assert.include([...graph(source("node/index.ts"))], "werift")
  })

  it("no entry has the binary or effect/cli", () => {
    for (const entry of ["index.ts", "browser/index.ts", "node/index.ts", "server/index.ts"]) {
      const foreign = [...graph(source(entry))]
      assert.deepStrictEqual(foreign.filter((specifier) => specifier.startsWith("effect/cli")), [], entry)
    }
    assert.include([...graph(source("cli/run.ts"))], "effect/cli/Command")
  })

  it("effect/rpc and effect/cluster, which are unstable, stay behind their subpaths", () => {
    const unstable = (entry: string) =>
      [...graph(source(entry), All)].filter((name) => /^effect\/(rpc|cluster)/.test(name))
    for (const entry of ["index.ts", "browser/index.ts", "node/index.ts", "server/index.ts"]) {
      assert.deepStrictEqual(unstable(entry), [], entry)
    }
    for (const entry of ["rpc/index.ts", "cluster/index.ts"]) {
      assert.isNotEmpty(unstable(entry), entry)
      const foreign = [...graph(source(entry))]
      assert.deepStrictEqual(foreign.filter((specifier) => !/^(effect(\/|$)|fflate$)/.test(specifier)), [], entry)
    }
  })

  it("the server knows nothing of its page, nor of what that is made with", () => {
    const seen = new Set<string>()
    const foreign = graph(source("server/index.ts"), RunTime, seen)
    assert.deepStrictEqual([...foreign].filter((specifier) => specifier.startsWith("effect/rpc")), [])
    assert.deepStrictEqual([...seen].filter((file) => file.includes("/src/ui/")), [])
    assert.include([...graph(source("ui/index.ts"))], "effect/rpc")
  })

  const calling = ["SoraRpc", "SoraMethod", "RpcChannel", "RpcTransport", "SoraRpcError", "DisconnectReason"]
  for (const file of calling) {
    it(`${file} rests on stable modules of Effect alone, in its types too`, () => {
      for (const specifier of graph(source(`${file}.ts`), All)) {
        if (!specifier.startsWith("effect/")) continue
        const module = resolve(import.meta.dirname, "../node_modules/effect/src", `${specifier.slice(7)}.ts`)
        assert.match(readFileSync(module, "utf8"), /@stability stable/, specifier)
      }
    })
  }
})

it("the version is the package's", () => assert.strictEqual(Version, packageJson.version))
