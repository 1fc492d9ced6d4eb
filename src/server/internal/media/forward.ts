/**
 * One track of another connection, on its way to a client: the layer that the
 * client gets, and its packets as one stream without gaps.
 */
import type { RTCRtpTransceiver, RtpPacket } from "werift"
import * as WeriftMedia from "../../../node/internal/werift/media.ts"
import type { Rid } from "../../../SoraMethod.ts"
import type { Member } from "../member.ts"
import { choose, requestedRid } from "./layers.ts"
import type { Sink, Source } from "./source.ts"

/** Timestamps of video count so many ticks in a millisecond. */
const TicksPerMilli = 90

export class Forward implements Sink {
  active = false
  readonly source: Source
  readonly receiver: Member
  readonly transceiver: RTCRtpTransceiver
  readonly #millis: () => number
  readonly #onSwitched: (previous: Rid, current: Rid) => void
  /** What is asked for: a layer, `none`, or the empty name of a track that is not simulcast. */
  #wanted = ""
  #current: string | undefined
  #sentAt: number | undefined
  readonly #unsubscribe: () => void

  constructor(options: {
    readonly source: Source
    readonly receiver: Member
    readonly transceiver: RTCRtpTransceiver
    readonly millis: () => number
    /** What the sender sends has changed, and with it the layer that the receiver gets. */
    readonly onSwitched: (previous: Rid, current: Rid) => void
  }) {
    const { source, transceiver } = options
    this.source = source
    this.receiver = options.receiver
    this.transceiver = transceiver
    this.#millis = options.millis
    this.#onSwitched = options.onSwitched
    source.sinks.add(this)
    this.#unsubscribe = WeriftMedia.onKeyframeRequest(transceiver, () => {
      if (this.#current !== undefined) source.requestKeyframe(this.#current)
    })
    this.refresh()
  }

  /** The receiver may have asked for another layer, or the sender may send others. */
  refresh() {
    const requested = requestedRid(this.receiver, this.source.member)
    const { sent, simulcast } = this.source
    const unnamed = !simulcast || sent.length === 0 && requested !== "none"
    this.#wanted = unnamed ? "" : choose(requested, sent)
    if (this.#wanted === "none") this.#current = undefined
    else if (this.active && this.#wanted !== this.#current) this.source.requestKeyframe(this.#wanted)
  }

  onLayers(before: ReadonlyArray<Rid>) {
    // What a receiver did not get yet is not taken from it.
    const received = this.#current !== undefined
    this.refresh()
    if (!received || !this.receiver.simulcast) return
    const requested = requestedRid(this.receiver, this.source.member)
    this.#onSwitched(choose(requested, before), choose(requested, this.source.sent))
  }

  activate() {
    if (this.active) return
    this.active = true
    this.refresh()
  }

  onPacket(rid: string, packet: RtpPacket, isKey: () => boolean) {
    if (!this.active) return
    const now = this.#millis()
    if (this.source.kind === "video") {
      if (this.#wanted === "none") return
      if (rid === this.#wanted && rid !== this.#current) {
        // Only a keyframe can be decoded without the frames before it.
        if (!isKey()) this.source.requestKeyframe(rid)
        else {
          if (this.#sentAt !== undefined) {
            const gap = Math.max(1, Math.round(now - this.#sentAt)) * TicksPerMilli
            WeriftMedia.continueWith(this.transceiver, packet.header, gap)
          }
          this.#current = rid
        }
      }
      if (rid !== this.#current) return
    }
    this.#sentAt = now
    this.transceiver.sender.sendRtp(packet).catch(() => {})
  }

  release() {
    this.active = false
    this.#unsubscribe()
    this.source.sinks.delete(this)
  }
}
