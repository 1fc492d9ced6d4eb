/**
 * The fast way says what the schema says, of good and of bad input.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { SoraMethod } from "effect-sora-rpc"
import * as Codec from "../../../src/internal/rpc/codec.ts"
import * as Wire from "../../../src/internal/wire.ts"

const strictly = { onExcessProperty: "error" } as const

const outcome = (result: Result.Result<unknown, Schema.SchemaError>) =>
  Result.isFailure(result) ? `refused: ${result.failure.message}` : result.success

const names = [
  "rid",
  "channelId",
  "channel_id",
  "receiverConnectionId",
  "receiver_connection_id",
  "senderConnectionId",
  "sender_connection_id",
  "connectionId",
  "connection_id",
  "metadata",
  "push",
  "key",
  "value",
  "colour"
]

/** Objects that look like params or results, right and wrong. */
const Lookalike = Schema.Record(
  Schema.Literals(names),
  Schema.Union([Schema.Literals(["r0", "none", "lobby"]), Schema.Boolean, Schema.Number, Schema.Null])
).pipe((whole) => Schema.Array(Schema.Struct({ whole, keep: Schema.Array(Schema.Literals(names)) })))

class Point extends Schema.Class<Point>("Point")({ x: Schema.Finite, y: Schema.Number }) {}

interface Tree {
  readonly name: string
  readonly children: ReadonlyArray<Tree>
}
const Tree = Schema.Struct({
  name: Schema.String,
  children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
})

const Inner = Schema.Struct({ rid: Schema.String, key: Schema.optionalKey(Schema.Int) })

/** What methods of users may be made of. */
const schemas: Record<string, SoraMethod.PureSchema> = {
  "members that have a form of their own": Schema.Struct({
    at: Schema.Date,
    big: Schema.BigInt,
    any: Schema.Number,
    bytes: Schema.Uint8Array
  }),
  "members that may be missing": Schema.Struct({
    rid: Schema.optional(Schema.String),
    key: Schema.optionalKey(Schema.NullOr(Schema.Int)),
    push: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(Effect.succeed(true))),
    metadata: Schema.OptionFromOptionalKey(Schema.String)
  }),
  "members with checks": Schema.Struct({
    key: Schema.NonEmptyString,
    value: Schema.Int.check(Schema.isGreaterThan(3)),
    colour: Schema.Literals([1, true, "r0"])
  }),
  "nested": Schema.Struct({ value: Inner, metadata: Schema.Json, key: Schema.Union([Inner, Schema.String]) }),
  "a class": Schema.Struct({ value: Point }),
  "a class of its own": Point,
  "a recursive one": Tree,
  "a check of the whole": Inner.check(Schema.makeFilter(({ rid }) => rid !== "none")),
  "any other members": Schema.StructWithRest(Inner, [Schema.Record(Schema.String, Schema.Json)]),
  "names of Object.prototype": Schema.Struct({
    constructor: Schema.optionalKey(Schema.String),
    toString: Schema.optionalKey(Schema.Json),
    rid: Schema.String
  }),
  "a name that is no usual member": Schema.Struct({ ["__proto__"]: Schema.optionalKey(Schema.String) }),
  "no members": Schema.Struct({}),
  "members without members": Schema.Struct({
    value: Schema.Struct({}),
    metadata: Schema.optionalKey(Schema.Struct({}))
  }),
  "a check of what is encoded": Schema.flip(Inner.check(Schema.makeFilter(({ rid }) => rid !== "none"))),
  "names changed by Schema itself": Inner.pipe(Schema.encodeKeys({ rid: "key", key: "rid" })),
  "names exchanged": Wire.Struct(Inner.fields, { rid: "key", key: "rid" }),
  "other names, nested": Wire.Struct({
    channelId: Schema.String,
    connectionId: Wire.Struct({ channelId: Schema.String, connectionId: Schema.optionalKey(Schema.Date) }),
    metadata: Schema.optionalKey(Wire.Struct({ channelId: Schema.Json }))
  })
}

/** With a member that no schema knows. */
const withColour = (value: unknown) =>
  typeof value === "object" && value?.constructor === Object ? { ...value, colour: "red" } : value

