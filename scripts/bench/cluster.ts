/**
 * What calls cost through a cluster, how long a channel is away when its runner
 * dies, and what many channels take: three runner processes, a PostgreSQL, the
 * development server and this client, all on this machine:
 *
 *   npm run bench:cluster              # about ten minutes
 *   npm run bench:cluster -- --quick   # to see whether it runs; its figures say nothing
 *
 * It needs Linux (`/proc`) and PostgreSQL (`apt-get install postgresql`).
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as PgClient from "@effect/sql-pg/PgClient"
import type { SoraRpc } from "effect-sora-rpc"
import { SoraChannel } from "effect-sora-rpc/cluster"
import { NodeSora } from "effect-sora-rpc/node"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import { SqlClient } from "effect/sql"
import { readFileSync } from "node:fs"
import { Client } from "../../examples/cluster/cluster.ts"
import * as Postgres from "../postgres.ts"
import * as Runners from "../runners.ts"
import { child, connect, Echo, median, params200, table, timed } from "./bench.ts"

const isQuick = process.argv.includes("--quick")

const Busy = isQuick ? 6 : 12
const Many = isQuick ? 12 : 300
const Latencies = isQuick ? 50 : 2000
const LoadSeconds = isQuick ? 1 : 10
const IdleSeconds = isQuick ? 3 : 30
const Rounds = isQuick ? 1 : 5

/** CPU time of a process so far in milliseconds, and its resident memory in kB. */
const usage = (pid: number) => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  // The name, which is second, may have anything in it. A tick is 10 ms.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  const rss = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))
  return { cpu: (Number(fields[11]) + Number(fields[12])) * 10, rss: Number(rss?.[1]) }
}

type Rpcs = ReadonlyArray<SoraRpc.SoraRpc["Service"]>

/** What calls cost that are spread over connections or channels. */
const measureCalls = Effect.fnUntraced(function*(rpcs: Rpcs, pids: ReadonlyArray<number>) {
  const call = (i: number) => rpcs[i % rpcs.length]!.call(Echo, params200, { timeout: "30 seconds" })
  for (let i = 0; i < 10 * rpcs.length; i++) yield* call(i)

  const latencies: Array<number> = []
  for (let i = 0; i < Latencies; i++) latencies.push((yield* timed(call(i))).ms)
  latencies.sort((a, b) => a - b)

  const cpu = () => [process.pid, ...pids].map((pid) => usage(pid).cpu)
  const load = Effect.fnUntraced(function*(callers: number) {
    let calls = 0
    const before = cpu()
    const until = performance.now() + LoadSeconds * 1000
    const { ms } = yield* timed(Effect.forEach(
      Array.from({ length: callers }, (_, i) => i),
      (i) =>
        Effect.repeat(Effect.tap(call(i), () => Effect.sync(() => void calls++)), {
          while: () => performance.now() < until
        }),
      { concurrency: "unbounded", discard: true }
    ))
    const after = cpu()
    const spent = after.map((cpu, i) => (cpu - before[i]!) / calls)
    return { perSecond: calls / ms * 1000, here: spent[0]!, there: spent.slice(1).reduce((a, b) => a + b, 0) }
  })
  const few = yield* load(16)
  const many = yield* load(512)
  return [
    median(latencies),
    latencies[Math.floor(latencies.length * 0.99)]!,
    few.perSecond,
    many.perSecond,
    many.here,
    many.there
  ]
})

const calls = Effect.fnUntraced(
  function*(url: string, clientOf: SoraChannel.SoraChannel["Service"]["client"], pids: ReadonlyArray<number>) {
    const names = Array.from({ length: Busy }, (_, i) => `busy-${i}`)
    const direct = yield* Effect.scoped(Effect.gen(function*() {
      const rpcs = yield* Effect.forEach(names, () => connect(url))
      return yield* measureCalls(rpcs.map(({ rpc }) => rpc), [])
    }))
    const local = yield* Effect.scoped(Effect.gen(function*() {
      const lookup = (channelId: string, clientId: string) =>
        NodeSora.layer({ signalingUrls: [url], channelId, clientId, role: "sendonly", audio: false, video: false })
      const context = yield* Layer.build(
        SoraChannel.layer({ name: "local", lookup }).pipe(Layer.provide(SoraChannel.layerLocal))
      )
      const { client } = Context.get(context, SoraChannel.SoraChannel)
      return yield* measureCalls(names.map(client), [])
    }))
    const remote = yield* measureCalls(names.map(clientOf), pids)
    const heads = [
      "p50, ms",
      "p99, ms",
      "calls per second, 16 callers",
      "the same, 512 callers",
      "CPU of the caller, ms per call",
      "CPU of the runners, ms per call"
    ]
    table([
      [`${Busy} connections or channels, 200 bytes`, "direct", "cluster of one process", "three runners"],
      ...heads.map((head, i) => [head, direct[i]!, local[i]!, remote[i]!])
    ])
    yield* Console.log(`a hop costs ${(remote[0]! - direct[0]!).toFixed(2)} ms\n`)
  }
)

