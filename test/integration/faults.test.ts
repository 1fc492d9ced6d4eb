/**
 * What a program gives to a connection is called from within it, and may throw,
 * or never come back. The connection then ends, says why, and lets go.
 */
import { NodeWS } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Logger, Schedule, Scope } from "effect"
import { PeerConnection, SoraConnection, SoraMethod, SoraRpc, SoraRpcMap } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import { SoraServer } from "effect-sora-rpc/server"
import { Socket } from "effect/socket"
import * as Werift from "../../src/node/internal/werift/peer.ts"
import { connect, first, reasonOf } from "../utils/connect.ts"
import { Nowhere } from "../utils/nowhere.ts"
import * as ScriptedPeer from "../utils/scriptedPeer.ts"
import * as ScriptedSora from "../utils/scriptedSora.ts"

const Hang = SoraMethod.make("Hang")
const server = SoraServer.make({ handlers: [SoraMethod.handle(Hang, () => Effect.never)] })

/** What was handed to the process, as it would be in a page. */
const reported: Array<unknown> = []
Object.assign(globalThis, { reportError: (defect: unknown) => reported.push(defect) })

const broken = (): never => {
  throw new Error("broken")
}

/** werift, of which a test breaks something. */
const brokenBy = (breaks: (peer: Werift.WeriftPeer) => void) =>
  Layer.succeed(PeerConnection.PeerConnection, {
    environment: "broken",
    make: () =>
      Effect.map(Werift.make({ ...Werift.loopback, iceServers: [] }), (peer) => {
        breaks(peer)
        return peer
      })
  })

/** A thing that throws where a test says, for those who look at it from outside. */
const veil = <A extends object>(thing: A, isBroken: (member: string) => boolean): A =>
  new Proxy(thing, {
    get(target, member: string) {
      if (isBroken(member)) return broken()
      const value = Reflect.get(target, member, target)
      return typeof value === "function" ? value.bind(target) : value
    },
    set: (target, member, value) => Reflect.set(target, member, value, target)
  })

/** werift, of which every DataChannel is seen through a veil that throws where a test says. */
const veiledBy = (isBroken: (member: string) => boolean) =>
  brokenBy((peer) => {
    const listen = peer.addEventListener.bind(peer) as (type: string, listener: (event: any) => void) => void
    peer.addEventListener = ((type: string, listener: (event: any) => void) =>
      listen(
        type,
        type !== "datachannel" ? listener : ({ channel }) =>
          listener({
            channel: veil(channel, isBroken)
          })
      )) as typeof peer.addEventListener
  })

const options = (url: string) => ({ signalingUrls: [url], channelId: "test", role: "sendrecv" } as const)

const build = Effect.fnUntraced(function*(url: string, peers: Layer.Layer<PeerConnection.PeerConnection>) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* SoraRpc.layer.pipe(
    Layer.provideMerge(SoraConnection.layer({ ...options(url), disconnectTimeout: "200 millis" })),
    Layer.provide([peers, NodeWS.layerWebSocketConstructor]),
    Layer.buildWithScope(scope)
  )
  return {
    connection: Context.get(context, SoraConnection.SoraConnection),
    rpc: Context.get(context, SoraRpc.SoraRpc),
    close: Scope.close(scope, Exit.void)
  }
})

const closesInTime = (close: Effect.Effect<void>) =>
  Effect.map(Effect.timed(close), ([time]) => assert.isBelow(Duration.toMillis(time), 9_000))

