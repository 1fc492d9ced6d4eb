/**
 * The fast way says what the schema says, of good and of bad input.
 */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { SoraMethod } from "effect-sora-rpc"
import * as Renamed from "../../src/internal/renamed.ts"

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

for (const method of SoraMethod.known) {
  describe(method.name, () => {
    const schemas = [method.params, method.result]
    const encode = schemas.map((schema) => [
      Renamed.encoder(schema, strictly),
      Schema.encodeUnknownResult(Schema.toCodecJson(schema), strictly)
    ])
    const decode = schemas.map((schema) => [
      Renamed.decoder(schema),
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
