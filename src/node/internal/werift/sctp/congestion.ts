/**
 * How much may be under way, and how long to wait for an answer (RFC 9260,
 * sections 6.3.1 and 7.2).
 */
import { ahead32 } from "./serial.ts"

/**
 * Timeouts in milliseconds. RFC 9260, section 16, has 1 second for the least and
 * 60 for the most, too long for who waits for an answer. The other end may keep
 * an acknowledgement back for 200 milliseconds (section 6.2), which the smallest
 * deviation takes into account, as in libwebrtc, which also has the most that it is
 * doubled to.
 */
const Timeout = { initial: 500, leastDeviation: 220, mostDoubled: 3000, most: 60_000 }

/** What there is to know of an acknowledgement. */
interface Acknowledgement {
  /** Everything up to this number has arrived. */
  readonly cumulative: number
  /** Bytes that arrived, when everything up to a later number has than before. */
  readonly bytes: number
  /** Bytes that were under way before it. */
  readonly before: number
  readonly isLoss: boolean
  /** The number of what was sent last. */
  readonly lastTsn: number
}

/** @internal */
export class Congestion {
  timeout = Timeout.initial
  /** What the timeout is doubled to at most. */
  #mostDoubled = Timeout.mostDoubled
  readonly #maxPiece: number
  #window: number
  #threshold = Infinity
  /** What was acknowledged since the window last grew. */
  #partial = 0
  /** While losses of one time are made good: the last number that was sent when they were noticed. */
  #recoversUntil: number | undefined
  /** Bytes that may be sent again at once when a loss is noticed, however much is under way. */
  #allowance = 0
  #mean: number | undefined
  #deviation = 0

  constructor(maxPiece: number) {
    this.#maxPiece = maxPiece
    // More than section 7.2.1 has, as RFC 6928 has it for TCP, and libwebrtc for this.
    this.#window = 10 * maxPiece
  }

  hasRoom(flight: number): boolean {
    return flight < this.#window
  }

  /** For what is sent again, of which a packet goes at once (section 7.2.4). */
  hasRoomAgain(flight: number): boolean {
    return this.hasRoom(flight) || this.#allowance > 0
  }

  onSentAgain(bytes: number): void {
    this.#allowance = Math.max(0, this.#allowance - bytes)
  }

  acknowledge({ before, bytes, cumulative, isLoss, lastTsn }: Acknowledgement): void {
    if (this.#recoversUntil !== undefined) {
      if (ahead32(cumulative, this.#recoversUntil) < 0) return
      this.#recoversUntil = undefined
    }
    if (isLoss) {
      this.#reduce()
      this.#window = this.#threshold
      this.#recoversUntil = lastTsn
      this.#allowance = this.#maxPiece
    } else if (bytes > 0 && before + this.#maxPiece > this.#window) this.#grow(bytes)
  }

  /** Only where it was made use of (sections 7.2.1 and 7.2.2). */
  #grow(bytes: number): void {
    if (this.#window <= this.#threshold) {
      this.#window += Math.min(bytes, 2 * this.#maxPiece)
      return
    }
    this.#partial += bytes
    if (this.#partial < this.#window) return
    this.#partial -= this.#window
    this.#window += this.#maxPiece
  }

  #reduce(): void {
    this.#threshold = Math.max(this.#window / 2, 4 * this.#maxPiece)
    this.#partial = 0
  }

  /** Nothing was heard for as long as `timeout` says (section 6.3.3). */
  expire(): void {
    this.#reduce()
    this.#window = this.#maxPiece
    this.#recoversUntil = undefined
    this.timeout = Math.max(this.timeout, Math.min(2 * this.timeout, this.#mostDoubled))
  }

  /**
   * An answer came of which nobody knows how long it took, to what was sent twice. While that is so of all answers, all may
   * take longer than this end waits.
   */
  cannotObserve(): void {
    if (this.#mean === undefined) this.#mostDoubled = Math.min(2 * this.#mostDoubled, Timeout.most)
  }

  /** The time that an answer took. */
  observe(time: number): void {
    if (this.#mean === undefined) {
      this.#mean = time
      this.#deviation = time / 2
    } else {
      this.#deviation += (Math.abs(this.#mean - time) - this.#deviation) / 4
      this.#mean += (time - this.#mean) / 8
    }
    this.#mostDoubled = Timeout.mostDoubled
    this.timeout = Math.min(this.#mean + Math.max(4 * this.#deviation, Timeout.leastDeviation), Timeout.most)
  }
}
