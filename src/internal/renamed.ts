/**
 * Structs whose members have other names on the wire (`channelId` is
 * `channel_id`), made fast: `Schema.encodeKeys` costs 1.2 to 1.9 µs a time,
 * the struct without it 0.2 to 0.7, and a loop over the names nearly nothing.
 * So a schema made here remembers what it is made of.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

interface Renaming {
  readonly struct: Schema.Codec<any, any>
  /** From the name of the type to the name on the wire, of every member. */
  readonly names: ReadonlyArray<readonly [own: string, wire: string]>
}

const renamings = new WeakMap<object, Renaming>()

/**
 * `Schema.encodeKeys`, for a struct of plain members.
 *
 * @internal
 */
export const encodeKeys = <
  S extends Schema.Constraint & { readonly fields: Schema.Struct.Fields },
  const M extends { readonly [K in keyof S["fields"]]?: PropertyKey }
>(mapping: M) => {
  const rename = Schema.encodeKeys<S, M>(mapping)
  const wireNames: Readonly<Record<string, PropertyKey | undefined>> = mapping
  return (struct: S): Schema.encodeKeys<S, M> => {
    const schema = rename(struct)
    const names = Object.keys(struct.fields).map((own) => [own, String(wireNames[own] ?? own)] as const)
    // A method's schemas need no services: its type says so.
    renamings.set(schema, { struct: struct as Schema.Constraint as Schema.Codec<any, any>, names })
    return schema
  }
}

type Run<A> = (input: unknown) => Result.Result<A, Schema.SchemaError>

/**
 * What `encode`, of the whole schema, does. A failure is left to it, so that it
 * names things as ever.
 *
 * @internal
 */
export const encoder = (
  schema: Schema.Codec<any, any>,
  options: { readonly onExcessProperty: "error" }
): Run<unknown> => {
  const whole = Schema.encodeUnknownResult(Schema.toCodecJson(schema), options)
  const renaming = renamings.get(schema)
  if (renaming === undefined) return whole
  const encode = Schema.encodeUnknownResult(Schema.toCodecJson(renaming.struct), options)
  return (input) => {
    const encoded = encode(input)
    if (Result.isFailure(encoded)) return whole(input)
    const own = encoded.success as Record<string, unknown>
    const wire: Record<string, unknown> = {}
    for (const [from, to] of renaming.names) if (from in own) wire[to] = own[from]
    return Result.succeed(wire)
  }
}

/**
 * What `decode`, of the whole schema, does.
 *
 * @internal
 */
export const decoder = (schema: Schema.Codec<any, any>): Run<unknown> => {
  const whole = Schema.decodeUnknownResult(Schema.toCodecJson(schema))
  const renaming = renamings.get(schema)
  if (renaming === undefined) return whole
  const decode = Schema.decodeUnknownResult(Schema.toCodecJson(renaming.struct))
  return (input) => {
    if (typeof input !== "object" || input === null || Array.isArray(input)) return whole(input)
    const wire = input as Record<string, unknown>
    const own: Record<string, unknown> = {}
    for (const [to, from] of renaming.names) if (from in wire) own[to] = wire[from]
    const decoded = decode(own)
    return Result.isFailure(decoded) ? whole(input) : decoded
  }
}
