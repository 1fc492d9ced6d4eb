/**
 * An association's transfer of data, in the place of werift's: when packets are
 * written, and what is in them. werift sets the association up, keeps its
 * heartbeat and ends it.
 */
import type { RTCSctpTransport } from "werift"
import { Chunk, everyParam, Packets, readData, readForward, readSack, type ReceivedChunk } from "./packet.ts"
import { Receiving } from "./receiving.ts"
import { Resets } from "./resets.ts"
import { type Message, Sending } from "./sending.ts"
import { ahead32 } from "./serial.ts"

/** werift's association. Of what is private to it, `version.ts` looks whether it is there. */
type Sctp = RTCSctpTransport["sctp"]

/**
 * What an association must not be made to bear by the other end.
 *
 * @internal
 */
export interface Limits {
  /** Of messages that are not complete, or came before their turn, beyond the window of 1 MiB, and one more for what they wait for. */
  readonly maxBytes: number
  /** Called when something cannot be read, does not fit, or is beyond the limit and nothing would move any more; it is dropped. */
  readonly onBad: () => void
}

/** What the other end may send that is not acknowledged. */
const MaxWindow = 1024 * 1024

/** What there is to say of one packet that came may wait as long for something to send with it (RFC 9260, section 6.2). */
const AcknowledgeWithinMillis = 20

/**
 * Packets that are sent at a time (section 6.1, D), for one turn of the event loop; what else may go follows in the next
 * one. With 16, and the rest only when something was heard, both ends waited for each other: a third fewer calls.
 */
const MaxBurst = 32

/** Of a packet with an acknowledgement, and of one that says what was given up, before what each entry has 4 for. */
const SackHeadBytes = 28
const ForwardHeadBytes = 20

/** @internal */
export class Transfer {
  limits: Limits
  /** Whether the other end has sent data. */
  hasReceived = false
  readonly #sctp: Sctp
  readonly #sending: Sending
  readonly #receiving: Receiving
  readonly #resets: Resets
  /** Packets that came and were not acknowledged. */
  #unacknowledged = 0
  /** Whether the next packet is to go with others of this turn, and whether a packet is just being read. */
  #isDue = false
  #isReading = false
  #timeoutAt = Infinity
  #timerAt = Infinity

