/**
 * Nothing is left when a scope closes, whatever the connection was doing. What
 * Node itself holds open is counted for the whole process, so these tests run
 * one after the other, in a file of their own.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Scope, Stream } from "effect"
import { SoraMethod, SoraRpcError } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import { createHook } from "node:async_hooks"
import { createSocket } from "node:dgram"
import * as Connects from "../../scripts/connects.ts"
import { connect, first, switched } from "../utils/connect.ts"
import { withFiberCount } from "../utils/fibers.ts"
import { Nowhere } from "../utils/nowhere.ts"
import * as ScriptedSora from "../utils/scriptedSora.ts"

/**
 * Timers that this library, Effect's clock or `ws` started. Not counted are the
 * test runner's, and werift's, whose DTLS flights leave theirs to run out (a
 * second at most).
 */
const timers = new Set<number>()
createHook({
  init(id, type) {
    if (type !== "Timeout") return
    const from = new Error("where from").stack!
    if (/\/src\/|node_modules\/(effect|ws)\//.test(from) && !from.includes("node_modules/werift/")) timers.add(id)
  },
  destroy: (id) => void timers.delete(id)
}).enable()

/** Sockets, servers and timers, by kind. */
const resources = () => {
  const counts: Record<string, number> = { timers: timers.size }
  for (const kind of process.getActiveResourcesInfo()) {
    if (/UDP|TCP/.test(kind)) counts[kind] = (counts[kind] ?? 0) + 1
  }
  return counts
}

/** Two turns of the event loop, in which closed handles go. */
const turn = Effect.callback<void>((resume) => {
  setImmediate(() => setImmediate(() => resume(Effect.void)))
})

const leavesNothing = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) =>
  Effect.gen(function*() {
    yield* turn
    const before = resources()
    const { leaked } = yield* withFiberCount(Effect.scoped(effect))
    yield* turn
    assert.strictEqual(leaked(), 0, "fibers")
    assert.deepStrictEqual(resources(), before)
  })

/** The goodbye of a client that has been offered. */
const goodbye = (peer: Parameters<Parameters<typeof ScriptedSora.make>[0]>[0]) =>
  Effect.gen(function*() {
    while ((yield* peer.take).type !== "disconnect") { /* candidates */ }
    peer.close(1000, "TYPE-DISCONNECT")
  })

/** Audio beside the DataChannels, and on a transport of its own: it is not in the BUNDLE group. */
const Apart = Nowhere + Nowhere.slice(Nowhere.indexOf("m=application"))
  .replace(/m=.*/, "m=audio 9 UDP/TLS/RTP/SAVPF 111")
  .replace("a=mid:0", "a=mid:1")
  .replace("a=sctp-port:5000", "a=rtpmap:111 opus/48000/2\r\na=rtcp-mux\r\na=sendonly")

/** A TURN server that grants a relay when the test says so. */
const lateTurn = Effect.gen(function*() {
  const asked = yield* Deferred.make<() => void>()
  const socket = yield* Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createSocket>>((resume) => {
      const made = createSocket("udp4")
      made.bind(0, "127.0.0.1", () => resume(Effect.succeed(made)))
    }),
    (socket) => Effect.callback<void>((resume) => void socket.close(() => resume(Effect.void)))
  )
  socket.on("message", (request, { address, port }) => {
    const Allocate = 3
    if (request.readUInt16BE(0) !== Allocate) return
    Deferred.doneUnsafe(
      asked,
      Exit.succeed(() => {
        // Port 9 of 127.0.0.1, as RFC 8489, section 14.2, has it; and the lifetime of ten minutes.
        const endpoint = [0, 8, 0, 1, 0x21, 0x1b, 0x5e, 0x12, 0xa4, 0x43]
        const attributes = Buffer.from([0, 0x16, ...endpoint, 0, 0x20, ...endpoint, 0, 0x0d, 0, 4, 0, 0, 2, 0x58])
        const head = Buffer.from(request.subarray(0, 20))
        head.writeUInt16BE(0x0103, 0)
        head.writeUInt16BE(attributes.length, 2)
        socket.send(Buffer.concat([head, attributes]), port, address)
      })
    )
  })
  return { url: `turn:127.0.0.1:${socket.address().port}`, asked: Deferred.await(asked) }
})

const Hang = SoraMethod.make("Hang")
const server = SoraServer.make({ handlers: [SoraMethod.handle(Hang, () => Effect.never)] })

