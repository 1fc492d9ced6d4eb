/**
 * A cluster of two runner processes with a real PostgreSQL, called from a third process, this one, where the development
 * server counts what reaches it. Skipped where PostgreSQL is not installed: `apt-get install postgresql`.
 */
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Deferred, Effect, Exit, Fiber, Layer, Schema } from "effect"
import { SoraMethod, type SoraRpcError } from "effect-sora-rpc"
import { SoraChannel } from "effect-sora-rpc/cluster"
import { SoraServer } from "effect-sora-rpc/server"
import { Client } from "../../examples/cluster/cluster.ts"
import * as Postgres from "../../scripts/postgres.ts"
import * as Runners from "../../scripts/runners.ts"

const title = "two runner processes and PostgreSQL" +
  (Postgres.isInstalled ? "" : " (skipped: no postgres; apt-get install postgresql)")

const Count = SoraMethod.make("Count", {
  version: "1",
  params: SoraMethod.Struct({ id: Schema.Int }),
  result: Schema.Int
})
const Hang = SoraMethod.make("Hang", {
  version: "1",
  params: SoraMethod.Struct({ id: Schema.Int }),
  result: Schema.Int
})

const channels = Array.from({ length: 12 }, (_, i) => `channel-${i}`)

/** What `SoraChannel.shardingConfig` says of the time until channels answer from another runner. */
const KilledBound = 15_000
const SilentBound = 25_000

interface Ended {
  readonly channelId: string
  readonly startedAt: number
  readonly endedAt: number
  readonly exit: Exit.Exit<unknown, SoraRpcError.SoraRpcError>
}

const make = Effect.gen(function*() {
  const executed = new Map<number, number>()
  const release = yield* Deferred.make<void>()
  const execute = (id: number) => Effect.sync(() => void executed.set(id, (executed.get(id) ?? 0) + 1))
  const overlaps: Array<string> = []
  const server: SoraServer.SoraServer["Service"] = yield* SoraServer.make({
    handlers: [
      SoraMethod.handle(Count, ({ id }) => Effect.as(execute(id), id)),
      SoraMethod.handle(Hang, ({ id }) => execute(id).pipe(Effect.andThen(Deferred.await(release)), Effect.as(id)))
    ],
    authenticate: ({ channelId, signalingNotifyMetadata }) =>
      Effect.map(server.connections, (connections) => {
        if (connections.some((other) => other.channelId === channelId)) overlaps.push(channelId)
        return { signalingNotifyMetadataExt: signalingNotifyMetadata ?? null }
      })
  })
  const databaseUrl = yield* Postgres.make
  const start = Runners.start({ databaseUrl, soraUrl: server.url })
  const runners = yield* Effect.all([start, start], { concurrency: 2 })
  const env = ConfigProvider.fromUnknown({ DATABASE_URL: databaseUrl })
  const context = yield* Layer.build(Client).pipe(Effect.provideService(ConfigProvider.ConfigProvider, env))
  const { client } = Context.get(context, SoraChannel.SoraChannel)

  /** The runner that each channel is connected from. */
  const whereabouts = Effect.map(
    server.connections,
    (connections) =>
      new Map(connections.map(({ channelId, metadata }) => [
        channelId,
        (metadata as { readonly runner: number }).runner
      ]))
  )

  let nextId = 0
  const ended: Array<Ended> = []
  const call = Effect.fnUntraced(function*(channelId: string, method: typeof Count | typeof Hang) {
    const id = ++nextId
    const startedAt = Date.now()
    const exit = yield* Effect.exit(client(channelId).call(method, { id }, { timeout: "30 seconds" }))
    ended.push({ channelId, startedAt, endedAt: Date.now(), exit })
    if (Exit.isSuccess(exit)) assert.strictEqual(exit.value, id)
    return exit
  })

  /** Each channel is called all the time, by one fiber of its own, until told to stop. */
  const load = Effect.gen(function*() {
    let going = true
    const fibers = yield* Effect.forEach(
      channels,
      (channelId) =>
        Effect.forkChild(Effect.repeat(Effect.andThen(call(channelId, Count), Effect.sleep(5)), {
          while: () => going
        }))
    )
    return Effect.suspend(() => {
      going = false
      return Fiber.awaitAll(fibers)
    })
  })

  /** No call twice, and exactly one end each. */
  const checkCounts = () => {
    assert.deepStrictEqual([...executed].filter(([, times]) => times !== 1), [])
    assert.strictEqual(ended.length, nextId)
  }

  return { server, executed, release, overlaps, start, runners, client, whereabouts, call, load, ended, checkCounts }
})

const until = (isSo: Effect.Effect<boolean>): Effect.Effect<void> =>
  Effect.flatMap(isSo, (so) => so ? Effect.void : Effect.delay(until(isSo), 20))

