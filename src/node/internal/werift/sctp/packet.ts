/**
 * SCTP packets on the wire (RFC 9260, section 3): what chunks there are, whether
 * they can be read, and writing several to a packet.
 */
import { crc32c } from "werift"

/** Length of the common header of a packet, and of the head of a chunk or of a parameter. */
const HeaderBytes = 12
const HeadBytes = 4

/** Of a DATA chunk, before the data. */
const DataHeadBytes = 16

/**
 * Types of chunks (section 3.2; RFC 3758, section 3.2; RFC 6525, section 3.1).
 *
 * @internal
 */
export const Chunk = {
  Data: 0,
  Init: 1,
  InitAck: 2,
  Sack: 3,
  Heartbeat: 4,
  HeartbeatAck: 5,
  Abort: 6,
  Shutdown: 7,
  ShutdownAck: 8,
  Error: 9,
  CookieEcho: 10,
  CookieAck: 11,
  ShutdownComplete: 14,
  Reconfig: 130,
  ForwardTsn: 192
}

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

/** Flags of a DATA chunk (section 3.3.1). */
const Unordered = 4
const First = 2
const Last = 1

const padded = (bytes: number) => (bytes + 3) & ~3

/** Calls `use` with each of the pieces that stand one after the other, which say their own length and are padded to 4. */
const everyPiece = (bytes: Buffer, use: (at: number, body: Buffer) => boolean) => {
  let at = 0
  while (at + HeadBytes <= bytes.length) {
    const length = bytes.readUInt16BE(at + 2)
    if (length < HeadBytes || at + length > bytes.length) return false
    if (!use(at, bytes.subarray(at + HeadBytes, at + length))) return false
    at += padded(length)
  }
  return true
}

/**
 * Calls `use` with the type and the body of each parameter, and gives whether
 * their lengths add up.
 *
 * @internal
 */
export const everyParam = (bytes: Buffer, use: (type: number, body: Buffer) => void = () => {}): boolean =>
  everyPiece(bytes, (at, body) => {
    use(bytes.readUInt16BE(at), body)
    return true
  })

/** The blocks are in order and do not overlap (section 3.3.4): each number is looked at once. */
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

const isBody = (type: number, body: Buffer): boolean => {
  // With no data at all it is an error (section 6.2).
  if (type === Chunk.Data) return body.length > DataHeadBytes - HeadBytes
  if (type === Chunk.Sack) return isSack(body)
  if (type === Chunk.ForwardTsn) return body.length >= 4 && body.length % 4 === 0
  const start = paramsAt.get(type)
  return start === undefined || (body.length >= start && everyParam(body.subarray(start)))
}

/**
 * Whether the lengths in an SCTP packet add up.
 *
 * @internal
 */
export const isReadable = (packet: Buffer): boolean => {
  const chunks = packet.subarray(HeaderBytes)
  return packet.length >= HeaderBytes && everyPiece(chunks, (at, body) => isBody(chunks[at]!, body))
}

/** The sum in a packet is counted with zeros in its place (section 6.8). */
const checksum = (packet: Buffer): number => {
  packet.writeUInt32LE(0, 8)
  const sum = crc32c(packet)
  packet.writeUInt32LE(sum, 8)
  return sum
}

/** @internal */
export interface ReceivedChunk {
  readonly type: number
  readonly flags: number
  readonly body: Buffer
}

/** @internal */
export interface Received {
  readonly verificationTag: number
  readonly chunks: ReadonlyArray<ReceivedChunk>
}

/**
 * The chunks of a packet, none when it cannot be read or its sum is wrong.
 *
 * @internal
 */
export const read = (packet: Buffer): Received | undefined => {
  if (!isReadable(packet) || packet.readUInt32LE(8) !== checksum(packet)) return
  const chunks: Array<ReceivedChunk> = []
  const bytes = packet.subarray(HeaderBytes)
  everyPiece(bytes, (at, body) => {
    chunks.push({ type: bytes[at]!, flags: bytes[at + 1]!, body })
    return true
  })
  return { verificationTag: packet.readUInt32BE(4), chunks }
}

/**
 * A packet with one of the chunks of another.
 *
 * @internal
 */
export const alone = (packet: Buffer, { body, flags, type }: ReceivedChunk): Buffer => {
  const made = Buffer.alloc(HeaderBytes + HeadBytes + padded(body.length))
  packet.copy(made, 0, 0, HeaderBytes)
  made[HeaderBytes] = type
  made[HeaderBytes + 1] = flags
  made.writeUInt16BE(HeadBytes + body.length, HeaderBytes + 2)
  body.copy(made, HeaderBytes + HeadBytes)
  checksum(made)
  return made
}

/**
 * A piece of a message, all of it when it is the first and the last.
 *
 * @internal
 */
export interface Data {
  readonly tsn: number
  readonly streamId: number
  readonly ssn: number
  readonly protocol: number
  readonly isOrdered: boolean
  readonly isFirst: boolean
  readonly isLast: boolean
  readonly data: Buffer
}

/** @internal */
export const readData = (flags: number, body: Buffer): Data => ({
  tsn: body.readUInt32BE(0),
  streamId: body.readUInt16BE(4),
  ssn: body.readUInt16BE(6),
  protocol: body.readUInt32BE(8),
  isOrdered: (flags & Unordered) === 0,
  isFirst: (flags & First) !== 0,
  isLast: (flags & Last) !== 0,
  data: body.subarray(12)
})

