/**
 * The names of members: camelCase in this program, Sora's own snake_case on the
 * wire. This is the one place that turns one into the other.
 */
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import { camelToSnake } from "effect/String"

/**
 * Members that need no services to encode or decode.
 *
 * @internal
 */
export type Members = Readonly<Record<string, Schema.Codec<any, any>>>

/**
 * A struct whose members have other names on the wire.
 *
 * @category schemas
 * @since 0.1.0
 */
export interface Struct<M extends Members>
  extends Schema.Codec<Schema.Struct.Type<M>, { readonly [member: string]: any }>
{}

interface Renaming {
  readonly struct: Schema.Struct<Members>
  /** From the name here to the name on the wire. */
  readonly wireNames: Readonly<Record<string, string>>
}

// By syntax tree: that is what is left of a schema that is a member of another one.
const renamings = new WeakMap<SchemaAST.AST, Renaming>()

/**
 * The struct behind a {@link Struct}, and its names on the wire: for a codec that
 * renames and converts in one pass, and for a struct with some of its members.
 *
 * @internal
 */
export const renamingOf = (ast: SchemaAST.AST): Renaming | undefined => renamings.get(ast)

/**
 * A struct whose members are camelCase here and snake_case on the wire, as those
 * of Sora's own methods are. `names` has the exceptions. A call encodes and
 * decodes it about three times as fast as a `Schema.Struct` with
 * `Schema.encodeKeys`.
 *
 * ```ts
 * const GetRoomInfo = SoraMethod.make("GetRoomInfo", {
 *   params: SoraMethod.Struct({ roomId: Schema.String }), // {"room_id":"…"}
 *   result: SoraMethod.Struct({ memberCount: Schema.Int, region: Schema.String }, { region: "Region" })
 * })
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const Struct = <const M extends Members>(
  members: M,
  names: { readonly [Name in keyof M]?: string } = {}
): Struct<M> => {
  const struct = Schema.Struct(members)
  const wireNames = Object.fromEntries(Object.keys(members).map((name) => [name, names[name] ?? camelToSnake(name)]))
  // The names are computed, so that the compiler does not know them.
  const schema = struct.pipe(Schema.encodeKeys(wireNames as {})) as Schema.Constraint as Struct<M>
  renamings.set(schema.ast, { struct, wireNames })
  return schema
}
