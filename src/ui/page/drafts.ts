/**
 * What stands in the fields of a form, and the JSON that it means.
 */
import type * as Schema from "effect/Schema"
import type { Field } from "../internal/form.ts"
import type { Texts } from "./texts.ts"

/** A text per field. Of a choice the place in the list. Empty is nothing. */
export type Draft = string | ReadonlyArray<Draft> | { readonly [member: string]: Draft }

export const empty = (field: Field): Draft => {
  switch (field._tag) {
    case "Group":
      return Object.fromEntries(field.members.map(({ field, name }) => [name, empty(field)]))
    case "List":
      return []
    default:
      return ""
  }
}

/** What is wrong, and of which member. */
export class BadDraft extends Error {}

type Meaning = Schema.Json | undefined

const groupOf = (draft: Draft): { readonly [member: string]: Draft } =>
  typeof draft === "object" && !Array.isArray(draft) ? draft as { readonly [member: string]: Draft } : {}

/** Throws `BadDraft`. `name` is that of the member. */
export const toJson = (field: Field, draft: Draft, texts: Texts, name = "", optional = false): Meaning => {
  const bad = (what: string): never => {
    throw new BadDraft(`${name} ${what}`.trim())
  }
  switch (field._tag) {
    case "Group": {
      const members = groupOf(draft)
      const found = field.members.flatMap(({ field, name: member, optional }): Array<[string, Schema.Json]> => {
        const path = name === "" ? member : `${name}.${member}`
        const value = toJson(field, members[member] ?? "", texts, path, optional)
        return value === undefined ? [] : [[member, value]]
      })
      return optional && found.length === 0 ? undefined : Object.fromEntries(found)
    }
    case "List": {
      const items = Array.isArray(draft) ? draft as ReadonlyArray<Draft> : []
      if (optional && items.length === 0) return undefined
      return items.map((item, i) => toJson(field.item, item, texts, `${name}[${i}]`) ?? null)
    }
  }
  const text = typeof draft === "string" ? draft : ""
  if (text === "" && (optional || field._tag !== "Text")) return optional ? undefined : bad(texts.missing)
  switch (field._tag) {
    case "Text":
      return text
    case "Number": {
      const value = Number(text)
      if (text.trim() === "" || !Number.isFinite(value)) return bad(texts.badNumber)
      return field.integer && !Number.isInteger(value) ? bad(texts.badInteger) : value
    }
    case "Boolean":
      return text === "true"
    case "Choice":
      return field.values[Number(text)] ?? null
    case "Json":
      try {
        return JSON.parse(text) as Schema.Json
      } catch {
        return bad(texts.badJson)
      }
  }
}

/** The fields for params that are there already; what has no field is left out. */
export const fromJson = (field: Field, json: Meaning): Draft => {
  if (json === undefined) return empty(field)
  switch (field._tag) {
    case "Group": {
      const members = typeof json === "object" && json !== null && !Array.isArray(json)
        ? json as { readonly [member: string]: Schema.Json }
        : {}
      return Object.fromEntries(field.members.map(({ field, name }) => [name, fromJson(field, members[name])]))
    }
    case "List":
      return Array.isArray(json) ? json.map((item: Schema.Json) => fromJson(field.item, item)) : []
    case "Choice": {
      const index = field.values.findIndex((value) => value === json)
      return index < 0 ? "" : String(index)
    }
    case "Json":
      return JSON.stringify(json)
    case "Text":
      return typeof json === "string" ? json : JSON.stringify(json)
    default:
      return String(json)
  }
}
