/**
 * Options, checked where they are given: one schema per layer, and one error
 * that names each option that is wrong, and not its value, which may be a
 * secret.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { InvalidOptions } from "../SoraRpcError.ts"

const format = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) =>
    issue._tag === "UnexpectedKey" ? "there is no option of this name" : SchemaIssue.defaultLeafHook(issue)
})

/**
 * The milliseconds of a `Duration.Input`; undefined for anything else.
 *
 * @internal
 */
export const millisOf = (input: unknown): number | undefined => {
  // Effect takes NaN and undefined for zero, and throws for anything else that is no duration.
  if (typeof input === "number") return Number.isNaN(input) ? undefined : input
  if (input === null || input === undefined) return undefined
  try {
    return Duration.toMillis(Duration.fromInputUnsafe(input as Duration.Input))
  } catch {
    return undefined
  }
}

/** @internal */
export const isTime = (input: unknown): input is Duration.Input => (millisOf(input) ?? -1) >= 0

/**
 * A `Duration.Input` of at least zero; `Duration.infinity` is one.
 *
 * @internal
 */
export const Time = Schema.declare(isTime, { expected: "a duration of at least 0, such as \"5 seconds\"" })

/**
 * A number of things of which there must be one at least. Infinity is no limit.
 *
 * @internal
 */
export const Count = Schema.Number.check(
  Schema.makeFilter((n: number) => n >= 1 && (Number.isInteger(n) || n === Infinity), {
    expected: "a whole number of at least 1"
  })
)

/**
 * What is wrong with the options, in one line; undefined when they fit.
 *
 * @internal
 */
export const issueOf = (schema: Schema.Codec<any, any>): (options: unknown) => string | undefined => {
  const decode = Schema.decodeUnknownResult(schema, { onExcessProperty: "error", errors: "all" })
  return (options) => {
    try {
      const decoded = decode(options)
      return Result.isSuccess(decoded) ?
        undefined :
        format(decoded.failure.issue).issues.map(({ message, path = [] }) =>
          [path.map(String).join("."), message].filter((text) => text !== "").join(": ")
        ).join("; ")
    } catch {
      // A getter of theirs threw; what it said may be a secret too.
      return "they cannot be read"
    }
  }
}

/**
 * Fails when the options do not fit the schema.
 *
 * @internal
 */
export const check = (schema: Schema.Codec<any, any>): (options: unknown) => Effect.Effect<void, InvalidOptions> => {
  const find = issueOf(schema)
  return (options) =>
    Effect.suspend(() => {
      const issue = find(options)
      return issue === undefined ? Effect.void : Effect.fail(new InvalidOptions({ issue }))
    })
}
