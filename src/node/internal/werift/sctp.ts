/**
 * What is mended in werift's SCTP.
 */
import type { RTCSctpTransport } from "werift"

/** Length of the common header of a packet, and of the head of a chunk or of a parameter (RFC 9260, section 3). */
const HeaderBytes = 12
const HeadBytes = 4

const Chunk = { Init: 1, InitAck: 2, Sack: 3, Heartbeat: 4, HeartbeatAck: 5, Abort: 6, Error: 9, Reconfig: 130 }

/** Where the parameters of a chunk begin, of those that consist of them. */
const paramsAt = new Map([
  [Chunk.Init, 16],
  [Chunk.InitAck, 16],
  [Chunk.Heartbeat, 0],
  [Chunk.HeartbeatAck, 0],
  [Chunk.Abort, 0],
  [Chunk.Error, 0],
  [Chunk.Reconfig, 0]
])

/** Calls `use` with each of the pieces that stand one after the other, which say their own length and are padded to 4. */
const everyPiece = (bytes: Buffer, use: (type: number, body: Buffer) => boolean, typeOf: (at: number) => number) => {
  let at = 0
  while (at + HeadBytes <= bytes.length) {
    const length = bytes.readUInt16BE(at + 2)
    if (length < HeadBytes || at + length > bytes.length) return false
    if (!use(typeOf(at), bytes.subarray(at + HeadBytes, at + length))) return false
    at += Math.ceil(length / 4) * 4
  }
  return true
}

const areParams = (bytes: Buffer) => everyPiece(bytes, () => true, (at) => bytes.readUInt16BE(at))

/** The blocks are in order and do not overlap (RFC 9260, section 3.3.4): each number is looked at once. */
const isSack = (body: Buffer): boolean => {
  if (body.length < 12) return false
  const gaps = body.readUInt16BE(8)
  const duplicates = body.readUInt16BE(10)
  if (12 + 4 * (gaps + duplicates) > body.length) return false
  let last = 0
  for (let at = 12; at < 12 + 4 * gaps; at += 4) {
    const start = body.readUInt16BE(at)
    const end = body.readUInt16BE(at + 2)
    if (start <= last || end < start) return false
    last = end
  }
  return true
}

/**
 * Whether the lengths in an SCTP packet add up.
 *
 * @internal
 */
export const isReadable = (packet: Buffer): boolean => {
  const chunks = packet.subarray(HeaderBytes)
  return packet.length >= HeaderBytes && everyPiece(chunks, (type, body) => {
    if (type === Chunk.Sack) return isSack(body)
    const start = paramsAt.get(type)
    return start === undefined || areParams(body.subarray(start))
  }, (at) => chunks.readUInt8(at))
}

/**
 * werift takes what the other end sends for well-formed. A length of zero (RFC
 * 9260, section 3.2) sends it round in circles until the memory is full, and what
 * it cannot read rejects a promise that nobody has, which ends the process.
 *
 * Relies on: `handleData` of the association, which gets each packet.
 *
 * @internal
 */
export const dropUnreadable = ({ sctp }: RTCSctpTransport, onBad: () => void): void => {
  const handleData = sctp["handleData"]
  sctp["handleData"] = async (packet: Buffer) => {
    if (!isReadable(packet)) return onBad()
    await handleData.call(sctp, packet).catch(onBad)
  }
}

/**
 * A message for no channel, or of no known kind (RFC 8832, section 6), rejects a
 * promise that nobody has, which ends the process.
 *
 * Relies on: `datachannelReceive` of the transport, which gets each message, and
 * that nobody else subscribes to `onReceive`.
 *
 * @internal
 */
export const dropAddressless = (transport: RTCSctpTransport, onBad: () => void): void => {
  const receive = transport["datachannelReceive"]
  const { onReceive } = transport.sctp
  onReceive.allUnsubscribe()
  onReceive.subscribe((...frame) => {
    receive(...frame).catch(onBad)
  })
}

/** Packets that came after one that is missing. For each that comes werift sorts them all. */
const MaxMisordered = 8192

/**
 * werift keeps the pieces of a message until its last one comes, however many
 * they are, and what came after one that is missing. It counts the bytes and lets
 * its window go below zero, for those that do not mind it (RFC 9260, section 6.2).
 *
 * Relies on: `receiveDataChunk`, `advertisedRwnd` and `sackMisOrdered` of the
 * association.
 *
 * @internal
 */
export const boundUnfinished = ({ sctp }: RTCSctpTransport, maxBytes: number, onBad: () => void): void => {
  const receive = sctp["receiveDataChunk"]
  sctp["receiveDataChunk"] = (chunk: Parameters<typeof receive>[0]) => {
    if (sctp["advertisedRwnd"] < -maxBytes || sctp["sackMisOrdered"].size > MaxMisordered) return onBad()
    receive.call(sctp, chunk)
  }
}

/**
 * Keeps from the association what it cannot bear, and calls `onBad` instead: for
 * a packet that cannot be read or does not fit, a message to no channel, and when
 * the pieces of messages whose last piece never comes are more than `maxBytes`.
 *
 * @internal
 */
export const guard = (transport: RTCSctpTransport, options: {
  readonly maxBytes: number
  readonly onBad: () => void
}): void => {
  dropUnreadable(transport, options.onBad)
  dropAddressless(transport, options.onBad)
  boundUnfinished(transport, options.maxBytes, options.onBad)
}
