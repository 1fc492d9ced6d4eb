/**
 * The peer of a connection: its offers, and the client's answers to them.
 */
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Semaphore from "effect/Semaphore"
import { listen } from "../../../internal/dataChannel.ts"
import * as Association from "../../../node/internal/werift/association.ts"
import type { WeriftPeer } from "../../../node/internal/werift/peer.ts"
import { timedOut } from "../ends.ts"
import type * as Media from "../media/media.ts"
import { SoraServerError } from "../serverError.ts"
import type { Ending } from "./ending.ts"
import { isUsableCandidate, withUsableCandidates } from "./sdp.ts"
import type { Event } from "./state.ts"
import * as Waiting from "./waiting.ts"

export interface Negotiation {
  /** The SDP of a new offer with the candidates in it: Sora sends no `candidate` (section 2.2). */
  readonly makeOffer: Effect.Effect<string, SoraServerError>
  /** Fails for what is no answer to the latest offer. */
  readonly applyAnswer: (sdp: string, type: "answer" | "re-answer") => Effect.Effect<void, unknown>
  /** One that makes no sense is ignored: others may work. */
  readonly addCandidate: (candidate: string) => Effect.Effect<void>
  /** Makes a new offer, and waits for the answer. The connection ends when none comes, whoever still waits for it. */
  readonly reOffer: Effect.Effect<void, SoraServerError>
  /**
   * The same, if the client is to receive other tracks than it does once it is this offer's turn. One that waits for its
   * turn stands for all that are asked for meanwhile.
   */
  readonly renegotiate: Effect.Effect<void, SoraServerError>
  readonly giveUp: () => void
  /** Waits for the client to leave, if it is there. */
  readonly left: Effect.Effect<void>
  /** Nothing is sent any more. */
  readonly silence: () => void
  /** Takes the listeners off. */
  readonly release: () => void
}

/** Posts how the peer is. */
export const make = (options: {
  readonly peer: WeriftPeer
  readonly media: Media.Media
  readonly answerTimeout: Duration.Duration
  /** Whether it was sent. */
  readonly sendReOffer: (sdp: string) => boolean
  readonly ending: Ending
  /** Runs for as long as the connection lives. */
  readonly beside: (effect: Effect.Effect<unknown>) => Effect.Effect<Fiber.Fiber<unknown>>
  readonly post: (event: Event) => void
}): Negotiation => {
  const { answerTimeout, beside, ending, media, peer, post, sendReOffer } = options
  const gone = Deferred.makeUnsafe<void>()
  const oneAtATime = Semaphore.makeUnsafe(1)
  const reAnswers = Waiting.make<void>()
  const detach: Array<() => void> = []
  /** Runs while an answer is due. */
  let patience: Fiber.Fiber<unknown> | undefined
  /** Whether the client has not been told of the sections that there are. */
  let isUntold = false
  let isQueued = false

  const onState = (state: string) => {
    if (state === "connected" && detach.length === 1) {
      detach.push(Association.onAssociationClosed(peer, () => onState("closed")))
    }
    if (state === "failed" || state === "closed") Deferred.doneUnsafe(gone, Exit.void)
    post({ _tag: "PeerState", state })
  }
  // Not werift's own event: only this one tells of a client that goes quiet and comes back.
  detach.push(listen(peer, { connectionstatechange: () => onState(peer.connectionState) }))

  const makeOffer = Effect.tryPromise({
    try: async () => {
      media.beforeOffer()
      await peer.setLocalDescription(await peer.createOffer())
      await peer.gathered
      return peer.localDescription!.sdp
    },
    catch: (cause) => new SoraServerError({ message: "no new offer", cause })
  })

  const sendNewOffer = Effect.gen(function*() {
    isUntold = true
    const sdp = yield* makeOffer
    // Not in the fiber of whoever asked, which may be interrupted: the answer is due all the same.
    patience = yield* beside(Effect.delay(Effect.sync(() => ending.end(timedOut)), answerTimeout))
    if (sendReOffer(sdp)) {
      isUntold = false
      return
    }
    patience.interruptUnsafe()
    // No answer will come.
    yield* Effect.ignore(Effect.tryPromise(() => peer.setLocalDescription({ type: "rollback" })))
    return yield* new SoraServerError({ message: "the offer could not be sent" })
  })

  /** A peer has one pending offer. */
  const offerAnew = (isWanted: () => boolean) =>
    Effect.suspend(() => {
      if (!isWanted()) return Effect.void
      if (peer.signalingState !== "stable" || peer.connectionState !== "connected") {
        return new SoraServerError({ message: "the connection is not up, or an offer waits for its answer" })
      }
      // Whole or not at all: an offer that was made and not sent would bar every later one.
      return reAnswers.ask(Effect.uninterruptible(sendNewOffer))
    }).pipe(oneAtATime.withPermit)

  return {
    makeOffer,
    applyAnswer: (sdp, type) =>
      Effect.tryPromise(async () => {
        if (type === "re-answer") patience?.interruptUnsafe()
        // werift takes an SDP without sections, and then closes.
        if (!sdp.includes("m=application")) throw new Error("no m=application")
        const usable = withUsableCandidates(sdp, peer.localDescription!.sdp)
        await peer.setRemoteDescription({ type: "answer", sdp: usable })
        media.afterAnswer()
        if (type === "re-answer") reAnswers.answer(undefined)
      }).pipe(Effect.timeout(answerTimeout)),
    addCandidate: (candidate) =>
      // Some SDKs name no section (section 2.5), or it may be one that was rejected.
      isUsableCandidate(candidate)
        ? Effect.ignore(
          Effect.tryPromise(() =>
            peer.addIceCandidate({ candidate, sdpMLineIndex: Association.dataSectionIndex(peer) })
          )
        )
        : Effect.void,
    reOffer: offerAnew(() => true),
    renegotiate: Effect.suspend(() => {
      if (isQueued) return Effect.void
      isQueued = true
      return offerAnew(() => {
        isQueued = false
        return !ending.isOver() && (isUntold || media.isStale())
      })
    }),
    giveUp: reAnswers.giveUp,
    left: Effect.suspend(() => peer.connectionState === "connected" ? Deferred.await(gone) : Effect.void),
    silence: () => Association.silence(peer),
    release() {
      for (const run of detach) run()
    }
  }
}
