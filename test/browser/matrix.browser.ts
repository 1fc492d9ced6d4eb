/**
 * One scenario for every client, under every setting that changes what goes over the wire.
 */
import { assert, layer } from "@effect/vitest"
import { SoraMethod } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import * as Effect from "effect/Effect"
import { joined } from "../server/rawClient.ts"
import type { Outcome } from "./client.ts"
import { connected, isSdk, type Kind, type Member, names, until, wait } from "./harness.ts"
import type { Settings } from "./matrixReporter.ts"

const Put = "2025.2.0/PutSignalingNotifyMetadata"
const PutItem = "2025.2.0/PutSignalingNotifyMetadataItem"
const RequestSimulcast = "2025.2.0/RequestSimulcastRid"
const RequestSpotlight = "2025.2.0/RequestSpotlightRid"
const ResetSpotlight = "2025.2.0/ResetSpotlightRid"

/** A method of the user's that never answers. */
const Silence = SoraMethod.make("Silence", { version: "2027.1.0" })
const silence = SoraMethod.handle(Silence, () => Effect.never)

/** A program that has gone wrong has its message; with the outcome as it is a test failure says it. */
const resultOf = (outcome: Outcome) => {
  assert.strictEqual(outcome._tag, "Result", JSON.stringify(outcome))
  return outcome._tag === "Result" ? outcome.result : undefined
}

const call = (member: Member, method: string, params?: unknown) =>
  Effect.map(wait(() => member.call(method, params)), resultOf)

/** What each client tells its program of -32602 with unknown keys. */
const refusals: Record<Kind, Outcome> = (() => {
  const error = { code: -32602, message: "JSON-RPC-INVALID-PARAMS", data: { "UNKNOWN-KEYS": ["colour"] } }
  const ours: Outcome = { _tag: "Error", name: "RpcError/ServerError", ...error }
  return {
    "ours": ours,
    "werift": ours,
    "wrtc": ours,
    "node-datachannel": ours,
    // 2025.2 rejects with the error object as it is; 2026.1 with a text made of it, and code, message and data are lost.
    "sdk-2025": { _tag: "Error", name: "object", ...error },
    "sdk-2026": { _tag: "Error", name: "Error", message: "[object Object]" }
  }
})()

/** The methods that write metadata: with the metadata extension alone. */
const metadata = Effect.fnUntraced(function*(a: Member, b: Member) {
  assert.deepStrictEqual(yield* call(a, Put, { metadata: { mood: "calm" }, push: true }), { mood: "calm" })
  const item = { mood: "calm", place: "日本 🗾" }
  assert.deepStrictEqual(yield* call(a, PutItem, { key: "place", value: item.place, push: true }), item)
  for (const member of [a, b]) {
    const put = yield* wait(() => member.events.push(({ action }) => action === "PutMetadata"))
    assert.deepStrictEqual(put.data, {
      action: "PutMetadata",
      connection_id: a.connectionId,
      metadata: { mood: "calm" },
      type: "signaling_notify_metadata_ext"
    })
    const putItem = yield* wait(() => member.events.push(({ action }) => action === "PutMetadataItem"))
    assert.deepInclude(putItem.data, { key: "place", value: item.place, connection_id: a.connectionId })
  }
  // A notification; what it did shows in the next call.
  yield* wait(() => a.notify(PutItem, { key: "noted", value: 1 }))
  const noted = { ...item, noted: 1 }
  assert.deepStrictEqual(yield* call(a, PutItem, { key: "after", value: null }), { ...noted, after: null })
  return { ...noted, after: null }
})

