import { assert, describe, it } from "@effect/vitest"
import { SoraMethod } from "effect-sora-rpc"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as Dispatcher from "../../../src/internal/rpc/dispatcher.ts"
import { ServerError } from "../../../src/SoraRpcError.ts"

const Any = SoraMethod.make("Any", { version: "1", params: Schema.Struct({ secret: Schema.String }) })

const caller = { connectionId: "c", clientId: "c", channelId: "c" }

/** What comes of a call that is served by this handler, and what is logged meanwhile. */
const call = (handler: () => unknown) =>
  Effect.gen(function*() {
    const logged: Array<unknown> = []
    const { dispatch } = Dispatcher.make([
      SoraMethod.handle(Any, handler as () => Effect.Effect<Schema.Json, ServerError>)
    ])

    const answer = yield* dispatch(
      `{"jsonrpc":"2.0","id":7,"method":"1/Any","params":{"secret":"hush"}}`,
      caller,
      () => true
    ).pipe(Effect.provide(Logger.layer([
      Logger.make(({ cause, message }) => {
        logged.push(...[message].flat(), ...cause.reasons.map((reason) => Cause.isFailReason(reason) && reason.error))
      })
    ])))
    return { answer: answer === undefined ? undefined : JSON.parse(answer), logged }
  })

const internalError = { jsonrpc: "2.0", id: 7, error: { code: -32603, message: "JSON-RPC-INTERNAL-ERROR" } }

const circular: Record<string, unknown> = {}
circular["self"] = circular

describe("a handler that does what none may", () => {
  const mistakes: Record<string, () => unknown> = {
    "fails with a text": () => Effect.fail("x"),
    "fails with an error of its own": () => Effect.fail(new Error("x")),
    "fails with a look-alike": () => Effect.fail({ _tag: "ServerError", code: 1, message: "x" }),
    "fails with nothing": () => Effect.fail(undefined),
    "dies": () => Effect.die("x"),
    "throws": () => {
      throw new Error("x")
    },
    "interrupts itself": () => Effect.interrupt,
    "returns a value": () => 1,
    "returns nothing": () => undefined,
    "returns a promise": () => Promise.resolve(1),
    "returns a promise that is rejected": () => Promise.reject(new Error("nobody hears it")),
    "succeeds with what has no JSON": () => Effect.succeed(1n),
    "succeeds with a circle": () => Effect.succeed(circular),
    "fails with a code of 33 bits": () => Effect.fail(new ServerError({ code: 2 ** 32, message: "x" })),
    "fails with data that has no JSON": () =>
      Effect.fail(new ServerError({ code: 1, message: "x", data: 1n as never })),
    "fails with data that is a circle": () =>
      Effect.fail(new ServerError({ code: 1, message: "x", data: circular as never }))
  }
  for (const [name, handler] of Object.entries(mistakes)) {
    it.effect(`${name}: an internal error to the caller, the cause in the log`, () =>
      Effect.gen(function*() {
        const { answer, logged } = yield* call(handler)
        assert.deepStrictEqual(answer, internalError)
        assert.strictEqual(logged[0], "the handler of 1/Any failed")
        assert.notInclude(JSON.stringify(logged.filter((it) => typeof it === "string")), "hush")
      }))
  }

  it.effect("is logged for a notification, too", () =>
    Effect.gen(function*() {
      const { dispatch } = Dispatcher.make([SoraMethod.handle(Any, () => Effect.fail("x" as never))])
      const logged: Array<unknown> = []
      const answer = yield* dispatch(`{"jsonrpc":"2.0","method":"1/Any","params":{"secret":"s"}}`, caller, () => true)
        .pipe(Effect.provide(Logger.layer([Logger.make(({ message }) => void logged.push(message))])))
      assert.deepStrictEqual([answer, logged.length], [undefined, 1])
    }))

  it.effect("is answered although the logger fails", () =>
    Effect.gen(function*() {
      const { dispatch } = Dispatcher.make([SoraMethod.handle(Any, () => Effect.die("x"))])
      const answer = yield* dispatch(
        `{"jsonrpc":"2.0","id":7,"method":"1/Any","params":{"secret":"s"}}`,
        caller,
        () => true
      ).pipe(Effect.provide(Logger.layer([Logger.make(() => {
        throw new Error("no room on the disk")
      })])))
      assert.deepStrictEqual(JSON.parse(answer!), internalError)
    }))

  it.effect("an error that is one is answered as it is, and not logged", () =>
    Effect.gen(function*() {
      const error = { code: -5, message: "MINE", data: { at: "1970-01-01" } }
      const { answer, logged } = yield* call(() => Effect.fail(new ServerError(error)))
      assert.deepStrictEqual([answer.error, logged], [error, []])
    }))
})
