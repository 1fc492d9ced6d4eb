/**
 * Each fault that the development server can inject, seen by our own client
 * over real WebRTC: it happens, and what the client makes of it is typed.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Result, Schema, Scope } from "effect"
import { SoraMethod } from "effect-sora-rpc"
import { SoraFaults, SoraServer } from "effect-sora-rpc/server"
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import * as Channel from "../../src/internal/rpc/channel.ts"
import { decodeResponse } from "../../src/internal/rpc/jsonRpc.ts"
import { malformed } from "../../src/server/internal/malformed.ts"
import { connect, reasonOf } from "../utils/connect.ts"

/** Of machines that have other things to do; nothing here waits for it. */
const slow = { timeout: 30_000 }

const Echo = SoraMethod.make("Echo", { version: "1", params: Schema.Struct({ n: Schema.Int }), result: Schema.Int })
const Hang = SoraMethod.make("Hang", { version: "1" })

/** A server, and a client that is connected before anything goes wrong; `calls` tells when a `Hang` has arrived. */
const start = Effect.fnUntraced(function*(
  options: SoraServer.Options = {},
  client: Partial<Parameters<typeof connect>[0]> = {}
) {
  const hanging = yield* Deferred.make<void>()
  const server = yield* SoraServer.make({
    handlers: [
      SoraMethod.handle(Echo, ({ n }) => Effect.succeed(n)),
      SoraMethod.handle(Hang, () => Effect.andThen(Deferred.succeed(hanging, undefined), Effect.never))
    ],
    ...options
  })
  const connected = yield* connect({ url: server.url, ...client })
  return {
    server,
    hanging: Deferred.await(hanging),
    id: (yield* connected.connection.offer).connectionId,
    ...connected
  }
})

/** A call that nothing is wrong with, after the faults. */
const isFine = ({ rpc, server }: Effect.Success<ReturnType<typeof start>>) =>
  Effect.gen(function*() {
    yield* server.setFaults({})
    for (const n of [1, 2, 3]) assert.strictEqual(yield* rpc.call(Echo, { n }), n)
  })

/** The error of a `Hang` that has arrived when `fault` comes. */
const dyingOf = Effect.fnUntraced(function*(
  { connection, hanging, id, rpc, server }: Effect.Success<ReturnType<typeof start>>,
  fault: SoraFaults.ConnectionFault
) {
  const waiting = yield* Effect.forkChild(Effect.flip(rpc.call(Hang)))
  yield* hanging
  yield* server.inject(id, fault)
  const error = yield* Fiber.join(waiting)
  if (error._tag !== "Disconnected") return assert.fail(error._tag)
  yield* reasonOf(connection)
  return error.reason
})

const isGone = (server: SoraServer.SoraServer["Service"]) =>
  Effect.gen(function*() {
    while ((yield* server.connections).length > 0) yield* Effect.sleep("5 millis")
  }).pipe(Effect.timeout("5 seconds"))

describe("faults are checked", () => {
  const bad: Record<string, unknown> = {
    drop: { drop: 1.5 },
    delayRate: { delayRate: "1" },
    delay: { delay: "soon" },
    lifeMax: { lifeMax: -1 },
    seed: { seed: 0.5 },
    dorp: { dorp: 1 },
    "together at most 1": { closeRpc: 0.5, killPeer: 0.6 }
  }
  for (const [name, faults] of Object.entries(bad)) {
    it.live(name, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(SoraServer.make({ faults: faults as SoraFaults.Faults }))
        assert.include(error.message, "bad options: faults")
        assert.include(error.message, name)
        const server = yield* SoraServer.make()
        const exit = yield* Effect.exit(server.setFaults(faults as SoraFaults.Faults))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
        assert.include((yield* Effect.flip(SoraFaults.decodeJson(JSON.stringify(faults)))).message, name)
      }))
  }

  it.effect("all of them, from JSON", () =>
    Effect.gen(function*() {
      const faults = {
        drop: 0.1,
        delay: "1 second",
        lifeMax: 500,
        closeRpc: 0.1,
        killPeer: 0.2,
        killSocket: 0.7,
        seed: 7
      }
      assert.deepStrictEqual<unknown>(yield* SoraFaults.decodeJson(JSON.stringify(faults)), faults)
    }))
})

