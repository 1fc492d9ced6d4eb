/**
 * Audio and video through the client: what `media` sends arrives in `tracks` of
 * another connection, under its sender's connection id.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { SoraConnection } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import { SoraServer } from "effect-sora-rpc/server"
import { MediaStream, MediaStreamTrack, type RTCTrackEvent, RtpHeader, RtpPacket } from "werift"
import { connect, first } from "../utils/connect.ts"

/** werift's, which sends the packets that it is given. */
const videoStream = () => {
  const track = new MediaStreamTrack({ kind: "video" })
  return { track, stream: new MediaStream({ id: "camera", tracks: [track] }) }
}

it.live("what one connection sends another receives, also after the first has come back", () =>
  Effect.gen(function*() {
    const { url } = yield* SoraServer.make()
    const viewer = yield* connect({ url, role: "recvonly" })
    const tracks = Stream.provideService(NodeSora.tracks, SoraConnection.SoraConnection, viewer.connection)
    const { stream, track } = videoStream()

    const sendAndReceive = Effect.gen(function*() {
      const sender = yield* connect({ url, role: "sendonly", media: stream })
      const { connectionId } = yield* sender.connection.offer
      const { streams, track: received } = yield* first(tracks, ({ streams }) => streams[0]?.id === connectionId)
      assert.strictEqual(received.kind, "video")
      assert.lengthOf(streams, 1)
      let sequenceNumber = 0
      const timer = setInterval(() => {
        const header = new RtpHeader({ sequenceNumber: ++sequenceNumber, timestamp: sequenceNumber * 3000, ssrc: 1 })
        // A VP8 keyframe of one packet, as far as its first bytes tell.
        track.writeRtp(new RtpPacket(header, Buffer.from([0x10, 0x00, 0x9d, 0x01, 0x2a, 1, 2, 3])))
      }, 20)
      yield* Effect.promise(() => received.onReceiveRtp.asPromise()).pipe(
        Effect.timeout("10 seconds"),
        Effect.ensuring(Effect.sync(() => clearInterval(timer)))
      )
      yield* sender.close
      return connectionId
    })

    const once = yield* sendAndReceive
    // The stream is the caller's: it can be sent again.
    assert.notStrictEqual(yield* sendAndReceive, once)
  }))

it.live("a track is told to be gone with its sender, and when the connection breaks", () =>
  Effect.gen(function*() {
    const server = yield* SoraServer.make()
    const viewer = yield* connect({ url: server.url, role: "recvonly", reconnect: true })
    const inViewer = Stream.provideService(SoraConnection.SoraConnection, viewer.connection)
    const of = (events: Stream.Stream<RTCTrackEvent, never, SoraConnection.SoraConnection>, id: string) =>
      first(inViewer(events), ({ streams }) => streams[0]?.id === id)
    const senders = yield* Effect.all([1, 2].map(() =>
      Effect.gen(function*() {
        const sender = yield* connect({ url: server.url, role: "sendonly", media: videoStream().stream })
        const { connectionId } = yield* sender.connection.offer
        return { ...sender, connectionId, track: yield* of(NodeSora.tracks, connectionId) }
      })
    ))
    const [leaving, staying] = senders as [typeof senders[0], typeof senders[0]]
    const removed = yield* Effect.forkChild(
      Stream.runCollect(Stream.take(inViewer(NodeSora.removedTracks), 2)),
      { startImmediately: true }
    )
    yield* leaving.close
    assert.strictEqual(yield* of(NodeSora.removedTracks, leaving.connectionId), leaving.track)
    // Nothing is told of the other one by a re-offer.
    yield* server.reOffer((yield* viewer.connection.offer).connectionId)
    yield* first(viewer.connection.signaling, ({ direction, message }) =>
      direction === "sent" && message.type === "re-answer")
    yield* server.inject((yield* viewer.connection.offer).connectionId, "closeAbruptly")
    assert.strictEqual(yield* of(NodeSora.removedTracks, staying.connectionId), staying.track)
    assert.deepStrictEqual(yield* Fiber.join(removed), [leaving.track, staying.track])
  }))

it.live("media and recvonly contradict each other, and nothing is dialled", () =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(
      connect({ url: "ws://127.0.0.1:9/", role: "recvonly", media: videoStream().stream })
    )
    assert.include(error.message, "media is given, and role is recvonly")
  }))
