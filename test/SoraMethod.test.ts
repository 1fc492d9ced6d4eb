import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { SoraMethod } from "effect-sora-rpc"
import { plain, survivesEngine } from "./utils/json.ts"

describe("resolve", () => {
  const { RequestSimulcastRid, resolve } = SoraMethod
  it("takes the exact version", () =>
    assert.strictEqual(
      resolve(RequestSimulcastRid, ["2027.2.0/RequestSimulcastRid", "2025.2.0/RequestSimulcastRid"]),
      "2025.2.0/RequestSimulcastRid"
    ))
  it("else the newest one, by number", () =>
    assert.strictEqual(
      resolve(RequestSimulcastRid, ["2026.9.0/RequestSimulcastRid", "2026.10.0/RequestSimulcastRid", "x/Other"]),
      "2026.10.0/RequestSimulcastRid"
    ))
  it("else the bare name", () =>
    assert.strictEqual(resolve(RequestSimulcastRid, ["RequestSimulcastRid"]), "RequestSimulcastRid"))
  it("else nothing", () => {
    assert.isUndefined(resolve(RequestSimulcastRid, []))
    assert.isUndefined(resolve(RequestSimulcastRid, ["2025.2.0/NotRequestSimulcastRid"]))
  })
  it("names a method without a version by its name", () =>
    assert.strictEqual(SoraMethod.wireName(SoraMethod.make("example.method")), "example.method"))
})

describe("the known methods", () => {
  const cases: ReadonlyArray<readonly [SoraMethod.Any, params: object, wire: object]> = [
    [SoraMethod.RequestSimulcastRid, {
      rid: "r1",
      senderConnectionId: "S",
      receiverConnectionId: "R",
      channelId: "C"
    }, { rid: "r1", sender_connection_id: "S", receiver_connection_id: "R", channel_id: "C" }],
    [SoraMethod.RequestSpotlightRid, {
      spotlightFocusRid: "r1",
      spotlightUnfocusRid: "none",
      sendConnectionId: "S"
    }, { spotlight_focus_rid: "r1", spotlight_unfocus_rid: "none", send_connection_id: "S" }],
    [SoraMethod.ResetSpotlightRid, { sendConnectionId: "S", recvConnectionId: "R" }, {
      send_connection_id: "S",
      recv_connection_id: "R"
    }],
    [SoraMethod.PutSignalingNotifyMetadata, { metadata: { a: [1, null] }, push: true }, {
      metadata: { a: [1, null] },
      push: true
    }],
    [SoraMethod.PutSignalingNotifyMetadataItem, { key: "k", value: null, connectionId: "R", channelId: "C" }, {
      key: "k",
      value: null,
      connection_id: "R",
      channel_id: "C"
    }]
  ]
  for (const [method, params, wire] of cases) {
    it.effect(`${method.name} has Sora's names on the wire`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* Schema.encodeEffect(method.params)(params), wire)
        assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(method.params)(wire), params)
      }))
  }
  it("are all listed", () => assert.deepStrictEqual([...SoraMethod.known], cases.map(([method]) => method)))

  for (const method of SoraMethod.known) {
    it.effect.prop(`${method.name}: decode . encode = identity`, { params: method.params, result: method.result }, (
      { params, result }
    ) =>
      Effect.gen(function*() {
        const roundTrip = Effect.fnUntraced(function*(schema: SoraMethod.PureSchema, value: unknown) {
          if (!survivesEngine(value)) return
          const codec = Schema.toCodecJson(schema)
          const wire = JSON.stringify(yield* Schema.encodeEffect(codec)(value))
          assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(codec)(JSON.parse(wire)), plain(value))
        })
        yield* roundTrip(method.params, params)
        yield* roundTrip(method.result, result)
      }))
  }
})

describe("Struct", () => {
  const Room = SoraMethod.Struct({
    roomId: Schema.String,
    h264Params: Schema.optionalKey(Schema.Json),
    region: Schema.optionalKey(Schema.Finite)
  }, { region: "REGION" })
  it.effect("has snake_case names on the wire, and the exceptions given", () =>
    Effect.gen(function*() {
      for (
        const [own, wire] of [
          [{ roomId: "lobby" }, { room_id: "lobby" }],
          [{ roomId: "lobby", h264Params: 1, region: 2 }, { room_id: "lobby", h264_params: 1, REGION: 2 }]
        ] as const
      ) {
        assert.deepStrictEqual(yield* Schema.encodeEffect(Room)(own), wire)
        assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(Room)(wire), own)
      }
    }))
  it("refuses two members of one name", () =>
    assert.throws(() => SoraMethod.Struct({ roomId: Schema.String, room_id: Schema.String })))
})

const epoch = new Date(0)

describe("withMetadata", () => {
  const Profile = Schema.Struct({ name: Schema.String, age: Schema.Int, since: Schema.Date })
  it.effect("decodes and encodes the user's own metadata", () =>
    Effect.gen(function*() {
      const method = SoraMethod.PutSignalingNotifyMetadata.withMetadata(Profile)
      const metadata = { name: "Mika", age: 7, since: epoch }
      const wire = yield* Schema.encodeEffect(Schema.toCodecJson(method.params))({ metadata })
      assert.deepStrictEqual(wire, { metadata: { name: "Mika", age: 7, since: "1970-01-01T00:00:00.000Z" } })
    }))
  it.effect("encodes what a handler answers, be it metadata or any JSON", () =>
    Effect.gen(function*() {
      const put = SoraMethod.PutSignalingNotifyMetadata.withMetadata(Profile)
      const putItem = SoraMethod.PutSignalingNotifyMetadataItem.withMetadata(Profile)
      const profile = { name: "Mika", age: 7, since: epoch }
      const wire = { ...profile, since: "1970-01-01T00:00:00.000Z" }
      for (const { result } of [put, putItem]) {
        const encode = Schema.encodeEffect(Schema.toCodecJson(result))
        assert.deepStrictEqual(yield* encode(profile), wire)
        assert.deepStrictEqual(yield* encode({ any: ["thing"] }), { any: ["thing"] })
      }
      const item = Schema.encodeEffect(Schema.toCodecJson(putItem.result))
      assert.deepStrictEqual(yield* item({ key: "since", value: epoch }), { key: "since", value: wire.since })
    }))
  it.effect("checks an item's value against its own key", () =>
    Effect.gen(function*() {
      const method = SoraMethod.PutSignalingNotifyMetadataItem.withMetadata(Profile)
      const encode = Schema.encodeUnknownEffect(Schema.toCodecJson(method.params))
      assert.deepStrictEqual(yield* encode({ key: "age", value: 8 }), { key: "age", value: 8 })
      for (const bad of [{ key: "age", value: "8" }, { key: "nope", value: 8 }]) {
        assert.strictEqual((yield* Effect.flip(encode(bad)))._tag, "SchemaError")
      }
    }))
})
