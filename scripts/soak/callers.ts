/**
 * Programs that misuse a good connection: they throw, give up, time out, call
 * from callbacks, and pass what is no JSON.
 */
import { SoraMethod, SoraRpc } from "effect-sora-rpc"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import type { Dice } from "./dice.ts"
import { type Expected, Provoked } from "./ledger.ts"
import * as Nonsense from "./nonsense.ts"
import {
  type Client,
  connectWell,
  Die,
  Echo,
  handlers,
  Hang,
  Long,
  Refuse,
  type Rpc,
  type Scenario,
  type Stage,
  witness,
  Wrong
} from "./stage.ts"

const provoke = (what: string): never => {
  throw new Provoked(what)
}

const throwing = Schema.String.pipe(
  Schema.decode({
    decode: SchemaGetter.transform((): string => provoke("decode")),
    encode: SchemaGetter.transform((): string => provoke("encode"))
  })
)
const ThrowsEncoding = SoraMethod.make("Echo", { version: "1", params: Schema.Struct({ text: throwing }) })
const ThrowsDecoding = SoraMethod.make("Echo", {
  version: "1",
  params: Schema.Struct({ text: Schema.String }),
  result: Schema.Struct({ text: throwing })
})
const Misfit = SoraMethod.make("Echo", {
  version: "1",
  params: Schema.Struct({ text: Schema.String }),
  result: Schema.Struct({ number: Schema.Finite })
})
const Anything = SoraMethod.make("Echo", { version: "1", params: Schema.Json })

const cyclic: Record<string, unknown> = {}
cyclic["self"] = cyclic

/** What is no JSON, or says so only when it is looked at. */
const strangeParams = (dice: Dice): any =>
  dice.pick<() => unknown>([
    () => ({
      get text() {
        return provoke("getter")
      }
    }),
    () => ({ text: "x", toJSON: () => provoke("toJSON") }),
    () => ({ text: "x", toJSON: () => undefined }),
    () => ({ text: 1n }),
    () => cyclic,
    () => JSON.parse(Nonsense.nested(100_000)),
    () => ({ text: Symbol("x") }),
    () => new Proxy({}, { ownKeys: () => provoke("ownKeys"), get: () => provoke("get") }),
    () => new Map([["text", "x"]]),
    () => [undefined, () => {}],
    () => "text",
    () => Number.NaN,
    () => null,
    () => Nonsense.value(dice)
  ])()

interface Made extends Expected {
  readonly call: Effect.Effect<unknown, any>
}

const kinds: ReadonlyArray<(rpc: Rpc, dice: Dice) => Made> = [
  (rpc, dice) => ({ call: rpc.call(Echo, { text: dice.text(dice.size(10_000)) }), withinMillis: 5000, as: ["ok"] }),
  (rpc) => ({ call: rpc.call("1/Echo", { text: "x" }), withinMillis: 5000, as: ["ok"] }),
  (rpc, dice) => {
    const withinMillis = dice.size(300)
    return { call: rpc.call(Hang, undefined, { timeout: withinMillis }), withinMillis, as: ["TimeoutError"] }
  },
  (rpc, dice) => ({
    call: rpc.call(Hang, undefined, {
      // Not all are durations: those that are none are the caller's own defect.
      timeout: dice.pick<any>([0, -1, Number.NaN, -Infinity, "0 millis", "nonsense", "1 minutes ago", {}, []])
    }),
    withinMillis: 100,
    as: ["TimeoutError", "RpcError/InvalidParams", "DEFECT"]
  }),
  (rpc, dice) => ({
    // For ever, or for longer than a timer takes: so it is given up.
    call: Effect.timeoutOption(rpc.call(Hang, undefined, { timeout: dice.pick([Infinity, 1e300, 2 ** 31]) }), 50),
    withinMillis: 100,
    as: ["ok", "DEFECT"]
  }),
  (rpc, dice) => ({
    call: rpc.call("1/Echo", strangeParams(dice)),
    withinMillis: 5000,
    as: ["ok", "RpcError/InvalidParams", "RpcError/ServerError", "RpcError/PayloadTooLarge"]
  }),
  (rpc, dice) => ({
    call: rpc.call(Anything, strangeParams(dice)),
    withinMillis: 5000,
    as: ["ok", "RpcError/InvalidParams", "RpcError/ServerError", "RpcError/PayloadTooLarge"]
  }),
  (rpc, dice) => ({
    call: rpc.call(Echo, strangeParams(dice)),
    withinMillis: 5000,
    as: ["ok", "RpcError/InvalidParams"]
  }),
  (rpc) => ({ call: rpc.call(ThrowsEncoding, { text: "x" }), withinMillis: 5000, as: ["RpcError/InvalidParams"] }),
  (rpc) => ({ call: rpc.call(ThrowsDecoding, { text: "x" }), withinMillis: 5000, as: ["DEFECT"] }),
  (rpc) => ({ call: rpc.call(Misfit, { text: "x" }), withinMillis: 5000, as: ["RpcError/InvalidResult"] }),
  (rpc) => ({ call: rpc.call(Refuse), withinMillis: 5000, as: ["RpcError/ServerError"] }),
  (rpc) => ({ call: rpc.call(Die), withinMillis: 5000, as: ["RpcError/ServerError"] }),
  (rpc) => ({ call: rpc.call(Wrong), withinMillis: 5000, as: ["RpcError/ServerError"] }),
  (rpc, dice) => ({ call: rpc.call(Long, { length: dice.size(200_000) }), withinMillis: 5000, as: ["ok"] }),
  (rpc, dice) => ({
    call: rpc.call(Echo, { text: dice.text(400_000) }),
    withinMillis: 5000,
    as: ["RpcError/PayloadTooLarge"]
  }),
  (rpc, dice) => ({
    call: rpc.call(dice.pick(["", "__proto__", "constructor", "1/echo", dice.text(1000)])),
    withinMillis: 100,
    as: ["RpcError/MethodNotAvailable"]
  }),
  (rpc, dice) => ({
    call: rpc.notify(Echo, { text: dice.text(dice.size(10_000)) }),
    withinMillis: 5000,
    as: ["ok"]
  }),
  (rpc, dice) => ({
    call: rpc.notify("1/Die", strangeParams(dice)),
    withinMillis: 5000,
    as: ["ok", "RpcError/InvalidParams", "RpcError/PayloadTooLarge"]
  })
]

