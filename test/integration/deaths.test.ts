/**
 * Every way in which a connection can die is noticed within a bound, and what
 * was half made is gone when `make` has failed.
 */
import { NodeWS } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer } from "effect"
import { PeerConnection, SoraConnection, SoraMethod } from "effect-sora-rpc"
import { NodePeerConnection, NodeSora } from "effect-sora-rpc/node"
import { type SoraFaults, SoraServer } from "effect-sora-rpc/server"
import { Socket } from "effect/socket"
import { TestClock } from "effect/testing"
import * as Werift from "../../src/node/internal/werift/peer.ts"
import { connect, reasonOf, switched } from "../utils/connect.ts"
import { Nowhere } from "../utils/nowhere.ts"
import * as ScriptedPeer from "../utils/scriptedPeer.ts"
import * as ScriptedSora from "../utils/scriptedSora.ts"

const Hang = SoraMethod.make("Hang")
const handlers = [SoraMethod.handle(Hang, () => Effect.never)]

/** How long each may go unnoticed at most, in milliseconds. */
const bounds: Record<SoraFaults.ConnectionFault, number> = {
  closeRpc: 2_000,
  killSocket: 2_000,
  closeAbruptly: 2_000,
  killPeer: 20_000
}

describe("a connection that dies", () => {
  for (const [fault, bound] of Object.entries(bounds) as Array<[SoraFaults.ConnectionFault, number]>) {
    for (const ignoreDisconnectWebsocket of [true, false]) {
      // After the switch a WebSocket that may go is not missed.
      if (fault === "killSocket" && ignoreDisconnectWebsocket) continue
      it.live(
        `${fault}, ignore ${ignoreDisconnectWebsocket}: noticed within ${bound} ms`,
        () =>
          Effect.gen(function*() {
            const server = yield* SoraServer.make({ handlers })
            const { connection, rpc } = yield* connect({
              url: server.url,
              ignoreDisconnectWebsocket,
              disconnectTimeout: "1 second"
            })
            yield* switched(connection)
            const waiting = yield* Effect.forkChild(
              Effect.flip(rpc.call(Hang, undefined, { timeout: Duration.infinity })),
              {
                startImmediately: true
              }
            )
            const start = performance.now()
            yield* server.inject((yield* connection.offer).connectionId, fault)
            assert.strictEqual((yield* Fiber.join(waiting))._tag, "Disconnected")
            assert.isBelow(performance.now() - start, bound)
            yield* reasonOf(connection)
          }),
        bound + 10_000
      )
    }
  }
})

describe("a server that closes its channels, and then says why", () => {
  for (const reconnect of [false, true]) {
    it.live(`calls learn it as the connection does, reconnect ${reconnect}`, () =>
      Effect.gen(function*() {
        const calling = yield* Deferred.make<void>()
        const closed = yield* Deferred.make<void>()
        const called = yield* Deferred.make<void>()
        const { channels, url } = yield* ScriptedPeer.make(
          { sections: [], labels: ["signaling", "rpc"] },
          ({ channels, close }) =>
            Effect.gen(function*() {
              yield* Deferred.await(calling)
              channels[1]!.close()
              yield* ScriptedPeer.whenClosed(channels[1]!)
              yield* Deferred.succeed(closed, undefined)
              yield* Deferred.await(called)
              close(4490, "INTERNAL-ERROR")
            })
        )
        channels[1]!.onMessage.subscribe(() => Deferred.doneUnsafe(calling, Exit.void))
        const { rpc } = yield* connect({ url, reconnect, rpc: { whenDisconnected: "fail" } })
        const call = Effect.forkChild(Effect.flip(rpc.call("m")), { startImmediately: true })
        const waiting = yield* call
        yield* Deferred.await(closed)
        const meanwhile = yield* call
        yield* Deferred.succeed(called, undefined)
        for (const error of yield* Fiber.joinAll([waiting, meanwhile])) {
          assert.strictEqual(error.message, "Disconnected")
          assert.isTrue(error._tag === "Disconnected" && error.reason._tag === "ServerClosed")
        }
      }))
  }
})

/** The inbox of the connection has had its turn. */
const turn = Effect.callback<void>((resume) => {
  setImmediate(() => setImmediate(() => resume(Effect.void)))
})

describe("a peer that is disconnected", () => {
  it.effect("has ten seconds each time, however often it comes back", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      let forced: string | undefined
      const say: { state: (state: string | undefined) => void } = { state: () => {} }
      const wavering = Layer.succeed(PeerConnection.PeerConnection, {
        environment: "test",
        make: () =>
          Effect.map(Werift.make({ ...Werift.loopback, iceServers: [] }), (peer) => {
            const own = Object.getOwnPropertyDescriptor(Werift.WeriftPeer.prototype, "connectionState")!.get!
            Object.defineProperty(peer, "connectionState", { get: () => forced ?? own.call(peer) })
            say.state = (state) => {
              forced = state
              peer.emit("connectionstatechange")
            }
            return peer
          })
      })
      const { state } = yield* SoraConnection.make({
        signalingUrls: [server.url],
        channelId: "test",
        role: "sendrecv"
      }).pipe(Effect.provide([NodeSora.layerPlatform(), wavering]))
      const after = Effect.fnUntraced(function*(said: string | undefined, millis: number) {
        say.state(said)
        yield* turn
        yield* TestClock.adjust(millis)
        yield* turn
        return (yield* state)._tag
      })
      assert.strictEqual(yield* after("disconnected", 9_000), "Connected")
      assert.strictEqual(yield* after(undefined, 500), "Connected")
      assert.strictEqual(yield* after("disconnected", 9_999), "Connected")
      yield* TestClock.adjust(1)
      yield* turn
      assert.deepInclude(yield* state, { _tag: "Disconnected" })
    }))
})

