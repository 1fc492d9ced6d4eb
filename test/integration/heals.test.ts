/**
 * What a program gives to its connection to live through breaks: `metadata` that
 * is an effect, `onConnected`, and `reconnectNow`.
 */
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Data,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Redacted,
  Schedule,
  Scope,
  Stream
} from "effect"
import {
  PeerConnection,
  SoraConnection,
  SoraConnectionError,
  SoraMethod,
  SoraRpc,
  type SoraRpcError
} from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import { SoraAuth, SoraServer } from "effect-sora-rpc/server"
import { Socket } from "effect/socket"
import { TestClock } from "effect/testing"
import * as Reconnecting from "../../src/internal/connection/reconnecting.ts"
import { first, reasonOf } from "../utils/connect.ts"

class NoToken extends Data.TaggedError("NoToken")<{ readonly attempt: number }> {}
class NotRestored extends Data.TaggedError("NotRestored")<{ readonly number: number }> {}

const connect = Effect.fnUntraced(function*<E = never, R = never, E2 = never, R2 = never>(
  options: Omit<NodeSora.Options<E, R, E2, R2>, "signalingUrls" | "channelId" | "role"> & { readonly url: string }
) {
  const { url, ...rest } = options
  const scope = yield* Scope.fork(yield* Effect.scope)
  const layer = NodeSora.layer<E, R, E2, R2>({ signalingUrls: [url], channelId: "test", role: "sendrecv", ...rest })
  const context = yield* Layer.buildWithScope(layer, scope).pipe(Effect.onError(() => Scope.close(scope, Exit.void)))
  return {
    rpc: Context.get(context, SoraRpc.SoraRpc),
    connection: Context.get(context, SoraConnection.SoraConnection),
    close: Scope.close(scope, Exit.void)
  }
})

type Connection = SoraConnection.SoraConnection["Service"]
type Server = SoraServer.SoraServer["Service"]

const connected = (connection: Connection, number: number) =>
  first(connection.changes, (state) => state._tag === "Connected" && state.number === number)

/** The connection breaks, at once and without the server's saying why. */
const breaks = Effect.fnUntraced(function*(server: Server, connection: Connection) {
  yield* server.inject((yield* connection.offer).connectionId, "killSocket")
  yield* server.inject((yield* connection.offer).connectionId, "closeRpc").pipe(Effect.ignore)
})

const reconnecting = (connection: Connection, attempt = 1) =>
  first(connection.changes, (state) => state._tag === "Reconnecting" && state.attempt === attempt)

const soon = Schedule.spaced("10 millis")

/** The same, and what it is told. */
const watching = <E>(see: (error: E) => void) =>
  Schedule.tap(Schedule.passthrough(Schedule.setInputType<E>()(soon)), ({ output }) => Effect.sync(() => see(output)))

type Failure = SoraConnectionError.SoraConnectionError

/** A server that takes one metadata only, which may change. */
const takesOnly = Effect.fnUntraced(function*(first: string) {
  let wanted = first
  const seen: Array<unknown> = []
  const server = yield* SoraServer.make({
    authenticate: ({ metadata }) =>
      Effect.suspend(() => {
        seen.push(metadata)
        return metadata === wanted ? Effect.succeed({}) : Effect.fail(new SoraAuth.Refusal({ reason: "NO" }))
      })
  })
  return {
    server,
    seen,
    take: (token: string) => {
      wanted = token
    }
  }
})

const isTimeout = (error: unknown, waitingFor: string, millis: number) =>
  assert.isTrue(
    error instanceof SoraConnectionError.SoraConnectionError && error.reason._tag === "ConnectTimeout" &&
      error.reason.waitingFor === waitingFor && Duration.toMillis(error.reason.timeout) === millis,
    String(error)
  )