describe("a response", slow, () => {
  for (const compress of [true, false]) {
    it(`malformed, on a label that is ${compress ? "" : "not "}compressed: none is taken for one`, () => {
      for (const make of malformed) {
        const body = make("1", `{"jsonrpc":"2.0","id":1,"result":{"a":[1]}}`)
        let text = ""
        try {
          text = Channel.decodeMessage(body, compress)
        } catch {
          // Neither text nor zlib.
        }
        assert.notInclude(["Success", "Failure"], decodeResponse(text)._tag, text)
      }
    })
  }

  for (const compress of [true, false]) {
    describe(compress ? "on a compressed label" : "on an uncompressed label", () => {
      const call = ({ rpc }: Effect.Success<ReturnType<typeof start>>) =>
        Effect.result(rpc.call(Echo, { n: 7 }, { timeout: "1 second" }))

      for (const fault of ["drop", "wrongId"] as const) {
        it.live(`${fault}: the call times out`, () =>
          Effect.gen(function*() {
            const all = yield* start({ compress, faults: { [fault]: 1 } })
            const result = yield* call(all)
            assert.isTrue(Result.isFailure(result) && result.failure._tag === "TimeoutError")
            yield* isFine(all)
          }))
      }

      for (const fault of ["duplicate", "giant", "swapForm", "reorder"] as const) {
        it.live(`${fault}: the call has its result, once`, () =>
          Effect.gen(function*() {
            const all = yield* start({ compress, faults: { [fault]: 1 } })
            // Those that wait for another one come after 100 milliseconds.
            assert.strictEqual(yield* all.rpc.call(Echo, { n: 7 }), 7)
            assert.strictEqual(yield* all.rpc.call(Echo, { n: 8 }), 8)
            yield* isFine(all)
          }))
      }

      it.live("bomb: the call times out, and the connection lives", () =>
        Effect.gen(function*() {
          const all = yield* start({ compress, faults: { bomb: 1 } })
          const result = yield* call(all)
          // Where nothing is compressed there is no bomb.
          if (compress) assert.isTrue(Result.isFailure(result) && result.failure._tag === "TimeoutError")
          else assert.deepStrictEqual(result, Result.succeed(7))
          yield* isFine(all)
        }))

      it.live("corrupt: a violation, or a timeout when it names no call", () =>
        Effect.gen(function*() {
          const all = yield* start({ compress, faults: { corrupt: 1, seed: 1 } })
          const results = yield* Effect.all(
            Array.from({ length: 100 }, () => Effect.flip(all.rpc.call(Echo, { n: 7 }, { timeout: "1 second" }))),
            { concurrency: "unbounded" }
          )
          const kinds = new Set(results.map((error) => error._tag === "RpcError" ? error.reason._tag : error._tag))
          assert.deepStrictEqual(Array.from(kinds).toSorted(), ["ProtocolViolation", "TimeoutError"])
          yield* isFine(all)
        }))
    })
  }

  it.live("delay: late by a part of the time", () =>
    Effect.gen(function*() {
      const all = yield* start({ faults: { delay: "10 minutes", seed: 1 } })
      const waiting = yield* Effect.forkChild(all.rpc.call(Echo, { n: 7 }, { timeout: Duration.infinity }))
      const error = yield* Effect.flip(all.rpc.call(Echo, { n: 8 }, { timeout: "100 millis" }))
      assert.strictEqual(error._tag, "TimeoutError")
      yield* Fiber.interrupt(waiting)
      yield* all.server.setFaults({ delay: "20 millis" })
      assert.strictEqual(yield* all.rpc.call(Echo, { n: 9 }), 9)
      yield* isFine(all)
    }))

  it.live("reorder: another one overtakes", () =>
    Effect.gen(function*() {
      const order: Array<number> = []
      const all = yield* start({ faults: { reorder: 0.5, seed: 3 } })
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, n) => n),
        (n) => Effect.map(all.rpc.call(Echo, { n }), (n) => order.push(n)),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(new Set(order).size, 20)
      assert.notDeepEqual(order, order.toSorted((a, b) => a - b))
      yield* isFine(all)
    }))

  it.live("with the same seed, the same fate; with another one, another", () =>
    Effect.gen(function*() {
      const fates = (seed: number) =>
        Effect.scoped(Effect.gen(function*() {
          const { rpc } = yield* start({ faults: { drop: 0.3, corrupt: 0.3, wrongId: 0.2, seed } })
          return yield* Effect.forEach(
            Array.from({ length: 12 }, (_, n) => n),
            (n) =>
              Effect.match(rpc.call(Echo, { n }, { timeout: "1500 millis" }), {
                onFailure: (error) => error._tag === "RpcError" ? error.message : error._tag,
                onSuccess: String
              }),
            // In this order they reach the server, and are answered.
            { concurrency: "unbounded" }
          )
        }))
      const [first, second, other] = yield* Effect.all([fates(7), fates(7), fates(8)])
      assert.deepStrictEqual(first, second)
      assert.notDeepEqual(first, other)
      assert.isAbove(new Set(first).size, 3)
    }))
})

