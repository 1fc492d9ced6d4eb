/**
 * The application's own messages, on labels that begin with `#`: to the other
 * connections of the channel that asked for the label, in the directions that
 * they asked for.
 */
import { pack, unpack } from "../../../internal/signaling/framing.ts"
import type { Member } from "../member.ts"
import type { Rooms } from "../rooms.ts"
import type { Channels } from "./channels.ts"
import type { Transport } from "./transport.ts"

export interface Relay {
  /** From the client, to the others. */
  readonly onMessage: (label: string, data: unknown) => void
  /** From another one, to the client. */
  readonly receive: (label: string, bytes: Uint8Array, sender: Member) => void
}

export const make = (options: {
  readonly member: Member
  readonly rooms: Rooms
  readonly channels: Channels
  readonly transport: Transport
  readonly maxInflatedBytes: number
}): Relay => {
  const { channels, maxInflatedBytes, member, rooms, transport } = options
  return {
    onMessage(label, data) {
      const own = channels.get(label)
      if (own?.asked === undefined || own.asked.direction === "recvonly") return
      let bytes: Uint8Array
      try {
        bytes = unpack(data, own.compress, maxInflatedBytes)
      } catch {
        // The application's own messages: a bad one is nobody's but its own.
        return
      }
      for (const other of rooms.others(member)) other.receive(label, bytes, member)
    },
    receive(label, bytes, sender) {
      const to = channels.get(label)
      if (to?.asked === undefined || to.asked.direction === "sendonly") return
      // One field for each that was asked for; inside the compression, as the JS SDK reads it (section 9 row 25).
      const header = (to.asked.header ?? []).map(() => Buffer.from(sender.connectionId))
      // One that has become larger than the client takes is refused by the channel, and dropped.
      transport.sendData(label, pack(Buffer.concat([...header, bytes]), to.compress))
    }
  }
}
