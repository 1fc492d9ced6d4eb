/**
 * The server's side of the timeline: what is kept, joined and handed out.
 */
import { assert, describe, it } from "@effect/vitest"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { disconnectedApi } from "../../src/server/internal/ends.ts"
import type { Member } from "../../src/server/internal/member.ts"
import * as Tap from "../../src/server/internal/tap.ts"
import * as Figures from "../../src/ui/internal/figures.ts"
import type { Entry, Message } from "../../src/ui/internal/protocol.ts"
import * as Timeline from "../../src/ui/internal/timeline.ts"

const member = { connectionId: "CONNECTION", clientId: "CLIENT", channelId: "lobby", role: "sendrecv" } as Member

const make = () => {
  let millis = 1_000_000
  const tap = Tap.make()
  const figures = Figures.make(() => millis / 1000)
  const timeline = Timeline.make(() => millis, figures)
  const stop = tap.listen(timeline.listener)
  const all = () => {
    const found: Array<Entry> = []
    for (let after = 0;;) {
      const { entries } = timeline.after(after)
      if (entries.length === 0) return found
      found.push(...entries)
      after = entries.at(-1)!.seq
    }
  }
  return {
    tap,
    figures,
    timeline,
    stop,
    all,
    messages: () => all().filter((entry): entry is Message => entry._tag === "Message"),
    pass: (time: number) => void (millis += time)
  }
}

const request = (id: unknown, method = "2025.2.0/ResetSpotlightRid") =>
  JSON.stringify({ jsonrpc: "2.0", id, method, params: {} })
const response = (id: unknown) => JSON.stringify({ jsonrpc: "2.0", id, result: {} })
const failure = (id: unknown) => JSON.stringify({ jsonrpc: "2.0", id, error: { code: -32000, message: "no" } })

describe("timeline", () => {
  it("names messages, and says of whom they are once that is known", () => {
    const { all, messages, tap } = make()
    const line = tap.line()
    line.message("received", "websocket", undefined, "{\"type\":\"connect\"}")
    line.opened(member)
    line.message("sent", "websocket", undefined, "{\"type\":\"notify\",\"event_type\":\"connection.created\"}")
    line.message("received", "datachannel", "signaling", "no JSON")
    line.message("received", "datachannel", "signaling", "[1]")
    line.closed(disconnectedApi)
    assert.deepStrictEqual(messages().map(({ connectionId, error, name }) => [name, connectionId, error]), [
      ["connect", undefined, false],
      ["notify connection.created", "CONNECTION", false],
      ["", "CONNECTION", true],
      ["", "CONNECTION", false]
    ])
    assert.deepStrictEqual(all().map(({ _tag }) => _tag), [
      "Message",
      "Opened",
      "Message",
      "Message",
      "Message",
      "Closed"
    ])
    const closed = all().at(-1)!
    assert.deepInclude(closed, { code: 1000, reason: "DISCONNECTED-API", connectionId: "CONNECTION" })
  })

  it("joins a response with its request, by the id as it is, of the same connection", () => {
    const { figures, messages, pass, tap } = make()
    const [a, b] = [tap.line(), tap.line()]
    a.message("received", "datachannel", "rpc", request(1))
    b.message("received", "datachannel", "rpc", request(1))
    a.message("received", "datachannel", "rpc", request("1"))
    a.message("received", "datachannel", "rpc", JSON.stringify({ jsonrpc: "2.0", method: "notified" }))
    pass(5)
    b.message("sent", "datachannel", "rpc", response(1))
    pass(5)
    a.message("sent", "datachannel", "rpc", failure("1"))
    a.message("sent", "datachannel", "rpc", response(1))
    a.message("sent", "datachannel", "rpc", response(1))
    a.message("sent", "datachannel", "rpc", failure(null))
    assert.deepStrictEqual(messages().slice(4).map(({ duration, error, replyTo }) => [replyTo, duration, error]), [
      [2, 5, false],
      [3, 10, true],
      [1, 10, false],
      [undefined, undefined, false],
      [undefined, undefined, true]
    ])
    pass(1000)
    assert.deepInclude(figures.since(0)[0], { calls: 3, errors: 1, waiting: 0 })
  })

  it("forgets what is older than it keeps, and tells who was behind how much", () => {
    const { tap, timeline } = make()
    const line = tap.line()
    const count = Timeline.MaxEntries * 2 + 500
    for (let i = 0; i < count; i++) line.message("sent", "websocket", undefined, "{\"type\":\"ping\"}")
    const first = timeline.after(0)
    assert.strictEqual(first.lost, count - Timeline.MaxEntries)
    assert.strictEqual(first.entries[0]!.seq, count - Timeline.MaxEntries + 1)
    assert.isTrue(first.more)
    const last = timeline.after(count - 1)
    assert.deepStrictEqual([last.entries.length, last.lost, last.more], [1, 0, false])
    assert.deepStrictEqual(timeline.after(count).entries, [])
  })

  it("is bounded by size too, and sends large messages one at a time", () => {
    const { tap, timeline } = make()
    const line = tap.line()
    const text = JSON.stringify({ type: "push", data: "x".repeat(1024 * 1024) })
    for (let i = 0; i < 40; i++) line.message("sent", "websocket", undefined, text)
    const { entries, lost } = timeline.after(0)
    assert.strictEqual(entries.length, 1)
    assert.strictEqual(lost, 40 - Math.floor(Timeline.MaxCharacters / (text.length + 200)))
  })

  it("holds no message that it has forgotten", async () => {
    setFlagsFromString("--expose-gc")
    const collect = runInNewContext("gc") as () => void
    const { tap, timeline } = make()
    const line = tap.line()
    const say = () => line.message("sent", "websocket", undefined, `"${"x".repeat(1024 * 1024)}"`)
    say()
    const first = new WeakRef(timeline.after(0).entries[0]!)
    for (let i = 0; i < 20; i++) say()
    // What a reference was asked for is held until the turn is over.
    await new Promise((resolve) => setImmediate(resolve))
    collect()
    assert.isUndefined(first.deref())
  })

  it("does not remember requests without end, nor those of connections that are over", () => {
    const { figures, pass, tap } = make()
    const line = tap.line()
    for (let i = 0; i < 20_000; i++) line.message("received", "datachannel", "rpc", request(i))
    pass(1000)
    assert.strictEqual(figures.since(0).at(-1)!.waiting, 16_384)
    line.closed(disconnectedApi)
    pass(1000)
    assert.strictEqual(figures.since(0).at(-1)!.waiting, 0)
  })

  it("hears nothing after it has stopped", () => {
    const { all, stop, tap } = make()
    const line = tap.line()
    stop()
    assert.isFalse(line.isWatched())
    line.message("sent", "websocket", undefined, "{}")
    assert.deepStrictEqual(all(), [])
  })
})

