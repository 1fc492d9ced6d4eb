/**
 * Many connections in one process, the server in another:
 *
 *   npm run bench:connections
 *
 * Each round has processes of its own; what is printed are medians of rounds.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { PeerConnection, SoraConnection } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { RTCDtlsTransport, type RTCPeerConnection } from "werift"
import { child, connect, median, rpcOnly, table, timed } from "./bench.ts"

const Rounds = 3
const Connections = 100
const Concurrency = 10
const IdleSeconds = 10

type Measures = Record<string, number>

setFlagsFromString("--expose-gc")
const collectGarbage: () => void = runInNewContext("gc")

const memory = () => {
  collectGarbage()
  collectGarbage()
  return process.memoryUsage()
}

/** When a connection that is made alone gets how far, in milliseconds from the start. */
const phases = Effect.fnUntraced(function*(url: string) {
  const at: Measures = {}
  const start = performance.now()
  const mark = (name: string) => (at[name] ??= performance.now() - start)
  const watched = Layer.effect(
    PeerConnection.PeerConnection,
    PeerConnection.PeerConnection.useSync(({ environment, make }) => ({
      environment,
      make: (configuration: PeerConnection.Configuration) =>
        Effect.tap(make(configuration), (made) =>
          Effect.sync(() => {
            mark("alone: offer is here, ms")
            const peer = made as unknown as RTCPeerConnection
            peer.iceConnectionStateChange.subscribe((state) => {
              if (state === "connected" || state === "completed") mark("alone: ICE connected, ms")
            })
            peer.connectionStateChange.subscribe((state) => {
              if (state === "connected") mark("alone: DTLS connected, ms")
            })
          }))
    }))
  )
  yield* Layer.build(
    SoraConnection.layer(rpcOnly(url)).pipe(
      Layer.provide(watched),
      Layer.provide(NodeSora.layerPlatform({ iceAdditionalHostAddresses: ["127.0.0.1"] }))
    )
  )
  mark("alone: rpc channel open, ms")
  return at
}, Effect.scoped)

const round = Effect.gen(function*() {
  const url: string = yield* child("server.ts")
  // werift makes one certificate per process and keeps it.
  const certificate = yield* timed(Effect.promise(() => RTCDtlsTransport.SetupCertificate()))
  const again = yield* timed(Effect.promise(() => RTCDtlsTransport.SetupCertificate()))
  const first = yield* timed(Effect.scoped(connect(url)))
  const alone = yield* Effect.replicateEffect(phases(url), 11)

  const before = memory()
  const cpuBefore = process.cpuUsage()
  const all = yield* timed(
    Effect.forEach(Array.from({ length: Connections }), () => timed(connect(url)), { concurrency: Concurrency })
  )
  const cpuConnecting = process.cpuUsage(cpuBefore)
  const times = all.value.map(({ ms }) => ms)
  const after = memory()

  const idle = process.cpuUsage()
  yield* Effect.sleep(IdleSeconds * 1000)
  const { system, user } = process.cpuUsage(idle)

  const kB = (member: "rss" | "heapUsed" | "external") => (after[member] - before[member]) / 1024 / Connections
  return {
    "certificate, once per process, ms": certificate.ms,
    "certificate, asked for again, ms": again.ms,
    "first connection of the process, ms": first.ms,
    ...Object.fromEntries(Object.keys(alone[0]!).map((name) => [name, median(alone.map((marks) => marks[name]!))])),
    [`${Concurrency} at a time: set-up p50, ms`]: median(times),
    [`${Concurrency} at a time: set-up max, ms`]: Math.max(...times),
    [`${Concurrency} at a time: all ${Connections}, ms`]: all.ms,
    "CPU to connect, ms per connection": (cpuConnecting.user + cpuConnecting.system) / 1000 / Connections,
    "RSS, kB per connection": kB("rss"),
    "heap, kB per connection": kB("heapUsed"),
    "external, kB per connection": kB("external"),
    "idle CPU, ms per connection and second": (system + user) / 1000 / Connections / IdleSeconds
  } satisfies Measures
}).pipe(Effect.scoped)

const main = Effect.gen(function*() {
  yield* Console.log(`${Connections} connections, medians of ${Rounds} rounds\n`)
  const rounds: Array<Measures> = []
  for (let i = 0; i < Rounds; i++) rounds.push(yield* Effect.scoped(child("connections.ts", "round")))
  table([
    ["", "median", ...rounds.map((_, i) => `round ${i + 1}`)],
    ...Object.keys(rounds[0]!).map((name) => {
      const values = rounds.map((measures) => measures[name]!)
      return [name, median(values), ...values]
    })
  ])
})

if (process.argv[2] === "round") {
  process.on("disconnect", () => process.exit(0))
  NodeRuntime.runMain(Effect.map(round, (measures) => process.send!(measures)))
} else {
  NodeRuntime.runMain(main)
}
