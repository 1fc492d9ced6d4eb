/**
 * The layers of simulcast: what is asked for, and what is sent of it.
 */
import type { Rid } from "../../../SoraMethod.ts"
import type { Encoding } from "../../SoraAuth.ts"
import type { Member } from "../member.ts"

/** Lowest first. */
export const Layers = ["r0", "r1", "r2"] as const satisfies ReadonlyArray<Rid>

/** How the layers share the bit rate. A guess: roughly what libwebrtc does. */
const Shares: ReadonlyArray<number> = [0.07, 0.23, 0.7]

/** What a simulcast sender is to send: what the authentication gave, else three layers. */
export const encodingsOf = (
  kilobits: number,
  granted: ReadonlyArray<Encoding> | undefined
): ReadonlyArray<Encoding> => {
  const encodings = granted ?? Layers.map((rid, i) => ({
    rid,
    active: true,
    maxBitrate: Math.round(kilobits * 1000 * Shares[i]!),
    scaleResolutionDownBy: 2 ** (2 - i)
  }))
  // Without a mode a browser makes spatial layers of one stream, of VP9 and AV1.
  return encodings.map((encoding) => ({ scalabilityMode: "L1T1", ...encoding }))
}

const Order: ReadonlyArray<Rid> = ["none", ...Layers]

/** Of the layers that are sent: the best that is not above the one asked for (section 4.6), else the lowest. */
export const choose = (requested: Rid, sent: ReadonlyArray<Rid>): Rid => {
  if (requested === "none" || sent.length === 0) return requested
  return Layers.findLast((rid) => sent.includes(rid) && Layers.indexOf(rid) <= Layers.indexOf(requested)) ??
    Layers.find((rid) => sent.includes(rid)) ?? requested
}

export const isHigher = (rid: Rid, than: Rid): boolean => Order.indexOf(rid) > Order.indexOf(than)

export const requestedRid = (receiver: Member, sender: Member): Rid =>
  receiver.rids.bySender.get(sender.connectionId) ?? receiver.rids.all
