/**
 * How messages of the application stand on the wire (`sora-protocol.md` sections
 * 3.3, 3.4 and 3.6): binary, one zlib stream each where the label says
 * `compress`, and what the server delivers begins with the header that was asked
 * for, inside the zlib stream.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { compression, DefaultMaxInflatedBytes } from "../rpc/compression.ts"

/** A `connection_id` (section 1), in bytes. */
const ConnectionIdBytes = 26

/**
 * What of a message is header.
 *
 * @internal
 */
export interface Header {
  readonly bytes: number
  /** Where in it the sender's connection id begins and ends. */
  readonly sender: readonly [start: number, end: number] | undefined
}

/** @internal */
export const NoHeader: Header = { bytes: 0, sender: undefined }

const Fields = /* @__PURE__ */ Schema.decodeUnknownOption(
  /* @__PURE__ */ Schema.Array(
    /* @__PURE__ */ Schema.Struct({
      type: Schema.String,
      length: /* @__PURE__ */ Schema.optionalKey(Schema.Natural)
    })
  )
)

/**
 * The header that an offer tells of. A field of an unknown type is skipped when
 * it has a length; without one nothing can be split off, and messages are handed
 * on as they are.
 *
 * @internal
 */
export const headerOf = (offered: unknown): Header => {
  let bytes = 0
  let sender: Header["sender"]
  for (const { length, type } of Option.getOrElse(Fields(offered ?? []), () => [])) {
    const isSender = type === "sender_connection_id"
    const end = bytes + (length ?? (isSender ? ConnectionIdBytes : NaN))
    if (Number.isNaN(end)) return NoHeader
    if (isSender) sender = [bytes, end]
    bytes = end
  }
  return { bytes, sender }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true })

/** A view without the methods of a `Buffer`, which a page does not have. */
const viewOf = (data: ArrayBufferView<ArrayBufferLike>): Uint8Array<ArrayBuffer> =>
  new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength)

/**
 * The bytes of a DataChannel message, inflated where they are a zlib stream.
 * A text is never one. Throws when it is none, or larger than `maxBytes`.
 *
 * @internal
 */
export const unpack = (data: unknown, compress: boolean, maxBytes = DefaultMaxInflatedBytes): Uint8Array => {
  const isText = typeof data === "string"
  const bytes = isText
    ? encoder.encode(data)
    : data instanceof ArrayBuffer
    ? new Uint8Array(data)
    : ArrayBuffer.isView(data)
    ? viewOf(data)
    : undefined
  if (bytes === undefined) throw new TypeError("neither text nor bytes")
  if (compress && !isText && bytes.length > 0) return viewOf(compression.inflate(bytes, maxBytes))
  if (bytes.length > maxBytes) throw new RangeError(`more than ${maxBytes} bytes`)
  return bytes
}

/**
 * The message as it is sent: always binary, as every SDK sends it.
 *
 * @internal
 */
export const pack = (data: string | Uint8Array, compress: boolean): Uint8Array<ArrayBuffer> => {
  const bytes = typeof data === "string" ? encoder.encode(data) : viewOf(data)
  return compress ? compression.deflate(bytes) : bytes
}

/**
 * Takes the header off. Throws when the message is shorter, or its sender is no
 * text.
 *
 * @internal
 */
export const split = (
  bytes: Uint8Array,
  { bytes: length, sender }: Header
): { readonly data: Uint8Array; readonly senderConnectionId?: string } => {
  if (bytes.length < length) throw new RangeError("shorter than its header")
  const data = length === 0 ? bytes : bytes.subarray(length)
  return sender === undefined ? { data } : { data, senderConnectionId: decoder.decode(bytes.subarray(...sender)) }
}
