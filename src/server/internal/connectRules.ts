/**
 * Which `connect` Sora takes, where that is known.
 */
import { UserLabel } from "../../internal/labels.ts"
import type * as Signaling from "../../Signaling.ts"

const isUint16 = (value: number | undefined): boolean =>
  value === undefined || Number.isInteger(value) && value >= 0 && value <= 65_535

/** Why Sora would not take this `connect`, where that is known (sections 1 and 2.3). */
export const isAcceptable = (connect: Signaling.Connect): boolean => {
  const asked = connect.dataChannels ?? []
  const labels = asked.map(({ label }) => label)
  const bytes = (text: string | undefined) => text === undefined ? 1 : Buffer.byteLength(text)
  const ids = [connect.channelId, connect.clientId, connect.bundleId].map(bytes)
  return ids.every((length) => length >= 1 && length <= 255) &&
    (connect.audio !== false || connect.video !== false || labels.length > 0) &&
    labels.every((label) => UserLabel.test(label)) && new Set(labels).size === labels.length &&
    asked.every(({ maxPacketLifeTime, maxRetransmits }) =>
      (maxPacketLifeTime === undefined || maxRetransmits === undefined) && isUint16(maxPacketLifeTime) &&
      isUint16(maxRetransmits)
    ) &&
    (connect.spotlight === true || connect.spotlightFocusRid === undefined && connect.spotlightUnfocusRid === undefined)
}
