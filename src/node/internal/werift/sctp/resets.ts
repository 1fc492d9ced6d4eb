/**
 * Resetting streams, which is how a DataChannel closes (RFC 6525; RFC 8831,
 * section 6.7): each end resets what it sends on a stream, when all of it has
 * arrived, and when both have, the stream may be used anew.
 */
import { add32, ahead32 } from "./serial.ts"

/** Parameters of a RECONFIG chunk (RFC 6525, section 4). */
const Param = { OutgoingReset: 13, IncomingReset: 14, AllReset: 15, Response: 16, AddOutgoing: 17, AddIncoming: 18 }

/** RFC 6525, section 4.4. */
const Result = { NothingToDo: 0, Performed: 1, Denied: 2, BadSequence: 5, InProgress: 6 }

/** So many times in a row a request is taken back that the other end says it has nothing to do for. */
const MaxDoubts = 3

/** Streams of one request, so that it fits into a packet. */
const MaxStreams = 135

/** What resetting needs of the rest of the association. */
interface Host {
  /** Whether something was sent on the stream that has not arrived. */
  readonly isBusy: (streamId: number) => boolean
  /** The number of what was sent last. */
  readonly lastSent: () => number
  /** Everything up to this number has come. */
  readonly cumulative: () => number
  readonly streams: () => ReadonlyArray<number>
  readonly send: (type: number, body: Buffer) => void
  /** The other end knows that nothing more comes on these streams, or this end does. */
  readonly onReset: (direction: "outgoing" | "incoming", streams: ReadonlyArray<number>) => void
  /** Starts the clock for the answer anew, or stops it. */
  readonly setTimer: (isRunning: boolean) => void
}

interface Request {
  sequence: number
  /** How often the other end had nothing to do for it. */
  doubts?: number
  readonly lastTsn: number
  readonly streams: ReadonlyArray<number>
}

/** @internal */
export class Resets {
  readonly #host: Host
  /** Wanted, and not asked for yet. */
  readonly #wanted = new Set<number>()
  #asked: Request | undefined
  #sequence: number
  /** Reset in one direction, and not yet in the other. */
  readonly #half = { outgoing: new Set<number>(), incoming: new Set<number>() }
  /** The other end's latest request, and what it was told. */
  #theirs: number
  #result = Result.NothingToDo
  #deferred: Request | undefined
  /** Their request of which they were told that it is in progress, and so ask again, under another number. */
  #progressing: Request | undefined

  constructor(host: Host, options: { readonly initialTsn: number; readonly remoteInitialTsn: number }) {
    this.#host = host
    this.#sequence = options.initialTsn
    this.#theirs = add32(options.remoteInitialTsn, -1)
  }

  /** Whether the stream cannot be used anew yet. */
  isBusy(streamId: number): boolean {
    return this.#isAsked(streamId) || this.#half.outgoing.has(streamId) || this.#half.incoming.has(streamId)
  }

