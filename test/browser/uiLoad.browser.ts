/**
 * The page with a thousand connections and a hundred thousand messages: clicks, and what comes, cost it what they cost a
 * page that has next to nothing, and neither side keeps more than it should.
 *
 * What is asserted is counted, or is time of the page's main thread beside the same on the other page: wall time is that
 * of a machine that does other things too. It is printed: how long a click takes is in docs/ui.md, of a quiet machine.
 */
import { assert, describe, it } from "@effect/vitest"
import { SoraServer } from "effect-sora-rpc/server"
import { SoraServerUi } from "effect-sora-rpc/ui"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { Page } from "playwright-core"
import { insideOf } from "../../src/server/internal/inside.ts"
import type { Member } from "../../src/server/internal/member.ts"
import type { ServerConnection } from "../../src/server/internal/rooms.ts"
import { MaxEntries } from "../../src/ui/page/history.ts"
import { wait } from "./harness.ts"
import { openUi, show } from "./uiPage.ts"

const Messages = 100_000
const PerChannel = 20
const Full = { connections: 1000, messages: Messages }
/** Enough for a list to be as long as the screen. */
const Small = { connections: 40, messages: 100 }

/** Rows in sight, and as many beyond as are spared for scrolling. */
const MaxRows = 40

/** Each is done so often, on both pages in turn. */
const Rounds = 15

/** What work may differ by without a cause. */
const MaxRatio = 1.3

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void
const serverHeap = () => {
  collect()
  return process.memoryUsage().heapUsed
}

const memberOf = (i: number): Member => ({
  connectionId: `CONNECTION${String(i).padStart(16, "0")}`,
  clientId: `client ${i}`,
  bundleId: `bundle ${i}`,
  channelId: `channel ${Math.floor(i / PerChannel)}`,
  sessionId: "SESSION",
  role: "sendrecv",
  audio: true,
  video: true,
  simulcast: true,
  spotlight: false,
  joinedAt: Date.now(),
  authnMetadata: { name: `client ${i}` },
  authzMetadata: undefined,
  metadata: { mood: "busy" },
  rids: { all: "r2", bySender: new Map() },
  spotlightRids: { focus: "r1", unfocus: "r0" },
  initialSpotlightRids: { focus: "r1", unfocus: "r0" },
  rpcRids: []
})

/** As large as one of Sora's own calls. */
const request = (id: number) =>
  `{"jsonrpc":"2.0","id":${id},"method":"2025.2.0/PutSignalingNotifyMetadataItem","params":{"key":"mood","value":"busy","push":true}}`
const response = (id: number) => `{"jsonrpc":"2.0","id":${id},"result":{"mood":"busy"}}`

/** From each click until its effect was painted, as the browser measured it: the Event Timing API. */
const watchClicks = (page: Page) =>
  page.evaluate(() => {
    const durations: Array<number> = []
    Object.assign(window, { durations })
    new PerformanceObserver((list) => {
      for (const { duration, name } of list.getEntries()) if (name === "click") durations.push(duration)
      // What is shorter than 16 ms is not told of.
    }).observe({ type: "event", durationThreshold: 16 } as PerformanceObserverInit)
  })

const clicksOf = (page: Page) =>
  page.evaluate(() => (window as unknown as { durations: Array<number> }).durations.splice(0).toSorted((a, b) => a - b))

const heapOf = async (page: Page): Promise<number> => {
  const session = await page.context().newCDPSession(page)
  await session.send("HeapProfiler.collectGarbage")
  const { usedSize } = await session.send("Runtime.getHeapUsage")
  await session.detach()
  return usedSize
}

/** The time that the page's main thread was at work, in milliseconds: other processes take nothing of it. */
const makeWork = async (page: Page): Promise<() => Promise<number>> => {
  const session = await page.context().newCDPSession(page)
  await session.send("Performance.enable", { timeDomain: "threadTicks" })
  return async () => {
    const { metrics } = await session.send("Performance.getMetrics")
    return metrics.find(({ name }) => name === "TaskDuration")!.value * 1000
  }
}

/** Two frames later, with what is done after them. */
const painted = (page: Page) =>
  page.evaluate(() =>
    new Promise<void>((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve))))
  )

/** As a script does it: Playwright would look for it, in the page, and wait for it to stand still. */
const click = (page: Page, selector: string, index = 0) =>
  page.evaluate(
    ([selector, index]) => document.querySelectorAll<HTMLElement>(selector)[index]!.click(),
    [selector, index] as const
  )

const countOf = (page: Page) =>
  page.locator(".summary").innerText().then((text) => Number(/of (\d+) messages/.exec(text)?.[1] ?? 0))

