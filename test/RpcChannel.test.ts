import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schema, Scope } from "effect"
import { type DisconnectReason, RpcChannel } from "effect-sora-rpc"
import { deflateRawSync, deflateSync } from "node:zlib"
import * as Channel from "../src/internal/rpc/channel.ts"
import * as Compression from "../src/internal/rpc/compression.ts"
import { FakeDataChannel } from "./utils/fakeDataChannel.ts"
import * as FakePeer from "./utils/fakePeer.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

const listen = (channel: RpcChannel.RpcChannel) => {
  const frames: Array<string> = []
  const malformed: Array<string> = []
  const ends: Array<DisconnectReason.DisconnectReason> = []
  let writable = 0
  channel.listenUnsafe({
    onFrame: (frame) => frames.push(frame),
    onMalformed: (detail) => malformed.push(detail),
    onEnd: (reason) => ends.push(reason),
    onWritable: () => void writable++
  })
  return { frames, malformed, ends, writable: () => writable }
}

describe("fromDataChannel", () => {
  for (const compress of [true, false]) {
    it.effect(`accepts every form of a frame, compress ${compress}`, () =>
      Effect.gen(function*() {
        const fake = new FakeDataChannel()
        const { frames, malformed } = listen(yield* RpcChannel.fromDataChannel(fake, { compress }))
        const forms: Array<unknown> = [
          "{\"é\":1}",
          bytes("{\"é\":1}"),
          bytes("{\"é\":1}").buffer,
          Buffer.from("{\"é\":1}")
        ]
        if (compress) forms.push(deflateSync("{\"é\":1}"), deflateSync("{\"é\":1}", { level: 9 }))
        for (const data of forms) fake.emit("message", { data })
        assert.deepStrictEqual(frames, forms.map(() => "{\"é\":1}"))
        assert.deepStrictEqual(malformed, [])
        assert.strictEqual(fake.binaryType, "arraybuffer")
      }))
  }

  it.effect("drops what is no text: broken and cut zlib, not UTF-8, other types", () =>
    Effect.gen(function*() {
      const fake = new FakeDataChannel()
      const { frames, malformed } = listen(yield* RpcChannel.fromDataChannel(fake, { compress: true }))
      const broken = [
        deflateSync("{}").subarray(0, 6),
        Buffer.from([0x78, 0x9c, 1, 2, 3]),
        deflateRawSync("{}"),
        new Uint8Array([0xff, 0xfe]),
        42,
        undefined
      ]
      for (const data of broken) fake.emit("message", { data })
      assert.deepStrictEqual([frames.length, malformed.length], [0, broken.length])
    }))

  it.effect("sends zlib when compressed, else text or binary as asked", () =>
    Effect.gen(function*() {
      for (const options of [{ compress: true }, {}, { frames: "binary" as const }]) {
        const fake = new FakeDataChannel()
        const channel = yield* RpcChannel.fromDataChannel(fake, options)
        assert.isUndefined(channel.sendUnsafe("{\"a\":1}"))
        const [sent] = fake.sent
        assert.strictEqual(Channel.decodeMessage(sent, options.compress ?? false), "{\"a\":1}")
        assert.strictEqual(typeof sent, options.compress || options.frames === "binary" ? "object" : "string")
      }
    }))

  it.effect("checks the size of the encoded frame, in bytes", () =>
    Effect.gen(function*() {
      const limit = { maxMessageBytes: 100 }
      const plain = yield* RpcChannel.fromDataChannel(new FakeDataChannel(), limit)
      assert.isUndefined(plain.sendUnsafe("x".repeat(100)))
      const refused = plain.sendUnsafe("é".repeat(51))
      assert.isTrue(refused?._tag === "PayloadTooLarge" && refused.bytes === 102 && refused.maxBytes === 100)
      const compressed = yield* RpcChannel.fromDataChannel(new FakeDataChannel(), { ...limit, compress: true })
      assert.isUndefined(compressed.sendUnsafe("x".repeat(5000)))
    }))

  it.effect("never sends on a channel that is not open, and reports a refusal", () =>
    Effect.gen(function*() {
      const fake = new FakeDataChannel()
      const channel = yield* RpcChannel.fromDataChannel(fake)
      fake.refuse = new Error("buffer full")
      assert.strictEqual(channel.sendUnsafe("{}")?._tag, "Unavailable")
      fake.refuse = undefined
      fake.readyState = "closing"
      assert.strictEqual(channel.sendUnsafe("{}")?._tag, "Unavailable")
      assert.deepStrictEqual(fake.sent, [])
    }))

  it.effect("waits for buffer space, in order", () =>
    Effect.gen(function*() {
      const fake = new FakeDataChannel()
      const channel = yield* RpcChannel.fromDataChannel(fake, { highWaterMark: 1000 })
      const rpc = yield* FakePeer.makeRpc(channel, { methods: ["m"] })
      assert.strictEqual(fake.bufferedAmountLowThreshold, 500)
      fake.bufferedAmount = 1000
      const call = yield* Effect.forkChild(rpc.call("m"), { startImmediately: true })
      const notification = yield* Effect.forkChild(rpc.notify("m"), { startImmediately: true })
      assert.strictEqual(fake.sent.length, 0)
      fake.bufferedAmount = 0
      fake.emit("bufferedamountlow", {})
      yield* Fiber.join(notification)
      assert.deepStrictEqual(fake.sent.map((frame) => JSON.parse(String(frame)).id), [1, undefined])
      fake.emit("message", { data: "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":7}" })
      assert.strictEqual(yield* Fiber.join(call), 7)
    }))

  it.effect("waits until it is open; fails when it closes instead", () =>
    Effect.gen(function*() {
      const fake = new FakeDataChannel()
      fake.readyState = "connecting"
      const fiber = yield* Effect.forkChild(RpcChannel.fromDataChannel(fake), { startImmediately: true })
      fake.readyState = "open"
      fake.emit("open", {})
      yield* Fiber.join(fiber)
      const other = new FakeDataChannel()
      other.readyState = "connecting"
      const failing = yield* Effect.forkChild(Effect.flip(RpcChannel.fromDataChannel(other)), {
        startImmediately: true
      })
      other.close()
      assert.strictEqual((yield* Fiber.join(failing)).reason._tag, "ChannelClosed")
      assert.strictEqual(other.listenerCount, 0)
    }))

  it.effect("ends once, for the first reason, and takes its listeners off", () =>
    Effect.gen(function*() {
      const fake = new FakeDataChannel()
      const scope = yield* Scope.make()
      const channel = yield* RpcChannel.fromDataChannel(fake).pipe(Scope.provide(scope))
      const { ends } = listen(channel)
      fake.close()
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(ends.map(({ _tag }) => _tag), ["ChannelClosed"])
      assert.strictEqual(fake.listenerCount, 0)
      assert.strictEqual(channel.sendUnsafe("{}")?._tag, "Unavailable")
      assert.deepStrictEqual(listen(channel).ends.map(({ _tag }) => _tag), ["ChannelClosed"])
    }))

  it.effect("leaves the DataChannel open when its scope closes", () =>
    Effect.gen(function*() {
      const fake = new FakeDataChannel()
      const scope = yield* Scope.make()
      const { ends } = listen(yield* RpcChannel.fromDataChannel(fake).pipe(Scope.provide(scope)))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(ends.map(({ _tag }) => _tag), ["Released"])
      assert.deepStrictEqual([fake.readyState, fake.listenerCount], ["open", 0])
    }))

  it.effect("has an owner who listens to frames alone, whatever else happens", () =>
    Effect.gen(function*() {
      const fake = new FakeDataChannel()
      const frames: Array<string> = []
      const channel = yield* RpcChannel.fromDataChannel(fake)
      channel.listenUnsafe({ onFrame: (frame) => frames.push(frame) })
      fake.emit("message", { data: 42 })
      fake.emit("bufferedamountlow", {})
      fake.emit("message", { data: "{}" })
      fake.close()
      channel.listenUnsafe({ onFrame: (frame) => frames.push(frame) })
      assert.deepStrictEqual(frames, ["{}"])
    }))

  it.effect("has one owner at a time", () =>
    Effect.gen(function*() {
      const [channel] = yield* RpcChannel.makePair
      const detach = channel.listenUnsafe({ onFrame() {} })
      assert.throws(() => listen(channel))
      detach()
      listen(channel)
    }))
})

describe("compression", () => {
  for (
    const [name, compression] of [["node:zlib", Compression.compression], ["fflate", Compression.javascript]] as const
  ) {
    it.prop(`${name}: inflate . deflate = identity`, [Schema.String], ([text]) => {
      assert.deepStrictEqual(Buffer.from(compression.inflate(compression.deflate(bytes(text)))), Buffer.from(text))
      return true
    })
    it.prop(`${name}: any bytes are an error or a value`, [Schema.Uint8Array], ([data]) => {
      try {
        compression.inflate(data)
      } catch (error) {
        assert.instanceOf(error, Error)
      }
      return true
    })
    it(`${name}: refuses what breaks off, wherever`, () => {
      for (const text of ["{}", "a".repeat(5000), JSON.stringify(Array.from({ length: 3000 }, (_, i) => i * 7919))]) {
        const whole = compression.deflate(bytes(text))
        for (let length = 0; length < whole.length; length += Math.ceil(whole.length / 100)) {
          assert.throws(() => compression.inflate(whole.subarray(0, length)), Error, undefined, `${length} bytes`)
        }
      }
    })
    it(`${name}: without a limit takes what there is`, () =>
      assert.strictEqual(compression.inflate(deflateSync(Buffer.alloc(2 ** 21)), Infinity).byteLength, 2 ** 21))
    it(`${name}: what was inflated stays as it is when the next message comes`, () => {
      const first = compression.inflate(compression.deflate(bytes("first")))
      compression.inflate(compression.deflate(bytes("other")))
      assert.strictEqual(Buffer.from(first).toString(), "first")
    })
    it(`${name}: refuses a bomb`, () => {
      for (
        const [limit, inflate] of [
          [Compression.DefaultMaxInflatedBytes, (bomb: Uint8Array) => compression.inflate(bomb)],
          [4 * 1024 * 1024, (bomb: Uint8Array) => compression.inflate(bomb, 4 * 1024 * 1024)]
        ] as const
      ) {
        assert.throws(() => inflate(deflateSync(Buffer.alloc(limit + 1), { level: 9 })))
        assert.strictEqual(inflate(deflateSync(Buffer.alloc(limit), { level: 9 })).byteLength, limit)
      }
    })
  }
  it("the two read each other", () => {
    const { compression, javascript } = Compression
    assert.deepStrictEqual(
      Buffer.from(javascript.inflate(compression.deflate(bytes("a".repeat(99))))),
      Buffer.from("a".repeat(99))
    )
    assert.deepStrictEqual(
      Buffer.from(compression.inflate(javascript.deflate(bytes("a".repeat(99))))),
      Buffer.from("a".repeat(99))
    )
  })
})
