/**
 * Messages that no proper peer sends: real ones with something wrong in them,
 * and absurd ones. Addresses in them are those of the loopback interface.
 */
import { deflateSync } from "node:zlib"
import type { Dice } from "./dice.ts"

type Json = any

/** JSON text that `JSON.stringify` could not make. */
export const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth)

/** Inflates to more than the 16 MiB that a message may have. */
const Bomb = deflateSync(Buffer.alloc(17 * 1024 * 1024, " "), { level: 9 })

const Values: ReadonlyArray<Json> = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  1e308,
  -(2 ** 53),
  "",
  "\u0000",
  "\ud800",
  "__proto__",
  "constructor",
  "😀".repeat(64),
  [],
  {},
  [[]],
  [null],
  { type: "connect" },
  { toString: null, length: 3 }
]

export const value = (dice: Dice): Json => dice.chance(0.05) ? dice.text(dice.size(100_000)) : dice.pick(Values)

const Names = ["type", "id", "sdp", "result", "error", "__proto__", "constructor", "toString", "0", ""]

/** One thing changed somewhere in it. */
export const mutate = (dice: Dice, json: Json): Json => {
  if (typeof json !== "object" || json === null || dice.chance(0.1)) return value(dice)
  if (Array.isArray(json)) {
    const at = dice.below(json.length + 1)
    if (at === json.length) return [...json, ...json, value(dice)]
    return dice.chance(0.3) ? json.toSpliced(at, 1) : json.with(at, mutate(dice, json[at]))
  }
  const members = Object.entries(json)
  const at = dice.below(members.length + 1)
  // Not an object literal: `__proto__` is to be a member like any other.
  if (at === members.length) return Object.fromEntries([...members, [dice.pick(Names), value(dice)]])
  if (dice.chance(0.3)) return Object.fromEntries(members.toSpliced(at, 1))
  const [name, old] = members[at]!
  return Object.fromEntries(members.with(at, [name, mutate(dice, old)]))
}

/** Text with a few bytes or pieces of it lost, doubled or changed. */
export const mangle = (dice: Dice, text: string): string => {
  const at = dice.below(text.length + 1)
  const length = dice.size(16)
  switch (dice.below(5)) {
    case 0:
      return text.slice(0, at)
    case 1:
      return text.slice(0, at) + text.slice(at + length)
    case 2:
      return text.slice(0, at + length) + text.slice(at)
    case 3:
      return text.slice(0, at) + dice.pick(["\"", "\\", "{", "}", ",", "\u0000", "\\u0000", "1e999", "\ufeff"]) +
        text.slice(at)
    default:
      return text.replace(/\d+/, dice.pick(["-1", "1e400", "99999999999999999999", "0x10", "NaN"]))
  }
}

/** The text of a message with something wrong in it, most of the time. */
export const message = (dice: Dice, json: Json): string => {
  if (dice.chance(0.02)) return nested(dice.size(200_000))
  if (dice.chance(0.05)) return ""
  let mutated = json
  for (let n = dice.below(4); n > 0; n--) mutated = mutate(dice, mutated)
  const text = JSON.stringify(mutated)
  return dice.chance(0.3) ? mangle(dice, text) : text
}

/** What goes over a DataChannel. */
export const frame = (dice: Dice, json: Json): string | Buffer => {
  const text = message(dice, json)
  switch (dice.below(8)) {
    case 0:
      return Bomb
    case 1:
      return dice.bytes(dice.size(1000) + 1)
    case 2:
      return deflateSync(text).subarray(0, dice.size(text.length + 10))
    case 3:
      return deflateSync(dice.bytes(100))
    case 4:
      return Buffer.from(text)
    case 5:
      return text
    case 6:
      return JSON.stringify(json).padEnd(dice.size(200_000), " ")
    default:
      return deflateSync(text)
  }
}

const Candidates = [
  "candidate:1 1 udp 2122260223 127.0.0.1 9 typ host",
  "candidate:1 1 udp 2122260223 127.0.0.1 0 typ host",
  "candidate:1 1 udp 2122260223 127.0.0.1 65536 typ host",
  "candidate:1 1 udp 2122260223 127.0.0.1 -1 typ host",
  "candidate:1 1 udp NaN 127.0.0.1 9 typ host",
  "candidate:1 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active",
  "candidate:1 1 udp 2122260223 ::1 9 typ host",
  "candidate:1 1 udp 2122260223 no-address 9 typ host",
  "candidate:1 2 udp 2122260223 127.0.0.1 9 typ relay raddr 127.0.0.1 rport 1",
  "candidate:1 1 udp 99999999999999999999 127.0.0.1 9 typ",
  "candidate:1 1 udp 1",
  "candidate:",
  "candidate",
  "",
  "\r\na=ice-pwd:x"
]

export const candidate = (dice: Dice): string =>
  dice.chance(0.5)
    ? dice.pick(Candidates)
    : `candidate:${dice.below(1e9)} 1 udp ${dice.below(2 ** 31)} 127.0.0.1 ${dice.below(65_536)} typ host`

