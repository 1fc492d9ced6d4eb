/**
 * Bundles scripts for a page from the sources of this package, and serves each
 * in a page of its own on localhost, which is a secure context:
 * `http://localhost:PORT/?page=NAME`.
 */
import * as esbuild from "esbuild"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"

const source = (file: string) => fileURLToPath(new URL(`../../src/${file}`, import.meta.url))

export const servePages = async (scripts: ReadonlyArray<URL>) => {
  const { outputFiles } = await esbuild.build({
    entryPoints: scripts.map((script) => fileURLToPath(script)),
    bundle: true,
    minify: true,
    write: false,
    outdir: "/",
    platform: "browser",
    format: "esm",
    target: "es2023",
    alias: { "effect-sora-rpc": source("index.ts"), "effect-sora-rpc/browser": source("browser/index.ts") }
  })
  const bundles = new Map(outputFiles.map(({ contents, path }) => [path, contents]))
  const server = createServer(({ url = "/" }, response) => {
    const { pathname, searchParams } = new URL(url, "http://localhost")
    const bundle = bundles.get(pathname)
    if (bundle !== undefined) response.setHeader("content-type", "text/javascript").end(bundle)
    // No icon: a browser that is refused one logs an error.
    else if (pathname !== "/") response.writeHead(204).end()
    else {
      response.setHeader("content-type", "text/html").end(
        `<!doctype html><meta charset="utf-8"><script type="module" src="/${searchParams.get("page")}.js"></script>`
      )
    }
  })
  await new Promise<void>((resolve) => server.listen(0, "localhost", resolve))
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    close() {
      server.closeAllConnections()
      server.close()
    }
  }
}
