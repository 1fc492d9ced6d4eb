/**
 * Many connections in one process, the server in another:
 *
 *   npm run bench:connections
 *
 * Each round has processes of its own; what is printed are medians of rounds.
 * Beside what a program gets it shows what werift takes as it comes, without what
 * is mended in it here, and with it.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeWS from "@effect/platform-node/NodeWS"
import { PeerConnection, SoraConnection, SoraRpc } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { RTCDtlsTransport, type RTCPeerConnection } from "werift"
import { child, connect, median, rpcOnly, table, timed } from "./bench.ts"
import { constructorOf, type Implementation } from "./peer.ts"

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

/** Makes many connections, and lets them be. */
const many = Effect.fnUntraced(function*<E>(connect: Effect.Effect<unknown, E, Scope.Scope>) {
  const before = memory()
  const cpuBefore = process.cpuUsage()
  const all = yield* timed(
    Effect.forEach(Array.from({ length: Connections }), () => timed(connect), { concurrency: Concurrency })
  )
  const cpuConnecting = process.cpuUsage(cpuBefore)
  const after = memory()

  const idle = process.cpuUsage()
  yield* Effect.sleep(IdleSeconds * 1000)
  const { system, user } = process.cpuUsage(idle)

  const kB = (member: "rss" | "heapUsed" | "external") => (after[member] - before[member]) / 1024 / Connections
  return {
    all: all.ms,
    times: all.value.map(({ ms }) => ms),
    "CPU to connect, ms per connection": (cpuConnecting.user + cpuConnecting.system) / 1000 / Connections,
    "RSS, kB per connection": kB("rss"),
    "heap, kB per connection": kB("heapUsed"),
    "external, kB per connection": kB("external"),
    "idle CPU, ms per connection and second": (system + user) / 1000 / Connections / IdleSeconds
  }
})

const round = Effect.gen(function*() {
  const url: string = yield* child("server.ts")
  // werift makes one certificate per process and keeps it.
  const certificate = yield* timed(Effect.promise(() => RTCDtlsTransport.SetupCertificate()))
  const again = yield* timed(Effect.promise(() => RTCDtlsTransport.SetupCertificate()))
  const first = yield* timed(Effect.scoped(connect(url)))
  const alone = yield* Effect.replicateEffect(phases(url), 11)

  const { all, times, ...made } = yield* many(connect(url))
  return {
    "certificate, once per process, ms": certificate.ms,
    "certificate, asked for again, ms": again.ms,
    "first connection of the process, ms": first.ms,
    ...Object.fromEntries(Object.keys(alone[0]!).map((name) => [name, median(alone.map((marks) => marks[name]!))])),
    [`${Concurrency} at a time: set-up p50, ms`]: median(times),
    [`${Concurrency} at a time: set-up max, ms`]: Math.max(...times),
    [`${Concurrency} at a time: all ${Connections}, ms`]: all,
    ...made
  } satisfies Measures
}).pipe(Effect.scoped)

/** The same over a constructor of werift, on the loopback interface alone: what the mends cost. */
const compared = Effect.fnUntraced(function*(implementation: Implementation) {
  const url: string = yield* child("server.ts")
  const over = Layer.build(
    SoraRpc.layer.pipe(
      Layer.provide(SoraConnection.layer(rpcOnly(url))),
      Layer.provide(PeerConnection.layerConstructor(constructorOf(implementation), { environment: implementation })),
      Layer.provide(NodeWS.layerWebSocketConstructor)
    )
  )
  yield* Effect.scoped(over)
  const { all: _all, times: _times, ...made } = yield* many(over)
  return Object.fromEntries(
    Object.entries(made).map(([name, value]) => [`loopback alone, ${implementation}: ${name}`, value])
  )
}, Effect.scoped)

const main = Effect.gen(function*() {
  yield* Console.log(`${Connections} connections, medians of ${Rounds} rounds\n`)
  const rounds: Array<Measures> = []
  for (let i = 0; i < Rounds; i++) {
    const measures: Measures = {}
    for (const what of ["round", "werift", "plain werift"]) {
      Object.assign(measures, yield* Effect.scoped(child("connections.ts", what)))
    }
    rounds.push(measures)
  }
  table([
    ["", "median", ...rounds.map((_, i) => `round ${i + 1}`)],
    ...Object.keys(rounds[0]!).map((name) => {
      const values = rounds.map((measures) => measures[name]!)
      return [name, median(values), ...values]
    })
  ])
})

const what = process.argv[2]
if (what !== undefined) {
  process.on("disconnect", () => process.exit(0))
  const measures: Effect.Effect<Measures, unknown> = what === "round" ? round : compared(what as Implementation)
  NodeRuntime.runMain(Effect.map(measures, (measures) => process.send!(measures)))
} else {
  NodeRuntime.runMain(main)
}