describe("figures", () => {
  it("tells the share of calls that were as fast, to a fifth", () => {
    let seconds = 100
    const figures = Figures.make(() => seconds)
    for (let i = 1; i <= 100; i++) {
      figures.called()
      figures.answered(i, i === 100)
    }
    figures.called()
    seconds = 101
    const [second] = figures.since(0)
    assert.deepInclude(second, { at: 100, calls: 101, errors: 1, waiting: 1 })
    assert.isTrue(second!.p50! >= 50 && second!.p50! <= 60, String(second!.p50))
    assert.isTrue(second!.p99! >= 99 && second!.p99! <= 120, String(second!.p99))
  })

  it("has a second for each that passed, and five minutes of them", () => {
    let seconds = 100
    const figures = Figures.make(() => seconds)
    figures.called()
    seconds = 103.5
    assert.deepStrictEqual(figures.since(0).map(({ at, waiting }) => [at, waiting]), [[100, 1], [101, 1], [102, 1]])
    assert.deepStrictEqual(figures.since(101).map(({ at }) => at), [102])
    seconds = 300
    figures.answered(1, false)
    seconds = 401
    assert.lengthOf(figures.since(0), Figures.Seconds - 1)
    // After a longer silence than it keeps nothing of before is left.
    seconds = 5000
    assert.lengthOf(figures.since(0), 0)
    seconds = 5001
    assert.deepStrictEqual(figures.since(0), [{ at: 5000, calls: 0, errors: 0, waiting: 0 }])
  })

  it("goes on when the clock is put back", () => {
    let seconds = 100
    const figures = Figures.make(() => seconds)
    figures.called()
    seconds = 90
    figures.answered(1, false)
    seconds = 101
    assert.deepInclude(figures.since(0)[0], { at: 100, calls: 1, waiting: 0 })
  })
})