const Lines = [
  "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
  "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
  "m=application",
  "m=video 9 UDP/TLS/RTP/SAVPF 96",
  "m=audio 0 UDP/TLS/RTP/SAVPF",
  "m=",
  "a=mid:0",
  "a=mid:",
  "a=mid:__proto__",
  "a=group:BUNDLE 0 1 2 3",
  "a=group:BUNDLE",
  "a=setup:active",
  "a=setup:passive",
  "a=setup:holdconn",
  "a=setup:nonsense",
  "a=fingerprint:sha-256 AA:BB",
  "a=fingerprint:md5 AA",
  "a=fingerprint:",
  "a=ice-ufrag:",
  "a=ice-pwd:x",
  "a=ice-lite",
  "a=ice-options:trickle",
  "a=sctp-port:99999999",
  "a=sctp-port:NaN",
  "a=max-message-size:0",
  "a=max-message-size:1",
  "a=max-message-size:99999999999999999999",
  "a=max-message-size:-5",
  "a=rtpmap:96 VP8/90000",
  "a=rtpmap:96",
  "a=rtpmap:",
  "a=fmtp:96 x",
  "a=rtcp-fb:* nack",
  "a=extmap:1",
  "a=extmap:99999 urn:x",
  "a=ssrc:1",
  "a=ssrc:-1 cname:x",
  "a=ssrc-group:FID 1",
  "a=msid:",
  "a=rid:r0 send",
  "a=simulcast:send r0;r1;r2",
  "a=simulcast:",
  "a=sendrecv",
  "a=inactive",
  "a=end-of-candidates",
  "a=",
  "=",
  "v=",
  "o=",
  "t=",
  "\u0000"
]

/** A description with lines lost, doubled, moved, cut and made up. */
export const sdp = (dice: Dice, real: string): string => {
  if (dice.chance(0.1)) return dice.pick(["", "v=0", "m=application ", "v=0\r\nm=application \r\n", `${real}${real}`])
  let lines = real.split("\r\n")
  for (let n = dice.below(6); n > 0 && lines.length > 0; n--) {
    const at = dice.below(lines.length)
    switch (dice.below(6)) {
      case 0:
        lines = lines.toSpliced(at, 1)
        break
      case 1:
        lines = lines.toSpliced(at, 0, lines[dice.below(lines.length)]!)
        break
      case 2:
        // Not of a candidate: half an address may be one of another host.
        if (!/candidate|^c=/.test(lines[at]!)) lines[at] = lines[at]!.slice(0, dice.size(lines[at]!.length + 1))
        break
      case 3:
        lines = lines.slice(0, at + 1)
        break
      case 4:
        lines = lines.toSpliced(at, 0, ...Array.from({ length: dice.size(300) }, () => `a=${candidate(dice)}`))
        break
      default:
        lines = lines.toSpliced(at, 0, ...Array.from({ length: dice.pick([1, 1, 1, 100]) }, () => dice.pick(Lines)))
    }
  }
  return lines.join(dice.chance(0.1) ? "\n" : "\r\n")
}

const labels = (dice: Dice): Json =>
  Array.from({ length: dice.pick([0, 1, 2, 30, 1000]) }, (_, i) => ({
    label: dice.pick([`#ok-${i}`, `#ok-${i}`, "#same", "rpc", "#", "signaling", `#${"x".repeat(31)}`, value(dice)]),
    direction: dice.pick(["sendrecv", "sendonly", "recvonly", "nowhere"]),
    ordered: dice.chance(0.5),
    compress: dice.chance(0.5),
    ...(dice.chance(0.3) ? { max_packet_life_time: dice.pick([0, 1, 65_535, 65_536, -1, 1.5]) } : {}),
    ...(dice.chance(0.3) ? { max_retransmits: dice.pick([0, 1, 65_535, 65_536, -1, 1.5]) } : {}),
    ...(dice.chance(0.3) ? { protocol: dice.text(dice.size(70_000)) } : {}),
    ...(dice.chance(0.3) ? { header: value(dice) } : {})
  }))

/** A `connect` that is taken, as far as it goes, and has what Sora knows turned to the absurd. */
export const connect = (dice: Dice, channelId: string): Json => ({
  type: "connect",
  role: dice.pick(["sendrecv", "sendonly", "recvonly"]),
  channel_id: dice.chance(0.9) ? channelId : dice.text(dice.size(300)),
  data_channel_signaling: dice.chance(0.8),
  ignore_disconnect_websocket: dice.chance(0.5),
  audio: dice.pick([true, false, { codec_type: "OPUS", bit_rate: -1 }, { codec_type: "NONE" }]),
  video: dice.pick([true, false, { codec_type: "VP8" }, { codec_type: "H265", h265_params: value(dice) }]),
  ...(dice.chance(0.3) ? { simulcast: true, simulcast_request_rid: dice.pick(["r0", "none", "r9"]) } : {}),
  ...(dice.chance(0.2) ? { spotlight: true, spotlight_number: dice.pick([0, 8, -1, 1e9]) } : {}),
  ...(dice.chance(0.3) ? { data_channels: labels(dice) } : {}),
  ...(dice.chance(0.3) ? { metadata: value(dice), signaling_notify_metadata: value(dice) } : {}),
  ...(dice.chance(0.2) ? { client_id: dice.text(dice.size(300)), bundle_id: dice.text(dice.size(300)) } : {}),
  ...(dice.chance(0.1) ? { redirect: true, sdp: value(dice) } : {})
})

export const request = (dice: Dice, id: number): Json => ({
  jsonrpc: "2.0",
  id: dice.chance(0.8) ? id : dice.pick(["x", 2 ** 60, -1, 0]),
  method: dice.pick([
    "1/Echo",
    "1/Hang",
    "1/Die",
    "1/Wrong",
    "2025.2.0/RequestSimulcastRid",
    "2025.2.0/RequestSpotlightRid",
    "2025.2.0/ResetSpotlightRid",
    "2025.2.0/PutSignalingNotifyMetadata",
    "2025.2.0/PutSignalingNotifyMetadataItem",
    "__proto__"
  ]),
  params: dice.pick<Json>([
    { text: "x" },
    { rid: "r1" },
    { key: "__proto__", value: value(dice), push: true },
    { metadata: value(dice), push: true },
    undefined,
    []
  ])
})
