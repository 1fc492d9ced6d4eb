/**
 * The development server's page: its five views, in both languages, light and dark, with the keyboard, and what it keeps
 * out.
 */
import { assert, layer } from "@effect/vitest"
import { SoraConnection, SoraMethod, SoraRpc } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import { SoraServer } from "effect-sora-rpc/server"
import { SoraServerUi } from "effect-sora-rpc/ui"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { text } from "node:stream/consumers"
import { inject } from "vitest"
import { until, wait } from "./harness.ts"
import { connectBrowser, openUi, row, rowsAre, seriousOf, show } from "./uiPage.ts"

const GetRoomInfo = SoraMethod.make("GetRoomInfo", {
  params: SoraMethod.Struct({ roomId: Schema.String, limit: Schema.optionalKey(Schema.Int) }),
  result: SoraMethod.Struct({ memberCount: Schema.Int })
})

const Live = SoraServerUi.layer.pipe(
  Layer.provideMerge(
    SoraServer.layer({
      handlers: [SoraMethod.handle(GetRoomInfo, () => Effect.succeed({ memberCount: 3 }))]
    })
  )
)

const hostile = "<img src=x onerror=\"document.title='taken'\">"

/** A client on Node in a channel of its own. */
const client = (channelId: string, options: Partial<NodeSora.Options> = {}) =>
  Layer.unwrap(
    Effect.map(SoraServer.SoraServer, ({ url }) =>
      NodeSora.layer({
        signalingUrls: [url],
        channelId,
        role: "sendonly",
        audio: false,
        video: false,
        ...options
      }))
  )

const connectionIdOf = Effect.flatMap(
  SoraConnection.SoraConnection,
  ({ offer }) => Effect.map(offer, ({ connectionId }) => connectionId)
)

