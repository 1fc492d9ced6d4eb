/**
 * Step by step to a connection, then what of our guesses holds.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Schema from "effect/Schema"
import { Version } from "../../internal/version.ts"
import type * as NodeSora from "../../node/NodeSora.ts"
import type { SoraConnectionError } from "../../SoraConnectionError.ts"
import { NoMethod } from "../commands/ping.ts"
import { badCommandLine, badUsage, cannot, ExitCode, Failure } from "../failure.ts"
import type { Recorder } from "../recording/recorder.ts"
import * as Guesses from "./guesses.ts"
import { reach } from "./reach.ts"
import type * as Report from "./report.ts"
import * as Session from "./session.ts"

const Order = ["WebSocket", "authentication", "offer", "ICE", "DTLS", "DataChannels", "compression", "rpc"] as const

type Stage = (typeof Order)[number]

/** Where a connection that could not be made stood, by what was seen of it. */
const stageOf = ({ reason }: SoraConnectionError, seen: Session.Seen): Stage => {
  if (reason._tag === "InvalidMessage") return "offer"
  if (seen.opened === 0) return "WebSocket"
  if (seen.offer === undefined) return reason._tag === "Refused" ? "authentication" : "offer"
  if (!seen.peerStates.includes("connecting") && !seen.peerStates.includes("connected")) {
    return reason._tag === "NegotiationFailed" ? "offer" : "ICE"
  }
  return seen.peerStates.includes("connected") ? "DataChannels" : "ICE"
}

const mendOf = (stage: Stage, { reason }: SoraConnectionError, seen: Session.Seen): string =>
  stage === "offer" && seen.offer === undefined && seen.opened > 0
    ? `${reason.message}; a WebSocket is there, but nothing of Sora on it: is the path right, is it a Sora?`
    : stage === "WebSocket" && /\b(?:40\d|30\d|426|5\d\d)\b/.test(reason.message)
    ? `${reason.message}; something else answers there, or the path is wrong (Sora's is /signaling)`
    : reason.message

/** The candidate pair in use: its types say over which path. */
const pathOf = Effect.fnUntraced(function*({ connection }: Session.Session) {
  const peer = yield* connection.peerConnection
  const stats = yield* Effect.option(Effect.tryPromise(() => peer.getStats()))
  const reports: Array<any> = []
  if (stats._tag === "Some") stats.value.forEach((report) => reports.push(report))
  const pairs = reports.filter(({ type }) => type === "candidate-pair")
  const pair = pairs.find(({ nominated, state }) => nominated === true && state === "succeeded") ??
    pairs.find(({ state }) => state === "succeeded")
  const candidate = (id: unknown) => reports.find((report) => report.id === id)
  const [local, remote] = [candidate(pair?.localCandidateId), candidate(pair?.remoteCandidateId)]
  const transport = reports.find(({ type }) => type === "transport")
  return {
    path: local === undefined
      ? "connected; over which path is not told"
      : `${local.candidateType} to ${remote?.candidateType ?? "?"}${
        local.protocol === undefined ? "" : ` over ${local.protocol}`
      }`,
    dtls: [transport?.dtlsState, transport?.tlsVersion, transport?.dtlsCipher]
      .filter((part) => typeof part === "string")
      .join(", ") || "connected"
  }
})

const describeIce = (offer: Schema.JsonObject): string => {
  const config: any = offer.config ?? {}
  const urls: ReadonlyArray<string> = (Array.isArray(config.iceServers) ? config.iceServers : [])
    .flatMap((server: any) => [server?.urls].flat())
    .map(String)
  const count = (scheme: string) => urls.filter((url) => url.startsWith(scheme)).length
  return `${count("stun")} STUN, ${count("turn")} TURN URLs, policy ${config.iceTransportPolicy ?? "all"}`
}

const ok = (step: string, detail: string): Report.Step => ({ step, outcome: "ok", detail })
const fault = (step: string, detail: string): Report.Step => ({ step, outcome: "fault", detail })

