/**
 * Numbers that begin again at zero (RFC 1982; RFC 9260, section 1.6): of two the
 * later one is that which is less than half of the way round ahead.
 */

/** @internal */
export const add32 = (number: number, by: number): number => (number + by) >>> 0

/**
 * How far `to` is ahead of `from`; negative when it is behind.
 *
 * @internal
 */
export const ahead32 = (to: number, from: number): number => (to - from) | 0

/** @internal */
export const add16 = (number: number, by: number): number => (number + by) & 0xffff

/** @internal */
export const ahead16 = (to: number, from: number): number => ((to - from) << 16) >> 16
