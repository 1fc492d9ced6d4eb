/**
 * The options of a connection, checked before anything is dialled.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Signaling from "../../Signaling.ts"
import { InvalidOptions, SoraConnectionError } from "../../SoraConnectionError.ts"
import { check as checkWith, Count, Time } from "../options.ts"
import { UserLabel } from "../protocol.ts"
import { type Members, renamingOf } from "../wire.ts"
import type { AnyOptions, Metadata, Options } from "./model.ts"

/** What of a URL does not fit; never the URL, which may hold a token. */
const urlIssue = (url: string): string | undefined => {
  const parsed = URL.parse(url)
  return parsed === null
    ? "no URL; give ws:// or wss:// URLs"
    : parsed.protocol !== "ws:" && parsed.protocol !== "wss:"
    ? `a ${parsed.protocol} URL; Sora is signaled with over ws:// or wss://`
    : parsed.hash !== ""
    ? "a URL with a fragment, which a WebSocket does not take"
    : undefined
}

const SignalingUrls = Schema.Array(Schema.String.check(Schema.makeFilter(urlIssue))).check(
  Schema.makeFilter((urls) => urls.length > 0 || "it is empty; give at least one ws:// or wss:// URL")
)

/** RFC 9110, section 5: what Node would throw for, naming the value. */
const HeaderName = /^[\w!#$%&'*+\-.^`|~]+$/
// oxlint-disable-next-line no-control-regex -- those are what may not be in it
const HeaderValue = /^[\t\x20-\x7e\x80-\xff]*$/

// Annotated, so that a bundler leaves it out of a page.
const Headers = /* @__PURE__ */ Schema.declare(
  (input): input is Readonly<Record<string, string>> =>
    typeof input === "object" && input !== null &&
    Object.entries(input).every(([name, value]) =>
      HeaderName.test(name) && typeof value === "string" && HeaderValue.test(value)
    ),
  { expected: "an object of HTTP header names and their values, which are texts without a line break" }
)

const Media = Schema.declare(
  (input): input is NonNullable<Options["media"]> =>
    Predicate.hasProperty(input, "getTracks") && typeof input.getTracks === "function",
  { expected: "a MediaStream" }
)

const Again = Schema.declare(
  (input): input is NonNullable<Options["reconnect"]> => typeof input === "boolean" || Schedule.isSchedule(input),
  { expected: "true, false or a Schedule" }
)

const isJson = Schema.is(Schema.Json)

const isMetadata = (input: unknown): input is Metadata =>
  isJson(Redacted.isRedacted(input) ? Redacted.value(input) : input)

const MetadataSource = Schema.declare(
  (input): input is NonNullable<AnyOptions["metadata"]> => Effect.isEffect(input) || isMetadata(input),
  { expected: "a JSON value, a Redacted one, or an Effect of one of them" }
)

const OnConnected = Schema.declare(
  (input): input is NonNullable<AnyOptions["onConnected"]> => typeof input === "function",
  { expected: "a function from the new connection to an Effect" }
)

/** A member of `connect` that is not the caller's to set. */
const Ours = Schema.optionalKey(Schema.Any.check(Schema.makeFilter(() => "it is set by this library")))

const channelsIssue = (dataChannels: ReadonlyArray<{ readonly label: string }>): string | undefined => {
  const labels = dataChannels.map(({ label }) => label)
  return labels.some((label) => !UserLabel.test(label))
    ? "a label must be # and 2 to 31 letters, digits and hyphens, such as #chat"
    : new Set(labels).size < labels.length
    ? "two of them have the same label"
    : undefined
}

const fields = {
  ...renamingOf(Signaling.Connect.ast)!.struct.fields,
  type: Ours,
  sdp: Ours,
  soraClient: Ours,
  libwebrtc: Ours,
  environment: Ours,
  redirect: Ours,
  dataChannelSignaling: Ours,
  role: Signaling.Role,
  channelId: Schema.String.check(Schema.makeFilter((id) => id !== "" || "it is empty")),
  dataChannels: Schema.optionalKey(
    Schema.Array(Signaling.DataChannelOptions).check(Schema.makeFilter(channelsIssue))
  ),
  metadata: Schema.optional(MetadataSource),
  onConnected: Schema.optional(OnConnected),
  signalingUrls: SignalingUrls,
  media: Schema.optional(Media),
  connectTimeout: Schema.optional(Time),
  attemptDelay: Schema.optional(Time),
  openTimeout: Schema.optional(Time),
  disconnectTimeout: Schema.optional(Time),
  maxInflatedBytes: Schema.optional(Count),
  reconnect: Schema.optional(Again),
  retryConnect: Schema.optional(Again)
}

/** @internal */
export const toConnectionError = (reason: InvalidOptions): SoraConnectionError => new SoraConnectionError({ reason })

/**
 * The JSON of what an effect gave, or of what was given at once.
 *
 * @internal
 */
export const metadataOf = (given: unknown): Effect.Effect<Schema.Json, SoraConnectionError> =>
  Effect.suspend(() =>
    isMetadata(given)
      ? Effect.succeed(Redacted.isRedacted(given) ? Redacted.value(given) : given)
      : Effect.fail(toConnectionError(
        new InvalidOptions({ issue: "metadata: what the Effect gives is neither a JSON value nor a Redacted one" })
      ))
  )

/**
 * Fails when the options do not fit.
 *
 * @internal
 */
export type Check = (options: AnyOptions) => Effect.Effect<void, SoraConnectionError>

const makeCheck = /* @__NO_SIDE_EFFECTS__ */ (headers: Members): Check => {
  const check = checkWith(
    Schema.toType(Schema.Struct({ ...fields, ...headers })).check(
      Schema.makeFilter(({ media, role }) =>
        media !== undefined && role === "recvonly" ? "media is given, and role is recvonly" : undefined
      )
    )
  )
  return (options) => Effect.mapError(check(options), toConnectionError)
}

/**
 * For where a WebSocket takes headers.
 *
 * @internal
 */
export const check: Check = makeCheck({ headers: /* @__PURE__ */ Schema.optional(Headers) })

/**
 * For a page.
 *
 * @internal
 */
export const checkWithoutHeaders: Check = makeCheck({})
