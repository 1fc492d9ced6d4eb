/**
 * What goes over the wire of all connections of a server, for whoever looks at
 * it. While nobody does, a message costs one comparison.
 */
import type { End } from "./ends.ts"
import type { Member } from "./member.ts"

export type Direction = "received" | "sent"

/** A message as text, inflated; empty for what is no text. Directions are the server's. */
export interface Message {
  readonly direction: Direction
  readonly transport: "websocket" | "datachannel"
  readonly label: string | undefined
  readonly text: string
}

/** One connection, from its WebSocket to its end. It is nobody until it is to have an offer. */
export interface Line {
  readonly number: number
  readonly member: () => Member | undefined
  readonly isWatched: () => boolean
  readonly opened: (member: Member) => void
  readonly message: (
    direction: Direction,
    transport: Message["transport"],
    label: string | undefined,
    text: string
  ) => void
  readonly closed: (by: End) => void
}

export interface Listener {
  readonly onOpened: (line: Line, member: Member) => void
  readonly onMessage: (line: Line, message: Message) => void
  readonly onClosed: (line: Line, by: End) => void
}

export interface Tap {
  readonly line: () => Line
  /** Gives what takes the listener off. */
  readonly listen: (listener: Listener) => () => void
}

export const make = (): Tap => {
  const listeners = new Set<Listener>()
  let count = 0
  return {
    line() {
      const number = ++count
      let member: Member | undefined
      const line: Line = {
        number,
        member: () => member,
        isWatched: () => listeners.size > 0,
        opened(by) {
          member = by
          for (const { onOpened } of listeners) onOpened(line, by)
        },
        message(direction, transport, label, text) {
          if (listeners.size === 0) return
          for (const { onMessage } of listeners) onMessage(line, { direction, transport, label, text })
        },
        closed(by) {
          for (const { onClosed } of listeners) onClosed(line, by)
        }
      }
      return line
    },
    listen(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    }
  }
}
