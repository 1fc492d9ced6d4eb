/**
 * The sending half of an association (RFC 9260, sections 6.1 to 6.3 and 7.2.4):
 * what is to be sent, what is under way, and what is sent again or given up (RFC
 * 3758). No timers, no sockets.
 */
import { report } from "../../../../internal/defects.ts"
import { Congestion } from "./congestion.ts"
import type { Data, Forward, Sack } from "./packet.ts"
import { add16, add32, ahead32 } from "./serial.ts"

/**
 * A message to send, in milliseconds of a clock that only goes forward.
 *
 * @internal
 */
export interface Message {
  readonly streamId: number
  readonly protocol: number
  readonly data: Buffer
  readonly isOrdered: boolean
  /** How often a piece is sent again before the message is given up. */
  readonly maxRetransmits?: number | undefined
  /** When the message is given up. */
  readonly expiresAt?: number | undefined
  /** Called by `tellLeft` with the bytes that wait no longer: they are sent, or given up before. */
  readonly onLeft?: ((bytes: number) => void) | undefined
}

/** @internal */
export interface Queued {
  readonly message: Message
  ssn: number
  isGivenUp: boolean
}

/** A piece of a message. Made again and again: a class, so that all have one shape. */
class Piece implements Data {
  readonly of: Queued
  readonly data: Buffer
  readonly isFirst: boolean
  readonly isLast: boolean
  /** Given when it is sent for the first time. */
  tsn = 0
  state: "waiting" | "flying" | "lost" | "arrived" = "waiting"
  /** How often it was sent, when for the last time, and its place among all that were sent. */
  sent = 0
  sentAt = 0
  place = 0
  /** How many acknowledgements told of what was sent later, and not of this. */
  misses = 0

  constructor(of: Queued, data: Buffer, isFirst: boolean, isLast: boolean) {
    this.of = of
    this.data = data
    this.isFirst = isFirst
    this.isLast = isLast
  }
  get streamId() {
    return this.of.message.streamId
  }
  get protocol() {
    return this.of.message.protocol
  }
  get isOrdered() {
    return this.of.message.isOrdered
  }
  get ssn() {
    return this.of.ssn
  }
}

/** So many acknowledgements that miss a piece make it lost (section 7.2.4). */
const MissesOfLost = 3

/**
 * Pieces from the first one on that has not arrived: so the messages of a stream that wait for each other are few enough
 * for the other end to tell which of them is later (section 1.6), and gap blocks reach them all.
 */
const MaxSent = 2 ** 15 - 1

/** The last number that the blocks tell of. */
const endOf = (gaps: Sack["gaps"]): number => gaps.at(-1)?.[1] ?? 0

/** @internal */
export class Sending {
  /** Not sent yet. */
  queue: Array<Piece> = []
  /** Sent, and everything up to the first of them acknowledged; their numbers follow each other. */
  sent: Array<Piece> = []
  /** Bytes that were sent and neither arrived nor got lost. */
  flight = 0
  readonly congestion: Congestion
  readonly #maxPiece: number
  readonly #nextSsn = new Map<number, number>()
  #nextTsn: number
  #acknowledged: number
  /** Up to here everything has arrived or was given up. */
  #settled: number
  /** Of the latest acknowledgement, counted from `#acknowledged`. */
  #told: Sack["gaps"] = []
  #places = 0
  /** Those under way in order of their places, and the lost ones in order of their numbers. Others that were so are still there. */
  #flying: Array<Piece> = []
  #lost: Array<Piece> = []
  #lostCount = 0
  /** How many messages of a stream wait or are under way. */
  readonly #messages = new Map<number, number>()
  #window: number
  #mustForward = false
  /** Wait no longer, of which nobody was told. */
  #left: Array<Piece> = []