describe("the WebSocket constructor", () => {
  it.live("can be replaced, and gets the headers", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const made: Array<unknown> = []
      const constructor = Layer.succeed(Socket.WebSocketConstructor, (url, options) => {
        made.push([url, options])
        return new NodeWS.WebSocket(url) as unknown as Socket.WebSocketLike
      })
      yield* SoraConnection.make({
        signalingUrls: [server.url],
        channelId: "test",
        role: "sendrecv",
        headers: { authorization: "proxy" }
      }).pipe(Effect.provide([NodePeerConnection.layerWith(NodePeerConnection.loopback), constructor]))
      assert.deepStrictEqual(made, [[server.url, { headers: { authorization: "proxy" } }]])
    }))
})

describe("a connection that could not be made", () => {
  it.live("is not met by a later one in the same scope", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ faults: { ignoreConnect: 1 } })
      const make = SoraConnection.make({
        signalingUrls: [server.url],
        channelId: "test",
        role: "sendrecv",
        connectTimeout: "300 millis"
      })
      yield* Effect.gen(function*() {
        assert.strictEqual((yield* Effect.flip(make)).reason._tag, "ConnectTimeout")
        yield* server.setFaults({})
        const interrupted = yield* Effect.forkChild(make, { startImmediately: true })
        yield* Fiber.interrupt(interrupted)
        const offer = yield* Effect.flatMap(make, ({ offer }) => offer)
        assert.deepStrictEqual((yield* server.connections).map(({ connectionId }) => connectionId), [
          offer.connectionId
        ])
      }).pipe(Effect.provide(NodeSora.layerPlatform({ iceAdditionalHostAddresses: ["127.0.0.1"] })))
    }))

  it.live("because WebRTC itself threw: the error says so, at once", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const broken = Layer.succeed(PeerConnection.PeerConnection, {
        environment: "broken",
        make: () => Effect.die(new Error("no such codec"))
      })
      const error = yield* Effect.flip(
        SoraConnection.make({ signalingUrls: [server.url], channelId: "test", role: "sendrecv" }).pipe(
          Effect.provide([NodeSora.layerPlatform(), broken])
        )
      )
      assert.match(error.message, /no such codec/)
    }))

  it.live("because a redirect came after the offer", () =>
    Effect.gen(function*() {
      const sora: { readonly url: string } = yield* ScriptedSora.make((peer) =>
        Effect.gen(function*() {
          yield* peer.take
          peer.send({ type: "offer", connection_id: "C", sdp: Nowhere, data_channels: [{ label: "rpc" }] })
          yield* peer.take
          peer.send({ type: "redirect", location: sora.url })
        })
      )
      const { reason } = yield* Effect.flip(connect({ url: sora.url }))
      assert.isTrue(reason._tag === "ConnectionLost" && reason.reason._tag === "Redirected")
    }))

  it.live("because a redirect leads from wss to ws", () =>
    Effect.gen(function*() {
      const sora: { readonly url: string } = yield* ScriptedSora.make((peer) =>
        Effect.map(peer.take, () => peer.send({ type: "redirect", location: sora.url }))
      )
      // What TLS would be there for is not under test: the connection believes in it.
      const withoutTls = Layer.succeed(
        Socket.WebSocketConstructor,
        (url) => new NodeWS.WebSocket(url.replace("wss:", "ws:")) as unknown as Socket.WebSocketLike
      )
      const error = yield* Effect.flip(
        SoraConnection.make({
          signalingUrls: [sora.url.replace("ws:", "wss:")],
          channelId: "test",
          role: "sendrecv"
        }).pipe(Effect.provide([NodePeerConnection.layer, withoutTls]))
      )
      assert.match(error.message, /it leaves wss:/)
    }))

  it.live("because a redirect leads where no WebSocket is", () =>
    Effect.gen(function*() {
      const sora = yield* ScriptedSora.make((peer) =>
        Effect.map(peer.take, () => peer.send({ type: "redirect", location: "http://127.0.0.1:1/s3cret" }))
      )
      const exit = yield* Effect.exit(connect({ url: sora.url }))
      assert.isTrue(Exit.isFailure(exit))
      assert.match(String(Exit.isFailure(exit) && exit.cause), /location is no ws:/)
      assert.notInclude(String(Exit.isFailure(exit) && exit.cause), "s3cret")
    }))
})
