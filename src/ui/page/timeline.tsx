/**
 * Timeline: signaling and RPC of all connections, in one sequence.
 */
import { useEffect, useMemo, useRef, useState } from "preact/hooks"
import type { Entry, Message } from "../internal/protocol.ts"
import { get, set, state, useAtom, useTexts } from "./atoms.ts"
import { clockTime, millis } from "./format.ts"
import { type Filter, type Ids, noFilter } from "./history.ts"
import { Button, Checkbox, Code, Json, pretty, Select, TextInput, VirtualList } from "./parts.tsx"
import { readingOf } from "./reading.ts"
import { download, recordingOf } from "./recording.ts"
import { changed, history, touch } from "./server.ts"
import type { Texts } from "./texts.ts"

const filter = state<Filter>(noFilter)
const chosenEntry = state<number | undefined>(undefined)
/** What is shown while the list stands still; the history goes on. */
const frozen = state<{ readonly shown: ReadonlyArray<Entry>; readonly last: number } | undefined>(undefined)

const labels = ["websocket", "signaling", "notify", "push", "stats", "rpc"]

const arrow = { received: "→", sent: "←" }

const summaryOf = (entry: Entry, texts: Texts): string =>
  entry._tag === "Message"
    ? entry.name
    : entry._tag === "Opened"
    ? `${texts.opened} (${entry.role})`
    : `${texts.closed}: ${entry.code} ${entry.reason}`

const classOf = (entry: Entry): string => entry._tag !== "Message" ? "mark" : entry.error ? "error" : entry.direction

const Detail = ({ ids, message, request, response }: {
  readonly message: Message
  readonly request: Message | undefined
  readonly response: Message | undefined
  readonly ids: Ids
}) => {
  const texts = useTexts()
  const reading = readingOf(message, request)
  const { channelId, connectionId } = ids
  const isRequest = message.label === "rpc" && message.direction === "received"
  const rows: ReadonlyArray<readonly [name: string, value: string]> = [
    [texts.direction, texts[message.direction]],
    [texts.transport, message.label === undefined ? message.transport : `${message.transport}, ${message.label}`],
    [texts.connection, connectionId ?? "—"],
    [texts.channel, channelId ?? "—"],
    [texts.time, clockTime(message.at)],
    [texts.size, `${message.text.length} ${texts.bytes}`]
  ]
  const other = response ?? request
  return (
    <section class="detail" aria-label={message.name}>
      <h2>{message.name}</h2>
      <dl>
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
        {isRequest && reading.id !== undefined || message.duration !== undefined
          ? (
            <div>
              <dt>{texts.duration}</dt>
              <dd>{duration(message, response, texts)}</dd>
            </div>
          )
          : null}
      </dl>
      {other === undefined ? null : (
        <Button onClick={() => set(chosenEntry, other.seq)}>
          {response === undefined ? texts.request : texts.response}
        </Button>
      )}
      <div class="two">
        <div>
          <h3>{texts.decoded}</h3>
          {reading.issue === undefined ? null : <p class="failed">{texts.misfit}{reading.issue}</p>}
          {reading.value === undefined
            ? reading.issue === undefined ? <p>{texts.noSchema}</p> : null
            : <Json label={texts.decoded} value={reading.value} />}
        </div>
        <div>
          <h3>{texts.raw}</h3>
          {reading.json === undefined ? <p class="failed">{texts.notJson}</p> : null}
          <Code label={texts.raw} text={reading.json === undefined ? message.text : pretty(reading.json)} />
        </div>
      </div>
      {other === undefined ? null : (
        <>
          <h3>{response === undefined ? texts.request : texts.response}</h3>
          <Code label={response === undefined ? texts.request : texts.response} text={prettyText(other.text)} />
        </>
      )}
    </section>
  )
}

const duration = (message: Message, response: Message | undefined, texts: Texts): string => {
  const took = message.duration ?? response?.duration
  return took === undefined ? texts.noAnswer : millis(took)
}

/** Read once, and again only for what has changed about it: the list is drawn for each batch of messages, and a message may be long. */
const useDetail = (message: Message | undefined) => {
  const request = message && history.requestOf(message)
  const response = message && history.responseTo(message)
  const ids = message && history.idsOf(message)
  return useMemo(
    () =>
      message && ids && <Detail key={message.seq} message={message} request={request} response={response} ids={ids} />,
    [message, request, response, ids]
  )
}

