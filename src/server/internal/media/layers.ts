/**
 * The layers of simulcast: what is asked for, and what is sent of it.
 */
import type { Rid } from "../../../SoraMethod.ts"
import type { Member } from "../member.ts"

/** Lowest first. */
export const Layers: ReadonlyArray<Rid> = ["r0", "r1", "r2"]

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
