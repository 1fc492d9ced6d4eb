/**
 * A form for a schema, as data: what a page shows one field each of. What has no
 * field of its own is written as JSON.
 */
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"

/** One field. `Choice` has the texts that may be chosen, or any other JSON value that is a literal. */
export type Field =
  | { readonly _tag: "Text" }
  | { readonly _tag: "Number"; readonly integer: boolean }
  | { readonly _tag: "Boolean" }
  | { readonly _tag: "Choice"; readonly values: ReadonlyArray<Schema.Json> }
  | { readonly _tag: "Group"; readonly members: ReadonlyArray<Member> }
  | { readonly _tag: "List"; readonly item: Field }
  | { readonly _tag: "Json" }

/** A member of a `Group`. */
export interface Member {
  readonly name: string
  readonly optional: boolean
  readonly field: Field
}

/** {@link Field} as a schema, because a server sends its methods' forms to its page. */
export const Field: Schema.Codec<Field> = Schema.Union([
  Schema.TaggedStruct("Text", {}),
  Schema.TaggedStruct("Number", { integer: Schema.Boolean }),
  Schema.TaggedStruct("Boolean", {}),
  Schema.TaggedStruct("Choice", { values: Schema.Array(Schema.Json) }),
  Schema.TaggedStruct("Group", {
    members: Schema.Array(Schema.Struct({
      name: Schema.String,
      optional: Schema.Boolean,
      field: Schema.suspend((): Schema.Codec<Field> => Field)
    }))
  }),
  Schema.TaggedStruct("List", { item: Schema.suspend((): Schema.Codec<Field> => Field) }),
  Schema.TaggedStruct("Json", {})
])

const json: Field = { _tag: "Json" }

/** A schema may contain itself: deeper than this it is JSON. */
const MaxDepth = 6

const literalOf = (ast: SchemaAST.AST): Schema.Json | undefined =>
  ast._tag === "Literal" && typeof ast.literal !== "bigint" ? ast.literal : ast._tag === "Null" ? null : undefined

const choiceOf = (values: ReadonlyArray<Schema.Json | undefined>): Field | undefined =>
  values.every((value) => value !== undefined) ? { _tag: "Choice", values } : undefined

/** `optional`: whether nothing at all may be given, so that no field has to say so. */
const fieldOf = (ast: SchemaAST.AST, depth: number, optional = false): Field => {
  if (depth > MaxDepth) return json
  switch (ast._tag) {
    case "String":
    case "TemplateLiteral":
      return { _tag: "Text" }
    case "Number":
      return { _tag: "Number", integer: ast.checks?.some(isIntegerCheck) ?? false }
    case "Boolean":
      return { _tag: "Boolean" }
    case "Literal":
      return choiceOf([literalOf(ast)]) ?? json
    case "Enum":
      return { _tag: "Choice", values: ast.enums.map(([, value]) => value) }
    case "Union": {
      const types = ast.types.filter(({ _tag }) => _tag !== "Undefined" && !(optional && _tag === "Null"))
      return types.length === 1
        ? fieldOf(types[0]!, depth + 1)
        : types.length === 0
        ? json
        : choiceOf(types.map(literalOf)) ?? json
    }
    case "Objects":
      return ast.indexSignatures.length > 0 || ast.propertySignatures.length === 0 ? json : {
        _tag: "Group",
        members: ast.propertySignatures.map(({ name, type }) => ({
          name: String(name),
          optional: SchemaAST.isOptional(type),
          field: fieldOf(type, depth + 1, SchemaAST.isOptional(type))
        }))
      }
    case "Arrays":
      return ast.elements.length === 0 && ast.rest.length === 1
        ? { _tag: "List", item: fieldOf(ast.rest[0]!, depth + 1) }
        : json
    case "Suspend":
      return fieldOf(ast.thunk(), depth + 1)
    default:
      return json
  }
}

const isIntegerCheck = (check: SchemaAST.Check<any>): boolean =>
  check._tag === "FilterGroup"
    ? check.checks.some(isIntegerCheck)
    : (check.annotations?.["representation"] as { readonly id?: string } | undefined)?.id === "effect/schema/isInt"

/**
 * The form for what a program gives (`Type`, camelCase for Sora's own methods),
 * or for what stands on the wire.
 */
export const formOf = (schema: Schema.Codec<any, any>, side: "type" | "wire"): Field | undefined =>
  schema.ast._tag === "Void" || schema.ast._tag === "Undefined"
    ? undefined
    : fieldOf(side === "type" ? SchemaAST.toType(schema.ast) : Schema.toEncoded(Schema.toCodecJson(schema)).ast, 0)
