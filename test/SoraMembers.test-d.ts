import { describe, expectTypeOf, it } from "@effect/vitest"
import { Context, Effect, type Layer, type Option, Schema, type Stream } from "effect"
import {
  type Signaling,
  SoraConnection,
  type SoraConnectionError,
  SoraMembers,
  SoraMethod,
  type SoraRpc
} from "effect-sora-rpc"

const Profile = Schema.Struct({ nickname: Schema.String, since: Schema.optionalKey(Schema.Date) })
type Profile = typeof Profile.Type

describe("SoraMembers", () => {
  it("has the schema's type", () => {
    expectTypeOf(SoraMembers.get(Profile)).toEqualTypeOf<
      Effect.Effect<ReadonlyMap<string, SoraMembers.Member<Profile>>, never, SoraConnection.SoraConnection>
    >()
    expectTypeOf(SoraMembers.changes(Profile)).toEqualTypeOf<
      Stream.Stream<ReadonlyMap<string, SoraMembers.Member<Profile>>, never, SoraConnection.SoraConnection>
    >()
    expectTypeOf(SoraMembers.joins(Profile)).toEqualTypeOf<
      Stream.Stream<SoraMembers.Member<Profile>, never, SoraConnection.SoraConnection>
    >()
    expectTypeOf<SoraMembers.Member<Profile>["metadata"]>().toEqualTypeOf<Option.Option<Profile>>()
    expectTypeOf(SoraMembers.decode(Profile)).returns.toEqualTypeOf<Option.Option<Profile>>()
  })

  it("pushes are metadata, or one of its items", () => {
    type Items = SoraMembers.ItemPut<"nickname", string> | SoraMembers.ItemPut<"since", Date>
    expectTypeOf<SoraMembers.Put<typeof Profile>>().toEqualTypeOf<SoraMembers.MetadataPut<Profile> | Items>()
    expectTypeOf(SoraMembers.decodePush(Profile)).parameter(0).toEqualTypeOf<Signaling.Push>()
    const Names = Schema.Array(Schema.String)
    expectTypeOf<SoraMembers.Put<typeof Names>>().toEqualTypeOf<SoraMembers.MetadataPut<ReadonlyArray<string>>>()
    // @ts-expect-error a schema that needs a service
    void SoraMembers.get(null! as Schema.Codec<string, string, Context.Service<"a", string>>)
  })
})

describe("layerTest", () => {
  class Clients extends Context.Service<Clients, { readonly count: number }>()("Clients") {}
  const Count = SoraMethod.make("Count", { result: Schema.Int })

  it("gives the services of a connection, and the other end", () => {
    expectTypeOf(SoraConnection.layerTest()).toEqualTypeOf<
      Layer.Layer<
        SoraConnection.SoraConnection | SoraRpc.SoraRpc | SoraConnection.TestSora,
        SoraConnectionError.SoraConnectionError
      >
    >()
  })

  it("needs what its handlers need, but for the other end", () => {
    const layer = SoraConnection.layerTest({
      handlers: [SoraMethod.handle(Count, () =>
        Effect.gen(function*() {
          yield* (yield* SoraConnection.TestSora).push("counted")
          return (yield* Clients).count
        }))]
    })
    expectTypeOf<Layer.Services<typeof layer>>().toEqualTypeOf<Clients>()
    // @ts-expect-error a URL is not asked for
    void SoraConnection.layerTest({ signalingUrls: ["wss://sora.example.com"] })
  })
})
