/**
 * Pings on the WebSocket, and the client that does not answer them.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { pongMissing } from "../ends.ts"
import type { Settings } from "../options.ts"
import type { Ending } from "./ending.ts"
import type { Transport } from "./transport.ts"

export interface Pings {
  readonly onPong: Effect.Effect<void>
  /** Pings for as long as there is a WebSocket. The time for a pong runs from here. */
  readonly run: Effect.Effect<void>
}

export const make = (settings: Settings, transport: Transport, ending: Ending): Pings => {
  const timeout = Duration.toMillis(settings.pongTimeout)
  const millis = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)
  let lastPong = 0
  const onPong = Effect.map(millis, (now) => {
    lastPong = now
  })
  return {
    onPong,
    run: Effect.gen(function*() {
      yield* onPong
      while (true) {
        yield* Effect.sleep(settings.pingInterval)
        if (!transport.isSocketOpen()) return
        if ((yield* millis) - lastPong > timeout) return ending.end(pongMissing)
        transport.sendOnSocket({ type: "ping", stats: false })
      }
    })
  }
}
