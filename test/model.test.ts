/**
 * Random interleavings of everything that can happen to a call, against a model
 * that knows what each must come to: every call ends once, as the model says,
 * and nothing is left.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Option, Schema, Scope } from "effect"
import { SoraRpcError } from "effect-sora-rpc"
import { TestClock } from "effect/testing"
import * as Channel from "../src/internal/channel.ts"
import * as Client from "../src/internal/client.ts"
import * as ReconnectingChannel from "../src/internal/reconnectingChannel.ts"

const Index = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 30 }))
const Op = Schema.Union([
  Schema.Struct({ op: Schema.Literal("call"), timeout: Schema.Literals([1, 2, 5, 50, "never"]) }),
  Schema.Struct({ op: Schema.Literal("notify") }),
  Schema.Struct({ op: Schema.Literals(["respond", "duplicate", "refuse", "violate", "interrupt"]), which: Index }),
  Schema.Struct({ op: Schema.Literal("wait"), millis: Schema.Literals([0, 1, 3, 10]) }),
  Schema.Struct({ op: Schema.Literals(["stray", "garbage", "break", "reconnect"]) })
])

type Outcome = "ok" | "ServerError" | "ProtocolViolation" | "TimeoutError" | "Disconnected" | "interrupted"

interface ModelCall {
  readonly fiber: Fiber.Fiber<Exit.Exit<unknown, Client.CallError>>
  readonly endings: { count: number }
  readonly deadline: number
  expected: Outcome | undefined
}

const outcomeOf = (exit: Exit.Exit<unknown, Client.CallError>): string => {
  if (Exit.isSuccess(exit)) return "ok"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interrupted"
  const reason = exit.cause.reasons.find(Cause.isFailReason)
  return reason === undefined
    ? "defect"
    : reason.error._tag === "RpcError"
    ? reason.error.reason._tag
    : reason.error._tag
}

describe("the client under random interleavings", () => {
  it.effect.prop(
    "each call ends once, as the model says, and nothing is left",
    { ops: Schema.Array(Op) },
    ({ ops }) =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const reconnecting = ReconnectingChannel.make(() => false)
        const client = yield* Client.make(Option.some(reconnecting.channel), () => ["m"], {
          defaultTimeout: "5 seconds",
          checkMethods: true,
          maxInFlight: 3,
          maxQueued: 1000,
          whenDisconnected: "wait"
        }).pipe(Scope.provide(scope))

        /** Requests that the server has, of the connection that is up. */
        let received: Array<number> = []
        let link: ReturnType<typeof Channel.makePair> | undefined
        const connect = () => {
          link = Channel.makePair()
          received = []
          link.ends[1].listenUnsafe({
            onFrame: (frame) => {
              const { id } = JSON.parse(frame)
              if (id !== undefined) received.push(id)
            },
            onMalformed() {},
            onWritable() {},
            onInterrupted() {},
            onEnd() {}
          })
          reconnecting.attach(link.ends[0])
        }
        connect()

        const calls = new Map<number, ModelCall>()
        const notifications: Array<Fiber.Fiber<unknown>> = []
        let nextId = 1
        let now = 0
        const pending = () => Array.from(calls.values()).filter(({ expected }) => expected === undefined)
        const settle = (id: number, outcome: Outcome) => {
          const call = calls.get(id)
          if (call !== undefined && call.expected === undefined) call.expected = outcome
        }
        const send = (message: object | string) => {
          link?.ends[1].sendUnsafe(
            typeof message === "string" ? message : JSON.stringify({ jsonrpc: "2.0", ...message })
          )
        }
        /** One of the requests that the server has. */
        const pick = (which: number) => received.length === 0 ? undefined : received[which % received.length]

        for (const step of ops) {
          switch (step.op) {
            case "call": {
              nextId++
              const endings = { count: 0 }
              const call = client.call("m", {}, {
                timeout: step.timeout === "never" ? Duration.infinity : step.timeout
              })
              const fiber = yield* Effect.forkChild(
                Effect.exit(Effect.onExit(call, () => Effect.sync(() => endings.count++))),
                { startImmediately: true }
              )
              calls.set(nextId - 1, {
                fiber,
                endings,
                deadline: step.timeout === "never" ? Infinity : now + step.timeout,
                expected: undefined
              })
              break
            }
            case "notify": {
              notifications.push(
                yield* Effect.forkChild(Effect.exit(client.notify("m", {})), { startImmediately: true })
              )
              break
            }
            case "respond":
            case "duplicate": {
              const id = pick(step.which)
              if (id === undefined) break
              for (let i = 0; i < (step.op === "duplicate" ? 2 : 1); i++) send({ id, result: id })
              settle(id, "ok")
              break
            }
            case "refuse": {
              const id = pick(step.which)
              if (id === undefined) break
              send({ id, error: { code: 1, message: "no" } })
              settle(id, "ServerError")
              break
            }
            case "violate": {
              const id = pick(step.which)
              if (id === undefined) break
              send({ id, result: 1, error: { code: 1, message: "no" } })
              settle(id, "ProtocolViolation")
              break
            }
            case "interrupt": {
              const waiting = pending()
              if (waiting.length === 0) break
              const call = waiting[step.which % waiting.length]!
              yield* Fiber.interrupt(call.fiber)
              call.expected = "interrupted"
              break
            }
            case "wait": {
              now += step.millis
              yield* TestClock.adjust(step.millis)
              for (const call of pending()) if (call.deadline <= now) call.expected = "TimeoutError"
              break
            }
            case "stray":
              send({ id: 1_000_000, result: 1 })
              break
            case "garbage":
              send("{]")
              break
            case "break": {
              if (link === undefined) break
              link.end(new SoraRpcError.SocketLost({}))
              link = undefined
              received = []
              for (const call of pending()) call.expected = "Disconnected"
              break
            }
            case "reconnect": {
              if (link === undefined) connect()
            }
          }
          yield* Effect.yieldNow
          const sizes = client.sizes()
          const unsent = notifications.filter((fiber) => fiber.pollUnsafe() === undefined).length
          assert.strictEqual(sizes.waiting + sizes.queued, pending().length + unsent)
        }

        reconnecting.end(new SoraRpcError.Released())
        for (const call of pending()) call.expected = "Disconnected"
        yield* Scope.close(scope, Exit.void)
        for (const { endings, expected, fiber } of calls.values()) {
          const exit = yield* Fiber.await(fiber)
          const inner = Exit.isSuccess(exit) ? exit.value : exit
          assert.strictEqual(outcomeOf(inner as Exit.Exit<unknown, Client.CallError>), expected)
          assert.strictEqual(endings.count, 1)
        }
        for (const fiber of notifications) yield* Fiber.await(fiber)
        assert.deepStrictEqual(client.sizes(), { waiting: 0, queued: 0 })
      }),
    { arbitrary: { runs: 500, size: 60 } }
  )
})
