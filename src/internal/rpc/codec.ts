/**
 * What a method's schemas do, as functions made once.
 *
 * `Schema` needs 0.2 µs to decode a struct, 0.7 to encode one without unknown
 * members, and three times as much when its members have other names on the wire
 * (`channelId` is `channel_id`). So a struct is converted here, member by member:
 * a value that is the same in both forms (a string, a literal) needs only
 * `Schema.is`, any other its own codec. Input that does not fit is given to the
 * schema itself, which says what is wrong with it.
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { renamingOf } from "../wire.ts"

/** Succeeds with the other form of the value. */
type Run = (input: unknown) => Result.Result<unknown, Schema.SchemaError>

interface Member {
  readonly own: string
  readonly wire: string
  /** May be left out, and then is left out in the other form too. */
  readonly optional: boolean
  /** Whether the value is the same in both forms; absent for a member that has two. */
  readonly isSame: ((value: unknown) => boolean) | undefined
  readonly run: Run
}

/** The members of a struct that is no more than its members; one without any takes whatever there is. */
const membersOf = (
  schema: Schema.Codec<any, any>,
  codec: (member: Schema.Codec<any, any>) => Run
): ReadonlyArray<Member> | undefined => {
  const renaming = renamingOf(schema.ast)
  const { ast } = renaming?.struct ?? schema
  if (
    ast._tag !== "Objects" || ast.propertySignatures.length === 0 || ast.indexSignatures.length > 0 ||
    (ast.checks ?? ast.encodingChecks ?? ast.encoding) !== undefined
  ) {
    return undefined
  }
  const members: Array<Member> = []
  for (const { name, type } of ast.propertySignatures) {
    if (typeof name !== "string" || name === "__proto__") return undefined
    const member = Schema.make<Schema.Codec<any, any>>(type)
    const json = Schema.toCodecJson(member)
    const isSame = SchemaAST.toType(json.ast) === json.ast
    const isAnyString = json.ast._tag === "String" && json.ast.checks === undefined
    members.push({
      own: name,
      wire: renaming?.wireNames[name] ?? name,
      optional: isSame && SchemaAST.isOptional(type),
      isSame: !isSame ? undefined : isAnyString ? Predicate.isString : Schema.is(json),
      run: codec(member)
    })
  }
  return members
}

/** Goes through the members from one name to the other; undefined when the schema has to say what is wrong. */
const convert = (
  input: Record<string, unknown>,
  members: ReadonlyArray<Member>,
  from: "own" | "wire",
  to: "own" | "wire"
): Record<string, unknown> | undefined => {
  const output: Record<string, unknown> = {}
  for (const member of members) {
    const value = input[member[from]]
    if (value === undefined) {
      if (member.optional && !(member[from] in input)) continue
      return undefined
    }
    // Of an object the schema may keep only what it knows.
    if (member.isSame !== undefined && (typeof value !== "object" || value === null)) {
      if (!member.isSame(value)) return undefined
      output[member[to]] = value
    } else {
      const result = member.run(value)
      if (Result.isFailure(result)) return undefined
      output[member[to]] = result.success
    }
  }
  return output
}

/**
 * Encodes to JSON, and refuses members that the schema does not know.
 *
 * @internal
 */
export const encoder = (schema: Schema.Codec<any, any>): Run => {
  const whole = Schema.encodeUnknownResult(Schema.toCodecJson(schema), { onExcessProperty: "error" })
  const members = membersOf(schema, encoder)
  if (members === undefined) return whole
  const known = new Set(members.map(({ own }) => own))
  const hasOthers = (input: object) => {
    for (const name in input) if (!known.has(name)) return true
    return Object.getOwnPropertySymbols(input).length > 0
  }
  return (input) => {
    const output = Predicate.isObject(input) && !hasOthers(input) ? convert(input, members, "own", "wire") : undefined
    return output === undefined ? whole(input) : Result.succeed(output)
  }
}

/**
 * Decodes from JSON, and leaves out members that the schema does not know.
 *
 * @internal
 */
export const decoder = (schema: Schema.Codec<any, any>): Run => {
  const whole = Schema.decodeUnknownResult(Schema.toCodecJson(schema))
  const members = membersOf(schema, decoder)
  if (members === undefined) return whole
  return (input) => {
    const output = Predicate.isObject(input) ? convert(input, members, "wire", "own") : undefined
    return output === undefined ? whole(input) : Result.succeed(output)
  }
}
