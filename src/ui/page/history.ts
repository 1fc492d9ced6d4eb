/**
 * The timeline as the page keeps it: the latest messages, bounded in number and
 * in size, and those of them that the filter lets through.
 */
import type { Entry, Message } from "../internal/protocol.ts"

export const MaxEntries = 100_000
export const MaxCharacters = 64 * 1024 * 1024

/** Ids of WebSockets that are remembered for the messages before the ids. */
const MaxLines = 20_000

export interface Filter {
  /** Part of the id of a connection, of a client or of a channel. */
  readonly connection: string
  /** `websocket`, a label, or nothing for all. */
  readonly label: string
  /** Part of a type or of a method. */
  readonly name: string
  readonly errorsOnly: boolean
}

/** What a connection goes by. */
export interface Ids {
  readonly connectionId?: string | undefined
  readonly clientId?: string | undefined
  readonly channelId?: string | undefined
}

export const noFilter: Filter = { connection: "", label: "", name: "", errorsOnly: false }

const sizeOf = (entry: Entry): number => entry._tag === "Message" ? entry.text.length : 0

export class History {
  #entries: Array<Entry> = []
  #shown: Array<Entry> = []
  #characters = 0
  #lost = 0
  #filter = noFilter
  readonly #lines = new Map<number, Ids>()
  /** From a request to its response. */
  readonly #answers = new Map<number, Message>()
  #last = 0

  get last(): number {
    return this.#last
  }
  get count(): number {
    return this.#entries.length
  }
  /** Those that neither the server nor the page could keep. */
  get lost(): number {
    return this.#lost
  }
  get shown(): ReadonlyArray<Entry> {
    return this.#shown
  }
  get characters(): number {
    return this.#characters
  }

  add(entries: ReadonlyArray<Entry>, lost: number): void {
    // What was before the page is not lost to it.
    if (this.#last > 0) this.#lost += lost
    let named = false
    for (const entry of entries) {
      this.#last = entry.seq
      this.#entries.push(entry)
      this.#characters += sizeOf(entry)
      if (entry._tag === "Opened") {
        this.#lines.set(entry.line, entry)
        if (this.#lines.size > MaxLines) this.#lines.delete(this.#lines.keys().next().value!)
        named ||= this.#isOf(entry)
      }
      if (entry._tag === "Message" && entry.replyTo !== undefined && entry.replyTo >= this.#entries[0]!.seq) {
        this.#answers.set(entry.replyTo, entry)
      }
      if (this.#fits(entry)) this.#shown.push(entry)
    }
    this.#trim()
    // What came before the ids is let through now: all is looked through for ids that fit alone, not whoever comes.
    if (named) this.filter(this.#filter)
  }

  /** In larger steps, because each moves all that is left. */
  #trim(): void {
    if (this.#entries.length <= MaxEntries && this.#characters <= MaxCharacters) return
    let gone = 0
    while (
      gone < this.#entries.length - 1 &&
      (this.#entries.length - gone > MaxEntries * 0.95 || this.#characters > MaxCharacters * 0.95)
    ) {
      const entry = this.#entries[gone++]!
      this.#characters -= sizeOf(entry)
      this.#answers.delete(entry.seq)
    }
    this.#entries = this.#entries.slice(gone)
    const first = this.#entries[0]!.seq
    const still = this.#shown.findIndex(({ seq }) => seq >= first)
    this.#shown = still < 0 ? [] : this.#shown.slice(still)
  }

  filter(filter: Filter): void {
    this.#filter = filter
    this.#shown = this.#entries.filter((entry) => this.#fits(entry))
  }

  clear(): void {
    this.#entries = []
    this.#shown = []
    this.#answers.clear()
    this.#characters = 0
    this.#lost = 0
  }

  /** Whether it is of a connection that is asked for by name. */
  #isOf(entry: Entry): boolean {
    const { connection } = this.#filter
    if (connection === "") return false
    const { channelId, clientId, connectionId } = this.idsOf(entry)
    return [connectionId, clientId, channelId].some((id) => id?.includes(connection))
  }

  #fits(entry: Entry): boolean {
    const { connection, errorsOnly, label, name } = this.#filter
    if (connection !== "" && !this.#isOf(entry)) return false
    if (entry._tag !== "Message") return label === "" && name === "" && !errorsOnly
    if (errorsOnly && !entry.error) return false
    if (label !== "" && (entry.label ?? entry.transport) !== label) return false
    return name === "" || entry.name.toLowerCase().includes(name.toLowerCase())
  }

  /** Of a message before the ids those that came later; the client's only where its beginning was seen. */
  idsOf(entry: Entry): Ids {
    return this.#lines.get(entry.line) ?? entry
  }

  /** The one that a response answers. */
  requestOf({ replyTo }: Message): Message | undefined {
    return replyTo === undefined ? undefined : this.find(replyTo)
  }

  responseTo({ seq }: Message): Message | undefined {
    return this.#answers.get(seq)
  }

  ofLine(line: number): ReadonlyArray<Entry> {
    return this.#entries.filter((entry) => entry.line === line)
  }

  /** Entries are in the order of their numbers, some of which are missing. */
  find(seq: number): Message | undefined {
    let from = 0
    let to = this.#entries.length
    while (from < to) {
      const middle = (from + to) >>> 1
      if (this.#entries[middle]!.seq < seq) from = middle + 1
      else to = middle
    }
    const found = this.#entries[from]
    return found?.seq === seq && found._tag === "Message" ? found : undefined
  }
}
