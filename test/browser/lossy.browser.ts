/**
 * DataChannels of a real peer of ours and Chromium's over a bad network, which is
 * between their UDP ports.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { type BrowserContext, chromium } from "playwright-core"
import { inject } from "vitest"
import { constructorOf, type Peer } from "../../scripts/bench/peer.ts"
import * as Lossy from "../node/werift/lossy.ts"
import { makePagePeer } from "./pagePeer.ts"

let context: BrowserContext
beforeAll(async () => {
  context = await (await chromium.connect(inject("browser"))).newContext()
})
afterAll(() => context.close())

/** Two peers, connected, of which the one that offers is named; and the side of ours. */
const connected = async (seed: number, offerer: "ours" | "Chromium") => {
  const page = await context.newPage()
  const own: Peer = new (constructorOf("werift"))({ iceServers: [] })
  const chromiums = await makePagePeer(page, `${inject("pages")}/?page=peer`)
  const made = await (offerer === "ours"
    ? Lossy.connect(seed, own, chromiums)
    : Lossy.connect(seed, chromiums, own))
  const close = async () => {
    await made.close()
    await page.close()
  }
  return { ...made, close }
}

describe("over a bad network", () => {
  for (const [seed, offerer] of (["ours", "Chromium"] as const).entries()) {
    const [own, other] = offerer === "ours" ? [0, 1] as const : [1, 0] as const

    it(`each message arrives once, both ways: ${offerer} offers`, async () => {
      const made = await connected(seed + 1, offerer)
      await Lossy.exchange(made, seed)
      assert.isAbove(made.relay.counts.dropped, 0)
      assert.isTrue(made.haveWrapped())
      await made.close()
    })

    it(`the numbers of messages begin at zero again: ${offerer} offers`, async () => {
      const made = await connected(seed + 11, offerer)
      await Lossy.wrap(made, 0)
      await made.close()
    })

    for (const [name, from] of [["ours", own], ["Chromium", other]] as const) {
      it(`what waits on a channel comes before it closes: ${offerer} offers, ${name} closes`, async () => {
        const made = await connected(seed + 21, offerer)
        await Lossy.closeUnderLoad(made, from, seed)
        await made.close()
      })
    }

    it(`what is given up holds up nothing: ${offerer} offers`, async () => {
      const made = await connected(seed + 51, offerer)
      await Lossy.giveUp(made, own)
      await made.close()
    })

    it(`a window may close again and again: ${offerer} offers`, async () => {
      const made = await connected(seed + 61, offerer)
      await Lossy.throughWindow(made, own, seed)
      await made.close()
    })

    it(`heartbeats are answered: ${offerer} offers`, async () => {
      const made = await connected(seed + 31, offerer)
      await Lossy.beat(made)
      await made.close()
    })

    it(`of one that leaves in the middle the other hears: ${offerer} offers`, async () => {
      for (const from of [own, other]) {
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        const made = await connected(seed + 41, offerer)
        // oxlint-disable-next-line no-await-in-loop -- as above
        await Lossy.leave(made, from, seed)
        // oxlint-disable-next-line no-await-in-loop -- as above
        await made.close()
      }
    })
  }
})
