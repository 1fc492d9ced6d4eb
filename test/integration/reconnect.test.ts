import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Schedule, Stream } from "effect"
import { SoraMethod, type SoraRpcError } from "effect-sora-rpc"
import { SoraAuth, SoraServer } from "effect-sora-rpc/server"
import { createServer } from "node:net"
import { connect, first, reasonOf } from "../utils/connect.ts"
import * as Restartable from "../utils/restartable.ts"

const Hang = SoraMethod.make("Hang")
const restartable = (options: SoraServer.Options = {}) =>
  Restartable.make({ handlers: [SoraMethod.handle(Hang, () => Effect.never)], ...options })

const stateIs = <C extends { readonly connection: { readonly changes: Stream.Stream<any> } }>(client: C, tag: string) =>
  first(client.connection.changes, ({ _tag }) => _tag === tag)

const item = SoraMethod.PutSignalingNotifyMetadataItem

describe("reconnect", () => {
  it.live(
    "the server is killed and started again under load: nothing for the program to do",
    () =>
      Effect.gen(function*() {
        const server = yield* restartable()
        const client = yield* connect({ url: server.url, reconnect: true })
        const states: Array<string> = []
        yield* client.connection.changes.pipe(
          Stream.runForEach(({ _tag }) => Effect.sync(() => states.push(_tag))),
          Effect.forkScoped({ startImmediately: true })
        )
        const waiting = yield* Effect.forEach(Array.from({ length: 40 }), () =>
          Effect.forkChild(Effect.flip(client.rpc.call(Hang, undefined, { timeout: Duration.infinity })), {
            startImmediately: true
          }))
        const before = (yield* client.connection.offer).connectionId
        yield* server.stop
        for (const error of yield* Fiber.joinAll(waiting)) {
          assert.isTrue(error._tag === "Disconnected" && error.reason._tag === "ServerClosed")
        }
        yield* stateIs(client, "Reconnecting")
        // Made meanwhile: they wait for the new connection, within their own timeout.
        const impatient = yield* Effect.flip(client.rpc.call(item, { key: "k", value: 1 }, { timeout: "50 millis" }))
        assert.strictEqual(impatient._tag, "TimeoutError")
        const patient = yield* Effect.forEach([1, 2, 3], (value) =>
          Effect.forkChild(client.rpc.call(item, { key: "k", value }, { timeout: "20 seconds" }), {
            startImmediately: true
          }))
        yield* server.start({
          authenticate: () =>
            Effect.succeed({ metadata: "again" })
        })
        assert.deepStrictEqual(yield* Fiber.joinAll(patient), [{ k: 1 }, { k: 2 }, { k: 3 }])
        assert.deepStrictEqual(yield* client.rpc.call(item, { key: "k", value: 4 }), { k: 4 })
        assert.strictEqual((yield* client.connection.offer).metadata, "again")
        assert.notStrictEqual((yield* client.connection.offer).connectionId, before)
        // The streams went on.
        const own = (yield* client.connection.offer).connectionId
        yield* first(client.connection.notify, (event) =>
          event._tag === "connection.created" && event.connectionId === own)
        assert.include(states, "Reconnecting")
        assert.notInclude(states, "Disconnected")
      }),
    20_000
  )

  it.live("whenDisconnected: fail does not wait", () =>
    Effect.gen(function*() {
      const server = yield* restartable()
      const client = yield* connect({ url: server.url, reconnect: true, rpc: { whenDisconnected: "fail" } })
      yield* server.stop
      yield* stateIs(client, "Reconnecting")
      const error = yield* Effect.flip(client.rpc.call(item, { key: "k", value: 1 }))
      assert.isTrue(error._tag === "Disconnected" && error.reason._tag === "ServerClosed")
      yield* server.start()
      yield* stateIs(client, "Connected")
      assert.deepStrictEqual(yield* client.rpc.call(item, { key: "k", value: 2 }), { k: 2 })
    }), 20_000)

  it.live("methods follow the latest offer", () =>
    Effect.gen(function*() {
      const server = yield* restartable()
      const client = yield* connect({ url: server.url, reconnect: Schedule.spaced("50 millis") })
      assert.include(yield* client.rpc.methods, "Hang")
      yield* server.stop
      yield* stateIs(client, "Reconnecting")
      yield* server.start({
        authenticate: () => Effect.succeed({ rpcMethods: ["2027.1.0/PutSignalingNotifyMetadataItem"] })
      })
      yield* stateIs(client, "Connected")
      assert.deepStrictEqual(yield* client.rpc.methods, ["2027.1.0/PutSignalingNotifyMetadataItem"])
      const error = yield* Effect.flip(client.rpc.call(Hang)) as Effect.Effect<SoraRpcError.RpcError>
      assert.strictEqual(error.reason._tag, "MethodNotAvailable")
    }), 20_000)

  it.live("ends with a refusal that retrying cannot cure", () =>
    Effect.gen(function*() {
      const server = yield* restartable()
      const client = yield* connect({ url: server.url, reconnect: true })
      yield* server.stop
      yield* stateIs(client, "Reconnecting")
      const waiting = yield* Effect.forkChild(
        Effect.flip(client.rpc.call(item, { key: "k", value: 1 }, { timeout: "20 seconds" })),
        { startImmediately: true }
      )
      yield* server.start({ authenticate: () => Effect.fail(new SoraAuth.Refusal({ reason: "NOT-ANY-MORE" })) })
      const expected = { _tag: "ServerClosed", code: 4490, reason: "NOT-ANY-MORE" } as const
      assert.deepInclude(yield* reasonOf(client.connection), expected)
      const error = yield* Fiber.join(waiting)
      assert.deepInclude((error as SoraRpcError.Disconnected).reason, expected)
      yield* Stream.runDrain(client.connection.push)
    }), 20_000)

  it.live("ends when its schedule does", () =>
    Effect.gen(function*() {
      const server = yield* restartable()
      const client = yield* connect({ url: server.url, reconnect: Schedule.recurs(1) })
      yield* server.stop
      assert.deepInclude(yield* reasonOf(client.connection), { _tag: "ServerClosed", code: 1001 })
      assert.strictEqual((yield* Effect.flip(client.rpc.call(Hang)))._tag, "Disconnected")
    }), 20_000)

  it.live("does not come back when the server's API ended it, or its own scope", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const client = yield* connect({ url: server.url, reconnect: true })
      yield* server.disconnect({ channelId: "test" })
      assert.deepInclude(yield* reasonOf(client.connection), { reason: "DISCONNECTED-API" })
      const other = yield* connect({ url: server.url, reconnect: true })
      yield* other.close
      assert.strictEqual((yield* reasonOf(other.connection))._tag, "Released")
      assert.deepStrictEqual(yield* server.connections, [])
    }), 20_000)

  it.live(
    "a server without an rpc channel refuses calls, and a later one with it answers them",
    () =>
      Effect.gen(function*() {
        const server = yield* restartable({ rpc: false })
        const client = yield* connect({
          url: server.url,
          reconnect: Schedule.spaced("50 millis"),
          rpc: { checkMethods: false, defaultTimeout: Duration.infinity }
        })
        const refused = Effect.gen(function*() {
          for (
            const call of [client.rpc.call("m"), client.rpc.notify("m")] as ReadonlyArray<
              Effect.Effect<unknown, unknown>
            >
          ) {
            const error = yield* Effect.flip(call)
            assert.strictEqual((error as SoraRpcError.RpcError).reason._tag, "Unavailable")
          }
        })
        yield* refused
        for (const rpc of [true, false]) {
          yield* server.stop
          yield* stateIs(client, "Reconnecting")
          const waiting = yield* Effect.forkChild(Effect.exit(client.rpc.call(item, { key: "k", value: 1 })), {
            startImmediately: true
          })
          yield* server.start({ rpc })
          yield* stateIs(client, "Connected")
          if (rpc) assert.deepStrictEqual(yield* Fiber.join(waiting), Exit.succeed({ k: 1 }))
          else yield* Effect.andThen(refused, Fiber.join(waiting))
        }
      }),
    20_000
  )

  it.live("its scope closes while it is between two connections", () =>
    Effect.gen(function*() {
      const server = yield* restartable()
      const client = yield* connect({ url: server.url, reconnect: true })
      yield* server.stop
      yield* stateIs(client, "Reconnecting")
      const waiting = yield* Effect.forkChild(
        Effect.flip(client.rpc.call(Hang, undefined, { timeout: Duration.infinity })),
        {
          startImmediately: true
        }
      )
      yield* client.close
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "Disconnected")
      assert.strictEqual((yield* reasonOf(client.connection))._tag, "Released")
    }), 20_000)
})

