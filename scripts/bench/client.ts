/**
 * The calling end of the measurements of one implementation, in a process of its
 * own, because that is how a program has it: `client.ts IMPLEMENTATION URL
 * LOSSY_URL [--quick]`, where the URLs are those of a `SoraServer` and of the same
 * behind a network that loses packets. For each message it makes one round and
 * sends its figures; `"fleet"` makes a round of many clients.
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import { PeerConnection, RpcChannel, RpcTransport, SoraConnection, SoraMethod, SoraRpc } from "effect-sora-rpc"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { WebSocket } from "ws"
import { Echo, EchoLater, params200, rpcOnly } from "./bench.ts"
import * as Contestants from "./contestants.ts"
import { answer, constructorOf, echo, type Implementation, type Peer } from "./peer.ts"

/** One measurement. */
export interface Figure {
  readonly name: string
  readonly unit: string
  readonly value: number
}

const Callers = [1, 64, 1024, 4096]

/** More callers than that: over werift, against the development server. */
const Crowd = 16_384

/** How long servers take that are not quick, in milliseconds. */
const Latencies = [50, 200]

/** Calls that take long, beside which a quick one is made. */
const Slow = { calls: 1000, millis: 3000 }

/** Concurrencies of the bare echo. Plain werift loses messages, and never recovers, when many more than 64 are under way. */
export const BareConcurrencies: Record<Implementation, ReadonlyArray<number>> = {
  "werift": [1, 64, 1024],
  "plain werift": [16, 32],
  "@roamhq/wrtc": [1, 64, 1024],
  "node-datachannel": [1, 256, 1024, 4096]
}

/**
 * `maxInFlight` that does best with each. Plain werift loses messages when many more are written at once. libwebrtc gains nothing from more (2,000/s at 32,
 * 2,200/s at 256, 2,500/s at 512, within the noise); `node-datachannel` goes from 4,100 to 8,900/s at 32 to 9,000 to
 * 14,000/s at 128, 11,000 to 23,000/s at 512 and 12,500 to 26,000/s at 4,096.
 */
const Windows: Record<Implementation, number> = {
  "werift": Infinity,
  "plain werift": 32,
  "@roamhq/wrtc": 64,
  "node-datachannel": 4096
}

/** Clients of one server that call at once, and how many calls each of them has under way. */
const Fleet = { clients: 50, each: 4 }

/** @internal */
export const bareEcho = (implementation: Implementation, concurrency: number) =>
  `bare echo, ${implementation}, ${concurrency} at a time`

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

/** Of calls made one after the other, in milliseconds. */
const callTimes = (rpc: Rpc, count: number) =>
  Effect.forEach(Array.from({ length: count }), () =>
    Effect.suspend(() => {
      const start = performance.now()
      return Effect.map(callEcho(rpc), () => performance.now() - start)
    }))

