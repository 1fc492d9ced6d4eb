/**
 * The page's server: its files, who gets its WebSocket, what it tells and what
 * it does.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import { SoraConnection, SoraMethod, SoraRpc } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import { SoraServer } from "effect-sora-rpc/server"
import { SoraServerUi } from "effect-sora-rpc/ui"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type IncomingMessage, request } from "node:http"
import type { Entry, Message } from "../../src/ui/internal/protocol.ts"
import { socketUrl, uiClient } from "./client.ts"

const GetRoomInfo = SoraMethod.make("GetRoomInfo", {
  params: SoraMethod.Struct({ roomId: Schema.String }),
  result: Schema.Struct({ members: Schema.Int })
})

const Live = SoraServerUi.layer.pipe(Layer.provideMerge(SoraServer.layer({
  faults: { delay: "2 seconds", delayRate: 0 },
  handlers: [SoraMethod.handle(GetRoomInfo, () => Effect.succeed({ members: 1 }))]
})))

const client = (channelId: string, more: Partial<NodeSora.Options> = {}) =>
  Layer.unwrap(
    Effect.map(SoraServer.SoraServer, ({ url }) =>
      NodeSora.layer({
        signalingUrls: [url],
        channelId,
        role: "sendonly",
        audio: false,
        video: false,
        ...more
      }))
  )

/** How a request is answered: the status, the headers and the body. */
const ask = (url: string, options: { readonly headers?: Record<string, string>; readonly method?: string } = {}) =>
  Effect.callback<IncomingMessage & { text: string }, Error>((resume) => {
    const asked = request(url.replace(/^ws/, "http"), options, (response) => {
      let text = ""
      response.setEncoding("utf8").on("data", (more) => text += more)
      response.on("end", () => resume(Effect.succeed(Object.assign(response, { text }))))
    })
    asked.on("upgrade", (response, socket) => {
      socket.destroy()
      resume(Effect.succeed(Object.assign(response, { text: "" })))
    })
    asked.on("error", (error) => resume(Effect.fail(error)))
    asked.end()
  })

const upgrade = (headers: Record<string, string> = {}) => ({
  headers: {
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...headers
  }
})

const hostOf = (url: string) => new URL(url).host