describe("a WebRTC implementation that throws", () => {
  for (
    const [what, peers] of [
      ["from addEventListener", brokenBy((peer) => Object.assign(peer, { addEventListener: broken }))],
      [
        "from a DataChannel's addEventListener",
        veiledBy((member) => member === "addEventListener")
      ]
    ] as const
  ) {
    it.live(`${what}, while connecting: the error says so`, () =>
      Effect.gen(function*() {
        const { url } = yield* server
        const error = yield* Effect.flip(build(url, peers))
        assert.strictEqual(error.message, "the connection was lost while it was being made: the client failed: broken")
      }))
  }

  for (const member of ["connectionState", "bufferedAmount", "readyState"]) {
    it.live(`from ${member}, later: waiting calls end, and the state says why`, () =>
      Effect.gen(function*() {
        const { url } = yield* server
        let breaking = false
        const { close, connection, rpc } = yield* build(url, veiledBy((read) => breaking && read === member))
        const call = Effect.forkChild(Effect.flip(rpc.call(Hang, undefined, { timeout: Duration.infinity })), {
          startImmediately: true
        })
        const waiting = yield* call
        breaking = true
        if (member === "connectionState") {
          const peer = (yield* connection.peerConnection) as Werift.WeriftPeer
          Object.defineProperty(peer, member, { configurable: true, get: broken })
          peer.emit("connectionstatechange")
          // werift reads it itself when it closes.
          Reflect.deleteProperty(peer, member)
        }
        for (const fiber of [waiting, yield* call]) {
          const error = yield* Fiber.join(fiber)
          assert.isTrue(error._tag === "Disconnected" && error.reason._tag === "ClientFault")
        }
        assert.strictEqual((yield* reasonOf(connection)).message, "the client failed: broken")
        yield* closesInTime(close)
      }))
  }

  for (
    const [what, breaks] of [
      ["throws from", (peer: any) => {
        peer.close = broken
      }],
      ["never comes back from", (peer: any) => {
        peer.close = () => new Promise(() => {})
      }]
    ] as const
  ) {
    it.live(`or ${what} close: the scope closes all the same`, () =>
      Effect.gen(function*() {
        const { url } = yield* server
        let close: (() => Promise<void>) | undefined
        yield* Effect.addFinalizer(() => Effect.promise(() => close?.() ?? Promise.resolve()))
        const client = yield* build(
          url,
          brokenBy((peer) => {
            close = peer.close.bind(peer)
            breaks(peer)
          })
        )
        yield* closesInTime(client.close)
        assert.strictEqual((yield* client.connection.state)._tag, "Disconnected")
      }))
  }
})

describe("a peer connection that is never made", () => {
  it.live("does not keep the attempt, nor its WebSocket", () =>
    Effect.gen(function*() {
      const sora = yield* ScriptedSora.make((peer) =>
        Effect.map(peer.take, () =>
          peer.send({ type: "offer", connection_id: "C", sdp: Nowhere, data_channels: [{ label: "rpc" }] }))
      )
      const never = Layer.succeed(PeerConnection.PeerConnection, {
        environment: "broken",
        make: () =>
          Effect.uninterruptible(Effect.never)
      })
      const error = yield* SoraConnection.make({ ...options(sora.url), connectTimeout: "200 millis" }).pipe(
        Effect.scoped,
        Effect.provide([never, NodeWS.layerWebSocketConstructor]),
        Effect.flip
      )
      assert.strictEqual(error.reason._tag, "ConnectTimeout")
      yield* sora.allClosed
    }))
})

describe("a reconnect schedule that dies", () => {
  it.live("ends the connection, and the calls that wait for it", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { url } = yield* server.pipe(Scope.provide(scope))
      const reconnect: Schedule.Schedule<unknown> = Schedule.fromStep(Effect.succeed(() => broken()))
      const { close, connection, rpc } = yield* connect({ url, reconnect, connectTimeout: "1 second" })
      yield* Scope.close(scope, Exit.void)
      yield* first(connection.changes, ({ _tag }) => _tag === "Reconnecting")
      const waiting = yield* Effect.forkChild(Effect.flip(rpc.call(Hang, undefined, { timeout: "20 seconds" })), {
        startImmediately: true
      })
      assert.strictEqual((yield* reasonOf(connection)).message, "the client failed: broken")
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "Disconnected")
      yield* closesInTime(close)
    }))
})

