/**
 * JSON-RPC 2.0 frames: requests out, responses in.
 *
 * A response is read with the strict rules of `sora-protocol.md` section 5.3.
 * `JSON.parse` hides two things that these rules are about: members that occur
 * twice, and how a number was written (`1e0` is not an id). So the text itself
 * is looked at as well.
 *
 * Most frames are a success in the form in which every server writes it: a head
 * that is known but for the id, one value, and a brace. Then only the value is
 * parsed: when it is one JSON value, the frame has nothing else in it. A frame
 * of another form is parsed and scanned member by member.
 */
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"

type Id = number | bigint

/** @internal */
export type Response =
  | { readonly _tag: "Success"; readonly id: Id; readonly result: unknown }
  | {
    readonly _tag: "Failure"
    readonly id: Id
    readonly code: number
    readonly message: string
    /** Absent and `null` are told apart: the member is missing when absent. */
    readonly data?: Schema.Json
  }
  /** Breaks a rule; `id` names the call it was meant for, when that can be trusted. */
  | { readonly _tag: "Violation"; readonly id: Id | undefined; readonly rule: string }
  /** A fine message that names no call. */
  | { readonly _tag: "Uncorrelated" }
  | { readonly _tag: "NotJson" }

/**
 * Writes the requests of one method. Without an id it is a notification, and
 * params that are undefined are left out: `"params": null` is never sent. Makes
 * nothing of params whose JSON is neither an object nor an array.
 *
 * @internal
 */
export const requestEncoder = (method: string) => {
  const named = nameMember(method)
  return (id: number | undefined, params: unknown): string | undefined => {
    const json = JSON.stringify(params)
    // Params that have a `toJSON` may become anything.
    if (params !== undefined && json?.[0] !== "{" && json?.[0] !== "[") return undefined
    return `${head(id, named)}${json === undefined ? "" : `,"params":${json}`}}`
  }
}

const nameMember = (method: string) => `,"method":${JSON.stringify(method)}`

const head = (id: number | undefined, named: string) =>
  `{"jsonrpc":"2.0"${id === undefined ? "" : `,"id":${id}`}${named}`

/**
 * A frame of {@link requestEncoder} for the same method under another name.
 *
 * @internal
 */
export const renamed = (frame: string, id: number | undefined, from: string, to: string): string =>
  head(id, nameMember(to)) + frame.slice(head(id, nameMember(from)).length)

/** @internal */
export interface Member {
  readonly name: string
  /** The value as it stands in the text, without the space around it. */
  readonly source: string
}

const isSpace = (code: number) => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09

/** Index after the string that starts at `start`. */
const skipString = (text: string, start: number): number => {
  let i = start + 1
  while (text.charCodeAt(i) !== 0x22 /* " */) i += text.charCodeAt(i) === 0x5c /* \ */ ? 2 : 1
  return i + 1
}

const skipSpace = (text: string, start: number): number => {
  let i = start
  while (isSpace(text.charCodeAt(i))) i++
  return i
}

/** A comma, a closing bracket or brace, or space. */
const endsScalar = (code: number) => code === 0x2c || code === 0x5d || code === 0x7d || isSpace(code)

/** Index after the value that starts at `start`. */
const skipValue = (text: string, start: number): number => {
  let depth = 0
  let i = start
  do {
    const code = text.charCodeAt(i)
    if (code === 0x22) {
      i = skipString(text, i)
    } else if (code === 0x7b /* { */ || code === 0x5b /* [ */) {
      depth++
      i++
    } else if (code === 0x7d /* } */ || code === 0x5d /* ] */) {
      depth--
      i++
    } else if (depth > 0) {
      i++
    } else {
      while (i < text.length && !endsScalar(text.charCodeAt(i))) i++
    }
  } while (depth > 0)
  return i
}

/**
 * The members of a JSON object that have one of the names, in the order of the
 * text, duplicates included, with names unescaped. `text` must be a valid JSON
 * text of an object; it may have a million members, of which no trace is kept.
 *
 * @internal
 */
export const scanMembers = (text: string, names: ReadonlyArray<string>): Array<Member> => {
  const members: Array<Member> = []
  let i = skipSpace(text, skipSpace(text, 0) + 1)
  while (text.charCodeAt(i) === 0x22) {
    const nameEnd = skipString(text, i)
    const written = text.slice(i + 1, nameEnd - 1)
    const name: string = written.includes("\\") ? JSON.parse(`"${written}"`) : written
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1) // the colon is in between
    const end = skipValue(text, start)
    if (names.includes(name)) members.push({ name, source: text.slice(start, end) })
    i = skipSpace(text, end)
    if (text.charCodeAt(i) === 0x2c /* , */) i = skipSpace(text, i + 1)
  }
  return members
}