describe("metadata that is an effect", () => {
  it.live("is run before every attempt, and a refusal is worth another one", () =>
    Effect.gen(function*() {
      const { seen, server, take } = yield* takesOnly("token 3")
      let n = 0
      const metadata = Effect.sync(() => Redacted.make(`token ${++n}`))
      const { connection } = yield* connect({ url: server.url, metadata, retryConnect: soon, reconnect: soon })
      assert.deepStrictEqual(seen, ["token 1", "token 2", "token 3"])
      take("token 5")
      yield* breaks(server, connection)
      yield* connected(connection, 2)
      assert.deepStrictEqual(seen.slice(3), ["token 4", "token 5"])
    }))

  it.live("without a schedule a refusal is an error, and so it is of a value with one", () =>
    Effect.gen(function*() {
      const { seen, server } = yield* takesOnly("token")
      const refused = yield* Effect.flip(connect({ url: server.url, metadata: Effect.succeed("old") }))
      assert.strictEqual(refused.reason._tag, "Refused")
      const plain = yield* Effect.flip(connect({ url: server.url, metadata: "old", retryConnect: soon }))
      assert.strictEqual(plain.reason._tag, "Refused")
      assert.strictEqual(seen.length, 2)
    }))

  it.live("a connect that the server does not accept is no better with another token", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({
        authenticate: () => Effect.fail(new SoraAuth.Refusal({ reason: "INVALID-MESSAGE" }))
      })
      const error = yield* Effect.flip(connect({ url: server.url, metadata: Effect.succeed(1), retryConnect: soon }))
      assert.strictEqual(error.reason._tag, "Refused")
    }))

  it.live("fails: the layer does with its error, or the schedule sees it", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      let n = 0
      const metadata = Effect.suspend(() =>
        ++n % 2 === 1 ? Effect.fail(new NoToken({ attempt: n })) : Effect.succeed(`token ${n}`)
      )
      const error: NoToken | Failure = yield* Effect.flip(
        connect({ url: server.url, metadata })
      )
      assert.deepStrictEqual(error, new NoToken({ attempt: 1 }))
      assert.deepStrictEqual(yield* server.connections, [])
      const seen: Array<string> = []
      const schedule = watching<NoToken | Failure>(({ _tag }) => seen.push(_tag))
      n = 2
      const { connection } = yield* connect({ url: server.url, metadata, retryConnect: schedule, reconnect: schedule })
      assert.deepStrictEqual(seen, ["NoToken"])
      yield* breaks(server, connection)
      yield* connected(connection, 2)
      assert.deepStrictEqual(seen, ["NoToken", "NoToken"])
    }))

  it.live("gives what is no JSON: the error says so, and not what it was", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      for (const given of [() => "s3cret", Redacted.make(new Date(0)), undefined, { s3cret: undefined }]) {
        const metadata = Effect.succeed(given as any)
        const error = yield* Effect.flip(connect({ url: server.url, metadata, retryConnect: true }))
        assert.strictEqual(error.reason._tag, "InvalidOptions")
        assert.include(error.message, "metadata: what the Effect gives")
        assert.notInclude(error.message, "s3cret")
      }
    }))

  /** A WebSocket that never opens, so that only the clock matters. */
  const Nobody = Layer.mergeAll(
    PeerConnection.layerConstructor(EventTarget as any, { environment: "test" }),
    Layer.succeed(
      Socket.WebSocketConstructor,
      () => ({ readyState: 0, addEventListener() {}, removeEventListener() {}, close() {} }) as any
    )
  )
  const attempt = <E>(metadata: Effect.Effect<SoraConnection.Metadata, E>) =>
    Effect.forkChild(
      SoraConnection.make({
        signalingUrls: ["ws://127.0.0.1/"],
        channelId: "test",
        role: "sendrecv",
        metadata,
        openTimeout: "1 hour",
        disconnectTimeout: 0
      }).pipe(Effect.scoped, Effect.flip, Effect.provide(Nobody))
    )

  for (
    const [name, hanging] of [["hangs", Effect.never], [
      "cannot be stopped",
      Effect.uninterruptible(Effect.never)
    ]] as const
  ) {
    it.effect(`${name}: connectTimeout counts`, () =>
      Effect.gen(function*() {
        const fiber = yield* attempt(hanging)
        yield* TestClock.adjust("29 seconds")
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust("3 seconds")
        isTimeout(yield* Fiber.join(fiber), "the metadata effect", 30_000)
      }))
  }

  it.effect("what it takes is gone from connectTimeout", () =>
    Effect.gen(function*() {
      const fiber = yield* attempt(Effect.as(Effect.sleep("20 seconds"), 1))
      yield* TestClock.adjust("29 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      // And what the release of the WebSocket may take.
      yield* TestClock.adjust("12 seconds")
      isTimeout(yield* Fiber.join(fiber), "a signaling URL to open", 30_000)
    }))

  it.live("its scope is the attempt's, and who gives up connecting interrupts it", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const log: Array<string> = []
      yield* connect({
        url: server.url,
        metadata: Effect.as(Effect.acquireRelease(Effect.void, () => Effect.sync(() => log.push("released"))), 1),
        onConnected: () => Effect.sync(() => log.push("connected"))
      })
      assert.deepStrictEqual(log, ["released", "connected"])
      const begun = yield* Deferred.make<void>()
      const stopped = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(connect({
        url: server.url,
        metadata: Deferred.succeed(begun, undefined).pipe(
          Effect.andThen(Effect.never),
          Effect.onInterrupt(() => Deferred.succeed(stopped, undefined))
        )
      }))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(stopped)
    }))

  for (
    const [name, dying] of [["dies", Effect.die("s3cret")], ["is interrupted from within", Effect.interrupt]] as const
  ) {
    it.live(`${name}: the layer dies, or the connection ends with ClientFault`, () =>
      Effect.gen(function*() {
        const server = yield* SoraServer.make()
        const exit = yield* Effect.exit(connect({ url: server.url, metadata: dying, retryConnect: true }))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
        let n = 0
        const metadata = Effect.suspend(() => n++ === 0 ? Effect.succeed(1) : dying)
        const { connection } = yield* connect({ url: server.url, metadata, reconnect: true })
        yield* breaks(server, connection)
        assert.strictEqual((yield* reasonOf(connection))._tag, "ClientFault")
      }))
  }
})