layer(Live, { excludeTestServices: true })("SoraServerUi", (it) => {
  describe("files", () => {
    it.effect("are served with a policy that runs nothing of elsewhere", () =>
      Effect.gen(function*() {
        const { url } = yield* SoraServerUi.SoraServerUi
        const page = yield* ask(url)
        assert.strictEqual(page.statusCode, 200)
        assert.include(page.text, "<div id=\"app\">")
        const policy = page.headers["content-security-policy"] as string
        assert.include(policy, "default-src 'none'")
        assert.include(policy, "script-src 'self'")
        assert.notInclude(policy, "unsafe")
        assert.strictEqual(page.headers["referrer-policy"], "no-referrer")
        assert.notInclude(page.text, new URL(url).searchParams.get("token")!)
        const script = yield* ask(new URL("main.js", url).href)
        assert.strictEqual(script.headers["content-type"], "text/javascript; charset=utf-8")
        assert.isAbove(script.text.length, 100_000)
      }))

    it.effect("are those of the page alone", () =>
      Effect.gen(function*() {
        const { url } = yield* SoraServerUi.SoraServerUi
        for (const path of ["../package.json", "%2e%2e/package.json", "nothing", "index.html", "socket"]) {
          const { headers, statusCode } = yield* ask(`${new URL("/ui/", url).href}${path}`)
          assert.include([404, 426], statusCode, path)
          assert.notInclude(String(headers["content-type"]), "html")
        }
        assert.strictEqual((yield* ask(url, { method: "POST" })).statusCode, 405)
        const moved = yield* ask(url.replace("/ui/?", "/ui?"))
        assert.deepStrictEqual([moved.statusCode, moved.headers.location], [308, url.slice(url.indexOf("/ui/"))])
        assert.strictEqual((yield* ask(new URL("/", url).href)).statusCode, 426)
      }))

    it.effect("are not for a name that is not this server's", () =>
      Effect.gen(function*() {
        const { url } = yield* SoraServerUi.SoraServerUi
        const { port } = new URL(url)
        const statusOf = (host: string) => Effect.map(ask(url, { headers: { host } }), ({ statusCode }) => statusCode)
        assert.strictEqual(yield* statusOf(`evil.example:${port}`), 403)
        assert.strictEqual(yield* statusOf(`127.0.0.1.evil.example:${port}`), 403)
        assert.strictEqual(yield* statusOf(`localhost:${port}`), 200)
        assert.strictEqual(yield* statusOf(`[::1]:${port}`), 200)
      }))
  })

  describe("the WebSocket", () => {
    it.effect("wants the token, its own origin and its own name", () =>
      Effect.gen(function*() {
        const { url } = yield* SoraServerUi.SoraServerUi
        const socket = socketUrl(url)
        const host = hostOf(url)
        const other = hostOf((yield* SoraServer.SoraServer).url).replace(/\d+$/, "1")
        const answer = (url: string, headers: Record<string, string> = {}) =>
          Effect.map(ask(url, upgrade(headers)), ({ statusCode, text }) => [statusCode, text.trim()])
        assert.deepStrictEqual(yield* answer(socket), [101, ""])
        assert.deepStrictEqual(yield* answer(socket, { origin: `http://${host}` }), [101, ""])
        const token = "the token is not the one of the URL that the server printed"
        assert.deepStrictEqual(yield* answer(socket.split("?")[0]!), [403, token])
        assert.deepStrictEqual(yield* answer(`${socket}x`), [403, token])
        for (
          const origin of ["https://evil.example", `https://${host}`, `http://${other}`, "null", `http://${host}.evil`]
        ) {
          const [status, text] = yield* answer(socket, { origin })
          assert.strictEqual(status, 403)
          assert.include(text, "is not this page's")
        }
        const [status, text] = yield* answer(socket, { host: "evil.example", origin: "http://evil.example" })
        assert.deepStrictEqual([status, text], [403, "the host \"evil.example\" is not this server"])
        assert.notInclude(String(text), new URL(url).searchParams.get("token")!)
      }))
  })

  it.effect("tells of connections, messages and figures, of those that were there before too", () =>
    Effect.gen(function*() {
      yield* (yield* SoraRpc.SoraRpc).call(GetRoomInfo, { roomId: "lobby" })
      const { offer } = yield* SoraConnection.SoraConnection
      const { connectionId } = yield* offer
      const ui = yield* uiClient
      const find = ui.Connections().pipe(
        Stream.flatMap(({ changed }) => Stream.fromIterable(changed)),
        Stream.filter((found) => found.connectionId === connectionId && found.switched),
        Stream.runHead,
        Effect.flatMap(Effect.fromOption)
      )
      assert.deepInclude(yield* find, {
        channelId: "told",
        clientId: "<img src=x onerror=alert(1)>",
        role: "sendonly",
        state: "joined"
      })
      const entries: Array<Entry> = []
      yield* ui.Timeline({ after: 0 }).pipe(
        Stream.tap(({ entries: more }) => Effect.sync(() => entries.push(...more))),
        Stream.takeUntil(() => entries.some((entry) => entry._tag === "Message" && entry.duration !== undefined)),
        Stream.runDrain
      )
      const own = entries.filter((entry): entry is Message =>
        entry._tag === "Message" && entry.connectionId === connectionId
      )
      assert.includeMembers(own.map(({ direction, label, name }) => `${direction} ${label} ${name}`), [
        "sent undefined offer",
        "received undefined answer",
        "sent undefined switched",
        "received rpc GetRoomInfo",
        "sent rpc response"
      ])
      const answer = own.find(({ name }) => name === "response")!
      assert.strictEqual(own.find(({ seq }) => seq === answer.replyTo)!.name, "GetRoomInfo")
      assert.isAbove(answer.duration!, 0)
      const [second] = yield* ui.Figures().pipe(Stream.take(1), Stream.runCollect)
      assert.isAtLeast(second!.reduce((sum, { calls }) => sum + calls, 0), 1)
    }).pipe(Effect.scoped, Effect.provide(client("told", { clientId: "<img src=x onerror=alert(1)>" }))))

  it.effect("says what it serves, and what goes wrong", () =>
    Effect.gen(function*() {
      const ui = yield* uiClient
      const { url } = yield* SoraServer.SoraServer
      const info = yield* ui.Info()
      assert.strictEqual(info.signalingUrl, url)
      assert.deepStrictEqual(info.methods.find(({ name }) => name === "GetRoomInfo"), {
        name: "GetRoomInfo",
        form: { _tag: "Group", members: [{ name: "room_id", optional: false, field: { _tag: "Text" } }] }
      })
      const bad = yield* Effect.flip(ui.SetFaults({ faults: { dorp: 1 } }))
      assert.include(bad.message, "dorp")
    }).pipe(Effect.scoped))

  it.effect("tells what goes wrong on purpose, whoever changes it", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.SoraServer
      const [one, other] = [yield* uiClient, yield* uiClient]
      const told = yield* Stream.toQueue(one.Faults(), { capacity: "unbounded" })
      assert.deepStrictEqual(yield* Queue.take(told), { delay: 2000, delayRate: 0 })
      yield* other.SetFaults({ faults: { delay: 2000, delayRate: 0, seed: 7 } })
      assert.deepStrictEqual(yield* Queue.take(told), { delay: 2000, delayRate: 0, seed: 7 })
      yield* server.setFaults({ delay: "1 second", delayRate: 0 })
      assert.deepStrictEqual(yield* Queue.take(told), { delay: 1000, delayRate: 0 })
    }).pipe(Effect.scoped))

  it.effect("does what it is asked to", () =>
    Effect.gen(function*() {
      const connection = yield* SoraConnection.SoraConnection
      const { connectionId } = yield* connection.offer
      const ui = yield* uiClient
      const on = { connectionId }
      yield* ui.Push({ channelId: "done", data: { from: "the page" } })
      const pushed = yield* connection.push.pipe(Stream.runHead, Effect.flatMap(Effect.fromOption))
      assert.deepStrictEqual(pushed.data, { from: "the page" })
      yield* ui.ReOffer(on)
      assert.isArray(yield* ui.RequestStats(on))
      const nobody = yield* Effect.flip(ui.ReOffer({ connectionId: "NOBODY" }))
      assert.strictEqual(nobody.message, "there is no connection NOBODY")
      assert.strictEqual((yield* Effect.flip(ui.Disconnect({}))).message, "say whom to disconnect")
      assert.include((yield* Effect.flip(ui.Inject({ ...on, fault: "killSocket" }))).message, "no WebSocket")
      assert.strictEqual(yield* ui.Disconnect(on), 1)
      const last = yield* connection.changes.pipe(Stream.runLast, Effect.flatMap(Effect.fromOption))
      assert.strictEqual(last._tag, "Disconnected")
    }).pipe(Effect.scoped, Effect.provide(client("done", { ignoreDisconnectWebsocket: true }))))
})