  #isAsked(streamId: number): boolean {
    return this.#wanted.has(streamId) || this.#asked?.streams.includes(streamId) === true
  }

  /** Resets what is sent on the stream, when it has arrived. */
  want(streamId: number): void {
    if (this.#isAsked(streamId) || this.#half.outgoing.has(streamId)) return
    this.#wanted.add(streamId)
    this.ask()
  }

  /** Asks the other end, one request at a time, for the streams on which everything has arrived. */
  ask(): void {
    if (this.#asked !== undefined || this.#wanted.size === 0) return
    const streams = [...this.#wanted].filter((streamId) => !this.#host.isBusy(streamId)).slice(0, MaxStreams)
    if (streams.length === 0) return
    for (const streamId of streams) this.#wanted.delete(streamId)
    this.#asked = { sequence: this.#next(), lastTsn: this.#host.lastSent(), streams }
    this.#send()
  }

  #next(): number {
    const sequence = this.#sequence
    this.#sequence = add32(sequence, 1)
    return sequence
  }

  #send(): void {
    const { lastTsn, sequence, streams } = this.#asked!
    const body = Buffer.alloc(12 + 2 * streams.length)
    body.writeUInt32BE(sequence, 0)
    body.writeUInt32BE(this.#theirs, 4)
    body.writeUInt32BE(lastTsn, 8)
    streams.forEach((streamId, i) => body.writeUInt16BE(streamId, 12 + 2 * i))
    this.#host.send(Param.OutgoingReset, body)
    this.#host.setTimer(true)
  }

  /** No answer came in time. */
  expire(): void {
    if (this.#asked !== undefined) this.#send()
  }

  receive(type: number, body: Buffer): void {
    if (type === Param.Response && body.length >= 8) this.#receiveResponse(body)
    else if (body.length >= 4 && type >= Param.OutgoingReset && type <= Param.AddIncoming) {
      this.#receiveRequest(type, body)
    }
  }

  #receiveResponse(body: Buffer): void {
    const asked = this.#asked
    if (asked === undefined || body.readUInt32BE(0) !== asked.sequence) return
    const result = body.readUInt32BE(4)
    if (result === Result.InProgress) {
      // It is asked again later, and that is another request (section 5.2.7).
      asked.sequence = this.#next()
      return
    }
    // What comes twice is to be answered twice alike (section 5.2.1). libwebrtc answers this the second time, also where
    // the lost answer was that it is in progress, and forgets it.
    if (result === Result.NothingToDo && (asked.doubts ?? 0) < MaxDoubts) {
      asked.doubts = (asked.doubts ?? 0) + 1
      asked.sequence = this.#next()
      return this.#send()
    }
    // Whatever else the answer is, the other end will say nothing else when asked again.
    this.#asked = undefined
    this.#host.setTimer(false)
    this.#finish("outgoing", asked.streams)
    this.ask()
  }

  #receiveRequest(type: number, body: Buffer): void {
    const sequence = body.readUInt32BE(0)
    const ahead = ahead32(sequence, this.#theirs)
    if (ahead === 1) {
      this.#theirs = sequence
      // Of streams there are as many as there can be. WebRTC has no use for the others (RFC 8831, section 6.2).
      this.#result = type === Param.AddOutgoing ? Result.Performed : Result.Denied
      if (type === Param.OutgoingReset && body.length >= 12) this.#defer(sequence, body)
    }
    const answer = Buffer.alloc(8)
    answer.writeUInt32BE(sequence, 0)
    answer.writeUInt32BE(ahead === 0 || ahead === 1 ? this.#result : Result.BadSequence, 4)
    this.#host.send(Param.Response, answer)
  }

  #defer(sequence: number, body: Buffer): void {
    const streams: Array<number> = []
    for (let at = 12; at + 2 <= body.length; at += 2) streams.push(body.readUInt16BE(at))
    const lastTsn = body.readUInt32BE(8)
    const before = this.#progressing
    const isAgain = before?.lastTsn === lastTsn && String(before.streams) === String(streams)
    if (!isAgain) this.#deferred = { sequence, lastTsn, streams }
    this.perform()
    this.#result = this.#deferred === undefined ? Result.Performed : Result.InProgress
    this.#progressing = this.#deferred
  }

  /** What the other end resets takes effect when all that it sent before has come (section 5.2.2, E2). */
  perform(): void {
    const request = this.#deferred
    if (request === undefined || ahead32(request.lastTsn, this.#host.cumulative()) > 0) return
    this.#deferred = undefined
    this.#result = Result.Performed
    // None is all (section 4.1).
    const streams = request.streams.length > 0 ? request.streams : this.#host.streams()
    this.#finish("incoming", streams)
    // And this end resets what it sends on them.
    for (const streamId of streams) if (this.#half.incoming.has(streamId)) this.want(streamId)
  }

  #finish(direction: "outgoing" | "incoming", streams: ReadonlyArray<number>): void {
    const other = this.#half[direction === "outgoing" ? "incoming" : "outgoing"]
    for (const streamId of streams) {
      if (!other.delete(streamId)) this.#half[direction].add(streamId)
    }
    this.#host.onReset(direction, streams)
  }
}