/** Completed calls per second of `callers` that call without pause. */
const callRate = (rpc: Rpc, callers: number, ms: number, call = callEcho(rpc)) =>
  Effect.gen(function*() {
    let completed = 0
    const start = performance.now()
    let elapsed = 0
    // By the clock, as above.
    const running = () => elapsed === 0
    const caller = Effect.whileLoop({
      while: running,
      body: () => call,
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

/** The same where each caller makes so many calls: however long they take, none is cut off at the end. */
const rateOf = (call: Effect.Effect<unknown>, callers: number, each: number) =>
  Effect.suspend(() => {
    const start = performance.now()
    const caller = Effect.replicateEffect(call, each, { discard: true })
    return Effect.map(
      Effect.replicateEffect(caller, callers, { concurrency: "unbounded", discard: true }),
      () => callers * each / (performance.now() - start) * 1000
    )
  })

/** The rate, and the seconds of CPU of 10,000 calls. */
const costing = (rate: ReturnType<typeof callRate>) =>
  Effect.suspend(() => {
    const start = performance.now()
    const before = process.cpuUsage()
    return Effect.map(rate, (rate) => {
      const { system, user } = process.cpuUsage(before)
      const calls = rate * (performance.now() - start) / 1000
      return { rate, cpu: (user + system) / 1e6 / calls * 10_000 }
    })
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
    const transport = RpcTransport.make(yield* RpcChannel.fromDataChannel(channel), { methods: ["1.0.0/Echo"] })
    return yield* Effect.provideService(SoraRpc.make(options), RpcTransport.RpcTransport, transport)
  })

/** Milliseconds from nothing to an open channel, signaled as Sora does: `connect`, offer, answer, candidates. */
const bareSetup = async (url: string, implementation: Implementation = "werift"): Promise<number> => {
  const start = performance.now()
  const socket = new WebSocket(url)
  await new Promise<void>((resolve, reject) => {
    socket.once("open", resolve)
    socket.once("error", reject)
  })
  const made: { readonly peer: Peer } = await answer(implementation, (receive) => {
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

const implementation = process.argv[2] as Implementation
const url = process.argv[3]!
const lossyUrl = process.argv[4]!
const quick = process.argv.includes("--quick")
const cellMs = quick ? 200 : 500
const roundTrips = quick ? 100 : 300
/** One in fifty loses a packet, and so takes a quarter of a second. */
const lossyRoundTrips = quick ? 100 : 400

const startEcho = (implementation: Implementation) =>
  Effect.acquireRelease(Effect.promise(() => echo(implementation)), ({ kill }) => Effect.sync(kill))

const setups = (add: (name: string, unit: string, value: number) => void, bareUrl: string) =>
  Effect.gen(function*() {
    for (let i = 0; i < (implementation === "werift" ? 3 : 1); i++) {
      if (implementation === "werift") {
        add("set-up, werift, bare peer", "ms", yield* Effect.promise(() => bareSetup(bareUrl)))
      }
      if (implementation === "werift") {
        add("set-up, plain werift, bare peer", "ms", yield* Effect.promise(() => bareSetup(bareUrl, "plain werift")))
      }
      add(`set-up, ${implementation}, rpc open`, "ms", yield* timedSetup(connectSora(implementation, url, {})))
    }
  })

const round = (echoing: Echoing, plain: Echoing | undefined) =>
  Effect.gen(function*() {
    const figures: Array<Figure> = []
    const add = (name: string, unit: string, value: number) => void figures.push({ name, unit, value })
    yield* setups(add, echoing.url)

    const maxInFlight = Windows[implementation]
    const rpc = implementation === "werift"
      ? yield* connectSora(implementation, url, { maxInFlight })
      : yield* callEchoing(echoing, { maxInFlight })
    yield* Effect.replicateEffect(callEcho(rpc), 200, { concurrency: 8, discard: true })
    const times = yield* callTimes(rpc, roundTrips)
    add(`round trip, ${implementation}, p50`, "ms", percentile(times, 0.5))
    add(`round trip, ${implementation}, p99`, "ms", percentile(times, 0.99))

    const overEcho = (rate: typeof bareRate, concurrency: number, over = echoing) =>
      Effect.scoped(Effect.flatMap(
        openEcho(over),
        ({ channel }) => Effect.promise(() => rate(channel, concurrency, cellMs))
      ))
    if (plain !== undefined) {
      for (const concurrency of BareConcurrencies["plain werift"]) {
        add(bareEcho("plain werift", concurrency), "/s", yield* overEcho(bareRate, concurrency, plain))
      }
    }
    for (const concurrency of BareConcurrencies[implementation]) {
      add(bareEcho(implementation, concurrency), "/s", yield* overEcho(bareRate, concurrency))
    }
    add(`floor, ${implementation}`, "/s", yield* overEcho(floorRate, Math.min(maxInFlight, 1024)))
    for (const callers of Callers) {
      const { cpu, rate } = yield* costing(callRate(rpc, callers, cellMs))
      add(`calls, ${implementation}, ${callers} callers`, "/s", rate)
      if (callers === 1024) add(`CPU of the client, ${implementation}`, "s per 10,000 calls", cpu)
    }
    if (implementation === "werift") {
      // As it was before anything was mended, behind the window that it needs.
      const plainRpc = yield* connectSora("plain werift", url, { maxInFlight: Windows["plain werift"] })
      add(
        "CPU of the client, plain werift",
        "s per 10,000 calls",
        (yield* costing(callRate(plainRpc, 1024, cellMs))).cpu
      )
      for (const millis of Latencies) {
        const later = Effect.orDie(rpc.call(EchoLater, { ...params200, millis }, { timeout: "20 seconds" }))
        add(`calls, werift, server takes ${millis} ms`, "/s", yield* rateOf(later, 1024, 2 * cellMs / millis))
      }
      add(`calls, werift, ${Crowd} callers`, "/s", yield* callRate(rpc, Crowd, 2 * cellMs))
      const slow = Effect.orDie(rpc.call(EchoLater, { ...params200, millis: Slow.millis }, { timeout: "20 seconds" }))
      const under = yield* Effect.forkChild(
        Effect.replicateEffect(slow, Slow.calls, { concurrency: "unbounded", discard: true }),
        { startImmediately: true }
      )
      add("quick call beside slow ones, werift, p99", "ms", percentile(yield* callTimes(rpc, roundTrips), 0.99))
      yield* Fiber.join(under)
      const lossy = yield* connectSora(implementation, lossyUrl, {})
      add(
        "round trip, werift, 1 % loss each way, p99",
        "ms",
        percentile(yield* callTimes(lossy, lossyRoundTrips), 0.99)
      )
    } else {
      // Against the development server werift is the other end, whatever the client has.
      const rpc = yield* connectSora(implementation, url, {})
      add(`calls, ${implementation} to SoraServer, 1024 callers`, "/s", yield* callRate(rpc, 1024, cellMs))
    }
    return figures
  }).pipe(Effect.scoped)

/** Many clients of one server at once, and as many bare peers of one echo. */
const fleet = Effect.gen(function*() {
  const members = Array.from({ length: Fleet.clients })
  const echoing = yield* startEcho("werift")
  // A few at a time, as a fleet that starts.
  const channels = yield* Effect.forEach(members, () => openEcho(echoing), { concurrency: 5 })
  const rpcs = yield* Effect.forEach(members, () => connectSora("werift", url, {}), { concurrency: 5 })
  const bare = Effect.promise(() =>
    Promise.all(channels.map(({ channel }) => bareRate(channel, Fleet.each, 2 * cellMs)))
  )
  const calls = Effect.forEach(rpcs, (rpc) => callRate(rpc, Fleet.each, 2 * cellMs), { concurrency: "unbounded" })
  const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((a, b) => a + b, 0)
  const rounds: Array<ReadonlyArray<Figure>> = []
  // The first is for the compiler.
  for (let i = -1; i < (quick ? 1 : 5); i++) {
    const figures = [
      { name: "fleet, bare echo", unit: "/s", value: sum(yield* bare) },
      { name: "fleet, calls", unit: "/s", value: sum(yield* calls) }
    ]
    if (i >= 0) rounds.push(figures)
  }
  return rounds
}).pipe(Effect.scoped)

if (import.meta.main) {
  process.on("disconnect", () => process.exit(0))
  // One at a time: a message comes when the one before it is answered.
  const run = (make: Effect.Effect<unknown, unknown, Scope.Scope>) =>
    Effect.runPromise(Effect.scoped(make)).then(
      (figures) => process.send!({ figures }),
      (error) => process.send!({ error: String(error) })
    )
  const lasting = (of: Implementation) => Effect.runPromise(Scope.provide(startEcho(of), Scope.makeUnsafe()))
  // Once for all rounds, but for @roamhq/wrtc: that may end its process, and the rest is still worth knowing.
  const echoing = implementation === "@roamhq/wrtc" ? undefined : await lasting(implementation)
  const plain = implementation === "werift" ? await lasting("plain werift") : undefined
  process.on("message", (message) =>
    void run(
      message === "fleet"
        ? fleet
        : Effect.flatMap(
          echoing === undefined ? startEcho(implementation) : Effect.succeed(echoing),
          (echoing) => round(echoing, plain)
        )
    ))
  process.send!("ready")
}
