/**
 * What a page loads of this library, bundled as Vite does it. The budget is
 * stated in docs/connecting.md; the figures are printed when it is exceeded.
 */
import { assert, describe, it } from "@effect/vitest"
import { relative } from "node:path"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { rolldown } from "rolldown"

const entry = `
import { BrowserSora } from "effect-sora-rpc/browser"
import { SoraMethod, SoraRpc } from "effect-sora-rpc"
console.log(BrowserSora.layer, SoraRpc.SoraRpc, SoraMethod.RequestSimulcastRid)
`

const root = fileURLToPath(new URL("..", import.meta.url))
const source = (file: string) => `${root}src/${file}`

/** The bundle of {@link entry}, minified: its modules, and its size in bytes when gzipped. */
const bundle = async (external: ReadonlyArray<RegExp>) => {
  const build = await rolldown({
    input: "entry",
    platform: "browser",
    external: [...external],
    resolve: {
      alias: { "effect-sora-rpc/browser": source("browser/index.ts"), "effect-sora-rpc": source("index.ts") }
    },
    plugins: [{
      name: "entry",
      resolveId: (id) => id === "entry" ? id : undefined,
      load: (id) => id === "entry" ? entry : undefined
    }]
  })
  const { output } = await build.generate({ format: "esm", minify: true })
  assert.lengthOf(output, 1)
  const [{ code, imports, modules }] = output
  // By their place in here: the folder that this is in may have any name.
  return {
    code,
    imports,
    modules: Object.keys(modules).map((id) => relative(root, id)),
    bytes: gzipSync(code).byteLength
  }
}

describe("the bundle of a page", { timeout: 60_000 }, () => {
  it("is at most 30.5 kB without effect, and 77.5 kB with it", async () => {
    const ours = await bundle([/^effect(\/|$)/])
    const whole = await bundle([])
    assert.deepStrictEqual(whole.imports, [])
    // What was left out was there to be left out.
    assert.isAbove(whole.bytes, 2 * ours.bytes)
    assert.isAtMost(ours.bytes, 30_500, `${ours.bytes} bytes without effect`)
    assert.isAtMost(whole.bytes, 77_500, `${whole.bytes} bytes with effect`)
  })

  it("leaves out the methods, messages and checks that it does not need", async () => {
    const { code } = await bundle([/^effect(\/|$)/])
    assert.include(code, "RequestSimulcastRid")
    assert.deepStrictEqual(
      [
        "RequestSpotlightRid",
        "ResetSpotlightRid",
        "PutSignalingNotifyMetadata",
        "HTTP header",
        "LIFETIME-EXPIRED"
      ].filter((text) => code.includes(text)),
      []
    )
  })

  it("holds no Node built-in, no werift, no development server and no test double", async () => {
    const { imports, modules } = await bundle([])
    assert.deepStrictEqual(imports, [])
    assert.deepStrictEqual(
      modules.filter((id) =>
        /werift|platform-node|^src\/(node|server)\/|dispatcher|test(Sora|Network)|^node:/.test(id)
      ),
      []
    )
    assert.include(modules, "src/internal/connection/session.ts")
  })
})
