/**
 * Calls over real WebRTC on loopback, client and other end in two processes, for
 * werift, libwebrtc (`@roamhq/wrtc`) and `node-datachannel`:
 *
 *   npx tsx scripts/bench/webrtc.ts [--json] [--quick]
 *
 * Medians of interleaved rounds. The bare echo is the limit: a message of the
 * same 200 bytes sent back by the other end, with nothing of this library in
 * either process, at the concurrency that does best. The floor is a client that
 * does no more than it must. Both ends are of one implementation; for werift the
 * other end of the calls is `SoraServer`.
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import { PeerConnection, RpcChannel, SoraConnection, SoraMethod, SoraRpc } from "effect-sora-rpc"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { WebSocket } from "ws"
import { child, Echo, median, params200, rpcOnly, table } from "./bench.ts"
import * as Contestants from "./contestants.ts"
import { answer, constructorOf, echo, type Implementation, implementations, type Peer } from "./peer.ts"

/** One figure. `target` is what the figure is to be, in words, where there is one. */
export interface Row {
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly min: number
  readonly max: number
  readonly target?: string
  readonly met?: boolean
}

const Callers = [1, 64, 1024, 4096]

/** Concurrencies of the bare echo. werift loses messages, and never recovers, when many more than 64 are under way. */
const BareConcurrencies: Record<Implementation, ReadonlyArray<number>> = {
  "werift": [1, 16, 32, 64],
  "@roamhq/wrtc": [1, 64, 1024],
  "node-datachannel": [1, 256, 1024, 4096]
}

/**
 * `maxInFlight` that does best with each; the default of 32 is werift's. libwebrtc gains nothing from more (2,000/s at 32,
 * 2,200/s at 256, 2,500/s at 512, within the noise); `node-datachannel` goes from 4,100 to 8,900/s at 32 to 9,000 to
 * 14,000/s at 128, 11,000 to 23,000/s at 512 and 12,500 to 26,000/s at 4,096.
 */
export const Windows: Record<Implementation, number> = { "werift": 32, "@roamhq/wrtc": 64, "node-datachannel": 4096 }

/** No round begins after this time. */
const BudgetMs = 180_000

/** Clients of one server that call at once, and how many calls each of them has under way. */
const Fleet = { clients: 50, each: 4 }

type Rpc = SoraRpc.SoraRpc["Service"]

const percentile = (numbers: ReadonlyArray<number>, at: number) =>
  numbers.toSorted((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(numbers.length * at))] ?? NaN

/** Messages per second that a bare channel gets back with `concurrency` of them under way. */
const bareRate = (channel: PeerConnection.DataChannelLike, concurrency: number, ms: number): Promise<number> =>
  new Promise((resolve) => {
    const message = "x".repeat(200)
    let received = 0
    let underWay = concurrency
    let rate: number | undefined
    const start = performance.now()
    const settle = () => {
      clearTimeout(patience)
      channel.removeEventListener("message", onMessage)
      resolve(rate ?? received / (performance.now() - start) * 1000)
    }
    // By the clock and not by a timer: `@roamhq/wrtc` lets none run while messages keep coming.
    const onMessage = () => {
      received++
      const elapsed = performance.now() - start
      if (elapsed < ms) return channel.send(message)
      rate ??= received / elapsed * 1000
      // Those that are under way are waited for: a peer of `@roamhq/wrtc` that is closed before ends the other's process.
      if (--underWay === 0) settle()
    }
    const patience = setTimeout(settle, ms + 1000)
    channel.addEventListener("message", onMessage)
    for (let i = 0; i < concurrency; i++) channel.send(message)
  })

/** The same of a client that does no more than it must. */
const floorRate = async (
  channel: PeerConnection.DataChannelLike,
  concurrency: number,
  ms: number
): Promise<number> => {
  const call = Contestants.floorCall(channel, SoraMethod.wireName(Echo), params200)
  let received = 0
  const start = performance.now()
  const worker = async () => {
    while (performance.now() - start < ms) {
      await call()
      received++
    }
  }
  const all = Promise.all(Array.from({ length: concurrency }, worker))
  await Promise.race([all, new Promise((resolve) => setTimeout(resolve, ms + 1000))])
  return received / (performance.now() - start) * 1000
}

