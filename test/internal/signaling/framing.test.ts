/**
 * Messages of the application as they stand on the wire.
 */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { deflateSync } from "node:zlib"
import { compression, javascript } from "../../../src/internal/rpc/compression.ts"
import { headerOf, NoHeader, pack, split, unpack } from "../../../src/internal/signaling/framing.ts"

const me = "0FQE5EA5YN3FS13P01QZ1JG8R0"
const Sender = [{ type: "sender_connection_id" }]
const bytesOf = (text: string) => new TextEncoder().encode(text)

/** In each of the forms in which WebRTC implementations hand a message over. */
const forms = (bytes: Uint8Array): ReadonlyArray<unknown> => [
  bytes,
  new Uint8Array(bytes).buffer,
  // A view into something larger.
  Buffer.concat([Buffer.from("before"), bytes, Buffer.from("after")]).subarray(6, 6 + bytes.length)
]

describe("a message", () => {
  it.prop(
    "arrives as it was sent, with its sender, in every form",
    [Schema.Uint8Array, Schema.Boolean, Schema.Boolean],
    ([data, compress, withHeader]) => {
      const header = withHeader ? headerOf(Sender) : NoHeader
      // As the server delivers it.
      const delivered = pack(
        Buffer.concat([Buffer.from(withHeader ? me : ""), unpack(pack(data, compress), compress)]),
        compress
      )
      for (const form of forms(delivered)) {
        const message = split(unpack(form, compress), header)
        assert.deepStrictEqual(message, withHeader ? { data, senderConnectionId: me } : { data })
        assert.strictEqual(Object.getPrototypeOf(message.data), Uint8Array.prototype)
      }
    }
  )

  it.prop("of a page's zlib is one of Node's, and the other way round", [Schema.Uint8Array], ([data]) => {
    for (const [from, to] of [[compression, javascript], [javascript, compression]] as const) {
      assert.deepStrictEqual(new Uint8Array(to.inflate(from.deflate(data))), data)
    }
  })

  it.prop("that is anything at all throws an error or is read, whatever the offer says", [
    Schema.Uint8Array,
    Schema.Boolean,
    Schema.Json
  ], ([data, compress, offered]) => {
    const header = headerOf(offered)
    assert.isAtLeast(header.bytes, 0)
    try {
      const message = split(unpack(data, compress), header)
      assert.isAtMost(message.data.length, 1024 * 1024)
    } catch (error) {
      assert.instanceOf(error, Error)
    }
  })

  it("is its UTF-8 when it is a text, and a text is never compressed", () => {
    assert.deepStrictEqual(pack("🗾", false), bytesOf("🗾"))
    for (const compress of [false, true]) assert.deepStrictEqual(unpack("🗾", compress), bytesOf("🗾"))
  })

  it("is empty when nothing was sent, compressed or not", () => {
    for (const compress of [false, true]) {
      assert.strictEqual(unpack(pack("", compress), compress).length, 0)
      assert.strictEqual(unpack(new Uint8Array(0), compress).length, 0)
      assert.strictEqual(unpack("", compress).length, 0)
    }
    assert.deepStrictEqual(split(bytesOf(me), headerOf(Sender)), { data: new Uint8Array(0), senderConnectionId: me })
  })

  it("over the limit is none, and a bomb is not unpacked", () => {
    assert.throws(() => unpack(new Uint8Array(101), false, 100), RangeError)
    assert.strictEqual(unpack(new Uint8Array(100), false, 100).length, 100)
    assert.throws(() => unpack(new Uint8Array(deflateSync(Buffer.alloc(10_000_000))), true, 100))
    assert.throws(() => unpack(new Uint8Array([0x78, 0x9c, 1]), true))
    assert.throws(() => unpack(1, false), TypeError)
  })
})

describe("a header", () => {
  it("is 26 bytes of sender where the offer gives no length", () => {
    assert.deepStrictEqual(headerOf(Sender), { bytes: 26, sender: [0, 26] })
    assert.deepStrictEqual(headerOf([{ type: "sender_connection_id", length: 30 }]), { bytes: 30, sender: [0, 30] })
  })

  it("has fields of types that are not known skipped, if their length is", () => {
    const later = [{ type: "timestamp", length: 8 }, ...Sender]
    assert.deepStrictEqual(headerOf(later), { bytes: 34, sender: [8, 34] })
    assert.deepStrictEqual(
      split(bytesOf(`12345678${me}hello`), headerOf(later)),
      { data: bytesOf("hello"), senderConnectionId: me }
    )
    assert.deepStrictEqual(headerOf([{ type: "timestamp" }, ...Sender]), NoHeader)
  })

  it("is none where the offer says nothing that can be read", () => {
    for (
      const offered of [undefined, null, [], {}, "sender_connection_id", [1], [{ type: "x", length: -1 }], [{
        length: 26
      }]]
    ) {
      assert.deepStrictEqual(headerOf(offered), NoHeader, JSON.stringify(offered))
    }
  })

  it("that a message is too short for, or that is no text, makes it none", () => {
    assert.throws(() => split(bytesOf("short"), headerOf(Sender)), RangeError)
    assert.throws(() => split(new Uint8Array(26).fill(0xff), headerOf(Sender)))
  })
})
