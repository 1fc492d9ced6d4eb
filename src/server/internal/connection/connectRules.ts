/**
 * Which `connect` Sora takes, where that is known.
 */
import type * as Schema from "effect/Schema"
import { MaxIdBytes, UserLabel } from "../../../internal/protocol.ts"
import type * as Signaling from "../../../Signaling.ts"

/** DataChannels of its own that a client may ask for. Sora's limit is not known; no client was seen with more than a few. */
export const MaxDataChannels = 32

/** What the channel is told of a connection, as JSON: as much as a `connect` holds. */
export const MaxMetadataBytes = 1024 * 1024

/** Whether metadata that is shown to the channel is small enough, as JSON. What is nested too deep cannot be written. */
export const isBounded = (metadata: Schema.Json): boolean => {
  try {
    return Buffer.byteLength(JSON.stringify(metadata)) <= MaxMetadataBytes
  } catch {
    return false
  }
}

const isBitRate = (options: boolean | { readonly bitRate?: number } | undefined, min: number, max: number): boolean => {
  const bitRate = typeof options === "object" ? options.bitRate : undefined
  return bitRate === undefined || bitRate >= min && bitRate <= max
}

const isUint16 = (value: number | undefined): boolean =>
  value === undefined || Number.isInteger(value) && value >= 0 && value <= 65_535

/**
 * Whether Sora would take this `connect`, where that is known (sections 1 and 2.3). That it takes no `recvonly` connection
 * without media is not certain.
 */
export const isAcceptable = (
  connect: Signaling.Connect,
  options: { readonly recvonlyWithoutMedia: boolean }
): boolean => {
  const asked = connect.dataChannels ?? []
  const labels = asked.map(({ label }) => label)
  const bytes = (text: string | undefined) => text === undefined ? 1 : Buffer.byteLength(text)
  const ids = [connect.channelId, connect.clientId, connect.bundleId].map(bytes)
  return labels.length <= MaxDataChannels &&
    isBitRate(connect.audio, 6, 510) && isBitRate(connect.video, 1, 50_000) &&
    ids.every((length) => length >= 1 && length <= MaxIdBytes) &&
    (connect.audio !== false || connect.video !== false ||
      labels.length > 0 && (connect.role !== "recvonly" || options.recvonlyWithoutMedia)) &&
    labels.every((label) => UserLabel.test(label)) && new Set(labels).size === labels.length &&
    asked.every(({ header, maxPacketLifeTime, maxRetransmits, protocol = "" }) =>
      Buffer.byteLength(protocol) <= 255 && JSON.stringify(header ?? null).length <= 1024 &&
      (maxPacketLifeTime === undefined || maxRetransmits === undefined) && isUint16(maxPacketLifeTime) &&
      isUint16(maxRetransmits)
    ) &&
    (connect.spotlight === true || connect.spotlightFocusRid === undefined && connect.spotlightUnfocusRid === undefined)
}
