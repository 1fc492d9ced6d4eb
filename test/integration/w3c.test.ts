/**
 * The client over other implementations of WebRTC through
 * `PeerConnection.layerConstructor`, and over a DataChannel of one's own.
 */
import { NodeWS } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import wrtc from "@roamhq/wrtc"
import { Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Option, Scope, Stream } from "effect"
import {
  PeerConnection,
  RpcChannel,
  RpcTransport,
  SoraConnection,
  SoraMessaging,
  SoraMethod,
  SoraRpc,
  SoraRpcError
} from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import * as polyfill from "node-datachannel/polyfill"
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { connect as connectTo, first, reasonOf, switched } from "../utils/connect.ts"
import * as ScriptedPeer from "../utils/scriptedPeer.ts"
import * as ScriptedSora from "../utils/scriptedSora.ts"

const implementations: ReadonlyArray<readonly [name: string, constructor: any]> = [
  ["@roamhq/wrtc", wrtc.RTCPeerConnection],
  ["node-datachannel", polyfill.RTCPeerConnection]
]

const Hang = SoraMethod.make("Hang")

type Options = Partial<SoraConnection.Options> & { readonly url: string }

const connectOver = (constructor: any) =>
  Effect.fnUntraced(function*({ url, ...options }: Options) {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const layer = SoraRpc.layer.pipe(
      Layer.provideMerge(
        SoraConnection.layer({
          signalingUrls: [url],
          channelId: "test",
          role: "sendonly",
          audio: false,
          video: false,
          ...options
        })
      ),
      Layer.provide(PeerConnection.layerConstructor(constructor, { environment: "test" })),
      Layer.provide(NodeWS.layerWebSocketConstructor)
    )
    const context = yield* Layer.buildWithScope(layer, scope)
    return {
      rpc: Context.get(context, SoraRpc.SoraRpc),
      connection: Context.get(context, SoraConnection.SoraConnection),
      close: Scope.close(scope, Exit.void)
    }
  })

const connectOnWerift = (options: Options) => connectTo({ role: "sendonly", audio: false, video: false, ...options })

