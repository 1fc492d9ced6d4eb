/**
 * Who is in the channel, kept from what Sora tells of it (`sora-protocol.md`
 * section 6.1): a connection's own `connection.created` lists who was there
 * already, later events tell who comes and goes, and pushes what RPC changes of
 * their metadata (section 4.10).
 *
 * The events come by the WebSocket and then by a DataChannel, and pushes by
 * another one: what is told first may be heard last. So somebody who has left
 * does not come back, what was pushed of somebody unknown waits until it is
 * known, and what is known of somebody is newer than what `connection.created`
 * says. (Nothing tells a push that overtakes another one, at the moment when
 * signaling moves to the DataChannels.)
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Signaling from "../../Signaling.ts"
import * as Broadcast from "./broadcast.ts"
import type { Member, Members } from "./model.ts"

/** Of those who left, and of pushes about somebody unknown: the latest. */
const Kept = 64

/** How long the list of a connection that is just up is waited for. */
const ListGrace = "1 second"

/** @internal */
export interface Roster {
  /** An attempt has its offer, and its list will come. Nothing is told of it before it is up: it may still fail. */
  readonly begin: (offer: Signaling.Offer) => void
  /** It is up: what was known is over. */
  readonly up: () => void
  /** It broke. */
  readonly down: () => void
  readonly notify: (event: Signaling.Notify) => void
  readonly push: (push: Signaling.Push) => void
  /** Ends the streams. */
  readonly end: () => void
  readonly members: Effect.Effect<Members>
  readonly changes: Stream.Stream<Members>
}

const isObject = (json: Schema.Json | undefined): json is Schema.JsonObject =>
  typeof json === "object" && json !== null && !Array.isArray(json)

/** What is pushed of somebody's metadata. */
interface Change {
  readonly of: string
  readonly to: (member: Member) => Member
}

/** Metadata that is nested too deeply to be compared, which somebody else may put, is news each time. */
const isSame = (known: Member | undefined, member: Member): boolean => {
  try {
    return Equal.equals(known, member)
  } catch {
    return false
  }
}

/** What a push does to the metadata of whom; nothing, where it is another push. */
const changeOf = ({ data }: Signaling.Push): Change | undefined => {
  if (!isObject(data) || data.type !== "signaling_notify_metadata_ext") return undefined
  const { connection_id: of, key, metadata, value } = data
  // By what it holds and not by its `action`, which is not known for certain (section 9 row 9).
  const to = metadata !== undefined
    ? (member: Member) => ({ ...member, metadata })
    : typeof key === "string" && value !== undefined
    ? (member: Member) => ({
      ...member,
      metadata: { ...(isObject(member.metadata) ? member.metadata : {}), [key]: value }
    })
    : undefined
  return typeof of === "string" && to !== undefined ? { of, to } : undefined
}

type Told = { readonly [Name in Exclude<keyof Member, "connectionId" | "isSelf">]?: Member[Name] | undefined }

/** What an event or a list tells of a connection. */
const told = (
  { audio, authnMetadata, authzMetadata, bundleId, clientId, metadata, role, video }: Told
): Partial<Member> =>
  Object.fromEntries(
    Object.entries({ clientId, bundleId, role, audio, video, authnMetadata, authzMetadata, metadata })
      .filter(([, value]) => value !== undefined)
  )

