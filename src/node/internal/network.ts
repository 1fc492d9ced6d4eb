/**
 * How a WebSocket gets to its server on Node: with which certificates, and
 * through which proxy.
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Socket } from "effect/socket"
import { HttpsProxyAgent } from "https-proxy-agent"
import { X509Certificate } from "node:crypto"
import type { ClientRequest } from "node:http"
import { createSecureContext, type SecureContextOptions } from "node:tls"
import { MaxSignalingBytes } from "../../internal/limits.ts"
import * as Options from "../../internal/options.ts"

type Secret = string | Redacted.Redacted<string>

/** @internal */
export interface TlsOptions {
  readonly ca?: string | Uint8Array | ReadonlyArray<string | Uint8Array> | undefined
  readonly cert?: string | Uint8Array | undefined
  readonly key?: Secret | Uint8Array | undefined
  readonly passphrase?: Secret | undefined
  readonly rejectUnauthorized?: boolean | undefined
}

/** @internal */
export interface NetworkOptions {
  readonly tls?: TlsOptions | undefined
  readonly proxy?: Secret | undefined
}

const revealed = <A>(value: A | Redacted.Redacted<A>): A => Redacted.isRedacted(value) ? Redacted.value(value) : value

const bytes = (value: string | Uint8Array): string | Buffer => typeof value === "string" ? value : Buffer.from(value)

/**
 * As Node's `tls` takes them.
 *
 * @internal
 */
export const toNode = ({ ca, cert, key, passphrase, rejectUnauthorized }: TlsOptions = {}):
  & SecureContextOptions
  & { readonly rejectUnauthorized?: boolean } => ({
    ...(ca === undefined ? {} : { ca: Array.isArray(ca) ? ca.map(bytes) : bytes(ca as string) }),
    ...(cert === undefined ? {} : { cert: bytes(cert) }),
    ...(key === undefined ? {} : { key: bytes(revealed(key)) }),
    ...(passphrase === undefined ? {} : { passphrase: revealed(passphrase) }),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized })
  })

// ------------------------------------------------------------------ checked

const isText = (input: unknown): input is Secret =>
  typeof input === "string" || Redacted.isRedacted(input) && typeof Redacted.value(input) === "string"

const Text = Schema.declare(isText, { expected: "a text, or a Redacted one" })

const isPem = (input: unknown): input is string | Uint8Array => typeof input === "string" || input instanceof Uint8Array

const Pem = Schema.declare(isPem, { expected: "a text in PEM format, or its bytes" })

/** What OpenSSL says of it, which quotes nothing of it. */
const tlsIssue = (options: TlsOptions): string | undefined => {
  if (options.cert !== undefined && options.key === undefined) return "cert is given, and key is not"
  if (options.key !== undefined && options.cert === undefined) return "key is given, and cert is not"
  try {
    // OpenSSL passes over what is no certificate.
    ;[toNode(options).ca ?? []].flat().map((ca) => new X509Certificate(ca))
    createSecureContext(toNode(options))
    return undefined
  } catch (error) {
    const { code, reason } = error as { readonly code?: string; readonly reason?: string }
    return `OpenSSL does not take them: ${reason ?? code ?? "no certificate or key in PEM format"}`
  }
}

const proxyIssue = (proxy: Secret): string | undefined => {
  const parsed = URL.parse(revealed(proxy))
  return parsed === null || parsed.hostname === "" || parsed.protocol !== "http:" && parsed.protocol !== "https:"
    ? "no URL of an HTTP proxy, such as http://proxy.example.com:3128"
    : credentialsOf(parsed) === undefined
    ? "its user or password is not percent-encoded"
    : undefined
}

const Network = Schema.Struct({
  tls: Schema.optional(
    Schema.Struct({
      ca: Schema.optional(Schema.Union([Pem, Schema.Array(Pem)])),
      cert: Schema.optional(Pem),
      key: Schema.optional(Schema.Union([Pem, Text])),
      passphrase: Schema.optional(Text),
      rejectUnauthorized: Schema.optional(Schema.Boolean)
    }).check(Schema.makeFilter(tlsIssue))
  ),
  proxy: Schema.optional(Text.check(Schema.makeFilter(proxyIssue)))
})

/**
 * Fails when the options do not fit.
 *
 * @internal
 */
export const check = Options.check(Network)

// ------------------------------------------------------------------ a proxy

/** `user:password` of a URL; empty where there is none, undefined where it is not percent-encoded. */
const credentialsOf = ({ password, username }: URL): string | undefined => {
  try {
    return username === "" && password === "" ? "" : `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  } catch {
    return undefined
  }
}

/** One for each WebSocket: what it has begun ends with it. */
class ProxyAgent extends HttpsProxyAgent<string> {
  constructor(proxy: Secret, tls: ReturnType<typeof toNode>, signal: AbortSignal) {
    const url = new URL(revealed(proxy))
    const credentials = credentialsOf(url)
    // Not left in the URL, which the agent writes to its debug log.
    url.username = ""
    url.password = ""
    const { ca, rejectUnauthorized } = tls
    super(url.href, {
      signal,
      ...(ca === undefined ? {} : { ca }),
      ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
      headers: credentials ? { "Proxy-Authorization": `Basic ${Buffer.from(credentials).toString("base64")}` } : {}
    })
  }

  /** Itself it hands on what the proxy answers as if the server had said it. */
  override async connect(request: ClientRequest, options: Parameters<HttpsProxyAgent<string>["connect"]>[1]) {
    let status: number | undefined
    request.once("proxyConnect", (response: { readonly statusCode: number }) => {
      status = response.statusCode
    })
    const socket = await super.connect(request, options).catch((error: Error & { readonly code?: string }) => {
      throw new Error(`the proxy cannot be reached: ${error.message || error.code}`)
    })
    if (status === 200) return socket
    socket.destroy()
    throw new Error(
      status === 407
        ? "the proxy wants a user and a password, and not those that it was given, if any (407)"
        : `the proxy does not connect to it (${status})`
    )
  }
}

/**
 * As `NodeWS.layerWebSocketConstructor`, and a message that is too long is not
 * even buffered.
 *
 * @internal
 */
export const webSocketConstructor = (
  { proxy, tls }: NetworkOptions
): Socket.WebSocketConstructor["Service"] => {
  const secured = toNode(tls)
  return (url, options) => {
    const { headers, protocols } = typeof options === "string" || Array.isArray(options)
      ? { headers: undefined, protocols: options }
      : { headers: options?.headers, protocols: options?.protocols }
    const over = new AbortController()
    const webSocket = new NodeWS.WebSocket(url, protocols, {
      maxPayload: MaxSignalingBytes,
      ...secured,
      ...(headers === undefined ? {} : { headers }),
      ...(proxy === undefined ? {} : { agent: new ProxyAgent(proxy, secured, over.signal) })
    })
    // Its connection to a proxy that says nothing is nobody's else.
    if (proxy !== undefined) webSocket.once("close", () => over.abort())
    return webSocket
  }
}
