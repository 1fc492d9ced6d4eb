/**
 * What `doctor` found, as somebody would paste it into an issue.
 */
import type * as Schema from "effect/Schema"

/** A step of connecting. Those after one that failed are not taken. */
export interface Step {
  readonly step: string
  readonly outcome: "ok" | "fault" | "skipped"
  readonly detail: string
}

/** A point of section 9 of the protocol notes: what we guess, and what the server did. */
export interface Finding {
  /** Its row there, where it has one. */
  readonly row: number | null
  readonly about: string
  /** What the development server does. */
  readonly guess: string
  /** What this server did; nothing where it was not tried. */
  readonly observed: string | null
  readonly verdict: "as guessed" | "differs" | "not tried"
  /** Why it was not tried. */
  readonly reason?: string
}

export interface Report {
  readonly by: string
  readonly runtime: string
  readonly url: string
  readonly steps: ReadonlyArray<Step>
  readonly grants: ReadonlyArray<string>
  readonly findings: ReadonlyArray<Finding>
}

export const tried = (row: number | null, about: string, guess: string, observed: string): Finding => ({
  row,
  about,
  guess,
  observed,
  verdict: observed === guess ? "as guessed" : "differs"
})

export const notTried = (row: number | null, about: string, guess: string, reason: string): Finding => ({
  row,
  about,
  guess,
  observed: null,
  verdict: "not tried",
  reason
})

/** Its members are JSON, but an interface has no index signature, which the type wants. */
export const toJson = (report: Report): Schema.Json => report as unknown as Schema.Json

const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("\n", " ")

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>) =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.map(cell).join(" | ")} |`).join("\n")

const rowOf = ({ row }: Finding) => row === null ? "" : String(row)

const findingsTable = (findings: ReadonlyArray<Finding>) =>
  table(
    ["§9", "About", "We guess", "This server"],
    findings.map((finding) => [rowOf(finding), finding.about, finding.guess, finding.observed ?? ""])
  )

export const toMarkdown = ({ by, findings, grants, runtime, steps, url }: Report): string => {
  const of = (verdict: Finding["verdict"]) => findings.filter((finding) => finding.verdict === verdict)
  const section = (title: string, body: string) => body === "" ? "" : `\n## ${title}\n\n${body}\n`
  return [
    "# sora-rpc doctor",
    "",
    `${by}, ${runtime}, ${url}`,
    "",
    table(
      ["", "Step", ""],
      steps.map(({ detail, outcome, step }) => [
        outcome === "ok" ? "✓" : outcome === "fault" ? "✗" : "–",
        step,
        detail
      ])
    ),
    section("Grants", grants.map((method) => `- ${method}`).join("\n")),
    section("Differs from what we guess", of("differs").length === 0 ? "" : findingsTable(of("differs"))),
    section("As we guess", of("as guessed").length === 0 ? "" : findingsTable(of("as guessed"))),
    section(
      "Not tried",
      of("not tried").map((finding) =>
        `- ${finding.row === null ? "" : `${finding.row}: `}${finding.about} (${finding.reason})`
      ).join("\n")
    )
  ].join("\n").trimEnd()
}
