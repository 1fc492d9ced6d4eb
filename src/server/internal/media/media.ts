/**
 * Audio and video of a connection: the sections of its offers, and the packets
 * that go from those who send to those who receive.
 *
 * A client that sends gets one section per kind in its first offer. A client
 * that receives gets one section per track of another connection, by `re-offer`,
 * whenever such a track begins or ends. Of a simulcast sender it gets the layer
 * that it asked for, as long as that is not `none`; the packets are those of the
 * sender, with SSRC, sequence numbers and timestamps made continuous. Nothing is
 * decoded, recorded or adapted to the receiver's bandwidth, and a spotlight is
 * not looked at.
 */
import {
  type MediaStream,
  type MediaStreamTrack,
  type PeerConfig,
  PictureLossIndication,
  ReceiverEstimatedMaxBitrate,
  RtcpPayloadSpecificFeedback,
  type RTCRtpCodecParameters,
  type RTCRtpTransceiver,
  type RtpPacket,
  useAV1,
  useH264,
  useOPUS,
  useSdesMid,
  useSdesRTPStreamId,
  useVP8,
  useVP9,
  Vp8RtpPayload,
  Vp9RtpPayload
} from "werift"
import type { WeriftPeer } from "../../../node/internal/werift/peer.ts"
import type * as Signaling from "../../../Signaling.ts"
import type { Rid } from "../../../SoraMethod.ts"
import { makeId } from "../ids.ts"
import { type Channels, type Member, timestamp } from "../rooms.ts"

type Kind = "audio" | "video"

/** Lowest first. */
const Layers: ReadonlyArray<Rid> = ["r0", "r1", "r2"]

const Order: ReadonlyArray<Rid> = ["none", ...Layers]

/** A layer of which nothing came for this long is not sent any more. */
const LayerTimeoutMillis = 3000

/** A keyframe is asked for at most this often. */
const KeyframeMillis = 300

/** SSRCs of a simulcast sender that are kept with the names of their layers. */
const MaxSsrcs = 64

/** A sender is told this often what it may send. */
const EstimateMillis = 1000

/** The bit rate of video when the client names none, in kbit/s, and what may be sent beside it. A guess. */
const DefaultVideoKilobits = 2000
const HeadroomKilobits = 500

/** How the layers share the bit rate. A guess: roughly what libwebrtc does. */
const Shares = { r0: 0.07, r1: 0.23, r2: 0.7 }

/** VP8 is the default, not Sora's VP9: it is what every client, and simulcast in every browser, can do. */
const videoCodecs: Record<string, () => RTCRtpCodecParameters> = {
  VP8: () => useVP8(),
  VP9: () => useVP9({ parameters: "profile-id=0" }),
  H264: () => useH264(),
  AV1: () => useAV1()
}

/** What the server's peers need for media. One transport, whatever sections there are. */
export const peerConfig = (): Partial<PeerConfig> => {
  // The same object for both kinds: in a bundle an id has one meaning.
  const mid = useSdesMid()
  return {
    bundlePolicy: "max-bundle",
    codecs: {
      audio: [useOPUS({ parameters: "minptime=10;useinbandfec=1" })],
      video: Object.values(videoCodecs).map((make) => make())
    },
    headerExtensions: { audio: [mid], video: [mid, useSdesRTPStreamId()] }
  }
}

/** Whether a decoder can begin with this packet. */
const beginsKeyframe = (codec: string, payload: Buffer): boolean => {
  if (payload.length < 4) return false
  switch (codec) {
    case "video/vp8":
      return Vp8RtpPayload.deSerialize(payload).isKeyframe
    case "video/vp9":
      return Vp9RtpPayload.deSerialize(payload).isKeyframe
    case "video/av1":
      return (payload[0]! & 0x08) !== 0
    case "video/h264": {
      // The parameter sets, which come first: alone, or at the front of an aggregate.
      const type = payload[0]! & 0x1f
      return type === 7 || type === 24 && (payload[3]! & 0x1f) === 7
    }
    default:
      return true
  }
}

/** Of the layers that are sent: the best that is not above the one asked for (section 4.6), else the lowest. */
const choose = (requested: Rid, sent: ReadonlyArray<Rid>): Rid => {
  if (requested === "none" || sent.length === 0) return requested
  return Layers.findLast((rid) => sent.includes(rid) && Layers.indexOf(rid) <= Layers.indexOf(requested)) ??
    Layers.find((rid) => sent.includes(rid)) ?? requested
}

