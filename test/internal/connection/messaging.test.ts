/**
 * Messages of a label through many connections, whose channels are in the test's hands.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Metric, Stream } from "effect"
import { DisconnectReason, SoraMessaging } from "effect-sora-rpc"
import { deflateSync, inflateSync } from "node:zlib"
import * as Channels from "../../../src/internal/connection/channels.ts"
import * as Messaging from "../../../src/internal/connection/messaging.ts"
import type { Event } from "../../../src/internal/connection/state.ts"
import { FakeDataChannel } from "../../utils/fakeDataChannel.ts"

const asked = [
  { label: "#chat", direction: "sendrecv" },
  { label: "#ears", direction: "recvonly" }
] as const

const lost = new DisconnectReason.SocketLost({})
const sender = "0FQE5EA5YN3FS13P01QZ1JG8R0"

/** The connections of a client, one after the other. */
const make = Effect.gen(function*() {
  const messaging = yield* Messaging.make(asked)
  const events: Array<Event> = []
  return {
    messaging,
    events,
    chat: yield* messaging.of("#chat"),
    /** A connection with these channels open. */
    connect(
      offered: { compress?: boolean; header?: any } = {},
      labels: ReadonlyArray<string> = ["#chat", "#ears"],
      sdp = ""
    ) {
      const channels = Channels.make({
        post: (event) => events.push(event),
        onRpc: () => {},
        messaging,
        maxInflatedBytes: undefined
      })
      const offer = {
        type: "offer",
        sdp,
        connectionId: "ME",
        dataChannels: labels.map((label) => ({ label, ...offered }))
      } as const
      const open = (label: string) => {
        const channel = new FakeDataChannel(label)
        channels.attach(channel, offer)
        return channel
      }
      const opened = labels.map(open)
      messaging.attach(channels.outlets())
      return { channels, chat: opened[0]!, open }
    }
  }
})

const fork = <A, E>(effect: Effect.Effect<A, E>) => Effect.forkChild(Effect.exit(effect), { startImmediately: true })
const isPending = (fiber: Fiber.Fiber<unknown>) => fiber.pollUnsafe() === undefined
const texts = (channel: FakeDataChannel) => channel.sent.map((data) => Buffer.from(data as Uint8Array).toString())
const inflated = (data: unknown) => inflateSync(data as Uint8Array).toString()
const arrive = (channel: FakeDataChannel, data: unknown) => channel.emit("message", { data })
const take = (stream: Stream.Stream<SoraMessaging.Message>, n: number) =>
  fork(stream.pipe(Stream.map(SoraMessaging.text), Stream.take(n), Stream.runCollect))

