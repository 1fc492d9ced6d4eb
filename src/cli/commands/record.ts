/**
 * `record`: a session of its own, written down.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SoraConnection from "../../SoraConnection.ts"
import * as SoraRpc from "../../SoraRpc.ts"
import { Disconnected, type SoraRpcError } from "../../SoraRpcError.ts"
import { withConnection } from "../connection.ts"
import { badUsage, failureOf } from "../failure.ts"
import * as Flags from "../flags.ts"
import { endsByInterrupt, note, write } from "../output.ts"
import { read, resolve } from "./call.ts"

/** One line of `--calls`. */
const Call = Schema.Struct({
  method: Schema.NonEmptyString,
  params: Schema.optionalKey(Schema.Union([Schema.JsonObject, Schema.Array(Schema.Json)])),
  notify: Schema.optionalKey(Schema.Boolean)
})

const decodeCall = Schema.decodeUnknownEffect(Schema.fromJsonString(Call), { onExcessProperty: "error" })

const parseCalls = Effect.fnUntraced(function*(given: Option.Option<string>) {
  if (Option.isNone(given)) return [] as ReadonlyArray<typeof Call.Type>
  const lines = (yield* read(given.value)).split(/\r?\n/)
  const calls: Array<typeof Call.Type> = []
  for (const [i, line] of lines.entries()) {
    if (line.trim() === "") continue
    calls.push(
      yield* Effect.mapError(
        decodeCall(line),
        () => badUsage("--calls", `line ${i + 1} is not like {"method":"RequestSimulcastRid","params":{"rid":"r1"}}`)
      )
    )
  }
  return calls
})

const errorOf = (error: SoraRpcError): Schema.JsonObject => {
  const { code, data, error: _tag, text } = failureOf(error)
  return {
    error: {
      _tag,
      message: text,
      ...(code === undefined ? {} : { code }),
      ...(data === undefined ? {} : { data })
    }
  }
}

export const record = Command.make(
  "record",
  {
    file: Argument.Path("file").pipe(Argument.withDescription("Where to write the recording")),
    calls: Flags.text(
      "calls",
      "Make these calls, one after the other: @file or - with a line like {\"method\":…,\"params\":…,\"notify\":…} each"
    ).pipe(Flag.optional),
    for: Flags.duration("for", "End after this time; without it after the calls, or without calls at Ctrl-C").pipe(
      Flag.optional
    ),
    timeout: Flags.timeout,
    ...Flags.connection
  },
  Effect.fnUntraced(function*({ calls, file, for: time, timeout, ...connection }) {
    if (Option.isSome(connection.transcript)) {
      return yield* badUsage("--transcript", "a recording is one; it is in the file that you named")
    }
    const script = yield* parseCalls(calls)
    yield* endsByInterrupt
    yield* withConnection(
      { ...connection, transcript: Option.some(file) },
      (shown) =>
        Effect.gen(function*() {
          const rpc = yield* SoraRpc.SoraRpc
          const session = yield* SoraConnection.SoraConnection
          const until = Option.isSome(time)
            ? Duration.isZero(time.value) ? Effect.void : Effect.sleep(time.value)
            : script.length > 0
            ? Effect.void
            : Effect.never
          yield* note(`Recording into ${file}${Option.isNone(time) && script.length === 0 ? " until Ctrl-C" : ""}.`)
          const calling = Effect.gen(function*() {
            const methods = yield* rpc.methods
            for (const { method: name, notify, params } of script) {
              const method = resolve(name, methods)
              // What a call fails with is a part of the recording, not of this program.
              const told: Effect.Effect<Schema.JsonObject, SoraRpcError> = notify === true
                ? Effect.as(rpc.notify(method, params), { notified: true })
                : Effect.map(rpc.call(method, params, { timeout }), (result) => ({ result }))
              const settled = yield* Effect.catch(told, (error) => Effect.succeed(errorOf(error)))
              yield* write(shown.known({ method, ...(settled as object) } as Schema.JsonObject))
            }
          })
          const over = Stream.runDrain(session.changes).pipe(
            Effect.andThen(session.state),
            Effect.flatMap((state) =>
              state._tag === "Disconnected" ? failureOf(new Disconnected({ reason: state.reason })) : Effect.void
            )
          )
          yield* Effect.raceFirst(Effect.andThen(calling, until), over)
        }),
      // What the server says to a method that it does not grant is worth recording.
      { checkMethods: false }
    )
  })
).pipe(
  Command.withDescription(
    "Write signaling and RPC of a session to a file, without tokens and credentials, and without metadata and addresses " +
      "unless --include names them"
  ),
  Command.withExamples([
    {
      command: "sora-rpc record session.jsonl --calls @calls.jsonl --include metadata",
      description: "Calls, and what they are answered; where to connect is in SORA_* variables"
    },
    { command: "sora-rpc record session.jsonl --for '1 minute'", description: "What a minute brings" }
  ])
)
