/**
 * The channels of the server and the connections that are in them: plain state,
 * and the messages that go to all of a channel.
 */
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { ConnectionFault } from "../SoraFaults.ts"
import type { End } from "./ends.ts"
import { makeId } from "./ids.ts"
import type * as Media from "./media/media.ts"
import type { Member } from "./member.ts"
import * as Notify from "./notify.ts"
import type { SoraServerError } from "./serverError.ts"

/** A connection that has its offer, for whoever has to do with it: others of its channel, methods, the server's API. */
export interface ServerConnection extends Media.Party {
  readonly isSwitched: () => boolean
  /** Takes a message of the application from another connection. */
  readonly receive: (label: string, bytes: Uint8Array, sender: Member) => void
  readonly end: (by: End) => void
  /** Completes when nothing of it is left. */
  readonly ended: Effect.Effect<void>
  readonly reOffer: Effect.Effect<void, SoraServerError>
  readonly requestStats: Effect.Effect<Schema.Json, SoraServerError>
  readonly inject: (fault: ConnectionFault) => Effect.Effect<void, SoraServerError>
  /** Draws anew what goes wrong with it. */
  readonly redraw: Effect.Effect<void>
}

/** A connection is in one of the two. */
interface Room {
  readonly sessionId: string
  /** Those that have an offer with this session, and have not joined yet. */
  readonly entered: Map<string, ServerConnection>
  readonly members: Map<string, ServerConnection>
}

const everyone = ({ entered, members }: Room) => [...entered.values(), ...members.values()]

export interface Rooms {
  /** The session that a connection is to be offered: a new one while there is no connection. */
  readonly sessionOf: (channelId: string) => string
  /** A connection is to have an offer. Every `enter` needs its `leave`. */
  readonly enter: (connection: ServerConnection) => void
  readonly join: (connection: ServerConnection) => void
  readonly leave: (connection: ServerConnection) => void
  /** All connections, whether or not they have joined. */
  readonly all: () => ReadonlyArray<ServerConnection>
  /** Those that have joined any channel. */
  readonly joined: () => ReadonlyArray<ServerConnection>
  /** Those that have joined the channel. */
  readonly members: (channelId: string) => ReadonlyArray<ServerConnection>
  readonly find: (channelId: string, connectionId: string) => ServerConnection | undefined
  /** Connections of one bundle are one user to Sora and do not hear of each other (section 1). */
  readonly others: (member: Member) => ReadonlyArray<ServerConnection>
  /** To every connection of the channel, the same bundle included (a guess, section 9 row 10). */
  readonly push: (channelId: string, data: Schema.Json) => void
  /** Told of each connection that has joined, after everyone of its channel. */
  readonly onJoin: Set<(connection: ServerConnection) => void>
}

/** `now` is the time of events. */
export const make = (now: () => number): Rooms => {
  const rooms = new Map<string, Room>()
  const onJoin: Rooms["onJoin"] = new Set()

  const members = (channelId: string) => Array.from(rooms.get(channelId)?.members.values() ?? [])

  const others = ({ bundleId, channelId }: Member) =>
    members(channelId).filter(({ member }) => member.bundleId !== bundleId)

  const connectionMembers = (member: Member) =>
    Notify.connectionMembers(member, members(member.channelId).map(({ member }) => member), now())

  return {
    sessionOf: (channelId) => rooms.get(channelId)?.sessionId ?? makeId(),
    enter(connection) {
      const { channelId, connectionId, sessionId } = connection.member
      const room = rooms.get(channelId) ?? { sessionId, entered: new Map(), members: new Map() }
      room.entered.set(connectionId, connection)
      rooms.set(channelId, room)
    },
    join(connection) {
      const { member } = connection
      const room = rooms.get(member.channelId)
      if (room?.entered.delete(member.connectionId) !== true) return
      room.members.set(member.connectionId, connection)
      const event = { _tag: "connection.created" as const, ...connectionMembers(member) }
      const data = others(member).map(({ member }) => Notify.presentMember(member))
      connection.deliver("notify", { ...event, data })
      for (const other of others(member)) other.deliver("notify", event)
      for (const tell of onJoin) tell(connection)
    },
    leave({ member }) {
      const room = rooms.get(member.channelId)
      if (room === undefined) return
      room.entered.delete(member.connectionId)
      if (room.members.delete(member.connectionId)) {
        const event = { _tag: "connection.destroyed" as const, ...connectionMembers(member) }
        for (const other of others(member)) other.deliver("notify", event)
        // What was asked for of its layers goes with it.
        for (const other of room.members.values()) other.member.rids.bySender.delete(member.connectionId)
      }
      if (room.entered.size + room.members.size === 0) rooms.delete(member.channelId)
    },
    all: () => Array.from(rooms.values()).flatMap(everyone),
    joined: () => Array.from(rooms.values()).flatMap(({ members }) => Array.from(members.values())),
    members,
    onJoin,
    find: (channelId, connectionId) => rooms.get(channelId)?.members.get(connectionId),
    others,
    push(channelId, data) {
      for (const connection of members(channelId)) connection.deliver("push", { type: "push", data })
    }
  }
}
