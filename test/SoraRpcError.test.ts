/**
 * Errors that wrap another one: nothing of it is lost to whoever only prints or
 * logs the outer one.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Schema } from "effect"
import { DisconnectReason, SoraConnectionError, SoraRpcError } from "effect-sora-rpc"

const thrown = new Error("the radio is off")
const fault = new DisconnectReason.ClientFault({ cause: thrown })
const unavailable = new SoraRpcError.Unavailable({ detail: "refused", cause: thrown })
const lost = new SoraConnectionError.ConnectionLost({ reason: fault })

const wrapping = {
  RpcError: [new SoraRpcError.RpcError({ method: "m", reason: unavailable }), SoraRpcError.RpcError],
  Disconnected: [new SoraRpcError.Disconnected({ reason: fault }), SoraRpcError.Disconnected],
  ConnectionLost: [lost, SoraConnectionError.ConnectionLost],
  SoraConnectionError: [
    new SoraConnectionError.SoraConnectionError({ reason: lost }),
    SoraConnectionError.SoraConnectionError
  ]
} as const

for (const [name, [error, schema]] of Object.entries(wrapping)) {
  describe(name, () => {
    it("has its reason as its cause", () => {
      assert.strictEqual(error.cause, error.reason)
      const printed = Cause.pretty(Cause.fail(error))
      for (const { message } of [error, error.reason, thrown]) assert.include(printed, message)
    })

    it.effect("keeps it through JSON, where it stands once", () =>
      Effect.gen(function*() {
        const codec: Schema.Codec<any, any> = Schema.toCodecJson(schema)
        const json = yield* Schema.encodeEffect(codec)(error)
        assert.hasAllKeys(json, name === "RpcError" ? ["_tag", "method", "reason"] : ["_tag", "reason"])
        const back = yield* Schema.decodeUnknownEffect(codec)(JSON.parse(JSON.stringify(json)))
        assert.strictEqual(back.cause, back.reason)
        assert.strictEqual(back.message, error.message)
      }))
  })
}

it("Disconnected has the code and the text of the official SDKs", () => {
  const { code, message } = new SoraRpcError.Disconnected({ reason: fault })
  assert.deepStrictEqual({ code, message }, { code: -1, message: "Disconnected" })
})

it.effect("all three are one union", () =>
  Effect.gen(function*() {
    const codec = Schema.toCodecJson(SoraRpcError.SoraRpcError)
    const error: SoraRpcError.SoraRpcError = new SoraRpcError.Disconnected({ reason: fault })
    const json = yield* Schema.encodeEffect(codec)(error)
    assert.instanceOf(yield* Schema.decodeEffect(codec)(json), SoraRpcError.Disconnected)
  }))
