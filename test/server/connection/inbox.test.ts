/**
 * What waits for a connection's attention, and whoever waits for its answers.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import * as Inbox from "../../../src/server/internal/connection/inbox.ts"
import type { Event } from "../../../src/server/internal/connection/state.ts"
import * as Waiting from "../../../src/server/internal/connection/waiting.ts"
import { SoraServerError } from "../../../src/server/internal/serverError.ts"

const message = (text: string): Event => ({ _tag: "SocketMessage", text })

const start = Effect.fnUntraced(function*(maxBytes = 1e6) {
  let busy = false
  let overflows = 0
  const handled: Array<string> = []
  const marks = new Map<string, Deferred.Deferred<void>>()
  const inbox = yield* Inbox.make(Inbox.makeLoad(maxBytes, () => overflows++))
  const handle = (event: Event) =>
    Effect.gen(function*() {
      if (event._tag === "ChannelOpen") return yield* Deferred.succeed(marks.get(event.label)!, undefined)
      if (event._tag === "MediaChanged") busy = true
      if (event._tag === "AnswerApplied") busy = false
      return handled.push(event._tag === "SocketMessage" ? event.text : event._tag)
    })
  yield* Effect.forkScoped(inbox.run(() => busy, (event) => Effect.asVoid(handle(event))))
  return {
    /** Waits until the events have had their turn, whether or not they were kept back. */
    post: Effect.fnUntraced(function*(...events: ReadonlyArray<Event>) {
      const label = String(marks.size)
      const mark = yield* Deferred.make<void>()
      marks.set(label, mark)
      for (const event of events) inbox.post(event)
      inbox.post({ _tag: "ChannelOpen", label })
      yield* Deferred.await(mark)
    }),
    handled,
    overflows: () => overflows
  }
})

describe("an inbox", () => {
  it.effect("keeps back what the client says while the connection is busy, in order, and nothing else", () =>
    Effect.gen(function*() {
      const { handled, post } = yield* start()
      yield* post(message("1"), { _tag: "MediaChanged" }, message("2"), { _tag: "SocketEnded" }, message("3"))
      assert.deepStrictEqual(handled, ["1", "MediaChanged", "SocketEnded"])
      yield* post({ _tag: "AnswerApplied" }, message("4"))
      assert.deepStrictEqual(handled.slice(3), ["AnswerApplied", "2", "3", "4"])
    }))

  it.effect("takes no more than its limit, of what waits", () =>
    Effect.gen(function*() {
      const { handled, overflows, post } = yield* start(4096)
      for (let i = 0; i < 100; i++) yield* post(message("x".repeat(1000)))
      assert.deepStrictEqual([handled.length, overflows()], [100, 0])
      yield* post({ _tag: "MediaChanged" }, message("x".repeat(3000)))
      yield* post(message("x".repeat(1000)))
      assert.strictEqual(overflows(), 1)
    }))
})

describe("an answer of the client", () => {
  const ask = <A>(waiting: Waiting.Waiting<A>) =>
    Effect.forkChild(Effect.result(waiting.ask(Effect.void)), { startImmediately: true })

  it.effect("belongs to the first who asked, and not to one who could not ask", () =>
    Effect.gen(function*() {
      const waiting = Waiting.make<number>()
      waiting.answer(0)
      const failed = waiting.ask(Effect.fail(new SoraServerError({ message: "not now" })))
      assert.strictEqual((yield* Effect.flip(failed)).message, "not now")
      const fibers = [yield* ask(waiting), yield* ask(waiting)]
      waiting.answer(1)
      waiting.answer(2)
      const results = yield* Fiber.joinAll(fibers)
      assert.deepStrictEqual(results.map((result) => result._tag === "Success" ? result.success : ""), [1, 2])
    }))

  it.effect("is not waited for when none can come any more", () =>
    Effect.gen(function*() {
      const waiting = Waiting.make<number>()
      const before = yield* ask(waiting)
      waiting.giveUp()
      const after = yield* ask(waiting)
      for (const result of yield* Fiber.joinAll([before, after])) {
        assert.strictEqual(result._tag === "Failure" ? result.failure.message : "", "the connection ended")
      }
    }))
})
