import { assert, describe, it, vi } from "@effect/vitest"
import { SoraAuth, SoraServer } from "effect-sora-rpc/server"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import {
  type MediaStreamTrack,
  PictureLossIndication,
  RtcpPayloadSpecificFeedback,
  RtpHeader,
  type RtpPacket,
  useSdesMid,
  useSdesRTPStreamId
} from "werift"
import { jwt } from "./jwt.ts"
import { joined, type Message, type Options, RawClient } from "./rawClient.ts"

// More than the client's patience, which tells what it waited for.
vi.setConfig({ testTimeout: 20_000 })

const wait = <A>(promise: () => Promise<A>) => Effect.promise(promise)

const Rids = ["r0", "r1", "r2"] as const

type Rid = typeof Rids[number]

const Simulcast = "2025.2.0/RequestSimulcastRid"

/** The sections of an SDP: kind, port and the attributes. */
const sectionsOf = (sdp: string) =>
  sdp.split(/^(?=m=)/m).slice(1).map((text) => ({
    kind: /^m=(\w+)/.exec(text)![1]!,
    port: Number(/^m=\w+ (\d+)/.exec(text)![1]),
    direction: /^a=(sendonly|recvonly|sendrecv|inactive)/m.exec(text)?.[1],
    mid: /^a=mid:(\S+)/m.exec(text)![1]!,
    msid: /^a=msid:(\S+)/m.exec(text)?.[1],
    text
  }))

const shapeOf = (sdp: string) =>
  sectionsOf(sdp).map(({ direction, kind, port }) =>
    port === 0 ? `${kind} rejected` : `${kind} ${direction ?? ""}`.trim()
  )

const reAnswer = async (client: RawClient): Promise<string> => {
  const { message, via } = await client.take("re-offer", ({ message }) => message.type === "re-offer")
  client.send(via, { type: "re-answer", sdp: await client.makeAnswer(message.sdp) })
  return message.sdp
}

/** A client with media: it sends what a test tells it to, and keeps what it receives. */
class MediaClient extends RawClient {
  readonly tracks: Array<{ readonly kind: string; readonly stream: string; readonly packets: Array<RtpPacket> }> = []
  /** SSRCs of which the server asked for a keyframe. */
  readonly keyframes = new Set<number>()
  /** Changes an answer before it is sent. */
  edit: (sdp: string) => string = (sdp) => sdp
  private timer: ReturnType<typeof setInterval> | undefined

  override async makeAnswer(sdp: string): Promise<string> {
    const peer = this.peer!
    if (peer.remoteDescription === null) {
      const mid = useSdesMid()
      peer.setConfiguration({ headerExtensions: { audio: [mid], video: [mid, useSdesRTPStreamId()] } })
      peer.addEventListener("track", (event: { track: MediaStreamTrack; streams: ReadonlyArray<{ id: string }> }) => {
        const packets: Array<RtpPacket> = []
        event.track.onReceiveRtp.subscribe((packet) => packets.push(packet))
        this.tracks.push({ kind: event.track.kind, stream: event.streams[0]?.id ?? "", packets })
      })
    }
    await peer.setRemoteDescription({ type: "offer", sdp })
    for (const transceiver of peer.getTransceivers()) {
      if (Object.values(this.offer.mid).includes(transceiver.mid)) transceiver.setDirection("sendonly")
    }
    for (const { connection } of peer.iceTransports) (connection as { stunServer?: unknown }).stunServer = undefined
    await peer.setLocalDescription(await peer.createAnswer())
    return this.edit(peer.localDescription!.sdp)
  }

  reAnswer(): Promise<string> {
    return reAnswer(this)
  }

  section(kind: string) {
    return this.peer!.getTransceivers().find(({ mid }) => mid !== null && mid === this.offer.mid[kind])!
  }

  /** SSRC of a layer, or of audio. */
  static ssrc = (what: Rid | "audio") => what === "audio" ? 2000 : 1000 + Rids.indexOf(what)

