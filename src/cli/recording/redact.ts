/**
 * Takes out of messages what must not leave the machine: tokens and credentials
 * always, metadata and addresses unless they are asked for. Knows no Node.
 */
import type * as Schema from "effect/Schema"
import type { Redactable } from "./format.ts"

export const Redacted = "[redacted]"

/** What a member holds that has such a name, whatever it is a member of. */
const SecretName = /token|secret|passw|credential|authorization|api[-_]?key|cookie/i

/** Members whose value the application chose. `data` of a notify event lists connections, and is looked into instead. */
const MetadataName = /^(?:authn_|authz_|signaling_notify_)?metadata(?:_ext)?$/

/** Values shorter than this say nothing, and would be found in innocent texts. */
const MinSecretLength = 6

type Json = Schema.Json

const isObject = (json: unknown): json is { readonly [member: string]: Json } =>
  typeof json === "object" && json !== null && !Array.isArray(json)

/** Texts of this length are no words of an application, such as a role. */
const TokenLength = 16

/** The texts of what goes to the authentication that may be secrets: by their name, or by their length. */
export const secretsIn = (json: unknown, name = ""): ReadonlyArray<string> =>
  typeof json === "string"
    ? SecretName.test(name) || json.length >= TokenLength ? [json] : []
    : typeof json === "object" && json !== null
    ? Object.entries(json).flatMap(([name, value]) => secretsIn(value, name))
    : []

const isAddress = (text: string): boolean => {
  const octets = text.split(".")
  if (octets.length === 4 && octets.every((octet) => /^\d{1,3}$/.test(octet) && Number(octet) < 256)) return true
  return text.includes(":") && /^[\da-f:.]+$/i.test(text) && text.split(":").length > 2 &&
    URL.canParse(`http://[${text}]`)
}

/** Texts in which an address may stand: an SDP, a candidate, a URL. */
const withoutAddresses = (text: string): string =>
  text
    .replace(/^(a=(?:ice-pwd|ice-ufrag|fingerprint):).*$/gm, `$1${Redacted}`)
    .replace(/(ufrag )\S+/g, `$1${Redacted}`)
    .replace(/\b((?:wss?|https?):\/\/)(?:[^\s/@]*@)?([^\s/?#]+)/g, `$1${Redacted}`)
    .replace(/\b((?:turns?|stuns?):)[^\s?]+/g, `$1${Redacted}`)
    .replace(/[\w-]+\.local\b/g, Redacted)
    .replace(/[\da-fA-F:.]*[\da-fA-F][\da-fA-F:.]*/g, (found) => isAddress(found) ? Redacted : found)

export interface Redactor {
  /** A signaling message, or a JSON-RPC frame. */
  readonly json: (json: Json) => Json
  readonly text: (text: string) => string
  /** Of somebody's own data: without the secrets that are known, and as it is otherwise. */
  readonly known: (json: Json) => Json
}

/**
 * `secrets` are values that appear nowhere, under whatever name; `keep` is what
 * was asked for.
 */
export const make = (options: {
  readonly secrets: ReadonlyArray<string>
  readonly keep: ReadonlyArray<Redactable>
}): Redactor => {
  // The longest first: one may be a part of another.
  const secrets = Array.from(new Set(options.secrets.filter((secret) => secret.length >= MinSecretLength)))
    .toSorted((a, b) => b.length - a.length)
  const keepsMetadata = options.keep.includes("metadata")
  const keepsAddresses = options.keep.includes("addresses")

  const withoutSecrets = (text: string): string =>
    secrets.reduce((text, secret) => text.replaceAll(secret, Redacted), text)

  const text = (input: string): string => {
    const known = withoutSecrets(input)
    return keepsAddresses
      ? known.replace(/^(a=ice-pwd:).*$/gm, `$1${Redacted}`)
      : withoutAddresses(known)
  }

  const known = (json: Json): Json =>
    typeof json === "string"
      ? withoutSecrets(json)
      : Array.isArray(json)
      ? json.map(known)
      : isObject(json)
      ? Object.fromEntries(Object.entries(json).map(([name, value]) => [withoutSecrets(name), known(value)]))
      : json

  const walk = (json: Json, name: string): Json => {
    if (SecretName.test(name)) return Redacted
    if (MetadataName.test(name) && !keepsMetadata) return Redacted
    if (typeof json === "string") return text(json)
    if (Array.isArray(json)) return json.map((item: Json) => walk(item, ""))
    return isObject(json)
      ? Object.fromEntries(Object.entries(json).map(([name, value]) => [text(name), walk(value, name)]))
      : json
  }

  /** The members of a metadata method's params, and of the push that it causes. */
  const withoutMetadata = (json: Json): Json =>
    isObject(json)
      ? Object.fromEntries(
        Object.entries(json).map(([name, value]) => [name, name === "value" || name === "metadata" ? Redacted : value])
      )
      : json

  /** The calls whose results are metadata, by the text of their id. */
  const aboutMetadata = new Set<string>()

  const redactor: Redactor = {
    text,
    known,
    json(json) {
      if (Array.isArray(json)) return json.map(redactor.json)
      if (!isObject(json)) return walk(json, "")
      const members: Record<string, Json> = { ...json }
      // What goes to the authentication is a credential, whatever else was asked for.
      if (members.type === "connect" && "metadata" in members) members.metadata = Redacted
      // Statistics are long, full of addresses, and nothing is answered to them.
      for (const name of ["stats", "reports"]) {
        if (Array.isArray(members[name])) members[name] = `[${(members[name] as Array<unknown>).length} reports]`
      }
      if (!keepsMetadata) {
        if (members.type === "push") members.data = withoutMetadata(members.data ?? null)
        if (typeof members.method === "string" && members.method.includes("PutSignalingNotifyMetadata")) {
          members.params = withoutMetadata(members.params ?? {})
          if ("id" in members) aboutMetadata.add(JSON.stringify(members.id))
        } else if ("result" in members && aboutMetadata.delete(JSON.stringify(members.id))) {
          members.result = Redacted
        }
      }
      return walk(members, "")
    }
  }
  return redactor
}
