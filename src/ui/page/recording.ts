/**
 * The messages of one connection as a recording, from the client's side, as
 * `sora-rpc record` writes it.
 */
import * as Schema from "effect/Schema"
import * as Format from "../../cli/recording/format.ts"
import * as Redact from "../../cli/recording/redact.ts"
import { Version } from "../../internal/version.ts"
import type { Entry } from "../internal/protocol.ts"

const isObject = Schema.is(Schema.JsonObject)

/** What may be a secret in what a client sent for its authentication, as far as its `connect` is among the messages. */
const secretsOf = (entries: ReadonlyArray<Entry>): ReadonlyArray<string> =>
  entries.flatMap((entry) => {
    if (entry._tag !== "Message" || entry.direction !== "received" || entry.name !== "connect") return []
    const { metadata } = JSON.parse(entry.text) as { readonly metadata?: unknown }
    return typeof metadata === "string" ? [metadata] : Redact.secretsIn(metadata)
  })

const flipped = { received: "sent", sent: "received" } as const

export const recordingOf = (entries: ReadonlyArray<Entry>): string => {
  const begun = entries[0]?.at ?? Date.now()
  const redactor = Redact.make({ secrets: secretsOf(entries), keep: [] })
  const lineOf = (entry: Entry): Format.Line => {
    const at = entry.at - begun
    if (entry._tag === "Opened") return { type: "state", at, state: "opened" }
    if (entry._tag === "Closed") {
      return { type: "state", at, state: "closed", detail: redactor.text(`${entry.code} ${entry.reason}`) }
    }
    const { label, text, transport } = entry
    const direction = flipped[entry.direction]
    let message: Schema.Json
    try {
      message = redactor.json(JSON.parse(text))
    } catch {
      return { type: "rpc", at, direction, text: redactor.text(text) }
    }
    return label !== "rpc" && isObject(message)
      ? { type: "signaling", at, direction, transport, ...(label === undefined ? {} : { label }), message }
      : { type: "rpc", at, direction, message }
  }
  const header = {
    format: "effect-sora-rpc/recording" as const,
    version: Format.FormatVersion,
    by: `effect-sora-rpc ${Version}`,
    startedAt: new Date(begun).toISOString(),
    redacted: Format.Redactable.literals
  } as const
  return [header, ...entries.map(lineOf)].map(Format.encodeLine).join("")
}

export const download = (name: string, text: string): void => {
  const url = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }))
  const link = document.createElement("a")
  Object.assign(link, { href: url, download: name })
  link.click()
  URL.revokeObjectURL(url)
}