describe("nothing is left of", { concurrent: false }, () => {
  it.live("a server without a client", () => leavesNothing(server))

  it.live("a connection that was made", () => leavesNothing(Effect.flatMap(server, ({ url }) => connect({ url }))))

  it.live("a connection that was closed while its server goes on", () =>
    leavesNothing(Effect.gen(function*() {
      const { connections, url } = yield* server
      const running = resources()
      const { close } = yield* connect({ url })
      yield* close
      yield* turn
      assert.deepStrictEqual(yield* connections, [])
      assert.deepStrictEqual(resources(), running)
    })))

  for (const ignoreDisconnectWebsocket of [true, false]) {
    it.live(`a switched connection with calls waiting, ignore ${ignoreDisconnectWebsocket}`, () =>
      leavesNothing(Effect.gen(function*() {
        const { url } = yield* server
        const { close, connection, rpc } = yield* connect({ url, ignoreDisconnectWebsocket })
        yield* switched(connection)
        const calls = yield* Effect.forEach(
          Array.from({ length: 100 }),
          () =>
            Effect.forkChild(Effect.flip(rpc.call(Hang, undefined, { timeout: Duration.infinity })), {
              startImmediately: true
            })
        )
        yield* close
        for (const error of yield* Fiber.joinAll(calls)) assert.instanceOf(error, SoraRpcError.Disconnected)
        yield* Stream.runDrain(connection.notify)
      })))
  }

  it.live("a connection whose fiber is interrupted", () =>
    leavesNothing(Effect.gen(function*() {
      const { url } = yield* server
      const calling = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(Effect.scoped(Effect.gen(function*() {
        const { rpc } = yield* connect({ url })
        yield* Deferred.succeed(calling, undefined)
        yield* rpc.call(Hang, undefined, { timeout: Duration.infinity })
      })))
      yield* Deferred.await(calling)
      yield* Fiber.interrupt(fiber)
    })))

  /** Interrupts `connect` at the moment that the server's script names. */
  const interruptedAt = (
    name: string,
    script: (reached: Effect.Effect<void>) => Parameters<typeof ScriptedSora.make>[0]
  ) =>
    it.live(`connecting, interrupted ${name}`, () =>
      leavesNothing(Effect.gen(function*() {
        const reached = yield* Deferred.make<void>()
        const sora = yield* ScriptedSora.make(script(Effect.asVoid(Deferred.succeed(reached, undefined))))
        const fiber = yield* Effect.forkChild(Effect.scoped(connect({ url: sora.url })))
        yield* Deferred.await(reached)
        yield* Fiber.interrupt(fiber)
        yield* sora.allClosed
      })))

  interruptedAt("while dialling", (reached) => () => reached)
  interruptedAt("before the offer", (reached) => (peer) => Effect.andThen(peer.take, reached))
  interruptedAt("after an offer to nowhere", (reached) => (peer) =>
    Effect.gen(function*() {
      yield* peer.take
      peer.send({ type: "offer", connection_id: "C", sdp: Nowhere, data_channels: [{ label: "rpc" }] })
      const answer = yield* peer.take
      assert.strictEqual(answer.type, "answer")
      yield* reached
      yield* goodbye(peer)
    }))
  interruptedAt(
    "after a re-offer that moves a section to the transport of another",
    (reached) => (peer) =>
      Effect.gen(function*() {
        yield* peer.take
        peer.send({ type: "offer", connection_id: "C", sdp: Apart, data_channels: [{ label: "rpc" }] })
        assert.strictEqual((yield* peer.take).type, "answer")
        peer.send({ type: "re-offer", sdp: Apart.replace("BUNDLE 0", "BUNDLE 0 1") })
        while ((yield* peer.take).type !== "re-answer") { /* candidates */ }
        yield* reached
        yield* goodbye(peer)
      })
  )

  it.live("connecting, interrupted before a TURN server has answered, which then does", () =>
    leavesNothing(Effect.gen(function*() {
      const turn = yield* lateTurn
      const reached = yield* Deferred.make<void>()
      const sora = yield* ScriptedSora.make((peer) =>
        Effect.gen(function*() {
          yield* peer.take
          peer.send({
            type: "offer",
            connection_id: "C",
            sdp: Nowhere,
            data_channels: [{ label: "rpc" }],
            config: { iceServers: [{ urls: [turn.url], username: "u", credential: "p" }], iceTransportPolicy: "all" }
          })
          assert.strictEqual((yield* peer.take).type, "answer")
          yield* Deferred.succeed(reached, undefined)
          yield* goodbye(peer)
        })
      )
      const before = resources()
      const connecting = yield* Effect.forkChild(Effect.scoped(connect({ url: sora.url })))
      yield* Deferred.await(reached)
      const answer = yield* turn.asked
      yield* Fiber.interrupt(connecting)
      yield* sora.allClosed
      answer()
      assert.deepStrictEqual(yield* Connects.settled(resources, before), before)
    })))

  it.live(
    "40 connections that were made, and 40 that were given up on the way",
    () =>
      leavesNothing(Effect.gen(function*() {
        const { url } = yield* server
        const running = resources()
        yield* Connects.make(url, 40)
        yield* Connects.interrupt(url, 40, 7)
        assert.deepStrictEqual(yield* Connects.settled(resources, running), running)
      })),
    60_000
  )

  it.live("a server that is stopped under its clients", () =>
    leavesNothing(Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { url } = yield* server.pipe(Scope.provide(scope))
      const clients = yield* Effect.forEach([1, 2, 3], () => connect({ url }), { concurrency: 3 })
      yield* Scope.close(scope, Exit.void)
      for (const { connection } of clients) yield* first(connection.changes, ({ _tag }) => _tag === "Disconnected")
    })))
})