describe("sending", () => {
  it.effect("hands bytes and texts over as binary, in order, empty ones too", () =>
    Effect.gen(function*() {
      const { chat, connect } = yield* make
      const connection = connect()
      yield* chat.send("text")
      yield* chat.send(new Uint8Array([98, 105, 110]))
      yield* chat.send("")
      assert.isTrue(connection.chat.sent.every((data) => data instanceof Uint8Array))
      assert.deepStrictEqual(texts(connection.chat), ["text", "bin", ""])
    }))

  it.effect("deflates where the offer says so, and adds no header", () =>
    Effect.gen(function*() {
      const { chat, connect } = yield* make
      const connection = connect({ compress: true, header: [{ type: "sender_connection_id" }] })
      yield* chat.send("text")
      assert.strictEqual(inflated(connection.chat.sent[0]), "text")
    }))

  it.effect("waits while too much is buffered, first come first served, and can be called off", () =>
    Effect.gen(function*() {
      const { chat, connect } = yield* make
      const connection = connect()
      connection.chat.bufferedAmount = 65_536
      assert.strictEqual(connection.chat.bufferedAmountLowThreshold, 32_768)
      const [first, second, third] = yield* Effect.forEach(["1", "2", "3"], (text) => fork(chat.send(text)))
      assert.deepStrictEqual([first, second, third].map((fiber) => isPending(fiber!)), [true, true, true])
      yield* Fiber.interrupt(second!)
      connection.chat.bufferedAmount = 0
      connection.chat.emit("bufferedamountlow", {})
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(first!)))
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(third!)))
      assert.deepStrictEqual(texts(connection.chat), ["1", "3"])
    }))

  it.effect("lets nobody overtake who waits", () =>
    Effect.gen(function*() {
      const { chat, connect } = yield* make
      const connection = connect()
      connection.chat.bufferedAmount = 65_536
      const waiting = yield* fork(Effect.andThen(chat.send("1"), chat.send("4")))
      const second = yield* fork(chat.send("2"))
      // There is room, and who waits has not been told yet.
      connection.chat.bufferedAmount = 0
      const third = yield* fork(chat.send("3"))
      assert.isEmpty(connection.chat.sent)
      connection.chat.emit("bufferedamountlow", {})
      yield* Effect.forEach([waiting, second, third], Fiber.join)
      assert.deepStrictEqual(texts(connection.chat), ["1", "2", "3", "4"])
    }))

  it.effect("holds so many messages and no more, of all who send on the label", () =>
    Effect.gen(function*() {
      const { connect, messaging } = yield* make
      const connection = connect()
      const chat = yield* messaging.of("#chat", { maxQueued: 2 })
      const isFull = (error: unknown) =>
        assert.strictEqual(String((error as Error).message), "#chat: 2 messages wait to be sent already")
      connection.chat.bufferedAmount = 65_536
      const waiting = yield* Effect.forEach(["1", "2"], (text) => fork(chat.send(text)))
      const error = yield* Effect.flip(chat.send("3"))
      assert.isTrue(error._tag === "MessagingError" && error.reason._tag === "Unavailable")
      isFull(error)
      messaging.interrupt(lost)
      yield* Fiber.joinAll(waiting)
      yield* Effect.forEach(["4", "5"], (text) => fork(chat.send(text)))
      isFull(yield* Effect.flip(chat.send("6")))
      const next = connect()
      assert.deepStrictEqual(texts(next.chat), ["4", "5"])
      yield* chat.send("7")
      assert.deepStrictEqual(texts(next.chat), ["4", "5", "7"])
      for (const bad of [0, NaN, -1]) {
        assert.isTrue(Exit.hasDies(yield* Effect.exit(messaging.of("#chat", { maxQueued: bad }))))
      }
    }))

  it.effect("holds 65,536 messages by default", () =>
    Effect.gen(function*() {
      const { chat, connect } = yield* make
      connect().chat.bufferedAmount = 65_536
      yield* Effect.forEach(Array.from({ length: 65_536 }), () => fork(chat.send("x")), { discard: true })
      const error = yield* Effect.flip(chat.send("x"))
      assert.isTrue(error._tag === "MessagingError" && error.reason._tag === "Unavailable")
    }))

  it.effect("takes no more bytes than Sora does, whatever the SDP allows", () =>
    Effect.gen(function*() {
      const { chat, connect } = yield* make
      for (const allowed of ["0", "1073741823"]) {
        connect({}, ["#chat"], `a=max-message-size:${allowed}\r\n`)
        const error = yield* Effect.flip(chat.send(new Uint8Array(262_145)))
        assert.strictEqual(error.message, "#chat: the frame has 262145 bytes, the limit is 262144")
        yield* chat.send(new Uint8Array(262_144))
      }
    }))

  it.effect("fails with what is wrong, and says the label", () =>
    Effect.gen(function*() {
      const { chat, connect, messaging } = yield* make
      const unknown = yield* Effect.flip(messaging.of("#other"))
      assert.deepInclude(unknown, { _tag: "MessagingError", label: "#other" })
      assert.strictEqual(unknown.message, "#other: not in the option dataChannels, which has #chat, #ears")
      const connection = connect({}, ["#ears", "#chat"], "a=max-message-size:1000\r\n")
      const ears = yield* messaging.of("#ears")
      const refused = yield* Effect.flip(ears.send("x"))
      assert.strictEqual(refused.message, "#ears: its direction is recvonly")
      const tooLarge = yield* Effect.flip(chat.send(new Uint8Array(1001)))
      assert.isTrue(tooLarge._tag === "MessagingError" && tooLarge.reason._tag === "PayloadTooLarge")
      assert.strictEqual(tooLarge.message, "#chat: the frame has 1001 bytes, the limit is 1000")
      yield* chat.send(new Uint8Array(1000))
      const refusing = connection.open("#chat")
      refusing.refuse = new Error("not now")
      const thrown = yield* Effect.flip(chat.send("x"))
      assert.isTrue(thrown._tag === "MessagingError" && thrown.reason._tag === "NotOpen")
      assert.isTrue(Exit.hasDies(yield* Effect.exit(chat.send(1 as any))))
    }))

  it.effect("where the server opened no such channel fails, and works on a connection that has one", () =>
    Effect.gen(function*() {
      const { chat, connect, messaging } = yield* make
      connect({}, ["#ears"])
      const error = yield* Effect.flip(chat.send("x"))
      assert.strictEqual(error.message, "#chat: the server opened no such DataChannel")
      messaging.interrupt(lost)
      const waiting = yield* fork(chat.send("later"))
      const connection = connect()
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(texts(connection.chat), ["later"])
    }))

  it.effect("a channel that throws where it should not is the end of the connection", () =>
    Effect.gen(function*() {
      const { chat, connect, events } = yield* make
      const connection = connect()
      Object.defineProperty(connection.chat, "bufferedAmount", {
        get: () => {
          throw new Error("a mistake of it")
        }
      })
      const fiber = yield* fork(chat.send("x"))
      assert.strictEqual(events.at(-1)?._tag, "ClientFault")
      yield* Fiber.interrupt(fiber)
    }))
})