/** Does what lets messages come, and waits until they are drawn. */
const drawn = async (page: Page, act: () => void): Promise<void> => {
  await page.evaluate(() => {
    const drawn = new Promise<void>((resolve) =>
      new MutationObserver((_, observer) => {
        observer.disconnect()
        resolve()
      }).observe(document.querySelector(".summary")!, { characterData: true, childList: true, subtree: true })
    )
    Object.assign(window, { drawn })
  })
  act()
  await page.evaluate(() => (window as unknown as { drawn: Promise<void> }).drawn)
}

/** What is beside the work itself, such as a collection of garbage, only adds to it. */
const least = (values: ReadonlyArray<number>) => Math.min(...values)

/** A server with so many connections, which say so much, and its page with the timeline open. */
const makeStage = Effect.fnUntraced(function*({ connections, messages }: typeof Full) {
  const context = yield* Layer.build(Layer.fresh(SoraServerUi.layer.pipe(Layer.provideMerge(SoraServer.layer()))))
  const { rooms, tap } = insideOf(Context.get(context, SoraServer.SoraServer))!
  const heap = serverHeap()
  const lines = Array.from({ length: connections }, (_, i) => {
    const member = memberOf(i)
    const connection = {
      member,
      media: { sources: () => [], receives: () => [] },
      isSwitched: () => true,
      deliver() {}
    }
    // The rest is never asked for here.
    rooms.enter(connection as unknown as ServerConnection)
    rooms.join(connection as unknown as ServerConnection)
    const line = tap.line()
    line.opened(member)
    return line
  })
  const page = yield* Effect.provideContext(openUi(), context)
  let id = 0
  const say = (count: number) => {
    for (let i = 0; i < count / 2; i++) {
      const line = lines[++id % connections]!
      line.message("received", "datachannel", "rpc", request(id))
      line.message("sent", "datachannel", "rpc", response(id))
    }
  }
  /** As fast as the page takes it, so that it misses nothing. */
  const fill = async (count: number) => {
    for (let left = count; left > 0; left -= 1000) await drawn(page, () => say(Math.min(left, 1000)))
  }
  yield* wait(async () => {
    await page.getByText(`Connections: ${connections}`).waitFor()
    await show(page, "Timeline")
    await fill(messages)
  })
  return { page, say, fill, heap, work: yield* wait(() => makeWork(page)) }
})

type Stage = Effect.Success<ReturnType<typeof makeStage>>

type Acts = Readonly<Record<string, (stage: Stage, round: number) => Promise<void>>>

/** What is done in the timeline on both pages, in this order: some need what those before them leave. */
const inTimeline: Acts = {
  "two messages": ({ page, say }) => drawn(page, () => say(2)),
  "a message chosen": ({ page }, round) => click(page, "[role=option]", 5 + round % 2),
  "two messages beside it": ({ page, say }) => drawn(page, () => say(2)),
  "Pause": ({ page }) => click(page, "button[aria-pressed]"),
  "Go on": ({ page }) => click(page, "button[aria-pressed]")
}

const betweenViews: Acts = {
  "Now": ({ page }) => click(page, "nav a[href='#now']"),
  "a connection chosen": ({ page }, round) => click(page, "[role=option]", 5 + round % 2),
  "Figures": ({ page }) => click(page, "nav a[href='#figures']"),
  "Timeline": ({ page }) => click(page, "nav a[href='#timeline']")
}

/** How much work each takes, of the one page and of the other. */
const compare = async (acts: Acts, full: Stage, small: Stage) => {
  const work = Object.keys(acts).map((name) => ({ name, full: [] as Array<number>, small: [] as Array<number> }))
  for (let round = 0; round < Rounds; round++) {
    for (const [i, act] of Object.values(acts).entries()) {
      for (const [to, stage] of [[work[i]!.full, full], [work[i]!.small, small]] as const) {
        const before = await stage.work()
        await act(stage, round)
        await painted(stage.page)
        to.push(await stage.work() - before)
      }
    }
  }
  return work.map(({ full, name, small }) => ({ name, full: least(full), small: least(small) }))
}

/** 10,000 messages a second, and clicks all the while. Gives how long each took that was not at once. */
const clicksInFlood = async ({ page, say }: Stage) => {
  await watchClicks(page)
  let said = 0
  const isOver = () => said >= Messages
  const timer = setInterval(() => {
    if (isOver()) return clearInterval(timer)
    said += 500
    say(500)
  }, 50)
  for (let i = 0; !isOver(); i++) {
    if (i % 4 === 0) await page.locator("[role=option]").nth(5).click()
    else if (i % 4 === 1) await page.getByRole("button", { name: "Pause" }).click()
    else if (i % 4 === 2) await page.getByRole("button", { name: "Go on" }).click()
    else {
      await show(page, "Now")
      await page.locator("[role=option]").nth(3).click()
      await show(page, "Timeline")
    }
    await page.waitForTimeout(100)
  }
  const goOn = page.getByRole("button", { name: "Go on" })
  if (await goOn.count() > 0) await goOn.click()
  return clicksOf(page)
}