for (const [name, schema] of Object.entries(schemas)) {
  describe(name, () => {
    const runs = [
      [Codec.encoder(schema), Schema.encodeUnknownResult(Schema.toCodecJson(schema), strictly)],
      [Codec.decoder(schema), Schema.decodeUnknownResult(Schema.toCodecJson(schema))]
    ] as const
    const agree = (input: unknown) => {
      for (const [fast, whole] of runs) assert.deepStrictEqual(outcome(fast(input)), outcome(whole(input)))
    }

    it.prop("its own values and their JSON", [schema], ([value]) => {
      agree(value)
      agree(outcome(runs[0][1](value)))
      agree(withColour(value))
      agree(Object.fromEntries(Object.entries(value as object).map(([name, inner]) => [name, withColour(inner)])))
    })

    it.prop("what looks like them", [Lookalike], ([objects]) => {
      for (const { keep, whole } of objects) {
        agree(Object.fromEntries(Object.entries(whole).filter(([name]) => keep.includes(name))))
      }
    })

    it("undefined members, and members that are inherited", () => {
      agree({ rid: undefined, key: undefined, push: undefined, metadata: undefined })
      agree(Object.create({ rid: "r0", key: 5, value: 4, colour: 1 }))
      agree({ __proto__: { rid: "r0" }, colour: "red" })
      agree({ rid: "none", value: {}, [Symbol("colour")]: "red" })
    })
  })
}

for (const method of SoraMethod.known) {
  describe(method.name, () => {
    const schemas = [method.params, method.result]
    const encode = schemas.map((schema) => [
      Codec.encoder(schema),
      Schema.encodeUnknownResult(Schema.toCodecJson(schema), strictly)
    ])
    const decode = schemas.map((schema) => [
      Codec.decoder(schema),
      Schema.decodeUnknownResult(Schema.toCodecJson(schema))
    ])
    const agree = (input: unknown) => {
      for (const [fast, whole] of [...encode, ...decode]) {
        assert.deepStrictEqual(outcome(fast!(input)), outcome(whole!(input)))
      }
    }

    it.prop("params and results of its own", { params: method.params, result: method.result }, ({ params, result }) => {
      agree(params)
      agree(result)
      agree(outcome(encode[0]![1]!(params)))
      agree(outcome(encode[1]![1]!(result)))
    })

    it.prop("what looks like them", [Lookalike], ([objects]) => {
      for (const { keep, whole } of objects) {
        agree(Object.fromEntries(Object.entries(whole).filter(([name]) => keep.includes(name))))
      }
    })

    it.prop("any JSON", [Schema.Json], ([json]) => agree(json))

    it("an array, and members that are inherited", () => {
      agree([])
      agree(Object.create({ rid: "r0", channel_id: "lobby", receiver_connection_id: "R" }))
    })
  })
}

describe("the fast way is taken", () => {
  /** How often it is asked whether it has a member, which a schema asks even of one that is there. */
  const watched = (members: object) => {
    let asked = 0
    const input = new Proxy(members, {
      has: (target, name) => {
        asked++
        return Reflect.has(target, name)
      }
    })
    return { input, asked: () => asked }
  }
  const wire = { room_id: "lobby", inner_room: { room_id: "stage" } }
  const own = { roomId: "lobby", innerRoom: { roomId: "stage" } }

  it("for the names of SoraMethod.Struct, within another one too", () => {
    const inner = SoraMethod.Struct({ roomId: Schema.String })
    const decode = Codec.decoder(SoraMethod.Struct({ roomId: Schema.String, innerRoom: inner }))
    const [outside, inside] = [watched(wire), watched(wire.inner_room)]
    assert.deepStrictEqual(outcome(decode(outside.input)), own)
    assert.deepStrictEqual(outcome(decode({ ...wire, inner_room: inside.input })), own)
    assert.deepStrictEqual([outside.asked(), inside.asked()], [0, 0])
  })

  it("not for those of Schema.encodeKeys, whose renaming cannot be seen", () => {
    const inner = Schema.Struct({ roomId: Schema.String }).pipe(Schema.encodeKeys({ roomId: "room_id" }))
    const outer = Schema.Struct({ roomId: Schema.String, innerRoom: inner }).pipe(
      Schema.encodeKeys({ roomId: "room_id", innerRoom: "inner_room" })
    )
    const { input, asked } = watched(wire)
    assert.deepStrictEqual(outcome(Codec.decoder(outer)(input)), own)
    assert.isAbove(asked(), 0)
  })
})
