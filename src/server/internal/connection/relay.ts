/**
 * The application's own messages, on labels that begin with `#`: to the other
 * connections of the channel that asked for the label, in the directions that
 * they asked for.
 */
import { compression } from "../../../internal/rpc/compression.ts"
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
        const raw = typeof data === "string" ? Buffer.from(data) : data as Uint8Array
        bytes = own.compress ? compression.inflate(raw, maxInflatedBytes) : raw
      } catch {
        // The application's own messages: a bad one is nobody's but its own.
        return
      }
      for (const other of rooms.others(member)) other.receive(label, bytes, member)
    },
    receive(label, bytes, sender) {
      const to = channels.get(label)
      if (to?.asked === undefined || to.asked.direction === "sendonly") return
      // Whether a header goes inside the compression is not known (section 9 row 25); here it does.
      const message = Buffer.concat([Buffer.from(to.asked.header === undefined ? "" : sender.connectionId), bytes])
      transport.sendData(label, to.compress ? compression.deflate(message) : message)
    }
  }
}
