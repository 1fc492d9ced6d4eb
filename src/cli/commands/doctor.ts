/**
 * `doctor`: what works, what is granted, and what of our guesses about Sora
 * holds.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { recorderOf, whole } from "../connection.ts"
import { diagnose } from "../doctor/diagnose.ts"
import * as Report from "../doctor/report.ts"
import { redacted } from "../failure.ts"
import * as Flags from "../flags.ts"
import { note, progress, write as print } from "../output.ts"
import { Redactable } from "../recording/format.ts"
import * as Redact from "../recording/redact.ts"

const Signs = { ok: "✓", fault: "✗", skipped: "–" } as const

export const doctor = Command.make(
  "doctor",
  {
    write: Flags.bool(
      "write",
      "Also try what changes state: metadata of the doctor's own connection, which the channel sees pushed"
    ),
    ...Flags.connection,
    connectTimeout: Flags.duration("connect-timeout", "Time for the whole of connecting").pipe(
      Flag.withDefault(Duration.seconds(10))
    )
  },
  Effect.fnUntraced(function*({ write, ...flags }) {
    const { options, secrets } = yield* Flags.optionsOf(flags)
    const recorder = yield* recorderOf(flags, secrets)
    const { failure, report } = yield* whole(
      recorder,
      diagnose({
        options,
        recorder,
        write,
        teller: {
          progress,
          step: ({ detail, outcome, step }) =>
            Effect.andThen(
              progress(""),
              note(recorder.redactor.text(`${Signs[outcome]} ${step}${detail === "" ? "" : `: ${detail}`}`))
            )
        }
      })
    )
    yield* progress("")
    yield* print(Report.toJson(report), () => Report.toMarkdown(report))
    const shown = Redact.make({ secrets, keep: Redactable.literals })
    if (failure !== undefined) return yield* redacted(failure, shown)
  }, Effect.scoped)
).pipe(
  Command.withDescription(
    "Connect step by step, say what works, what is granted and which of our guesses about Sora hold, and print a report " +
      "that can be pasted into an issue. Changes nothing without --write"
  ),
  Command.withShortDescription("Say what works against a Sora, what it grants, and which of our guesses hold"),
  Command.withExamples([
    {
      command:
        "SORA_ACCESS_TOKEN=… sora-rpc doctor --signaling-url wss://sora.example.com/signaling --channel-id lobby --transcript doctor.jsonl",
      description: "With all that went over the wire, without secrets"
    },
    { command: "sora-rpc doctor --write --output json", description: "All that can be tried, as JSON" }
  ])
)
