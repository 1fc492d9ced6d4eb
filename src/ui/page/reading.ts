/**
 * A message as its schema reads it.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Signaling from "../../Signaling.ts"
import * as SoraMethod from "../../SoraMethod.ts"
import type { Message } from "../internal/protocol.ts"

export interface Reading {
  /** What the text is; absent for what is no JSON. */
  readonly json: unknown
  /** With the names and types of this library; absent without a schema, and for what does not fit it. */
  readonly value?: unknown
  readonly issue?: string
  /** Of a request, a response. */
  readonly id?: unknown
}

const knownOf = (name: string): SoraMethod.Any | undefined =>
  SoraMethod.known.find((method) => name === method.name || name.endsWith(`/${method.name}`))

const decode = (schema: Schema.Codec<any, any>, input: unknown): Pick<Reading, "value" | "issue"> => {
  const decoded = Schema.decodeUnknownResult(Schema.toCodecJson(schema))(input)
  return Result.isSuccess(decoded) ? { value: decoded.success } : { issue: decoded.failure.message }
}

const rpcReading = (json: Record<string, unknown>, request: Message | undefined): Reading => {
  const { id } = json
  if (typeof json["method"] === "string") {
    const method = knownOf(json["method"])
    return { json, id, ...(method === undefined ? {} : decode(method.params, json["params"])) }
  }
  if ("error" in json) return { json, id, ...decode(ServerError, json["error"]) }
  const method = request === undefined ? undefined : knownOf(request.name)
  return { json, id, ...(method === undefined ? {} : decode(method.result, json["result"])) }
}

const ServerError = Schema.Struct({
  code: Schema.Int,
  message: Schema.String,
  data: Schema.optionalKey(Schema.Json)
})

/** Directions are the server's. */
export const readingOf = (
  { direction, label, text }: Message,
  request: Message | undefined
): Reading => {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return { json: undefined }
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) return { json }
  if (label === "rpc") return rpcReading(json as Record<string, unknown>, request)
  const message = json as Signaling.Wire
  const decoded: Result.Result<{ readonly type: string }, Signaling.InvalidMessage> = direction === "received"
    ? Signaling.decodeClientMessage(message)
    : Signaling.decodeServerMessage(message)
  if (Result.isFailure(decoded)) return { json, issue: decoded.failure.message }
  const { success } = decoded
  const isKnown = success.type !== "unknown" && !("_tag" in success && success._tag === "unknown")
  return isKnown ? { json, value: success } : { json }
}