  constructor(options: { readonly initialTsn: number; readonly window: number; readonly maxPiece: number }) {
    this.#nextTsn = options.initialTsn
    this.#acknowledged = this.#settled = add32(options.initialTsn, -1)
    this.#window = options.window
    this.#maxPiece = options.maxPiece
    this.congestion = new Congestion(options.maxPiece)
  }

  get lastTsn(): number {
    return add32(this.#nextTsn, -1)
  }

  /** Whether something can be sent now. */
  get canSend(): boolean {
    return this.#mustForward || this.#lostCount > 0 && this.congestion.hasRoomAgain(this.flight) ||
      this.queue.length > 0 && this.#hasRoom(this.queue[0]!)
  }

  /** Whether the other end still has to say something. */
  get isWaiting(): boolean {
    return this.sent.length > 0
  }

  /** Whether a piece of the stream waits or is under way. */
  isBusy(streamId: number): boolean {
    return this.#messages.has(streamId)
  }

  add(message: Message): void {
    const of = { message, ssn: 0, isGivenUp: false }
    const { data, streamId } = message
    for (let at = 0; at < data.length; at += this.#maxPiece) {
      const end = at + this.#maxPiece
      this.queue.push(new Piece(of, data.subarray(at, end), at === 0, end >= data.length))
    }
    this.#messages.set(streamId, (this.#messages.get(streamId) ?? 0) + 1)
  }

  /** A message is over with its last piece, which is sent, or dropped, after the others. */
  #finish({ isLast, streamId }: Piece): void {
    if (!isLast) return
    const count = this.#messages.get(streamId)! - 1
    if (count === 0) this.#messages.delete(streamId)
    else this.#messages.set(streamId, count)
  }

  /** The next message of the stream is its first one again. */
  reset(streamId: number): void {
    this.#nextSsn.delete(streamId)
  }

