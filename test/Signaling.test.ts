import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { Signaling } from "effect-sora-rpc"
import { plain, survivesEngine } from "./utils/json.ts"

const succeed = <A, E>(result: Result.Result<A, E>): A => {
  assert.isTrue(Result.isSuccess(result), String(Result.isFailure(result) && result.failure))
  return (result as Result.Success<A, E>).success
}

describe("server messages", () => {
  it("the offer of a real Sora", () => {
    const offer = succeed(Signaling.decodeServerMessage({
      type: "offer",
      sdp: "v=0\r\n",
      version: "2025.2.0",
      connection_id: "C",
      config: {
        iceServers: [{ urls: ["turn:192.0.2.20"], username: "u", credential: "c" }],
        iceTransportPolicy: "relay"
      },
      data_channels: [{ label: "rpc", direction: "sendrecv", compress: true }],
      rpc_methods: ["2025.2.0/RequestSimulcastRid"],
      something_new: { a: 1 }
    }))
    assert.deepStrictEqual(offer, {
      type: "offer",
      sdp: "v=0\r\n",
      version: "2025.2.0",
      connectionId: "C",
      config: {
        iceServers: [{ urls: ["turn:192.0.2.20"], username: "u", credential: "c" }],
        iceTransportPolicy: "relay"
      },
      dataChannels: [{ label: "rpc", direction: "sendrecv", compress: true }],
      rpcMethods: ["2025.2.0/RequestSimulcastRid"]
    })
  })

  it("a malformed offer names the member, not its value", () => {
    const result = Signaling.decodeServerMessage({ type: "offer", sdp: "v=0", connection_id: 42, metadata: "s3cret" })
    assert.isTrue(Result.isFailure(result))
    if (Result.isFailure(result)) {
      assert.strictEqual(result.failure.messageType, "offer")
      assert.include(result.failure.message, "connection_id")
      assert.notInclude(result.failure.message, "s3cret")
    }
  })

  it("hands on what it does not know", () => {
    const message = { type: "from-2030", a: 1 }
    assert.deepStrictEqual(succeed(Signaling.decodeServerMessage(message)), {
      type: "unknown",
      messageType: "from-2030",
      message
    })
    for (
      const notify of [
        { type: "notify", event_type: "recording.started", x: 1 },
        { type: "notify", event_type: "network.status", unstable_level: "much" },
        { type: "notify" }
      ]
    ) {
      assert.deepStrictEqual(succeed(Signaling.decodeServerMessage(notify)), {
        _tag: "unknown",
        type: "notify",
        eventType: notify.event_type ?? "",
        message: notify
      })
    }
  })

  it("tags a notify event by its event_type", () => {
    assert.deepStrictEqual(
      succeed(Signaling.decodeServerMessage({
        type: "notify",
        event_type: "simulcast.switched",
        sender_connection_id: null,
        current_rid: "r1",
        rpc_rids: ["r0"]
      })),
      { _tag: "simulcast.switched", type: "notify", senderConnectionId: null, currentRid: "r1", rpcRids: ["r0"] }
    )
  })
})