layer(Live, { excludeTestServices: true, timeout: "60 seconds" })("the page", (it) => {
  it.effect("shows who is connected, as text, and drives the server", () =>
    Effect.gen(function*() {
      const connection = yield* SoraConnection.SoraConnection
      const rpc = yield* SoraRpc.SoraRpc
      const connectionId = yield* connectionIdOf
      yield* rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, { key: "mood", value: hostile })
      const page = yield* openUi()
      yield* wait(async () => {
        await page.getByLabel("Connection, client or channel").fill(hostile.slice(0, 12))
        await row(page, connectionId).click()
        const detail = page.getByRole("region", { name: `Connection ${connectionId}` })
        await detail.waitFor()
        const shown = await detail.innerText()
        assert.include(shown, hostile)
        assert.include(shown, "\"mood\": \"<img")
        assert.strictEqual(await page.locator("#app img").count(), 0)
        assert.strictEqual(await page.title(), "Now · Sora development server")

        await page.getByLabel("Data to push, as JSON").fill("{\"from\":\"a click\"}")
        await page.getByRole("button", { name: "Push to this connection" }).click()
        await page.getByText("Done: Push to this connection").waitFor()
      })
      const pushed = yield* Effect.flatMap(Stream.runHead(connection.push), Effect.fromOption)
      assert.deepStrictEqual(pushed.data, { from: "a click" })
      yield* wait(async () => {
        await page.getByRole("button", { name: "Send a re-offer" }).click()
        await page.getByText("Done: Send a re-offer").waitFor()
        await page.getByRole("button", { name: "Ask for statistics" }).click()
        await page.getByRole("region", { name: "Statistics" }).waitFor()
        await page.getByLabel("Data to push, as JSON").fill("{")
        await page.getByRole("button", { name: "Push to its channel" }).click()
        await page.getByText("That failed: Data to push, as JSON is no JSON").waitFor()

        // Faults: everything is dropped, and then nothing any more.
        await page.getByText("Faults", { exact: true }).click()
        await page.getByLabel("drop", { exact: true }).fill("1")
        await page.getByRole("button", { name: "Apply" }).click()
        await page.getByText("Done: Faults").waitFor()
        await show(page, "Timeline")
        await show(page, "Now")
        await page.getByText("Faults ●").click()
        assert.strictEqual(await page.getByLabel("drop", { exact: true }).inputValue(), "1")
      })
      const call = rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, { key: "a", value: 1 }, {
        timeout: "300 millis"
      })
      assert.strictEqual((yield* Effect.flip(call))._tag, "TimeoutError")
      yield* wait(async () => {
        await page.getByRole("button", { name: "No faults" }).click()
        await page.getByText("Done: No faults").waitFor()
      })
      yield* call
      // Those that a program asks for stand in the form too.
      const { setFaults } = yield* SoraServer.SoraServer
      yield* setFaults({ seed: 11 })
      yield* wait(() =>
        page.waitForFunction(() =>
          Array.from(document.querySelectorAll("details input"), (input) => (input as HTMLInputElement).value)
            .includes("11")
        )
      )
      yield* setFaults({})

      yield* wait(async () => {
        await page.getByRole("button", { name: "Disconnect", exact: true }).click()
        await row(page, connectionId).waitFor({ state: "detached" })
        await page.getByText("Choose a connection").waitFor()
      })
      const last = yield* Effect.flatMap(Stream.runLast(connection.changes), Effect.fromOption)
      assert.strictEqual(last._tag, "Disconnected")
    }).pipe(Effect.provide(client("shown", { clientId: hostile }))))

  it.effect("kills a connection in a way of its choice", () =>
    Effect.gen(function*() {
      const connectionId = yield* connectionIdOf
      const { connections } = yield* SoraServer.SoraServer
      const page = yield* openUi()
      yield* wait(async () => {
        await row(page, connectionId).click()
        await page.getByRole("button", { name: "Close everything at once" }).click()
        await row(page, connectionId).waitFor({ state: "detached" })
      })
      yield* until(connections, (all) => all.every((one) => one.connectionId !== connectionId))
    }).pipe(Effect.provide(client("killed"))))

  it.effect("shows the timeline: joined, filtered, in full, paused, exported", () =>
    Effect.gen(function*() {
      const rpc = yield* SoraRpc.SoraRpc
      const connectionId = yield* connectionIdOf
      yield* rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, { key: "mood", value: hostile })
      yield* Effect.flip(rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r0" }))
      const page = yield* openUi()
      yield* wait(async () => {
        await show(page, "Timeline")
        await page.getByLabel("Connection, client or channel").fill("timed")
        await rowsAre(page, "connection made (sendonly)", 1)

        await page.getByLabel("Transport or label").selectOption("rpc")
        await row(page, "offer").waitFor({ state: "detached" })
        await row(page, "PutSignalingNotifyMetadataItem").click()
        const decoded = page.getByRole("region", { name: "As its schema reads it" })
        const raw = page.getByRole("region", { name: "JSON, as it went over the wire" })
        assert.deepStrictEqual(JSON.parse(await decoded.innerText()), { key: "mood", value: hostile })
        assert.include(await raw.innerText(), "\"jsonrpc\": \"2.0\"")
        assert.match(await page.getByRole("region").first().innerText(), /Duration\s+[\d.]+ ms/)
        await page.getByRole("button", { name: "Response" }).click()
        await page.getByRole("heading", { level: 2, name: "response" }).waitFor()
        assert.strictEqual(await page.locator("#app img").count(), 0)

        // The keyboard goes on from what is chosen: to the next request, and to its error.
        await page.getByRole("listbox").focus()
        await page.keyboard.press("ArrowDown")
        await page.getByRole("heading", { level: 2, name: "2025.2.0/RequestSimulcastRid" }).waitFor()
        await page.keyboard.press("End")
        await page.getByRole("heading", { level: 2, name: "error" }).waitFor()
        const active = await page.getByRole("listbox").getAttribute("aria-activedescendant")
        assert.strictEqual(await page.locator(`[id="${active}"]`).getAttribute("aria-selected"), "true")
        await page.keyboard.press("Home")
        await page.getByRole("heading", { level: 2, name: "PutSignalingNotifyMetadataItem" }).waitFor()

        await page.getByLabel("Errors only").check()
        await row(page, "PutSignalingNotifyMetadataItem").waitFor({ state: "detached" })
        await rowsAre(page, "", 1)
        await page.getByLabel("Errors only").uncheck()
        await rowsAre(page, "PutSignalingNotifyMetadataItem", 1)
        await page.getByRole("button", { name: "Pause" }).click()
      })
      yield* rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, { key: "late", value: 1 })
      yield* wait(async () => {
        await page.getByText(/· [2-9] new since the pause/).waitFor()
        assert.strictEqual(await row(page, "PutSignalingNotifyMetadataItem").count(), 1)
        await page.getByRole("button", { name: "Go on" }).click()
        await rowsAre(page, "PutSignalingNotifyMetadataItem", 2)

        const downloading = page.waitForEvent("download")
        await page.getByRole("button", { name: "Export" }).click()
        const download = await downloading
        assert.strictEqual(download.suggestedFilename(), `${connectionId}.jsonl`)
        const lines = (await text(await download.createReadStream())).trim().split("\n").map((line) => JSON.parse(line))
        assert.strictEqual(lines[0].format, "effect-sora-rpc/recording")
        assert.isTrue(lines.some(({ direction, message, type }) =>
          type === "signaling" && direction === "sent" && message.type === "connect"
        ))
        assert.isTrue(lines.some(({ direction, type }) =>
          type === "rpc" && direction === "received"
        ))

        await page.getByRole("button", { name: "Clear" }).click()
        await page.getByText("0 shown of 0 messages").waitFor()
      })
    }).pipe(Effect.provide(client("timed"))))

  it.effect("calls: forms, templates, errors, notifications, timeouts, code, history", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.SoraServer
      const page = yield* openUi()
      const result = page.getByRole("region", { name: "Result" }).last()
      const error = page.getByRole("region", { name: "Error" }).last()
      const send = () => page.getByRole("button", { name: "Call", exact: true }).click()
      const method = (name: string) => page.getByLabel("Method").selectOption(name)
      yield* wait(async () => {
        await show(page, "Call")
        await page.getByLabel("Channel ID").fill("called")
        await page.getByRole("button", { name: "Connect" }).click()
        await page.getByText(/Connected as \w{26}/).waitFor()

        await method("2025.2.0/RequestSimulcastRid")
        await page.getByLabel("rid *").selectOption("r1")
        await send()
        assert.include(await result.innerText(), "\"rid\": \"r1\"")
        const code = page.getByRole("region", { name: "As code" })
        assert.include(await code.innerText(), "rpc.call(SoraMethod.RequestSimulcastRid, { rid: \"r1\" })")
        assert.include(
          await page.getByRole("region", { name: "As a command" }).innerText(),
          `npx sora-rpc call RequestSimulcastRid '{"rid":"r1"}' --signaling-url ${server.url}`
        )

        // A param that is missing is not sent.
        await page.getByLabel("rid *").selectOption("")
        await send()
        await page.getByText("That failed: rid is needed").waitFor()

        // The server's own error, as the library gives it.
        await method("2025.2.0/RequestSpotlightRid")
        await page.getByRole("button", { name: "Fill in", exact: true }).click()
        await send()
        const refused = JSON.parse(await error.innerText())
        assert.deepInclude(refused, { _tag: "RpcError", reason: "ServerError" })

        // A method of the application's own: the server says what its params are.
        await method("GetRoomInfo")
        await page.getByLabel("room_id *").fill("lobby")
        await send()
        assert.include(await result.innerText(), "\"member_count\": 3")

        // Templates are kept.
        await method("2025.2.0/PutSignalingNotifyMetadataItem")
        await page.getByRole("button", { name: "Fill in", exact: true }).click()
        await page.getByLabel("key *").fill("status")
        await page.getByLabel("Name of the template").fill("my own")
        await page.getByRole("button", { name: "Save as a template" }).click()
        await page.getByLabel("key *").fill("other")
        await page.getByRole("button", { name: "Fill in", exact: true }).click()
        assert.strictEqual(await page.getByLabel("key *").inputValue(), "status")
        await page.getByRole("checkbox", { name: "as JSON" }).check()
        assert.include(await page.getByLabel("Params (JSON)").inputValue(), "\"key\":\"status\"")
        await page.getByRole("checkbox", { name: "as JSON" }).uncheck()

        await page.getByLabel("Notification (no response)").check()
        await page.getByRole("button", { name: "Notify" }).click()
        await page.getByText("A notification has no response.").first().waitFor()
        await page.getByLabel("Notification (no response)").uncheck()
      })
      yield* until(server.connections, (all) =>
        all.some(({ channelId, metadata }) =>
          channelId === "called" && JSON.stringify(metadata) === "{\"status\":\"busy\"}"
        ))
      yield* server.setFaults({ drop: 1 })
      yield* wait(async () => {
        await page.getByLabel("Timeout in seconds").fill("0.3")
        await send()
        assert.deepInclude(JSON.parse(await error.innerText()), { _tag: "TimeoutError" })
      })
      yield* server.setFaults({})
      yield* wait(async () => {
        const past = page.getByRole("region", { name: "History" }).getByRole("listitem")
        assert.strictEqual(await past.count(), 5)
        await past.filter({ hasText: "GetRoomInfo" }).getByRole("button").click()
        assert.strictEqual(await page.getByLabel("room_id *").inputValue(), "lobby")
        await page.getByRole("button", { name: "Disconnect", exact: true }).click()
        await page.getByText("Not connected").waitFor()
      })
      yield* until(server.connections, (all) =>
        all.every(({ channelId }) =>
          channelId !== "called"
        ))

      // What cannot be reached is said.
      yield* wait(async () => {
        await page.getByLabel("Signaling URL").fill("no URL")
        await page.getByRole("button", { name: "Connect" }).click()
        await page.getByText(/That failed: .*signalingUrls/).waitFor()
      })
    }))

  it.effect("draws figures", () =>
    Effect.gen(function*() {
      const rpc = yield* SoraRpc.SoraRpc
      const page = yield* openUi()
      yield* wait(() => show(page, "Figures"))
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, i) => i),
        (value) => rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, { key: "count", value }),
        { concurrency: 5 }
      )
      yield* wait(async () => {
        await page.waitForFunction(() => {
          const found = /calls: (\d+)/.exec(document.querySelector("main")?.textContent ?? "")
          return found !== null && Number(found[1]) >= 20
        })
        for (const name of [/^Calls per second: /, /^Latency in ms: /, /^Calls waiting: /]) {
          await page.getByRole("img", { name }).waitFor()
        }
        assert.match((await page.locator("path.line-a").first().getAttribute("d"))!, /^M[\d.]+ [\d.]+m-1\.5 0h3/)
        await page.getByText("As a table").click()
        assert.isAtLeast(await page.locator("tbody tr").count(), 1)
      })
    }).pipe(Effect.provide(client("counted"))))

  it.effect("sends a camera from one page and shows it in another, in the layer that is asked for", () =>
    Effect.gen(function*() {
      const sender = yield* openUi({ permissions: ["camera"] })
      const watcher = yield* openUi({ colorScheme: "dark" })
      yield* wait(async () => {
        for (const page of [sender, watcher]) {
          await show(page, "Camera")
          await page.getByLabel("Channel ID").fill("filmed")
        }
        await sender.getByLabel("Picture").selectOption("camera")
        await sender.getByRole("button", { name: "Send", exact: true }).click()
        await sender.getByText(/Sending as \w{26}/).waitFor()
        await watcher.getByRole("button", { name: "Watch", exact: true }).click()

        const width = () => watcher.locator("video").evaluate((video: HTMLVideoElement) => video.videoWidth)
        const widthIs = async (fits: (width: number) => boolean) => {
          const until = Date.now() + 30_000
          while (!fits(await width())) {
            if (Date.now() > until) throw new Error(`waited in vain for ${fits}; it is ${await width()}`)
            await watcher.waitForTimeout(50)
          }
        }
        await widthIs((width) => width > 0)
        await watcher.getByLabel(/^Layer of/).selectOption("r0")
        await widthIs((width) => width > 0 && width <= 320)
        await watcher.getByText("The server sends the layer r0").waitFor()
        await watcher.getByLabel(/^Layer of/).selectOption("r2")
        await widthIs((width) => width > 320)

        await sender.getByRole("button", { name: "Stop sending" }).click()
        await watcher.getByText("Nobody sends anything.").waitFor()
        await watcher.getByRole("button", { name: "Stop watching" }).click()
        // The test picture needs no camera, and one page can be both.
        await watcher.getByRole("button", { name: "Watch", exact: true }).click()
        await watcher.getByRole("button", { name: "Send", exact: true }).click()
        await watcher.getByText(/Size: \d+×\d+/).nth(1).waitFor()
      })
    }))

  for (const colorScheme of ["light", "dark"] as const) {
    for (const locale of ["en-US", "ja-JP"]) {
      it.effect(`has nothing serious against it by axe: ${colorScheme}, ${locale}`, () =>
        Effect.gen(function*() {
          const rpc = yield* SoraRpc.SoraRpc
          yield* rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, { key: "mood", value: "busy" })
          yield* Effect.flip(rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r0" }))
          const page = yield* openUi({ colorScheme, locale })
          yield* wait(async () => {
            assert.strictEqual(await page.locator("html").getAttribute("lang"), locale.slice(0, 2))
            const isDark = await page.evaluate(() =>
              getComputedStyle(document.body).backgroundColor !== "rgb(255, 255, 255)"
            )
            assert.strictEqual(isDark, colorScheme === "dark")
            const found: Array<string> = []
            const look = async (name: string) => {
              for (const issue of await seriousOf(page)) found.push(`${name}: ${issue}`)
            }
            await page.locator("details summary").first().click()
            await page.locator("[role=option]").first().click()
            await look("now")
            await show(page, "Timeline")
            await row(page, "error").last().click()
            await look("timeline")
            await show(page, "Call")
            await page.locator("main form button[type=submit]").click()
            await page.locator("main form").nth(1).waitFor()
            await page.locator("main form").nth(1).locator("select").last().selectOption({ index: 1 })
            await page.locator("main form").nth(1).locator("button[type=submit]").click()
            await page.locator(".history li").first().waitFor()
            await look("call")
            await show(page, "Figures")
            await page.locator("details summary").click()
            await look("figures")
            await show(page, "Camera")
            await page.locator(".toolbar button").nth(0).click()
            await page.locator(".toolbar button").nth(1).click()
            await page.locator("video").nth(1).waitFor()
            await look("camera")
            assert.deepStrictEqual(found, [])
          })
        }).pipe(Effect.provide(client(`looked at ${colorScheme} ${locale}`))))
    }
  }

  it.effect("remembers language and theme, and moves the focus to the view that is shown", () =>
    Effect.gen(function*() {
      const page = yield* openUi()
      yield* wait(async () => {
        await page.getByLabel("Theme").selectOption("dark")
        await page.getByLabel("Language").selectOption("ja")
        await page.reload()
        await page.locator(".dot.online").waitFor()
        assert.strictEqual(await page.locator("html").getAttribute("lang"), "ja")
        assert.strictEqual(await page.getByLabel("テーマ").inputValue(), "dark")
        assert.strictEqual(
          await page.evaluate(() => getComputedStyle(document.body).backgroundColor),
          "rgb(21, 24, 29)"
        )
        await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.getByRole("heading", { level: 1, name: "タイムライン" }).waitFor()
        await page.waitForFunction(() => document.activeElement?.tagName === "H1")
      })
    }))

  it.effect("is out of reach of a page of another origin, token or not", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServerUi.SoraServerUi
      const page = yield* Effect.acquireRelease(
        wait(async () => (await connectBrowser()).newPage()),
        (page) => Effect.promise(() => page.close())
      )
      const outcome = yield* wait(async () => {
        await page.goto(`${inject("pages")}/?page=ours`)
        return page.evaluate(async (url) => {
          const socket = new WebSocket(url.replace("http", "ws").replace("/ui/?", "/ui/socket?"))
          const opened = await new Promise((resolve) => {
            socket.addEventListener("open", () => resolve(true))
            socket.addEventListener("error", () => resolve(false))
          })
          const read = await fetch(url).then(() => true, () => false)
          const frame = document.createElement("iframe")
          frame.src = url
          const framed = await new Promise((resolve) => {
            frame.addEventListener("load", () => resolve(frame.contentDocument !== null))
            document.body.append(frame)
          })
          return { opened, read, framed }
        }, url)
      })
      assert.deepStrictEqual(outcome, { opened: false, read: false, framed: false })
      // The same socket, from the page that it is for.
      const own = yield* openUi()
      const opened = yield* wait(() =>
        own.evaluate((url) =>
          new Promise((resolve) => {
            const socket = new WebSocket(url.replace("http", "ws").replace("/ui/?", "/ui/socket?"))
            socket.addEventListener("open", () => resolve(true))
            socket.addEventListener("error", () => resolve(false))
          }), url)
      )
      assert.isTrue(opened)
    }))

  it.effect("says that it needs the token", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServerUi.SoraServerUi
      const page = yield* Effect.acquireRelease(
        wait(async () => (await connectBrowser()).newPage({ locale: "en-US" })),
        (page) => Effect.promise(() => page.close())
      )
      yield* wait(async () => {
        await page.goto(url.split("?")[0]!)
        await page.getByText("is the token in this page's address the one that it printed?").waitFor()
      })
    }))
})
