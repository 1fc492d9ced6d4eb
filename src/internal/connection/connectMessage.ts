/**
 * The `connect` message that options make.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Signaling from "../../Signaling.ts"
import { InvalidOptions, SoraConnectionError } from "../../SoraConnectionError.ts"
import { Version } from "../version.ts"
import type { Options } from "./model.ts"

/** Sora refuses a connection without media unless it asks for a channel of its own (section 1, "role"). */
const placeholderChannel = { label: "#effect-sora-rpc", direction: "sendrecv" } as const

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
      maxInflatedBytes: _maxInflatedBytes,
      media: _media,
      metadata,
      openTimeout: _openTimeout,
      reconnect: _reconnect,
      retryConnect: _retryConnect,
      signalingUrls: _signalingUrls,
      ...members
    } = options
    const invalid = (issue: string) => new SoraConnectionError({ reason: new InvalidOptions({ issue }) })

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
