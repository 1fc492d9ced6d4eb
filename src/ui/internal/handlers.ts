/**
 * What the page can ask of the server, and the streams that it watches.
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { millisOf } from "../../internal/options.ts"
import { Version } from "../../internal/version.ts"
import type { Inside } from "../../server/internal/inside.ts"
import type { ServerConnection } from "../../server/internal/rooms.ts"
import * as SoraFaults from "../../server/SoraFaults.ts"
import type { SoraServer } from "../../server/SoraServer.ts"
import * as SoraMethod from "../../SoraMethod.ts"
import type { Figures } from "./figures.ts"
import { formOf } from "./form.ts"
import { type Connection, type Method, Protocol, Refused, type Second } from "./protocol.ts"
import type { Timeline } from "./timeline.ts"

/** How often a page is told what is new. */
const TimelineEvery = "50 millis"
const ConnectionsEvery = "250 millis"
const FaultsEvery = ConnectionsEvery
const FiguresEvery = "1 second"

/** Connections in one message. */
const BatchConnections = 200

/** Looks again and again: at once while there is `more`, else after a pause. */
const watch = <A>(
  every: typeof TimelineEvery | typeof ConnectionsEvery | typeof FiguresEvery,
  look: () => { readonly news: A | undefined; readonly more: boolean }
): Stream.Stream<A> => {
  let more = true
  const next: Effect.Effect<A> = Effect.suspend(() =>
    Effect.flatMap(more ? Effect.void : Effect.sleep(every), () => {
      const found = look()
      more = found.more
      return found.news === undefined ? next : Effect.succeed(found.news)
    })
  )
  return Stream.fromEffectRepeat(next)
}

const methodOf = (method: SoraMethod.Any): Method => {
  const form = formOf(method.params, "wire")
  return { name: SoraMethod.wireName(method), ...(form === undefined ? {} : { form }) }
}

const viewOf = ({ isSwitched, media, member }: ServerConnection, state: Connection["state"]): Connection => ({
  connectionId: member.connectionId,
  clientId: member.clientId,
  bundleId: member.bundleId,
  sessionId: member.sessionId,
  channelId: member.channelId,
  role: member.role,
  state,
  switched: isSwitched(),
  since: member.joinedAt,
  simulcast: member.simulcast,
  spotlight: member.spotlight,
  ...(member.metadata === undefined ? {} : { metadata: member.metadata }),
  ...(member.authnMetadata === undefined ? {} : { authnMetadata: member.authnMetadata }),
  ...(member.authzMetadata === undefined ? {} : { authzMetadata: member.authzMetadata }),
  rid: member.rids.all,
  ridsBySender: Object.fromEntries(member.rids.bySender),
  spotlightFocusRid: member.spotlightRids.focus,
  spotlightUnfocusRid: member.spotlightRids.unfocus,
  sends: media.sources().map(({ kind, sent }) => ({ kind, rids: sent })),
  receives: media.receives().map(({ kind, member }) => ({ kind, from: member.connectionId }))
})

const watchConnections = ({ rooms }: Inside) => {
  const told = new Map<string, string>()
  return watch(ConnectionsEvery, () => {
    const joined = new Set(rooms.joined())
    const present = new Set<string>()
    const changed: Array<Connection> = []
    let more = false
    const all = rooms.all()
    for (const connection of all) {
      const { connectionId } = connection.member
      present.add(connectionId)
      const view = viewOf(connection, joined.has(connection) ? "joined" : "connecting")
      const text = JSON.stringify(view)
      if (told.get(connectionId) === text) continue
      if (changed.length === BatchConnections) {
        more = true
        continue
      }
      told.set(connectionId, text)
      changed.push(view)
    }
    const removed = Array.from(told.keys()).filter((id) => !present.has(id))
    for (const id of removed) told.delete(id)
    return { news: changed.length + removed.length === 0 ? undefined : { changed, removed }, more }
  })
}

const watchTimeline = (timeline: Timeline, after: number) => {
  let seen = after
  return watch(TimelineEvery, () => {
    const { entries, lost, more } = timeline.after(seen)
    const last = entries.at(-1)
    if (last === undefined) return { news: undefined, more: false }
    seen = last.seq
    return { news: { entries, lost }, more }
  })
}

const watchFigures = (figures: Figures) => {
  let seen = 0
  return watch(FiguresEvery, () => {
    const seconds = figures.since(seen)
    seen = seconds.at(-1)?.at ?? seen
    return { news: seconds.length === 0 ? undefined : seconds as ReadonlyArray<Second>, more: false }
  })
}

const refused = ({ message }: { readonly message: string }) => new Refused({ message })

/** Times in milliseconds. */
const plain = (faults: SoraFaults.Faults): Schema.JsonObject =>
  Object.fromEntries(
    Object.entries(faults).flatMap(([name, value]) => {
      const number = typeof value === "number" ? value : millisOf(value)
      return number === undefined ? [] : [[name, number]]
    })
  )

const watchFaults = ({ faults }: Inside) => {
  let told: SoraFaults.Faults | undefined
  return watch(FaultsEvery, () => {
    const now = faults()
    if (now === told) return { news: undefined, more: false }
    told = now
    return { news: plain(now), more: false }
  })
}

export const layer = (parts: {
  readonly server: SoraServer["Service"]
  readonly inside: Inside
  readonly timeline: Timeline
  readonly figures: Figures
}) => {
  const { figures, inside, server, timeline } = parts
  return Protocol.toLayer({
    Info: () =>
      Effect.sync(() => ({
        version: Version,
        signalingUrl: server.url,
        methods: inside.methods.map(methodOf)
      })),
    Connections: () => watchConnections(inside),
    Faults: () => watchFaults(inside),
    Timeline: ({ after }) => watchTimeline(timeline, after),
    Figures: () => watchFigures(figures),
    Disconnect: ({ channelId, connectionId }) =>
      connectionId !== undefined
        ? server.disconnect({ connectionId })
        : channelId !== undefined
        ? server.disconnect({ channelId })
        : new Refused({ message: "say whom to disconnect" }),
    Push: ({ channelId, connectionId, data }) => server.push(channelId, data, { connectionId }),
    ReOffer: ({ connectionId }) => Effect.mapError(server.reOffer(connectionId), refused),
    RequestStats: ({ connectionId }) => Effect.mapError(server.requestStats(connectionId), refused),
    SetFaults: ({ faults }) =>
      Effect.flatMap(Effect.mapError(SoraFaults.decode(faults), refused), (decoded) => server.setFaults(decoded)),
    Inject: ({ connectionId, fault }) => Effect.mapError(server.inject(connectionId, fault), refused)
  })
}