  /** Fifty frames a second of each layer, and of audio; a keyframe when it is asked for one. */
  play(layers: Set<Rid>, named = true) {
    const [transport] = this.peer!.dtlsTransports
    const video = this.section("video")
    const audio = this.section("audio")
    const rid = video.headerExtensions.find(({ uri }) => uri.endsWith("rtp-stream-id"))!.id
    transport!.onRtcp.subscribe((packet) => {
      if (packet instanceof RtcpPayloadSpecificFeedback && packet.feedback instanceof PictureLossIndication) {
        this.keyframes.add(packet.feedback.mediaSsrc)
      }
    })
    const pending = this.keyframes
    let frame = 0
    this.timer = setInterval(() => {
      frame++
      for (const layer of layers) {
        const ssrc = MediaClient.ssrc(layer)
        const key = pending.delete(ssrc)
        void transport!.sendRtp(
          // The VP8 descriptor, then the first byte of a frame, of which the last bit says "no keyframe".
          Buffer.from([0x10, key ? 0 : 1, 0, 0, Rids.indexOf(layer), key ? 1 : 0]),
          new RtpHeader({
            ssrc,
            payloadType: video.codecs[0]!.payloadType,
            sequenceNumber: (frame + 1000 * ssrc) & 0xffff,
            timestamp: frame * 1800 + 1_000_000 * ssrc,
            marker: true,
            // As browsers do, in the first packets only.
            extensions: named && frame < 10 ? [{ id: rid, payload: Buffer.from(layer) }] : []
          })
        )
      }
      void transport!.sendRtp(
        Buffer.from([1, 2, 3]),
        new RtpHeader({
          ssrc: MediaClient.ssrc("audio"),
          payloadType: audio.codecs[0]!.payloadType,
          sequenceNumber: frame,
          timestamp: frame * 960
        })
      )
    }, 20)
  }

  override async leave() {
    clearInterval(this.timer)
    await super.leave()
  }
}

/** The audio SSRC of the answer is that of werift; the test's own is put in its place. */
const ownSsrc = (sdp: string) =>
  sdp.split(/^(?=m=)/m).map((text) => text.startsWith("m=audio") ? text.replace(/^a=ssrc:\d+/gm, "a=ssrc:2000") : text)
    .join("")

const media = (url: string, channelId: string, role: string, connect: Record<string, unknown> = {}) => {
  const options: Options = { connect: { data_channel_signaling: true, ...connect } }
  return Effect.acquireRelease(
    Effect.sync(() => {
      const client = new MediaClient(url, options)
      client.edit = ownSsrc
      return client
    }),
    (client) => wait(() => client.leave())
  ).pipe(Effect.tap((client) => wait(() => client.join(channelId, role))))
}

const reOffers = (raw: RawClient) => raw.received.filter(({ message }) => message.type === "re-offer").length

const idOf = (raw: RawClient): string => raw.offer.connection_id

const layerOf = ({ payload }: RtpPacket) => Rids[payload[4]!]