/** The steps of a connection that is up. */
const stepsOf = Effect.fnUntraced(function*(session: Session.Session) {
  const { connection, raw, seen } = session
  const offer = seen.offer ?? {}
  const offered: ReadonlyArray<any> = Array.isArray(offer.data_channels) ? offer.data_channels : []
  const labels = offered.map(({ label }) => String(label))
  const missing = labels.filter((label) => !seen.opening.includes(label))
  const { dtls, path } = yield* pathOf(session)
  const hasRpc = seen.opening.includes("rpc")
  const answer = hasRpc
    ? yield* raw.ask(
      JSON.stringify({ jsonrpc: "2.0", id: 1, method: NoMethod }),
      (json) => Session.idOf(json) === 1,
      "5 seconds"
    )
    : undefined
  const wrong = offered.filter(({ compress, label }) => {
    const forms = seen.forms.get(label)
    return forms !== undefined && compress === true && (forms.has("text") || forms.has("binary"))
  })
  const compressed = offered.filter(({ compress }) => compress === true).map(({ label }) => String(label))
  const methods = connection.transport.methodsUnsafe()
  const steps: ReadonlyArray<Report.Step> = [
    ok("WebSocket", `open${seen.redirects === 0 ? "" : `, after ${seen.redirects} redirects`}`),
    ok("authentication", "accepted"),
    ok("offer", `Sora ${String(offer.version ?? "of a version that it does not tell")}; ${describeIce(offer)}`),
    ok("ICE", path),
    ok("DTLS", dtls),
    missing.length === 0
      ? ok("DataChannels", seen.opening.filter((label) => label !== "switched").join(", ") || "none")
      : fault("DataChannels", `offered and not open: ${missing.join(", ")}`),
    wrong.length > 0
      ? fault("compression", `not zlib, although the offer says so: ${wrong.map(({ label }) => label).join(", ")}`)
      : ok("compression", compressed.length === 0 ? "none" : `zlib on ${compressed.join(", ")}`),
    !hasRpc
      ? fault("rpc", "no rpc channel: data_channel_rpc of sora.conf, and DataChannel signaling, are needed")
      : answer === undefined
      ? fault("rpc", "a call was not answered within 5 s")
      : ok("rpc", "a call is answered"),
    methods.length === 0
      ? fault("grants", "no method: the authentication grants them as rpc_methods")
      : ok("grants", `${methods.length} methods`)
  ]
  const obstacle = !hasRpc ? "there is no rpc channel" : answer === undefined ? "calls are not answered" : undefined
  return { steps, methods, obstacle }
})

const skipped = (from: number) =>
  [...Order, "grants"].slice(from).map((step): Report.Step => ({ step, outcome: "skipped", detail: "" }))

/** A probe may cost the connection; then there is another one, this often. */
const MaxReconnects = 5

/** What is told while it goes on. */
export interface Teller<R> {
  readonly step: (step: Report.Step) => Effect.Effect<void, never, R>
  readonly progress: (text: string) => Effect.Effect<void, never, R>
}

/** The report, and what is to be said of the server's health. */
export interface Diagnosis {
  readonly report: Report.Report
  readonly failure: Failure | undefined
}