const item = SoraMethod.PutSignalingNotifyMetadataItem
const Mark = SoraMethod.make("Mark", { params: SoraMethod.Struct({ at: SoraMethod.Rid }) })

describe("onConnected", () => {
  it.live("is run for each connection before anything else goes through, and before Connected is told", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const told: Array<unknown> = []
      const begun = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const { connection, rpc } = yield* connect({
        url: server.url,
        reconnect: soon,
        onConnected: Effect.fnUntraced(function*({ number, offer }) {
          told.push([number, offer.connectionId])
          if (number === 2) yield* Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(go))
          yield* SoraRpc.putSignalingNotifyMetadata({ metadata: { number } })
        })
      })
      const one = (yield* connection.offer).connectionId
      assert.deepStrictEqual((yield* server.connections).map(({ metadata }) => metadata), [{ number: 1 }])
      assert.deepStrictEqual(yield* connection.state, { _tag: "Connected", connectionId: one, number: 1 })
      const states: Array<SoraConnection.State> = []
      yield* connection.changes.pipe(
        Stream.runForEach((state) => Effect.sync(() => states.push(state))),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* breaks(server, connection)
      yield* reconnecting(connection)
      const waiting = yield* Effect.forkChild(rpc.call(item, { key: "k", value: 1 }, { timeout: "10 seconds" }), {
        startImmediately: true
      })
      yield* Deferred.await(begun)
      assert.strictEqual((yield* connection.state)._tag, "Reconnecting")
      assert.isUndefined(waiting.pollUnsafe())
      yield* Deferred.succeed(go, undefined)
      // After what onConnected put there, and not before it.
      assert.deepStrictEqual(yield* Fiber.join(waiting), { number: 2, k: 1 })
      const two = (yield* connection.offer).connectionId
      yield* connected(connection, 2)
      assert.deepStrictEqual(told, [[1, one], [2, two]])
      assert.deepStrictEqual(states.filter(({ _tag }) => _tag === "Connected"), [
        { _tag: "Connected", connectionId: one, number: 1 },
        { _tag: "Connected", connectionId: two, number: 2 }
      ])
    }))

  it.live("fails: the layer does with its error, and nothing is left of the connection", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const error: NotRestored | Failure = yield* Effect.flip(connect({
        url: server.url,
        reconnect: true,
        onConnected: ({ number }) => Effect.fail(new NotRestored({ number }))
      }))
      assert.deepStrictEqual(error, new NotRestored({ number: 1 }))
      assert.deepStrictEqual(yield* server.connections, [])
    }))

  it.live("fails: another attempt follows by the schedule, and begins it again", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const seen: Array<unknown> = []
      const numbers: Array<number> = []
      const schedule = watching<NotRestored | Failure>((error) => seen.push(error))
      const { connection } = yield* connect({
        url: server.url,
        retryConnect: schedule,
        reconnect: schedule,
        onConnected: ({ number }) =>
          Effect.suspend(() => numbers.push(number) % 2 === 1 ? Effect.fail(new NotRestored({ number })) : Effect.void)
      })
      yield* breaks(server, connection)
      yield* connected(connection, 2)
      assert.deepStrictEqual(numbers, [1, 1, 2, 2])
      assert.deepStrictEqual(seen, [new NotRestored({ number: 1 }), new NotRestored({ number: 2 })])
      assert.strictEqual((yield* server.connections).length, 1)
    }))

  it.live("breaks in the middle: its call fails as Disconnected, it is interrupted, the next one begins again", () =>
    Effect.gen(function*() {
      const Hang = SoraMethod.make("Hang")
      const server = yield* SoraServer.make({ handlers: [SoraMethod.handle(Hang, () => Effect.never)] })
      const log: Array<unknown> = []
      let n = 0
      const { connection } = yield* connect({
        url: server.url,
        retryConnect: watching<Failure>(({ reason }) => log.push(reason._tag)),
        onConnected: Effect.fnUntraced(function*({ offer }) {
          if (n++ > 0) return
          const rpc = yield* SoraRpc.SoraRpc
          yield* Effect.forkChild(
            server.inject(offer.connectionId, "killSocket").pipe(
              Effect.delay("20 millis"),
              Effect.andThen(Effect.ignore(server.inject(offer.connectionId, "closeRpc")))
            )
          )
          yield* rpc.call(Hang, undefined, { timeout: Duration.infinity }).pipe(
            Effect.catch(({ _tag }) => Effect.sync(() => log.push(_tag))),
            Effect.andThen(Effect.never),
            Effect.onInterrupt(() => Effect.sync(() => log.push("interrupted")))
          )
        })
      })
      assert.deepStrictEqual(log, ["Disconnected", "interrupted", "ConnectionLost"])
      assert.deepInclude(yield* connection.state, { number: 1 })
    }))

  for (const [name, becomes] of [["fails", Effect.fail], ["succeeds", Effect.succeed]] as const) {
    it.live(`breaks, and it ${name} of that at once: the attempt is lost all the same`, () =>
      Effect.gen(function*() {
        const Hang = SoraMethod.make("Hang")
        const server: Server = yield* SoraServer.make({
          handlers: [
            SoraMethod.handle(Hang, (_, { connectionId }) =>
              Effect.andThen(Effect.ignore(server.inject(connectionId, "closeAbruptly")), Effect.never))
          ]
        })
        const error = yield* Effect.flip(connect({
          url: server.url,
          onConnected: () =>
            SoraRpc.SoraRpc.use((rpc) =>
              rpc.call(Hang, undefined, { timeout: Duration.infinity })
            ).pipe(
              Effect.catch((error): Effect.Effect<unknown, unknown> => becomes(error))
            )
        }))
        assert.isTrue(
          error instanceof SoraConnectionError.SoraConnectionError && error.reason._tag === "ConnectionLost"
        )
      }))
  }

  for (
    const [name, hanging] of [["hangs", Effect.never], [
      "cannot be stopped",
      Effect.uninterruptible(Effect.never)
    ]] as const
  ) {
    it.live(`${name}: connectTimeout counts, and the connection is closed`, () =>
      Effect.gen(function*() {
        const server = yield* SoraServer.make()
        const options = { url: server.url, onConnected: () => hanging }
        isTimeout(yield* Effect.flip(connect({ ...options, connectTimeout: "3 seconds" })), "onConnected", 3000)
        assert.deepStrictEqual(yield* server.connections, [])
      }))
  }

  it.live("dies: the layer does, or the connection ends with ClientFault and is closed", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const thrown = new Error("thrown")
      const dies = () => {
        throw thrown
      }
      const exit = yield* Effect.exit(connect({ url: server.url, onConnected: dies, retryConnect: true }))
      assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) === thrown)
      const { connection } = yield* connect({
        url: server.url,
        reconnect: true,
        onConnected: ({ number }) => number === 1 ? Effect.void : dies()
      })
      yield* breaks(server, connection)
      assert.deepInclude(yield* reasonOf(connection), { _tag: "ClientFault", cause: thrown })
      assert.deepStrictEqual(yield* server.connections, [])
    }))

  it.live("ended with the API meanwhile: for good", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const ending = () => Effect.andThen(server.disconnect({ channelId: "test" }), Effect.never)
      const error = yield* Effect.flip(connect({ url: server.url, retryConnect: true, onConnected: ending }))
      assert.deepInclude((error as any).reason.reason, { _tag: "ServerClosed", reason: "DISCONNECTED-API" })
      const { connection } = yield* connect({
        url: server.url,
        reconnect: true,
        onConnected: ({ number }) => number === 1 ? Effect.void : ending()
      })
      yield* breaks(server, connection)
      assert.deepInclude(yield* reasonOf(connection), { _tag: "ServerClosed", reason: "DISCONNECTED-API" })
    }))

  it.live("its scope closes in the middle of it: interrupted, and nothing is left", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const begun = yield* Deferred.make<void>()
      const stopped = yield* Deferred.make<void>()
      const { close, connection } = yield* connect({
        url: server.url,
        reconnect: true,
        onConnected: ({ number }) =>
          number === 1 ? Effect.void : Deferred.succeed(begun, undefined).pipe(
            Effect.andThen(Effect.never),
            Effect.onInterrupt(() => Deferred.succeed(stopped, undefined))
          )
      })
      yield* breaks(server, connection)
      yield* Deferred.await(begun)
      yield* close
      yield* Deferred.await(stopped)
      assert.strictEqual((yield* reasonOf(connection))._tag, "Released")
      assert.deepStrictEqual(yield* server.connections, [])
    }))

  it.live("calls as the layer does, and what its calls are still answered with hits no other call", () =>
    Effect.gen(function*() {
      const answer = yield* Deferred.make<void>()
      const Late = SoraMethod.make("Late")
      const server = yield* SoraServer.make({
        handlers: [SoraMethod.handle(Late, () => Effect.as(Deferred.await(answer), "late"))]
      })
      let own: SoraRpc.SoraRpc["Service"] | undefined
      const { rpc } = yield* connect({
        url: server.url,
        rpc: { defaultTimeout: "50 millis", checkMethods: false },
        onConnected: () =>
          SoraRpc.SoraRpc.use((rpc) => {
            own = rpc
            return Effect.andThen(
              Effect.map(Effect.flip(rpc.call(Late)), ({ _tag }) => assert.strictEqual(_tag, "TimeoutError")),
              Effect.map(Effect.flip(rpc.call("no.such")), (error) =>
                assert.strictEqual((error as SoraRpcError.RpcError).reason._tag, "ServerError"))
            )
          })
      })
      const call = yield* Effect.forkChild(rpc.call(Mark, { at: "r1" }, { timeout: "5 seconds" }), {
        startImmediately: true
      })
      yield* Deferred.succeed(answer, undefined)
      const error = yield* Effect.flip(Fiber.join(call))
      assert.strictEqual((error as SoraRpcError.RpcError).reason._tag, "ServerError")
      assert.deepStrictEqual(yield* rpc.call(item, { key: "k", value: 1 }, { timeout: "5 seconds" }), { k: 1 })
      // It ends with it.
      const gone = yield* Effect.flip(own!.call(item, { key: "k", value: 2 }))
      assert.isTrue(gone._tag === "Disconnected" && gone.reason._tag === "Released")
    }))

  it.live("where the server opens no rpc channel its calls fail with Unavailable", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make({ rpc: false })
      const error = yield* Effect.flip(connect({
        url: server.url,
        rpc: { checkMethods: false },
        onConnected: () => SoraRpc.resetSpotlightRid()
      }))
      assert.isTrue(error._tag === "RpcError" && error.reason._tag === "Unavailable")
    }))
})