  constructor(
    sctp: Sctp,
    limits: Limits,
    host: { readonly streams: () => ReadonlyArray<number>; readonly onReset: (streams: ReadonlyArray<number>) => void }
  ) {
    this.#sctp = sctp
    this.limits = limits
    const initialTsn = sctp["localTsn"]
    const remoteInitialTsn = (sctp["lastReceivedTsn"]! + 1) >>> 0
    this.#sending = new Sending({ initialTsn, window: sctp["peerAdvertisedRwnd"], maxPiece: sctp["maxPayloadSize"] })
    this.#receiving = new Receiving(remoteInitialTsn, (streamId, protocol, data) => {
      sctp.onReceive.execute(streamId, protocol, data)
    })
    this.#resets = new Resets({
      isBusy: (streamId) => this.#sending.isBusy(streamId),
      lastSent: () => this.#sending.lastTsn,
      cumulative: () => this.#receiving.cumulative,
      streams: host.streams,
      send: (type, body) => {
        const packets = this.#packets()
        packets.reconfig(type, body)
        packets.end()
      },
      onReset: (direction, streams) => {
        for (const streamId of streams) {
          if (direction === "outgoing") this.#sending.reset(streamId)
          else this.#receiving.reset(streamId)
        }
        host.onReset(streams)
      },
      setTimer: (isRunning) => {
        clearTimeout(sctp["timerReconfigHandle"] as ReturnType<typeof setTimeout> | undefined)
        sctp["timerReconfigHandle"] = isRunning
          ? setTimeout(() => this.#isOver || this.#resets.expire(), this.#sending.congestion.timeout)
          : undefined
      }
    }, { initialTsn, remoteInitialTsn })
  }

  get #isOver(): boolean {
    return this.#sctp["isStopped"] || this.#sctp.state === "closed"
  }

  /** What werift and others read of it: packets and bytes that wait, or wait to be acknowledged. */
  get queue() {
    return this.#sending.queue
  }
  get sent() {
    return this.#sending.sent
  }
  get flight() {
    return this.#sending.flight
  }

  send(message: Message): void {
    if (this.#isOver) return
    this.#sending.add(message)
    this.#schedule()
  }

  /** Resets the stream when everything on it has arrived. */
  reset(streamId: number): void {
    this.#resets.want(streamId)
  }

  isResetting(streamId: number): boolean {
    return this.#resets.isBusy(streamId)
  }

  /** Nothing is kept of what will not be sent. */
  end(): void {
    this.#sending.queue = []
    this.#sending.sent = []
    this.#sending.flight = 0
  }

  #packets(): Packets {
    const sctp = this.#sctp
    const header = {
      localPort: sctp["localPort"],
      remotePort: sctp["remotePort"]!,
      verificationTag: sctp["remoteVerificationTag"]
    }
    return new Packets(sctp["mtu"], header, (packet) => {
      sctp.transport.send(packet).catch(() => {
        // It is sent again, or the transport says for itself that it has ended.
      })
    })
  }

  /** Reads the chunks that are about data; `control` gets the others. */
  receive(chunks: ReadonlyArray<ReceivedChunk>, control: (chunk: ReceivedChunk) => void): void {
    this.#isReading = true
    try {
      let hasData = false
      for (const chunk of chunks) {
        if (this.#isOver) return
        const { body, flags, type } = chunk
        if (type === Chunk.Data) {
          hasData = true
          this.#receiveData(flags, body)
        } else if (type === Chunk.ForwardTsn) {
          hasData = true
          this.#receiving.forward(readForward(body))
        } else if (type === Chunk.Sack) {
          if (this.#sending.acknowledge(readSack(body), performance.now())) this.#restartTimer()
        } else if (type === Chunk.Reconfig) everyParam(body, (type, param) => this.#resets.receive(type, param))
        else control(chunk)
      }
      if (hasData) {
        this.hasReceived = true
        this.#unacknowledged++
        this.#resets.perform()
      }
      this.#resets.ask()
    } finally {
      this.#isReading = false
    }
    // Of what is missing the other end hears with each packet, and so knows it for lost after three (section 6.7).
    if (this.#unacknowledged > 0 && this.#receiving.isMissing) this.#flush()
    else this.#schedule()
  }

  #receiveData(flags: number, body: Buffer): void {
    const { limits } = this
    const piece = readData(flags, body)
    // What the others wait for is taken for longer: without it they would wait for ever.
    const isNext = ahead32(piece.tsn, this.#receiving.cumulative) === 1
    if (this.#receiving.held > (isNext ? 2 : 1) * MaxWindow + limits.maxBytes) {
      // The others are dropped as if they were lost: the window counts data alone, of small pieces it has let more come.
      if (isNext) limits.onBad()
      return
    }
    // One that came already was not acknowledged as the other end sees it.
    if (!this.#receiving.take(piece)) this.#unacknowledged++
  }

  /** At once when nothing is under way, and otherwise together with what else there is in this turn. */
  #schedule(): void {
    if (this.#isReading || this.#isDue || this.#isOver) return
    if (this.#sending.canSend && !this.#sending.isWaiting) return this.#flush()
    if (this.#sending.canSend || this.#unacknowledged > 1) {
      this.#isDue = true
      setImmediate(() => this.#flush())
      return
    }
    if (this.#unacknowledged === 0 || this.#sctp["sackTimeout"] !== undefined) return
    this.#sctp["sackTimeout"] = setTimeout(() => this.#flush(), AcknowledgeWithinMillis)
  }

  #flush(): void {
    this.#isDue = false
    if (this.#isOver) return
    const now = performance.now()
    const packets = this.#packets()
    if (this.#unacknowledged > 0) {
      clearTimeout(this.#sctp["sackTimeout"])
      this.#sctp["sackTimeout"] = undefined
      this.#unacknowledged = 0
      // Open for a message of any size, as long as it is not too much.
      const window = Math.max(0, Math.min(MaxWindow, MaxWindow + this.limits.maxBytes - this.#receiving.held))
      packets.sack({ ...this.#receiving.acknowledgement((this.#sctp["mtu"] - SackHeadBytes) >> 2), window })
    }
    const forward = this.#sending.forward((this.#sctp["mtu"] - ForwardHeadBytes) >> 2)
    if (forward !== undefined) packets.forward(forward)
    const isFirstAgain = this.#sending.transmit(now, (piece) => {
      if (packets.count >= MaxBurst && packets.isNext(piece.data.length)) return false
      packets.data(piece)
      return true
    })
    packets.end()
    // Of a stream that closes the last messages may have been given up just now.
    this.#resets.ask()
    if (isFirstAgain || this.#timeoutAt === Infinity) this.#restartTimer()
    this.#sending.tellLeft()
    if (this.#sending.canSend) this.#schedule()
  }

  /** The clock for what is under way (section 6.3.2). It is only set anew where it would run out too late. */
  #restartTimer(): void {
    const sctp = this.#sctp
    this.#timeoutAt = this.#sending.isWaiting ? performance.now() + this.#sending.congestion.timeout : Infinity
    if (this.#timerAt <= this.#timeoutAt) return
    clearTimeout(sctp["timer3Handle"])
    this.#setTimer()
  }

  #setTimer(): void {
    this.#timerAt = this.#timeoutAt
    const look = () => {
      this.#timerAt = Infinity
      if (this.#isOver || this.#timeoutAt === Infinity) return
      if (this.#timeoutAt - performance.now() > 1) return this.#setTimer()
      this.#sending.expire(performance.now())
      this.#timeoutAt = Infinity
      this.#flush()
    }
    // When what has come is read: where the process was busy the answer may be there.
    this.#sctp["timer3Handle"] = setTimeout(() => setImmediate(look), this.#timerAt - performance.now())
  }
}
