/**
 * The payloads of a label with `compress: true`: one zlib stream (RFC 1950) per
 * message (`sora-protocol.md` section 3.3), whole in and whole out, so that a
 * message is complete when its listener returns.
 *
 * `node:zlib` is taken from the process when there is one: on small JSON it is
 * several times faster than a JavaScript inflater, and no import of a Node
 * built-in reaches a bundler.
 */
import { Unzlib, unzlibSync, zlibSync } from "fflate"

/**
 * Limit of a message once inflated, in bytes, where nobody sets another. A message has at most 262,144 bytes on the
 * wire, and what Sora sends inflates to a few times that; a bomb is no further inflated.
 *
 * @internal
 */
export const DefaultMaxInflatedBytes = 1024 * 1024

/** Size of a message, in bytes, from which on it is worth being made smaller where that is slow. */
const StoredBelow = 4096

/** @internal */
export interface Compression {
  readonly deflate: (bytes: Uint8Array) => Uint8Array<ArrayBuffer>
  /** Throws for anything that is not one whole zlib stream of at most `maxBytes`. */
  readonly inflate: (bytes: Uint8Array, maxBytes?: number) => Uint8Array
}

/** What Node takes for a limit, in bytes. */
const MostInflated = 2 ** 30

/** The part of `node:zlib` that is used, in words of its own: no type of Node's is needed where there is no Node. */
interface Zlib {
  readonly deflateSync: (
    bytes: Uint8Array,
    options: { readonly level: number; readonly memLevel: number; readonly windowBits: number }
  ) => Uint8Array<ArrayBuffer>
  readonly inflateSync: (bytes: Uint8Array, options: { readonly maxOutputLength: number }) => Uint8Array
}

const fromNode = (zlib: Zlib): Compression => {
  // Small windows: the cost of a small message is the set-up of its window, and RPC frames are small.
  const options = { level: 1, memLevel: 4, windowBits: 12 }
  return {
    deflate: (bytes) => zlib.deflateSync(bytes, options),
    inflate: (bytes, maxBytes = DefaultMaxInflatedBytes) =>
      zlib.inflateSync(bytes, { maxOutputLength: Math.min(maxBytes, MostInflated) })
  }
}

/** Size of a compressed message, in bytes, up to which it is inflated at once. */
const AtOnceBelow = 4096

/** What comes of so many bytes at the most: deflate expands 1,032 times. */
const MostAtOnce = AtOnceBelow * 1032

/** Room for what is inflated at once, and for one byte more, which tells that it is too much. */
let room = new Uint8Array(0)

/** A stream makes a window of 98 kB and its tables for each message, which in Chromium is a millisecond; this needs none. */
const inflateAtOnce = (bytes: Uint8Array, maxBytes: number): Uint8Array => {
  const needed = Math.min(maxBytes, MostAtOnce) + 1
  if (room.length < needed) room = new Uint8Array(needed)
  // What has no room is not written, and says so by having filled it.
  const inflated = unzlibSync(bytes, { out: room })
  if (inflated.length > maxBytes) throw new RangeError(`more than ${maxBytes} bytes`)
  return inflated.slice()
}

/** @internal */
export const javascript: Compression = {
  // Below the threshold the zlib stream holds its bytes as they are: of a small message nearly nothing can be saved, and
  // in Chromium looking for it takes 350 µs where this takes 10. (A CompressionStream takes 1,300, and is asynchronous.)
  deflate: (bytes) => zlibSync(bytes, { level: bytes.length < StoredBelow ? 0 : 1 }) as Uint8Array<ArrayBuffer>,
  inflate(bytes, maxBytes = DefaultMaxInflatedBytes) {
    if (bytes.length <= AtOnceBelow) return inflateAtOnce(bytes, maxBytes)
    const chunks: Array<Uint8Array> = []
    let length = 0
    let ended = false
    const stream = new Unzlib((chunk, final) => {
      length += chunk.length
      if (length > maxBytes) throw new RangeError(`more than ${maxBytes} bytes`)
      chunks.push(chunk)
      ended = final
    })
    // In slices, so that a bomb is noticed before it is unpacked whole: deflate expands 1,032 times at most.
    for (let start = 0; start < bytes.length; start += 4096) {
      stream.push(bytes.subarray(start, start + 4096), start + 4096 >= bytes.length)
    }
    if (!ended) throw new RangeError("truncated zlib stream")
    if (chunks.length === 1) return chunks[0]!
    const whole = new Uint8Array(length)
    let offset = 0
    for (const chunk of chunks) {
      whole.set(chunk, offset)
      offset += chunk.length
    }
    return whole
  }
}

const processLike: { readonly getBuiltinModule?: (id: string) => unknown } | undefined =
  (globalThis as { process?: { readonly getBuiltinModule?: (id: string) => unknown } }).process

const zlib = processLike?.getBuiltinModule?.("node:zlib") as Zlib | undefined

/** @internal */
export const compression: Compression = zlib === undefined ? javascript : fromNode(zlib)
