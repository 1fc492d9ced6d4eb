/**
 * Many connections to one server, made and let go, or given up at any moment:
 * for `soak-connects.ts` and for a test.
 */
import { NodeSora } from "effect-sora-rpc/node"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"

/** At a time. More would only wait for the processor. */
const Concurrency = 4

/** Longer than most take to be up. */
const LatestInterrupt = 250

const connect = (signalingUrls: ReadonlyArray<string>) =>
  Effect.scoped(Layer.build(NodeSora.layer({ signalingUrls, channelId: "soak", role: "sendrecv" })))

/** Connects and disconnects. */
export const make = (url: string, count: number) =>
  Effect.forEach(Array.from({ length: count }), () => connect([url]), { concurrency: Concurrency, discard: true })

/** Connects, by one URL or two, and interrupts it at a random moment; gives how many were up by then. */
export const interrupt = Effect.fnUntraced(function*(url: string, count: number, seed: number) {
  let up = 0
  const one = Effect.gen(function*() {
    const urls = (yield* Random.nextBoolean) ? [url] : [url, `${url}?second`]
    const moment = (yield* Random.next) * LatestInterrupt
    const connecting = yield* Effect.forkChild(Effect.tap(connect(urls), () => Effect.sync(() => up++)), {
      startImmediately: true
    })
    yield* Effect.raceFirst(Effect.sleep(moment), Fiber.await(connecting))
    yield* Fiber.interrupt(connecting)
  })
  yield* Random.withSeed(
    Effect.forEach(Array.from({ length: count }), () => one, { concurrency: Concurrency, discard: true }),
    seed
  )
  return up
})

/** What keeps Node running, by kind. */
export const handles = (): Readonly<Record<string, number>> => {
  const counts: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo().toSorted()) {
    if (/TCP|UDP|Timeout/.test(kind)) counts[kind] = (counts[kind] ?? 0) + 1
  }
  return counts
}

/** The timer of a sleep is one of the handles until the turn in which it rang is over. */
const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Waits until these are left and no more, or half a minute has passed; gives what is left. */
export const settled = Effect.fnUntraced(function*<A>(look: () => A, wanted: A) {
  const same = () => JSON.stringify(look()) === JSON.stringify(wanted)
  for (let round = 0; round < 300 && !same(); round++) {
    yield* Effect.sleep("100 millis")
    yield* turn
  }
  return look()
})
