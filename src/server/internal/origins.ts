/**
 * Who may open a WebSocket. A browser lets any page connect to this machine, and
 * tells only its origin: so a server on the loopback interface takes pages of the
 * loopback interface alone. Its own name is looked at as well, because a page may
 * have its name resolve to 127.0.0.1 and is then of the same origin.
 */
import { isLoopbackHost } from "../../node/internal/loopback.ts"

/** Which origins a server takes, besides those of the loopback interface. */
export type AllowedOrigins = "*" | ReadonlyArray<string>

const parse = (url: string): URL | undefined => {
  try {
    return new URL(url)
  } catch {
    return undefined
  }
}

const isOfLoopback = (origin: string): boolean => {
  const url = parse(origin)
  return url !== undefined && url.origin === origin && isLoopbackHost(url.hostname)
}

/**
 * Why a request is refused; nothing when it is not. A request without `Origin`
 * comes from no page.
 *
 * @internal
 */
export const refusalOf = (
  headers: { readonly host?: string | undefined; readonly origin?: string | undefined },
  server: { readonly host: string; readonly allowedOrigins: AllowedOrigins | undefined }
): string | undefined => {
  const { allowedOrigins } = server
  const local = isLoopbackHost(server.host)
  if (allowedOrigins === "*" || !local && allowedOrigins === undefined) return undefined
  const { host = "", origin } = headers
  const listed = allowedOrigins ?? []
  if (origin !== undefined && !listed.includes(origin) && !isOfLoopback(origin)) {
    return `the origin ${JSON.stringify(origin.slice(0, 200))} is not allowed`
  }
  const named = parse(`http://${host}`)
  const known = named !== undefined &&
    (isLoopbackHost(named.hostname) || listed.some((origin) => parse(origin)?.hostname === named.hostname))
  return !local || known ? undefined : `the host ${JSON.stringify(host.slice(0, 200))} is not this machine`
}
