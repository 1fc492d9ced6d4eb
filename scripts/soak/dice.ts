/**
 * All randomness of the hostile soak: the same seed casts the same dice.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

export interface Dice {
  /** From 0 to 1, without 1. */
  readonly next: () => number
  /** A whole number from 0 to below `n`. */
  readonly below: (n: number) => number
  readonly chance: (probability: number) => boolean
  readonly pick: <A>(all: ReadonlyArray<A>) => A
  /** Small numbers more often than large ones, so that both ends of a range are met. */
  readonly size: (max: number) => number
  readonly bytes: (length: number) => Buffer<ArrayBuffer>
  /** Printable, and not compressible. */
  readonly text: (length: number) => string
}

export const make = (seed: string): Dice => {
  const random = Effect.runSync(Random.withSeed(
    Effect.gen(function*() {
      return yield* Random.Random
    }),
    seed
  ))
  const next = () => random.nextDoubleUnsafe()
  const below = (n: number) => Math.floor(next() * n)
  const bytes = (length: number) => {
    const made = Buffer.alloc(length)
    for (let i = 0; i < length; i++) made[i] = below(256)
    return made
  }
  return {
    next,
    below,
    bytes,
    chance: (probability) => next() < probability,
    pick: (all) => all[below(all.length)]!,
    size: (max) => Math.floor(max ** next()),
    text: (length) => bytes(Math.ceil(length * 0.75)).toString("base64").slice(0, length)
  }
}