const requestedRid = (receiver: Member, sender: Member): Rid =>
  receiver.rids.bySender.get(sender.connectionId) ?? receiver.rids.all

/** One track that a client sends. */
class Source {
  /** The layers that arrive, lowest first; none of a track that is not simulcast. */
  sent: ReadonlyArray<Rid> = []
  live = false
  readonly forwards = new Set<Forward>()
  readonly member: Member
  readonly kind: Kind
  readonly transceiver: RTCRtpTransceiver
  readonly #bitsPerSecond: number
  readonly #onLayers: (source: Source, before: ReadonlyArray<Rid>) => void
  readonly #fail: () => void
  readonly #ssrcs = new Map<string, { ssrc: number; at: number; askedAt: number }>()
  readonly #rids = new Map<number, string>()
  readonly #unsubscribe: Array<() => void> = []
  #codec = ""
  #estimatedAt = 0
  #watch: ReturnType<typeof setInterval> | undefined

  constructor(
    member: Member,
    kind: Kind,
    transceiver: RTCRtpTransceiver,
    bitsPerSecond: number,
    onLayers: (source: Source, before: ReadonlyArray<Rid>) => void,
    fail: () => void
  ) {
    this.member = member
    this.kind = kind
    this.transceiver = transceiver
    this.#bitsPerSecond = bitsPerSecond
    this.#onLayers = onLayers
    this.#fail = fail
    const { receiver } = transceiver
    // werift counts losses over all layers together, whose sequence numbers have nothing to do with each other.
    if (this.simulcast) receiver["nack"].addPacket = () => {}
    this.#unsubscribe.push(
      transceiver.onTrack.subscribe((track: MediaStreamTrack) => {
        this.#unsubscribe.push(
          track.onReceiveRtp.subscribe((packet) => this.#guarded(() => this.#onPacket(track.rid, packet))).unSubscribe
        )
      }).unSubscribe
    )
  }

  get simulcast() {
    return this.transceiver.options.simulcast !== undefined
  }

  get codec(): RTCRtpCodecParameters | undefined {
    return this.transceiver.codecs.find(({ name }) => name.toLowerCase() !== "rtx")
  }

  /** What is thrown here would end the process: it is called by werift's sockets, or a timer. */
  #guarded(use: () => void) {
    try {
      use()
    } catch {
      this.#fail()
    }
  }

  #onPacket(name: string | undefined, packet: RtpPacket) {
    if (!this.live) return
    const now = performance.now()
    const { header } = packet
    if (name !== undefined) {
      // A layer has one SSRC, and perhaps a few more over time.
      if (this.#rids.size >= MaxSsrcs) this.#rids.clear()
      this.#rids.set(header.ssrc, name)
    }
    // A browser names the layer in its first packets only, and may have told the SSRC before.
    const rid = name ?? this.#rids.get(header.ssrc) ?? ""
    const known = this.#ssrcs.get(rid)
    if (known === undefined) this.#ssrcs.set(rid, { ssrc: header.ssrc, at: now, askedAt: -KeyframeMillis })
    else Object.assign(known, { ssrc: header.ssrc, at: now })
    if (Layers.includes(rid as Rid) && !this.sent.includes(rid as Rid)) this.#lookAtLayers(now)
    if (this.kind === "video" && now - this.#estimatedAt > EstimateMillis) this.#sendEstimate(now)
    // The ids of the extensions, and the padding, are a matter of the sender's transport.
    header.extensions = []
    header.extension = false
    header.padding = false
    header.paddingSize = 0
    let key: boolean | undefined
    const isKey = () => key ??= this.#isKey(packet)
    for (const forward of this.forwards) {
      try {
        forward.onPacket(rid, packet, isKey)
      } catch {
        // Of one receiver, which is none of the others' business, nor the sender's.
        forward.release()
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

  #lookAtLayers(now: number) {
    this.#watch ??= setInterval(() => this.#guarded(() => this.#lookAtLayers(performance.now())), 1000).unref()
    const sent = Layers.filter((rid) => now - (this.#ssrcs.get(rid)?.at ?? -LayerTimeoutMillis) < LayerTimeoutMillis)
    // A sender that pauses altogether has its layers still.
    if (sent.length === 0 || sent.join() === this.sent.join()) return
    const before = this.sent
    this.sent = sent
    this.#onLayers(this, before)
  }

  /** werift does not estimate what a client may send, and a browser that is told nothing begins with next to nothing. */
  #sendEstimate(now: number) {
    this.#estimatedAt = now
    const exponent = Math.max(0, Math.ceil(Math.log2(this.#bitsPerSecond / 0x3ffff)))
    const ssrcFeedbacks = Array.from(this.#ssrcs.values(), ({ ssrc }) => ssrc)
    const feedback = new ReceiverEstimatedMaxBitrate({
      senderSsrc: this.transceiver.receiver.rtcpSsrc,
      mediaSsrc: 0,
      ssrcNum: ssrcFeedbacks.length,
      brExp: exponent,
      brMantissa: Math.floor(this.#bitsPerSecond / 2 ** exponent),
      ssrcFeedbacks
    })
    this.transceiver.dtlsTransport.sendRtcp([new RtcpPayloadSpecificFeedback({ feedback })]).catch(() => {})
  }

  requestKeyframe(rid: string) {
    const layer = this.#ssrcs.get(rid)
    const now = performance.now()
    if (layer === undefined || now - layer.askedAt < KeyframeMillis) return
    layer.askedAt = now
    this.transceiver.receiver.sendRtcpPLI(layer.ssrc).catch(() => {})
  }

  release() {
    this.live = false
    clearInterval(this.#watch)
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    this.forwards.clear()
  }
}

/** One track of another connection, on its way to a client. */
class Forward {
  active = false
  readonly source: Source
  readonly receiver: Member
  readonly transceiver: RTCRtpTransceiver
  /** What is asked for: a layer, `none`, or the empty name of a track that is not simulcast. */
  #wanted = ""
  #current: string | undefined
  #sentAt = 0
  readonly #unsubscribe: () => void

  constructor(source: Source, receiver: Member, transceiver: RTCRtpTransceiver) {
    this.source = source
    this.receiver = receiver
    this.transceiver = transceiver
    source.forwards.add(this)
    // Not the sender's own event: werift takes the packet for the receiver's when the client sends video as well.
    this.#unsubscribe = transceiver.dtlsTransport.onRtcp.subscribe((packet) => {
      if (packet.type !== RtcpPayloadSpecificFeedback.type || this.#current === undefined) return
      const { feedback } = packet as RtcpPayloadSpecificFeedback
      if (feedback.count !== PictureLossIndication.count) return
      if ((feedback as PictureLossIndication).mediaSsrc === transceiver.sender.ssrc) {
        source.requestKeyframe(this.#current)
      }
    }).unSubscribe
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

  /** Whether a layer is on its way to the receiver. */
  get receives() {
    return this.#current !== undefined
  }

  activate() {
    if (this.active) return
    this.active = true
    this.refresh()
  }

  onPacket(rid: string, packet: RtpPacket, isKey: () => boolean) {
    if (!this.active) return
    if (this.source.kind === "video") {
      if (this.#wanted === "none") return
      if (rid === this.#wanted && rid !== this.#current) {
        // Only a keyframe can be decoded without the frames before it.
        if (!isKey()) this.source.requestKeyframe(rid)
        else {
          if (this.#sentAt > 0) {
            const millis = Math.max(1, Math.round(performance.now() - this.#sentAt))
            this.transceiver.sender.replaceRTP(packet.header, false, millis * 90)
          }
          this.#current = rid
        }
      }
      if (rid !== this.#current) return
    }
    this.#sentAt = performance.now()
    this.transceiver.sender.sendRtp(packet).catch(() => {})
  }

  release() {
    this.active = false
    this.#unsubscribe()
    this.source.forwards.delete(this)
  }
}

/** Media of a connection, for the connection. */
export interface Media {
  /** Members of the offer that tell of media. */
  readonly offered: Pick<
    Signaling.Offer,
    "mid" | "encodings" | "audioCodecType" | "audioBitRate" | "videoCodecType" | "videoBitRate"
  >
  /** Whether a new offer would have other sections than the last one. */
  readonly isStale: () => boolean
  /** Sees to the sections of the offer that is made next. */
  readonly beforeOffer: () => void
  /** The client's answer was applied. */
  readonly afterAnswer: () => void
  /** The connection is in its channel, and may be sent offers. */
  readonly join: () => void
  /** Nothing of the connection is used any more. */
  readonly release: () => void
}

interface Entry {
  readonly sources: () => ReadonlyArray<Source>
  readonly forwards: ReadonlyMap<string, Forward>
  readonly wake: () => void
}

const entries = new WeakMap<Member, Entry>()

const sourcesOf = (member: Member): ReadonlyArray<Source> => entries.get(member)?.sources() ?? []

/** The layer that a receiver gets of a sender, or will get as soon as the sender sends something. */
export const currentRid = (receiver: Member, sender: Member): Rid =>
  choose(requestedRid(receiver, sender), sourcesOf(sender).find(({ kind }) => kind === "video")?.sent ?? [])

/** A receiver has asked for other layers. */
export const refresh = (receiver: Member): void => {
  for (const forward of entries.get(receiver)?.forwards.values() ?? []) forward.refresh()
}

/** Tells a receiver that a sender's layer has changed (section 6.3). */
export const tellSwitched = (receiver: Member, sender: Member, change: {
  readonly previous: Rid
  readonly current: Rid
  readonly trigger: "sender" | "receiver"
  readonly now: number
}): void => {
  const { current, now, previous, trigger } = change
  if (current === previous) return
  receiver.deliver("notify", {
    _tag: "simulcast.switched",
    type: "notify",
    timestamp: timestamp(now),
    senderConnectionId: sender.connectionId,
    priority: Order.indexOf(current) > Order.indexOf(previous) ? "higher" : "lower",
    trigger,
    rpcRids: receiver.rpcRids,
    autoRids: [...Layers],
    requestRid: requestedRid(receiver, sender),
    currentRid: current,
    previousRid: previous
  })
}

const optionsOf = <A extends object>(asked: boolean | A | undefined): Partial<A> =>
  typeof asked === "object" ? asked : {}

/**
 * Media of one connection. `wake` is called when a new offer may be due: when a
 * track that this client should receive begins or ends.
 */
export const make = (options: {
  readonly peer: WeriftPeer
  readonly member: Member
  readonly connect: Signaling.Connect
  readonly channels: Channels
  readonly now: () => number
  readonly wake: () => void
  /** Something threw that should not have. */
  readonly fail: () => void
}): Media => {
  const { channels, connect, fail, member, now, peer, wake } = options
  const audio = optionsOf(connect.audio)
  const video = optionsOf(connect.video)
  const sends = member.role !== "recvonly"
  const receives = member.role !== "sendonly"
  const kinds = (["audio", "video"] as const).filter((kind) => member[kind])
  const configured = peer.config.codecs
  const wantedCodec = `video/${video.codecType ?? "VP8"}`.toLowerCase()
  const videoCodec = configured.video?.find(({ mimeType }) => mimeType.toLowerCase() === wantedCodec) ??
    configured.video?.find(({ mimeType }) => mimeType.toLowerCase() === "video/vp8") ?? configured.video?.[0]
  const videoCodecType = videoCodec?.name ?? "VP8"
  const kilobits = video.bitRate ?? DefaultVideoKilobits
  const sources: Array<Source> = []
  const forwards = new Map<string, Forward>()
  let joined = false
  let released = false

  const add = (kind: Kind, codec: RTCRtpCodecParameters | undefined, more: {
    readonly direction: "recvonly" | "sendonly"
    readonly simulcast?: Array<{ rid: string; direction: "recv" }>
    readonly streams?: Array<MediaStream>
  }) => {
    const transceiver = peer.addTransceiver(kind, more)
    // The kind in the name, as Sora does it: official SDKs look for it.
    transceiver.mid = `${kind}_${makeId().slice(-6)}`
    if (codec !== undefined) transceiver.setCodecPreferences([codec])
    return transceiver
  }

  const onLayers = (source: Source, before: ReadonlyArray<Rid>) => {
    for (const forward of source.forwards) {
      const { receiver, receives } = forward
      forward.refresh()
      // What a receiver did not get yet is not taken from it.
      if (!receives || !receiver.simulcast) continue
      const requested = requestedRid(receiver, member)
      tellSwitched(receiver, member, {
        previous: choose(requested, before),
        current: choose(requested, source.sent),
        trigger: "sender",
        now: now()
      })
    }
  }

  if (sends) {
    for (const kind of kinds) {
      const layered = kind === "video" && member.simulcast
      const transceiver = add(kind, kind === "video" ? videoCodec : configured.audio?.[0], {
        direction: "recvonly",
        ...(layered ? { simulcast: Layers.map((rid) => ({ rid, direction: "recv" as const })) } : {})
      })
      sources.push(new Source(member, kind, transceiver, (kilobits + HeadroomKilobits) * 1000, onLayers, fail))
    }
  }

  const encodings = sends && member.video && member.simulcast
    ? Layers.map((rid, i) => ({
      rid,
      active: true,
      maxBitrate: Math.round(kilobits * 1000 * Shares[rid as keyof typeof Shares]),
      scaleResolutionDownBy: 2 ** (2 - i),
      // Without it a browser makes spatial layers of one stream, of these codecs.
      ...(videoCodecType === "VP9" || videoCodecType === "AV1" ? { scalabilityMode: "L1T1" } : {})
    }))
    : []

  const liveSources = (): ReadonlyArray<Source> => joined && !released ? sources.filter(({ live }) => live) : []

  /** The tracks that this client is to receive. */
  const wanted = (): ReadonlyMap<string, Source> => {
    const found = new Map<string, Source>()
    if (!receives || !joined || released) return found
    for (const other of channels.members(member.channelId)) {
      if (other === member || other.bundleId === member.bundleId) continue
      for (const source of sourcesOf(other)) {
        if (member[source.kind]) found.set(`${other.connectionId}/${source.kind}`, source)
      }
    }
    return found
  }

  const wakeOthers = () => {
    for (const other of channels.members(member.channelId)) {
      if (other !== member && other.bundleId !== member.bundleId) entries.get(other)?.wake()
    }
  }

  entries.set(member, { sources: liveSources, forwards, wake })

  return {
    offered: {
      mid: Object.fromEntries(sources.map(({ kind, transceiver }) => [kind, transceiver.mid])),
      encodings,
      ...(member.audio ? { audioCodecType: "OPUS" } : {}),
      ...(member.audio && audio.bitRate !== undefined ? { audioBitRate: audio.bitRate } : {}),
      ...(member.video ? { videoCodecType } : {}),
      ...(member.video && video.bitRate !== undefined ? { videoBitRate: video.bitRate } : {})
    },
    isStale: () => {
      const target = wanted()
      return target.size !== forwards.size || Array.from(target.keys()).some((key) => !forwards.has(key))
    },
    beforeOffer: () => {
      const target = wanted()
      for (const [key, forward] of Array.from(forwards)) {
        if (target.has(key)) continue
        forward.release()
        forwards.delete(key)
        forward.transceiver.stop()
      }
      for (const [key, source] of target) {
        if (forwards.has(key)) continue
        const transceiver = add(source.kind, sameCodec(configured[source.kind], source.codec), {
          direction: "sendonly",
          streams: [{ id: source.member.connectionId } as MediaStream]
        })
        forwards.set(key, new Forward(source, member, transceiver))
      }
    },
    afterAnswer: () => {
      let changed = false
      for (const source of sources) {
        const { currentDirection, stopped } = source.transceiver
        const live = !stopped && currentDirection === "recvonly"
        changed ||= live !== source.live
        source.live = live
      }
      for (const forward of forwards.values()) {
        // One that the client rejects stays as it is: it would be rejected again.
        if (forward.transceiver.currentDirection === "sendonly") forward.activate()
      }
      if (changed && joined) wakeOthers()
    },
    join: () => {
      joined = true
      if (liveSources().length > 0) wakeOthers()
    },
    release: () => {
      if (released) return
      const sending = liveSources().length > 0
      released = true
      for (const forward of forwards.values()) forward.release()
      forwards.clear()
      for (const source of sources) source.release()
      entries.delete(member)
      if (sending) wakeOthers()
    }
  }
}

const sameCodec = (
  codecs: ReadonlyArray<RTCRtpCodecParameters> | undefined,
  codec: RTCRtpCodecParameters | undefined
): RTCRtpCodecParameters | undefined =>
  codecs?.find(({ mimeType }) => mimeType.toLowerCase() === codec?.mimeType.toLowerCase())