/** Time-limited: a message that is lost must not hold up the rest. */
const callEcho = (rpc: Rpc) => Effect.orDie(rpc.call(Echo, params200, { timeout: "10 seconds" }))

/** Completed calls per second of `callers` that call without pause. */
const callRate = (rpc: Rpc, callers: number, ms: number) =>
  Effect.gen(function*() {
    let completed = 0
    const start = performance.now()
    let elapsed = 0
    // By the clock, as above.
    const running = () => elapsed === 0
    const caller = Effect.whileLoop({
      while: running,
      body: () => callEcho(rpc),
      step: () => {
        if (!running()) return
        completed++
        const now = performance.now()
        if (now - start >= ms) elapsed = now - start
      }
    })
    yield* Effect.replicateEffect(caller, callers, { concurrency: "unbounded", discard: true })
    return completed / elapsed * 1000
  })

/** A client of `SoraServer`, over any implementation. */
const connectSora = Effect.fnUntraced(function*(implementation: Implementation, url: string, rpc: SoraRpc.Options) {
  const context = yield* Layer.build(
    SoraRpc.layerWith(rpc).pipe(
      Layer.provide(
        SoraConnection.layer(rpcOnly(url))
      ),
      Layer.provide(PeerConnection.layerConstructor(constructorOf(implementation), { environment: implementation })),
      Layer.provide(NodeWS.layerWebSocketConstructor)
    )
  )
  return Context.get(context, SoraRpc.SoraRpc)
})

type Echoing = Awaited<ReturnType<typeof echo>>

const openEcho = (echoing: Echoing) =>
  Effect.acquireRelease(
    // Limited in here, because to acquire cannot be interrupted.
    Effect.timeout(Effect.promise(() => echoing.open()).pipe(Effect.interruptible), "10 seconds"),
    ({ peer }) => Effect.promise(async () => peer.close())
  )

/** Calls to `echo.ts` over a channel of one's own. */
const callEchoing = (echoing: Echoing, options: SoraRpc.Options) =>
  Effect.gen(function*() {
    const { channel } = yield* openEcho(echoing)
    const rpcChannel = yield* RpcChannel.fromDataChannel(channel)
    return yield* SoraRpc.fromChannel(rpcChannel, { ...options, methods: ["1.0.0/Echo"], checkMethods: false })
  })

/** Milliseconds from nothing to an open channel, signaled as Sora does: `connect`, offer, answer, candidates. */
const bareSetup = async (url: string): Promise<number> => {
  const start = performance.now()
  const socket = new WebSocket(url)
  await new Promise<void>((resolve, reject) => {
    socket.once("open", resolve)
    socket.once("error", reject)
  })
  const made: { readonly peer: Peer } = await answer("werift", (receive) => {
    socket.on("message", (data) => receive(JSON.parse(String(data))))
    socket.send("connect")
    return (signal) => socket.send(JSON.stringify(signal))
  })
  const ms = performance.now() - start
  await made.peer.close()
  socket.close()
  return ms
}

const timedSetup = (connect: Effect.Effect<unknown, unknown, Scope.Scope>) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const start = performance.now()
    yield* Effect.orDie(Effect.asVoid(connect)).pipe(Scope.provide(scope))
    const ms = performance.now() - start
    yield* Scope.close(scope, Exit.void)
    return ms
  })

/** All figures. */
export const run = (options: { readonly quick?: boolean | undefined } = {}) => Effect.scoped(measure(options))

