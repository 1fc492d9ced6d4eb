/**
 * The receiving half of an association (RFC 9260, sections 6.2 to 6.7): which
 * numbers have come, and messages out of their pieces, each once and in order
 * where that is promised. No timers, no sockets.
 */
import type { Data, Forward, Sack } from "./packet.ts"
import { add16, add32, ahead16, ahead32 } from "./serial.ts"

/** What it takes to keep a piece, beside its data. */
const PieceBytes = 256

/** Numbers that came after one that is missing are told as blocks, whose ends are 16 bits counted from there. */
const MaxAhead = 0xffff

/** Beyond so many blocks with something missing between them, more is not taken, as if it were lost. */
const MaxBlocks = 4096

/** That came again since the last acknowledgement; more are not told. */
const MaxDuplicates = 16

/** Pieces of one message whose numbers follow each other. */
interface Run {
  readonly pieces: Array<Data>
  first: number
  last: number
}

interface Stream {
  /** The number of the message that is next. */
  next: number
  /** Complete messages that came before that. */
  readonly early: Map<number, readonly [protocol: number, data: Buffer]>
}

const isSameMessage = (a: Data, b: Data) =>
  a.streamId === b.streamId && a.isOrdered === b.isOrdered && a.ssn === b.ssn && a.protocol === b.protocol

/** @internal */
export class Receiving {
  #cumulative: number
  /** First and last number of each block, in order. */
  #blocks: Array<[first: number, last: number]> = []
  #duplicates: Array<number> = []
  #held = 0
  readonly #streams = new Map<number, Stream>()
  readonly #runsByFirst = new Map<number, Run>()
  readonly #runsByLast = new Map<number, Run>()
  readonly #deliver: (streamId: number, protocol: number, data: Buffer) => void

  constructor(initialTsn: number, deliver: (streamId: number, protocol: number, data: Buffer) => void) {
    this.#cumulative = add32(initialTsn, -1)
    this.#deliver = deliver
  }

  /** Everything up to this number has come. */
  get cumulative(): number {
    return this.#cumulative
  }

  /** Bytes of what waits: for its other pieces, or for a message before it. */
  get held(): number {
    return this.#held
  }

  /** Whether something is missing that others came after. */
  get isMissing(): boolean {
    return this.#blocks.length > 0
  }

