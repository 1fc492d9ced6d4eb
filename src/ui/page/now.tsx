/**
 * Now: who is connected, what there is of each, and what can be done to it.
 */
import type * as Schema from "effect/Schema"
import { useMemo, useState } from "preact/hooks"
import type { Connection, Fault } from "../internal/protocol.ts"
import { connections, info, set, state, useAtom, useTexts } from "./atoms.ts"
import { Faults } from "./faults.tsx"
import { clockTime } from "./format.ts"
import { Button, Json, Select, TextArea, TextInput, VirtualList } from "./parts.tsx"
import { act, say } from "./server.ts"

const chosenConnection = state<string | undefined>(undefined)

const tracks = (all: ReadonlyArray<{ readonly kind: string; readonly more: string }>, none: string) =>
  all.length === 0 ? none : all.map(({ kind, more }) => `${kind}${more}`).join(", ")

const Detail = ({ connection }: { readonly connection: Connection }) => {
  const texts = useTexts()
  const [data, setData] = useState("{\"hello\":\"from the page\"}")
  const [stats, setStats] = useState<readonly [connectionId: string, stats: unknown] | undefined>(undefined)
  const { channelId, connectionId } = connection
  const push = (to: { readonly connectionId?: string }, what: string) => {
    let parsed: Schema.Json
    try {
      parsed = JSON.parse(data) as Schema.Json
    } catch {
      return say(`${texts.failed}${texts.pushData} ${texts.badJson}`, true)
    }
    void act(what, (server) => server.Push({ channelId, ...to, data: parsed }))
  }
  const inject = (fault: Fault, what: string) => (
    <Button
      kind="danger"
      onClick={() => void act(what, (server) => server.Inject({ connectionId, fault }))}
    >
      {what}
    </Button>
  )
  const rows: ReadonlyArray<readonly [name: string, value: string]> = [
    ["connection_id", connectionId],
    ["client_id", connection.clientId],
    ["bundle_id", connection.bundleId],
    ["session_id", connection.sessionId],
    [texts.channel, channelId],
    [texts.role, connection.role],
    [texts.state, connection.state === "joined" ? texts.stateJoined : texts.stateConnecting],
    [texts.signalingOn, connection.switched ? "DataChannel" : "WebSocket"],
    [texts.since, clockTime(connection.since)],
    [texts.simulcast, connection.simulcast ? texts.yes : texts.no],
    [texts.spotlight, connection.spotlight ? texts.yes : texts.no],
    [texts.rid, connection.rid],
    [
      texts.ridsBySender,
      Object.entries(connection.ridsBySender).map(([sender, rid]) => `${sender}: ${rid}`).join(", ") || texts.none
    ],
    [texts.spotlightRids, `${connection.spotlightFocusRid}, ${connection.spotlightUnfocusRid}`],
    [
      texts.sends,
      tracks(
        connection.sends.map(({ kind, rids }) => ({
          kind,
          more: rids.length === 0 ? "" : ` (${rids.join(", ")})`
        })),
        texts.none
      )
    ],
    [
      texts.receives,
      tracks(connection.receives.map(({ from, kind }) => ({ kind, more: ` ${texts.from} ${from}` })), texts.none)
    ]
  ]
  return (
    <section class="detail" aria-label={`${texts.connection} ${connectionId}`}>
      <h2>{connectionId}</h2>
      <dl>
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <h3>{texts.metadata}</h3>
      <Json label={texts.metadata} value={connection.metadata ?? null} />
      {connection.authnMetadata === undefined ? null : (
        <>
          <h3>{texts.authnMetadata}</h3>
          <Json label={texts.authnMetadata} value={connection.authnMetadata} />
        </>
      )}
      {connection.authzMetadata === undefined ? null : (
        <>
          <h3>{texts.authzMetadata}</h3>
          <Json label={texts.authzMetadata} value={connection.authzMetadata} />
        </>
      )}
      <div class="buttons">
        <Button onClick={() => void act(texts.reOffer, (server) => server.ReOffer({ connectionId }))}>
          {texts.reOffer}
        </Button>
        <Button
          onClick={() =>
            void act(texts.requestStats, (server) => server.RequestStats({ connectionId })).then((found) => {
              if (found !== undefined) setStats([connectionId, found])
            })}
        >
          {texts.requestStats}
        </Button>
        <Button
          kind="danger"
          onClick={() => void act(texts.disconnect, (server) => server.Disconnect({ connectionId }))}
        >
          {texts.disconnect}
        </Button>
        <Button
          kind="danger"
          onClick={() => void act(texts.disconnectChannel, (server) => server.Disconnect({ channelId }))}
        >
          {texts.disconnectChannel}
        </Button>
      </div>
      {stats?.[0] === connectionId ? <Json label={texts.statistics} value={stats[1]} /> : null}
      <h3>{texts.push}</h3>
      <TextArea label={texts.pushData} value={data} onInput={setData} />
      <div class="buttons">
        <Button onClick={() => push({ connectionId }, texts.pushConnection)}>{texts.pushConnection}</Button>
        <Button onClick={() => push({}, texts.pushChannel)}>{texts.pushChannel}</Button>
      </div>
      <h3>{texts.breakIt}</h3>
      <div class="buttons">
        {inject("closeRpc", texts.closeRpc)}
        {inject("killSocket", texts.killSocket)}
        {inject("killPeer", texts.killPeer)}
        {inject("closeAbruptly", texts.closeAbruptly)}
      </div>
    </section>
  )
}