const scenario = Effect.fnUntraced(function*(kind: Kind, { compress, extension, ignore }: Settings) {
  const closeMessage = !compress
  const server = yield* SoraServer.SoraServer
  const channelId = `${kind}-${compress ? "zlib" : "plain"}-${ignore ? "closed" : "kept"}`
  const options = {
    url: server.url,
    channelId,
    role: "recvonly",
    simulcast: true,
    spotlight: true,
    ignoreDisconnectWebsocket: ignore
  } as const
  const find = (id: string) =>
    Effect.map(server.connections, (all) => all.find(({ connectionId }) => connectionId === id))

  // Both connect. The second one hears of the first.
  const a = yield* connected(kind, { ...options, metadata: { name: "A" } })
  const b = yield* connected(kind, { ...options, metadata: { name: "B" } })
  const there = b.created.members?.map(({ authnMetadata, connectionId }) => ({ authnMetadata, connectionId }))
  assert.deepStrictEqual(there, [{ authnMetadata: { name: "A" }, connectionId: a.connectionId }])
  const seen = yield* wait(() => a.events.notify("connection.created", b.connectionId))
  assert.deepStrictEqual(seen.authnMetadata, { name: "B" })
  yield* wait(() => Promise.all([a.events.take("switched"), b.events.take("switched")]))
  assert.includeMembers([...a.rpcMethods], [RequestSimulcast, RequestSpotlight, ResetSpotlight])
  for (const method of [Put, PutItem]) assert.strictEqual(a.rpcMethods.includes(method), extension)

  // The methods, with their results and effects.
  const sender = yield* joined(server.url, channelId, {
    role: "sendonly",
    connect: { simulcast: true, video: { codec_type: "VP8" } }
  })
  const senderId = sender.offer.connection_id
  yield* wait(() => a.events.notify("connection.created", senderId))
  assert.deepStrictEqual(yield* call(a, RequestSimulcast, { rid: "r1", sender_connection_id: senderId }), {
    channel_id: channelId,
    receiver_connection_id: a.connectionId,
    rid: "r1",
    sender_connection_id: senderId
  })
  assert.strictEqual((yield* wait(() => a.events.notify("simulcast.switched"))).currentRid, "r1")
  const spotlight = { spotlight_focus_rid: "r2", spotlight_unfocus_rid: "none" }
  assert.deepStrictEqual(yield* call(a, RequestSpotlight, spotlight), {
    channel_id: channelId,
    recv_connection_id: a.connectionId,
    ...spotlight
  })
  assert.strictEqual((yield* find(a.connectionId))?.spotlightUnfocusRid, "none")
  assert.deepStrictEqual(yield* call(a, ResetSpotlight, {}), {
    channel_id: channelId,
    recv_connection_id: a.connectionId
  })
  assert.strictEqual((yield* find(a.connectionId))?.spotlightUnfocusRid, "r0")

  // A notification; what it did shows when the next call is answered.
  yield* wait(() => a.notify(RequestSpotlight, spotlight))
  yield* call(a, RequestSimulcast, { rid: "r2" })
  assert.strictEqual((yield* find(a.connectionId))?.spotlightUnfocusRid, "none")

  // The store of the metadata extension. Without it `metadata` is what `connect` said, and what RPC does is not known
  // (section 4.8): it is not granted here.
  const stored = extension ? yield* metadata(a, b) : { name: "A" }
  assert.deepStrictEqual((yield* find(a.connectionId))?.metadata, stored)
  if (!extension) {
    assert.strictEqual((yield* wait(() => a.call(Put, { metadata: 1 })))._tag, "Error")
    // Ours knows what is granted, and does not ask.
    if (isSdk(kind)) yield* wait(() => a.events.take("response", ({ frame }) => frame.error?.code === -32601))
  }

  // Errors: the server's, and none in time.
  const refused = yield* wait(() => a.call(RequestSimulcast, { rid: "r0", colour: "red" }))
  assert.deepStrictEqual(refused, refusals[kind])
  if (isSdk(kind)) {
    const { frame } = yield* wait(() => a.events.take("response", ({ frame }) => "error" in frame))
    assert.deepStrictEqual(frame.error, {
      code: -32602,
      message: "JSON-RPC-INVALID-PARAMS",
      data: { "UNKNOWN-KEYS": ["colour"] }
    })
  }
  const late = yield* wait(() => a.call(SoraMethod.wireName(Silence), {}, 200))
  const name = SoraMethod.wireName(Silence)
  assert.deepStrictEqual(
    late,
    isSdk(kind)
      ? { _tag: "Error", name: "Error", message: `RPC request timeout: ${name}` }
      : { _tag: "Error", name: "TimeoutError", message: `${name}: no response within 200ms` }
  )

  // A push by the server, to one and to all.
  yield* server.push(channelId, { to: "one" }, { connectionId: b.connectionId })
  yield* server.push(channelId, { to: "all" })
  for (const member of [a, b]) yield* wait(() => member.events.push(({ to }) => to === "all"))
  const told = (member: Member) => member.events.of("push").map(({ data }) => data.to).filter((to) => to !== undefined)
  assert.deepStrictEqual([told(a), told(b)], [["all"], ["one", "all"]])

  // Renegotiation, after which all goes on.
  yield* server.reOffer(a.connectionId)
  yield* wait(() => a.events.take("re-answered"))
  const again = yield* call(a, RequestSimulcast, { rid: "r0", sender_connection_id: senderId })
  assert.strictEqual(again?.rid, "r0")

  // The client leaves.
  assert.isTrue((yield* find(b.connectionId))?.switched)
  yield* wait(() => b.disconnect())
  assert.strictEqual((yield* wait(() => b.events.take("ended"))).how, leaving(kind))
  yield* wait(() => a.events.notify("connection.destroyed", b.connectionId))
  assert.isUndefined(yield* find(b.connectionId))

  // The server throws the client out.
  assert.strictEqual(yield* server.disconnect({ connectionId: a.connectionId }), 1)
  const thrownOut = yield* wait(() => a.events.take("ended"))
  assert.include(throwingOut(kind, ignore, closeMessage), thrownOut.how)
  yield* until(server.connections, (all) => !all.some(({ connectionId }) => connectionId === a.connectionId))
})

