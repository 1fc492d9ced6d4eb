/**
 * Draws what `SoraFaults` leaves to chance: what happens to each connect, each
 * response and each connection. Nothing is drawn where there are no faults.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { deflateSync } from "node:zlib"
import * as Channel from "../../internal/rpc/channel.ts"
import { scanMembers } from "../../internal/rpc/jsonRpc.ts"
import type { ConnectionFault, Faults } from "../SoraFaults.ts"
import { malformed } from "./malformed.ts"

/** How long a response waits for another one to overtake it. */
const ReorderTime = Duration.millis(100)

const GiantBytes = 200_000

/** What a bomb inflates to, in bytes: far more than any client takes. */
const BombBytes = 16 * 1024 * 1024

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
const makeRandom = (seed: number) => {
  let state = seed >>> 0
  return (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const at = <A>(all: ReadonlyArray<A>, drawn: number): A => all[Math.floor(drawn * all.length)]!

/** The way to the client. */
export interface Wire {
  readonly compress: boolean
  /** The largest message that the client takes; 0 is no limit. */
  readonly maxBytes: number
  readonly send: (data: string | Uint8Array<ArrayBuffer>) => void
}

/** What was drawn for one connection. */
export interface ConnectionFaults {
  readonly onConnect: "refuse" | "ignoreConnect" | "redirectLoop" | undefined
  /** How it dies, and how long after it is up. */
  readonly death: { readonly fault: ConnectionFault; readonly after: Duration.Duration } | undefined
  /** Sends a response, or what is to be sent for it. */
  readonly respond: (response: string, wire: Wire) => Effect.Effect<void>
}

/** What a server draws from. */
export interface Source {
  /** For a client that a redirect of the loop has sent. */
  readonly loops: boolean
  readonly draw: () => ConnectionFaults
}

/** Random characters, because equal ones would be compressed to nothing. */
const padding = (length: number, seed: number): string => {
  const random = makeRandom(seed * 2 ** 32)
  const bytes = Buffer.allocUnsafe(length)
  for (let i = 0; i < length; i++) bytes[i] = 0x23 + Math.floor(random() * 0x39) // # to [, without quote and backslash
  return bytes.toString("latin1")
}

const withPadding = (response: string, { maxBytes }: Wire, seed: number): string => {
  const length = Math.min(GiantBytes, maxBytes === 0 ? GiantBytes : maxBytes - 1024) - Buffer.byteLength(response)
  return length <= 0 ? response : `${response.slice(0, -1)},"padding":"${padding(length, seed)}"}`
}

/** Valid all the same: a client without a limit would take it. */
const bomb = (response: string): Uint8Array<ArrayBuffer> =>
  deflateSync(Buffer.concat([Buffer.alloc(BombBytes, " "), Buffer.from(response)]), { level: 1 })

/** Nothing where nothing can go wrong: no faults, or only a seed. */
export const sourceOf = (faults: Faults = {}): Source | undefined =>
  Object.keys(faults).some((name) => name !== "seed") ? make(faults) : undefined

const make = (faults: Faults): Source => {
  const root = makeRandom(faults.seed ?? Math.floor(Math.random() * 2 ** 32))
  const delayMillis = Duration.toMillis(Duration.fromInputUnsafe(faults.delay ?? 0))
  const delayRate = delayMillis === 0 ? 0 : faults.delayRate ?? 1
  const lifeMaxMillis = Duration.toMillis(Duration.fromInputUnsafe(faults.lifeMax ?? "10 seconds"))

  const draw = (): ConnectionFaults => {
    // A generator of its own for each connection: what one gets does not hang on how far the others are.
    const random = makeRandom(root() * 2 ** 32)

    /** The first whose turn it is, of things that exclude each other. */
    const oneOf = <Name extends keyof Faults>(names: ReadonlyArray<Name>): Name | undefined => {
      let drawn = random()
      return names.find((name) => (drawn -= (faults[name] as number | undefined) ?? 0) < 0)
    }
    const onConnect = oneOf(["refuse", "ignoreConnect", "redirectLoop"])
    const fault = oneOf(["closeRpc", "killSocket", "killPeer", "closeAbruptly"])
    const after = Duration.millis(random() * lifeMaxMillis)

    const held = new Set<() => void>()
    const overtaken = Effect.callback<void>((resume) => {
      const go = () => resume(Effect.void)
      held.add(go)
      return Effect.sync(() => held.delete(go))
    })
    const releaseHeld = () => {
      const waiting = Array.from(held)
      held.clear()
      for (const go of waiting) go()
    }

    const respond = (response: string, wire: Wire) =>
      Effect.suspend(() => {
        // All draws first, used or not: a response takes the same number of them whatever its fate, so that with
        // one seed a rate that changes does not change what the other rates do.
        const hit = {
          drop: random() < (faults.drop ?? 0),
          duplicate: random() < (faults.duplicate ?? 0),
          reorder: random() < (faults.reorder ?? 0),
          corrupt: random() < (faults.corrupt ?? 0),
          wrongId: random() < (faults.wrongId ?? 0),
          giant: random() < (faults.giant ?? 0),
          bomb: random() < (faults.bomb ?? 0),
          swapForm: random() < (faults.swapForm ?? 0),
          delay: random() < delayRate
        }
        const [kind, wrong, seed, late] = [random(), random(), random(), random()] as const
        if (hit.drop) return Effect.void

        const id = scanMembers(response, ["id"])[0]!.source
        let text = response
        if (hit.wrongId) text = text.replace(`"id":${id}`, `"id":${2 ** 52 + Math.floor(wrong * 2 ** 20)}`)
        if (hit.giant) text = withPadding(text, wire, seed)
        const written = hit.corrupt ? at(malformed, kind)(id, text) : text
        const body = hit.bomb && wire.compress
          ? bomb(text)
          : typeof written !== "string"
          ? written
          : hit.swapForm
          ? Channel.encodeMessage(written, false, wire.compress ? "text" : "binary")
          : Channel.encodeMessage(written, wire.compress)

        const send = Effect.sync(() => {
          wire.send(body)
          if (hit.duplicate) wire.send(body)
          releaseHeld()
        })
        const inOrder = hit.reorder ? Effect.andThen(Effect.timeoutOption(overtaken, ReorderTime), send) : send
        return hit.delay ? Effect.delay(inOrder, Duration.millis(late * delayMillis)) : inOrder
      })

    return { onConnect, death: fault === undefined ? undefined : { fault, after }, respond }
  }

  return { loops: (faults.redirectLoop ?? 0) > 0, draw }
}
