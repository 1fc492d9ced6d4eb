/**
 * Everything that the page shows from which this project started: the RPC page
 * of the official Flutter SDK, over real WebRTC.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Schema } from "effect"
import { SoraMethod, type SoraRpcError } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import { connect, first } from "../utils/connect.ts"

const setUp = Effect.gen(function*() {
  const notified: Array<unknown> = []
  const server = yield* SoraServer.make({
    acceptUnprefixedMethods: true,
    authenticate: () =>
      Effect.succeed({
        rpcMethods: [
          ...SoraMethod.known.flatMap((method) => [SoraMethod.wireName(method), method.name]),
          "example.method",
          "example.notify",
          "example.hang"
        ]
      }),
    handlers: ["example.method", "example.notify", "example.hang"].map((name) =>
      SoraMethod.handle(SoraMethod.make(name, { params: Schema.Json }), (params) => {
        if (name === "example.hang") return Effect.never
        notified.push(params)
        return Effect.succeed(params)
      })
    )
  })
  const client = yield* connect({ url: server.url, channelId: "example-channel", simulcast: true })
  return { ...client, server, notified, ownId: (yield* client.connection.offer).connectionId }
})

describe("the page's examples", () => {
  it.live("rpc_methods are in the offer event, direction received", () =>
    Effect.gen(function*() {
      const { connection, rpc } = yield* setUp
      const event = yield* first(
        connection.signaling,
        ({ direction, message }) => direction === "received" && message.type === "offer"
      )
      assert.include(event.message.rpc_methods as Array<string>, "2025.2.0/RequestSimulcastRid")
      assert.deepStrictEqual(yield* rpc.methods, event.message.rpc_methods as Array<string>)
    }))

  it.live("a call with params and a timeout", () =>
    Effect.gen(function*() {
      const { rpc } = yield* setUp
      const result = yield* rpc.call("example.method", { value: 123 }, { timeout: "5000 millis" })
      assert.deepStrictEqual(result, { value: 123 })
    }))

  it.live("a notification", () =>
    Effect.gen(function*() {
      const { notified, rpc } = yield* setUp
      yield* rpc.notify("example.notify", { message: "hello" })
      // One channel keeps its order: when this is answered, the notification has been served.
      yield* rpc.call("example.method", {})
      assert.deepStrictEqual(notified, [{ message: "hello" }, {}])
    }))

  it.live("RequestSimulcastRid with the page's params, ids given", () =>
    Effect.gen(function*() {
      const { ownId, rpc } = yield* setUp
      const expected = { channel_id: "example-channel", receiver_connection_id: ownId, rid: "r1" }
      const params = { ...expected, sender_connection_id: "" }
      assert.deepStrictEqual(yield* rpc.call("RequestSimulcastRid", params), expected)
      const typed = yield* rpc.call(SoraMethod.RequestSimulcastRid, {
        channelId: "example-channel",
        receiverConnectionId: ownId,
        senderConnectionId: "",
        rid: "r1"
      })
      assert.deepStrictEqual(typed, { channelId: "example-channel", receiverConnectionId: ownId, rid: "r1" })
      assert.strictEqual((yield* rpc.call(SoraMethod.RequestSimulcastRid, { rid: "none" })).rid, "none")
    }))

  it.live("PutSignalingNotifyMetadataItem with the page's params, ids given", () =>
    Effect.gen(function*() {
      const { ownId, rpc, server } = yield* setUp
      const params = { channel_id: "example-channel", connection_id: ownId, key: "display_name", value: "Alice" }
      assert.deepStrictEqual(yield* rpc.call("PutSignalingNotifyMetadataItem", params), { display_name: "Alice" })
      const typed = { channelId: "example-channel", connectionId: ownId, key: "display_name", value: "Bob" }
      assert.deepStrictEqual(yield* rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, typed), { display_name: "Bob" })
      assert.deepStrictEqual((yield* server.connections)[0]!.metadata, { display_name: "Bob" })
    }))

  it.live("somebody else's ids are refused", () =>
    Effect.gen(function*() {
      const { rpc } = yield* setUp
      for (const ids of [{ channel_id: "other" }, { connection_id: "OTHER" }]) {
        const error = yield* Effect.flip(rpc.call("PutSignalingNotifyMetadataItem", { key: "k", value: 1, ...ids }))
        assert.isTrue(error._tag === "RpcError" && error.code === -32602)
      }
    }))

  it.live("a server error has code, message and data", () =>
    Effect.gen(function*() {
      const { rpc } = yield* setUp
      const error = yield* Effect.flip(rpc.call("RequestSimulcastRid", { rid: "r1", invalid_param: 1 }))
      const { code, data, message } = error as SoraRpcError.RpcError
      assert.deepStrictEqual([code, message, data], [
        -32602,
        "JSON-RPC-INVALID-PARAMS",
        { "UNKNOWN-KEYS": ["invalid_param"] }
      ])
    }))

  it.live("a timeout", () =>
    Effect.gen(function*() {
      const { rpc } = yield* setUp
      const error = yield* Effect.flip(rpc.call("example.hang", {}, { timeout: "50 millis" }))
      assert.isTrue(error._tag === "TimeoutError" && Duration.toMillis(error.timeout) === 50)
    }))

  for (const how of ["the client closes", "the server closes"] as const) {
    it.live(`${how}: every waiting call fails with code -1, Disconnected`, () =>
      Effect.gen(function*() {
        const { close, ownId, rpc, server } = yield* setUp
        const calls = yield* Effect.forEach([1, 2, 3], () =>
          Effect.forkChild(Effect.flip(rpc.call("example.hang", {}, { timeout: Duration.infinity })), {
            startImmediately: true
          }))
        // The three have arrived when this is answered.
        yield* rpc.call("example.method", {})
        if (how === "the client closes") {
          yield* close
        } else yield* server.disconnect({ connectionId: ownId })
        for (const error of yield* Fiber.joinAll(calls)) {
          assert.isTrue(error._tag === "Disconnected" && error.code === -1 && error.message === "Disconnected")
        }
        const late = yield* Effect.flip(rpc.call("example.method", {}))
        assert.strictEqual(late._tag, "Disconnected")
      }))
  }
})
