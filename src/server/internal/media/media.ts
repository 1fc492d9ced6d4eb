/**
 * Audio and video of a connection: the sections of its offers, and who gets
 * what.
 *
 * A client that sends gets one section per kind in its first offer. A client
 * that receives gets one section per track of another connection, by `re-offer`,
 * whenever such a track begins or ends. Of a simulcast sender it gets the layer
 * that it asked for, as long as that is not `none`; the packets are those of the
 * sender, with SSRC, sequence numbers and timestamps made continuous. Nothing is
 * decoded, recorded or adapted to the receiver's bandwidth, and a spotlight is
 * not looked at.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as WeriftMedia from "../../../node/internal/werift/media.ts"
import type { WeriftPeer } from "../../../node/internal/werift/peer.ts"
import type * as Signaling from "../../../Signaling.ts"
import type { Rid } from "../../../SoraMethod.ts"
import type { Encoding } from "../../SoraAuth.ts"
import { makeId } from "../ids.ts"
import type { Member } from "../member.ts"
import { timestamp } from "../notify.ts"
import { audioCodecFor, sameCodec, videoCodecFor } from "./codecs.ts"
import { Forward } from "./forward.ts"
import { choose, encodingsOf, isHigher, Layers, requestedRid } from "./layers.ts"
import { type Kind, Source } from "./source.ts"

/** The bit rate of video when the client names none, in kbit/s, and what may be sent beside it. A guess. */
const DefaultVideoKilobits = 2000
const HeadroomKilobits = 500

/** Media of a connection, for the connection and for the others of its channel. */
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
  /** Goes on for as long as there are layers that may stop coming. */
  readonly watch: Effect.Effect<void>
  /** The tracks that the others may have. */
  readonly sources: () => ReadonlyArray<Source>
  /** The tracks of others that this client has a section for. */
  readonly receives: () => ReadonlyArray<Source>
  /** The client has asked for other layers. */
  readonly refresh: () => void
  /** A new offer may be due: a track that this client should receive has begun or ended. */
  readonly wake: () => void
}

/** A connection, as media sees it. */
export interface Party {
  readonly member: Member
  readonly media: Media
  readonly deliver: (label: "notify" | "push", message: Signaling.ServerMessage) => void
}

/** The layer that a receiver gets of a sender, or will get as soon as the sender sends something. */
export const currentRid = (receiver: Party, sender: Party): Rid =>
  choose(
    requestedRid(receiver.member, sender.member),
    sender.media.sources().find(({ kind }) => kind === "video")?.sent ?? []
  )

/** Tells a receiver that a sender's layer has changed (section 6.3). */
export const tellSwitched = (receiver: Omit<Party, "media">, sender: Member, change: {
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
    priority: isHigher(current, previous) ? "higher" : "lower",
    trigger,
    rpcRids: receiver.member.rpcRids,
    autoRids: [...Layers],
    requestRid: requestedRid(receiver.member, sender),
    currentRid: current,
    previousRid: previous
  })
}

const optionsOf = <A extends object>(asked: boolean | A | undefined): Partial<A> =>
  typeof asked === "object" ? asked : {}

const isStereo = Schema.is(Schema.Struct({ stereo: Schema.Literal(true) }))

/** A name for a section, with the kind in it, as Sora does it: official SDKs look for it. */
const makeMid = (kind: Kind) => `${kind}_${makeId().slice(-6)}`

/** Where a connection's media stands. */
type Phase = "connecting" | "joined" | "released"

