/**
 * The development server's page, opened in a context of its own. What it complains about fails the test.
 */
import { assert } from "@effect/vitest"
import { SoraServerUi } from "effect-sora-rpc/ui"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core"
import { inject } from "vitest"
import { wait } from "./harness.ts"

let browser: Promise<Browser> | undefined
export const connectBrowser = () => browser ??= chromium.connect(inject("browser"))

export type View = "Now" | "Timeline" | "Call" | "Figures" | "Camera"

export const openUi = Effect.fnUntraced(function*(options: BrowserContextOptions = {}) {
  const { url } = yield* SoraServerUi.SoraServerUi
  const complaints: Array<string> = []
  const context = yield* Effect.acquireRelease(
    wait(async () =>
      (await connectBrowser()).newContext({ viewport: { width: 1280, height: 800 }, locale: "en-US", ...options })
    ),
    (context) => Effect.promise(() => context.close())
  )
  const page = yield* wait(() => context.newPage())
  page.setDefaultTimeout(15_000)
  page.on("pageerror", (error) => complaints.push(`${error.name}: ${error.message}`))
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text())
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => assert.deepStrictEqual(complaints, [], "complaints of the page")))
  yield* wait(async () => {
    await page.goto(url)
    await page.locator(".dot.online").waitFor()
  })
  return page
})

/** By its place in the navigation, whatever the language. */
export const show = async (page: Page, view: View): Promise<void> => {
  await page.locator(`nav a[href="#${view.toLowerCase()}"]`).click()
  await page.locator(`nav a[href="#${view.toLowerCase()}"][aria-current="page"]`).waitFor()
}

/** A row of the list in the view, by a text in it. */
export const row = (page: Page, text: string | RegExp) => page.locator("[role=option]").filter({ hasText: text })

/** Waits until so many rows have the text. */
export const rowsAre = async (page: Page, text: string, count: number): Promise<void> => {
  await page.waitForFunction(
    ([text, count]) =>
      Array.from(document.querySelectorAll("[role=option]")).filter((row) => row.textContent.includes(text)).length ===
        count,
    [text, count] as const
  )
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

/** What axe finds that is serious or critical. */
export const seriousOf = async (page: Page): Promise<ReadonlyArray<string>> => {
  // As a tool would do it: the page's own policy lets nothing in.
  await page.evaluate(axe)
  return page.evaluate(async () => {
    const { axe } = window as unknown as {
      readonly axe: {
        readonly run: () => Promise<
          {
            readonly violations: ReadonlyArray<{
              readonly id: string
              readonly impact: string
              readonly nodes: ReadonlyArray<{ readonly html: string; readonly failureSummary: string }>
            }>
          }
        >
      }
    }
    const { violations } = await axe.run()
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .flatMap(({ id, nodes }) => nodes.map(({ failureSummary, html }) => `${id}: ${html} ${failureSummary}`))
  })
}
