/**
 * `watch`: what the server tells a connection, line by line.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SoraConnection from "../../SoraConnection.ts"
import { Disconnected } from "../../SoraRpcError.ts"
import { withConnection } from "../connection.ts"
import { badUsage, ExitCode, Failure, failureOf } from "../failure.ts"
import * as Flags from "../flags.ts"
import { endsByInterrupt, write } from "../output.ts"
import type { Redactor } from "../recording/redact.ts"

const types = ["notify", "push", "signaling", "state"] as const

/** Each message once: a notify or a push is not among the signaling too. */
const lines = (
  { changes, signaling }: SoraConnection.SoraConnection["Service"],
  redactor: Redactor
): Stream.Stream<Schema.JsonObject & { readonly type: string }> =>
  Stream.merge(
    Stream.map(signaling, ({ direction, label, message, transport }) => {
      const told = message.type === "notify" || message.type === "push" ? message.type : "signaling"
      const json = redactor.json(message)
      return told === "signaling"
        ? { type: told, direction, transport, ...(label === undefined ? {} : { label }), message: json }
        : { type: told, message: json }
    }),
    Stream.map(changes, (state) => ({
      type: "state",
      state: state._tag,
      ...("attempt" in state ? { attempt: state.attempt } : {}),
      ...("reason" in state ? { reason: state.reason._tag, detail: redactor.text(state.reason.message) } : {})
    }))
  )

export const watch = Command.make(
  "watch",
  {
    type: Flags.list("type", `Only this: ${types.join(", ")}; may be given again`).pipe(
      Flag.withDefault(types as ReadonlyArray<string>)
    ),
    count: Flags.int("count", "End after so many lines", "SORA_WATCH_COUNT").pipe(Flag.optional),
    timeout: Flags.duration(
      "timeout",
      "End after this time; with --count it is an error to have seen fewer",
      "SORA_WATCH_TIMEOUT"
    ).pipe(
      Flag.withDefault(Duration.infinity)
    ),
    ...Flags.connection
  },
  Effect.fnUntraced(function*({ count, timeout, type, ...connection }) {
    const unknown = type.find((given) => !(types as ReadonlyArray<string>).includes(given))
    if (unknown !== undefined) return yield* badUsage("--type", `${unknown} is none of ${types.join(", ")}`)
    if (Option.isSome(count) && count.value < 1) {
      return yield* badUsage("--count", "give a whole number of at least 1")
    }
    yield* endsByInterrupt
    yield* withConnection(
      connection,
      (shown) =>
        Effect.gen(function*() {
          const session = yield* SoraConnection.SoraConnection
          const wanted = Stream.filter(lines(session, shown), (line) => type.includes(line.type))
          const ended = yield* Stream.runForEach(
            Option.isNone(count) ? wanted : Stream.take(wanted, count.value),
            (line) => write(line, () => JSON.stringify(line))
          ).pipe(Effect.timeoutOption(timeout))
          if (Option.isNone(ended)) {
            if (Option.isNone(count)) return
            return yield* new Failure({
              error: "TimeoutError",
              text: `fewer than ${count.value} lines within ${Duration.format(timeout)}`,
              exitCode: ExitCode.TimeoutError
            })
          }
          const state = yield* session.state
          if (state._tag === "Disconnected" && state.reason._tag !== "Released") {
            return yield* failureOf(new Disconnected({ reason: state.reason }))
          }
        })
    )
  })
).pipe(
  Command.withDescription("Print what the server tells, as JSON Lines, until Ctrl-C"),
  Command.withExamples([
    {
      command: "sora-rpc watch --type notify --signaling-url ws://127.0.0.1:5000/signaling --channel-id lobby",
      description: "Who comes and goes"
    },
    {
      command: "sora-rpc watch --type push --count 1 --timeout '10 seconds'",
      description: "Wait for a push; where to connect is in SORA_* variables"
    }
  ])
)