describe("between two connections", () => {
  it.effect("who waited fails, who comes waits for the next one, or fails", () =>
    Effect.gen(function*() {
      const { chat, connect, messaging } = yield* make
      const impatient = yield* messaging.of("#chat", { whenDisconnected: "fail" })
      const first = connect()
      first.chat.bufferedAmount = 65_536
      const waiting = yield* fork(chat.send("lost"))
      // It has closed, and nobody knows yet why.
      first.chat.readyState = "closed"
      const unknowing = yield* fork(impatient.send("lost"))
      assert.isTrue(isPending(unknowing))
      messaging.interrupt(lost)
      for (const fiber of [waiting, unknowing]) {
        assert.deepInclude(yield* Effect.flip(Effect.flatten(Fiber.join(fiber))), {
          _tag: "Disconnected",
          reason: lost
        })
      }
      const failed = yield* Effect.flip(impatient.send("x"))
      assert.strictEqual(failed._tag, "Disconnected")
      const patient = yield* Effect.forEach(["1", "2"], (text) => fork(chat.send(text)))
      const second = connect({ compress: true })
      yield* Effect.forEach(patient, Fiber.join)
      assert.deepStrictEqual(second.chat.sent.map(inflated), ["1", "2"])
      assert.isEmpty(first.chat.sent)
    }))

  it.effect("the stream goes on, in order, for each of its subscribers", () =>
    Effect.gen(function*() {
      const { chat, connect, messaging } = yield* make
      const subscribers = yield* Effect.forEach([1, 2], () => take(chat.messages, 3))
      const first = connect()
      arrive(first.chat, "1")
      yield* Effect.yieldNow
      messaging.interrupt(lost)
      const second = connect({ compress: true })
      arrive(second.chat, deflateSync("2"))
      arrive(second.chat, deflateSync("3"))
      for (const fiber of subscribers) {
        assert.deepStrictEqual(yield* Effect.flatten(Fiber.join(fiber)), ["1", "2", "3"])
      }
    }))

  it.effect("at the end the stream ends, and sending fails", () =>
    Effect.gen(function*() {
      const { chat, connect, messaging } = yield* make
      const { chat: channel } = connect()
      const all = yield* take(chat.messages, 10)
      channel.bufferedAmount = 65_536
      const waiting = yield* fork(chat.send("lost"))
      arrive(channel, "last")
      messaging.end(new DisconnectReason.Released())
      assert.deepStrictEqual(yield* Effect.flatten(Fiber.join(all)), ["last"])
      assert.strictEqual((yield* Effect.flip(Effect.flatten(Fiber.join(waiting))))._tag, "Disconnected")
      assert.strictEqual((yield* Effect.flip(chat.send("x")))._tag, "Disconnected")
    }))
})

describe("receiving", () => {
  it.effect("splits the sender off, and drops and counts what is no message", () =>
    Effect.gen(function*() {
      const { chat, connect, messaging } = yield* make
      const connection = connect({ compress: true, header: [{ type: "sender_connection_id" }] })
      const fiber = yield* fork(chat.messages.pipe(Stream.take(2), Stream.runCollect))
      for (const garbage of [Buffer.from("no zlib"), deflateSync("short"), deflateSync(Buffer.alloc(2 ** 21)), 7]) {
        arrive(connection.chat, garbage)
      }
      arrive(connection.chat, deflateSync(`${sender}hello`))
      // Nobody asked for it.
      arrive(connection.open("#other"), "hello")
      arrive(connection.chat, deflateSync(sender))
      const messages = yield* Effect.flatten(Fiber.join(fiber))
      assert.deepStrictEqual(messages.map((it) => [SoraMessaging.text(it), it.senderConnectionId]), [
        ["hello", sender],
        ["", sender]
      ])
      const dropped = (yield* Metric.snapshot).find(({ id }) => id === "sora.client.messages.dropped")
      assert.deepInclude(dropped?.state, { count: 4 })
      assert.deepStrictEqual(dropped?.attributes, { label: "#chat" })
      messaging.end(lost)
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("one who comes late gets the latest 64, and one who is slow loses the oldest", () =>
    Effect.gen(function*() {
      const { chat, connect, messaging } = yield* make
      const { chat: channel } = connect()
      for (let i = 0; i < 100; i++) arrive(channel, String(i))
      const late = yield* take(chat.messages, 64)
      assert.strictEqual((yield* Effect.flatten(Fiber.join(late)))[0], "36")
      const gate = yield* Deferred.make<void>()
      const slow = yield* fork(
        chat.messages.pipe(
          Stream.mapEffect((message) => Effect.as(Deferred.await(gate), SoraMessaging.text(message))),
          Stream.runCollect
        )
      )
      for (let i = 100; i < 3000; i++) arrive(channel, String(i))
      messaging.end(lost)
      yield* Deferred.succeed(gate, undefined)
      const seen = yield* Effect.flatten(Fiber.join(slow))
      assert.isAtMost(seen.length, 1024 + 64)
      assert.deepStrictEqual(seen.slice(-1000), Array.from({ length: 1000 }, (_, i) => String(2000 + i)))
    }))
})