/** Media of one connection. */
export const make = (options: {
  readonly peer: WeriftPeer
  readonly member: Member
  readonly connect: Signaling.Connect
  /** The layers of a simulcast sender, where the authentication gave any. */
  readonly simulcastEncodings: ReadonlyArray<Encoding> | undefined
  readonly clock: Clock.Clock
  /** The connections of the channel whose media this one may have, and the other way round. */
  readonly others: () => ReadonlyArray<Party>
  readonly deliver: Party["deliver"]
  readonly wake: () => void
  /** Something threw that should not have. */
  readonly fail: () => void
}): Media => {
  const { clock, connect, deliver, fail, member, others, peer, wake } = options
  const audio = optionsOf(connect.audio)
  const video = optionsOf(connect.video)
  const stereo = isStereo(audio.opusParams)
  const sends = member.role !== "recvonly"
  const receives = member.role !== "sendonly"
  const configured = peer.config.codecs
  const videoCodec = videoCodecFor(configured.video, video.codecType)
  const videoCodecType = videoCodec?.name ?? "VP8"
  const kilobits = video.bitRate ?? DefaultVideoKilobits
  const millis = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  const forwards = new Map<string, Forward>()
  let phase: Phase = "connecting"

  const encodings = sends && member.video && member.simulcast ? encodingsOf(kilobits, options.simulcastEncodings) : []
  const inactive = new Set<string>(encodings.filter(({ active }) => active === false).map(({ rid }) => rid))
  const rids = Layers.filter((layer) => encodings.some(({ rid }) => rid === layer))

  const makeSource = (kind: Kind): Source =>
    new Source({
      member,
      kind,
      transceiver: WeriftMedia.addSection(peer, kind, {
        mid: makeMid(kind),
        direction: "recvonly",
        codec: kind === "video" ? videoCodec : audioCodecFor(configured.audio, stereo),
        rids: kind === "video" && member.simulcast ? rids : undefined
      }),
      stereo,
      inactive,
      bitsPerSecond: (kilobits + HeadroomKilobits) * 1000,
      millis,
      fail
    })

  const makeForward = (source: Source): Forward =>
    new Forward({
      source,
      receiver: member,
      transceiver: WeriftMedia.addSection(peer, source.kind, {
        mid: makeMid(source.kind),
        direction: "sendonly",
        codec: source.kind === "audio"
          ? audioCodecFor(configured.audio, source.stereo)
          : sameCodec(configured.video, source.codec),
        streamId: source.member.connectionId
      }),
      millis,
      onSwitched: (previous, current) =>
        tellSwitched({ member, deliver }, source.member, {
          previous,
          current,
          trigger: "sender",
          now: clock.currentTimeMillisUnsafe()
        })
    })

  const sources = sends ? (["audio", "video"] as const).filter((kind) => member[kind]).map(makeSource) : []

  const liveSources = (): ReadonlyArray<Source> => phase === "joined" ? sources.filter(({ live }) => live) : []

  /** The tracks that this client is to receive. */
  const wanted = (): ReadonlyMap<string, Source> => {
    const found = new Map<string, Source>()
    if (!receives || phase !== "joined") return found
    for (const other of others()) {
      for (const source of other.media.sources()) {
        if (member[source.kind]) found.set(`${other.member.connectionId}/${source.kind}`, source)
      }
    }
    return found
  }

  const wakeOthers = () => {
    for (const other of others()) other.media.wake()
  }

  const lookAtLayers = () => {
    try {
      for (const source of sources) source.lookAtLayers()
    } catch {
      fail()
    }
  }

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
        if (!forwards.has(key)) forwards.set(key, makeForward(source))
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
      if (changed && phase === "joined") wakeOthers()
    },
    join: () => {
      phase = "joined"
      if (liveSources().length > 0) wakeOthers()
    },
    release: () => {
      if (phase === "released") return
      const sending = liveSources().length > 0
      phase = "released"
      for (const forward of forwards.values()) forward.release()
      forwards.clear()
      for (const source of sources) source.release()
      if (sending) wakeOthers()
    },
    watch: sources.some(({ simulcast }) => simulcast)
      ? Effect.forever(Effect.andThen(Effect.sleep("1 second"), Effect.sync(lookAtLayers)))
      : Effect.void,
    sources: liveSources,
    receives: () => Array.from(forwards.values(), ({ source }) => source),
    refresh: () => {
      for (const forward of forwards.values()) forward.refresh()
    },
    wake
  }
}