export const Now = () => {
  const texts = useTexts()
  const all = useAtom(connections)
  const chosen = useAtom(chosenConnection)
  const about = useAtom(info)
  const [channel, setChannel] = useState("")
  const [search, setSearch] = useState("")
  const channels = useMemo(
    () => Array.from(new Set(Array.from(all.values(), ({ channelId }) => channelId))).toSorted(),
    [all]
  )
  const shown = useMemo(() =>
    Array.from(all.values())
      .filter(({ bundleId, channelId, clientId, connectionId }) =>
        (channel === "" || channelId === channel) &&
        (search === "" || [connectionId, clientId, bundleId, channelId].some((id) => id.includes(search)))
      )
      .toSorted((a, b) => a.channelId < b.channelId ? -1 : a.channelId > b.channelId ? 1 : a.since - b.since), [
    all,
    channel,
    search
  ])
  const connection = chosen === undefined ? undefined : all.get(chosen)
  return (
    <>
      <p class="summary">
        {texts.signalingUrl}: <code>{about?.signalingUrl}</code> · {texts.channels}: {channels.length} ·{" "}
        {texts.connections}: {all.size}
      </p>
      <div class="toolbar">
        <Select
          label={texts.channel}
          value={channels.includes(channel) ? channel : ""}
          options={[["", texts.all], ...channels.map((id) => [id, id] as const)]}
          onChange={setChannel}
        />
        <TextInput label={texts.filterConnection} type="search" value={search} onInput={setSearch} />
      </div>
      <div class="split">
        <div class="pane">
          {all.size === 0 ? <p>{texts.noConnections}</p> : null}
          <VirtualList
            label={texts.connections}
            items={shown}
            keyOf={({ connectionId }) => connectionId}
            chosen={chosen}
            onChoose={({ connectionId }) => set(chosenConnection, connectionId)}
            row={({ channelId, clientId, connectionId, role, state, switched }) => (
              <>
                <span class="grow">{channelId}</span>
                <span class="grow mono">{connectionId}</span>
                <span class="grow">{clientId === connectionId ? "" : clientId}</span>
                <span>{role}</span>
                <span>{state === "joined" ? texts.stateJoined : texts.stateConnecting}</span>
                <span>{switched ? "DataChannel" : "WebSocket"}</span>
              </>
            )}
          />
        </div>
        {connection === undefined
          ? <p class="detail">{texts.chooseConnection}</p>
          : <Detail key={connection.connectionId} connection={connection} />}
      </div>
      <Faults />
    </>
  )
}
