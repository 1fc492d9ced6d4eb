/**
 * Messages of the application between clients, over real WebRTC.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option, Stream } from "effect"
import { SoraMessaging } from "effect-sora-rpc"
import type { NodeSora } from "effect-sora-rpc/node"
import { SoraServer } from "effect-sora-rpc/server"
import { connect, first, switched } from "../utils/connect.ts"

const header = [{ type: "sender_connection_id" }] as const
const base = { role: "sendonly", audio: false, video: false } as const

/** Connected, and the server's ends of the channels are open too: what is relayed before that is lost. */
const join = Effect.fnUntraced(function*(
  options: Partial<NodeSora.Options> & { readonly url: string },
  label = "#chat"
) {
  const client = yield* connect({ ...base, ...options })
  yield* switched(client.connection)
  const { connectionId } = yield* client.connection.offer
  return { ...client, connectionId, chat: yield* client.connection.messaging(label) }
})

const take = (chat: SoraMessaging.Messaging, n: number) =>
  chat.messages.pipe(
    Stream.take(n),
    Stream.map((message) => [SoraMessaging.text(message), message.senderConnectionId] as const),
    Stream.runCollect,
    Effect.timeout("15 seconds"),
    Effect.orDie
  )

describe("messages", () => {
  for (const compress of [false, true]) {
    it.live(`arrive with their sender at who asked for it, ${compress ? "" : "not "}compressed`, () =>
      Effect.gen(function*() {
        const { url } = yield* SoraServer.make()
        const label = { label: "#chat", direction: "sendrecv" } as const
        const a = yield* join({ url, dataChannels: [{ ...label, compress, header }] })
        // What the others asked for is their own affair.
        const b = yield* join({ url, dataChannels: [{ ...label, compress: !compress }] })
        const texts = ["hello 🗾", "", "x".repeat(200_000), "last"]
        for (const text of texts) yield* a.chat.send(text)
        assert.deepStrictEqual(yield* take(b.chat, 4), texts.map((text) => [text, undefined]))
        for (const text of texts) yield* b.chat.send(new TextEncoder().encode(text))
        assert.deepStrictEqual(yield* take(a.chat, 4), texts.map((text) => [text, b.connectionId]))
      }))
  }

  it.live("go in the directions that were asked for, and not to one's own bundle", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const talks = yield* join({ url, bundleId: "mine", dataChannels: [{ label: "#chat", direction: "sendonly" }] })
      const hears = yield* join({
        url,
        dataChannels: [{ label: "#chat", direction: "recvonly", ordered: false, maxRetransmits: 3, protocol: "chat" }]
      })
      const own = yield* join({
        url,
        bundleId: "mine",
        dataChannels: [{ label: "#chat", direction: "sendrecv", header }]
      })
      yield* talks.chat.send("to all")
      assert.deepStrictEqual(yield* take(hears.chat, 1), [["to all", undefined]])
      const refused = yield* Effect.flip(hears.chat.send("x"))
      assert.isTrue(refused._tag === "MessagingError" && refused.reason._tag === "ReceiveOnly")
      yield* own.chat.send("from the same bundle")
      assert.strictEqual((yield* take(hears.chat, 2))[1]?.[0], "from the same bundle")
      for (const deaf of [own, talks]) {
        yield* deaf.close
        assert.deepStrictEqual(yield* Stream.runCollect(deaf.chat.messages), [])
      }
    }))

  it.live("too large for the wire are refused here, and one that its header makes too large is dropped there", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const dataChannels = [{ label: "#chat", direction: "sendrecv", header }] as const
      const a = yield* join({ url, dataChannels })
      const b = yield* join({ url, dataChannels })
      const error = yield* Effect.flip(a.chat.send(new Uint8Array(262_145)))
      assert.isTrue(error._tag === "MessagingError" && error.reason._tag === "PayloadTooLarge")
      yield* a.chat.send(new Uint8Array(262_144 - 25))
      yield* a.chat.send("x".repeat(262_144 - 26))
      yield* a.chat.send("next")
      const [largest, next] = yield* take(b.chat, 2)
      assert.deepStrictEqual([largest?.[0].length, next?.[0]], [262_144 - 26, "next"])
    }))

  it.live("wait for room on the way to the server, and arrive whole and in order", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const dataChannels = [{ label: "#chat", direction: "sendrecv" }] as const
      const a = yield* join({ url, dataChannels })
      const b = yield* join({ url, dataChannels })
      const count = 200
      const received = yield* Effect.forkChild(
        b.chat.messages.pipe(
          Stream.take(count),
          // Slower than the network.
          Stream.tap(() => Effect.sleep("1 millis")),
          Stream.runCollect
        ),
        { startImmediately: true }
      )
      const sent: Array<number> = []
      const sending = yield* Effect.forkChild(
        Effect.forEach(Array.from({ length: count }, (_, i) => i), (i) =>
          Effect.map(a.chat.send(new Uint8Array(50_000).fill(i)), () => void sent.push(i)), {
          concurrency: "unbounded",
          discard: true
        }),
        { startImmediately: true }
      )
      // Ten megabytes are asked for at once, and what is buffered is little.
      assert.isAtMost(sent.length, 3)
      yield* Fiber.join(sending)
      assert.deepStrictEqual(
        sent,
        Array.from({ length: count }, (_, i) =>
          i)
      )
      const messages = yield* Fiber.join(received)
      assert.deepStrictEqual(
        messages.map(({ data }) => [data.length, data[0], data[49_999]]),
        sent.map((i) => [50_000, i, i])
      )
    }))

  it.live("go on over the next connection", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const dataChannels = [{ label: "#chat", direction: "sendrecv", compress: true, header }] as const
      const a = yield* join({ url: server.url, dataChannels, reconnect: true })
      const b = yield* join({ url: server.url, dataChannels })
      yield* b.chat.send("before")
      assert.deepStrictEqual(yield* take(a.chat, 1), [["before", b.connectionId]])
      const all = yield* Effect.forkChild(take(a.chat, 2), { startImmediately: true })
      const impatient = yield* a.connection.messaging("#chat", { whenDisconnected: "fail" })
      yield* server.inject(a.connectionId, "closeAbruptly")
      yield* first(a.connection.changes, ({ _tag }) => _tag === "Reconnecting")
      assert.strictEqual((yield* Effect.flip(impatient.send("x")))._tag, "Disconnected")
      const heard = yield* Effect.forkChild(take(b.chat, 1), { startImmediately: true })
      // It waits for the next connection.
      yield* a.chat.send("meanwhile")
      yield* first(a.connection.changes, (state) => state._tag === "Connected" && state.number === 2)
      const { connectionId } = yield* a.connection.offer
      assert.notStrictEqual(connectionId, a.connectionId)
      assert.deepStrictEqual(yield* Fiber.join(heard), [["meanwhile", connectionId]])
      yield* b.chat.send("after")
      assert.deepStrictEqual(yield* Fiber.join(all), [["before", b.connectionId], ["after", b.connectionId]])
      yield* a.close
      assert.strictEqual((yield* Effect.flip(a.chat.send("x")))._tag, "Disconnected")
      assert.isTrue(Option.isSome(yield* Stream.runLast(a.chat.messages)))
    }), 30_000)

  it.live("that are garbage hurt nobody", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const [a, b] = yield* Effect.all([
        // It does not deflate, and the server believes that it does.
        join({ url, dataChannels: [{ label: "#chat", direction: "sendrecv", compress: true }] }),
        join({ url, dataChannels: [{ label: "#chat", direction: "sendrecv" }] })
      ])
      const peer: any = yield* a.connection.peerConnection
      const channels: ReadonlyArray<any> = Object.values(peer.sctpTransport.dataChannels)
      const channel = channels.find(({ label }) => label === "#chat")
      for (const garbage of [Buffer.from("no zlib"), Buffer.from([0x78, 0x9c]), Buffer.alloc(1)]) channel.send(garbage)
      yield* a.chat.send("fine")
      assert.deepStrictEqual(yield* take(b.chat, 1), [["fine", undefined]])
    }))

  it.live("in a header that Sora does not know are refused", () =>
    Effect.gen(function*() {
      const { url } = yield* SoraServer.make()
      const wrong = [{ type: "nonsense" }] as any
      const options = { url, dataChannels: [{ label: "#chat", direction: "sendrecv", header: wrong }] } as const
      const error = yield* Effect.flip(connect(options))
      assert.isTrue("reason" in error && error.reason._tag === "InvalidOptions")
      assert.include(error.message, "dataChannels.0.header.0.type")
    }))
})