const prettyText = (text: string): string => {
  try {
    return pretty(JSON.parse(text))
  } catch {
    return text
  }
}

/**
 * A hundred thousand messages are looked through once for what is typed, not for each key. A function of its own, so that
 * its timer keeps no list.
 */
const useFilter = (draft: Filter): void => {
  const first = useRef(true)
  useEffect(() => {
    if (first.current) {
      first.current = false
      return
    }
    const timer = setTimeout(() => {
      history.filter(draft)
      set(filter, draft)
      if (get(frozen) !== undefined) set(frozen, { shown: history.shown.slice(), last: history.last })
      touch()
    }, 150)
    return () => clearTimeout(timer)
  }, [draft])
}

export const Timeline = () => {
  const texts = useTexts()
  useAtom(changed)
  const by = useAtom(filter)
  const still = useAtom(frozen)
  const chosen = useAtom(chosenEntry)
  const [draft, setDraft] = useState(by)
  useFilter(draft)

  const shown = still?.shown ?? history.shown
  const message = chosen === undefined ? undefined : history.find(chosen)
  const detail = useDetail(message)
  return (
    <>
      <div class="toolbar">
        <TextInput
          label={texts.filterConnection}
          type="search"
          value={draft.connection}
          onInput={(connection) => setDraft({ ...draft, connection })}
        />
        <Select
          label={texts.filterLabel}
          value={draft.label}
          options={[["", texts.all], ...labels.map((label) => [label, label] as const)]}
          onChange={(label) => setDraft({ ...draft, label })}
        />
        <TextInput
          label={texts.filterType}
          type="search"
          value={draft.name}
          onInput={(name) => setDraft({ ...draft, name })}
        />
        <Checkbox
          label={texts.errorsOnly}
          checked={draft.errorsOnly}
          onChange={(errorsOnly) => setDraft({ ...draft, errorsOnly })}
        />
        <Button
          pressed={still !== undefined}
          onClick={() =>
            set(frozen, still === undefined ? { shown: history.shown.slice(), last: history.last } : undefined)}
        >
          {still === undefined ? texts.pause : texts.resume}
        </Button>
        <Button
          onClick={() => {
            history.clear()
            set(chosenEntry, undefined)
            if (still !== undefined) set(frozen, { shown: [], last: history.last })
            touch()
          }}
        >
          {texts.clearTimeline}
        </Button>
        <Button
          disabled={message === undefined}
          onClick={() => {
            if (message === undefined) return
            const { connectionId = `line-${message.line}` } = history.idsOf(message)
            download(`${connectionId}.jsonl`, recordingOf(history.ofLine(message.line)))
          }}
        >
          {texts.export}
        </Button>
      </div>
      <p class="summary">
        {shown.length} {texts.messagesShown} {history.count} {texts.messages}
        {still === undefined ? "" : ` · ${history.last - still.last} ${texts.newMessages}`}
        {history.lost === 0 ? "" : ` · ${history.lost} ${texts.lost}`}
      </p>
      <div class="split">
        <div class="pane">
          <VirtualList
            label={texts.timeline}
            items={shown}
            keyOf={({ seq }) => seq}
            chosen={chosen}
            onChoose={({ seq }) => set(chosenEntry, seq)}
            classOf={classOf}
            follow={still === undefined && chosen === undefined}
            row={(entry) => (
              <>
                <span class="mono">{clockTime(entry.at)}</span>
                <span class="mono id">{history.idsOf(entry).connectionId?.slice(0, 8) ?? `#${entry.line}`}</span>
                {entry._tag === "Message"
                  ? (
                    <>
                      <span aria-label={texts[entry.direction]} role="img">{arrow[entry.direction]}</span>
                      <span class="label">{entry.label ?? entry.transport}</span>
                    </>
                  )
                  : null}
                <span class="grow">{summaryOf(entry, texts)}</span>
                {entry._tag === "Message" && entry.duration !== undefined
                  ? <span class="mono">{millis(entry.duration)}</span>
                  : null}
              </>
            )}
          />
        </div>
        {detail ?? <p class="detail">{texts.chooseMessage}</p>}
      </div>
    </>
  )
}
