/**
 * Makes the pictures of the development server's page that README and docs/ui.md
 * show:
 *
 *   npm run docs:screenshots
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { SoraMethod, SoraRpc } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import { SoraServer } from "effect-sora-rpc/server"
import { SoraServerUi } from "effect-sora-rpc/ui"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { mkdirSync } from "node:fs"
import { join, resolve } from "node:path"
import { chromium, type Page } from "playwright-core"
import { findChromium, flags } from "../test/browser/chromium.ts"

const folder = resolve(import.meta.dirname, "../docs/images")

const members = ["mika", "ren", "sora", "yui"]

/** Somebody in the lobby who calls a few times a second. */
const member = (url: string, name: string, i: number) =>
  Effect.gen(function*() {
    const rpc = yield* SoraRpc.SoraRpc
    const moods = ["busy", "free", "away"]
    let count = 0
    yield* Effect.suspend(() =>
      rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, { key: "mood", value: moods[count++ % moods.length]! })
    ).pipe(
      // Refused, because its connection is without simulcast: an error to look at.
      Effect.andThen(Effect.ignore(i === 0 ? rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r1" }) : Effect.void)),
      Effect.repeat(Schedule.spaced(150 + 70 * i))
    )
  }).pipe(
    Effect.provide(NodeSora.layer({
      signalingUrls: [url],
      channelId: i < 3 ? "lobby" : "stage",
      clientId: name,
      role: "sendonly",
      audio: false,
      video: false,
      metadata: { name }
    })),
    Effect.forkScoped
  )

const show = async (page: Page, view: string) => {
  await page.locator(`nav a[href="#${view}"]`).click()
  await page.locator(`nav a[href="#${view}"][aria-current="page"]`).waitFor()
}

const take = async (page: Page, name: string) => {
  await page.mouse.move(0, 0)
  await page.screenshot({ path: join(folder, `${name}.png`) })
}

const takeAll = async (url: string): Promise<void> => {
  const browser = await chromium.launch({ executablePath: findChromium(), args: flags })
  try {
    const page = await browser.newPage({
      viewport: { width: 1200, height: 720 },
      locale: "en-US",
      colorScheme: "light"
    })
    await page.goto(url)
    await page.locator("[role=option]").nth(members.length - 1).waitFor()

    await show(page, "camera")
    await page.getByRole("button", { name: "Send", exact: true }).click()
    await page.getByRole("button", { name: "Watch", exact: true }).click()
    await page.getByText(/Size: \d+×\d+/).nth(1).waitFor()
    await page.getByLabel(/^Layer of/).selectOption("r0")
    await page.getByText("The server sends the layer r0").waitFor()
    await take(page, "ui-camera")

    await show(page, "now")
    await page.locator("[role=option]").filter({ hasText: "mika" }).click()
    await take(page, "ui-now")

    await show(page, "call")
    await page.getByRole("button", { name: "Connect" }).click()
    await page.getByLabel("Method").selectOption("2025.2.0/RequestSimulcastRid")
    await page.getByLabel("rid *").selectOption("r1")
    await page.getByRole("button", { name: "Call", exact: true }).click()
    await page.getByRole("region", { name: "Result" }).first().waitFor()
    await page.getByRole("heading", { name: "Result" }).scrollIntoViewIfNeeded()
    await take(page, "ui-call")

    await show(page, "timeline")
    await page.locator("[role=option].error").first().waitFor()
    await page.getByRole("button", { name: "Pause" }).click()
    await page.locator("[role=option].error").last().click()
    await take(page, "ui-timeline")
    await page.getByLabel("Theme").selectOption("dark")
    await take(page, "ui-timeline-dark")

    await show(page, "figures")
    await page.getByLabel("Theme").selectOption("light")
    // So that there is a line to see.
    await page.waitForFunction(() => (document.querySelector("path.line-a")?.getAttribute("d") ?? "").length > 300)
    await take(page, "ui-figures")
  } finally {
    await browser.close()
  }
}

Effect.gen(function*() {
  const server = yield* SoraServer.SoraServer
  const { url } = yield* SoraServerUi.SoraServerUi
  mkdirSync(folder, { recursive: true })
  yield* Effect.forEach(members, (name, i) => member(server.url, name, i))
  yield* Effect.promise(() => takeAll(url))
  yield* Console.log(`docs/images: Now, Timeline, Call, Figures, Camera`)
}).pipe(
  Effect.scoped,
  Effect.provide(SoraServerUi.layer.pipe(Layer.provideMerge(SoraServer.layer()))),
  NodeRuntime.runMain
)
