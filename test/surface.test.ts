/**
 * What the modules offer: each export says what kind of thing it is and since
 * when, the two platforms have the same members, and nothing is exported that
 * nobody imports.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import * as Root from "effect-sora-rpc"
import { BrowserPeerConnection, BrowserSora } from "effect-sora-rpc/browser"
import { NodePeerConnection, NodeSora } from "effect-sora-rpc/node"
import { globSync, readFileSync } from "node:fs"
import { basename, join } from "node:path"

const root = join(import.meta.dirname, "..")
const read = (pattern: string) =>
  globSync(pattern, { cwd: root }).map((file) => ({ file, text: readFileSync(join(root, file), "utf8") }))

const sources = read("src/**/*.ts")
/** The binary is no module for anybody to import, nor is the development server's page, which is bundled. */
const isPrivate = (file: string) => file.includes("internal") || /^src\/(cli|ui\/page)\//.test(file)
const publicModules = sources.filter(({ file }) => !isPrivate(file) && basename(file) !== "index.ts")

/** The doc comment that ends where the text does. */
const docBefore = (text: string) => /\/\*\*(?:(?!\*\/)[^])*\*\/\s*$/.exec(text)?.[0] ?? ""

const Declaration = /^export (?:declare )?(?:const|class|function|interface|type) (\w+)/gm

/** Each export with its doc comment; those that are handed on from another module too. */
const exportsOf = (text: string): ReadonlyArray<readonly [name: string, doc: string]> => [
  ...Array.from(text.matchAll(Declaration), ({ 1: name, index }) => [name!, docBefore(text.slice(0, index))] as const),
  ...Array.from(text.matchAll(/^export (?:type )?\{([^}]*(?:\{@link[^}]*\}[^}]*)*)\} from/gm), ({ 1: list }) => list!)
    .flatMap((list) =>
      Array.from(
        list.matchAll(/^ {2}(?:type )?(\w+)/gm),
        ({ 1: name, index }) => [name!, docBefore(list.slice(0, index))] as const
      )
    )
]

for (const { file, text } of publicModules) {
  describe(file, () => {
    it("says since when it is", () =>
      assert.match(text, /^\/\*\*(?:(?!\*\/)[^])* \* @since \d+\.\d+\.\d+\n \* @module\n \*\//))
    it("documents each export, with its category and since when it is", () => {
      const found = exportsOf(text)
      assert.isNotEmpty(found)
      for (const [name, doc] of found) {
        assert.match(doc, /@category \w+/, name)
        assert.match(doc, /@since \d+\.\d+\.\d+/, name)
      }
    })
  })
}

it("an internal module exports no value that nobody imports, and says of each export that it is internal", () => {
  const users = [...sources, ...read("test/**/*.ts")]
  for (const { file, text } of sources.filter(({ file }) => file.startsWith("src/internal/"))) {
    for (const [name, doc] of exportsOf(text)) {
      const isUsed = users.some((other) => other.file !== file && new RegExp(`\\b${name}\\b`).test(other.text))
      assert.isTrue(isUsed || !new RegExp(`const ${name}\\b`).test(text), `${name} of ${file} is used`)
      // Some are declared there and public elsewhere.
      assert.match(doc, /@internal|@category/, `${name} of ${file}`)
    }
  }
})

describe("the platforms", () => {
  it("have the same members", () => {
    assert.sameMembers(Object.keys(BrowserSora), Object.keys(NodeSora))
    assert.sameMembers(Object.keys(BrowserPeerConnection), ["layer", "layerWith"])
    // werift's own loopback is what only Node has.
    assert.sameMembers(Object.keys(NodePeerConnection), ["layer", "layerWith", "loopback"])
  })

  it.effect("BrowserSora.layerMap takes options by channel, and checks them", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const map = BrowserSora.layerMap((channelId) => {
        asked.push(channelId)
        return { signalingUrls: ["wss://sora.example.com"], role: "recvonly", rpc: { maxInFlight: 0 } }
      })
      const exit = yield* Root.SoraRpcMap.contextEffect("lobby").pipe(Effect.scoped, Effect.provide(map), Effect.exit)
      assert.deepStrictEqual(asked, ["lobby"])
      assert.include(String(Exit.isFailure(exit) && exit.cause), "rpc.maxInFlight")
    }))

  it("make their platform from its configuration", () => {
    for (const { layerPlatform } of [BrowserSora, NodeSora]) {
      assert.isTrue(Layer.isLayer(layerPlatform()) && Layer.isLayer(layerPlatform({ iceTransportPolicy: "relay" })))
    }
  })
})
