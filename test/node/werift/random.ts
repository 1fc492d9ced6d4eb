/** Numbers that look random, and are the same for the same seed. */
export const seeded = (seed: number): () => number => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** How a network treats packets: chances from 0 to 1, and milliseconds. */
export interface Weather {
  readonly drop: number
  readonly duplicate: number
  readonly delay: number
  /** Each packet takes up to so much longer, so that they overtake each other. */
  readonly jitter: number
}

/** When each copy of the next packet arrives. */
export const fate = (random: () => number, { delay, drop, duplicate, jitter }: Weather): ReadonlyArray<number> => {
  const copies = random() < drop ? 0 : random() < duplicate ? 2 : 1
  return Array.from({ length: copies }, () => delay + random() * jitter)
}
