/**
 * The flags of the commands. Each can be given by a variable too, named after it
 * (`--channel-id` is `SORA_CHANNEL_ID`); what may be a secret should be.
 */
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Network from "../node/internal/network.ts"
import type * as NodeSora from "../node/NodeSora.ts"
import { badUsage, type Failure } from "./failure.ts"
import { Redactable } from "./recording/format.ts"
import { secretsIn } from "./recording/redact.ts"

export const variableOf = (name: string) => `SORA_${name.toUpperCase().replaceAll("-", "_")}`

const described = (description: string, variable: string) => `${description} [${variable}]`

/** `variable` is for a name that says one thing in one command and another in another. */
export const text = (name: string, description: string, variable = variableOf(name)) =>
  Flag.String(name).pipe(
    Flag.withDescription(described(description, variable)),
    Flag.withFallbackConfig(Config.String(variable))
  )

export const int = (name: string, description: string, variable = variableOf(name)) =>
  Flag.Int(name).pipe(
    Flag.withDescription(described(description, variable)),
    Flag.withFallbackConfig(Config.Int(variable))
  )

export const bool = (name: string, description: string, otherwise = false) =>
  Flag.Boolean(name).pipe(
    Flag.withDescription(described(description, variableOf(name))),
    Flag.withFallbackConfig(Config.Boolean(variableOf(name))),
    Flag.withDefault(otherwise)
  )

export const choice = <const Choices extends ReadonlyArray<string>>(
  name: string,
  choices: Choices,
  description: string
) =>
  Flag.Literals(name, choices).pipe(
    Flag.withDescription(described(description, variableOf(name))),
    Flag.withFallbackConfig(Config.Literals(choices, variableOf(name)))
  )

const listOf = (value: string) => value.split(/[\s,]+/).filter((part) => part !== "")

/** One that may be given again, or with commas; as the variable has it. */
export const list = (name: string, description: string) =>
  Flag.String(name).pipe(
    Flag.withDescription(described(description, variableOf(name))),
    Flag.atLeast(1),
    Flag.map((values) => values.flatMap(listOf)),
    Flag.withFallbackConfig(Config.map(Config.String(variableOf(name)), listOf))
  )

/** A time as a person writes it. */
export const duration = (name: string, description: string, variable?: string) =>
  text(name, description, variable).pipe(
    Flag.filterMap(
      (value) => Duration.fromInput(value as Duration.Input),
      () => "a duration, such as '300 millis', '5 seconds' or '1 minute'"
    )
  )

const file = (name: string, description: string) =>
  text(name, description).pipe(Flag.withMetavar("<file>"), Flag.optional)

/** `--transcript`, of every command that connects. */
const transcript = text(
  "transcript",
  "Also write what goes over the wire to this file, as JSON Lines, without tokens and credentials"
).pipe(Flag.withMetavar("<file>"), Flag.optional)

export const include = list(
  "include",
  `What a transcript may hold: ${Redactable.literals.join(", ")}; may be given again`
).pipe(Flag.withDefault([] as ReadonlyArray<string>))

/** What is connected to, and as what. */
export const connection = {
  signalingUrls: list("signaling-url", "Signaling URL, ws:// or wss://; may be given again").pipe(
    Flag.withMetavar("<url>")
  ),
  channelId: text("channel-id", "Channel to join"),
  metadata: Flag.Redacted("metadata").pipe(
    Flag.withDescription(
      "JSON for the server's authentication; SORA_METADATA keeps it out of the process list, and SORA_ACCESS_TOKEN is its access_token"
    ),
    Flag.withFallbackConfig(Config.Redacted("SORA_METADATA")),
    Flag.optional
  ),
  accessToken: Flag.Redacted("access-token").pipe(
    Flag.withFallbackConfig(Config.Redacted("SORA_ACCESS_TOKEN")),
    // On the command line it would be in the process list.
    Flag.withHidden,
    Flag.optional
  ),
  clientId: text("client-id", "Name of this client").pipe(Flag.optional),
  role: choice("role", ["sendrecv", "sendonly", "recvonly"], "Role in the channel").pipe(Flag.withDefault("sendonly")),
  media: bool(
    "media",
    "Ask for audio and video; without it, --simulcast or --spotlight a connection that is not recvonly is for RPC alone"
  ),
  simulcast: bool("simulcast", "Ask for simulcast, which brings media"),
  spotlight: bool("spotlight", "Ask for spotlight, which brings media"),
  connectTimeout: duration("connect-timeout", "Time for the whole of connecting").pipe(
    Flag.withDefault(Duration.seconds(30))
  ),
  ca: file("ca", "Certificates in PEM format to trust, in place of those that Node trusts"),
  cert: file("cert", "Certificate in PEM format to show to a server that asks for one"),
  key: file("key", "The private key of --cert"),
  proxy: Flag.Redacted("proxy").pipe(
    Flag.withDescription(
      described(
        "HTTP proxy for signaling, http://user:password@host:port; no other variable is read for it",
        variableOf("proxy")
      )
    ),
    Flag.withFallbackConfig(Config.Redacted(variableOf("proxy"))),
    Flag.optional
  ),
  transcript,
  include
}

