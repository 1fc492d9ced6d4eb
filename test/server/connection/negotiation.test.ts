/**
 * The offers of a connection, over a peer whose state is the test's to say: it
 * is connected to nothing, and the other peer only answers.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as Werift from "../../../src/node/internal/werift/peer.ts"
import * as Ending from "../../../src/server/internal/connection/ending.ts"
import * as Negotiation from "../../../src/server/internal/connection/negotiation.ts"
import type { Event } from "../../../src/server/internal/connection/state.ts"
import type { Media } from "../../../src/server/internal/media/media.ts"

class Peer extends Werift.WeriftPeer {
  state: "connected" | "disconnected" = "connected"

  override get connectionState() {
    return this.state
  }
}

const closing = <A extends Werift.WeriftPeer>(peer: A) =>
  Effect.acquireRelease(Effect.succeed(peer), () => Effect.promise(() => peer.close()))

/** One whose first offer is answered. */
const start = Effect.fnUntraced(function*() {
  const peer = yield* closing(new Peer(Werift.loopback))
  const other = yield* closing(new Werift.WeriftPeer(Werift.loopback))
  peer.createDataChannel("rpc")
  const ending = yield* Ending.make
  const scope = yield* Effect.scope
  const events: Array<Event> = []
  const offers: Array<string> = []
  const client = { isStale: false, isReachable: true }
  let offered = yield* Deferred.make<void>()
  const media: Pick<Media, "isStale" | "beforeOffer" | "afterAnswer"> = {
    isStale: () => client.isStale,
    // As the real one: what an offer was made of is not stale, whether or not it was sent.
    beforeOffer: () => {
      client.isStale = false
    },
    afterAnswer: () => {}
  }
  const negotiation = Negotiation.make({
    peer,
    // The rest is none of a negotiation's business.
    media: media as Media,
    answerTimeout: Duration.seconds(30),
    sendReOffer(sdp) {
      if (!client.isReachable) return false
      offers.push(sdp)
      Deferred.doneUnsafe(offered, Exit.void)
      return true
    },
    ending,
    beside: (effect) => Effect.forkIn(effect, scope),
    post: (event) => events.push(event)
  })
  const answer = Effect.fnUntraced(function*(sdp: string, type: "answer" | "re-answer") {
    const answered = yield* Effect.promise(async () => {
      await other.setRemoteDescription({ type: "offer", sdp })
      await other.setLocalDescription(await other.createAnswer())
      await other.gathered
      return other.localDescription!.sdp
    })
    yield* negotiation.applyAnswer(answered, type)
  })
  yield* answer(yield* negotiation.makeOffer, "answer")
  return {
    peer,
    client,
    negotiation,
    ending,
    events,
    offers,
    /** The next offer, once it is sent. */
    offer: Effect.gen(function*() {
      yield* Deferred.await(offered)
      offered = yield* Deferred.make<void>()
      return offers.at(-1)!
    }),
    reAnswer: (sdp: string) => answer(sdp, "re-answer")
  }
})

const fork = <A, E>(effect: Effect.Effect<A, E>) => Effect.forkChild(effect, { startImmediately: true })

describe("a negotiation", () => {
  it.effect("tells of a client that went quiet, and that is back", () =>
    Effect.gen(function*() {
      const { events, peer } = yield* start()
      events.length = 0
      for (const state of ["disconnected", "connected"] as const) {
        peer.state = state
        peer.emit("connectionstatechange")
      }
      assert.deepStrictEqual(events, [
        { _tag: "PeerState", state: "disconnected" },
        { _tag: "PeerState", state: "connected" }
      ])
    }))

  it.effect("a re-offer that is not answered ends the connection, whoever has stopped waiting for it", () =>
    Effect.gen(function*() {
      const { ending, negotiation, offer } = yield* start()
      const asked = yield* fork(negotiation.reOffer)
      yield* offer
      yield* Fiber.interrupt(asked)
      yield* TestClock.adjust("29 seconds")
      assert.isFalse(ending.isOver())
      yield* TestClock.adjust("1 second")
      assert.isTrue(ending.isOver())
      const { code, reason } = yield* ending.begun
      assert.deepStrictEqual([code, reason], [4490, "TIMEOUT"])
    }))

  it.effect("one that is answered does not", () =>
    Effect.gen(function*() {
      const { ending, negotiation, offer, reAnswer } = yield* start()
      const asked = yield* fork(negotiation.reOffer)
      yield* reAnswer(yield* offer)
      yield* Fiber.join(asked)
      yield* TestClock.adjust("1 minute")
      assert.isFalse(ending.isOver())
    }))

  it.effect("one renegotiation that waits for its turn stands for all", () =>
    Effect.gen(function*() {
      const { client, negotiation, offer, offers, reAnswer } = yield* start()
      const first = yield* fork(negotiation.renegotiate)
      // Nothing was stale.
      assert.isDefined(first.pollUnsafe())
      client.isStale = true
      yield* fork(negotiation.renegotiate)
      const sdp = yield* offer
      client.isStale = true
      const [waiting, ...others] = yield* Effect.replicateEffect(fork(negotiation.renegotiate), 10)
      assert.isUndefined(waiting!.pollUnsafe())
      for (const other of others) assert.isDefined(other.pollUnsafe())
      yield* reAnswer(sdp)
      yield* reAnswer(yield* offer)
      yield* Fiber.join(waiting!)
      assert.strictEqual(offers.length, 2)
    }))

  it.effect("an offer that cannot be sent fails, and is made again", () =>
    Effect.gen(function*() {
      const { client, ending, negotiation, offer, peer, reAnswer } = yield* start()
      client.isReachable = false
      client.isStale = true
      const error = yield* Effect.flip(negotiation.renegotiate)
      assert.strictEqual(error.message, "the offer could not be sent")
      assert.strictEqual(peer.signalingState, "stable")
      yield* TestClock.adjust("1 minute")
      assert.isFalse(ending.isOver())
      client.isReachable = true
      const again = yield* fork(negotiation.renegotiate)
      yield* reAnswer(yield* offer)
      yield* Fiber.join(again)
    }))
})
