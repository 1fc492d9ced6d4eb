/**
 * The events that the server tells a channel of (`sora-protocol.md` section 6).
 */
import * as DateTime from "effect/DateTime"
import type * as Signaling from "../../Signaling.ts"
import type { Member } from "./member.ts"

/** RFC 3339 with microseconds, as Sora writes timestamps (section 1). */
export const timestamp = (millis: number): string =>
  DateTime.formatIso(DateTime.makeUnsafe(millis)).replace("Z", "000Z")

/** `Object.fromEntries` forgets the names, so the type is said again. */
const withoutUndefined = <A extends object>(members: A): { [K in keyof A]: Exclude<A[K], undefined> } =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never

/** Of an event about `member`; `all` are in the channel after the change. */
export const connectionMembers = (member: Member, all: ReadonlyArray<Member>, now: number) => {
  const count = (role: Signaling.Role) => all.filter((other) => other.role === role).length
  return withoutUndefined({
    type: "notify" as const,
    timestamp: timestamp(now),
    role: member.role,
    sessionId: member.sessionId,
    clientId: member.clientId,
    bundleId: member.bundleId,
    connectionId: member.connectionId,
    audio: member.audio,
    video: member.video,
    authnMetadata: member.authnMetadata,
    authzMetadata: member.authzMetadata,
    metadata: member.metadata,
    minutes: Math.floor((now - member.joinedAt) / 60_000),
    channelConnections: all.length,
    channelSendrecvConnections: count("sendrecv"),
    channelSendonlyConnections: count("sendonly"),
    channelRecvonlyConnections: count("recvonly"),
    turnTransportType: "udp"
  })
}

/** What a connection that joins is told of one that is there. */
export const presentMember = (member: Member) =>
  withoutUndefined({
    clientId: member.clientId,
    bundleId: member.bundleId,
    connectionId: member.connectionId,
    authnMetadata: member.authnMetadata,
    authzMetadata: member.authzMetadata,
    metadata: member.metadata
  })