  #hasRoom({ data }: Piece): boolean {
    if (this.sent.length >= MaxSent) return false
    if (this.flight === 0) return true // Also of a window that is closed: to hear when it opens (section 6.1, A).
    return this.congestion.hasRoom(this.flight) && this.flight + data.length <= this.#window
  }

  /** Gives `put` what may be sent now, until it takes no more; and whether the first of all was sent again. */
  transmit(now: number, put: (piece: Data) => boolean): boolean {
    let isFirstAgain = false
    let again = 0
    for (; again < this.#lost.length; again++) {
      const piece = this.#lost[again]!
      if (piece.state !== "lost") continue
      if (!this.congestion.hasRoomAgain(this.flight) || !put(piece)) break
      isFirstAgain ||= piece === this.sent[0]
      this.congestion.onSentAgain(piece.data.length)
      this.#lostCount--
      this.#fly(piece, now)
    }
    this.#lost.splice(0, again)
    if (this.#lost.length > 0) return isFirstAgain
    let count = 0
    while (count < this.queue.length) {
      const piece = this.queue[count]!
      const { message } = piece.of
      if (piece.of.isGivenUp || piece.isFirst && message.expiresAt !== undefined && message.expiresAt <= now) {
        piece.of.isGivenUp = true
        this.#finish(piece)
      } else {
        if (!this.#hasRoom(piece)) break
        if (piece.isFirst && message.isOrdered) {
          piece.of.ssn = this.#nextSsn.get(message.streamId) ?? 0
        }
        piece.tsn = this.#nextTsn
        if (!put(piece)) break
        if (piece.isFirst && message.isOrdered) this.#nextSsn.set(message.streamId, add16(piece.of.ssn, 1))
        this.#nextTsn = add32(this.#nextTsn, 1)
        this.sent.push(piece)
        this.#fly(piece, now)
      }
      count++
    }
    if (count === 0) return isFirstAgain
    this.#leave(count)
    return isFirstAgain
  }

  #leave(count: number): void {
    const left = this.queue.splice(0, count)
    this.#left = this.#left.length === 0 ? left : this.#left.concat(left)
  }

  /** Tells of what waits no longer. To be called when sending is over: it calls what may send more, or throw. */
  tellLeft(): void {
    if (this.#left.length === 0) return
    const left = this.#left
    this.#left = []
    for (const { data, of } of left) {
      try {
        of.message.onLeft?.(data.length)
      } catch (defect) {
        report(defect)
      }
    }
  }

  #fly(piece: Piece, now: number): void {
    piece.state = "flying"
    piece.sent++
    piece.sentAt = now
    piece.place = ++this.#places
    piece.misses = 0
    this.flight += piece.data.length
    this.#flying.push(piece)
  }

  /** Whether the first of all that is under way has arrived. */
  acknowledge({ cumulative, gaps, window }: Omit<Sack, "duplicates">, now: number): boolean {
    const advance = ahead32(cumulative, this.#acknowledged)
    // An older one that was overtaken, or one of what was never sent.
    if (advance < 0 || advance > this.sent.length) return false
    const before = this.flight
    const news = { bytes: 0, place: 0, sentAt: -1 }
    for (let i = 0; i < advance; i++) {
      this.#arrive(this.sent[i]!, news)
      this.#finish(this.sent[i]!)
    }
    if (advance > 0) {
      this.sent.splice(0, advance)
      this.#acknowledged = cumulative
    }
    this.#arriveBeyond(gaps, advance, news)
    // One that tells of less than another before it was overtaken by that.
    if (advance > 0 || endOf(gaps) >= endOf(this.#told)) {
      this.#told = gaps
      this.#window = window
    }
    this.#renege(gaps, now)
    if (news.sentAt >= 0) this.congestion.observe(now - news.sentAt)
    else if (news.place > 0) this.congestion.cannotObserve()
    this.congestion.acknowledge({
      cumulative,
      bytes: advance > 0 ? news.bytes : 0,
      before,
      isLoss: this.#miss(news.place, now),
      lastTsn: this.lastTsn
    })
    this.#settle()
    return advance > 0
  }

  #arrive(piece: Piece, news: { bytes: number; place: number; sentAt: number }): void {
    // Of what was given up nothing more is of interest.
    if (piece.state === "arrived") return
    if (piece.state === "flying") this.flight -= piece.data.length
    else if (piece.state === "lost") this.#lostCount--
    piece.state = "arrived"
    news.bytes += piece.data.length
    if (piece.place <= news.place) return
    news.place = piece.place
    // Of what was sent twice nobody knows which one arrived (section 6.3.1, C5).
    news.sentAt = piece.sent === 1 ? piece.sentAt : -1
  }

  /** Those in a gap block have arrived. Of which the acknowledgement before has told, they are not looked at again. */
  #arriveBeyond(gaps: Sack["gaps"], advance: number, news: { bytes: number; place: number; sentAt: number }): void {
    let next = 0
    for (const [start, end] of gaps) {
      let at = start
      while (at <= end && at <= this.sent.length) {
        const told = this.#told[next]
        if (told === undefined || at + advance < told[0]) this.#arrive(this.sent[at++ - 1]!, news)
        else {
          next++
          at = Math.max(at, told[1] - advance + 1)
        }
      }
    }
  }

  /**
   * What has arrived the other end may drop again (section 6.2.1). That it does not tell of it need not mean that: its
   * acknowledgement may have been overtaken, or have no room for all blocks. That it waits for it does.
   */
  #renege(gaps: Sack["gaps"], now: number): void {
    const [first] = this.sent
    if (first?.state !== "arrived" || first.of.isGivenUp) return
    this.#told = gaps
    this.#flying = this.#flying.filter(({ state }) => state === "flying")
    this.#lost = this.#lost.filter(({ state }) => state === "lost")
    let at = 1
    for (const [start, end] of [...gaps, [Infinity, Infinity]] as const) {
      for (; at < start && at <= this.sent.length; at++) {
        const piece = this.sent[at - 1]!
        if (piece.state !== "arrived" || piece.of.isGivenUp) continue
        this.flight += piece.data.length
        this.#lose(piece, now)
      }
      at = end + 1
    }
  }

  /** Whether something got lost: what was sent three times later has arrived (section 7.2.4). */
  #miss(place: number, now: number): boolean {
    const flying = this.#flying
    let isLoss = false
    let kept = 0
    let count = 0
    while (count < flying.length && flying[count]!.place <= place) {
      const piece = flying[count++]!
      if (piece.state !== "flying") continue
      if (++piece.misses < MissesOfLost) flying[kept++] = piece
      else {
        this.#lose(piece, now)
        isLoss = true
      }
    }
    flying.splice(kept, count - kept)
    return isLoss
  }

  #lose(piece: Piece, now: number): void {
    const { maxRetransmits, expiresAt } = piece.of.message
    this.flight -= piece.data.length
    if (maxRetransmits !== undefined && piece.sent > maxRetransmits || expiresAt !== undefined && expiresAt <= now) {
      piece.state = "arrived"
      return this.#giveUp(piece)
    }
    piece.state = "lost"
    this.#lostCount++
    let low = 0
    let high = this.#lost.length
    if (high > 0 && ahead32(piece.tsn, this.#lost[high - 1]!.tsn) > 0) low = high
    while (low < high) {
      const middle = (low + high) >> 1
      if (ahead32(this.#lost[middle]!.tsn, piece.tsn) > 0) high = middle
      else low = middle + 1
    }
    this.#lost.splice(low, 0, piece)
  }

  /**
   * All pieces of the message, which follow each other. For those that were not sent one number more stands, as if that
   * had been lost: the others may all have arrived, and then only what comes after them tells that nothing does (RFC 3758,
   * section 3.6).
   */
  #giveUp({ of, tsn }: Piece): void {
    of.isGivenUp = true
    let at = ahead32(tsn, this.#acknowledged) - 1
    while (this.sent[at - 1]?.of === of) at--
    for (; this.sent[at]?.of === of; at++) {
      const piece = this.sent[at]!
      if (piece.state === "flying") this.flight -= piece.data.length
      else if (piece.state === "lost") this.#lostCount--
      piece.state = "arrived"
    }
    let count = 0
    while (this.queue[count]?.of === of) count++
    if (count === 0) return
    const last = this.queue[count - 1]!
    this.#leave(count)
    last.tsn = this.#nextTsn
    last.state = "arrived"
    this.#nextTsn = add32(this.#nextTsn, 1)
    this.sent.push(last)
  }

  /** Nothing was heard for as long as `timeout` says (section 6.3.3). */
  expire(now: number): void {
    this.congestion.expire()
    const flying = this.#flying
    this.#flying = []
    for (const piece of flying) if (piece.state === "flying") this.#lose(piece, now)
    this.#settle()
  }

  /** What follows the acknowledged and was given up counts as settled; the other end is told (RFC 3758, section 3.5). */
  #settle(): void {
    if (ahead32(this.#acknowledged, this.#settled) > 0) this.#settled = this.#acknowledged
    let at = ahead32(this.#settled, this.#acknowledged)
    while (this.sent[at]?.of.isGivenUp === true) at++
    this.#settled = add32(this.#acknowledged, at)
    this.#mustForward = at > 0
  }

  /** What the other end should not wait for, of so many streams at most; told once for each thing that is heard of it. */
  forward(maxStreams: number): Forward | undefined {
    if (!this.#mustForward) return
    this.#mustForward = false
    const streams = new Map<number, number>()
    let cumulative = this.#acknowledged
    for (const piece of this.sent) {
      if (ahead32(piece.tsn, this.#settled) > 0) break
      if (piece.isOrdered) {
        if (!streams.has(piece.streamId) && streams.size === maxStreams) break
        streams.set(piece.streamId, piece.ssn)
      }
      cumulative = piece.tsn
    }
    return { cumulative, streams: [...streams] }
  }
}
