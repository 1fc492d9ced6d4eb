/**
 * The `connect` message that options make.
 */
import type * as Schema from "effect/Schema"
import type * as Signaling from "../../Signaling.ts"
import { Version } from "../version.ts"
import type { AnyOptions } from "./model.ts"

/** Sora refuses a connection without media unless it asks for a channel of its own (section 1, "role"). */
const placeholderChannel = { label: "#effect-sora-rpc", direction: "sendrecv" } as const

/**
 * What else the options have does not go over the wire: a message is encoded with
 * its own members only.
 *
 * @internal
 */
export const make = (
  { metadata: _source, ...members }:
    & Omit<AnyOptions, "metadata" | "onConnected" | "reconnect" | "retryConnect">
    & { readonly metadata?: unknown },
  metadata: Schema.Json | undefined,
  environment: string
): Signaling.Connect => {
  const rpcOnly = members.audio === false && members.video === false && (members.dataChannels ?? []).length === 0
  return {
    ...members,
    type: "connect",
    ...(metadata === undefined ? {} : { metadata }),
    ...(rpcOnly ? { dataChannels: [placeholderChannel] } : {}),
    dataChannelSignaling: true,
    soraClient: `effect-sora-rpc ${Version}`,
    environment
  }
}
