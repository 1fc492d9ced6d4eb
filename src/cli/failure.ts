/**
 * How a command fails: one error with a tag, a message and an exit code, on
 * stderr as text or, with `--output json`, as one line of JSON.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import type { SoraConnectionError } from "../SoraConnectionError.ts"
import type { SoraRpcError } from "../SoraRpcError.ts"
import type { Redactor } from "./recording/redact.ts"

/** Of a command line, a file or a variable that cannot be used; of a connection or a server that could not be made; of a call. */
export const ExitCode = {
  BadUsage: 1,
  SoraConnectionError: 2,
  RpcError: 3,
  TimeoutError: 4,
  Disconnected: 5,
  /** `doctor` got through, and not all is well. */
  Unwell: 6
} as const

/** What ends the process, and with which code. */
export class Failure extends Schema.TaggedError<Failure>()("Failure", {
  /** The tag of what went wrong. */
  error: Schema.String,
  text: Schema.String,
  exitCode: Schema.Int,
  code: Schema.optionalKey(Schema.Int),
  data: Schema.optionalKey(Schema.Any)
}) {
  override get [Runtime.errorExitCode]() {
    return this.exitCode
  }
  /** It is written by `run.ts`. */
  override readonly [Runtime.errorReported] = false

  override get message() {
    return this.text
  }
}

/** A line for each failure: what names the path of a member has lines of its own. */
const oneLine = (text: string) => text.replace(/\s*\n\s*/g, " ")

/** Something in the command line, or in what it names, that cannot be used; `mend` never repeats what may be a secret. */
export const badUsage = (what: string, mend: string): Failure =>
  new Failure({ error: "BadUsage", text: oneLine(`${what}: ${mend}`), exitCode: ExitCode.BadUsage })

/** {@link badUsage} where the text says by itself what it is about. */
export const badCommandLine = (text: string): Failure =>
  new Failure({ error: "BadUsage", text, exitCode: ExitCode.BadUsage })

/** What a connection or a call failed with. */
export const failureOf = (error: SoraConnectionError | SoraRpcError): Failure => {
  const { reason } = error._tag === "TimeoutError" ? { reason: undefined } : error
  return new Failure({
    error: error._tag,
    text: oneLine(error._tag === "Disconnected" ? `${error.message} (${error.reason.message})` : error.message),
    // Options are checked before anything is dialled.
    exitCode: reason?._tag === "InvalidOptions" ? ExitCode.BadUsage : ExitCode[error._tag],
    ...("code" in error ? { code: error.code } : {}),
    ...(error._tag === "RpcError" && error.data !== undefined ? { data: error.data } : {})
  })
}

/** The server or another thing of this machine could not be had. */
export const cannot = (error: string, text: string): Failure =>
  new Failure({ error, text: oneLine(text), exitCode: ExitCode.SoraConnectionError })

/** Without what must not be shown: a server may say again what it was told. */
export const redacted = <E>(error: E, shown: Redactor): E =>
  error instanceof Failure
    ? new Failure({
      error: error.error,
      exitCode: error.exitCode,
      ...(error.code === undefined ? {} : { code: error.code }),
      text: shown.text(error.text),
      ...(error.data === undefined ? {} : { data: shown.json(error.data) })
    }) as Failure & E
    : error

/** A failure as it is written to stderr. */
export const format = ({ code, data, error, exitCode, text }: Failure, as: "json" | "pretty"): string =>
  as === "json"
    ? JSON.stringify({
      error: {
        _tag: error,
        message: text,
        ...(code === undefined ? {} : { code }),
        ...(data === undefined ? {} : { data }),
        exitCode
      }
    })
    : error === "BadUsage"
    ? text
    : `${error}${code === undefined ? "" : ` ${code}`}: ${text}${data === undefined ? "" : ` ${JSON.stringify(data)}`}`

/** What is safe to say of a defect: its message may quote what came, so that only its name and place are. */
const placeOf = (error: unknown): string => {
  if (!(error instanceof Error)) return "no error was thrown"
  const place = /^ +at .*?([\w.-]+\.[jt]s:\d+):\d+\)?$/m.exec(error.stack ?? "")?.[1]
  return place === undefined ? error.name : `${error.name} at ${place}`
}

/** A failure of ours as it is; a defect as the fault that it is, without what it may hold. */
export const asFailure = (cause: Cause.Cause<unknown>): Effect.Effect<never, Failure> => {
  if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
  const error = Cause.squash(cause)
  return Effect.fail(
    error instanceof Failure
      ? error
      : new Failure({
        error: "Fault",
        text: `sora-rpc failed, which it should not: ${placeOf(error)}`,
        exitCode: ExitCode.BadUsage
      })
  )
}