describe("client messages", () => {
  it("connect has Sora's names, deeply", () => {
    const wire = Signaling.encodeClientMessage({
      type: "connect",
      role: "sendrecv",
      channelId: "c",
      signalingNotifyMetadata: { nickName: "Mika" },
      audio: {
        codecType: "OPUS",
        bitRate: 32,
        opusParams: {
          channels: 2,
          maxplaybackrate: 48_000,
          minptime: 10,
          ptime: 20,
          stereo: true,
          spropStereo: true,
          useinbandfec: true,
          usedtx: false
        }
      },
      video: {
        codecType: "H265",
        bitRate: 500,
        vp9Params: { profileId: 2 },
        av1Params: { profile: 1, levelIdx: 5, tier: 0 },
        h264Params: { profileLevelId: "42e01f", bFrame: false },
        h265Params: { profileId: 1, levelId: 93, tierFlag: 0, txMode: "SRST", bFrame: true }
      },
      forwardingFilters: [{
        name: "quiet",
        priority: 1,
        action: "block",
        rules: [[{ field: "connection_id", operator: "is_not_in", values: ["A"] }]],
        version: "1",
        metadata: { aB: 1 }
      }],
      forwardingFilter: { rules: [] },
      dataChannels: [{ label: "#a", direction: "sendrecv", maxRetransmits: 1 }],
      dataChannelSignaling: true
    })
    assert.deepStrictEqual(wire, {
      type: "connect",
      role: "sendrecv",
      channel_id: "c",
      signaling_notify_metadata: { nickName: "Mika" },
      audio: {
        codec_type: "OPUS",
        bit_rate: 32,
        opus_params: {
          channels: 2,
          maxplaybackrate: 48_000,
          minptime: 10,
          ptime: 20,
          stereo: true,
          sprop_stereo: true,
          useinbandfec: true,
          usedtx: false
        }
      },
      video: {
        codec_type: "H265",
        bit_rate: 500,
        vp9_params: { profile_id: 2 },
        av1_params: { profile: 1, level_idx: 5, tier: 0 },
        h264_params: { profile_level_id: "42e01f", b_frame: false },
        h265_params: { profile_id: 1, level_id: 93, tier_flag: 0, tx_mode: "SRST", b_frame: true }
      },
      forwarding_filters: [{
        name: "quiet",
        priority: 1,
        action: "block",
        rules: [[{ field: "connection_id", operator: "is_not_in", values: ["A"] }]],
        version: "1",
        metadata: { aB: 1 }
      }],
      forwarding_filter: { rules: [] },
      data_channels: [{ label: "#a", direction: "sendrecv", max_retransmits: 1 }],
      data_channel_signaling: true
    })
  })
  it("what connect has beside what is known is passed over, deeply", () => {
    const wire = {
      type: "connect",
      role: "recvonly",
      channel_id: "c",
      colour: "red",
      audio: { opus_params: { stereo: true, colour: "red" } },
      video: { codec_type: "AV1", h266_params: {}, av1_params: { profile: 0, colour: "red" } },
      forwarding_filter: { rules: [[{ field: "kind", operator: "is_in", values: ["audio"], colour: "red" }]] }
    }
    assert.deepStrictEqual(Result.getOrThrow(Signaling.decodeClientMessage(wire)), {
      type: "connect",
      role: "recvonly",
      channelId: "c",
      audio: { opusParams: { stereo: true } },
      video: { codecType: "AV1", av1Params: { profile: 0 } },
      forwardingFilter: { rules: [[{ field: "kind", operator: "is_in", values: ["audio"] }]] }
    })
  })
  it("a candidate keeps WebRTC's names", () => {
    const candidate = { type: "candidate", candidate: "candidate:1", sdpMid: "0", sdpMLineIndex: 0 } as const
    assert.deepStrictEqual(Signaling.encodeClientMessage(candidate), candidate)
  })
})

describe("every codec", () => {
  const schemas: Record<string, Signaling.WireSchema<any>> = Object.fromEntries(
    Object.entries(Signaling).filter(([, value]) =>
      Schema.isSchema(value) && value !== Signaling.Role && value !== Signaling.InvalidMessage
    )
  ) as any
  it("is covered", () => assert.isAtLeast(Object.keys(schemas).length, 25))

  for (const [name, schema] of Object.entries(schemas)) {
    it.effect.prop(
      `${name}: decode . encode = identity, over JSON`,
      { value: schema },
      ({ value }) =>
        Effect.gen(function*() {
          if (!survivesEngine(value)) return
          const wire = JSON.stringify(yield* Schema.encodeEffect(schema)(value))
          const decoded = yield* Schema.decodeUnknownEffect(schema)(JSON.parse(wire))
          assert.deepStrictEqual(decoded, plain(value))
        }),
      { arbitrary: { runs: 50 } }
    )
  }

  it.prop("any text is a message or an error", [Schema.String], ([text]) => {
    Result.flatMap(Signaling.parseMessage(text), Signaling.decodeServerMessage)
    return true
  })
  it.prop("any object is a message or an error", [Schema.Record(Schema.String, Schema.Json), Schema.String], (
    [object, type]
  ) => {
    for (const message of [object, { ...object, type }, { ...object, type: "offer" }, { ...object, type: "notify" }]) {
      Signaling.decodeServerMessage(message)
      Signaling.decodeClientMessage(message)
    }
    return true
  })
})
