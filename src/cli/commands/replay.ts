/**
 * `replay`: a server that answers as it was recorded.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import { badUsage, cannot } from "../failure.ts"
import { endsByInterrupt, note, write } from "../output.ts"
import * as Format from "../recording/format.ts"
import * as Replay from "../recording/replay.ts"
import { listening } from "./serve.ts"

export const replay = Command.make(
  "replay",
  {
    file: Argument.Path("file", { mustExist: true, pathType: "file" }).pipe(
      Argument.withDescription("A recording of `record`, or a transcript")
    ),
    ...listening
  },
  Effect.fnUntraced(function*({ file, ...options }) {
    const fs = yield* FileSystem.FileSystem
    const text = yield* Effect.mapError(
      fs.readFileString(file),
      ({ reason }) => badUsage(file, `cannot be read (${reason._tag})`)
    )
    const script = yield* Format.decode(text).pipe(
      Effect.flatMap(Replay.scriptOf),
      Effect.mapError(({ message }) => badUsage(file, message))
    )
    yield* endsByInterrupt
    const { url } = yield* Replay.make(script, options).pipe(
      Effect.mapError(({ message }) => cannot("SoraServerError", message))
    )
    yield* write({ url }, () => url)
    yield* note(`Answers ${script.exchanges.length} calls as they were recorded. Ctrl-C stops it.`)
    return yield* Effect.never
  }, Effect.scoped)
).pipe(
  Command.withDescription("Serve a recording: a server with its grants that answers, notifies and pushes as recorded"),
  Command.withExamples([{
    command: "sora-rpc replay session.jsonl --port 5000",
    description: "In place of the Sora that was recorded"
  }])
)
