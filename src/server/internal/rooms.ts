/**
 * The channels of the server and who is in them: plain state that the
 * connections share, and the messages that go to all of a channel.
 */
import * as DateTime from "effect/DateTime"
import type * as Schema from "effect/Schema"
import type * as Signaling from "../../Signaling.ts"
import type { Rid } from "../../SoraMethod.ts"
import { makeId } from "./ids.ts"

/** What the channel, and the RPC methods, know of a connection. */
export interface Member {
  readonly connectionId: string
  readonly clientId: string
  readonly bundleId: string
  readonly channelId: string
  readonly sessionId: string
  readonly role: Signaling.Role
  readonly audio: boolean
  readonly video: boolean
  readonly simulcast: boolean
  readonly spotlight: boolean
  readonly joinedAt: number
  readonly authnMetadata: Schema.Json | undefined
  /** The signaling-notify metadata that RPC changes: `authz_metadata` in notify events. */
  authzMetadata: Schema.Json | undefined
  /** The layer asked for, of all senders and of single ones. */
  readonly rids: { all: Rid; readonly bySender: Map<string, Rid> }
  readonly spotlightRids: { focus: Rid; unfocus: Rid }
  readonly initialSpotlightRids: { readonly focus: Rid; readonly unfocus: Rid }
  /** The rids that may be asked for by RPC. */
  readonly rpcRids: ReadonlyArray<Rid>
  readonly deliver: (label: "notify" | "push", message: Signaling.ServerMessage) => void
}

interface Room {
  readonly sessionId: string
  /** Connections that have an offer with this session, whether or not they have joined yet. */
  entered: number
  readonly members: Map<string, Member>
}

/** RFC 3339 with microseconds, as Sora writes timestamps (section 1). */
export const timestamp = (millis: number): string =>
  DateTime.formatIso(DateTime.makeUnsafe(millis)).replace("Z", "000Z")

/** `Object.fromEntries` forgets the names, so the type is said again. */
const withoutUndefined = <A extends object>(members: A): { [K in keyof A]: Exclude<A[K], undefined> } =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never

export const make = (now: () => number) => {
  const rooms = new Map<string, Room>()

  const room = (channelId: string): Room => {
    let found = rooms.get(channelId)
    if (found === undefined) {
      found = { sessionId: makeId(), entered: 0, members: new Map() }
      rooms.set(channelId, found)
    }
    return found
  }

  const members = (channelId: string): Array<Member> => Array.from(rooms.get(channelId)?.members.values() ?? [])

  /** Of an event about `member`; counts are those after the change. */
  const connectionEvent = (member: Member) => {
    const all = members(member.channelId)
    const count = (role: Signaling.Role) => all.filter((other) => other.role === role).length
    return withoutUndefined({
      type: "notify" as const,
      timestamp: timestamp(now()),
      role: member.role,
      sessionId: member.sessionId,
      clientId: member.clientId,
      bundleId: member.bundleId,
      connectionId: member.connectionId,
      audio: member.audio,
      video: member.video,
      authnMetadata: member.authnMetadata,
      authzMetadata: member.authzMetadata,
      metadata: member.authzMetadata ?? member.authnMetadata,
      minutes: Math.floor((now() - member.joinedAt) / 60_000),
      channelConnections: all.length,
      channelSendrecvConnections: count("sendrecv"),
      channelSendonlyConnections: count("sendonly"),
      channelRecvonlyConnections: count("recvonly"),
      turnTransportType: "udp"
    })
  }

  /** Connections of one bundle are one user to Sora and do not hear of each other (section 1). */
  const others = (member: Member) => members(member.channelId).filter(({ bundleId }) => bundleId !== member.bundleId)

  return {
    /**
     * The session for a connection's offer: a new one when a channel goes from no connection to one. Every `enter`
     * needs its `leave`.
     */
    enter(channelId: string): string {
      const found = room(channelId)
      found.entered++
      return found.sessionId
    },
    members,
    all: () => Array.from(rooms.values()).flatMap(({ members }) => Array.from(members.values())),
    find: (channelId: string, connectionId: string) => rooms.get(channelId)?.members.get(connectionId),
    join(member: Member) {
      room(member.channelId).members.set(member.connectionId, member)
      const event = { _tag: "connection.created" as const, ...connectionEvent(member) }
      const data = others(member).map((other) =>
        withoutUndefined({
          clientId: other.clientId,
          bundleId: other.bundleId,
          connectionId: other.connectionId,
          authnMetadata: other.authnMetadata,
          authzMetadata: other.authzMetadata,
          metadata: other.authzMetadata ?? other.authnMetadata
        })
      )
      member.deliver("notify", { ...event, data })
      for (const other of others(member)) other.deliver("notify", event)
    },
    leave(member: Member) {
      const found = rooms.get(member.channelId)
      if (found === undefined) return
      found.entered--
      if (found.members.delete(member.connectionId)) {
        const event = { _tag: "connection.destroyed" as const, ...connectionEvent(member) }
        for (const other of others(member)) other.deliver("notify", event)
      }
      if (found.entered === 0) rooms.delete(member.channelId)
    },
    /** To every connection of the channel, the same bundle included (a guess, section 9 row 10). */
    push(channelId: string, data: Schema.Json) {
      for (const member of members(channelId)) member.deliver("push", { type: "push", data })
    }
  }
}

export type Channels = ReturnType<typeof make>
