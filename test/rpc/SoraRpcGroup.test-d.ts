import { describe, expectTypeOf, it } from "@effect/vitest"
import { Effect, type Layer, Schema } from "effect"
import { SoraMethod, type SoraRpc, type SoraRpcError } from "effect-sora-rpc"
import { SoraRpcGroup } from "effect-sora-rpc/rpc"
import { type Rpc, RpcClient } from "effect/rpc"
import type { RpcClientError } from "effect/rpc/RpcClientError"

type Errors = SoraRpcError.RpcError | SoraRpcError.TimeoutError | SoraRpcError.Disconnected | RpcClientError

const Own = SoraMethod.make("Own", {
  version: "1",
  params: Schema.Struct({ at: Schema.Date }),
  result: Schema.Struct({ count: Schema.Int })
})
const Bare = SoraMethod.make("Bare")
const group = SoraRpcGroup.make([...SoraMethod.known, Own, Bare])

describe("a client of the group", () => {
  it("has each method by its name, with its params, its result and the errors", () => {
    void Effect.gen(function*() {
      const client = yield* RpcClient.make(group)
      expectTypeOf(client.RequestSimulcastRid({ rid: "r1" })).toEqualTypeOf<
        Effect.Effect<
          {
            readonly channelId: string
            readonly receiverConnectionId: string
            readonly rid: string
            readonly senderConnectionId?: string
          },
          Errors
        >
      >()
      expectTypeOf(client.PutSignalingNotifyMetadataItem({ key: "mood", value: "busy" })).toEqualTypeOf<
        Effect.Effect<Schema.Json, Errors>
      >()
      expectTypeOf(client.Own({ at: new Date(0) })).toEqualTypeOf<Effect.Effect<{ readonly count: number }, Errors>>()
      expectTypeOf(client.Bare()).toEqualTypeOf<Effect.Effect<Schema.Json, Errors>>()
      void client.Bare(undefined, { headers: SoraRpcGroup.timeout("1 second") })
      // @ts-expect-error an unknown rid
      void client.RequestSimulcastRid({ rid: "r9" })
      // @ts-expect-error a string is no Date
      void client.Own({ at: "1970-01-01" })
      // @ts-expect-error no such method
      void client.Nothing
    })
  })

  it("knows the user's metadata", () => {
    const Profile = Schema.Struct({ name: Schema.String, age: Schema.Int })
    const own = SoraRpcGroup.make([SoraMethod.PutSignalingNotifyMetadataItem.withMetadata(Profile)])
    void Effect.gen(function*() {
      const client = yield* RpcClient.make(own)
      void client.PutSignalingNotifyMetadataItem({ key: "age", value: 8 })
      // @ts-expect-error the value of another key
      void client.PutSignalingNotifyMetadataItem({ key: "age", value: "8" })
    })
  })
})

describe("layers", () => {
  it("need the service that they call over", () => {
    expectTypeOf(SoraRpcGroup.layerProtocol(group)).toEqualTypeOf<
      Layer.Layer<RpcClient.Protocol, never, SoraRpc.SoraRpc>
    >()
    expectTypeOf(SoraRpcGroup.layerHandlers(SoraRpcGroup.make([Own, Bare]))).toEqualTypeOf<
      Layer.Layer<Rpc.Handler<"Own"> | Rpc.Handler<"Bare">, never, SoraRpc.SoraRpc>
    >()
  })
})
