/**
 * Clients of different makers in one channel, the roles of those in pages, and the ends that only a page comes to.
 */
import { assert, layer } from "@effect/vitest"
import { SoraServer } from "effect-sora-rpc/server"
import * as Effect from "effect/Effect"
import { connected, isPage, isSdk, type Kind, names, until, wait } from "./harness.ts"

const Put = "2025.2.0/PutSignalingNotifyMetadata"
const PutItem = "2025.2.0/PutSignalingNotifyMetadataItem"

const kinds = Object.keys(names) as Array<Kind>
const pages = kinds.filter(isPage)

layer(SoraServer.layer(), { excludeTestServices: true })("channels", (it) => {
  it.effect("all kinds of clients see each other's joining, metadata, pushes and leaving", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.SoraServer
      const members: Array<Effect.Success<ReturnType<typeof connected>>> = []
      for (const kind of kinds) {
        const before = members.map(({ connectionId, kind }) => [connectionId, { of: kind }])
        const member = yield* connected(kind, {
          url: server.url,
          channelId: "mixed",
          role: "recvonly",
          // One half of them closes the WebSocket.
          ignoreDisconnectWebsocket: members.length % 2 === 0,
          metadata: { name: kind }
        })
        assert.deepStrictEqual(
          member.created.members?.map(({ connectionId, metadata }) => [connectionId, metadata]),
          before,
          `who was there when ${kind} came`
        )
        for (const other of members) {
          const { authnMetadata } = yield* wait(() => other.events.notify("connection.created", member.connectionId))
          assert.deepStrictEqual(authnMetadata, { name: kind })
        }
        members.push(member)
        const outcome = yield* wait(() => member.call(Put, { metadata: { of: kind }, push: true }))
        assert.deepStrictEqual(outcome, { _tag: "Result", result: { of: kind } })
        for (const other of members) {
          const { data } = yield* wait(() => other.events.push(({ metadata }) => metadata?.of === kind))
          assert.strictEqual(data.connection_id, member.connectionId)
        }
      }
      while (members.length > 1) {
        const member = members.shift()!
        yield* wait(() => member.disconnect())
        for (const other of members) {
          const { metadata } = yield* wait(() => other.events.notify("connection.destroyed", member.connectionId))
          assert.deepStrictEqual(metadata, { of: member.kind })
        }
      }
    }))

  for (const kind of pages) {
    it.effect(`${names[kind]} sends its camera and microphone as sendrecv`, () =>
      Effect.gen(function*() {
        const { url } = yield* SoraServer.SoraServer
        const options = { url, channelId: `camera-${kind}`, role: "sendrecv", media: true } as const
        const member = yield* connected(kind, options)
        const outcome = yield* wait(() => member.call(PutItem, { key: "camera", value: true }))
        assert.deepStrictEqual(outcome, { _tag: "Result", result: { camera: true } })
        yield* wait(() => member.disconnect())
        yield* wait(() => member.events.take("ended"))
      }))

    for (const [compress, header] of [[false, false], [true, false], [false, true], [true, true]] as const) {
      const how = `${compress ? "" : "not "}compressed, ${header ? "with" : "without"} a header`
      it.effect(`${names[kind]} and werift send each other messages, ${how}`, () =>
        Effect.gen(function*() {
          const { url } = yield* SoraServer.SoraServer
          const options = {
            url,
            channelId: `messages-${kind}-${compress}-${header}`,
            role: "sendonly",
            audio: false,
            video: false,
            messaging: {
              label: "#chat",
              compress,
              ...(header ? { header: [{ type: "sender_connection_id" as const }] } : {})
            }
          } as const
          const a = yield* connected(kind, options)
          const b = yield* connected("werift", options)
          // What is relayed before the other's channel is open is lost: the switch says that they all are.
          for (const member of [a, b]) yield* wait(() => member.events.take("switched"))
          for (const [from, to] of [[a, b], [b, a]] as const) {
            const sender = header ? from.connectionId : undefined
            for (const text of [`from ${from.kind} 🗾 ${"x".repeat(1000)}`, "short", "", "y".repeat(100_000)]) {
              yield* wait(() => from.send("#chat", text))
              const message = yield* wait(() => to.events.take("message"))
              // The SDK hands the header on, and says nothing of it.
              assert.strictEqual(message.text, isSdk(to.kind) ? `${sender ?? ""}${text}` : text)
              assert.strictEqual(message.sender, isSdk(to.kind) ? undefined : sender)
            }
          }
          const outcome = yield* wait(() => a.call(PutItem, { key: "rpc", value: "too" }))
          assert.deepStrictEqual(outcome, { _tag: "Result", result: { rpc: "too" } })
        }))
    }

    it.effect(`${names[kind]} is missed when its page is closed`, () =>
      Effect.gen(function*() {
        const server = yield* SoraServer.SoraServer
        const options = { url: server.url, channelId: `closed-${kind}`, role: "recvonly" } as const
        const watcher = yield* connected("werift", options)
        // By its WebSocket: Chromium ends the page's process, and its peer connection says nothing.
        const gone = yield* connected(kind, options)
        yield* wait(() => gone.events.take("switched"))
        yield* wait(() => gone.page!.close())
        yield* wait(() => watcher.events.notify("connection.destroyed", gone.connectionId))
      }))
  }

  for (const [from, to] of [["ours", "sdk-2026"], ["sdk-2025", "ours"]] as const) {
    it.effect(`${names[to]} plays what ${names[from]} sends`, () =>
      Effect.gen(function*() {
        const { url } = yield* SoraServer.SoraServer
        const channelId = `stream-${from}`
        const receiver = yield* connected(to, { url, channelId, role: "recvonly" })
        const sender = yield* connected(from, { url, channelId, role: "sendonly", media: true })
        // The id of the stream tells whose it is.
        for (const kind of ["audio", "video"]) {
          yield* wait(() =>
            receiver.events.take("track", (it) => it.kind === kind && it.streamId === sender.connectionId)
          )
        }
        const { height, width } = yield* wait(() => receiver.playing(sender.connectionId))
        assert.isAbove(width, 0)
        assert.isAbove(height, 0)
        yield* wait(() => sender.disconnect())
        if (to !== "ours") return
        for (const kind of ["audio", "video"]) {
          yield* wait(() =>
            receiver.events.take("track-removed", (it) => it.kind === kind && it.streamId === sender.connectionId)
          )
        }
      }))
  }

  it.effect("our client in a page comes back when its connection is cut off", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.SoraServer
      const member = yield* connected("ours", {
        url: server.url,
        channelId: "comeback",
        role: "recvonly",
        reconnect: true
      })
      yield* server.inject(member.connectionId, "closeAbruptly")
      const { reason } = yield* wait(() => member.events.take("state", ({ state }) => state === "Reconnecting"))
      assert.match(reason ?? "", /^(SocketLost|ChannelClosed|PeerFailed)/)
      // Called between two connections: it waits for the next one.
      const outcome = yield* wait(() => member.call(PutItem, { key: "back", value: 1 }, 10_000))
      assert.deepStrictEqual(outcome, { _tag: "Result", result: { back: 1 } })
      const again = yield* wait(() =>
        member.events.take(
          "state",
          ({ connectionId, state }) => state === "Connected" && connectionId !== member.connectionId
        )
      )
      const all = yield* until(server.connections, (all) => all.some(({ channelId }) => channelId === "comeback"))
      assert.include(all.map(({ connectionId }) => connectionId), again.connectionId)
    }))

  it.effect("a large call, and many at a time, compressed by a page", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.SoraServer
      for (const kind of pages) {
        const member = yield* connected(kind, { url, channelId: `large-${kind}`, role: "recvonly" })
        // Poor in repetitions, so that the frame is large also when it is compressed.
        const metadata = Array.from({ length: 20_000 }, (_, i) => (i * 2_654_435_761) % 4_294_967_296)
        const outcome = yield* wait(() => member.call(Put, { metadata }))
        assert.deepStrictEqual(outcome, { _tag: "Result", result: metadata })
        const outcomes = yield* Effect.forEach(
          Array.from({ length: 100 }, (_, i) => i),
          (i) => wait(() => member.call(Put, { metadata: i })),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(outcomes, outcomes.map((_, i) => ({ _tag: "Result", result: i })))
      }
    }))
})
