/**
 * Packets of SCTP that get as far as what reads their chunks.
 */
import type { Dice } from "./dice.ts"

const Crc32c = Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  return crc >>> 0
})

/** The checksum of SCTP (RFC 9260, appendix A). */
const crc32c = (bytes: Uint8Array): number => {
  let crc = 0xffffffff
  for (const byte of bytes) crc = (crc >>> 8) ^ Crc32c[(crc ^ byte) & 0xff]!
  return (crc ^ 0xffffffff) >>> 0
}

const ChunkTypes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 130, 192, 255]

/** An SCTP packet of one chunk with anything in it, which is right as far as its checksum goes. */
export const sctpPacket = (dice: Dice, verificationTag: number): Buffer => {
  const body = dice.bytes(dice.size(1000))
  const head = Buffer.alloc(16)
  head.writeUInt16BE(5000, 0)
  head.writeUInt16BE(5000, 2)
  head.writeUInt8(dice.pick(ChunkTypes), 12)
  // DATA: the whole of a message, half of the time.
  head.writeUInt8(dice.chance(0.5) ? 3 : dice.below(256), 13)
  head.writeUInt16BE(dice.chance(0.7) ? body.length + 4 : dice.pick([0, 1, 3, 4, 65_535, dice.below(65_536)]), 14)
  const packet = Buffer.concat([head, body])
  // An INIT has none (RFC 9260, section 8.5.1).
  packet.writeUInt32BE(head[12] === 1 ? 0 : verificationTag, 4)
  packet.writeUInt32LE(dice.chance(0.9) ? crc32c(packet) : dice.below(2 ** 32), 8)
  return packet
}
