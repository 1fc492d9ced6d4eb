/**
 * What goes where: data to stdout, as JSON Lines in a pipe and readable on a
 * terminal; everything else to stderr, and progress only where that is a
 * terminal.
 */
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import { ExitCode } from "./failure.ts"

export type Form = "json" | "pretty"

const forms = ["json", "pretty"] as const

/** `--output`, on every command. */
export const OutputFlag = GlobalFlag.Setting("output")({
  flag: Flag.Literals("output", forms).pipe(
    Flag.withDescription(
      "Form of stdout; pretty on a terminal, json (JSON Lines) in a pipe. json makes errors on stderr JSON too [SORA_OUTPUT]"
    ),
    Flag.withFallbackConfig(Config.Literals(forms, "SORA_OUTPUT")),
    Flag.optional
  )
})

/** The form of stdout. */
export const form = Effect.gen(function*() {
  const asked = yield* OutputFlag
  if (Option.isSome(asked)) return asked.value
  return (yield* (yield* Stdio.Stdio).stdoutIsTerminal) ? "pretty" : "json"
})

/** Writes one value: a line of JSON, or what `pretty` makes of it (indented JSON, where it is left out). */
export const write = (value: Schema.Json, pretty?: () => string) =>
  Effect.flatMap(form, (form) =>
    Console.log(
      form === "json" ? JSON.stringify(value) : pretty === undefined ? JSON.stringify(value, null, 2) : pretty()
    ))

/** Tells whoever watches; it is no data. */
export const note = (text: string) => Console.error(text)

/** A line that the next one takes the place of, where somebody can see it. */
export const progress = (text: string): Effect.Effect<void, never, Stdio.Stdio> =>
  Effect.flatMap(Stdio.Stdio, ({ stderrIsTerminal }) =>
    Effect.map(stderrIsTerminal, (isTerminal) => {
      if (isTerminal) process.stderr.write(`\r\u001b[K${text}`)
    }))

/** With which code the process ends when it is interrupted; undefined where that is no way for it to end. */
const ending: { code: number | undefined } = { code: undefined }

/** For a command that runs until Ctrl-C, which is then no failure of it. */
export const endsByInterrupt = Effect.sync(() => {
  ending.code ??= 0
})

export const codeOfInterrupt = () => ending.code

/** When stdout takes no more: nothing is left to say, and what is open is closed in order, as at Ctrl-C. */
export const watchStdout = (): void => {
  let isOver = false
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (isOver) return
    isOver = true
    // Who reads a pipe may have had enough, as `head` has.
    ending.code = error.code === "EPIPE" ? 0 : ExitCode.BadUsage
    if (ending.code !== 0) {
      process.exitCode = ending.code
      process.stderr.write(`stdout cannot be written: ${error.message}\n`)
    }
    process.emit("SIGINT")
  })
}
