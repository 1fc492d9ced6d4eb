/** Flights of a handshake that nobody answers, in time that is made up. */
import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import { DtlsClient } from "werift"
import { repeatSoon } from "../../../src/node/internal/werift/dtls.ts"

describe("a flight without an answer", { concurrent: false }, () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }))
  afterEach(() => void vi.useRealTimers())

  const client = () => {
    const sent: Array<number> = []
    const dtls = new DtlsClient({
      transport: {
        type: "none",
        address: { address: "127.0.0.1", family: "IPv4", port: 9 },
        closed: false,
        onData: () => {},
        send: async () => void sent.push(performance.now()),
        close: async () => {}
      }
    })
    const stop = repeatSoon(dtls)
    const from = performance.now()
    const end = () => {
      stop()
      // So that werift says it no more.
      Object.defineProperty(dtls.dtls, "flight", { get: () => Infinity, set() {} })
    }
    return { dtls, end, sent: () => sent.map((at) => at - from) }
  }

  it("is said again soon, after twice as long each time, and then left to werift", () => {
    const { dtls, end, sent } = client()
    void dtls.connect()
    vi.advanceTimersByTime(60_000)
    assert.deepStrictEqual(sent(), [0, 50, 150, 350, 750, 1550])
    assert.strictEqual(vi.getTimerCount(), 0)
    end()
  })

  it("is not said again once the next one is, or when it is over", () => {
    const { dtls, end, sent } = client()
    void dtls.connect()
    vi.advanceTimersByTime(60)
    dtls.dtls.flight = 5
    vi.advanceTimersByTime(60_000)
    assert.deepStrictEqual(sent(), [0, 50])
    // The next flight has a clock of its own.
    void dtls.transport.send(Buffer.from([22, 5]))
    vi.advanceTimersByTime(60)
    assert.deepStrictEqual(sent().slice(2), [60_060, 60_110])
    dtls.connected = true
    vi.advanceTimersByTime(60_000)
    assert.strictEqual(sent().length, 4)
    end()
    assert.strictEqual(vi.getTimerCount(), 0)
  })
})