describe("a page", () => {
  it.live("is served once of a server, and not of a double", () =>
    Effect.gen(function*() {
      yield* SoraServerUi.make
      const second = yield* Effect.flip(SoraServerUi.make)
      assert.strictEqual(second.message, "the server has its page already")
      const server = yield* SoraServer.SoraServer
      const double = yield* Effect.flip(Effect.provideService(SoraServerUi.make, SoraServer.SoraServer, { ...server }))
      assert.include(double.message, "SoraServer.make")
    }).pipe(Effect.scoped, Effect.provide(SoraServer.layer())))

  it.live("is gone with its scope, with whoever watches, and may come again", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { url } = yield* Scope.provide(SoraServerUi.make, scope)
      const ui = yield* Effect.provideService(uiClient, SoraServerUi.SoraServerUi, { url })
      yield* ui.Info()
      const watching = yield* Effect.forkChild(Effect.exit(Stream.runDrain(ui.Connections())))
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(Exit.isFailure(yield* Fiber.join(watching)))
      assert.strictEqual((yield* ask(url)).statusCode, 426)
      const again = yield* SoraServerUi.make
      assert.notStrictEqual(again.url, url)
      assert.strictEqual((yield* ask(again.url)).statusCode, 200)
    }).pipe(Effect.scoped, Effect.provide(SoraServer.layer())))
})
