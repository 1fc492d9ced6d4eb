/**
 * One track that a client sends: which layers of it arrive, and the packets for
 * whoever wants them.
 */
import type { MediaStreamTrack, RTCRtpTransceiver, RtpPacket } from "werift"
import * as WeriftMedia from "../../../node/internal/werift/media.ts"
import type { Rid } from "../../../SoraMethod.ts"
import type { Member } from "../member.ts"
import { beginsKeyframe, type Codec } from "./codecs.ts"
import { Layers } from "./layers.ts"

export type Kind = "audio" | "video"

/** A layer of which nothing came for this long is not sent any more. */
const LayerTimeoutMillis = 3000

/** A keyframe is asked for at most this often. */
const KeyframeMillis = 300

/** SSRCs of a simulcast sender that are kept with the names of their layers. */
const MaxSsrcs = 64

/** A sender is told this often what it may send. */
const EstimateMillis = 1000

/** Who gets the packets. */
export interface Sink {
  readonly onPacket: (rid: string, packet: RtpPacket, isKey: () => boolean) => void
  /** The sender sends other layers than `before`. */
  readonly onLayers: (before: ReadonlyArray<Rid>) => void
  readonly release: () => void
}

export class Source {
  /** The layers that arrive, lowest first; none of a track that is not simulcast. */
  sent: ReadonlyArray<Rid> = []
  /** Whether the client has agreed to send it. */
  live = false
  readonly sinks = new Set<Sink>()
  readonly member: Member
  readonly kind: Kind
  readonly transceiver: RTCRtpTransceiver
  /** Whether the client sends two channels. */
  readonly stereo: boolean
  readonly #inactive: ReadonlySet<string>
  readonly #bitsPerSecond: number
  readonly #millis: () => number
  readonly #fail: () => void
  readonly #ssrcs = new Map<string, { ssrc: number; at: number; askedAt: number }>()
  readonly #rids = new Map<number, string>()
  readonly #unsubscribe: Array<() => void> = []
  #codec = ""
  #estimatedAt = -Infinity

  constructor(options: {
    readonly member: Member
    readonly kind: Kind
    readonly transceiver: RTCRtpTransceiver
    readonly stereo: boolean
    /** Layers that the client is not to send; they reach nobody. */
    readonly inactive: ReadonlySet<string>
    /** What the client may send. */
    readonly bitsPerSecond: number
    /** Time that has passed, since whenever. */
    readonly millis: () => number
    /** Something threw that should not have. */
    readonly fail: () => void
  }) {
    const { transceiver } = options
    this.member = options.member
    this.kind = options.kind
    this.transceiver = transceiver
    this.stereo = options.stereo
    this.#inactive = options.inactive
    this.#bitsPerSecond = options.bitsPerSecond
    this.#millis = options.millis
    this.#fail = options.fail
    if (this.simulcast) WeriftMedia.ignoreLosses(transceiver)
    this.#unsubscribe.push(
      transceiver.onTrack.subscribe((track: MediaStreamTrack) => {
        this.#unsubscribe.push(
          track.onReceiveRtp.subscribe((packet) => this.#guarded(() => this.#onPacket(track.rid, packet))).unSubscribe
        )
      }).unSubscribe
    )
  }

  get simulcast(): boolean {
    return WeriftMedia.isSimulcast(this.transceiver)
  }

  get codec(): Codec | undefined {
    return this.transceiver.codecs.find(({ name }) => name.toLowerCase() !== "rtx")
  }

  /** What is thrown here would end the process: it is called by werift's sockets. */
  #guarded(use: () => void) {
    try {
      use()
    } catch {
      this.#fail()
    }
  }

  #onPacket(name: string | undefined, packet: RtpPacket) {
    if (!this.live) return
    const now = this.#millis()
    const { header } = packet
    if (name !== undefined) {
      // A layer has one SSRC, and perhaps a few more over time.
      if (this.#rids.size >= MaxSsrcs) this.#rids.clear()
      this.#rids.set(header.ssrc, name)
    }
    // A browser names the layer in its first packets only, and may have told the SSRC before.
    const rid = name ?? this.#rids.get(header.ssrc) ?? ""
    if (this.#inactive.has(rid)) return
    const known = this.#ssrcs.get(rid)
    if (known === undefined) this.#ssrcs.set(rid, { ssrc: header.ssrc, at: now, askedAt: now - KeyframeMillis })
    else Object.assign(known, { ssrc: header.ssrc, at: now })
    if (Layers.some((layer) => layer === rid && !this.sent.includes(layer))) this.lookAtLayers()
    if (this.kind === "video" && now - this.#estimatedAt > EstimateMillis) {
      this.#estimatedAt = now
      // werift does not estimate what a client may send, and a browser that is told nothing begins with next to nothing.
      WeriftMedia.sendEstimate(
        this.transceiver,
        this.#bitsPerSecond,
        Array.from(this.#ssrcs.values(), ({ ssrc }) => ssrc)
      )
    }
    // The ids of the extensions, and the padding, are a matter of the sender's transport.
    header.extensions = []
    header.extension = false
    header.padding = false
    header.paddingSize = 0
    let key: boolean | undefined
    const isKey = () => key ??= this.#isKey(packet)
    for (const sink of this.sinks) {
      try {
        sink.onPacket(rid, packet, isKey)
      } catch {
        // Of one receiver, which is none of the others' business, nor the sender's.
        sink.release()
      }
    }
  }

  #isKey(packet: RtpPacket): boolean {
    this.#codec ||= this.codec?.mimeType.toLowerCase() ?? ""
    try {
      return beginsKeyframe(this.#codec, packet.payload)
    } catch {
      return false
    }
  }

  /** Which layers arrive: asked when a new one does, and every so often, because one may stop. */
  lookAtLayers() {
    const now = this.#millis()
    const isSent = (rid: Rid) => {
      const ssrc = this.#ssrcs.get(rid)
      return ssrc !== undefined && now - ssrc.at < LayerTimeoutMillis
    }
    const sent = Layers.filter(isSent)
    // A sender that pauses altogether has its layers still.
    if (sent.length === 0 || sent.join() === this.sent.join()) return
    const before = this.sent
    this.sent = sent
    for (const sink of this.sinks) sink.onLayers(before)
  }

  requestKeyframe(rid: string) {
    const layer = this.#ssrcs.get(rid)
    const now = this.#millis()
    if (layer === undefined || now - layer.askedAt < KeyframeMillis) return
    layer.askedAt = now
    this.transceiver.receiver.sendRtcpPLI(layer.ssrc).catch(() => {})
  }

  release() {
    this.live = false
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    this.sinks.clear()
  }
}
