/**
 * `call` and `notify`: one method, once.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as SoraMethod from "../../SoraMethod.ts"
import * as SoraRpc from "../../SoraRpc.ts"
import { withConnection } from "../connection.ts"
import { badUsage, type Failure, failureOf } from "../failure.ts"
import * as Flags from "../flags.ts"
import { write } from "../output.ts"

const method = Argument.String("method").pipe(
  Argument.withDescription("An entry of rpc_methods, or the name of a known method, such as RequestSimulcastRid")
)

const params = Argument.String("params").pipe(
  Argument.withDescription("A JSON object or array; @file reads a file, - reads stdin"),
  Argument.optional
)

/** What `@file` or `-` names, or the text itself. */
export const read = Effect.fnUntraced(function*(
  text: string
): Effect.fn.Return<string, Failure, FileSystem.FileSystem | Stdio.Stdio> {
  if (text === "-") {
    const { stdin } = yield* Stdio.Stdio
    return yield* Stream.mkString(Stream.decodeText(stdin)).pipe(
      Effect.mapError(() => badUsage("-", "stdin cannot be read"))
    )
  }
  if (!text.startsWith("@")) return text
  const fs = yield* FileSystem.FileSystem
  return yield* Effect.mapError(
    fs.readFileString(text.slice(1)),
    ({ reason }) => badUsage(text, `the file cannot be read (${reason._tag})`)
  )
})

const isParams = Schema.is(Schema.Union([Schema.JsonObject, Schema.Array(Schema.Json)]))

const parseParams = Effect.fnUntraced(function*(given: Option.Option<string>) {
  if (Option.isNone(given)) return undefined
  const params = yield* Flags.parseJson("params", yield* read(given.value))
  return isParams(params) ? params : yield* badUsage("params", "give a JSON object or array")
})

/** A known method may go by its name alone; what was granted decides the version. */
export const resolve = (name: string, methods: ReadonlyArray<string>): string => {
  const known = SoraMethod.known.find((method) => method.name === name)
  return known === undefined ? name : SoraMethod.resolve(known, methods) ?? name
}

const mood = `PutSignalingNotifyMetadataItem '{"key":"mood","value":"busy"}'`
const to = "--signaling-url ws://127.0.0.1:5000/signaling --channel-id lobby"

export const call = Command.make(
  "call",
  {
    method,
    params,
    timeout: Flags.timeout,
    check: Flags.bool("check", "Refuse a method that is not granted before it is sent", true),
    ...Flags.connection
  },
  Effect.fnUntraced(function*({ check, method, params, timeout, ...connection }) {
    const parsed = yield* parseParams(params)
    const result = yield* withConnection(
      connection,
      (shown) =>
        SoraRpc.SoraRpc.use((rpc) =>
          Effect.flatMap(rpc.methods, (methods) => rpc.call(resolve(method, methods), parsed, { timeout }))
        ).pipe(Effect.mapBoth({ onSuccess: shown.known, onFailure: failureOf })),
      { checkMethods: check }
    )
    yield* write(result)
  })
).pipe(
  Command.withDescription("Call a method and print its result as JSON"),
  Command.withExamples([
    { command: `sora-rpc call ${to} ${mood}`, description: "Set one item of this connection's metadata" },
    {
      command: `SORA_ACCESS_TOKEN=… sora-rpc call ${to} RequestSimulcastRid @params.json`,
      description: "With a token, and params from a file"
    },
    {
      command: `echo '{"value":123}' | sora-rpc call ${to} example.method -`,
      description: "A method of your own, params from stdin"
    }
  ])
)

export const notify = Command.make(
  "notify",
  { method, params, ...Flags.connection },
  Effect.fnUntraced(function*({ method, params, ...connection }) {
    const parsed = yield* parseParams(params)
    yield* withConnection(
      connection,
      () =>
        SoraRpc.SoraRpc.use((rpc) =>
          Effect.flatMap(rpc.methods, (methods) => rpc.notify(resolve(method, methods), parsed))
        ).pipe(Effect.mapError(failureOf))
    )
  })
).pipe(
  Command.withDescription("Send a notification: the server acts on it and never answers, not even with an error"),
  Command.withExamples([{ command: `sora-rpc notify ${to} ${mood}`, description: "Set an item without waiting" }])
)
