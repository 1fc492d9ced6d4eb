/**
 * Once for a run: bundles the pages, serves them on localhost (a secure context), and starts one Chromium that all
 * test files share.
 */
import * as esbuild from "esbuild"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { chromium } from "playwright-core"
import type { TestProject } from "vitest/node"
import { findChromium, flags } from "./chromium.ts"

declare module "vitest" {
  interface ProvidedContext {
    readonly pages: string
    readonly browser: string
  }
}

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url))

export default async function setup(project: TestProject) {
  const executablePath = findChromium()
  const { outputFiles } = await esbuild.build({
    entryPoints: ["ours", "sdk-2025", "sdk-2026"].map((name) => here(`./pages/${name}.ts`)),
    bundle: true,
    write: false,
    outdir: "/",
    platform: "browser",
    format: "esm",
    target: "es2023",
    alias: {
      "effect-sora-rpc": here("../../src/index.ts"),
      "effect-sora-rpc/browser": here("../../src/browser/index.ts")
    }
  })
  const bundles = new Map(outputFiles.map(({ contents, path }) => [path, contents]))
  const server = createServer(({ url = "/" }, response) => {
    const bundle = bundles.get(url)
    const { pathname, searchParams } = new URL(url, "http://localhost")
    if (bundle !== undefined) response.setHeader("content-type", "text/javascript").end(bundle)
    // No icon: a browser that is refused one logs an error.
    else if (pathname !== "/") response.writeHead(204).end()
    else {response.setHeader("content-type", "text/html").end(
        `<!doctype html><meta charset="utf-8"><script type="module" src="/${searchParams.get("page")}.js"></script>`
      )}
  })
  await new Promise<void>((resolve) => server.listen(0, "localhost", resolve))
  const browser = await chromium.launchServer({ executablePath, args: flags, headless: true }).catch((error) => {
    server.close()
    throw error
  })
  project.provide("pages", `http://localhost:${(server.address() as AddressInfo).port}`)
  project.provide("browser", browser.wsEndpoint())
  return async () => {
    await browser.close()
    server.closeAllConnections()
    server.close()
  }
}