describe("a logger that throws", () => {
  const mine = () => {
    const defect = new Error("of a logger")
    const logger = Logger.make(() => {
      throw defect
    })
    return { times: () => reported.filter((other) => other === defect).length, layer: Logger.layer([logger]) }
  }

  it.live("is told to the process, and the connection for which it was called goes on", () => {
    const { layer, times } = mine()
    return Effect.gen(function*() {
      const { url } = yield* ScriptedPeer.make(
        { sections: [], labels: ["rpc"] },
        ({ send }) =>
          Effect.sync(() => {
            send("no JSON")
            send(JSON.stringify({ type: "push", data: "after it" }))
          })
      )
      const { close, connection } = yield* connect({ url })
      yield* first(connection.push, ({ data }) => data === "after it")
      assert.strictEqual(times(), 1)
      yield* closesInTime(close)
    }).pipe(Effect.provide(layer))
  })

  it.live("does not hide why a connection is not made again", () => {
    const { layer, times } = mine()
    return Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { url } = yield* server.pipe(Scope.provide(scope))
      const { connection } = yield* connect({ url, reconnect: Schedule.recurs(0) })
      yield* Scope.close(scope, Exit.void)
      assert.deepInclude(yield* reasonOf(connection), { _tag: "ServerClosed", code: 1001 })
      assert.isAtLeast(times(), 1)
    }).pipe(Effect.provide(layer))
  })
})

describe("a WebSocket that throws", () => {
  it.live("from close is cut off", () =>
    Effect.gen(function*() {
      const sora = yield* ScriptedSora.make(() => Effect.void)
      const sockets = Layer.succeed(
        Socket.WebSocketConstructor,
        (url) => veil<Socket.WebSocketLike>(new NodeWS.WebSocket(url), (member) => member === "close")
      )
      const error = yield* SoraConnection.make({ ...options(sora.url), connectTimeout: "200 millis" }).pipe(
        Effect.scoped,
        Effect.provide([NodeSora.layerPlatform(), sockets]),
        Effect.flip
      )
      assert.strictEqual(error.reason._tag, "ConnectTimeout")
      yield* sora.allClosed
    }))
})

describe("a WebSocket that cannot be listened to", () => {
  it.live("is a URL that cannot be reached, at once", () =>
    Effect.gen(function*() {
      const sora = yield* ScriptedSora.make(() => Effect.void)
      const sockets = Layer.succeed(
        Socket.WebSocketConstructor,
        (url) => {
          let listeners = 0
          const webSocket = new NodeWS.WebSocket(url)
          return veil<Socket.WebSocketLike>(webSocket, (member) => member === "addEventListener" && listeners++ > 0)
        }
      )
      const error = yield* SoraConnection.make(options(sora.url)).pipe(
        Effect.scoped,
        Effect.provide([NodeSora.layerPlatform(), sockets]),
        Effect.flip
      )
      assert.strictEqual(error.reason._tag, "Unreachable")
    }))
})

describe("a map whose lookup throws", () => {
  it.live("fails for who asked, and is asked again", () =>
    Effect.gen(function*() {
      const { url } = yield* server
      const asked = yield* Deferred.make<void>()
      const lookup = (channelId: string) => {
        if (!Deferred.isDoneUnsafe(asked)) {
          Deferred.doneUnsafe(asked, Exit.void)
          broken()
        }
        return NodeSora.layer({ ...options(url), channelId })
      }
      yield* Effect.gen(function*() {
        const exit = yield* Effect.exit(Effect.scoped(SoraRpcMap.contextEffect("lobby")))
        assert.isTrue(Exit.isFailure(exit) && Exit.hasDies(exit))
        yield* Effect.scoped(SoraRpcMap.contextEffect("lobby"))
      }).pipe(Effect.provide(SoraRpcMap.layer({ lookup })))
    }))
})
