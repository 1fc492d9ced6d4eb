/**
 * Draws what `npm run bench` and `npm run bench:browser` measured, as bars, for
 * a light and for a dark page:
 *
 *   npm run -s bench -- --json > bench.json
 *   npm run -s bench:browser -- --json > browser.json
 *   npm run bench:draw -- bench.json browser.json
 *
 * Writes `docs/bench-light.svg` and `docs/bench-dark.svg`.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Schema from "effect/Schema"
import { fileURLToPath } from "node:url"
import { median } from "./bench.ts"

const Bench = Schema.fromJsonString(
  Schema.Struct({ webRtc: Schema.Array(Schema.Struct({ name: Schema.String, value: Schema.Finite })) })
)

const Browser = Schema.fromJsonString(
  Schema.Struct({
    rounds: Schema.Array(
      Schema.Struct({
        client: Schema.String,
        form: Schema.String,
        figures: Schema.Record(Schema.String, Schema.Finite)
      })
    )
  })
)

interface Bar {
  readonly label: string
  readonly value: number
  /** Of this library; others are drawn paler. */
  readonly ours: boolean
}

interface Group {
  readonly title: string
  readonly bars: ReadonlyArray<Bar>
}

const themes = {
  light: { text: "#1f2328", muted: "#59636e", ours: "#0969da", other: "#c8d1da" },
  dark: { text: "#f0f6fc", muted: "#9198a1", ours: "#4493f8", other: "#3d444d" }
}

const Size = { width: 720, left: 250, bar: 18, gap: 8, title: 34 }

const escape = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

const draw = (groups: ReadonlyArray<Group>, theme: typeof themes.light): string => {
  const lines: Array<string> = []
  let y = 0
  for (const { bars, title } of groups) {
    y += Size.title
    lines.push(`<text x="0" y="${y - 12}" class="title">${escape(title)}</text>`)
    const most = Math.max(...bars.map(({ value }) => value))
    for (const { label, ours, value } of bars) {
      const width = Math.max(1, Math.round(value / most * (Size.width - Size.left - 90)))
      const middle = y + Size.bar / 2 + 4
      lines.push(
        `<text x="${Size.left - 10}" y="${middle}" text-anchor="end">${escape(label)}</text>`,
        `<rect x="${Size.left}" y="${y}" width="${width}" height="${Size.bar}" rx="3" fill="${
          ours ? theme.ours : theme.other
        }"/>`,
        `<text x="${Size.left + width + 8}" y="${middle}" class="figure">${
          Math.round(value).toLocaleString("en")
        }</text>`
      )
      y += Size.bar + Size.gap
    }
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${Size.width}" height="${y}" viewBox="0 0 ${Size.width} ${y}" role="img">`,
    `<title>Calls per second</title>`,
    `<style>text{font:13px -apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:${theme.text}}`,
    `.title{font-weight:600}.figure{fill:${theme.muted}}</style>`,
    ...lines,
    "</svg>",
    ""
  ].join("\n")
}

const program = Effect.gen(function*() {
  const files = yield* FileSystem.FileSystem
  const [benchFile = "bench.json", browserFile = "browser.json"] = process.argv.slice(2)
  const { webRtc } = yield* Effect.flatMap(files.readFileString(benchFile), Schema.decodeUnknownEffect(Bench))
  const { rounds } = yield* Effect.flatMap(files.readFileString(browserFile), Schema.decodeUnknownEffect(Browser))

  const measured = (name: string) => webRtc.find((row) => row.name === name)?.value ?? NaN
  const bareAtBest = Math.max(
    ...webRtc.filter(({ name }) => name.startsWith("bare echo, plain werift")).map(({ value }) => value)
  )
  const inPage = (client: string, form: string) =>
    median(
      rounds.filter((round) => round.client === client && round.form === form)
        .map(({ figures }) => figures["64 callers, /s"] ?? NaN)
    )
  const over = (implementation: string) => measured(`calls, ${implementation}, 1024 callers`)
  const groups: ReadonlyArray<Group> = [
    {
      title: "Calls per second over WebRTC on Node, 1,024 callers",
      bars: [
        { label: "over werift, as it is here", value: over("werift"), ours: true },
        { label: "over @roamhq/wrtc", value: over("@roamhq/wrtc"), ours: true },
        { label: "over node-datachannel", value: over("node-datachannel"), ours: true },
        { label: "bare echo of werift as it comes", value: bareAtBest, ours: false }
      ]
    },
    {
      title: "The same where the server takes its time, over werift",
      bars: [
        {
          label: "50 ms (20,480 is what is possible)",
          value: measured("calls, werift, server takes 50 ms"),
          ours: true
        },
        {
          label: "200 ms (5,120 is what is possible)",
          value: measured("calls, werift, server takes 200 ms"),
          ours: true
        }
      ]
    },
    {
      title: "Calls per second in Chromium, 64 callers",
      bars: [
        { label: "effect-sora-rpc, compressed", value: inPage("ours", "zlib"), ours: true },
        { label: "sora-js-sdk, compressed", value: inPage("sdk", "zlib"), ours: false },
        { label: "effect-sora-rpc, plain", value: inPage("ours", "plain"), ours: true },
        { label: "sora-js-sdk, plain", value: inPage("sdk", "plain"), ours: false }
      ]
    }
  ].map(({ bars, title }) => ({ title, bars: bars.filter(({ value }) => Number.isFinite(value)) }))
  for (const [name, theme] of Object.entries(themes)) {
    const file = fileURLToPath(new URL(`../../docs/bench-${name}.svg`, import.meta.url))
    yield* files.writeFileString(file, draw(groups, theme))
  }
})

await Effect.runPromise(Effect.provide(program, NodeFileSystem.layer))
