/**
 * `ping`: round trips over the `rpc` channel.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as SoraRpc from "../../SoraRpc.ts"
import { withConnection } from "../connection.ts"
import { badUsage, ExitCode, Failure, failureOf } from "../failure.ts"
import * as Flags from "../flags.ts"
import { endsByInterrupt, progress, write } from "../output.ts"

/** A method that no server has: its error is an answer, and nothing is done for it. */
export const NoMethod = "effect-sora-rpc/ping"

/** The time that a share of the samples is within; nearest rank. */
const percentile = (sorted: ReadonlyArray<number>, share: number): number | null =>
  sorted.length === 0 ? null : sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!

const rounded = (millis: number | null) => millis === null ? null : Math.round(millis * 1000) / 1000

export const summary = (sent: number, times: ReadonlyArray<number>) => {
  const sorted = times.toSorted((a, b) => a - b)
  return {
    sent,
    answered: times.length,
    loss: sent === 0 ? 0 : Math.round((1 - times.length / sent) * 10_000) / 10_000,
    minMillis: rounded(sorted[0] ?? null),
    p50Millis: rounded(percentile(sorted, 0.5)),
    p99Millis: rounded(percentile(sorted, 0.99)),
    maxMillis: rounded(sorted.at(-1) ?? null)
  }
}

export const inWords = (told: ReturnType<typeof summary>): string =>
  `${told.sent} sent, ${told.answered} answered, ${Math.round(told.loss * 10_000) / 100} % lost` +
  (told.answered === 0
    ? ""
    : `; p50 ${told.p50Millis} ms, p99 ${told.p99Millis} ms, min ${told.minMillis} ms, max ${told.maxMillis} ms`)

export const ping = Command.make(
  "ping",
  {
    count: Flags.int("count", "How many calls; 0 goes on until Ctrl-C", "SORA_PING_COUNT").pipe(Flag.withDefault(10)),
    interval: Flags.duration("interval", "Time between them").pipe(Flag.withDefault(Duration.millis(200))),
    timeout: Flags.timeout,
    ...Flags.connection
  },
  Effect.fnUntraced(function*({ count, interval, timeout, ...connection }) {
    if (count < 0) return yield* badUsage("--count", "give a whole number of at least 0")
    yield* endsByInterrupt
    const times: Array<number> = []
    let sent = 0
    const once = Effect.gen(function*() {
      const rpc = yield* SoraRpc.SoraRpc
      const begun = yield* Clock.currentTimeNanos
      sent++
      yield* rpc.call(NoMethod, {}, { timeout }).pipe(
        Effect.catchTags({
          // An error of the server is an answer; one of this side is none.
          RpcError: (error) => error.reason._tag === "ServerError" ? Effect.void : Effect.fail(failureOf(error)),
          Disconnected: (error) => Effect.fail(failureOf(error))
        }),
        Effect.andThen(Effect.map(Clock.currentTimeNanos, (now) => void times.push(Number(now - begun) / 1e6))),
        Effect.catchTag("TimeoutError", () => Effect.void)
      )
      const last = times.at(-1)
      yield* progress(`${times.length}/${sent} answered, last ${last === undefined ? "none" : `${last.toFixed(2)} ms`}`)
    })
    const report = Effect.gen(function*() {
      yield* progress("")
      const told = summary(sent, times)
      yield* write(told, () => inWords(told))
    })
    yield* withConnection(
      connection,
      () =>
        Effect.gen(function*() {
          for (let i = 0; i < (count === 0 ? Infinity : count); i++) {
            if (i > 0) yield* Effect.sleep(interval)
            yield* once
          }
        }).pipe(Effect.ensuring(report)),
      { checkMethods: false }
    )
    if (times.length === 0 && sent > 0) {
      return yield* new Failure({
        error: "TimeoutError",
        text: "nothing was answered",
        exitCode: ExitCode.TimeoutError
      })
    }
  })
).pipe(
  Command.withDescription("Measure round trips over the rpc channel, with calls of a method that no server has"),
  Command.withExamples([{
    command:
      "sora-rpc ping --count 100 --interval '50 millis' --signaling-url ws://127.0.0.1:5000/signaling --channel-id lobby",
    description: "A hundred of them"
  }])
)