export const timeout = duration("timeout", "How long to wait for a response, such as '300 millis' or '5 seconds'").pipe(
  Flag.withDefault(Duration.seconds(5))
)

type Values<Flags> = { readonly [K in keyof Flags]: Flags[K] extends Flag.Flag<infer A> ? A : never }

export type Connection = Values<typeof connection>

/** A JSON text; the error does not repeat it, because it may hold a token. */
export const parseJson = (what: string, value: string): Effect.Effect<Schema.Json, Failure> =>
  Effect.mapError(
    Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Json))(value),
    () => badUsage(what, "not JSON; quote it for the shell, such as '{\"key\":\"value\"}'")
  )

const isObject = Schema.is(Schema.JsonObject)

/** What goes to the authentication. */
const metadataOf = Effect.fnUntraced(function*({ accessToken, metadata }: Connection) {
  const given = Option.isNone(metadata)
    ? undefined
    : yield* parseJson("--metadata, or SORA_METADATA", Redacted.value(metadata.value))
  if (Option.isNone(accessToken)) return given
  const token = { access_token: Redacted.value(accessToken.value) }
  if (given === undefined) return token
  return isObject(given)
    ? { ...(given as object), ...token }
    : yield* badUsage("SORA_ACCESS_TOKEN", "metadata that is no object has no room for it")
})

const read = Effect.fnUntraced(function*(flag: string, path: Option.Option<string>) {
  if (Option.isNone(path)) return {}
  const fs = yield* FileSystem.FileSystem
  const text = yield* Effect.mapError(
    fs.readFileString(path.value),
    ({ message }) => badUsage(`--${flag}`, message)
  )
  return { [flag]: text }
})

const networkOf = Effect.fnUntraced(function*({ ca, cert, key, proxy }: Connection) {
  const tls: NodeSora.TlsOptions = {
    ...(yield* read("ca", ca)),
    ...(yield* read("cert", cert)),
    ...(yield* read("key", key))
  }
  const network: NodeSora.NetworkOptions = {
    ...(Object.keys(tls).length === 0 ? {} : { tls }),
    ...(Option.isNone(proxy) ? {} : { proxy: proxy.value })
  }
  yield* Effect.mapError(Network.check(network), ({ message }) => badUsage("--ca, --cert, --key or --proxy", message))
  return network
})

/** What of a URL may be a secret. */
const secretsOf = Effect.fnUntraced(function*(flag: string, url: string) {
  const parsed = URL.parse(url)
  const password = parsed?.password ?? ""
  const decoded = yield* Effect.try({
    try: () => decodeURIComponent(password),
    catch: () => badUsage(flag, "a % in a password is written as %25")
  })
  return [...parsed?.searchParams.values() ?? [], password, decoded]
})

export const keptOf = (include: ReadonlyArray<string>) =>
  Effect.mapError(
    Schema.decodeUnknownEffect(Schema.Array(Redactable))(include),
    () => badUsage("--include", `give ${Redactable.literals.join(" or ")}`)
  )

/** The flags as options of a connection, and what must not be shown of them. */
export const optionsOf = Effect.fnUntraced(function*(flags: Connection): Effect.fn.Return<
  {
    readonly options: NodeSora.Options
    readonly secrets: ReadonlyArray<string>
  },
  Failure,
  FileSystem.FileSystem
> {
  const metadata = yield* metadataOf(flags)
  const network = yield* networkOf(flags)
  const { accessToken, channelId, clientId, connectTimeout, media, role, signalingUrls, simulcast, spotlight } = flags
  return {
    options: {
      signalingUrls,
      channelId,
      role,
      connectTimeout,
      ...network,
      // Without media Sora takes no `recvonly` connection.
      ...(media || simulcast || spotlight || role === "recvonly" ? {} : { audio: false, video: false }),
      ...(simulcast ? { simulcast: true } : {}),
      ...(spotlight ? { spotlight: true } : {}),
      ...(Option.isNone(clientId) ? {} : { clientId: clientId.value }),
      ...(metadata === undefined ? {} : { metadata: Redacted.make(metadata) })
    },
    secrets: [
      ...(typeof metadata === "string" ? [metadata] : secretsIn(metadata)),
      ...(Option.isNone(accessToken) ? [] : [Redacted.value(accessToken.value)]),
      ...(yield* Effect.forEach(signalingUrls, (url) => secretsOf("--signaling-url", url))).flat(),
      ...(network.proxy === undefined
        ? []
        : yield* secretsOf(
          "--proxy",
          Redacted.isRedacted(network.proxy) ? Redacted.value(network.proxy) : network.proxy
        ))
    ]
  }
})