describe("the offer", () => {
  const cases: ReadonlyArray<
    readonly [string, Record<string, unknown>, ReadonlyArray<string>, Record<string, unknown>]
  > = [
    ["sendonly", {}, ["audio recvonly", "video recvonly", "application"], {
      audio_codec_type: "OPUS",
      video_codec_type: "VP8"
    }],
    ["sendrecv", { audio: false, video: { codec_type: "VP9", bit_rate: 800 } }, ["video recvonly", "application"], {
      video_codec_type: "VP9",
      video_bit_rate: 800
    }],
    [
      "sendonly",
      { audio: { codec_type: "OPUS", bit_rate: 32 }, video: false, data_channels: [] },
      ["audio recvonly", "application"],
      { audio_codec_type: "OPUS", audio_bit_rate: 32 }
    ],
    ["sendonly", { video: { codec_type: "H265" } }, ["audio recvonly", "video recvonly", "application"], {
      audio_codec_type: "OPUS",
      video_codec_type: "VP8"
    }],
    ["recvonly", {}, ["application"], { audio_codec_type: "OPUS", video_codec_type: "VP8" }],
    ["sendrecv", { audio: false, video: false, data_channels: [{ label: "#chat", direction: "sendrecv" }] }, [
      "application"
    ], {}]
  ]
  it.live("has a section for each kind that the client sends, and names it", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      for (const [role, connect, shape, members] of cases) {
        const raw = yield* joined(server.url, "offers", { role, connect })
        const { audio, data_channels: _, mid, sdp, video, ...offer } = raw.offer
        const sections = sectionsOf(sdp)
        assert.deepStrictEqual(shapeOf(sdp), shape)
        const named = sections.filter(({ kind }) => kind !== "application").map(({ kind, mid }) => [kind, mid])
        assert.deepStrictEqual(mid, Object.fromEntries(named))
        assert.deepStrictEqual(offer.encodings, [])
        const told = Object.fromEntries(Object.entries(offer).filter(([name]) => /_codec_type|_bit_rate/.test(name)))
        assert.deepStrictEqual(told, members)
        assert.deepStrictEqual([audio, video], [connect.audio !== false, connect.video !== false])
        // One transport, whatever sections there are.
        assert.strictEqual(new Set(Array.from(sdp.matchAll(/^a=ice-ufrag:(.*)$/gm), ([, it]) => it)).size, 1)
        assert.include(sdp, `a=group:BUNDLE ${sections.map(({ mid }) => mid).join(" ")}\r\n`)
        assert.include(sections.at(-1)!.text, "a=candidate:")
        assert.notInclude(sdp, "a=simulcast")
      }
    }))

  it.live("asks a simulcast sender for three layers, and nobody else", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const connect = { simulcast: true, video: { codec_type: "VP9", bit_rate: 1000 } }
      const { encodings, sdp } = (yield* joined(server.url, "layers", { role: "sendonly", connect })).offer
      assert.deepStrictEqual(encodings, [
        { rid: "r0", active: true, maxBitrate: 70_000, scaleResolutionDownBy: 4, scalabilityMode: "L1T1" },
        { rid: "r1", active: true, maxBitrate: 230_000, scaleResolutionDownBy: 2, scalabilityMode: "L1T1" },
        { rid: "r2", active: true, maxBitrate: 700_000, scaleResolutionDownBy: 1, scalabilityMode: "L1T1" }
      ])
      const { text } = sectionsOf(sdp).find(({ kind }) => kind === "video")!
      for (const rid of Rids) assert.include(text, `a=rid:${rid} recv\r\n`)
      assert.match(text, /^a=simulcast:recv r0;r1;r2/m)
      assert.match(text, /^a=extmap:\d+ urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id/m)
      for (const [role, video] of [["recvonly", true], ["sendonly", false]] as const) {
        const { offer } = yield* joined(server.url, "layers", { role, connect: { simulcast: true, video } })
        assert.deepStrictEqual(offer.encodings, [])
        assert.notInclude(offer.sdp, "a=simulcast")
      }
    }))
})

const fmtp = (section: string) => /^a=fmtp:\d+ (.*)$/m.exec(section)?.[1]

describe("audio", () => {
  it.live("is opus in lower case, and stereo where the sender asks for it", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      for (const stereo of [true, false]) {
        const room = `stereo-${stereo}`
        const viewer = yield* media(server.url, room, "recvonly")
        const sender = yield* media(server.url, room, "sendonly", {
          audio: { codec_type: "OPUS", opus_params: { stereo } }
        })
        const sections = [sender.offer.sdp, yield* wait(() => viewer.reAnswer())].map((sdp) =>
          sectionsOf(sdp).find(({ kind }) => kind === "audio")!.text
        )
        for (const section of sections) {
          assert.match(section, /^a=rtpmap:\d+ opus\/48000\/2$/m)
          assert.strictEqual(fmtp(section), `minptime=10;useinbandfec=1${stereo ? ";stereo=1" : ""}`)
        }
      }
    }))
})

