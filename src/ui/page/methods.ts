/**
 * The methods that can be called, with a form each, and a call of one as code
 * and as a command.
 */
import * as Schema from "effect/Schema"
import * as SoraMethod from "../../SoraMethod.ts"
import { type Field, formOf } from "../internal/form.ts"
import type { Method } from "../internal/protocol.ts"

export interface Callable {
  /** As it is called on the wire. */
  readonly name: string
  /** One of Sora's own: it is called by its value, typed. */
  readonly known: SoraMethod.Any | undefined
  /** Absent where it takes no params. */
  readonly form: Field | undefined
  readonly granted: boolean
}

const anything: Field = { _tag: "Json" }

/** Those that are granted, and Sora's own that are not, to see how that fails. */
export const callables = (granted: ReadonlyArray<string>, served: ReadonlyArray<Method>): ReadonlyArray<Callable> => {
  const own = SoraMethod.known.map((known) => ({ known, name: SoraMethod.resolve(known, granted) }))
  const methods = granted.map((name): Callable => {
    const known = own.find((method) => method.name === name)?.known
    const one = served.find((method) => method.name === name)
    return {
      name,
      known,
      form: known !== undefined ? formOf(known.params, "type") : one === undefined ? anything : one.form,
      granted: true
    }
  })
  return [
    ...methods,
    ...own.filter(({ name }) => name === undefined).map(({ known }) => ({
      name: SoraMethod.wireName(known),
      known,
      form: formOf(known.params, "type"),
      granted: false
    }))
  ]
}

/** Params that are ready to be filled in. */
export const builtIn: Readonly<Record<string, Readonly<Record<string, Schema.Json>>>> = {
  RequestSimulcastRid: { "r0": { rid: "r0" }, "r1": { rid: "r1" }, "r2": { rid: "r2" }, "none": { rid: "none" } },
  RequestSpotlightRid: { "r2 / r0": { spotlightFocusRid: "r2", spotlightUnfocusRid: "r0" } },
  ResetSpotlightRid: { "{}": {} },
  PutSignalingNotifyMetadata: { "mood, push": { metadata: { mood: "busy" }, push: true } },
  PutSignalingNotifyMetadataItem: { "mood, push": { key: "mood", value: "busy", push: true } }
}

export interface Asked {
  readonly method: Callable
  readonly params: Schema.Json | undefined
  /** In seconds; nothing for the default. */
  readonly timeout: number | undefined
  readonly notification: boolean
}

/** Members without quotes where they need none. */
const literal = (value: Schema.Json): string =>
  Array.isArray(value)
    ? `[${value.map(literal).join(", ")}]`
    : typeof value !== "object" || value === null
    ? JSON.stringify(value)
    : Object.keys(value).length === 0
    ? "{}"
    : `{ ${
      Object.entries(value as Record<string, Schema.Json>)
        .map(([name, member]) => `${/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name)}: ${literal(member)}`)
        .join(", ")
    } }`

export const asCode = ({ method, notification, params, timeout }: Asked): string => {
  const target = method.known === undefined ? JSON.stringify(method.name) : `SoraMethod.${method.known.name}`
  const options = timeout === undefined || notification ? undefined : `{ timeout: "${timeout} seconds" }`
  const given = params === undefined ? options === undefined ? [] : ["undefined"] : [literal(params)]
  const args = [target, ...given, ...(options === undefined ? [] : [options])].join(", ")
  return [
    `import { Effect } from "effect"`,
    `import { ${method.known === undefined ? "" : "SoraMethod, "}SoraRpc } from "effect-sora-rpc"`,
    "",
    "export const program = Effect.gen(function*() {",
    "  const rpc = yield* SoraRpc.SoraRpc",
    `  return yield* rpc.${notification ? "notify" : "call"}(${args})`,
    "})"
  ].join("\n")
}

/** The params as they are on the wire; those that do not fit are left as they are. */
const onWire = ({ method: { known }, params }: Asked): Schema.Json | undefined => {
  if (known === undefined || params === undefined) return params
  try {
    return Schema.encodeUnknownSync(Schema.toCodecJson(known.params))(params) as Schema.Json
  } catch {
    return params
  }
}

const quoted = (text: string): string => /^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`

/** Without metadata: a token is best given by the variable `SORA_METADATA`. */
export const asCommand = (asked: Asked, to: {
  readonly signalingUrl: string
  readonly channelId: string
  readonly role: string
  readonly simulcast: boolean
  readonly spotlight: boolean
}): string => {
  const params = onWire(asked)
  const { method, notification, timeout } = asked
  return [
    "npx",
    "sora-rpc",
    notification ? "notify" : "call",
    quoted(method.known?.name ?? method.name),
    ...(params === undefined ? [] : [quoted(JSON.stringify(params))]),
    "--signaling-url",
    quoted(to.signalingUrl),
    "--channel-id",
    quoted(to.channelId),
    "--role",
    to.role,
    // As the page asks for it: the command asks by itself only where Sora takes no connection without.
    ...(to.role === "sendrecv" && !to.simulcast && !to.spotlight ? ["--media"] : []),
    ...(to.simulcast ? ["--simulcast"] : []),
    ...(to.spotlight ? ["--spotlight"] : []),
    ...(timeout === undefined || notification ? [] : ["--timeout", quoted(`${timeout} seconds`)])
  ].join(" ")
}