/** @internal */
export const make: Effect.Effect<Roster> = Effect.suspend(() =>
  Effect.map(
    // The latest change and the end: who falls behind misses what is out of date.
    Broadcast.make<void>({ replay: 2, capacity: 2 }),
    (ticks) => {
      let self: Member | undefined
      /** Whether the list of the connection has come. */
      let isListed = false
      let stage: "coming" | "up" | "over" = "coming"
      const members = new Map<string, Member>()
      /** Ids are not used again, so that whoever is told of later was told of late. */
      let gone: ReadonlyArray<string> = []
      /** What was pushed of connections before anything else was heard of them. */
      let early: ReadonlyArray<Change> = []
      /** Of the connection before, for as long as there is no other. */
      let last: Members | undefined
      /** Copied when somebody looks, not at each change. */
      let snapshot: Members | undefined

      const current = (): Members => snapshot ??= withSelf(new Map(members))
      const withSelf = (all: Map<string, Member>) =>
        self === undefined || all.has(self.connectionId) ? all : all.set(self.connectionId, self)

      const isTold = () => isListed && stage !== "coming"

      const tell = () => {
        snapshot = undefined
        if (isTold()) ticks.publish()
      }

      const down = () => {
        if (stage === "up") stage = "over"
      }

      const set = (member: Member) => {
        if (isSame(members.get(member.connectionId), member)) return
        members.set(member.connectionId, member)
        tell()
      }

      /** What is not news may be older than what is known. */
      const add = (connectionId: string | undefined, news: Partial<Member>, isNews: boolean) => {
        if (connectionId === undefined || gone.includes(connectionId)) return
        const known = members.get(connectionId)
        if (known !== undefined) return set(isNews ? { ...known, ...news } : { ...news, ...known })
        const isSelf = connectionId === self?.connectionId
        const isOf = ({ of }: Change) => of === connectionId
        const member: Member = { ...(isSelf ? self : {}), ...news, connectionId, isSelf }
        set(early.filter(isOf).reduce((member, { to }) => to(member), member))
        early = early.filter((change) => !isOf(change))
      }

      const listed = () => {
        if (isListed) return
        // Where nothing is told of it, what is pushed of it still counts.
        if (self !== undefined) add(self.connectionId, {}, false)
        isListed = true
        tell()
      }

      // What was told of the connection before is filtered out, until the new one is up and its list has come.
      const changes = ticks.stream.pipe(
        Stream.filter(isTold),
        Stream.map(current),
        Stream.changesWith((last, next) => last === next)
      )

      return {
        begin({ bundleId, clientId, connectionId }) {
          if (isTold()) last = current()
          stage = "coming"
          self = { connectionId, isSelf: true, ...told({ bundleId, clientId }) }
          isListed = false
          members.clear()
          gone = []
          early = []
          snapshot = undefined
        },
        up() {
          stage = "up"
          tell()
        },
        down,
        notify(event) {
          switch (event._tag) {
            case "connection.created": {
              for (const { connectionId, ...present } of event.data ?? []) add(connectionId, told(present), false)
              add(event.connectionId, told(event), false)
              // Only one's own has a list; where metadata is switched off it has none either.
              if (event.connectionId === self?.connectionId || event.data !== undefined) listed()
              return
            }
            case "connection.updated":
              // One of somebody unknown is believed: the list may not have been whole.
              add(event.connectionId, told(event), true)
              return listed()
            case "connection.destroyed": {
              const { connectionId } = event
              if (connectionId === undefined) return
              gone = [...gone.slice(1 - Kept), connectionId]
              if (members.delete(connectionId)) tell()
            }
          }
        },
        push(push) {
          const change = changeOf(push)
          if (change === undefined) return
          const member = members.get(change.of)
          if (member === undefined) early = [...early.slice(1 - Kept), change]
          else set(change.to(member))
        },
        end() {
          down()
          ticks.end()
        },
        members: Effect.suspend(function look(): Effect.Effect<Members> {
          if (isTold()) return Effect.succeed(current())
          if (stage !== "up") return Effect.succeed(last ?? current())
          const waitingFor = self
          return changes.pipe(
            Stream.runHead,
            Effect.timeoutOption(ListGrace),
            Effect.flatMap(() => {
              // It broke meanwhile.
              if (self !== waitingFor) return look()
              // None came: there will be none, and nobody else needs to wait for it.
              listed()
              return Effect.succeed(current())
            })
          )
        }),
        changes
      }
    }
  )
)
