/**
 * Calls from a page, our client beside `sora-js-sdk`, in Chromium against the
 * development server in a process of its own, with the channels compressed and
 * not:
 *
 *   npm run bench:browser [-- --quick] [-- --json]
 *
 * Medians of interleaved rounds, one page at a time. A connection is made anew
 * for each round of each client.
 */
import * as Effect from "effect/Effect"
import { type Browser, chromium } from "playwright-core"
import { findChromium, flags } from "../../test/browser/chromium.ts"
import { servePages } from "../../test/browser/servePages.ts"
import { child, median, table } from "./bench.ts"

const Callers = [16, 64, 1024]
const clients = ["ours", "sdk"] as const
const forms = ["zlib", "plain"] as const

type Client = typeof clients[number]
type Form = typeof forms[number]

/** What one round of one client gives: milliseconds, and calls per second. */
interface Round {
  readonly client: Client
  readonly form: Form
  readonly figures: Readonly<Record<string, number>>
}

const quick = process.argv.includes("--quick")
const rounds = quick ? 1 : 6
const cellMs = quick ? 500 : 1500
const roundTrips = quick ? 50 : 300

const pages = Effect.acquireRelease(
  Effect.promise(() => servePages(clients.map((name) => new URL(`./pages/${name}.ts`, import.meta.url)))),
  (pages) => Effect.sync(() => pages.close())
)

const browser = Effect.acquireRelease(
  Effect.promise(() => chromium.launch({ executablePath: findChromium(), args: flags, headless: true })),
  (browser) => Effect.promise(() => browser.close())
)

const percentile = (numbers: ReadonlyArray<number>, at: number) =>
  numbers.toSorted((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(numbers.length * at))] ?? NaN

const oneRound = async (
  chromium: Browser,
  pagesUrl: string,
  client: Client,
  form: Form,
  url: string
): Promise<Round> => {
  const page = await chromium.newPage()
  try {
    await page.goto(`${pagesUrl}/?page=${client}`)
    await page.waitForFunction(() => "contestant" in window)
    const setUp = await page.evaluate((url) => window.contestant.connect(url), url)
    // For the page's compiler.
    await page.evaluate(() => window.contestant.rate(16, 300))
    const times = await page.evaluate((count) => window.contestant.roundTrips(count), roundTrips)
    const figures: Record<string, number> = {
      "set-up, ms": setUp,
      "p50, ms": percentile(times, 0.5),
      "p99, ms": percentile(times, 0.99)
    }
    for (const callers of Callers) {
      // oxlint-disable-next-line eslint/no-await-in-loop -- one cell at a time
      figures[`${callers} callers, /s`] = await page.evaluate(
        ([callers, ms]) => window.contestant.rate(callers!, ms!),
        [callers, cellMs]
      )
    }
    await page.evaluate(() => window.contestant.close())
    return { client, form, figures }
  } finally {
    await page.close()
  }
}

const measure = Effect.gen(function*() {
  const urls: Record<Form, string> = {
    zlib: yield* child("server.ts"),
    plain: yield* child("server.ts", "--no-compress")
  }
  const { url } = yield* pages
  const chromium = yield* browser
  const all: Array<Round> = []
  for (let i = 0; i < rounds; i++) {
    for (const form of forms) {
      // Whoever comes first has a colder machine.
      for (const client of i % 2 === 0 ? clients : clients.toReversed()) {
        all.push(yield* Effect.promise(() => oneRound(chromium, url, client, form, urls[form])))
      }
    }
  }
  return all
})

const all = await Effect.runPromise(Effect.scoped(measure))
const names = Object.keys(all[0]?.figures ?? {})
const valuesOf = (client: Client, form: Form, name: string) =>
  all.filter((round) => round.client === client && round.form === form).map(({ figures }) => figures[name]!)

/** Round by round, because what else the machine does hits both of a pair alike. */
const ratio = (form: Form, name: string) => {
  const theirs = valuesOf("sdk", form, name)
  return median(valuesOf("ours", form, name).map((value, i) => value / theirs[i]!))
}

const targets = [
  { name: "p50, zlib, ours / SDK", value: ratio("zlib", "p50, ms"), limit: 0.25, most: true },
  { name: "64 callers, zlib, ours / SDK", value: ratio("zlib", "64 callers, /s"), limit: 12, most: false },
  { name: "64 callers, plain, ours / SDK", value: ratio("plain", "64 callers, /s"), limit: 2.5, most: false }
].map((target) => ({
  ...target,
  met: target.most ? target.value <= target.limit : target.value >= target.limit
}))

if (process.argv.includes("--json")) {
  process.stdout.write(`${JSON.stringify({ rounds: all, targets }, undefined, 2)}\n`)
} else {
  table([
    ["in Chromium, medians", ...names],
    ...forms.flatMap((form) =>
      clients.map((client) => [
        `${form}, ${client === "ours" ? "effect-sora-rpc" : "sora-js-sdk"}`,
        ...names.map((name) => Number(median(valuesOf(client, form, name)).toPrecision(3)))
      ])
    )
  ])
  table([
    ["target", "limit", "measured", "met"],
    ...targets.map(({ limit, met, most, name, value }) => [
      name,
      `${most ? "≤" : "≥"} ${limit}`,
      Number(value.toPrecision(3)),
      met ? "yes" : "NO"
    ])
  ])
}
process.exit(0)
