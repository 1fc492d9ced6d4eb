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

/** Every module that a file imports at run time, through all of ours. */
const graph = (entry: string, seen = new Set<string>(), foreign = new Set<string>()): Set<string> => {
  if (seen.has(entry)) return foreign
  seen.add(entry)
  const imports = readFileSync(entry, "utf8").matchAll(/^(?:import|export)\s(?!type\s)[^"]*?from "([^"]+)"/gm)
  for (const [, specifier] of imports) {
    if (specifier!.startsWith(".")) graph(resolve(dirname(entry), specifier!), seen, foreign)
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

  for (const file of ["SoraRpc.ts", "SoraMethod.ts", "RpcChannel.ts", "SoraRpcError.ts"]) {
    it(`${file} rests on stable modules of Effect alone`, () => {
      for (const specifier of graph(source(file))) {
        if (!specifier.startsWith("effect/")) continue
        const module = resolve(import.meta.dirname, "../node_modules/effect/src", `${specifier.slice(7)}.ts`)
        assert.match(readFileSync(module, "utf8"), /@stability stable/, specifier)
      }
    })
  }
})

it("the version is the package's", () => assert.strictEqual(Version, packageJson.version))
