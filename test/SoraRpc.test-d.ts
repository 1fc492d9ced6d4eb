import { describe, expectTypeOf, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { type PeerConnection, SoraMethod, SoraRpc, type SoraRpcError } from "effect-sora-rpc"
import type { RTCDataChannel as WeriftDataChannel, RTCPeerConnection as WeriftPeerConnection } from "werift"

declare const rpc: SoraRpc.SoraRpc["Service"]
type Errors = SoraRpcError.RpcError | SoraRpcError.TimeoutError | SoraRpcError.Disconnected

const Own = SoraMethod.make("Own", {
  version: "1",
  params: Schema.Struct({ at: Schema.Date }),
  result: Schema.Struct({ count: Schema.Int })
})
const Bare = SoraMethod.make("Bare")

describe("call", () => {
  it("has the schema's result and exactly the three errors", () => {
    expectTypeOf(rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r1" })).toEqualTypeOf<
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
    expectTypeOf(rpc.call(Own, { at: new Date(0) })).toEqualTypeOf<Effect.Effect<{ readonly count: number }, Errors>>()
    expectTypeOf(rpc.call(Bare)).toEqualTypeOf<Effect.Effect<Schema.Json, Errors>>()
    expectTypeOf(rpc.call("any.method", { a: 1 }, { timeout: "1 second" })).toEqualTypeOf<
      Effect.Effect<Schema.Json, Errors>
    >()
  })
  it("params may be left out where all of them may", () => {
    void rpc.call(SoraMethod.ResetSpotlightRid)
    void rpc.call(SoraMethod.ResetSpotlightRid, undefined, { timeout: "1 second" })
    void rpc.call(SoraMethod.ResetSpotlightRid, { sendConnectionId: "S" })
    void rpc.call(Bare, undefined, { timeout: "1 second" })
  })
  it("refuses wrong params", () => {
    // @ts-expect-error no params
    void rpc.call(SoraMethod.RequestSimulcastRid)
    // @ts-expect-error an unknown rid
    void rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r9" })
    // @ts-expect-error a member too many
    void rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r1", colour: "red" })
    // @ts-expect-error the wire's name
    void rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r1", sender_connection_id: "S" })
    // @ts-expect-error no params are taken
    void rpc.call(Bare, { a: 1 })
    // @ts-expect-error not JSON
    void rpc.call("any.method", { a: new Date(0) })
    // @ts-expect-error not a duration
    void rpc.call("any.method", {}, { timeout: "soon" })
    // @ts-expect-error a string is no Date
    void rpc.call(Own, { at: "1970-01-01" })
  })
  it("knows the user's metadata", () => {
    const Profile = Schema.Struct({ name: Schema.String, age: Schema.Int })
    const Put = SoraMethod.PutSignalingNotifyMetadata.withMetadata(Profile)
    expectTypeOf(rpc.call(Put, { metadata: { name: "Mika", age: 7 } })).toEqualTypeOf<
      Effect.Effect<{ readonly name: string; readonly age: number } | Schema.Json, Errors>
    >()
    // @ts-expect-error the result may be any JSON
    void Effect.map(rpc.call(Put, { metadata: { name: "Mika", age: 7 } }), ({ name }) => name)
    const PutItem = SoraMethod.PutSignalingNotifyMetadataItem.withMetadata(Profile)
    expectTypeOf(rpc.call(PutItem, { key: "age", value: 8 })).toEqualTypeOf<
      Effect.Effect<
        | SoraMethod.Item<"name", string>
        | SoraMethod.Item<"age", number>
        | { readonly name: string; readonly age: number }
        | Schema.Json,
        Errors
      >
    >()
    // @ts-expect-error the value of another key
    void rpc.call(PutItem, { key: "age", value: "8" })
    // @ts-expect-error no such key
    void rpc.call(PutItem, { key: "nope", value: 8 })
  })
})

describe("SoraMethod.Struct", () => {
  it("types its members as Schema.Struct does", () => {
    const Own = SoraMethod.make("Own", {
      params: SoraMethod.Struct({ roomId: Schema.String, since: Schema.optionalKey(Schema.Date) }, { since: "SINCE" }),
      result: SoraMethod.Struct({ memberCount: Schema.Int })
    })
    expectTypeOf(rpc.call(Own, { roomId: "lobby" })).toEqualTypeOf<
      Effect.Effect<{ readonly memberCount: number }, Errors>
    >()
    // @ts-expect-error the name on the wire
    void rpc.call(Own, { room_id: "lobby" })
    // @ts-expect-error an exception for no member
    void SoraMethod.Struct({ roomId: Schema.String }, { room: "ROOM" })
  })
})

describe("notify", () => {
  it("gives nothing and cannot time out", () => {
    expectTypeOf(rpc.notify(Own, { at: new Date(0) })).toEqualTypeOf<
      Effect.Effect<void, SoraRpcError.RpcError | SoraRpcError.Disconnected>
    >()
    // @ts-expect-error no such option
    void rpc.notify("any.method", {}, { timeout: "1 second" })
  })
})

describe("wrappers", () => {
  it("need the service", () => {
    expectTypeOf(SoraRpc.resetSpotlightRid()).toEqualTypeOf<
      Effect.Effect<{ readonly channelId: string; readonly recvConnectionId: string }, Errors, SoraRpc.SoraRpc>
    >()
  })
})

describe("a W3C implementation fits", () => {
  it("a browser's and werift's", () => {
    expectTypeOf<RTCDataChannel>().toExtend<PeerConnection.DataChannelLike>()
    expectTypeOf<RTCPeerConnection>().toExtend<PeerConnection.PeerConnectionLike>()
    expectTypeOf<WeriftDataChannel>().toExtend<PeerConnection.DataChannelLike>()
    expectTypeOf<WeriftPeerConnection>().toExtend<PeerConnection.PeerConnectionLike>()
  })
})