const measure = Effect.fnUntraced(function*(options: { readonly quick?: boolean | undefined }) {
  const quick = options.quick ?? false
  const rounds = quick ? 1 : 5
  const cellMs = quick ? 200 : 500
  const setups = 3
  const serial = quick ? 100 : 300

  const url: string = yield* child("server.ts", "--no-compress")
  const startEcho = (implementation: Implementation) =>
    Effect.acquireRelease(Effect.promise(() => echo(implementation)), ({ kill }) => Effect.sync(kill))
  // Once for all rounds, but for @roamhq/wrtc: that sometimes ends its process, and the rest is still worth knowing.
  const lasting = { "werift": yield* startEcho("werift"), "node-datachannel": yield* startEcho("node-datachannel") }
  const bareUrl = lasting.werift.url

  const figures = new Map<string, { readonly unit: string; readonly values: Array<number> }>()
  // The first round is for the compiler, in every process.
  let round = -1
  const add = (name: string, unit: string, value: number) => {
    if (round < 0) return
    const figure = figures.get(name) ?? { unit, values: [] }
    figures.set(name, figure)
    figure.values.push(value)
  }

  // The process's own first time.
  yield* timedSetup(connectSora("werift", url, {}))
  yield* Effect.promise(() => bareSetup(bareUrl))

  const begun = performance.now()
  // A busy machine gets fewer rounds, and not a longer wait.
  for (; round < rounds && performance.now() - begun < BudgetMs; round++) {
    for (let i = 0; i < setups; i++) {
      add("set-up, werift, bare peer", "ms", yield* Effect.promise(() => bareSetup(bareUrl)))
      for (const implementation of i === 1 ? implementations : ["werift"] as const) {
        add(
          `set-up, ${implementation}, rpc open`,
          "ms",
          yield* timedSetup(connectSora(implementation, url, {}))
        )
      }
    }
    for (const implementation of implementations) {
      yield* Effect.gen(function*() {
        const echoing = implementation === "@roamhq/wrtc" ? yield* startEcho(implementation) : lasting[implementation]
        const maxInFlight = Windows[implementation]

        const overEcho = (rate: typeof bareRate, concurrency: number) =>
          Effect.scoped(Effect.flatMap(
            openEcho(echoing),
            ({ channel }) => Effect.promise(() => rate(channel, concurrency, cellMs))
          ))

        // The limit.
        for (const concurrency of BareConcurrencies[implementation]) {
          add(bareEcho(implementation, concurrency), "/s", yield* overEcho(bareRate, concurrency))
        }
        add(`floor, ${implementation}`, "/s", yield* overEcho(floorRate, Math.min(maxInFlight, 1024)))

        yield* Effect.scoped(Effect.gen(function*() {
          const rpc = implementation === "werift"
            ? yield* connectSora(implementation, url, { maxInFlight })
            : yield* callEchoing(echoing, { maxInFlight })
          yield* Effect.replicateEffect(callEcho(rpc), 200, { concurrency: 8, discard: true })
          const times: Array<number> = []
          for (let i = 0; i < serial; i++) {
            const start = performance.now()
            yield* callEcho(rpc)
            times.push(performance.now() - start)
          }
          add(`round trip, ${implementation}, p50`, "ms", percentile(times, 0.5))
          add(`round trip, ${implementation}, p99`, "ms", percentile(times, 0.99))
          for (const callers of Callers) {
            const cpu = process.cpuUsage()
            const start = performance.now()
            const rate = yield* callRate(rpc, callers, cellMs)
            const { system, user } = process.cpuUsage(cpu)
            add(`calls, ${implementation}, ${callers} callers`, "/s", rate)
            if (callers === 1024) {
              const calls = rate * (performance.now() - start) / 1000
              add(`CPU of the client, ${implementation}`, "s per 10,000 calls", (user + system) / 1e6 / calls * 10_000)
            }
          }
        }))
        if (implementation === "werift") return
        // Against the development server werift is the other end, whatever the client has.
        yield* Effect.scoped(Effect.gen(function*() {
          const rpc = yield* connectSora(implementation, url, {})
          add(`calls, ${implementation} to SoraServer, 1024 callers`, "/s", yield* callRate(rpc, 1024, cellMs))
        }))
      }).pipe(
        Effect.scoped,
        Effect.timeout("40 seconds"),
        Effect.catchCause((cause) => Effect.logWarning(`a round of ${implementation} was given up`, cause))
      )
    }
  }

  yield* fleet({ url, echoing: lasting.werift, rounds, cellMs, add }).pipe(
    Effect.scoped,
    Effect.timeout("60 seconds"),
    Effect.catchCause((cause) => Effect.logWarning("the fleet was given up", cause))
  )

  const rows = Array.from(figures, ([name, { unit, values }]): Row => ({
    name,
    value: median(values),
    unit,
    min: Math.min(...values),
    max: Math.max(...values)
  }))

  /** Round by round, because what else the machine does hits both of a pair alike. */
  const ratio = (name: string, over: string, by: string, atLeast: boolean, target: number): Row => {
    const [a, b] = [figures.get(over)!.values, figures.get(by)!.values]
    const values = a.map((value, i) => value / b[i]!)
    const value = median(values)
    return {
      name,
      value,
      unit: "x",
      min: Math.min(...values),
      max: Math.max(...values),
      target: `${atLeast ? ">=" : "<="} ${target}`,
      met: atLeast ? value >= target : value <= target
    }
  }
  /** Of its median over all rounds: the best of each round would be the luckiest. */
  const bestBareEcho = (implementation: Implementation) =>
    BareConcurrencies[implementation]
      .map((concurrency) => bareEcho(implementation, concurrency))
      .reduce((a, b) => median(figures.get(a)!.values) >= median(figures.get(b)!.values) ? a : b)

  return [
    ...rows,
    ratio("set-up to rpc open / bare peer", "set-up, werift, rpc open", "set-up, werift, bare peer", false, 1.1),
    ratio("calls / bare echo, werift", "calls, werift, 1024 callers", bestBareEcho("werift"), true, 0.95),
    ratio(
      "calls / bare echo, node-datachannel",
      "calls, node-datachannel, 1024 callers",
      bestBareEcho("node-datachannel"),
      true,
      0.5
    ),
    ratio(
      "calls, node-datachannel / werift",
      "calls, node-datachannel, 1024 callers",
      "calls, werift, 1024 callers",
      true,
      3
    ),
    // Limited by werift: JSON-RPC and the dispatch, at both ends, may take a fifth at most.
    ratio("fleet of clients of SoraServer / bare echo", "fleet, calls", "fleet, bare echo", true, 0.8)
  ]
})