/**
 * One call of a random kind, made and perhaps given up in a random way. Completes when it is over. `queued` when it may
 * have to wait for others so long that it times out.
 */
export const misuse = (stage: Stage, rpc: Rpc, queued = false): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { dice, ledger, where } = stage
    const { as, call, withinMillis } = dice.pick(kinds)(rpc, dice)
    const expected = { as: queued ? [...as, "TimeoutError"] : as, withinMillis }
    const counted = Effect.exit(ledger.call(where, expected, call))
    const withCallback = (onExit: (exit: Exit.Exit<unknown, any>) => void) =>
      Effect.callback<void>((resume) => {
        ledger.callback(where, expected, call, (exit) => {
          // First, because a callback that throws goes no further.
          resume(Effect.void)
          onExit(exit)
        })
      }).pipe(
        // The ledger tells of one that does not end; the scenario goes on.
        Effect.timeoutOption(expected.withinMillis + 3000)
      )
    switch (dice.below(8)) {
      case 0:
        return Effect.asVoid(Effect.timeoutOption(counted, dice.size(50)))
      case 1:
        return Effect.flatMap(
          Effect.forkChild(counted, { startImmediately: dice.chance(0.5) }),
          (fiber) =>
            Effect.andThen(dice.chance(0.5) ? Effect.yieldNow : Effect.sleep(dice.size(20)), Fiber.interrupt(fiber))
        )
      case 2:
        return Effect.asVoid(Effect.raceFirst(counted, Effect.exit(ledger.call(where, expected, call))))
      case 3:
        return Effect.asVoid(withCallback(() => {}))
      case 4:
        return Effect.asVoid(withCallback(() => {
          ledger.provoked.thrown++
          throw new Provoked("callback")
        })).pipe(
          // Of a call that is over at once the callback is called in this fiber.
          Effect.catchDefect((defect) =>
            defect instanceof Provoked ? Effect.sync(() => void ledger.provoked.caught++) : Effect.die(defect)
          )
        )
      case 5:
        return Effect.asVoid(withCallback(() => {
          ledger.callback(
            where,
            { withinMillis: 5000, as: queued ? ["ok", "TimeoutError"] : ["ok"] },
            rpc.call(Echo, { text: "again" }),
            () => {}
          )
        }))
      default:
        return Effect.asVoid(counted)
    }
  })

const crowd = (stage: Stage, rpc: Rpc, queued?: boolean) =>
  Effect.forEach(
    Array.from({ length: stage.dice.size(150) + 1 }),
    () => misuse(stage, rpc, queued),
    { concurrency: stage.dice.pick([1, 4, 40, "unbounded"]), discard: true }
  )

/** Calls that wait for ever, and what is left of them when the connection goes. */
const abandoned = (stage: Stage, { close, rpc }: Pick<Client, "rpc" | "close">) =>
  Effect.gen(function*() {
    const { dice, ledger, where } = stage
    const count = dice.size(200)
    const waiting = yield* Effect.forEach(Array.from({ length: count }), () => {
      const expected = { withinMillis: 5000, as: ["Disconnected"] }
      const call = rpc.call(Hang, undefined, { timeout: Duration.infinity })
      if (!dice.chance(0.1)) {
        return Effect.forkChild(Effect.exit(ledger.call(where, expected, call)), { startImmediately: true })
      }
      return Effect.as(
        Effect.sync(() =>
          ledger.callback(where, expected, call, () => {
            ledger.provoked.thrown++
            throw new Provoked("callback at the end")
          })
        ),
        undefined
      )
    })
    if (dice.chance(0.5)) yield* Effect.sleep(dice.size(100))
    yield* close
    yield* Effect.forEach(waiting, (fiber) => fiber === undefined ? Effect.void : Fiber.await(fiber), { discard: true })
      .pipe(
        Effect.timeoutOption("5 seconds")
      )
  })

export const scenarios: Readonly<Record<string, Scenario>> = {
  "callers over WebRTC": {
    weight: 6,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const client = yield* connectWell(stage, { ignoreDisconnectWebsocket: stage.dice.chance(0.5) })
      yield* crowd(stage, client.rpc)
      yield* witness(stage, client.rpc)
      yield* abandoned(stage, client)
    })
  },
  "callers in memory": {
    weight: 6,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const options = { maxInFlight: dice.pick([1, 2, 32, 1e6]), maxQueued: dice.pick([1000, 65_536]) }
      const context = yield* Layer.build(SoraRpc.layerTest(handlers, options))
      const rpc = Context.get(context, SoraRpc.SoraRpc)
      yield* crowd(stage, rpc, options.maxInFlight < 32)
      yield* witness(stage, rpc)
    })
  }
}