/**
 * What has come: everything up to `cumulative`, and the blocks after it, whose
 * numbers are counted from there.
 *
 * @internal
 */
export interface Sack {
  readonly cumulative: number
  readonly window: number
  readonly gaps: ReadonlyArray<readonly [start: number, end: number]>
  readonly duplicates: ReadonlyArray<number>
}

/** @internal */
export const readSack = (body: Buffer): Sack => {
  const count = body.readUInt16BE(8)
  const gaps: Array<[number, number]> = []
  for (let i = 0; i < count; i++) gaps.push([body.readUInt16BE(12 + 4 * i), body.readUInt16BE(14 + 4 * i)])
  return { cumulative: body.readUInt32BE(0), window: body.readUInt32BE(4), gaps, duplicates: [] }
}

/**
 * That everything up to `cumulative` will not come any more, and of each stream
 * the last message of which that is so (RFC 3758, section 3.2).
 *
 * @internal
 */
export interface Forward {
  readonly cumulative: number
  readonly streams: ReadonlyArray<readonly [streamId: number, ssn: number]>
}

/** @internal */
export const readForward = (body: Buffer): Forward => {
  const streams: Array<[number, number]> = []
  for (let at = 4; at < body.length; at += 4) streams.push([body.readUInt16BE(at), body.readUInt16BE(at + 2)])
  return { cumulative: body.readUInt32BE(0), streams }
}

/** @internal */
export interface Header {
  readonly localPort: number
  readonly remotePort: number
  readonly verificationTag: number
}

/**
 * Puts chunks into packets: as many into one as there is room for (section 6.10).
 *
 * @internal
 */
export class Packets {
  readonly #packet: Buffer
  readonly #send: (packet: Buffer) => void
  #at = HeaderBytes
  /** Packets that were begun. */
  count = 0

  constructor(maxBytes: number, header: Header, send: (packet: Buffer) => void) {
    this.#packet = Buffer.allocUnsafe(maxBytes)
    this.#packet.writeUInt16BE(header.localPort, 0)
    this.#packet.writeUInt16BE(header.remotePort, 2)
    this.#packet.writeUInt32BE(header.verificationTag, 4)
    this.#send = send
  }

  /** Whether a chunk with so much data needs a packet of its own. */
  isNext(dataBytes: number): boolean {
    return this.#at === HeaderBytes || this.#at + padded(DataHeadBytes + dataBytes) > this.#packet.length
  }

  #begin(type: number, flags: number, bytes: number): number {
    if (this.#at + padded(bytes) > this.#packet.length) this.end()
    if (this.#at === HeaderBytes) this.count++
    const at = this.#at
    this.#packet[at] = type
    this.#packet[at + 1] = flags
    this.#packet.writeUInt16BE(bytes, at + 2)
    this.#at += padded(bytes)
    this.#packet.fill(0, at + bytes, this.#at)
    return at + HeadBytes
  }

  data({ data, isFirst, isLast, isOrdered, protocol, ssn, streamId, tsn }: Data): void {
    const flags = (isOrdered ? 0 : Unordered) | (isFirst ? First : 0) | (isLast ? Last : 0)
    const at = this.#begin(Chunk.Data, flags, DataHeadBytes + data.length)
    this.#packet.writeUInt32BE(tsn, at)
    this.#packet.writeUInt16BE(streamId, at + 4)
    this.#packet.writeUInt16BE(ssn, at + 6)
    this.#packet.writeUInt32BE(protocol, at + 8)
    data.copy(this.#packet, at + 12)
  }

  sack({ cumulative, duplicates, gaps, window }: Sack): void {
    let at = this.#begin(Chunk.Sack, 0, HeadBytes + 12 + 4 * (gaps.length + duplicates.length))
    this.#packet.writeUInt32BE(cumulative, at)
    this.#packet.writeUInt32BE(window, at + 4)
    this.#packet.writeUInt16BE(gaps.length, at + 8)
    this.#packet.writeUInt16BE(duplicates.length, at + 10)
    at += 12
    for (const [start, end] of gaps) {
      this.#packet.writeUInt16BE(start, at)
      this.#packet.writeUInt16BE(end, at + 2)
      at += 4
    }
    for (const tsn of duplicates) at = this.#packet.writeUInt32BE(tsn, at)
  }

  forward({ cumulative, streams }: Forward): void {
    let at = this.#begin(Chunk.ForwardTsn, 0, HeadBytes + 4 + 4 * streams.length)
    at = this.#packet.writeUInt32BE(cumulative, at)
    for (const [streamId, ssn] of streams) {
      this.#packet.writeUInt16BE(streamId, at)
      at = this.#packet.writeUInt16BE(ssn, at + 2)
    }
  }

  /** A RECONFIG chunk with one parameter. */
  reconfig(type: number, body: Buffer): void {
    const at = this.#begin(Chunk.Reconfig, 0, HeadBytes + HeadBytes + body.length)
    this.#packet.writeUInt16BE(type, at)
    this.#packet.writeUInt16BE(HeadBytes + body.length, at + 2)
    body.copy(this.#packet, at + HeadBytes)
  }

  /** Sends what has been put since the last packet was full. */
  end(): void {
    if (this.#at === HeaderBytes) return
    const packet = Buffer.from(this.#packet.subarray(0, this.#at))
    this.#at = HeaderBytes
    checksum(packet)
    this.#send(packet)
  }
}
