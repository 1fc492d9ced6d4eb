/**
 * The options of a connection, checked before anything is dialled.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Signaling from "../../Signaling.ts"
import { InvalidOptions, SoraConnectionError } from "../../SoraConnectionError.ts"
import { Count, issueOf, Time } from "../options.ts"
import { UserLabel } from "../protocol.ts"
import type { Options } from "./model.ts"

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
const HeaderName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// oxlint-disable-next-line no-control-regex -- those are what may not be in it
const HeaderValue = /^[\t\x20-\x7e\x80-\xff]*$/

const Headers = Schema.declare(
  (input): input is Readonly<Record<string, string>> =>
    typeof input === "object" && input !== null &&
    Object.entries(input).every(([name, value]) =>
      HeaderName.test(name) && typeof value === "string" && HeaderValue.test(value)
    ),
  { expected: "an object of HTTP header names and their values, which are texts without a line break" }
)

const Media = Schema.declare(
  (input): input is NonNullable<Options["media"]> =>
    typeof input === "object" && input !== null && "getTracks" in input && typeof input.getTracks === "function",
  { expected: "a MediaStream" }
)

const Again = Schema.declare(
  (input): input is NonNullable<Options["reconnect"]> => typeof input === "boolean" || Schedule.isSchedule(input),
  { expected: "true, false or a Schedule" }
)

const isJson = Schema.is(Schema.Json)

const Metadata = Schema.declare(
  (input): input is NonNullable<Options["metadata"]> =>
    isJson(Redacted.isRedacted(input) ? Redacted.value(input) : input),
  { expected: "a JSON value, or a Redacted one" }
)

const Own = Schema.Struct({
  signalingUrls: SignalingUrls,
  metadata: Schema.optional(Metadata),
  headers: Schema.optional(Headers),
  media: Schema.optional(Media),
  connectTimeout: Schema.optional(Time),
  attemptDelay: Schema.optional(Time),
  openTimeout: Schema.optional(Time),
  disconnectTimeout: Schema.optional(Time),
  maxInflatedBytes: Schema.optional(Count),
  reconnect: Schema.optional(Again),
  retryConnect: Schema.optional(Again)
})

/** Members of `connect` that are not the caller's to set; `metadata` has its own place above. */
const Ours = new Set([
  "type",
  "metadata",
  "sdp",
  "soraClient",
  "libwebrtc",
  "environment",
  "redirect",
  "dataChannelSignaling"
])

const channelsIssue = ({ dataChannels = [] }: Signaling.Connect): string | undefined => {
  const labels = dataChannels.map(({ label }) => label)
  return labels.some((label) => !UserLabel.test(label))
    ? "a label must be # and 2 to 31 letters, digits and hyphens, such as #chat"
    : new Set(labels).size < labels.length
    ? "two of them have the same label"
    : undefined
}

const Members = Schema.toType(Signaling.Connect).check(
  Schema.makeFilter((connect) => connect.channelId === "" ? { path: ["channelId"], issue: "it is empty" } : undefined),
  Schema.makeFilter((connect) => {
    const issue = channelsIssue(connect)
    return issue === undefined ? undefined : { path: ["dataChannels"], issue }
  })
)

const ownIssue = issueOf(Own)
const membersIssue = issueOf(Members)

const find = (options: Options): string | undefined => {
  const own: Record<string, unknown> = {}
  const members: Record<string, unknown> = {}
  const issues: Array<string | undefined> = []
  for (const [name, value] of Object.entries(options)) {
    if (name in Own.fields) own[name] = value
    else if (Ours.has(name)) issues.push(`${name}: it is set by this library`)
    else members[name] = value
  }
  issues.unshift(ownIssue(own), membersIssue({ ...members, type: "connect" }))
  if (options.media != null && options.role === "recvonly") issues.push("media is given, and role is recvonly")
  const found = issues.filter((issue) => issue !== undefined)
  return found.length === 0 ? undefined : found.join("; ")
}

/**
 * Fails when the options do not fit.
 *
 * @internal
 */
export const check = (options: Options): Effect.Effect<void, SoraConnectionError> =>
  Effect.suspend(() => {
    let issue: string | undefined
    try {
      issue = find(options)
    } catch {
      // A getter of theirs threw; what it said may be a secret too.
      issue = "they cannot be read"
    }
    return issue === undefined
      ? Effect.void
      : Effect.fail(new SoraConnectionError({ reason: new InvalidOptions({ issue }) }))
  })