for (const [name, constructor] of implementations) {
  const connect = connectOver(constructor)

  describe(name, () => {
    for (const compress of [true, false]) {
      for (const ignoreDisconnectWebsocket of [true, false]) {
        it.live(`compress ${compress}, ignore ${ignoreDisconnectWebsocket}`, () =>
          Effect.gen(function*() {
            const server = yield* SoraServer.make({ compress, ignoreDisconnectWebsocket })
            const [a, b] = yield* Effect.all([
              connect({ url: server.url, simulcast: true, spotlight: true }),
              connect({ url: server.url })
            ], { concurrency: 2 })
            const { connectionId } = yield* a.connection.offer
            yield* switched(a.connection)
            yield* switched(b.connection)

            assert.strictEqual((yield* a.rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r0" })).rid, "r0")
            yield* a.rpc.call(SoraMethod.RequestSpotlightRid, { spotlightFocusRid: "r1", spotlightUnfocusRid: "r0" })
            yield* a.rpc.call(SoraMethod.ResetSpotlightRid, {})
            const metadata = { text: "é".repeat(1000) }
            assert.deepStrictEqual(yield* a.rpc.call(SoraMethod.PutSignalingNotifyMetadata, { metadata }), metadata)
            yield* a.rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, { key: "k", value: 1, push: true })
            yield* a.rpc.notify(SoraMethod.PutSignalingNotifyMetadataItem, { key: "n", value: 2, push: true })
            for (const key of ["k", "n"]) {
              const { data } = yield* first(b.connection.push, ({ data }) => (data as any).key === key)
              assert.deepInclude(data, { key, connection_id: connectionId })
            }
            yield* server.reOffer(connectionId)
            yield* server.reOffer(connectionId)
            const reports = yield* server.requestStats(connectionId)
            assert.isTrue(Array.isArray(reports) && reports.length > 0)
            assert.strictEqual((yield* a.rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r1" })).rid, "r1")

            yield* a.close
            yield* first(b.connection.notify, ({ _tag }) => _tag === "connection.destroyed")
            assert.strictEqual((yield* reasonOf(a.connection))._tag, "Released")
            assert.strictEqual(yield* server.disconnect({ channelId: "test" }), 1)
            // Without the WebSocket nothing says why: the server sends no `close` message unless it is told to.
            assert.include(["ServerClosed", "ChannelClosed"], (yield* reasonOf(b.connection))._tag)
            assert.deepStrictEqual(yield* server.connections, [])
          }))
      }
    }

    it.live("messages of the application, small and large ones and none at all", () =>
      Effect.gen(function*() {
        const server = yield* SoraServer.make()
        const header = [{ type: "sender_connection_id" }] as const
        for (const compress of [true, false]) {
          const options = {
            url: server.url,
            channelId: `messages-${compress}`,
            dataChannels: [{ label: "#chat", direction: "sendrecv", compress, header }]
          } as const
          const [a, b] = yield* Effect.all([connect(options), connectOnWerift(options)], { concurrency: 2 })
          for (const { connection } of [a, b]) yield* switched(connection)
          for (const [from, to] of [[a, b], [b, a]] as const) {
            const { connectionId } = yield* from.connection.offer
            const { send } = yield* from.connection.messaging("#chat")
            const { messages } = yield* to.connection.messaging("#chat")
            const texts = ["hello 🗾", "", "x".repeat(150_000), "last"]
            for (const text of texts) yield* send(text)
            const received = yield* Stream.runCollect(Stream.take(messages, texts.length))
            assert.deepStrictEqual(
              received.map((message) => [SoraMessaging.text(message), message.senderConnectionId]),
              texts.map((text) => [text, connectionId])
            )
          }
        }
      }))

    it.live("interrupted with calls waiting", () =>
      Effect.gen(function*() {
        const server = yield* SoraServer.make({ handlers: [SoraMethod.handle(Hang, () => Effect.never)] })
        const calling = yield* Deferred.make<ReadonlyArray<Fiber.Fiber<Exit.Exit<unknown, unknown>>>>()
        const fiber = yield* Effect.forkChild(Effect.scoped(Effect.gen(function*() {
          const { rpc } = yield* connect({ url: server.url })
          const call = Effect.exit(rpc.call(Hang, undefined, { timeout: Duration.infinity }))
          const calls = yield* Effect.forEach(
            Array.from({ length: 10 }),
            () => Effect.forkDetach(call, { startImmediately: true })
          )
          yield* Deferred.succeed(calling, calls)
          yield* Effect.never
        })))
        const calls = yield* Deferred.await(calling)
        yield* Fiber.interrupt(fiber)
        for (const exit of yield* Fiber.joinAll(calls)) {
          assert.instanceOf(Option.getOrThrow(Exit.findErrorOption(exit)), SoraRpcError.Disconnected)
        }
        assert.deepStrictEqual(yield* server.connections, [])
      }))

    it.live("interrupted before the server has answered", () =>
      Effect.gen(function*() {
        const asked = yield* Deferred.make<void>()
        const sora = yield* ScriptedSora.make((client) =>
          Effect.andThen(client.take, Effect.asVoid(Deferred.succeed(asked, undefined)))
        )
        const fiber = yield* Effect.forkChild(Effect.scoped(connect({ url: sora.url })))
        yield* Deferred.await(asked)
        yield* Fiber.interrupt(fiber)
        yield* sora.allClosed
      }))

    it.live("audio and video of the offer", () =>
      Effect.gen(function*() {
        const server = yield* SoraServer.make()
        const { connection, rpc } = yield* connect({ url: server.url, role: "sendrecv", audio: true, video: true })
        assert.deepStrictEqual((yield* connection.offer).sdp.match(/^m=\w+/gm), ["m=audio", "m=video", "m=application"])
        assert.strictEqual(yield* rpc.call(SoraMethod.PutSignalingNotifyMetadata, { metadata: 1 }), 1)
      }))

    it.live("a re-offer that adds a section is answered in full", () =>
      Effect.gen(function*() {
        const renegotiated = yield* Deferred.make<string>()
        const { url } = yield* ScriptedPeer.make(
          { sections: ["audio"], labels: ["signaling", "rpc"] },
          ({ close, offer, peer, send, take }) =>
            Effect.gen(function*() {
              peer.addTransceiver("video", { direction: "sendonly" })
              send({ type: "re-offer", sdp: yield* offer })
              yield* Deferred.succeed(renegotiated, (yield* take).sdp)
              assert.strictEqual((yield* take).type, "disconnect")
              close(1000, "TYPE-DISCONNECT")
            })
        )
        yield* connect({
          url,
          role: "recvonly",
          audio: true,
          video: true,
          // The script does not close its channels.
          disconnectTimeout: "100 millis"
        })
        const sdp = yield* Deferred.await(renegotiated)
        assert.deepStrictEqual(sdp.match(/^m=\w+/gm), ["m=audio", "m=application", "m=video"])
      }))

    it.live("a DataChannel of one's own", () =>
      Effect.gen(function*() {
        const make = Effect.acquireRelease(
          Effect.sync(() => new constructor({ iceServers: [] })),
          (peer) => Effect.sync(() => peer.close())
        )
        const [own, other] = [yield* make, yield* make]
        const channel = own.createDataChannel("rpc")
        other.addEventListener("datachannel", ({ channel }: any) => {
          channel.addEventListener("message", ({ data }: any) => {
            const { id, params } = JSON.parse(data)
            channel.send(JSON.stringify({ jsonrpc: "2.0", id, result: params }))
          })
        })
        yield* Effect.promise(() => negotiate(own, other))
        yield* Effect.gen(function*() {
          const rpc = yield* SoraRpc.SoraRpc
          assert.deepStrictEqual(yield* rpc.call("m", { text: "é" }), { text: "é" })
        }).pipe(
          Effect.provide(SoraRpc.layer.pipe(
            Layer.provide(RpcTransport.layer(RpcChannel.fromDataChannel(channel), { methods: ["m"] }))
          ))
        )
        // The channel stays its owner's.
        assert.strictEqual(channel.readyState, "open")
      }))

    it.live("a process exits by itself once all is closed", () =>
      Effect.gen(function*() {
        const script = new URL("./w3cExits.ts", import.meta.url).pathname
        const { stdout } = yield* Effect.promise(() =>
          promisify(execFile)(process.execPath, ["--disable-warning=ExperimentalWarning", script, name], {
            timeout: 15_000
          })
        )
        assert.strictEqual(stdout, "closed\n")
      }))
  })
}

/** Offer, answer, and candidates as they come, each after the description that it belongs to. */
const negotiate = async (offering: any, answering: any) => {
  let described: () => void = () => {}
  const answered = new Promise<void>((resolve) => {
    described = resolve
  })
  const trickle = (from: any, to: any) =>
    from.addEventListener("icecandidate", async ({ candidate }: any) => {
      await answered
      if (candidate?.candidate) await to.addIceCandidate(candidate)
    })
  trickle(offering, answering)
  trickle(answering, offering)
  const offer = await offering.createOffer()
  await offering.setLocalDescription(offer)
  await answering.setRemoteDescription({ type: "offer", sdp: offer.sdp })
  const answer = await answering.createAnswer()
  await answering.setLocalDescription(answer)
  await offering.setRemoteDescription({ type: "answer", sdp: answer.sdp })
  described()
}