describe("a connect", slow, () => {
  const failure = Effect.fnUntraced(
    function*(faults: SoraFaults.Faults, connectTimeout: Duration.Input = "20 seconds") {
      const server = yield* SoraServer.make({ faults })
      const { reason } = yield* Effect.flip(connect({ url: server.url, connectTimeout }))
      assert.strictEqual((yield* server.connections).length, 0)
      // And none of it stays.
      yield* server.setFaults({})
      yield* connect({ url: server.url })
      return reason
    }
  )

  it.live("refuse", () =>
    Effect.gen(function*() {
      assert.deepInclude(yield* failure({ refuse: 1 }), { _tag: "Refused", code: 4490, reason: "FAULT-INJECTED" })
    }))

  it.live("ignoreConnect", () =>
    Effect.gen(function*() {
      assert.deepInclude(yield* failure({ ignoreConnect: 1 }, "500 millis"), {
        _tag: "ConnectTimeout",
        waitingFor: "the server's offer"
      })
    }))

  it.live("redirectLoop", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* failure({ redirectLoop: 1 }))._tag, "TooManyRedirects")
    }))

  it.live("redirectLoop goes on for whoever is in it", () =>
    Effect.gen(function*() {
      const reasons = yield* Effect.scoped(Effect.gen(function*() {
        const server = yield* SoraServer.make({ faults: { redirectLoop: 0.5, seed: 2 } })
        return yield* Effect.forEach(
          Array.from({ length: 6 }),
          () =>
            Effect.match(connect({ url: server.url }), { onFailure: ({ reason }) => reason._tag, onSuccess: () => "" })
        )
      }))
      assert.sameMembers(Array.from(new Set(reasons)), ["", "TooManyRedirects"])
    }))
})