describe.skipIf(!Postgres.isInstalled)(title, { concurrent: false }, () => {
  it.live("a runner is killed, and then another is stopped, with calls under way", () =>
    Effect.gen(function*() {
      const cluster = yield* make
      const { call, checkCounts, ended, executed, load, overlaps, release, whereabouts } = cluster
      const [first, second] = cluster.runners

      // Both hold channels.
      yield* Effect.forEach(channels, (channelId) => call(channelId, Count), { concurrency: "unbounded" })
      assert.sameMembers([...(yield* whereabouts).keys()], channels)
      yield* until(Effect.map(whereabouts, (now) => new Set(now.values()).size === 2))
      const mine = (port: number) => (now: Map<string, number>) => channels.filter((id) => now.get(id) === port)

      // A call of each channel is under way, and others come and go, when one runner is killed.
      const hanging = yield* Effect.forEach(channels, (channelId) =>
        Effect.map(Effect.forkChild(call(channelId, Hang)), (fiber) => [channelId, fiber] as const))
      const stopLoad = yield* load
      yield* until(Effect.sync(() =>
        executed.size > 5 * channels.length
      ))
      const onFirst = mine(first.port)(yield* whereabouts)
      const killedAt = Date.now()
      yield* first.kill("SIGKILL")
      for (const [channelId, fiber] of hanging) {
        if (!onFirst.includes(channelId)) continue
        const exit = yield* Fiber.join(fiber)
        assert(Exit.isFailure(exit))
        assert.include(String(exit.cause), "was lost")
      }
      assert.isBelow(Date.now() - killedAt, 2000, "calls under way end at once when a runner dies")
      yield* until(Effect.sync(() =>
        onFirst.every((channelId) =>
          ended.some((call) => call.channelId === channelId && call.startedAt > killedAt && Exit.isSuccess(call.exit))
        )
      ))
      assert.isBelow(Date.now() - killedAt, KilledBound, "every channel answers from the other runner")
      // Those of the other runner know nothing of it.
      yield* Deferred.succeed(release, undefined)
      for (const [channelId, fiber] of hanging) {
        if (!onFirst.includes(channelId)) {
          assert.isTrue(Exit.isSuccess(yield* Fiber.join(fiber)))
        }
      }
      yield* stopLoad
      checkCounts()
      for (
        const { channelId, endedAt, exit } of ended.filter(({ exit }) =>
          Exit.isFailure(exit)
        )
      ) {
        assert.include(onFirst, channelId)
        assert.isAtLeast(endedAt, killedAt)
        assert.include(String(Exit.isFailure(exit) && exit.cause), "Disconnected")
      }

      // A third one takes over a part of the channels: no call fails, and no channel has two connections.
      yield* until(Effect.map(cluster.server.connections, ({ length }) => length === channels.length))
      overlaps.length = 0
      const before = ended.length
      const endedSince = () => ended.slice(before)
      const sofar = executed.size
      const stopLoadAgain = yield* load
      const third = yield* cluster.start
      yield* until(
        Effect.map(whereabouts, (now) => new Set(now.values()).has(third.port) && now.size === channels.length)
      )
      assert.deepStrictEqual(endedSince().filter(({ exit }) => Exit.isFailure(exit)), [])

      // The second one is stopped: what fails was under way.
      const stoppedAt = Date.now()
      yield* second.kill("SIGTERM")
      yield* until(Effect.map(whereabouts, (now) => mine(third.port)(now).length === channels.length))
      const movedAt = Date.now()
      yield* until(Effect.sync(() =>
        channels.every((channelId) =>
          ended.some((call) => call.channelId === channelId && call.startedAt > movedAt && Exit.isSuccess(call.exit))
        )
      ))
      yield* stopLoadAgain
      for (
        const { exit, startedAt } of endedSince().filter(({ exit }) =>
          Exit.isFailure(exit)
        )
      ) {
        assert.isAtMost(startedAt, stoppedAt)
        assert.include(String(Exit.isFailure(exit) && exit.cause), "Disconnected")
      }
      assert.deepStrictEqual(overlaps, [])
      assert.isAbove(executed.size, sofar)
      checkCounts()
    }).pipe(Effect.scoped), 90_000)

  it.live(
    "a runner that is frozen loses its channels, and lets go of them when it goes on",
    () =>
      Effect.gen(function*() {
        const { call, checkCounts, executed, runners: [first], whereabouts, server } = yield* make
        yield* Effect.forEach(channels, (channelId) => call(channelId, Count), { concurrency: "unbounded" })
        yield* until(Effect.map(whereabouts, (now) => new Set(now.values()).size === 2))
        const now = yield* whereabouts
        const lost = channels.filter((channelId) => now.get(channelId) === first.port)
        const hanging = yield* Effect.forEach(lost, (channelId) => Effect.forkChild(call(channelId, Hang)))
        yield* until(Effect.sync(() => executed.size === channels.length + lost.length))

        yield* Effect.acquireRelease(
          Effect.sync(() => process.kill(first.pid, "SIGSTOP")),
          () => Effect.sync(() => process.kill(first.pid, "SIGCONT"))
        )
        const frozenAt = Date.now()
        yield* Effect.forEach(
          lost,
          (channelId) =>
            Effect.map(call(channelId, Count), (exit) => assert.isTrue(Exit.isSuccess(exit), String(exit))),
          {
            concurrency: "unbounded"
          }
        )
        assert.isBelow(Date.now() - frozenAt, SilentBound)
        for (const fiber of hanging) {
          const exit = yield* Fiber.join(fiber)
          assert.include(String(Exit.isFailure(exit) && exit.cause), "was lost")
        }
        // Both are connected now, and only one of them knows it.
        assert.lengthOf(yield* server.connections, channels.length + lost.length)
        process.kill(first.pid, "SIGCONT")
        yield* until(Effect.map(server.connections, ({ length }) => length === channels.length))
        checkCounts()
      }).pipe(Effect.scoped),
    90_000
  )
})
