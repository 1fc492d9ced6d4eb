/**
 * Clients of every kind, each gone with the scope of its test, and what they have seen.
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import { assert } from "@effect/vitest"
import wrtc from "@roamhq/wrtc"
import { PeerConnection, SoraConnection, SoraRpc } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as polyfill from "node-datachannel/polyfill"
import { type BrowserContext, chromium, type Page } from "playwright-core"
import { inject } from "vitest"
import type { Client, ClientEvent, ConnectOptions } from "./client.ts"
import * as Ours from "./ours.ts"

/** Nothing here takes longer on one machine; a test that waits for ever should say for what. */
const Patience = 15_000

export type Kind = "ours" | "sdk-2025" | "sdk-2026" | "werift" | "wrtc" | "node-datachannel"

export const names: Readonly<Record<Kind, string>> = {
  "ours": "effect-sora-rpc in Chromium",
  "sdk-2025": "sora-js-sdk 2025.2.0 in Chromium",
  "sdk-2026": "sora-js-sdk 2026.1.0 in Chromium",
  "werift": "effect-sora-rpc on werift",
  "wrtc": "effect-sora-rpc on @roamhq/wrtc",
  "node-datachannel": "effect-sora-rpc on node-datachannel"
}

export const isSdk = (kind: Kind) => kind.startsWith("sdk-")
export const isPage = (kind: Kind) => kind === "ours" || isSdk(kind)

/** What a client has reported so far, and what it will. */
export class EventLog {
  readonly all: Array<ClientEvent> = []
  private readonly taken = new Set<ClientEvent>()
  private readonly waiting = new Set<() => void>()

  readonly add = (event: ClientEvent) => {
    this.all.push(event)
    for (const check of Array.from(this.waiting)) check()
  }

  of<T extends ClientEvent["type"]>(type: T) {
    return this.all.filter((event): event is Extract<ClientEvent, { type: T }> => event.type === type)
  }

  /** The next event that fits and was not taken yet. */
  take<T extends ClientEvent["type"]>(
    type: T,
    fits: (event: Extract<ClientEvent, { type: T }>) => boolean = () => true
  ): Promise<Extract<ClientEvent, { type: T }>> {
    return new Promise((resolve, reject) => {
      const check = () => {
        const found = this.of(type).find((event) => !this.taken.has(event) && fits(event))
        if (found === undefined) return
        this.waiting.delete(check)
        clearTimeout(timer)
        this.taken.add(found)
        resolve(found)
      }
      const timer = setTimeout(() => {
        this.waiting.delete(check)
        reject(new Error(`waited in vain for ${type}: ${fits}; seen ${JSON.stringify(this.all)}`))
      }, Patience)
      this.waiting.add(check)
      check()
    })
  }

  push(fits: (data: any) => boolean) {
    return this.take("push", ({ data }) => fits(data))
  }

  notify(event: string, connectionId?: string) {
    return this.take(
      "notify",
      (it) => it.event === event && (connectionId === undefined || it.connectionId === connectionId)
    )
  }
}

export interface Driver extends Client {
  readonly kind: Kind
  readonly events: EventLog
  /** Of clients in pages. */
  readonly page: Page | undefined
}

/** W3C implementations on Node, plugged in as a user would. */
const constructors = {
  "wrtc": PeerConnection.layerConstructor(wrtc.RTCPeerConnection, { environment: "Node.js, @roamhq/wrtc" }),
  "node-datachannel": PeerConnection.layerConstructor(polyfill.RTCPeerConnection, {
    environment: "Node.js, node-datachannel"
  })
}

const nodeLayer = (kind: Kind, options: SoraConnection.Options): Ours.Connected =>
  kind === "wrtc" || kind === "node-datachannel"
    ? SoraRpc.layer.pipe(
      Layer.provideMerge(SoraConnection.layer(options)),
      Layer.provide([constructors[kind], NodeWS.layerWebSocketConstructor])
    )
    : NodeSora.layer(options)

const nodeClient = (kind: Kind) =>
  Effect.acquireRelease(
    Effect.sync((): Driver => {
      const events = new EventLog()
      return {
        ...Ours.make(async (options) => nodeLayer(kind, options), events.add),
        kind,
        events,
        page: undefined,
        playing: () => Promise.reject(new Error("there is no video element on Node"))
      }
    }),
    (driver) => Effect.promise(() => driver.disconnect().catch(() => {}))
  )

let context: Promise<BrowserContext> | undefined
/** The one Chromium of the run, in a context of this test file's own. */
const connectBrowser = () => context ??= chromium.connect(inject("browser")).then((browser) => browser.newContext())

/** A fresh page. Anything that it complains about fails the test. */
const pageClient = (kind: Kind) =>
  Effect.gen(function*() {
    const complaints: Array<string> = []
    const page = yield* Effect.acquireRelease(
      Effect.promise(async () => (await connectBrowser()).newPage()),
      (page) => Effect.promise(() => page.close())
    )
    const driver = yield* Effect.promise(async (): Promise<Driver> => {
      const events = new EventLog()
      page.on("pageerror", (error) => complaints.push(`${error.name}: ${error.message}`))
      page.on("console", (message) => {
        if (message.type() === "error" || message.type() === "warning") complaints.push(message.text())
      })
      await page.exposeFunction("report", events.add)
      await page.goto(`${inject("pages")}/?page=${kind}`)
      // Module scripts have run when the page is loaded.
      return {
        kind,
        events,
        page,
        connect: (options) => page.evaluate((options) => window.client.connect(options), options),
        call: (...args) => page.evaluate((args) => window.client.call(...args), args),
        notify: (...args) => page.evaluate((args) => window.client.notify(...args), args),
        send: (...args) => page.evaluate((args) => window.client.send(...args), args),
        playing: (streamId) => page.evaluate((streamId) => window.client.playing(streamId), streamId),
        disconnect: () => page.evaluate(() => window.client.disconnect())
      }
    })
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => assert.deepStrictEqual(complaints, [], `complaints of the page of ${names[kind]}`))
    )
    return driver
  })

/** A client of this kind, not connected yet; a page of its own where it lives in one. */
export const makeClient = (kind: Kind): Effect.Effect<Driver, never, Scope.Scope> =>
  isPage(kind) ? pageClient(kind) : nodeClient(kind)

/** Connected, and in its channel. */
export const connected = Effect.fnUntraced(function*(kind: Kind, options: ConnectOptions) {
  const driver = yield* makeClient(kind)
  const { connectionId, rpcMethods } = yield* wait(() => driver.connect(options))
  const created = yield* wait(() => driver.events.notify("connection.created", connectionId))
  return { ...driver, connectionId, rpcMethods, created }
})

export type Member = Effect.Success<ReturnType<typeof connected>>

/** A promise that rejects fails the test. */
export const wait = <A>(promise: () => Promise<A>): Effect.Effect<A> =>
  Effect.orDie(Effect.tryPromise({ try: promise, catch: (error) => error }))

/** Asks the server until it holds: what it does for a connection that is gone, it tells nobody. */
export const until = <A>(effect: Effect.Effect<A>, holds: (a: A) => boolean): Effect.Effect<A> =>
  effect.pipe(
    Effect.delay("20 millis"),
    Effect.repeat({ until: holds }),
    Effect.timeout(Patience),
    Effect.orDie
  )
