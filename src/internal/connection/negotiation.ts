/**
 * The peer connection of a session: made for the server's first offer, answers
 * each one, and says what happens to it.
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type { PeerConnection, PeerConnectionLike, TrackEvent } from "../../PeerConnection.ts"
import * as Signaling from "../../Signaling.ts"
import { NegotiationFailed, SoraConnectionError, TurnFailed } from "../../SoraConnectionError.ts"
import { listen } from "../dataChannel.ts"
import { sdpIssue } from "../limits.ts"
import { type Channels, heard } from "./channels.ts"
import * as Media from "./media.ts"
import type { Options } from "./model.ts"
import * as Received from "./received.ts"
import type { Event, Question } from "./state.ts"

/** @internal */
export interface Negotiation {
  /** Answers the server; the first time it makes the peer. One at a time. */
  readonly answer: (offer: Signaling.Offer, to: Question) => Effect.Effect<string, SoraConnectionError>
  /** Since the first answer. */
  readonly peer: () => PeerConnectionLike | undefined
  /** The statistics of the peer as JSON; none where there is no peer, or it has none to give. */
  readonly statistics: Effect.Effect<Array<any>>
}

const step = <A>(name: string, run: () => Promise<A>) =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => new SoraConnectionError({ reason: new NegotiationFailed({ step: name, cause }) })
  })

const describedBy = ({ localDescription }: PeerConnectionLike): string => localDescription?.sdp ?? ""

/** An event of ICE as the message that tells Sora of it; nothing for the end of candidates (section 2.5). */
const toMessage = (event: { readonly candidate?: any }): Signaling.ClientMessage | undefined => {
  if (!event.candidate?.candidate) return undefined
  const json = event.candidate.toJSON?.() ?? event.candidate
  const { candidate, sdpMid, sdpMLineIndex, usernameFragment } = json
  const members = Object.entries({ sdpMid, sdpMLineIndex, usernameFragment }).filter(([, value]) => value != null)
  return { type: "candidate", candidate, ...Object.fromEntries(members) }
}

/**
 * The peer lives in the scope `held`.
 *
 * @internal
 */
export const make = ({ channels, held, media, onRemovedTrack, onTrack, platform, post }: {
  readonly platform: PeerConnection["Service"]
  readonly media: Options["media"]
  readonly held: Scope.Scope
  readonly channels: Channels
  readonly post: (event: Event) => void
  readonly onTrack: (event: TrackEvent) => void
  /** The event with which the track came. */
  readonly onRemovedTrack: (event: TrackEvent) => void
}): Negotiation => {
  let peer: PeerConnectionLike | undefined
  const received = Received.make(onRemovedTrack)

  const listenTo = (made: PeerConnectionLike, offer: Signaling.Offer) => {
    const failures: Array<TurnFailed["failures"][number]> = []
    let hasCandidate = false
    return listen(made, {
      datachannel: heard(post, ({ channel }: { readonly channel: any }) => channels.attach(channel, offer)),
      icecandidate: heard(post, (event: { readonly candidate?: any }) => {
        const candidate = toMessage(event)
        if (candidate === undefined) return
        hasCandidate = true
        post({ _tag: "Candidate", candidate })
      }),
      icecandidateerror: heard(post, ({ errorCode, errorText, url }: Record<string, unknown>) => {
        failures.push({ url: String(url), code: Number(errorCode), text: String(errorText ?? "") })
      }),
      icegatheringstatechange: heard(post, () => {
        // What a peer without a candidate waits for never comes.
        if (made.iceGatheringState !== "complete" || hasCandidate || /^a=candidate:/m.test(describedBy(made))) return
        if (offer.config?.iceTransportPolicy !== "relay") return
        post({ _tag: "Failed", reason: new TurnFailed({ failures }) })
      }),
      connectionstatechange: heard(post, () => post({ _tag: "PeerState", state: made.connectionState })),
      track: heard(post, (event: TrackEvent) => {
        if (!Media.isRemote(event, offer.connectionId)) return
        received.add(event)
        onTrack(event)
      })
    })
  }

  const makePeer = Effect.fnUntraced(function*(offer: Signaling.Offer) {
    const made = yield* platform.make({
      iceServers: (offer.config?.iceServers ?? []).map(({ urls, ...credentials }) => ({
        urls: typeof urls === "string" ? [urls] : urls,
        ...credentials
      })),
      iceTransportPolicy: offer.config?.iceTransportPolicy ?? "all"
    }).pipe(Scope.provide(held))
    peer = made
    const detach = listenTo(made, offer)
    // Before the peer is closed: that is no news any more.
    yield* Scope.addFinalizer(
      held,
      Effect.sync(() => {
        detach()
        received.clear()
        channels.release()
      })
    )
    return made
  })

  return {
    answer: Effect.fnUntraced(function*(offer, { sdp, type }) {
      const isFirst = peer === undefined
      const issue = sdpIssue(sdp)
      if (issue !== undefined) {
        return yield* new SoraConnectionError({
          reason: isFirst
            ? new Signaling.InvalidMessage({ messageType: "offer", issue })
            : new NegotiationFailed({ step: `reading the ${type}`, cause: new Error(issue) })
        })
      }
      const made = peer ?? (yield* makePeer(offer))
      yield* step("setRemoteDescription", () => made.setRemoteDescription({ type: "offer", sdp }))
      received.offered(sdp)
      // Sora says once which sections are the client's to send on; later offers only add what it receives.
      if (media !== undefined && isFirst) yield* step("sending media", () => Media.send(made, media, offer))
      const created = yield* step("createAnswer", () => made.createAnswer())
      const answer = { type: "answer", sdp: created.sdp ?? "" } as const
      yield* step("setLocalDescription", () => made.setLocalDescription(answer))
      // Not `answer`: the polyfill of node-datachannel creates the same one for every offer, and describes itself rightly.
      return made.localDescription?.sdp ?? answer.sdp
    }),
    peer: () => peer,
    statistics: Effect.tryPromise(async () => {
      const reports: Array<unknown> = []
      const stats = await peer?.getStats()
      stats?.forEach((report) => reports.push(report))
      // What JSON has no form for (a Map, a bigint) is not worth failing a pong for.
      return JSON.parse(JSON.stringify(reports, (_, value) => typeof value === "bigint" ? Number(value) : value))
    }).pipe(Effect.orElseSucceed(() => []))
  }
}
