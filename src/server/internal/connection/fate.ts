/**
 * What goes wrong with a connection on purpose: what was drawn for it, and what
 * the server's API does to it.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { ConnectionFault } from "../../SoraFaults.ts"
import { faultInjected } from "../ends.ts"
import type * as Faults from "../faults.ts"
import { SoraServerError } from "../serverError.ts"
import type { Channels } from "./channels.ts"
import type { Ending } from "./ending.ts"
import type { Transport } from "./transport.ts"

export interface Fate {
  /** Draws for a client that connects, which a redirect of the loop may have sent. */
  readonly onConnect: (isInLoop: boolean) => Faults.ConnectionFaults["onConnect"]
  /** What was drawn; nothing while nothing goes wrong. */
  readonly current: () => Faults.ConnectionFaults | undefined
  /** Draws again, if the faults are others than they were. */
  readonly renew: () => void
  /** Draws again, of a connection that is there. */
  readonly redraw: Effect.Effect<void>
  /** The connection has joined: if it is to die, its time runs. */
  readonly join: Effect.Effect<void>
  readonly inject: (fault: ConnectionFault) => Effect.Effect<void, SoraServerError>
}

export const make = (options: {
  /** What is drawn from, at the moment. */
  readonly source: () => Faults.Source | undefined
  readonly channels: Channels
  readonly transport: Transport
  readonly ending: Ending
  /** Completes when nothing of the connection is left. */
  readonly ended: Effect.Effect<void>
  /** Runs for as long as the connection lives. */
  readonly beside: (effect: Effect.Effect<unknown>) => Effect.Effect<Fiber.Fiber<unknown>>
}): Fate => {
  const { beside, channels, ended, ending, source, transport } = options
  let drawnFrom: Faults.Source | undefined
  let drawn: Faults.ConnectionFaults | undefined
  let phase: "connecting" | "joined" = "connecting"
  let dying: Fiber.Fiber<unknown> | undefined

  const draw = () => {
    drawnFrom = source()
    drawn = drawnFrom?.draw()
  }

  const inject = (fault: ConnectionFault): Effect.Effect<void, SoraServerError> =>
    Effect.suspend(() => {
      switch (fault) {
        case "closeRpc":
          return channels.drop("rpc")
            ? Effect.void
            : new SoraServerError({ message: "the connection has no rpc channel" })
        case "killSocket": {
          if (!transport.isSocketOpen()) {
            return new SoraServerError({ message: "the connection has no WebSocket any more" })
          }
          transport.terminate()
          return Effect.void
        }
        case "killPeer":
        case "closeAbruptly":
          ending.end({ ...faultInjected, manner: fault === "killPeer" ? "silent" : "abrupt" })
          return ended
      }
    })

  const planDeath = Effect.suspend(() => {
    const last = dying
    const death = drawn?.death
    dying = undefined
    return Effect.andThen(
      last === undefined ? Effect.void : Fiber.interrupt(last),
      death === undefined || phase === "connecting" || ending.isOver()
        ? Effect.void
        // What is gone already cannot be killed.
        : Effect.map(beside(Effect.delay(Effect.ignore(inject(death.fault)), death.after)), (fiber) => {
          dying = fiber
        })
    )
  })

  return {
    onConnect(isInLoop) {
      draw()
      return isInLoop && drawnFrom?.loops === true && drawn?.onConnect === undefined ? "redirectLoop" : drawn?.onConnect
    },
    current: () => drawn,
    renew() {
      if (source() !== drawnFrom) draw()
    },
    redraw: Effect.suspend(() => {
      draw()
      return planDeath
    }),
    join: Effect.suspend(() => {
      phase = "joined"
      return planDeath
    }),
    inject
  }
}