export const diagnose = Effect.fnUntraced(function*<R>(
  { options, recorder, teller, write }: {
    readonly options: NodeSora.Options
    readonly recorder: Recorder
    readonly write: boolean
    readonly teller: Teller<R>
  }
): Effect.fn.Return<Diagnosis, never, R> {
  const urls = options.signalingUrls
  // A server may say again what it was told.
  const shown = (text: string) => recorder.redactor.text(text)
  const reportOf = (report: Pick<Report.Report, "steps" | "grants" | "findings">): Report.Report => ({
    by: `effect-sora-rpc ${Version}`,
    runtime: `Node.js ${process.versions.node}, werift`,
    url: urls.map((url) => shown(url.replace(/[?#].*$/s, ""))).join(", "),
    ...report,
    steps: report.steps.map((step) => ({ ...step, detail: shown(step.detail) })),
    grants: report.grants.map(shown),
    findings: report.findings.map((finding) => ({
      ...finding,
      observed: finding.observed === null ? null : shown(finding.observed)
    }))
  })
  const tell = (step: Report.Step) => {
    recorder.note(`${step.step}: ${step.outcome}`, { detail: step.detail })
    return teller.step(step)
  }

  yield* teller.progress("looking for the server")
  const tried = yield* Effect.forEach(urls, (url, i) =>
    Effect.map(reach(url, options), (steps) => {
      const unreached = steps.find(({ outcome, step }) => outcome === "fault" && step !== "TLS")
      return {
        url,
        unreached,
        steps: urls.length === 1 ? steps : steps.map((step) => ({ ...step, step: `${step.step} ${i + 1}` }))
      }
    }), { concurrency: "unbounded" })
  const reached = tried.flatMap(({ steps }) => steps)
  yield* Effect.forEach(reached, tell, { discard: true })
  const unreached = tried.flatMap(({ unreached }) => unreached ?? [])
  const unfit = unreached.find(({ step }) => step === "URL")
  // Of several a client needs one.
  if (unfit !== undefined || unreached.length === urls.length) {
    return {
      report: reportOf({ steps: [...reached, ...skipped(0)], grants: [], findings: [] }),
      failure: unfit === undefined
        ? cannot("Unreachable", Array.from(new Set(unreached.map(({ detail }) => detail))).join("; "))
        : badUsage("--signaling-url", unfit.detail)
    }
  }
  const url = tried.find(({ unreached }) => unreached === undefined)!.url

  yield* teller.progress("connecting")
  const seen = Session.nothing()
  const opened = yield* Effect.result(Session.open(options, recorder, seen))
  if (opened._tag === "Failure") {
    const error = opened.failure
    const stage = stageOf(error, seen)
    const at = Order.indexOf(stage)
    const failed = fault(stage, mendOf(stage, error, seen))
    yield* tell(failed)
    const before = Order.slice(0, at).map((step) => ok(step, ""))
    return {
      report: reportOf({ steps: [...reached, ...before, failed, ...skipped(at + 1)], grants: [], findings: [] }),
      failure: error.reason._tag === "InvalidOptions"
        ? badCommandLine(error.message)
        : cannot(error.reason._tag, failed.detail)
    }
  }

  let current: Session.Session | undefined = opened.success
  let attempts = 0
  const session = Effect.gen(function*() {
    if (current !== undefined && (yield* current.over) === undefined) return current
    if (current !== undefined) yield* current.close
    current = undefined
    if (attempts++ >= MaxReconnects) return undefined
    const again = yield* Effect.exit(Session.open(options, recorder))
    if (Exit.isSuccess(again)) current = again.value
    return current
  })

  return yield* Effect.gen(function*() {
    const { methods, obstacle, steps } = yield* stepsOf(opened.success)
    yield* Effect.forEach(steps, tell, { discard: true })
    const findings = yield* Guesses.tryAll(
      { options, url, recorder, session, granted: methods, write, obstacle },
      seen,
      (done, of) => teller.progress(`trying what is not known: ${done} of ${of}`)
    )
    for (const finding of findings) recorder.note(`${finding.verdict}: ${finding.about}`, { ...finding })
    const faults = [...reached, ...steps].filter(({ outcome }) => outcome === "fault")
    return {
      report: reportOf({ steps: [...reached, ...steps], grants: methods, findings }),
      failure: faults.length === 0 ? undefined : new Failure({
        error: "Unwell",
        text: faults.map(({ detail, step }) => `${step}: ${detail}`).join("; "),
        exitCode: ExitCode.Unwell
      })
    }
  }).pipe(Effect.ensuring(Effect.suspend(() => current?.close ?? Effect.void)))
})
