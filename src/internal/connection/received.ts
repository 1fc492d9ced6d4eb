/**
 * Which tracks of other connections there are: each belongs to a section of the
 * server's SDP, and is gone when a later offer no longer sends it there (RFC
 * 8829, section 5.10). Read from the SDP, because implementations differ in
 * what they tell of it, and werift tells nothing.
 */
import type { TrackEvent } from "../../PeerConnection.ts"

/** @internal */
export interface Received {
  /** A track has come. */
  readonly add: (event: TrackEvent) => void
  /** An offer has been applied. */
  readonly offered: (sdp: string) => void
  /** The peer is closed: all are gone. */
  readonly clear: () => void
}

/** The ids of the streams that each section sends, by its `mid`; none where it names none. */
const sentIn = (sdp: string): ReadonlyMap<string, ReadonlySet<string>> => {
  const sent = new Map<string, ReadonlySet<string>>()
  for (const section of sdp.split(/^m=/m).slice(1)) {
    const mid = /^a=mid:(.*?)\r?$/m.exec(section)?.[1]
    if (mid === undefined || /^\S+ 0[ /]/.test(section) || /^a=(?:inactive|recvonly)\r?$/m.test(section)) continue
    sent.set(mid, new Set(Array.from(section.matchAll(/^a=(?:ssrc:\d+ )?msid:(\S+)/gm), ([, id]) => id!)))
  }
  return sent
}

/** @internal */
export const make = (onRemoved: (event: TrackEvent) => void): Received => {
  const tracks = new Map<string, TrackEvent>()
  const remove = (mid: string, event: TrackEvent) => {
    tracks.delete(mid)
    onRemoved(event)
  }
  return {
    add(event) {
      const mid = event.transceiver?.mid
      if (mid == null) return
      const before = tracks.get(mid)
      if (before !== undefined && before.streams[0]?.id !== event.streams[0]?.id) remove(mid, before)
      tracks.set(mid, event)
    },
    offered(sdp) {
      if (tracks.size === 0) return
      const sent = sentIn(sdp)
      for (const [mid, event] of tracks) {
        const streams = sent.get(mid)
        const id = event.streams[0]?.id
        if (streams === undefined || id !== undefined && streams.size > 0 && !streams.has(id)) remove(mid, event)
      }
    },
    clear() {
      for (const [mid, event] of tracks) remove(mid, event)
    }
  }
}