/** With everything there: filters, details, views. */
const clicksAtRest = async ({ page }: Stage) => {
  await watchClicks(page)
  for (let i = 0; i < 5; i++) {
    await page.getByLabel("Errors only").click()
    await page.getByText(/^0 shown of/).waitFor()
    await page.getByLabel("Errors only").click()
    await page.getByText(/^0 shown of/).waitFor({ state: "detached" })
    await page.locator("[role=option]").nth(i).click()
    await show(page, "Now")
    await show(page, "Timeline")
  }
  return clicksOf(page)
}

const log = (text: string) => void process.stdout.write(`${text}\n`)
const longest = (clicks: ReadonlyArray<number>) =>
  `${clicks.length} of 16 ms or more${clicks.length === 0 ? "" : `, the longest ${clicks.at(-1)} ms`}`
const mib = (bytes: number) => Math.round(bytes / 1024 / 1024)

describe("the page under load", () => {
  it.live(
    "draws once for what comes, and reads what is chosen once",
    () =>
      Effect.gen(function*() {
        const { page, say } = yield* makeStage(Small)
        yield* wait(async () => {
          await page.evaluate(() => {
            const counts = { rows: 0, texts: 0 }
            new MutationObserver((changes) => {
              for (const { addedNodes } of changes) counts.rows += addedNodes.length
            }).observe(document.querySelector(".all")!, { childList: true })
            const { stringify } = JSON
            // As the page writes what it shows; what it sends has no space.
            JSON.stringify = (value: unknown, replacer?: any, space?: number) => {
              if (space !== undefined) counts.texts++
              return stringify(value, replacer, space)
            }
            Object.assign(window, { counts })
          })
          const counts = async () => {
            await painted(page)
            return page.evaluate(() => (window as unknown as { counts: { rows: number; texts: number } }).counts)
          }
          const rows = () => page.locator("[role=option]").count()
          // More than are in sight: all that are drawn are new, and no others were drawn.
          await drawn(page, () => say(200))
          assert.strictEqual((await counts()).rows, await rows())
          await click(page, "[role=option]", 5)
          const { texts } = await counts()
          assert.isAbove(texts, 0)
          await drawn(page, () => say(200))
          await drawn(page, () => say(200))
          assert.strictEqual((await counts()).texts, texts)
        })
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "does no more for a click and for a message than a page with next to nothing, and keeps no more than it should",
    () =>
      Effect.gen(function*() {
        const full = yield* makeStage(Full)
        const small = yield* makeStage(Small)
        yield* wait(async () => {
          assert.isAtLeast(await countOf(full.page), MaxEntries * 0.9)
          for (const [where, acts] of Object.entries({ timeline: inTimeline, views: betweenViews })) {
            const work = await compare(acts, full, small)
            for (const { full, name, small } of work) {
              log(`${name}: ${full.toFixed(1)} ms of work, on a page with next to nothing ${small.toFixed(1)} ms`)
            }
            const sum = (of: "full" | "small") => work.reduce((sum, one) => sum + one[of], 0)
            assert.isAtMost(sum("full") / sum("small"), MaxRatio, where)
          }
          assert.isAtMost(await full.page.locator("[role=option]").count(), MaxRows)

          const during = await clicksInFlood(full)
          const after = await clicksAtRest(full)
          log(`clicks during the flood: ${longest(during)}; afterwards: ${longest(after)}`)

          const [page, server] = [[] as Array<number>, [] as Array<number>]
          for (let i = 0; i < 2; i++) {
            await full.fill(Messages)
            page.push(mib(await heapOf(full.page)))
            server.push(mib(serverHeap()))
            assert.isAtMost(await countOf(full.page), MaxEntries)
          }
          log(
            `heap after each 100,000 messages: page ${page.join(", ")} MiB; server ${mib(full.heap)} before, ${
              server.join(", ")
            } MiB`
          )
          assert.isAtMost(page[1]! - page[0]!, 10)
          assert.isAtMost(server[1]! - server[0]!, 10)
        })
      }).pipe(Effect.scoped),
    // For what hangs, not for what is slow: beside much else it takes some minutes.
    600_000
  )
})
