/** The peer of a page (`pages/peer.ts`) as one of this process, as far as `test/node/werift/lossy.ts` uses one. */
import type { Page } from "playwright-core"
import type { Peer } from "../../scripts/bench/peer.ts"
import type { Channel } from "../node/werift/lossy.ts"
import type { PageEvent } from "./pages/peer.ts"

type Kind = Pick<Channel, "ordered" | "maxRetransmits" | "maxPacketLifeTime">

const event = (type: string, members: object = {}) => Object.assign(new Event(type), members)

export const makePagePeer = async (page: Page, url: string): Promise<Peer> => {
  const channels = new Map<string, EventTarget & { readyState: string }>()
  /** What is sent at about the same time goes together. */
  let waiting: Array<readonly [label: string, text: string]> = []
  /** What the page is told, in order. */
  let told: Promise<unknown> = Promise.resolve()
  const flush = () => {
    const messages = waiting
    waiting = []
    if (messages.length > 0) told = page.evaluate((messages) => window.peer.send(messages), messages)
    return told
  }

  const makeChannel = (label: string, kind: Kind): Channel => {
    const channel = Object.assign(new EventTarget(), {
      label,
      readyState: "connecting",
      ...kind,
      send(data: Buffer) {
        if (waiting.push([label, data.toString("latin1")]) === 1) setImmediate(flush)
      },
      close() {
        void flush()
        void page.evaluate((label) => window.peer.closeChannel(label), label)
      }
    })
    channels.set(label, channel)
    return channel
  }

  const peer = Object.assign(new EventTarget(), {
    iceGatheringState: "complete",
    localDescription: undefined as { readonly sdp: string } | undefined,
    createDataChannel(label: string, options: RTCDataChannelInit = {}) {
      told = page.evaluate(([label, options]) => window.peer.create(label, options), [label, options] as const)
      const { maxPacketLifeTime = null, maxRetransmits = null, ordered = true } = options
      return makeChannel(label, { ordered, maxRetransmits, maxPacketLifeTime })
    },
    createOffer: async () => ({ type: "offer", sdp: "" }),
    createAnswer: async () => ({ type: "answer", sdp: "" }),
    /** The page makes its own, whatever is given. */
    async setLocalDescription({ type }: { readonly type: string }) {
      await told
      const sdp = await page.evaluate((type) => type === "offer" ? window.peer.offer() : window.peer.answer(), type)
      peer.localDescription = { sdp }
    },
    setRemoteDescription: (description: RTCSessionDescriptionInit) =>
      page.evaluate((description) => window.peer.hear(description), description),
    async close() {
      await flush()
      await page.evaluate(() => window.peer.close())
    }
  })

  const onEvent = (told: PageEvent) => {
    switch (told.type) {
      case "datachannel": {
        const { label, type, ...kind } = told
        return peer.dispatchEvent(event(type, { channel: makeChannel(label, kind) }))
      }
      case "message":
        return channels.get(told.label)!.dispatchEvent(event("message", { data: Buffer.from(told.text, "latin1") }))
      default:
        channels.get(told.label)!.readyState = told.type === "open" ? "open" : "closed"
        return channels.get(told.label)!.dispatchEvent(event(told.type))
    }
  }
  await page.exposeFunction("tell", (events: ReadonlyArray<PageEvent>) => {
    for (const each of events) onEvent(each)
  })
  await page.goto(url)
  return peer as unknown as Peer
}
