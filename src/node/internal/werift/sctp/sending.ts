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

/** Streams that one FORWARD TSN tells of, so that it fits into a packet. */
const MaxForwardedStreams = 200

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
  /** Up to here a gap block has told of what arrived. */
  #reached: number
  #places = 0
  #lost = 0
  #window: number
  #mustForward = false
  /** Wait no longer, of which nobody was told. */
  #left: Array<Piece> = []

  constructor(options: { readonly initialTsn: number; readonly window: number; readonly maxPiece: number }) {
    this.#nextTsn = options.initialTsn
    this.#acknowledged = this.#settled = this.#reached = add32(options.initialTsn, -1)
    this.#window = options.window
    this.#maxPiece = options.maxPiece
    this.congestion = new Congestion(options.maxPiece)
  }

  get lastTsn(): number {
    return add32(this.#nextTsn, -1)
  }

  /** Whether something can be sent now. */
  get canSend(): boolean {
    return this.#mustForward || this.#lost > 0 && this.congestion.hasRoomAgain(this.flight) ||
      this.queue.length > 0 && this.#hasRoom(this.queue[0]!)
  }

  /** Whether the other end still has to say something. */
  get isWaiting(): boolean {
    return this.sent.length > 0
  }

  /** The streams of which a piece waits or is under way. */
  busy(): ReadonlySet<number> {
    const streams = new Set<number>()
    for (const { streamId } of this.queue) streams.add(streamId)
    for (const { streamId } of this.sent) streams.add(streamId)
    return streams
  }

  add(message: Message): void {
    const of = { message, ssn: 0, isGivenUp: false }
    const { data } = message
    for (let at = 0; at < data.length; at += this.#maxPiece) {
      const end = at + this.#maxPiece
      this.queue.push(new Piece(of, data.subarray(at, end), at === 0, end >= data.length))
    }
  }

  /** The next message of the stream is its first one again. */
  reset(streamId: number): void {
    this.#nextSsn.delete(streamId)
  }

  #hasRoom({ data }: Piece): boolean {
    if (this.flight === 0) return true // Also of a window that is closed: to hear when it opens (section 6.1, A).
    return this.congestion.hasRoom(this.flight) && this.flight + data.length <= this.#window
  }

  /** Gives `put` what may be sent now, until it takes no more; and whether the first of all was sent again. */
  transmit(now: number, put: (piece: Data) => boolean): boolean {
    let isFirstAgain = false
    if (this.#lost > 0) {
      for (const piece of this.sent) {
        if (piece.state !== "lost") continue
        if (!this.congestion.hasRoomAgain(this.flight) || !put(piece)) return isFirstAgain
        isFirstAgain ||= piece === this.sent[0]
        this.congestion.onSentAgain(piece.data.length)
        this.#lost--
        this.#fly(piece, now)
      }
    }
    let count = 0
    while (count < this.queue.length) {
      const piece = this.queue[count]!
      const { message } = piece.of
      if (piece.of.isGivenUp || piece.isFirst && message.expiresAt !== undefined && message.expiresAt <= now) {
        piece.of.isGivenUp = true
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
    const left = this.queue.splice(0, count)
    this.#left = this.#left.length === 0 ? left : this.#left.concat(left)
    return isFirstAgain
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
  }

  /** Whether the first of all that is under way has arrived. */
  acknowledge({ cumulative, gaps, window }: Omit<Sack, "duplicates">, now: number): boolean {
    const advance = ahead32(cumulative, this.#acknowledged)
    // An older one that was overtaken, or one of what was never sent.
    if (advance < 0 || advance > this.sent.length) return false
    const before = this.flight
    const news = { bytes: 0, place: 0, sentAt: -1 }
    for (let i = 0; i < advance; i++) this.#arrive(this.sent[i]!, news)
    if (advance > 0) {
      this.sent.splice(0, advance)
      this.#acknowledged = cumulative
    }
    this.#arriveBeyond(gaps, news)
    if (news.sentAt >= 0) this.congestion.observe(now - news.sentAt)
    this.#window = window
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
    else if (piece.state === "lost") this.#lost--
    piece.state = "arrived"
    news.bytes += piece.data.length
    if (piece.place <= news.place) return
    news.place = piece.place
    // Of what was sent twice nobody knows which one arrived (section 6.3.1, C5).
    news.sentAt = piece.sent === 1 ? piece.sentAt : -1
  }

  /** Those in a gap block have arrived; one that was in such a block before, and is not any more, has not. */
  #arriveBeyond(gaps: Sack["gaps"], news: { bytes: number; place: number; sentAt: number }): void {
    let at = 0
    for (const [start, end] of gaps) {
      for (; at < start - 1 && at < this.sent.length; at++) this.#renege(this.sent[at]!)
      for (; at < end && at < this.sent.length; at++) this.#arrive(this.sent[at]!, news)
    }
    const reached = Math.min(ahead32(this.#reached, this.#acknowledged), this.sent.length)
    this.#reached = add32(this.#acknowledged, at)
    for (; at < reached; at++) this.#renege(this.sent[at]!)
  }

  #renege(piece: Piece): void {
    if (piece.state !== "arrived" || piece.of.isGivenUp) return
    piece.state = "flying"
    this.flight += piece.data.length
  }

  /** Whether something got lost: what was sent three times later has arrived (section 7.2.4). */
  #miss(place: number, now: number): boolean {
    let isLoss = false
    if (place === 0) return false
    for (const piece of this.sent) {
      // What follows was sent later still, for the first time or again.
      if (piece.sent === 1 && piece.place > place) break
      if (piece.state !== "flying" || piece.place > place) continue
      if (++piece.misses < MissesOfLost) continue
      this.#lose(piece, now)
      isLoss = true
    }
    return isLoss
  }

  #lose(piece: Piece, now: number): void {
    const { maxRetransmits, expiresAt } = piece.of.message
    this.flight -= piece.data.length
    if (maxRetransmits !== undefined && piece.sent > maxRetransmits || expiresAt !== undefined && expiresAt <= now) {
      piece.state = "arrived"
      this.#giveUp(piece.of)
      return
    }
    piece.state = "lost"
    this.#lost++
  }

  /** All pieces of the message; those that were not sent are left out when it is their turn. */
  #giveUp(of: Queued): void {
    of.isGivenUp = true
    for (const piece of this.sent) {
      if (piece.of !== of) continue
      if (piece.state === "flying") this.flight -= piece.data.length
      else if (piece.state === "lost") this.#lost--
      piece.state = "arrived"
    }
  }

  /** Nothing was heard for as long as `timeout` says (section 6.3.3). */
  expire(now: number): void {
    this.congestion.expire()
    for (const piece of this.sent) if (piece.state === "flying") this.#lose(piece, now)
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

  /** What the other end should not wait for, told at most once for each thing that is heard of it. */
  forward(): Forward | undefined {
    if (!this.#mustForward) return
    this.#mustForward = false
    const streams = new Map<number, number>()
    let cumulative = this.#acknowledged
    for (const piece of this.sent) {
      if (ahead32(piece.tsn, this.#settled) > 0) break
      if (piece.isOrdered) {
        if (!streams.has(piece.streamId) && streams.size === MaxForwardedStreams) break
        streams.set(piece.streamId, piece.ssn)
      }
      cumulative = piece.tsn
    }
    return { cumulative, streams: [...streams] }
  }
}