/** Takes TCP connections and never says a word. */
const blackHole = Effect.acquireRelease(
  Effect.callback<{ readonly url: string; readonly close: () => void; readonly open: () => number }>((resume) => {
    const sockets = new Set<{ destroy(): void }>()
    const server = createServer((socket) => {
      sockets.add(socket.resume())
      socket.on("close", () => sockets.delete(socket)).on("error", () => {})
    })
    server.listen(0, "127.0.0.1", () =>
      resume(Effect.succeed({
        url: `ws://127.0.0.1:${(server.address() as { port: number }).port}/signaling`,
        open: () => sockets.size,
        close: () => {
          for (const socket of sockets) socket.destroy()
          server.close()
        }
      })))
  }),
  ({ close }) => Effect.sync(close)
)

describe("several signaling URLs", () => {
  it.live("one that hangs does not hold up the next, and is given up when that opens", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const hole = yield* blackHole
      const { connection } = yield* connect({
        url: "",
        signalingUrls: [hole.url, hole.url, "ws://127.0.0.1:1/refused", server.url],
        openTimeout: "1 hour",
        connectTimeout: "10 seconds"
      })
      assert.isString((yield* connection.offer).connectionId)
      const closed = yield* Deferred.make<void>()
      const look = () => hole.open() === 0 ? Deferred.doneUnsafe(closed, Exit.void) : setImmediate(look)
      look()
      yield* Deferred.await(closed)
    }))

  it.live("all dead: each cause, in the order given", () =>
    Effect.gen(function*() {
      const hole = yield* blackHole
      const error = yield* Effect.flip(connect({
        url: "",
        signalingUrls: [hole.url, "ws://127.0.0.1:1/refused"],
        openTimeout: "300 millis"
      }))
      assert.match(error.message, /it did not open in time.*ECONNREFUSED/)
    }))
})