describe("simulcast_encodings", () => {
  it.live("take the place of the layers, and what is not active reaches nobody", () =>
    Effect.gen(function*() {
      const secret = "s3cret"
      const server = yield* SoraServer.make({ authenticate: SoraAuth.jwtClaims() })
      const simulcast_encodings = [
        { rid: "r1", scaleResolutionDownBy: 2, scalabilityMode: "L1T3" },
        { rid: "r0", active: true, maxBitrate: 1000 },
        { rid: "r2", active: false }
      ]
      const metadata = { access_token: jwt({ simulcast: true, simulcast_encodings }, secret) }
      const sender = yield* media(server.url, "granted", "sendonly", { metadata })
      assert.deepStrictEqual(sender.offer.encodings, [
        simulcast_encodings[0],
        { ...simulcast_encodings[1], scalabilityMode: "L1T1" },
        { ...simulcast_encodings[2], scalabilityMode: "L1T1" }
      ])
      assert.match(sender.offer.sdp, /^a=simulcast:recv r0;r1;r2/m)
      const viewer = yield* media(server.url, "granted", "recvonly", { simulcast: true, metadata })
      // This sender does not do as it is told.
      sender.play(new Set(Rids))
      yield* wait(() => viewer.reAnswer())
      const video = viewer.tracks.find(({ kind }) => kind === "video")!.packets
      yield* wait(() => vi.waitFor(() => assert.isAbove(video.length, 30), { timeout: 5000 }))
      assert.deepStrictEqual([...new Set(video.map(layerOf))], ["r1"])
      // What is not named is not offered.
      const single = { access_token: jwt({ simulcast: true, simulcast_encodings: [{ rid: "r1" }] }, secret) }
      const other = yield* joined(server.url, "single", { role: "sendonly", connect: { metadata: single } })
      const named = Array.from(other.offer.sdp.matchAll(/^a=rid:(\w+)/gm), ([, rid]: RegExpMatchArray) => rid)
      assert.deepStrictEqual(named, ["r1"])
    }))

  it.live("that are none are refused", () =>
    Effect.gen(function*() {
      const connect = { type: "connect", role: "sendonly", channelId: "any" } as const
      for (const simulcast_encodings of [[], [{}], [{ rid: "r3" }], [{ rid: "r0" }, { rid: "r0" }]]) {
        const metadata = { access_token: jwt({ simulcast_encodings }, "s3cret") }
        const refusal = yield* Effect.flip(SoraAuth.jwtClaims()({ ...connect, metadata }))
        assert.strictEqual(refusal.reason, "INVALID-ACCESS-TOKEN")
      }
    }))
})

