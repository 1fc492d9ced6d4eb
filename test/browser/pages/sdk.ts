/** The official SDK in a page, in the suite's shape. Both versions have the same API here. */
import type { Client, ConnectOptions, Json } from "../client.ts"
import { fakeMedia, inflate, makeStreams, report } from "./page.ts"

/** The part of a connection that is used here. The SDK's own types import each other without extensions. */
interface Connection {
  readonly connectionId: string | null
  readonly rpcMethods: ReadonlyArray<string>
  on(kind: string, callback: (event: Json) => void): void
  connect(stream?: MediaStream): Promise<unknown>
  rpc(method: string, params: Json, options: { timeout?: number; notification?: boolean }): Promise<Json>
  sendMessage(label: string, message: Uint8Array): Promise<void>
  disconnect(): Promise<void>
}

type MakeConnection = (channelId: string, metadata: Json, options: Record<string, unknown>) => Connection

export interface Sdk {
  connection(urls: Array<string>): Readonly<Record<ConnectOptions["role"] | "messaging", MakeConnection>>
}

const describeEnd = ({ code, reason, title, type }: Json): string => [type, title, code, reason].join(" ").trim()

export const expose = (sora: Sdk) => {
  const streams = makeStreams()
  let connection: Connection

  const make = (options: ConnectOptions): Connection => {
    const { audio, channelId, messaging, metadata, role, simulcast, spotlight, url, video } = options
    const common = {
      audio: audio ?? true,
      video: video ?? true,
      dataChannelSignaling: true,
      ...(simulcast === undefined ? {} : { simulcast }),
      ...(spotlight === undefined ? {} : { spotlight }),
      ...(metadata === undefined ? {} : { signalingNotifyMetadata: metadata }),
      ...(messaging === undefined ? {} : { dataChannels: [{ ...messaging, direction: "sendrecv" as const }] }),
      ...(options.ignoreDisconnectWebsocket === undefined
        ? {}
        : { ignoreDisconnectWebSocket: options.ignoreDisconnectWebsocket })
    }
    const entry = sora.connection([url])
    if (audio === false && video === false) return entry.messaging(channelId, null, common)
    return entry[role](channelId, null, common)
  }

  /** The SDK throws the server's error object away (2026.1), so the frame itself is worth a look. */
  const tap = () => {
    const { rpc } = (connection as unknown as { soraDataChannels: Record<string, RTCDataChannel> }).soraDataChannels
    rpc?.addEventListener("message", async ({ data }) => {
      const text = typeof data === "string" ? data : new TextDecoder().decode(await inflate(new Uint8Array(data)))
      report({ type: "response", frame: JSON.parse(text) })
    })
  }

  const client: Client = {
    async connect(options) {
      connection = make(options)
      const opened = new Set<string>()
      // The SDK's promise resolves when the peer is connected; its channels open, and signaling switches, in any order.
      const ready = new Promise<void>((resolve) => {
        let switched = false
        const check = () => {
          const wanted = ["rpc", ...(options.messaging === undefined ? [] : [options.messaging.label])]
          if (switched && wanted.every((label) => opened.has(label))) resolve()
        }
        connection.on("timeline", ({ dataChannelLabel, type }) => {
          if (type === "onopen" && dataChannelLabel !== undefined) opened.add(dataChannelLabel)
          if (type === "send-re-answer") report({ type: "re-answered" })
          check()
        })
        connection.on("switched", () => {
          switched = true
          report({ type: "switched" })
          check()
        })
      })
      connection.on("notify", (event: Json) =>
        report({
          type: "notify",
          event: event.event_type,
          connectionId: event.connection_id,
          currentRid: event.current_rid,
          authnMetadata: event.authn_metadata,
          metadata: event.metadata,
          members: event.data?.map((it: Json) => ({
            connectionId: it.connection_id,
            authnMetadata: it.authn_metadata,
            metadata: it.metadata
          }))
        }))
      connection.on("push", ({ data }) => report({ type: "push", data }))
      connection.on(
        "message",
        ({ data, label }) => report({ type: "message", label, text: new TextDecoder().decode(data) })
      )
      connection.on("track", (event) => {
        streams.onTrack(event)
        report({ type: "track", kind: event.track.kind, streamId: event.streams[0]?.id ?? "" })
      })
      connection.on("disconnect", (event) => report({ type: "ended", how: describeEnd(event) }))
      const stream = options.media === true ? await fakeMedia() : new MediaStream()
      await connection.connect(stream)
      await ready
      tap()
      return { connectionId: connection.connectionId ?? "", rpcMethods: connection.rpcMethods }
    },
    async call(method, params, timeoutMillis) {
      try {
        const options = timeoutMillis === undefined ? {} : { timeout: timeoutMillis }
        return { _tag: "Result", result: await connection.rpc(method, params, options) }
      } catch (error) {
        const { code, data, message } = error as Json
        return {
          _tag: "Error",
          name: error instanceof Error ? error.name : typeof error,
          message,
          ...(code === undefined ? {} : { code }),
          ...(data === undefined ? {} : { data })
        }
      }
    },
    notify: (method, params) => connection.rpc(method, params, { notification: true }),
    send: (label, text) => connection.sendMessage(label, new TextEncoder().encode(text)),
    playing: streams.playing,
    disconnect: () => connection.disconnect()
  }
  window.client = client
}
