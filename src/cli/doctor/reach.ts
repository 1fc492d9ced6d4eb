/**
 * Before WebRTC: does the address answer, and is its certificate one to trust.
 */
import * as Effect from "effect/Effect"
import { connect as connectTcp, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import { type NetworkOptions, toNode } from "../../node/internal/network.ts"
import type { Step } from "./report.ts"

const Limit = 5000

const codeOf = (error: Error) => "code" in error && typeof error.code === "string" ? error.code : error.message

/** Opens a socket, and says what there is to say of it. */
const open = (socket: Socket, event: "connect" | "secureConnect", describe: () => string) =>
  Effect.callback<{ readonly ok: boolean; readonly detail: string }>((resume) => {
    const done = (ok: boolean, detail: string) => {
      socket.destroy()
      resume(Effect.succeed({ ok, detail }))
    }
    socket.setTimeout(
      Limit,
      () => done(false, `nothing within ${Limit / 1000} s; is the address right, is a firewall there?`)
    )
    socket.once(event, () => done(true, describe()))
    socket.on("error", (error) => done(false, codeOf(error)))
    return Effect.sync(() => socket.destroy())
  })

const tls = (host: string, port: number, network: NetworkOptions) => {
  const socket = connectTls({
    host,
    port,
    ...(/[a-z]/i.test(host) && !host.includes(":") ? { servername: host } : {}),
    ALPNProtocols: ["http/1.1"],
    ...toNode(network.tls),
    // What is wrong with it is what we want to know.
    rejectUnauthorized: false
  })
  return Effect.map(
    open(
      socket,
      "secureConnect",
      () => `${socket.getProtocol()}, certificate until ${socket.getPeerCertificate().valid_to}`
    ),
    ({ detail, ok }): Step => {
      const trusted = !ok || socket.authorized
      return {
        step: "TLS",
        outcome: ok && trusted ? "ok" : "fault",
        detail: trusted
          ? detail
          : `the certificate is not trusted: ${String(socket.authorizationError)}; --ca names a CA of your own`
      }
    }
  )
}

/** The steps up to the WebSocket. */
export const reach = Effect.fnUntraced(function*(
  url: string,
  network: NetworkOptions = {}
): Effect.fn.Return<ReadonlyArray<Step>> {
  const parsed = URL.parse(url)
  if (parsed === null || !/^wss?:$/.test(parsed.protocol)) {
    return [{ step: "URL", outcome: "fault", detail: "no ws:// or wss:// URL" }]
  }
  const isSecure = parsed.protocol === "wss:"
  const host = parsed.hostname.replace(/^\[|\]$/g, "")
  const port = Number(parsed.port) || (isSecure ? 443 : 80)
  const steps: Array<Step> = [{ step: "URL", outcome: "ok", detail: `${parsed.protocol}, path ${parsed.pathname}` }]
  if (network.proxy !== undefined) {
    return [...steps, ...["TCP", "TLS"].map((step): Step => ({ step, outcome: "skipped", detail: "through a proxy" }))]
  }
  const { detail, ok } = yield* open(connectTcp({ host, port }), "connect", () => "the port is open")
  steps.push({ step: "TCP", outcome: ok ? "ok" : "fault", detail: ok ? detail : `port ${port}: ${detail}` })
  if (!ok) return steps
  steps.push(isSecure ? yield* tls(host, port, network) : { step: "TLS", outcome: "skipped", detail: "ws:// has none" })
  return steps
})
