/**
 * What a server may send while a client connects is bounded, because the client
 * cannot stop half-way through a message that is too much.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Queue, Stream } from "effect"
import { SoraConnection } from "effect-sora-rpc"
import { NodePeerConnection } from "effect-sora-rpc/node"
import { SoraServer } from "effect-sora-rpc/server"
import { Socket } from "effect/socket"
import { connect, reasonOf } from "../utils/connect.ts"
import { Nowhere } from "../utils/nowhere.ts"
import * as ScriptedPeer from "../utils/scriptedPeer.ts"
import * as ScriptedSora from "../utils/scriptedSora.ts"

const candidates = (count: number) =>
  Array.from(
    { length: count },
    (_, i) => `a=candidate:${i} 1 udp 1 127.0.${i >> 8}.${i & 255} 9 typ host\r\n`
  ).join("")

const offer = (sdp: string) => ({ type: "offer", connection_id: "C", sdp, data_channels: [{ label: "rpc" }] })

const sends = (message: unknown) => ScriptedSora.make((peer) => Effect.map(peer.take, () => peer.send(message)))

describe("a client refuses", () => {
  for (
    const [what, sdp, says] of [
      ["an offer with 20,000 candidates", Nowhere + candidates(20_000), /bad "offer": .* more than 2000 candidates/],
      ["an offer of 2 MB", Nowhere + "a=x\r\n".repeat(400_000), /bad "offer": .* more than 1048576 characters/]
    ] as const
  ) {
    it.live(`${what}, at once`, () =>
      Effect.gen(function*() {
        const { url } = yield* sends(offer(sdp))
        const error = yield* Effect.flip(connect({ url, connectTimeout: "5 seconds" }))
        assert.strictEqual(error.reason._tag, "InvalidMessage")
        assert.match(error.message, says)
        assert.isFalse(error.isRetryable)
      }))
  }

  const long = { type: "notify", event_type: "x", text: "x".repeat(5 * 1024 * 1024) }

  it.live("a message of 5 MB on the WebSocket, without buffering it", () =>
    Effect.gen(function*() {
      const { url } = yield* sends(long)
      const error = yield* Effect.flip(connect({ url }))
      assert.strictEqual(error.message, "not a signaling message: it has more than 4194304 bytes")
    }))

  it.live("a message of 5 MB on a WebSocket that has no such limit, without parsing it", () =>
    Effect.gen(function*() {
      const { url } = yield* sends(long)
      const error = yield* Effect.flip(
        SoraConnection.make({ signalingUrls: [url], channelId: "test", role: "sendrecv" }).pipe(
          Effect.provide(Layer.merge(NodePeerConnection.layer, Socket.layerWebSocketConstructorGlobal))
        )
      )
      assert.strictEqual(error.message, "not a signaling message: it has more than 4194304 bytes")
    }))

  it.live("a re-offer with 20,000 candidates", () =>
    Effect.gen(function*() {
      const { url } = yield* ScriptedPeer.make(
        { sections: [], labels: ["rpc"] },
        ({ offer, send }) => Effect.map(offer, (sdp) => send({ type: "re-offer", sdp: sdp + candidates(20_000) }))
      )
      const { connection } = yield* connect({ url })
      const reason = yield* reasonOf(connection)
      assert.strictEqual(reason.message, "the peer connection is unable to renegotiate (reading the re-offer)")
    }))
})

describe("a client takes", () => {
  it.live("an offer with hundreds of senders", () =>
    Effect.gen(function*() {
      const answered = yield* Deferred.make<string>()
      const sections = Array.from({ length: 300 }, (_, i) =>
        [
          "m=video 9 UDP/TLS/RTP/SAVPF 96",
          "c=IN IP4 0.0.0.0",
          "a=rtcp-mux",
          "a=sendonly",
          `a=mid:v${i}`,
          `a=msid:s${i} t${i}`,
          "a=rtpmap:96 VP8/90000",
          `a=ssrc:${i + 1} cname:c`,
          `a=x-padding:${"x".repeat(1000)}`,
          ...Nowhere.split("\r\n").filter((line) => /^a=(ice-|fingerprint|setup|candidate)/.test(line)),
          ""
        ].join("\r\n"))
      const sdp = Nowhere + sections.join("")
      assert.isAbove(sdp.length, 300_000)
      const { url } = yield* ScriptedSora.make((peer) =>
        Effect.gen(function*() {
          yield* peer.take
          peer.send(offer(sdp))
          yield* Deferred.succeed(answered, (yield* peer.take).type)
        })
      )
      yield* Effect.forkChild(Effect.ignore(connect({ url })))
      assert.strictEqual(yield* Deferred.await(answered), "answer")
    }))
})

describe("a subscriber that is slow", () => {
  it.live("loses the oldest, holds up no other, and sees the end", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const { close, connection } = yield* connect({ url: server.url })
      const go = yield* Deferred.make<void>()
      const collect = (each: (data: unknown) => Effect.Effect<unknown>) => {
        const got: Array<unknown> = []
        return connection.push.pipe(
          Stream.runForEach(({ data }) => Effect.andThen(Effect.sync(() => got.push(data)), each(data))),
          Effect.as(got),
          Effect.forkChild({ startImmediately: true })
        )
      }
      const seen = yield* Queue.unbounded<unknown>()
      const slow = yield* collect(() => Deferred.await(go))
      const fast = yield* collect((data) => Queue.offer(seen, data))
      for (let i = 0; i < 2000; i++) {
        yield* server.push("test", i)
        assert.strictEqual(yield* Queue.take(seen), i)
      }
      yield* Deferred.succeed(go, undefined)
      yield* close
      assert.deepStrictEqual(yield* Fiber.join(fast), Array.from({ length: 2000 }, (_, i) => i))
      const kept = yield* Fiber.join(slow)
      assert.strictEqual(kept.at(-1), 1999)
      assert.isBelow(kept.length, 2000)
    }))
})
