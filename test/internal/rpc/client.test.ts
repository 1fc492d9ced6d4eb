/**
 * Random interleavings of everything that can happen to a call, against a model
 * that knows what each must come to: every call ends once, as the model says,
 * and nothing is left.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Schema, Scope } from "effect"
import { DisconnectReason, SoraMethod, type SoraRpcError } from "effect-sora-rpc"
import { TestClock } from "effect/testing"
import * as Channel from "../../../src/internal/rpc/channel.ts"
import * as Client from "../../../src/internal/rpc/client.ts"
import * as ReconnectingChannel from "../../../src/internal/rpc/reconnectingChannel.ts"

const M = SoraMethod.make("M", { params: Schema.Record(Schema.String, Schema.Unknown) })

const Index = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 30 }))
const Op = Schema.Union([
  Schema.Struct({
    op: Schema.Literal("call"),
    timeout: Schema.Literals([1, 2, 5, 50, "never"]),
    /** Whether what observes the caller throws when it ends. */
    throws: Schema.Boolean
  }),
  Schema.Struct({ op: Schema.Literal("notify") }),
  Schema.Struct({ op: Schema.Literals(["respond", "duplicate", "refuse", "violate", "interrupt"]), which: Index }),
  Schema.Struct({ op: Schema.Literal("wait"), millis: Schema.Literals([0, 1, 3, 10]) }),
  /** The server that it comes to may grant the method by another name, or no more. */
  Schema.Struct({
    op: Schema.Literal("reconnect"),
    grants: Schema.Literals(["M", "2025.2.0/M", "2026.1.0/M", "other"])
  }),
  Schema.Struct({ op: Schema.Literals(["stray", "garbage", "break", "reconnectWithoutChannel", "close"]) })
])

type Outcome =
  | "ok"
  | "ServerError"
  | "ProtocolViolation"
  | "TimeoutError"
  | "Unavailable"
  | "MethodNotAvailable"
  | "Disconnected"
  | "interrupted"

interface ModelCall {
  readonly fiber: Fiber.Fiber<unknown, SoraRpcError.SoraRpcError>
  readonly outcomes: Array<string>
  readonly throws: boolean
  readonly deadline: number
  expected: Outcome | undefined
}

class CallerDefect extends Error {}

const outcomeOf = (exit: Exit.Exit<unknown, SoraRpcError.SoraRpcError>): string => {
  if (Exit.isSuccess(exit)) return "ok"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interrupted"
  const reason = exit.cause.reasons.find(Cause.isFailReason)
  return reason === undefined
    ? "defect"
    : reason.error._tag === "RpcError"
    ? reason.error.reason._tag
    : reason.error._tag
}

/** What was handed to the process, as it would be in a page. */
const reported: Array<unknown> = []
Object.assign(globalThis, { reportError: (defect: unknown) => reported.push(defect) })