/** What the program is told when it leaves. */
const leaving = (kind: Kind): string =>
  isSdk(kind) ? "normal DISCONNECT 1000 TYPE-DISCONNECT" : "Released: the scope of the connection was closed"

/** What the program may be told when the server throws it out. */
const throwingOut = (kind: Kind, ignore: boolean, closeMessage: boolean): ReadonlyArray<string> => {
  // Code and reason come with the Close of the WebSocket, or on the DataChannel with the `close` message.
  const told = isSdk(kind)
    ? "normal SHUTDOWN 1000 DISCONNECTED-API"
    : "ServerClosed: the server closed the connection: 1000 DISCONNECTED-API"
  // Or the channels just close. The SDK then waits for the close of all of them, that of the one included whose close
  // made it wait, and gives up after three seconds; 2025.2 calls that normal.
  const untold = kind === "sdk-2025"
    ? "normal DISCONNECT 4999 DISCONNECT-WAIT-TIMEOUT-ERROR"
    : kind === "sdk-2026"
    ? "abend DISCONNECT-WAIT-TIMEOUT-ERROR 4999 DISCONNECT-WAIT-TIMEOUT-ERROR"
    : "ChannelClosed: the DataChannel \"signaling\" closed"
  if (closeMessage) return [told]
  if (ignore) return [untold]
  // The server waits for the WebSocket's Close to be echoed before it closes the channels, but Chromium echoes it in
  // another process than the page's, and a busy page may hear of the channels first. Our client waits for the Close.
  return isSdk(kind) ? [told, untold] : [told]
}

for (const extension of [true, false]) {
  for (const compress of [true, false]) {
    const name = `${compress ? "compressed" : "not compressed"}${extension ? "" : ", without the metadata extension"}`
    const options = { compress, closeMessage: !compress, signalingNotifyMetadataExt: extension, handlers: [silence] }
    layer(SoraServer.layer(options), { excludeTestServices: true })(name, (it) => {
      for (const kind of Object.keys(names) as Array<Kind>) {
        // The extension has nothing to do with the WebSocket: without it one of the two will do.
        for (const ignore of extension ? [false, true] : [compress]) {
          it.effect(`${names[kind]}, WebSocket ${ignore ? "closed" : "kept"}`, ({ task }) => {
            const settings = { compress, ignore, extension }
            task.meta.matrix = { client: names[kind], ...settings }
            return scenario(kind, settings)
          })
        }
      }
    })
  }
}
