/**
 * Everything that the page shows from which this project started: the RPC page
 * of the official Flutter SDK, over real WebRTC. For the development server, and
 * for a replay of it.
 */
import { assert } from "@effect/vitest"
import { Duration, Effect, Fiber, Schema, type Scope } from "effect"
import { type SoraConnection, SoraMethod, type SoraRpc, type SoraRpcError } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import { connect, first } from "./connect.ts"

export interface Seed {
  readonly connection: SoraConnection.SoraConnection["Service"]
  readonly rpc: SoraRpc.SoraRpc["Service"]
  readonly close: Effect.Effect<void>
  readonly server: SoraServer.SoraServer["Service"]
  readonly ownId: string
  /** What the handlers were given; nothing of a replay, which has none, and keeps no state. */
  readonly notified: ReadonlyArray<unknown> | undefined
}

/** The development server with the page's methods. */
export const makeServer = Effect.gen(function*() {
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
  return { server, notified }
})

export const makeClient = Effect.fnUntraced(function*(
  { notified, server }: Pick<Seed, "server" | "notified">
): Effect.fn.Return<Seed, unknown, Scope.Scope> {
  const client = yield* connect({ url: server.url, channelId: "example-channel", simulcast: true })
  return { ...client, server, notified, ownId: (yield* client.connection.offer).connectionId }
})

export const steps: Record<string, (seed: Seed) => Effect.Effect<void, unknown>> = {
  "rpc_methods are in the offer event, direction received": ({ connection, rpc }) =>
    Effect.gen(function*() {
      const event = yield* first(
        connection.signaling,
        ({ direction, message }) => direction === "received" && message.type === "offer"
      )
      assert.include(event.message.rpc_methods as Array<string>, "2025.2.0/RequestSimulcastRid")
      assert.deepStrictEqual(yield* rpc.methods, event.message.rpc_methods as Array<string>)
    }),

  "a call with params and a timeout": ({ rpc }) =>
    Effect.gen(function*() {
      const result = yield* rpc.call("example.method", { value: 123 }, { timeout: "5000 millis" })
      assert.deepStrictEqual(result, { value: 123 })
    }),

  "a notification": ({ notified, rpc }) =>
    Effect.gen(function*() {
      yield* rpc.notify("example.notify", { message: "hello" })
      // One channel keeps its order: when this is answered, the notification has been served.
      yield* rpc.call("example.method", {})
      if (notified !== undefined) assert.deepStrictEqual(notified, [{ message: "hello" }, {}])
    }),

  "RequestSimulcastRid with the page's params, ids given": ({ ownId, rpc }) =>
    Effect.gen(function*() {
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
    }),

  "PutSignalingNotifyMetadataItem with the page's params, ids given": ({ notified, ownId, rpc, server }) =>
    Effect.gen(function*() {
      const params = { channel_id: "example-channel", connection_id: ownId, key: "display_name", value: "Alice" }
      assert.deepStrictEqual(yield* rpc.call("PutSignalingNotifyMetadataItem", params), { display_name: "Alice" })
      const typed = { channelId: "example-channel", connectionId: ownId, key: "display_name", value: "Bob" }
      assert.deepStrictEqual(yield* rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, typed), { display_name: "Bob" })
      if (notified !== undefined) {
        assert.deepStrictEqual((yield* server.connections)[0]!.metadata, { display_name: "Bob" })
      }
    }),

  "somebody else's ids are refused": ({ rpc }) =>
    Effect.gen(function*() {
      for (const ids of [{ channel_id: "other" }, { connection_id: "OTHER" }]) {
        const error = yield* Effect.flip(rpc.call("PutSignalingNotifyMetadataItem", { key: "k", value: 1, ...ids }))
        assert.isTrue(error._tag === "RpcError" && error.code === -32602)
      }
    }),

  "a server error has code, message and data": ({ rpc }) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(rpc.call("RequestSimulcastRid", { rid: "r1", invalid_param: 1 }))
      const { code, data, message } = error as SoraRpcError.RpcError
      assert.deepStrictEqual([code, message, data], [
        -32602,
        "JSON-RPC-INVALID-PARAMS",
        { "UNKNOWN-KEYS": ["invalid_param"] }
      ])
    }),

  "a timeout": ({ rpc }) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(rpc.call("example.hang", {}, { timeout: "50 millis" }))
      assert.isTrue(error._tag === "TimeoutError" && Duration.toMillis(error.timeout) === 50)
    })
}

/** What waits when the connection ends. */
export const ending = Effect.fnUntraced(function*(
  { close, ownId, rpc, server }: Seed,
  how: "the client closes" | "the server closes"
) {
  const calls = yield* Effect.forEach(
    [1, 2, 3],
    () =>
      Effect.forkChild(Effect.flip(rpc.call("example.hang", {}, { timeout: Duration.infinity })), {
        startImmediately: true
      })
  )
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
})