  /** Whether the piece is new. One that is too far ahead is not, as it will come again. */
  take(piece: Data): boolean {
    const ahead = ahead32(piece.tsn, this.#cumulative)
    if (ahead > MaxAhead || ahead > 1 && (this.#blocks.length >= MaxBlocks || this.#isBehind(piece))) return false
    if (ahead <= 0 || !this.#mark(piece.tsn, ahead)) {
      if (this.#duplicates.length < MaxDuplicates) this.#duplicates.push(piece.tsn)
      return false
    }
    if (piece.isFirst && piece.isLast) this.#complete(piece, piece.data)
    else this.#join(piece)
    return true
  }

  /** Half of the way round ahead of the message that is next: it could not be kept, and can be when others have come. */
  #isBehind({ isOrdered, ssn, streamId }: Data): boolean {
    return isOrdered && ahead16(ssn, this.#streams.get(streamId)?.next ?? 0) < 0
  }

  /** Whether the number is new. */
  #mark(tsn: number, ahead: number): boolean {
    const blocks = this.#blocks
    if (ahead === 1) {
      this.#cumulative = tsn
      this.#absorb()
      return true
    }
    // The first block that begins behind it, mostly there is none.
    let low = 0
    let high = blocks.length
    if (high > 0 && ahead32(tsn, blocks[high - 1]![0]) > 0) low = high
    while (low < high) {
      const middle = (low + high) >> 1
      if (ahead32(blocks[middle]![0], tsn) > 0) high = middle
      else low = middle + 1
    }
    const before = blocks[low - 1]
    const after = blocks[low]
    if (before !== undefined && ahead32(tsn, before[1]) <= 0) return false
    const followsBefore = before !== undefined && ahead32(tsn, before[1]) === 1
    const leadsAfter = after !== undefined && ahead32(after[0], tsn) === 1
    if (followsBefore && leadsAfter) {
      before[1] = after[1]
      blocks.splice(low, 1)
    } else if (followsBefore) before[1] = tsn
    else if (leadsAfter) after[0] = tsn
    else blocks.splice(low, 0, [tsn, tsn])
    return true
  }

  /** The blocks that nothing is missing before any more. */
  #absorb(): void {
    let count = 0
    for (const [first, last] of this.#blocks) {
      if (ahead32(first, this.#cumulative) > 1) break
      if (ahead32(last, this.#cumulative) > 0) this.#cumulative = last
      count++
    }
    if (count > 0) this.#blocks.splice(0, count)
  }

  #join(piece: Data): void {
    this.#held += piece.data.length + PieceBytes
    const left = piece.isFirst ? undefined : this.#runsByLast.get(add32(piece.tsn, -1))
    const right = piece.isLast ? undefined : this.#runsByFirst.get(add32(piece.tsn, 1))
    let run: Run = { pieces: [piece], first: piece.tsn, last: piece.tsn }
    if (left !== undefined && !left.pieces.at(-1)!.isLast && isSameMessage(left.pieces[0]!, piece)) {
      this.#drop(left)
      left.pieces.push(piece)
      left.last = piece.tsn
      run = left
    }
    if (right !== undefined && !right.pieces[0]!.isFirst && isSameMessage(right.pieces[0]!, piece)) {
      this.#drop(right)
      for (const each of right.pieces) run.pieces.push(each)
      run.last = right.last
    }
    if (run.pieces[0]!.isFirst && run.pieces.at(-1)!.isLast) {
      this.#release(run)
      this.#complete(piece, Buffer.concat(run.pieces.map(({ data }) => data)))
      return
    }
    this.#runsByFirst.set(run.first, run)
    this.#runsByLast.set(run.last, run)
  }

  #drop(run: Run): void {
    this.#runsByFirst.delete(run.first)
    this.#runsByLast.delete(run.last)
  }

  #release(run: Run): void {
    for (const { data } of run.pieces) this.#held -= data.length + PieceBytes
  }

  #stream(streamId: number): Stream {
    let stream = this.#streams.get(streamId)
    if (stream === undefined) this.#streams.set(streamId, stream = { next: 0, early: new Map() })
    return stream
  }

  #complete({ isOrdered, protocol, ssn, streamId }: Data, data: Buffer): void {
    if (!isOrdered) return this.#deliver(streamId, protocol, data)
    const stream = this.#stream(streamId)
    const ahead = ahead16(ssn, stream.next)
    if (ahead > 0 && !stream.early.has(ssn)) {
      stream.early.set(ssn, [protocol, data])
      this.#held += data.length + PieceBytes
    }
    if (ahead !== 0) return
    stream.next = add16(stream.next, 1)
    this.#deliver(streamId, protocol, data)
    this.#deliverEarly(streamId, stream)
  }

  #deliverEarly(streamId: number, stream: Stream): void {
    let message = stream.early.get(stream.next)
    while (message !== undefined) {
      const [protocol, data] = message
      stream.early.delete(stream.next)
      this.#held -= data.length + PieceBytes
      stream.next = add16(stream.next, 1)
      this.#deliver(streamId, protocol, data)
      message = stream.early.get(stream.next)
    }
  }

  /** What the sender has given up does not come any more (RFC 3758, section 3.6). */
  forward({ cumulative, streams }: Forward): void {
    if (ahead32(cumulative, this.#cumulative) <= 0) return
    this.#cumulative = cumulative
    this.#absorb()
    for (const run of this.#runsByFirst.values()) {
      if (ahead32(run.first, cumulative) > 0) continue
      this.#drop(run)
      this.#release(run)
    }
    for (const [streamId, ssn] of streams) {
      const stream = this.#stream(streamId)
      // Those up to it that came whole all the same are delivered, in order.
      const whole = [...stream.early.keys()].filter((early) => ahead16(ssn, early) >= 0).toSorted(ahead16)
      for (const early of whole) {
        if (ahead16(early, stream.next) > 0) stream.next = early
        this.#deliverEarly(streamId, stream)
      }
      if (ahead16(ssn, stream.next) >= 0) stream.next = add16(ssn, 1)
      this.#deliverEarly(streamId, stream)
    }
  }

  /** The next message of the stream is its first one again (RFC 6525, section 5.2.2). */
  reset(streamId: number): void {
    const stream = this.#streams.get(streamId)
    if (stream === undefined) return
    this.#streams.delete(streamId)
    for (const [, data] of stream.early.values()) this.#held -= data.length + PieceBytes
  }

  /** What to acknowledge, with at most so many blocks and numbers that came again. */
  acknowledgement(maxEntries: number): Omit<Sack, "window"> {
    const gaps: Array<[number, number]> = []
    for (const [first, last] of this.#blocks) {
      const end = ahead32(last, this.#cumulative)
      if (gaps.length === maxEntries || end > MaxAhead) break
      gaps.push([ahead32(first, this.#cumulative), end])
    }
    const duplicates = this.#duplicates.slice(0, maxEntries - gaps.length)
    this.#duplicates = []
    return { cumulative: this.#cumulative, gaps, duplicates }
  }
}
