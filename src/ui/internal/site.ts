/**
 * The files of the page, and who may have its WebSocket: the page that this
 * server serves, opened with the token that it printed.
 */
import * as Effect from "effect/Effect"
import { createHash, timingSafeEqual } from "node:crypto"
import { readFile } from "node:fs/promises"
import type { IncomingMessage, ServerResponse } from "node:http"
import { isIP } from "node:net"
import { isLoopbackHost } from "../../node/internal/loopback.ts"
import { SoraServerError } from "../../server/internal/serverError.ts"
import { Path } from "./protocol.ts"

/** Beside `src` and `dist` alike, so that the sources serve what was built last. */
const Built = new URL("../../../dist/ui/page/", import.meta.url)

const types = {
  "index.html": "text/html; charset=utf-8",
  "main.js": "text/javascript; charset=utf-8",
  "main.css": "text/css; charset=utf-8"
}

/** By name; the page itself has the empty one. */
export type Files = ReadonlyMap<string, { readonly type: string; readonly body: Uint8Array }>

export const readFiles: Effect.Effect<Files, SoraServerError> = Effect.map(
  Effect.forEach(Object.entries(types), ([name, type]) =>
    Effect.map(
      Effect.tryPromise({
        try: () => readFile(new URL(name, Built)),
        catch: (cause) =>
          new SoraServerError({ message: `the page's ${name} is not there: build it with npm run build:ui`, cause })
      }),
      (body) => [name === "index.html" ? "" : name, { type, body }] as const
    )),
  (files) => new Map(files)
)

const headers = {
  // Everything is the page's own; it connects to any Sora that it is told to, and draws its test picture into a track.
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "media-src 'self' blob: mediastream:",
    "connect-src 'self' ws: wss:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'"
  ].join("; "),
  // The token is in the page's URL.
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store"
}

const hostnameOf = (host: string): string | undefined => {
  try {
    return new URL(`http://${host}`).hostname
  } catch {
    return undefined
  }
}

/** A page of elsewhere may have its own name resolve to this machine, but no address. */
const isOurs = (host: string, listensOn: string): boolean => {
  const name = hostnameOf(host)
  return name !== undefined && (isLoopbackHost(name) || isIP(name.replace(/^\[|\]$/g, "")) !== 0 || name === listensOn)
}

const quoted = (text: string) => JSON.stringify(text.slice(0, 200))

const digest = (text: string) => createHash("sha256").update(text).digest()

/** `host` is what the server listens on. */
export const make = (options: { readonly files: Files; readonly host: string; readonly token: string }) => {
  const { files, token } = options
  const hostRefusal = ({ headers: { host = "" } }: IncomingMessage): string | undefined =>
    isOurs(host, options.host) ? undefined : `the host ${quoted(host)} is not this server`

  return {
    owns: (path: string) => path === Path.slice(0, -1) || path.startsWith(Path),

    onRequest(request: IncomingMessage, response: ServerResponse) {
      const answer = (status: number, text: string, more: Record<string, string> = {}) =>
        response.writeHead(status, { ...headers, "content-type": "text/plain; charset=utf-8", ...more }).end(
          `${text}\n`
        )
      const refusal = hostRefusal(request)
      if (refusal !== undefined) return void answer(403, refusal)
      if (request.method !== "GET" && request.method !== "HEAD") {
        return void answer(405, "there are only files here", { allow: "GET, HEAD" })
      }
      const [path = "", search] = (request.url ?? "").split("?")
      if (!path.startsWith(Path)) {
        return void answer(308, "it is one level down", {
          location: search === undefined ? Path : `${Path}?${search}`
        })
      }
      const file = files.get(path.slice(Path.length))
      if (file === undefined) return void answer(404, "there is no such file")
      response.writeHead(200, { ...headers, "content-type": file.type, "content-length": file.body.byteLength })
      response.end(request.method === "HEAD" ? undefined : file.body)
    },

    refusalOf(request: IncomingMessage): string | undefined {
      const { host = "", origin } = request.headers
      const refusal = hostRefusal(request)
      if (refusal !== undefined) return refusal
      if (origin !== undefined && origin !== `http://${host}`) return `the origin ${quoted(origin)} is not this page's`
      const given = new URL(request.url ?? "", "http://localhost").searchParams.get("token") ?? ""
      return timingSafeEqual(digest(given), digest(token))
        ? undefined
        : "the token is not the one of the URL that the server printed"
    }
  }
}