describe("reconnectNow", () => {
  const hour = Schedule.spaced("1 hour")

  it.live("ends the pause before the next attempt, and does nothing at any other time", () =>
    Effect.gen(function*() {
      const { server, take } = yield* takesOnly("token")
      let token = "token"
      const { close, connection } = yield* connect({
        url: server.url,
        metadata: Effect.sync(() => token),
        reconnect: hour
      })
      yield* connection.reconnectNow
      assert.strictEqual((yield* connection.state)._tag, "Connected")
      take("new")
      yield* breaks(server, connection)
      yield* reconnecting(connection)
      // The second that Sora needs is kept.
      yield* connection.reconnectNow
      yield* reconnecting(connection, 2)
      yield* connection.reconnectNow
      yield* reconnecting(connection, 3)
      token = "new"
      yield* connection.reconnectNow
      yield* connected(connection, 2)
      yield* close
      yield* connection.reconnectNow
      assert.strictEqual((yield* connection.state)._tag, "Disconnected")
    }))

  it.live("of a page is its online event, for the first connection too, until the scope closes", () =>
    Effect.gen(function*() {
      const target = new EventTarget()
      let listeners = 0
      yield* Effect.acquireRelease(
        Effect.sync(() =>
          Object.assign(globalThis, {
            addEventListener: (type: string, listener: () => void) => {
              listeners++
              target.addEventListener(type, listener)
            },
            removeEventListener: (type: string, listener: () => void) => {
              listeners--
              target.removeEventListener(type, listener)
            }
          })
        ),
        () =>
          Effect.sync(() => {
            Reflect.deleteProperty(globalThis, "addEventListener")
            Reflect.deleteProperty(globalThis, "removeEventListener")
          })
      )
      const { server } = yield* takesOnly("token")
      let token = "old"
      const failed = yield* Deferred.make<void>()
      const scope = yield* Scope.make()
      const layer = Reconnecting.layerOfPage({
        signalingUrls: [server.url],
        channelId: "test",
        role: "sendrecv",
        metadata: Effect.sync(() => token),
        retryConnect: Schedule.addDelay(
          Schedule.forever,
          () => Effect.as(Deferred.succeed(failed, undefined), "1 hour")
        )
      })
      const connecting = yield* Effect.forkChild(
        Layer.buildWithScope(
          Layer.provide(layer, NodeSora.layerPlatform({ iceAdditionalHostAddresses: ["127.0.0.1"] })),
          scope
        )
      )
      yield* Deferred.await(failed)
      token = "token"
      // The pause begins right after.
      const online = Effect.sync(() => target.dispatchEvent(new Event("online")))
      yield* Effect.raceFirst(Effect.repeat(online, soon), Fiber.join(connecting))
      assert.strictEqual(listeners, 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(listeners, 0)
    }))
})
