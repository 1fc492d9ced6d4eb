/**
 * What went over the wires of all connections, in one sequence: the latest of
 * it, with requests and responses joined, for whoever asks.
 */
import type { Line, Listener } from "../../server/internal/tap.ts"
import type { Figures } from "./figures.ts"
import type { Entry, Message } from "./protocol.ts"

/** What is kept for pages that are opened later, or that fall behind. */
export const MaxEntries = 20_000
export const MaxCharacters = 16 * 1024 * 1024

/** What one page is sent at a time. */
const BatchEntries = 1000
const BatchCharacters = 512 * 1024

/** Calls of a connection whose answers are waited for; the oldest is forgotten. */
const MaxWaiting = 16_384

/** What an entry costs beside its text, roughly. */
const EntryCharacters = 200

export interface Timeline {
  readonly listener: Listener
  /** Those after `seq`, as many as are sent at a time, and how many between were forgotten. */
  readonly after: (seq: number) => {
    readonly entries: ReadonlyArray<Entry>
    readonly lost: number
    /** Whether there are more than are sent at a time. */
    readonly more: boolean
  }
}

type Json = Record<string, unknown>

const objectOf = (text: string): Json | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null ? value as Json : undefined
  } catch {
    return undefined
  }
}

const nameOf = (message: Json | undefined, label: string | undefined): string => {
  if (message === undefined) return ""
  if (label === "rpc") {
    return typeof message["method"] === "string" ? message["method"] : "error" in message ? "error" : "response"
  }
  const { event_type, type } = message
  return type === "notify" && typeof event_type === "string"
    ? `notify ${event_type}`
    : typeof type === "string"
    ? type
    : ""
}

const sizeOf = (entry: Entry): number => EntryCharacters + (entry._tag === "Message" ? entry.text.length : 0)

/** `now` in milliseconds since the epoch, with a fraction. */
export const make = (now: () => number, figures: Figures): Timeline => {
  // A queue whose beginning moves, so that forgetting the oldest costs nothing.
  let kept: Array<Entry | undefined> = []
  let first = 0
  let characters = 0
  let count = 0
  const waiting = new Map<number, Map<string, { readonly seq: number; readonly at: number }>>()

  const add = (entry: Entry) => {
    kept.push(entry)
    characters += sizeOf(entry)
    while (kept.length - first > MaxEntries || characters > MaxCharacters) {
      characters -= sizeOf(kept[first]!)
      // Its place stays until the queue is moved up, the message does not.
      kept[first++] = undefined
    }
    if (first > MaxEntries) {
      kept = kept.slice(first)
      first = 0
    }
  }

  const begin = (line: Line) => {
    const member = line.member()
    return {
      seq: ++count,
      at: now(),
      line: line.number,
      ...(member === undefined ? {} : { connectionId: member.connectionId, channelId: member.channelId })
    }
  }

  /** Remembers a request, or finds the one that is answered. */
  const join = (
    { at, line, seq }: { readonly at: number; readonly line: number; readonly seq: number },
    message: Json | undefined,
    sent: boolean
  ): Pick<Message, "replyTo" | "duration"> => {
    const id = message?.["id"]
    if (id === undefined || id === null) return {}
    const key = JSON.stringify(id)
    const ofLine = waiting.get(line) ?? new Map<string, { readonly seq: number; readonly at: number }>()
    if (!sent) {
      // Of two requests with one id the first answer is the second one's: the server does not forbid it.
      if (ofLine.delete(key)) figures.forgotten()
      ofLine.set(key, { seq, at })
      waiting.set(line, ofLine)
      figures.called()
      if (ofLine.size > MaxWaiting) {
        ofLine.delete(ofLine.keys().next().value!)
        figures.forgotten()
      }
      return {}
    }
    const request = ofLine.get(key)
    if (request === undefined || !ofLine.delete(key)) return {}
    const duration = at - request.at
    figures.answered(duration, message !== undefined && "error" in message)
    return { replyTo: request.seq, duration }
  }

  return {
    listener: {
      onOpened: (line, { clientId, role }) => add({ _tag: "Opened", ...begin(line), clientId, role }),
      onMessage(line, { direction, label, text, transport }) {
        const message = objectOf(text)
        const entry = begin(line)
        const name = nameOf(message, label)
        add({
          _tag: "Message",
          ...entry,
          direction,
          transport,
          ...(label === undefined ? {} : { label }),
          name,
          error: message === undefined || label === "rpc" && name === "error",
          ...(label === "rpc" ? join(entry, message, direction === "sent") : {}),
          text
        })
      },
      onClosed(line, { code, reason }) {
        const left = waiting.get(line.number)?.size ?? 0
        for (let i = 0; i < left; i++) figures.forgotten()
        waiting.delete(line.number)
        add({ _tag: "Closed", ...begin(line), code, reason })
      }
    },
    after(seq) {
      const oldest = count - (kept.length - first) + 1
      const from = Math.max(seq + 1, oldest)
      const entries: Array<Entry> = []
      let size = 0
      for (let i = first + from - oldest; i < kept.length && entries.length < BatchEntries; i++) {
        const entry = kept[i]!
        size += sizeOf(entry)
        if (entries.length > 0 && size > BatchCharacters) break
        entries.push(entry)
      }
      return { entries, lost: from - seq - 1, more: from + entries.length <= count }
    }
  }
}