describe("retryConnect", () => {
  it.live("makes the first connection once the server is there", () =>
    Effect.gen(function*() {
      const server = yield* restartable()
      yield* server.stop
      const failed = yield* Deferred.make<void>()
      const retryConnect = Schedule.addDelay(
        Schedule.forever,
        () => Effect.as(Deferred.succeed(failed, undefined), "20 millis")
      )
      const connecting = yield* Effect.forkChild(connect({ url: server.url, retryConnect }), { startImmediately: true })
      yield* Deferred.await(failed)
      yield* server.start()
      const { rpc } = yield* Fiber.join(connecting)
      assert.deepStrictEqual(yield* rpc.call(item, { key: "k", value: 1 }), { k: 1 })
    }), 20_000)

  it.live("does not try again what retrying cannot cure", () =>
    Effect.gen(function*() {
      let asked = 0
      const server = yield* restartable({
        authenticate: () => Effect.suspend(() => Effect.fail(new SoraAuth.Refusal({ reason: `NO-${++asked}` })))
      })
      const error = yield* Effect.flip(connect({ url: server.url, retryConnect: true }))
      assert.isTrue(error.reason._tag === "Refused" && error.reason.reason === "NO-1")
      const bad = yield* Effect.flip(connect({ url: server.url, retryConnect: true, channelId: "" }))
      assert.strictEqual(bad.reason._tag, "InvalidOptions")
    }))

  it.live("is off by default", () =>
    Effect.gen(function*() {
      const server = yield* restartable()
      yield* server.stop
      const error = yield* Effect.flip(connect({ url: server.url, reconnect: true }))
      assert.strictEqual(error.reason._tag, "Unreachable")
    }))
})
