/**
 * The README's program for a page, as `npm run demo:browser` serves it.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { chromium, type Page } from "playwright-core"
import { inject } from "vitest"
import { wait } from "./harness.ts"

/** Serves it on free ports, and is told to stop with the scope. Gives the page's address. */
const demo = Effect.gen(function*() {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(
        process.execPath,
        ["--import", "tsx", "scripts/demo-browser/demo-browser.ts", "--port", "0", "--signaling-port", "0"],
        { stdio: ["ignore", "pipe", "inherit"] }
      )
    ),
    (child) =>
      Effect.promise(async () => {
        const ended = new Promise((resolve) => child.once("exit", resolve))
        child.kill("SIGINT")
        assert.strictEqual(await ended, 0)
      })
  )
  return yield* Effect.callback<string>((resume) => {
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text
      const url = /^http:\/\/localhost:\d+$/m.exec(output)?.[0]
      if (url !== undefined) resume(Effect.succeed(url))
    })
    child.once("exit", (code) => resume(Effect.die(new Error(`the demo ended with ${code}: ${output}`))))
  })
})

const videos = (page: Page) => page.locator("video")

it.live("two tabs see each other", () =>
  Effect.gen(function*() {
    const url = yield* demo
    const context = yield* Effect.acquireRelease(
      wait(async () => (await chromium.connect(inject("browser"))).newContext()),
      (context) => Effect.promise(() => context.close())
    )
    const open = wait(async () => {
      const page = await context.newPage()
      await page.goto(url)
      await page.getByText("metadata: {\"mood\":\"busy\"}").waitFor()
      return page
    })
    const one = yield* open
    const two = yield* open
    for (const page of [one, two]) {
      // Pictures, not only a track.
      yield* wait(() => page.waitForFunction(() => (document.querySelector("video")?.videoWidth ?? 0) > 0))
    }
    yield* wait(() => two.close())
    yield* wait(() => videos(one).waitFor({ state: "detached" }))
  }))