describe("a connection", slow, () => {
  it.live("closeRpc: waiting calls are disconnected, and the client leaves in order", () =>
    Effect.gen(function*() {
      const all = yield* start()
      assert.deepInclude(yield* dyingOf(all, "closeRpc"), { _tag: "ChannelClosed", label: "rpc" })
      yield* isGone(all.server)
    }))

  it.live("killSocket after the switch", () =>
    Effect.gen(function*() {
      const all = yield* start()
      assert.strictEqual((yield* dyingOf(all, "killSocket"))._tag, "SocketLost")
      yield* isGone(all.server)
    }))

  it.live("killSocket where there is no switch", () =>
    Effect.gen(function*() {
      const all = yield* start({ authenticate: () => Effect.succeed({ dataChannelSignaling: false }) })
      yield* all.server.inject(all.id, "killSocket")
      assert.strictEqual((yield* reasonOf(all.connection))._tag, "SocketLost")
      yield* isGone(all.server)
    }))

  it.live("killSocket during the handshake", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ switchOrder: "after-open", faults: { killSocket: 1, lifeMax: 0 } })
      // Whether the rpc channel is open by then is the network's business.
      const reason = yield* connect({ url: server.url }).pipe(
        Effect.flatMap(({ connection }) => reasonOf(connection)),
        Effect.catch(({ reason }) =>
          reason._tag === "ConnectionLost" ? Effect.succeed(reason.reason) : assert.fail(reason._tag)
        )
      )
      assert.strictEqual(reason._tag, "SocketLost")
      yield* isGone(server)
    }))

  it.live("closeAbruptly", () =>
    Effect.gen(function*() {
      const all = yield* start()
      assert.include(["SocketLost", "ChannelClosed", "PeerFailed"], (yield* dyingOf(all, "closeAbruptly"))._tag)
      yield* isGone(all.server)
    }))

  for (const ignoreDisconnectWebsocket of [true, false]) {
    it.live(
      `killPeer: gone here, and nothing of it reaches the client, ignore ${ignoreDisconnectWebsocket}`,
      () =>
        Effect.gen(function*() {
          const server = { ignoreDisconnectWebsocket, pingInterval: "10 millis" } as const
          const all = yield* start(server, { disconnectTimeout: "100 millis" })
          const other = yield* connect({ url: all.server.url })
          const waiting = yield* Effect.forkChild(Effect.flip(all.rpc.call(Hang)))
          yield* all.hanging
          yield* all.server.inject(all.id, "killPeer")
          // To the server it is over.
          assert.strictEqual((yield* all.server.connections).length, 1)
          assert.match((yield* Effect.flip(all.server.inject(all.id, "killPeer"))).message, /there is no connection/)
          // No close, no answer: to the client it is silence. The call's own deadline ends it.
          const timeout = yield* Effect.flip(all.rpc.call(Echo, { n: 1 }, { timeout: "500 millis" }))
          assert.strictEqual(timeout._tag, "TimeoutError")
          assert.strictEqual((yield* all.connection.state)._tag, "Connected")
          // Others are not concerned.
          assert.strictEqual(yield* other.rpc.call(Echo, { n: 2 }), 2)
          yield* Fiber.interrupt(waiting)
          yield* all.close
        }),
      20_000
    )
  }

  it.live("killPeer: a process exits by itself, and nothing is rejected", () =>
    Effect.gen(function*() {
      const module = (path: string) => JSON.stringify(new URL(path, import.meta.url).href)
      const program = `
        import * as Effect from "effect/Effect"
        import * as SoraServer from ${module("../../src/server/SoraServer.ts")}
        import { joined } from ${module("./rawClient.ts")}
        await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
          const server = yield* SoraServer.make()
          yield* joined(server.url, "killed")
          const [{ connectionId }] = yield* server.connections
          yield* server.inject(connectionId, "killPeer")
          const left = yield* server.connections
          if (left.length > 0) throw new Error("still there")
        })))
        process.stdout.write("closed\\n")`
      const { stderr, stdout } = yield* Effect.promise(() =>
        promisify(execFile)(
          process.execPath,
          ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", program],
          { timeout: 15_000 }
        )
      )
      assert.deepStrictEqual([stdout, stderr], ["closed\n", ""])
    }))

  it.live("killPeer: a server that stops does not wait for a client that has not noticed", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const server = yield* SoraServer.make().pipe(Scope.provide(scope))
      const { connection } = yield* connect({ url: server.url })
      yield* server.inject((yield* connection.offer).connectionId, "killPeer")
      yield* Effect.timeout(Scope.close(scope, Exit.void), "2 seconds")
      assert.strictEqual((yield* reasonOf(connection))._tag, "SocketLost")
    }))

  it.live("dies of what was drawn, within its time", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ faults: { closeAbruptly: 1, lifeMax: "300 millis" } })
      const reasons = yield* Effect.forEach(
        Array.from({ length: 4 }),
        () =>
          connect({ url: server.url }).pipe(
            Effect.flatMap(({ connection }) => reasonOf(connection)),
            Effect.map(({ _tag }) => _tag),
            Effect.catch(({ reason }) => Effect.succeed(reason._tag))
          ),
        { concurrency: "unbounded" }
      )
      for (const reason of reasons) {
        assert.include(["ChannelClosed", "SocketLost", "PeerFailed", "ConnectionLost"], reason)
      }
      yield* isGone(server)
    }))

  it.live("setFaults reaches the running ones, and takes back what was drawn", () =>
    Effect.gen(function*() {
      const all = yield* start({ faults: { closeRpc: 1, lifeMax: "10 minutes", drop: 1 } })
      yield* isFine(all)
      yield* all.server.setFaults({ closeRpc: 1, lifeMax: "1 milli" })
      assert.deepInclude(yield* reasonOf(all.connection), { _tag: "ChannelClosed", label: "rpc" })
    }))

  it.live("what cannot be injected says why", () =>
    Effect.gen(function*() {
      const all = yield* start({ authenticate: () => Effect.succeed({ dataChannelSignaling: false }) })
      const noRpc = yield* Effect.flip(all.server.inject(all.id, "closeRpc"))
      assert.deepInclude(noRpc, { _tag: "SoraServerError", message: "the connection has no rpc channel" })
      assert.match((yield* Effect.flip(all.server.inject("?", "killPeer"))).message, /there is no connection \?/)
    }))
})