describe("forwarding", () => {
  it.live("a viewer gets the layer that it asks for, as one continuous stream", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const viewer = yield* media(server.url, "room", "recvonly", { simulcast: true })
      const sender = yield* media(server.url, "room", "sendonly", { simulcast: true })
      const layers = new Set<Rid>(Rids)
      sender.play(layers)
      const sdp = yield* wait(() => viewer.reAnswer())
      assert.deepStrictEqual(shapeOf(sdp), ["application", "audio sendonly", "video sendonly"])
      assert.deepStrictEqual(sectionsOf(sdp).slice(1).map(({ msid }) => msid), [idOf(sender), idOf(sender)])
      assert.sameDeepMembers(viewer.tracks.map(({ kind, stream }) => ({ kind, stream })), [
        { kind: "audio", stream: idOf(sender) },
        { kind: "video", stream: idOf(sender) }
      ])
      const packetsOf = (kind: string) => viewer.tracks.find((it) => it.kind === kind)!.packets
      const video = packetsOf("video")
      const until = (rid: Rid) =>
        wait(() => vi.waitFor(() => assert.strictEqual(layerOf(video.at(-1)!), rid), { timeout: 5000 }))
      yield* until("r2")
      assert.strictEqual(video[0]!.payload[5], 1, "it begins with a keyframe")
      yield* wait(() => vi.waitFor(() => assert.isAbove(packetsOf("audio").length, 5), { timeout: 5000 }))
      const events: Array<Message> = []
      for (const rid of ["r0", "r1"] as const) {
        const { result } = yield* wait(() => viewer.rpc(Simulcast, { rid }))
        assert.strictEqual(result.rid, rid)
        events.push(
          (yield* wait(() => viewer.event("simulcast.switched", ({ trigger }) => trigger === "receiver"))).message
        )
        yield* until(rid)
      }
      assert.deepStrictEqual(
        events.map(({ current_rid, previous_rid, priority, request_rid, sender_connection_id }) => ({
          current_rid,
          previous_rid,
          priority,
          request_rid,
          sender_connection_id
        })),
        [
          {
            current_rid: "r0",
            previous_rid: "r2",
            priority: "lower",
            request_rid: "r0",
            sender_connection_id: idOf(sender)
          },
          {
            current_rid: "r1",
            previous_rid: "r0",
            priority: "higher",
            request_rid: "r1",
            sender_connection_id: idOf(sender)
          }
        ]
      )
      // No video, while audio goes on.
      yield* wait(() => viewer.rpc(Simulcast, { rid: "none" }))
      // Each frame's audio is sent after its video, so what audio has come tells how much video could have.
      const moreAudio = (packets: number) => {
        const { length } = packetsOf("audio")
        return wait(() =>
          vi.waitFor(() => assert.isAtLeast(packetsOf("audio").length, length + packets), { timeout: 5000 })
        )
      }
      yield* moreAudio(3)
      const before = video.length
      yield* moreAudio(15)
      assert.strictEqual(video.length, before)
      yield* wait(() => viewer.rpc(Simulcast, { rid: "r2" }))
      yield* until("r2")
      const first = video[0]!.header
      for (const [i, { header, payload }] of video.entries()) {
        assert.strictEqual(header.ssrc, first.ssrc)
        assert.strictEqual(header.sequenceNumber, (first.sequenceNumber + i) & 0xffff)
        if (i === 0) continue
        const step = (header.timestamp - video[i - 1]!.header.timestamp) >>> 0
        assert.isTrue(step > 0 && step < 900_000, `a timestamp went on by ${step}`)
        if (layerOf(video[i - 1]!) !== layerOf(video[i]!)) assert.strictEqual(payload[5], 1, "a switch at a keyframe")
      }
      // The layer above is not sent any more: the best below it is what comes.
      layers.delete("r2")
      const { message } = yield* wait(() =>
        viewer.event("simulcast.switched", ({ trigger, current_rid }) => trigger === "sender" && current_rid === "r1")
      )
      assert.deepInclude(message, { previous_rid: "r2", request_rid: "r2", priority: "lower" })
      yield* until("r1")
    }))

  it.live("what a receiver cannot decode, the sender is asked for", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const sender = yield* media(server.url, "pli", "sendonly")
      const viewer = yield* media(server.url, "pli", "recvonly")
      yield* wait(() => viewer.reAnswer())
      // Not simulcast: one stream, without a name.
      const ssrc = sender.section("video").sender.ssrc
      const send = (sequenceNumber: number, key: boolean) =>
        sender.peer!.dtlsTransports[0]!.sendRtp(
          Buffer.from([0x10, key ? 0 : 1, 0, 0, 0, 0]),
          new RtpHeader({
            ssrc,
            sequenceNumber,
            timestamp: sequenceNumber * 3000,
            payloadType: sender.section("video").codecs[0]!.payloadType
          })
        )
      let asked = 0
      sender.peer!.dtlsTransports[0]!.onRtcp.subscribe((packet) => {
        if (!(packet instanceof RtcpPayloadSpecificFeedback)) return
        if (packet.feedback instanceof PictureLossIndication && packet.feedback.mediaSsrc === ssrc) asked++
      })
      const { packets } = viewer.tracks.find(({ kind }) => kind === "video")!
      yield* wait(() => send(10, false))
      yield* wait(() => vi.waitFor(() => assert.strictEqual(asked, 1), { timeout: 5000 }))
      yield* wait(() => send(11, true))
      yield* wait(() => vi.waitFor(() => assert.strictEqual(packets.length, 1), { timeout: 5000 }))
      // The server does not pass every one on: a decoder asks until it gets its keyframe.
      const { receiver } = viewer.peer!.getTransceivers().find(({ kind }) => kind === "video")!
      yield* wait(() =>
        vi.waitFor(async () => {
          await receiver.sendRtcpPLI(packets[0]!.header.ssrc)
          assert.strictEqual(asked, 2)
        })
      )
    }))

  it.live("tracks come and go with their sender, and their sections are used again", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const viewer = yield* media(server.url, "turns", "sendrecv", { audio: false })
      for (let i = 0; i < 2; i++) {
        const id = yield* Effect.scoped(Effect.gen(function*() {
          const sender = yield* media(server.url, "turns", "sendonly")
          const sdp = yield* wait(() => viewer.reAnswer())
          // Audio the viewer did not want.
          assert.deepStrictEqual(shapeOf(sdp), ["video recvonly", "application", "video sendonly"])
          assert.strictEqual(sectionsOf(sdp)[2]!.msid, idOf(sender))
          return idOf(sender)
        }))
        assert.strictEqual(viewer.tracks.at(-1)?.stream, id)
        const sdp = yield* wait(() => viewer.reAnswer())
        assert.deepStrictEqual(shapeOf(sdp), ["video recvonly", "application", "video rejected"])
      }
      yield* Effect.all([server.reOffer(idOf(viewer)), wait(() => viewer.reAnswer())], { concurrency: 2 })
    }))

  it.live("two that begin at once are offered in turn, and beside the API's own offers", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const viewer = yield* media(server.url, "queue", "recvonly", { audio: false })
      const one = yield* media(server.url, "queue", "sendonly", { audio: false })
      // The first offer waits for its answer.
      yield* wait(() => viewer.until("a re-offer", () => reOffers(viewer) === 1))
      const two = yield* media(server.url, "queue", "sendonly", { audio: false })
      const forced = yield* Effect.forkChild(server.reOffer(idOf(viewer)), { startImmediately: true })
      // A round trip later, none of the others has come.
      yield* wait(() => viewer.rpc(Simulcast, { rid: "r0" }))
      assert.strictEqual(reOffers(viewer), 1)
      assert.deepStrictEqual(sectionsOf(yield* wait(() => viewer.reAnswer())).map(({ msid }) => msid), [
        undefined,
        idOf(one)
      ])
      const second = yield* wait(() => viewer.reAnswer())
      assert.deepStrictEqual(sectionsOf(second).map(({ msid }) => msid), [undefined, idOf(one), idOf(two)])
      yield* wait(() => viewer.reAnswer())
      yield* Fiber.join(forced)
      // One that came on top of these would be ahead of this.
      yield* Effect.all([server.reOffer(idOf(viewer)), wait(() => viewer.reAnswer())], { concurrency: 2 })
      assert.strictEqual(reOffers(viewer), 4)
    }))

  it.live("nothing is offered of who sends nothing, is of the same bundle, or to who wants no media", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const chat = { audio: false, video: false, data_channels: [{ label: "#chat", direction: "sendrecv" }] }
      const own = yield* media(server.url, "quiet", "sendrecv", { bundle_id: "screen" })
      const quiet = [
        own,
        // These answer the sections, and send nothing in them.
        yield* joined(server.url, "quiet", { role: "sendrecv", connect: { bundle_id: "screen" } }),
        yield* joined(server.url, "quiet", { role: "sendonly" }),
        yield* joined(server.url, "quiet", { role: "sendrecv", connect: chat })
      ]
      for (const client of quiet) {
        // One that was due would be ahead of this.
        yield* Effect.all([server.reOffer(idOf(client)), wait(() => reAnswer(client))], { concurrency: 2 })
        assert.strictEqual(reOffers(client), 1)
      }
    }))

  it.live("a client may reject its sections", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const viewer = yield* media(server.url, "rejects", "recvonly")
      const options: Options = { connect: { data_channel_signaling: true } }
      const raw = yield* Effect.acquireRelease(
        Effect.sync(() => new MediaClient(server.url, options)),
        (client) => wait(() => client.leave())
      )
      raw.edit = (sdp) =>
        sdp.replace(/^m=(audio|video) \d+/gm, "m=$1 0").replace(/^(a=group:BUNDLE).*$/m, (line) =>
          line.split(" ").filter((it) => !/^(audio|video)_/.test(it)).join(" "))
      yield* wait(() =>
        raw.join("rejects", "sendonly")
      )
      yield* Effect.all([server.reOffer(idOf(raw)), wait(() => raw.reAnswer())], { concurrency: 2 })
      assert.strictEqual((yield* wait(() => raw.rpc(Simulcast, { rid: "r0" }))).error.code, -32602)
      assert.strictEqual(reOffers(viewer), 0)
    }))
})
