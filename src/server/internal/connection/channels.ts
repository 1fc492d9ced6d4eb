/**
 * The DataChannels of a connection, all of which the server opens: who hears
 * what comes on them, and what of them waits to be sent.
 */
import * as Effect from "effect/Effect"
import { letGo, listen } from "../../../internal/dataChannel.ts"
import { isUserLabel, ManagedLabels, MaxMessageBytes } from "../../../internal/protocol.ts"
import { decodeMessage } from "../../../internal/rpc/channel.ts"
import type { Labelled } from "../../../internal/signaling/labelled.ts"
import * as Association from "../../../node/internal/werift/association.ts"
import type { WeriftPeer } from "../../../node/internal/werift/peer.ts"
import * as Sctp from "../../../node/internal/werift/sctp.ts"
import type * as Signaling from "../../../Signaling.ts"
import { internalError } from "../ends.ts"
import type { Settings } from "../options.ts"
import type { Ending } from "./ending.ts"
import { MessageOverheadBytes } from "./inbox.ts"
import type { Event } from "./state.ts"

/** Channels that a client may open itself, which no client has a reason to do. */
const MaxForeignChannels = 32

/** What the client asked of a channel of its own. */
export type Asked = typeof Signaling.DataChannelOptions.Type

export interface ServerChannel extends Labelled {
  /** Of a channel of the application; nothing of those that the server manages. */
  readonly asked: Asked | undefined
}

/** Who hears what does not concern signaling. */
export interface Hearers {
  readonly rpc: (data: unknown) => void
  readonly own: (label: string, data: unknown) => void
}

export interface Channels {
  /** Opens those that the server manages, unless signaling stays on the WebSocket, and those that the client asked for. */
  readonly open: (peer: WeriftPeer, asked: ReadonlyArray<Asked> | undefined, hearers: Hearers) => void
  readonly get: (label: string) => ServerChannel | undefined
  readonly all: () => ReadonlyMap<string, ServerChannel>
  /** Closes one, as a fault: it is not taken for a mistake of the client's. False when there is none. */
  readonly drop: (label: string) => boolean
  /** What waits to be sent or to be acknowledged, in bytes. */
  readonly buffered: () => number
  /** The largest message that the client takes, in bytes; 0 is no limit. */
  readonly maxMessageBytes: () => number
  /** Waits until everything is sent and acknowledged. */
  readonly drained: Effect.Effect<void>
  /** Closes them all. */
  readonly close: () => void
  /** Takes the listeners off. */
  readonly release: () => void
}

export const sizeOf = (data: unknown): number =>
  typeof data === "string" ? data.length : ArrayBuffer.isView(data) || data instanceof ArrayBuffer ? data.byteLength : 0

export const make = (settings: Settings, ending: Ending, post: (event: Event) => void): Channels => {
  const channels = new Map<string, ServerChannel>()
  const detach = new Map<string, () => void>()
  let peer: WeriftPeer | undefined

  const attach = (label: string, made: ServerChannel, { own, rpc }: Hearers) => {
    channels.set(label, made)
    const onMessage = ({ data }: { readonly data: unknown }) => {
      if (ending.isOver()) return
      // More than the offer allows; werift does not look at it.
      if (sizeOf(data) > MaxMessageBytes) return ending.end(internalError)
      if (label === "rpc") return rpc(data)
      if (isUserLabel(label)) return own(label, data)
      let text: string
      try {
        text = decodeMessage(data, made.compress, settings.maxInflatedBytes)
      } catch {
        return ending.end(internalError)
      }
      post({ _tag: "ChannelMessage", label, text })
    }
    detach.set(
      label,
      listen(made.channel, {
        open: () => post({ _tag: "ChannelOpen", label }),
        message: onMessage,
        close: () => post({ _tag: "ChannelClosed", label })
      })
    )
  }

  return {
    open(made, asked, hearers) {
      peer = made
      if (asked !== undefined) {
        for (const label of ManagedLabels) {
          if (label === "rpc" && !settings.rpc) continue
          const channel = made.createDataChannel(label)
          attach(label, { channel, compress: settings.compress, asked: undefined }, hearers)
        }
      }
      for (const options of asked ?? []) {
        const { compress, label, maxPacketLifeTime, maxRetransmits, ordered, protocol } = options
        const channel = made.createDataChannel(label, {
          ordered: ordered ?? true,
          ...(maxPacketLifeTime === undefined ? {} : { maxPacketLifeTime }),
          ...(maxRetransmits === undefined ? {} : { maxRetransmits }),
          ...(protocol === undefined ? {} : { protocol })
        })
        attach(label, { channel, compress: compress ?? false, asked: options }, hearers)
      }
      // Every offer has an application section, also for a client that wants no channel.
      if (channels.size === 0) made.createDataChannel("unused")
      Sctp.guard(made.sctpTransport!, {
        maxBytes: settings.maxBufferedBytes,
        onBad: () => ending.end(internalError)
      })
      let foreign = 0
      made.onDataChannel.subscribe(() => {
        if (++foreign > MaxForeignChannels) ending.end(internalError)
      })
    },
    get: (label) => channels.get(label),
    all: () => channels,
    drop(label) {
      const dropped = channels.get(label)
      if (dropped === undefined) return false
      channels.delete(label)
      detach.get(label)?.()
      dropped.channel.close()
      post({ _tag: "ChannelDropped", label })
      return true
    },
    buffered() {
      if (peer === undefined) return 0
      const { bytes, packets } = Association.unacknowledged(peer)
      let total = bytes + packets * MessageOverheadBytes
      for (const { channel } of channels.values()) total += channel.bufferedAmount
      return total
    },
    maxMessageBytes: () => peer === undefined ? 0 : Association.maxMessageBytes(peer),
    drained: Effect.gen(function*() {
      // SCTP has no event for "all sent and acknowledged": before a close the last bytes have to be looked for.
      const isSending = () =>
        Array.from(channels.values()).some(({ channel }) =>
          channel.readyState === "open" && channel.bufferedAmount > 0
        ) || peer !== undefined && Association.isInFlight(peer)
      while (isSending()) yield* Effect.sleep("10 millis")
    }),
    close() {
      for (const { channel } of channels.values()) letGo(() => channel.close())
    },
    release() {
      for (const run of detach.values()) run()
    }
  }
}
