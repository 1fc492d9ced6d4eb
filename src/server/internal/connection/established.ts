/**
 * What there is of a connection once it is to have an offer: its peer, its
 * media, its calls, and the record of it in its room.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Schema from "effect/Schema"
import type { WeriftPeer } from "../../../node/internal/werift/peer.ts"
import { internalError } from "../ends.ts"
import * as Media from "../media/media.ts"
import type { ServerConnection } from "../rooms.ts"
import { SoraServerError } from "../serverError.ts"
import type { Line } from "../tap.ts"
import type { Channels } from "./channels.ts"
import type { Ending } from "./ending.ts"
import type { Fate } from "./fate.ts"
import { makeMember, type Terms } from "./grant.ts"
import type { Load } from "./inbox.ts"
import * as Negotiation from "./negotiation.ts"
import * as Relay from "./relay.ts"
import * as Rpc from "./rpc.ts"
import type { Services } from "./services.ts"
import type { Event } from "./state.ts"
import type { Transport } from "./transport.ts"
import type { Waiting } from "./waiting.ts"

export interface Established {
  readonly connection: ServerConnection
  readonly negotiation: Negotiation.Negotiation
  readonly rpc: Rpc.Rpc
}

/** Puts the connection in its room, which it has to leave. */
export const establish = (terms: Terms, peer: WeriftPeer, parts: {
  readonly services: Services
  readonly clock: Clock.Clock
  readonly channels: Channels
  readonly transport: Transport
  readonly ending: Ending
  readonly ended: Effect.Effect<void>
  readonly fate: Fate
  readonly load: Load
  readonly line: Line
  readonly statistics: Waiting<Schema.Json>
  readonly isSwitched: () => boolean
  /** Runs for as long as the connection lives. */
  readonly beside: (effect: Effect.Effect<unknown>) => Effect.Effect<Fiber.Fiber<unknown>>
  readonly runCall: (effect: Effect.Effect<void>) => void
  readonly post: (event: Event) => void
}): Established => {
  const { beside, channels, clock, ended, ending, fate, line, load, post, runCall, services, statistics, transport } =
    parts
  const { dispatcher, rooms, settings } = services
  const { deliver } = transport

  const sessionId = rooms.sessionOf(terms.connect.channelId)
  const member = makeMember(terms, sessionId, settings, clock.currentTimeMillisUnsafe())
  const rpc = Rpc.make({
    member,
    granted: terms.rpcMethods,
    dispatcher,
    settings,
    channels,
    transport,
    ending,
    fate,
    load,
    line,
    run: runCall
  })
  const relay = Relay.make({ member, rooms, channels, transport, maxInflatedBytes: settings.maxInflatedBytes })
  channels.open(peer, terms.channels, { rpc: rpc.onMessage, own: relay.onMessage })
  const media = Media.make({
    peer,
    member,
    connect: terms.connect,
    simulcastEncodings: terms.grant.simulcastEncodings,
    clock,
    others: () => rooms.others(member),
    deliver,
    wake: () => post({ _tag: "MediaChanged" }),
    fail: () => ending.end(internalError)
  })
  const negotiation = Negotiation.make({
    peer,
    media,
    answerTimeout: settings.connectTimeout,
    sendReOffer: (sdp) => deliver("signaling", { type: "re-offer", sdp }),
    ending,
    beside,
    post
  })
  const connection: ServerConnection = {
    member,
    media,
    deliver,
    isSwitched: parts.isSwitched,
    receive: relay.receive,
    end: ending.end,
    ended,
    reOffer: negotiation.reOffer,
    requestStats: statistics.ask(Effect.suspend(() =>
      transport.askForStatistics()
        ? Effect.void
        : new SoraServerError({
          message: "the client cannot be asked: its stats channel, or its WebSocket, is not open"
        })
    )),
    inject: fate.inject,
    redraw: fate.redraw
  }
  rooms.enter(connection)
  line.opened(member)
  return { connection, negotiation, rpc }
}