const bareEcho = (implementation: Implementation, concurrency: number) =>
  `bare echo, ${implementation}, ${concurrency} at a time`

/** Many clients of one server at once, and as many bare peers of one echo. */
const fleet = Effect.fnUntraced(function*({ add, cellMs, echoing, rounds, url }: {
  readonly url: string
  readonly echoing: Echoing
  readonly rounds: number
  readonly cellMs: number
  readonly add: (name: string, unit: string, value: number) => void
}) {
  const all = { concurrency: "unbounded" } as const
  const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((a, b) => a + b, 0)
  const members = Array.from({ length: Fleet.clients })
  // A few at a time, as a fleet that starts.
  const channels = yield* Effect.forEach(members, () => openEcho(echoing), { concurrency: 5 })
  const rpcs = yield* Effect.forEach(members, () => connectSora("werift", url, {}), { concurrency: 5 })
  for (let round = -1; round < rounds; round++) {
    const bare = yield* Effect.promise(() =>
      Promise.all(channels.map(({ channel }) => bareRate(channel, Fleet.each, cellMs)))
    )
    const ours = yield* Effect.forEach(rpcs, (rpc) => callRate(rpc, Fleet.each, cellMs), all)
    // The first round is for the compiler.
    if (round < 0) continue
    add("fleet, bare echo", "/s", sum(bare))
    add("fleet, calls", "/s", sum(ours))
  }
})

/** Prints figures as a table. */
export const print = (rows: ReadonlyArray<Row>) => {
  const round = (value: number) => Number(value.toPrecision(3))
  table([
    ["over WebRTC on loopback, medians", "value", "unit", "min", "max", "target", "met"],
    ...rows.map(({ max, met, min, name, target, unit, value }) => [
      name,
      round(value),
      unit,
      round(min),
      round(max),
      target ?? "",
      met === undefined ? "" : met ? "yes" : "NO"
    ])
  ])
}

if (import.meta.main) {
  const rows = await Effect.runPromise(run({ quick: process.argv.includes("--quick") }))
  if (process.argv.includes("--json")) process.stdout.write(JSON.stringify(rows, null, 2) + "\n")
  else print(rows)
  // The native implementations keep threads that end with the process.
  process.exit(0)
}