/** The first of the names that more than one member has. */
const repeated = (members: ReadonlyArray<Member>, names: ReadonlyArray<string>): string | undefined =>
  names.find((name) => members.filter((member) => member.name === name).length > 1)

/** How a success begins, in the order of the specification's examples or with its members sorted, as Erlang does. */
const UsualHead = { before: "{\"jsonrpc\":\"2.0\",\"id\":", after: ",\"result\":" }
const SortedHead = { before: "{\"id\":", after: ",\"jsonrpc\":\"2.0\",\"result\":" }

/**
 * The response, if it is a head as above, one JSON value and a brace: it then
 * has these three members once, and no others.
 */
const decodeSuccess = (text: string): Response | undefined => {
  const { after, before } = text.startsWith(UsualHead.before) ? UsualHead : SortedHead
  if (!text.startsWith(before) || !text.endsWith("}")) return undefined
  const start = before.length
  let id = 0
  let end = start
  for (let digit; (digit = text.charCodeAt(end) - 0x30 /* 0 */) >= 0 && digit <= 9; end++) id = id * 10 + digit
  // What is no id, or too large for a number, is left to the scan.
  if (end === start || !Number.isSafeInteger(id) || (text.charCodeAt(start) === 0x30 && end > start + 1)) {
    return undefined
  }
  if (!text.startsWith(after, end)) return undefined
  try {
    return { _tag: "Success", id, result: JSON.parse(text.slice(end + after.length, -1)) }
  } catch {
    return undefined
  }
}

const MaxId = (1n << 64n) - 1n

const idFromSource = (source: string): Id | undefined => {
  // No id has more than the 20 digits of 2^64-1; to read millions of them takes seconds.
  if (!/^\d{1,20}$/.test(source)) return undefined
  const id = Number(source)
  if (Number.isSafeInteger(id)) return id
  const exact = BigInt(source)
  return exact <= MaxId ? exact : undefined
}

const ErrorMembers = ["code", "message", "data"]

/** The rule that an error object breaks, if it breaks one; `source` is its text. */
const brokenByError = (error: unknown, source: string): string | undefined => {
  if (!Predicate.isObject(error)) return "\"error\" is not an object"
  const members = scanMembers(source, ErrorMembers)
  const twice = repeated(members, ErrorMembers)
  if (twice !== undefined) return `"error.${twice}" occurs more than once`
  const code = members.find(({ name }) => name === "code")
  if (code === undefined || !/^-?\d+$/.test(code.source) || error.code !== ((error.code as number) | 0)) {
    return "\"error.code\" is not a 32-bit integer"
  }
  return typeof error.message === "string" ? undefined : "\"error.message\" is not a string"
}

/** `text` is that of the message. */
const decodeScanned = (message: Record<string, unknown>, text: string): Response => {
  const members = scanMembers(text, ["jsonrpc", "id", "result", "error"])
  const ids = members.filter(({ name }) => name === "id")
  const id = ids.length === 1 ? idFromSource(ids[0]!.source) : undefined
  const violation = (rule: string): Response => ({ _tag: "Violation", id, rule })

  const twice = repeated(members, ["jsonrpc", "result", "error"])
  if (twice !== undefined) return violation(`"${twice}" occurs more than once`)
  if (message.jsonrpc !== "2.0") return violation("\"jsonrpc\" is not \"2.0\"")
  const failed = members.find(({ name }) => name === "error")
  if ((failed !== undefined) === Object.hasOwn(message, "result")) {
    return violation(failed !== undefined ? "both \"result\" and \"error\"" : "neither \"result\" nor \"error\"")
  }
  if (failed === undefined) {
    return id === undefined ? { _tag: "Uncorrelated" } : { _tag: "Success", id, result: message.result }
  }
  const broken = brokenByError(message.error, failed.source)
  if (broken !== undefined) return violation(broken)
  if (id === undefined) return { _tag: "Uncorrelated" }
  const { code, data, message: description } = message.error as { code: number; message: string; data?: Schema.Json }
  const failure = { _tag: "Failure", id, code, message: description } as const
  return data === undefined ? failure : { ...failure, data }
}

/** @internal */
export const decodeResponse = (text: string): Response => {
  const success = decodeSuccess(text)
  if (success !== undefined) return success
  let message: unknown
  try {
    message = JSON.parse(text)
  } catch {
    return { _tag: "NotJson" }
  }
  return Predicate.isObject(message)
    ? decodeScanned(message, text)
    : { _tag: "Violation", id: undefined, rule: "a response is one JSON object" }
}
