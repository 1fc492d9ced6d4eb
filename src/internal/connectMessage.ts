/**
 * The `connect` message that options make, checked before anything is dialled.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Signaling from "../Signaling.ts"
import type { Options } from "../SoraConnection.ts"
import { InvalidOptions, SoraConnectionError } from "../SoraConnectionError.ts"
import { Version } from "./version.ts"

/** Sora refuses a connection without media unless it asks for a channel of its own (section 1, "role"). */
const placeholderChannel = { label: "#effect-sora-rpc", direction: "sendrecv" } as const

const issueOf = (options: Options): string | undefined => {
  if (!Array.isArray(options.signalingUrls)) return "signalingUrls is not an array of URLs"
  if (options.signalingUrls.length === 0) return "signalingUrls is empty; give at least one ws:// or wss:// URL"
  for (const url of options.signalingUrls) {
    const parsed = URL.parse(url)
    if (parsed === null) return "signalingUrls holds a text that is no URL; give ws:// or wss:// URLs"
    if (parsed.protocol !== "ws:" && parsed.protocol !== "wss:") {
      return `signalingUrls holds a ${parsed.protocol} URL; Sora is signaled with over ws:// or wss://`
    }
  }
  if (options.channelId === "") return "channelId is empty"
  if (options.media !== undefined && options.role === "recvonly") return "media is given, and role is recvonly"
  return undefined
}

/** @internal */
export const make = (
  options: Options,
  environment: string
): Effect.Effect<Signaling.Connect, SoraConnectionError> =>
  Effect.suspend(() => {
    const {
      attemptDelay: _attemptDelay,
      connectTimeout: _connectTimeout,
      disconnectTimeout: _disconnectTimeout,
      headers: _headers,
      media: _media,
      metadata,
      openTimeout: _openTimeout,
      reconnect: _reconnect,
      signalingUrls: _signalingUrls,
      ...members
    } = options
    const invalid = (issue: string) => new SoraConnectionError({ reason: new InvalidOptions({ issue }) })
    const issue = issueOf(options)
    if (issue !== undefined) return invalid(issue)

    const rpcOnly = options.audio === false && options.video === false && (options.dataChannels ?? []).length === 0
    const message: Signaling.Connect = {
      ...members,
      type: "connect",
      ...(metadata === undefined
        ? {}
        : { metadata: Redacted.isRedacted(metadata) ? Redacted.value(metadata) : metadata }),
      ...(rpcOnly ? { dataChannels: [placeholderChannel] } : {}),
      dataChannelSignaling: true,
      soraClient: `effect-sora-rpc ${Version}`,
      environment
    }
    try {
      Signaling.encodeClientMessage(message)
    } catch (error) {
      return invalid(error instanceof Error ? error.message : String(error))
    }
    return Effect.succeed(message)
  })