/** How long until every channel has answered a call that was made after the runner went, and how many calls failed. */
const failover = Effect.fnUntraced(function*(
  clientOf: SoraChannel.SoraChannel["Service"]["client"],
  end: Effect.Effect<void>
) {
  const names = Array.from({ length: Busy }, (_, i) => `busy-${i}`)
  let endedAt = Infinity
  let failed = 0
  let going = true
  const answered = new Map<string, number>()
  const fibers = yield* Effect.forEach(names, (name) =>
    Effect.forkChild(Effect.repeat(
      Effect.suspend(() => {
        const startedAt = performance.now()
        return clientOf(name).call(Echo, params200, { timeout: "1 minute" }).pipe(
          Effect.tap(() =>
            Effect.sync(() => {
              if (startedAt > endedAt && !answered.has(name)) answered.set(name, performance.now() - endedAt)
            })
          ),
          Effect.catch(() => Effect.sync(() => void failed++)),
          Effect.andThen(Effect.sleep(10))
        )
      }),
      { while: () => going }
    )))
  yield* Effect.sleep("1 second")
  endedAt = performance.now()
  yield* end
  while (answered.size < names.length) yield* Effect.sleep(20)
  going = false
  yield* Fiber.awaitAll(fibers)
  return { ms: Math.max(...answered.values()), failed }
})

const manyChannels = Effect.fnUntraced(function*(
  databaseUrl: string,
  { connect }: SoraChannel.SoraChannel["Service"],
  pids: ReadonlyArray<number>
) {
  const sum = (of: (pid: number) => number) => pids.reduce((all, pid) => all + of(pid), 0)
  const sql = Context.get(yield* Layer.build(PgClient.layer({ url: Redacted.make(databaseUrl) })), SqlClient.SqlClient)
  const transactions = Effect.map(
    sql<{ n: string }>`SELECT xact_commit AS n FROM pg_stat_database WHERE datname = current_database()`,
    ([row]) => Number(row!.n)
  )
  const before = { cpu: sum((pid) => usage(pid).cpu), rss: sum((pid) => usage(pid).rss) }
  const connecting = yield* timed(Effect.forEach(
    Array.from({ length: Many }, (_, i) => `many-${i}`),
    (name) => Effect.retry(connect(name), { times: 3 }),
    { concurrency: 16, discard: true }
  ))
  const after = { cpu: sum((pid) => usage(pid).cpu), rss: sum((pid) => usage(pid).rss) }
  const transactionsBefore = yield* transactions
  yield* Effect.sleep(IdleSeconds * 1000)
  const idle = sum((pid) => usage(pid).cpu) - after.cpu
  // One is the question itself.
  const perSecond = ((yield* transactions) - transactionsBefore - 1) / IdleSeconds
  table([
    [`${Many} channels over ${pids.length} runners`, ""],
    ["connect all of them, 16 at a time, s", connecting.ms / 1000],
    ["CPU of the runners to connect, ms per channel", (after.cpu - before.cpu) / Many],
    ["RSS of the runners, kB per channel", (after.rss - before.rss) / Many],
    ["idle CPU of the runners, ms per channel and second", idle / Many / IdleSeconds],
    ["transactions of the database per second, a client included", perSecond]
  ])
}, Effect.scoped)

const main = Effect.gen(function*() {
  const databaseUrl = yield* Postgres.make
  const url: string = yield* child("server.ts")
  const start = (port?: number) => Runners.start({ databaseUrl, soraUrl: url, ...(port === undefined ? {} : { port }) })
  const runners = yield* Effect.all([start(), start(), start()], { concurrency: 3 })
  const env = ConfigProvider.fromUnknown({ DATABASE_URL: databaseUrl })
  const context = yield* Layer.build(Client).pipe(Effect.provideService(ConfigProvider.ConfigProvider, env))
  const channels = Context.get(context, SoraChannel.SoraChannel)
  const settle = Effect.sleep(isQuick ? "3 seconds" : "15 seconds")
  const pids = () => runners.map(({ pid }) => pid)

  yield* settle
  yield* calls(url, channels.client, pids())
  yield* manyChannels(databaseUrl, channels, pids())

  const ends: Record<"SIGKILL" | "SIGTERM", Array<{ readonly ms: number; readonly failed: number }>> = {
    SIGKILL: [],
    SIGTERM: []
  }
  for (let round = 0; round < Rounds; round++) {
    for (const signal of ["SIGKILL", "SIGTERM"] as const) {
      const i = round % runners.length
      ends[signal].push(yield* failover(channels.client, runners[i]!.kill(signal)))
      runners[i] = yield* start()
      yield* settle
    }
  }
  const row = (name: string, measured: ReadonlyArray<number>) => [name, median(measured), Math.max(...measured)]
  table([
    [`a runner of three ends, ${Many + Busy} channels connected, ${Rounds} rounds`, "median", "max"],
    row("kill -9: every called channel answers again, ms", ends.SIGKILL.map(({ ms }) => ms)),
    row("kill -9: calls that failed", ends.SIGKILL.map(({ failed }) => failed)),
    row("SIGTERM: every called channel answers, ms", ends.SIGTERM.map(({ ms }) => ms)),
    row("SIGTERM: calls that failed", ends.SIGTERM.map(({ failed }) => failed))
  ])
})

main.pipe(Effect.scoped, Effect.provideService(Logger.LogToStderr, true), NodeRuntime.runMain)
