/**
 * What a client gets, of what it asked for and what the authentication gave it.
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { issueOf, Time } from "../../../internal/options.ts"
import type * as Signaling from "../../../Signaling.ts"
import { Rid } from "../../../SoraMethod.ts"
import { Encodings, type Grant } from "../../SoraAuth.ts"
import { makeId } from "../ids.ts"
import type * as Media from "../media/media.ts"
import type { Member } from "../member.ts"
import type { Settings } from "../options.ts"
import type { Asked, ServerChannel } from "./channels.ts"

const optional = Schema.optional

/** What is wrong with what a hook gave, if anything: the compiler may not have looked at it. */
export const issueOfGrant = issueOf(Schema.Struct({
  clientId: optional(Schema.String),
  bundleId: optional(Schema.String),
  metadata: optional(Schema.Json),
  signalingNotifyMetadata: optional(Schema.Json),
  signalingNotifyMetadataExt: optional(Schema.Json),
  rpcMethods: optional(Schema.Array(Schema.String)),
  simulcast: optional(Schema.Boolean),
  simulcastRequestRid: optional(Rid),
  simulcastRpcRids: optional(Schema.Array(Rid)),
  simulcastEncodings: optional(Encodings),
  spotlight: optional(Schema.Boolean),
  dataChannelSignaling: optional(Schema.Boolean),
  ignoreDisconnectWebsocket: optional(Schema.Boolean),
  connectionLifetime: optional(Time)
}))

/** What holds for a connection. */
export interface Terms {
  readonly grant: Grant
  readonly connect: Signaling.Connect
  readonly dataChannelSignaling: boolean
  readonly ignoreDisconnectWebsocket: boolean
  readonly rpcMethods: ReadonlyArray<string>
  /** Channels of the application; nothing while signaling stays on the WebSocket. */
  readonly channels: ReadonlyArray<Asked> | undefined
  readonly lifetime: Duration.Duration | undefined
}

export const termsOf = (
  connect: Signaling.Connect,
  grant: Grant,
  settings: Settings,
  allMethods: ReadonlyArray<string>
): Terms => {
  const dataChannelSignaling = grant.dataChannelSignaling ?? connect.dataChannelSignaling ??
    settings.defaultDataChannelSignaling
  const mayGo = settings.ignoreDisconnectWebsocket ?? grant.ignoreDisconnectWebsocket ??
    connect.ignoreDisconnectWebsocket ?? settings.defaultIgnoreDisconnectWebsocket
  return {
    grant,
    connect,
    dataChannelSignaling,
    ignoreDisconnectWebsocket: dataChannelSignaling && mayGo,
    rpcMethods: settings.rpc && dataChannelSignaling ? grant.rpcMethods ?? allMethods : [],
    channels: dataChannelSignaling ? connect.dataChannels ?? [] : undefined,
    lifetime: grant.connectionLifetime === undefined ? undefined : Duration.fromInputUnsafe(grant.connectionLifetime)
  }
}

export const makeMember = ({ connect, grant }: Terms, sessionId: string, settings: Settings, now: number): Member => {
  const connectionId = makeId()
  const spotlight = { focus: connect.spotlightFocusRid ?? "r1", unfocus: connect.spotlightUnfocusRid ?? "r0" }
  return {
    connectionId,
    clientId: grant.clientId ?? connect.clientId ?? connectionId,
    bundleId: grant.bundleId ?? connect.bundleId ?? connectionId,
    channelId: connect.channelId,
    sessionId,
    role: connect.role,
    audio: connect.audio !== false,
    video: connect.video !== false,
    simulcast: grant.simulcast ?? connect.simulcast ?? false,
    spotlight: grant.spotlight ?? connect.spotlight ?? false,
    joinedAt: now,
    authnMetadata: connect.signalingNotifyMetadata,
    authzMetadata: grant.signalingNotifyMetadata,
    metadata: settings.signalingNotifyMetadataExt
      ? grant.signalingNotifyMetadataExt
      : grant.signalingNotifyMetadata ?? connect.signalingNotifyMetadata,
    rids: {
      all: connect.simulcastRequestRid ?? grant.simulcastRequestRid ?? "r2",
      bySender: new Map<string, Rid>()
    },
    spotlightRids: { ...spotlight },
    initialSpotlightRids: spotlight,
    rpcRids: grant.simulcastRpcRids ?? ["none", "r0", "r1", "r2"]
  }
}

export const offerOf = (parts: {
  readonly sdp: string
  readonly terms: Terms
  readonly member: Member
  readonly media: Media.Media
  readonly channels: ReadonlyMap<string, ServerChannel>
  readonly settings: Settings
}): Signaling.Offer => {
  const { channels, media, member, sdp, settings, terms } = parts
  const { dataChannelSignaling, grant, ignoreDisconnectWebsocket, rpcMethods } = terms
  return {
    type: "offer",
    sdp,
    version: "2025.2.0",
    channelId: member.channelId,
    sessionId: member.sessionId,
    clientId: member.clientId,
    bundleId: member.bundleId,
    connectionId: member.connectionId,
    ...(grant.metadata === undefined ? {} : { metadata: grant.metadata }),
    config: {
      // Some SDKs read `urls` as an array only (section 2.4).
      iceServers: settings.iceServers.map((server) => ({ ...server, urls: [server.urls].flat() })),
      iceTransportPolicy: settings.iceTransportPolicy
    },
    simulcast: member.simulcast,
    simulcastMulticodec: false,
    spotlight: member.spotlight,
    ...media.offered,
    audio: member.audio,
    video: member.video,
    dataChannelSignaling,
    ignoreDisconnectWebsocket,
    dataChannels: Array.from(channels, ([label, { asked, compress }]) => ({
      label,
      direction: asked?.direction ?? (label === "notify" || label === "push" ? "recvonly" : "sendrecv"),
      compress,
      ...(asked?.header === undefined ? {} : { header: asked.header })
    })),
    ...(rpcMethods.length === 0 ? {} : { rpcMethods }),
    ...(grant.simulcastRpcRids === undefined ? {} : { simulcastRpcRids: grant.simulcastRpcRids })
  }
}