describe("the client under random interleavings", () => {
  it.effect.prop(
    "each call ends once, as the model says, and nothing is left",
    { ops: Schema.Array(Op) },
    ({ ops }) =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        let granted = ["2025.2.0/M"]
        /** What came, and what should have. */
        const frames: Array<readonly [unknown, unknown]> = []
        const isGranted = () => granted[0] !== "other"
        const reconnecting = ReconnectingChannel.make(() => false)
        const client = yield* Client.make({
          channel: reconnecting.channel,
          methodsUnsafe: () => granted,
          obstacleUnsafe: reconnecting.obstacle
        }, {
          defaultTimeout: "5 seconds",
          checkMethods: true,
          maxInFlight: 3,
          maxQueued: 1000,
          whenDisconnected: "wait"
        }).pipe(Scope.provide(scope))

        /** Requests that the server has, of the connection that is up. */
        let received: Array<number> = []
        let link: ReturnType<typeof Channel.makePair> | "none" | undefined
        let closed = false
        const context = yield* Effect.context<never>()
        const connect = () => {
          const pair = Channel.makePair()
          link = pair
          received = []
          pair.ends[1].listenUnsafe({
            onFrame: (frame) => {
              const { id, method, params } = JSON.parse(frame)
              frames.push([[method, params], [granted[0], { "a\"": id ?? "none" }]])
              if (id !== undefined) received.push(id)
            }
          })
          reconnecting.attach(pair.ends[0])
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
          if (typeof link !== "object") return
          link.ends[1].sendUnsafe(
            typeof message === "string" ? message : JSON.stringify({ jsonrpc: "2.0", ...message })
          )
        }
        /** One of the requests that the server has. */
        const pick = (which: number) => received.length === 0 ? undefined : received[which % received.length]

        for (const step of ops) {
          switch (step.op) {
            case "call": {
              // One that is refused for its method gets no id.
              const id = isGranted() ? nextId++ : -calls.size - 1
              const outcomes: Array<string> = []
              const call = client.call(M, { "a\"": id }, {
                timeout: step.timeout === "never" ? Duration.infinity : step.timeout
              })
              const recorded = Effect.onExit(call, (exit) => Effect.sync(() => outcomes.push(outcomeOf(exit))))
              calls.set(id, {
                fiber: Effect.runForkWith(context)(recorded),
                outcomes,
                throws: step.throws,
                deadline: step.timeout === "never" ? Infinity : now + step.timeout,
                expected: closed
                  ? "Disconnected"
                  : link === "none"
                  ? "Unavailable"
                  : isGranted()
                  ? undefined
                  : "MethodNotAvailable"
              })
              const added = calls.get(id)!
              // Of one that has ended already the throw comes here, to who observes it.
              if (step.throws && added.fiber.pollUnsafe() === undefined) {
                added.fiber.addObserver(() => {
                  throw new CallerDefect()
                })
              } else if (step.throws) {
                reported.push(new CallerDefect())
              }
              break
            }
            case "notify": {
              notifications.push(
                yield* Effect.forkChild(Effect.exit(client.notify(M, { "a\"": "none" })), { startImmediately: true })
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
              call.expected = "interrupted"
              try {
                call.fiber.interruptUnsafe()
              } catch (defect) {
                // Thrown by the caller's observer, to the one who interrupts it.
                reported.push(defect)
              }
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
              if (link === "none") reconnecting.interrupt(new DisconnectReason.SocketLost({}))
              else link.end(new DisconnectReason.SocketLost({}))
              link = undefined
              received = []
              for (const call of pending()) call.expected = "Disconnected"
              break
            }
            case "reconnect": {
              if (link !== undefined || closed) break
              granted = [step.grants]
              if (!isGranted()) { for (const call of pending()) call.expected = "MethodNotAvailable" }
              connect()
              break
            }
            case "reconnectWithoutChannel": {
              if (link !== undefined || closed) break
              link = "none"
              reconnecting.attach(undefined)
              for (const call of pending()) call.expected = "Unavailable"
              break
            }
            case "close": {
              closed = true
              yield* Scope.close(scope, Exit.void)
              for (const call of pending()) call.expected = "Disconnected"
            }
          }
          yield* Effect.yieldNow
          const sizes = client.sizes()
          const unsent = notifications.filter((fiber) => fiber.pollUnsafe() === undefined).length
          assert.strictEqual(sizes.waiting + sizes.queued, pending().length + unsent)
        }

        for (const [frame, expected] of frames) assert.deepStrictEqual(frame, expected)
        reconnecting.end(new DisconnectReason.Released())
        for (const call of pending()) call.expected = "Disconnected"
        yield* Scope.close(scope, Exit.void)
        for (const { expected, fiber, outcomes } of calls.values()) {
          assert.notStrictEqual(fiber.pollUnsafe(), undefined)
          assert.deepStrictEqual<Array<string | undefined>>(outcomes, [expected])
        }
        const throwing = Array.from(calls.values()).filter(({ throws }) => throws)
        assert.strictEqual(
          reported.splice(0).filter((defect) => defect instanceof CallerDefect).length,
          throwing.length
        )
        for (const fiber of notifications) yield* Fiber.await(fiber)
        assert.deepStrictEqual(client.sizes(), { waiting: 0, queued: 0 })
      }),
    { arbitrary: { runs: 500, size: 60 } }
  )
})
