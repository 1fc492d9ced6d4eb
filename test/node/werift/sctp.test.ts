import { assert, describe, it } from "@effect/vitest"
import { isReadable } from "../../../src/node/internal/werift/sctp.ts"

/** A packet of chunks: type, body, and a length that may be a lie. */
const packet = (...chunks: ReadonlyArray<readonly [type: number, body: ReadonlyArray<number>, length?: number]>) =>
  Buffer.concat([
    Buffer.alloc(12),
    ...chunks.map(([type, body, length = 4 + body.length]) => {
      const padding = Array.from({ length: (4 - body.length % 4) % 4 }, () => 0)
      return Buffer.from([type, 0, length >> 8, length & 0xff, ...body, ...padding])
    })
  ])

const sack = (...gaps: ReadonlyArray<readonly [number, number]>) => {
  const body = Buffer.alloc(12 + 4 * gaps.length)
  body.writeUInt16BE(gaps.length, 8)
  gaps.forEach(([start, end], i) => {
    body.writeUInt16BE(start, 12 + 4 * i)
    body.writeUInt16BE(end, 14 + 4 * i)
  })
  return packet([3, [...body]])
}

describe("isReadable", () => {
  it("what has the lengths that it says", () => {
    assert.isTrue(isReadable(packet()))
    assert.isTrue(isReadable(packet([0, [1, 2, 3, 4, 5]], [11, []])))
    assert.isTrue(isReadable(packet([4, [0, 1, 0, 8, 9, 9, 9, 9]])))
    assert.isTrue(isReadable(sack()))
    assert.isTrue(isReadable(sack([2, 2], [4, 65_535])))
  })

  it("what would go round in circles, or beyond the end", () => {
    assert.isFalse(isReadable(Buffer.alloc(11)))
    for (const length of [0, 3, 100]) assert.isFalse(isReadable(packet([0, [1, 2, 3, 4], length])), `chunk ${length}`)
    for (const type of [4, 5, 6, 9, 130]) assert.isFalse(isReadable(packet([type, [0, 1, 0, 0]])), `type ${type}`)
    for (const type of [1, 2]) assert.isFalse(isReadable(packet([type, [...Buffer.alloc(16), 0, 1, 0, 0]])))
  })

  it("acknowledgements of the same again and again, or of more than are there", () => {
    assert.isFalse(isReadable(sack([1, 65_535], [1, 65_535])))
    assert.isFalse(isReadable(sack([5, 4])))
    const short = sack([1, 1])
    short.writeUInt16BE(2, 24)
    assert.isFalse(isReadable(short))
    assert.isFalse(isReadable(packet([3, [1]])))
  })
})
