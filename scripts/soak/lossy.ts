/**
 * The lossy soak, `npm run soak -- --loss 2`: a network that drops so many
 * percent of all packets each way, and doubles, delays and reorders others.
 * Clients of the development server call through it, and bare peers of all
 * implementations do what `test/node/werift/lossy.ts` says. Every call ends once
 * and well, and every message arrives once, in order where that is promised.
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import { PeerConnection, SoraConnection, SoraRpc } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import { SoraServer } from "effect-sora-rpc/server"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Lossy from "../../test/node/werift/lossy.ts"
import type { Weather } from "../../test/node/werift/random.ts"
import { relaySignaling } from "../../test/node/werift/signalingRelay.ts"
import { constructorOf, type Implementation, type Peer } from "../bench/peer.ts"
import * as Dice from "./dice.ts"
import { heapInUse, megabytes, sockets } from "./gauges.ts"
import * as Ledger from "./ledger.ts"
import { Echo, handlers, Hang, type Rpc } from "./stage.ts"

export interface Options {
  readonly minutes: number
  readonly seed: number
  /** Percent. */
  readonly loss: number
}

/** Clients of the server, by what they are made of, and how many callers each of them has. */
const Clients: ReadonlyArray<Implementation> = ["werift", "werift", "werift", "node-datachannel"]
const CallersPerClient = 4

const Pairs: ReadonlyArray<readonly [Implementation, Implementation]> = [
  ["werift", "werift"],
  ["werift", "@roamhq/wrtc"],
  ["@roamhq/wrtc", "werift"],
  ["werift", "node-datachannel"],
  ["node-datachannel", "werift"]
]

/** What is lost again and again comes late, and comes. */
const CallMillis = 20_000
const PairPatience = "2 minutes"

/** The heap may grow by so much, and by what is noise. */
const MaxGrowth = 1.1
const Slack = 8 * 1024 * 1024

const makePeer = (implementation: Implementation): Peer => new (constructorOf(implementation))({ iceServers: [] })

const layerOf = (implementation: Implementation, url: string) => {
  const options = {
    signalingUrls: [url],
    channelId: "lossy",
    role: "sendonly",
    audio: false,
    video: false,
    connectTimeout: "20 seconds"
  } as const
  return implementation === "werift" ? NodeSora.layer(options) : SoraRpc.layer.pipe(
    Layer.provideMerge(SoraConnection.layer(options)),
    Layer.provide(PeerConnection.layerConstructor(constructorOf(implementation), { environment: implementation })),
    Layer.provide(NodeWS.layerWebSocketConstructor)
  )
}

const percentile = (times: ReadonlyArray<number>, at: number) =>
  Math.round(times.toSorted((a, b) => a - b)[Math.floor(times.length * at)] ?? Number.NaN)

/** Runs for as long as it is told; gives what went wrong. */
export const run = Effect.fnUntraced(function*({ loss, minutes, seed }: Options) {
  const ledger = Ledger.make()
  const weather: Weather = { drop: loss / 100, duplicate: loss / 200, delay: 2, jitter: 8 }
  const until = performance.now() + minutes * 60_000
  const isOn = () => performance.now() < until
  /** Of calls that are answered at once, by how much the answer has to carry. */
  const times: Record<"small" | "large", Array<number>> = { small: [], large: [] }
  const exchanged = { rounds: new Map<string, number>(), reliable: 0, lost: 0 }
  process.on("unhandledRejection", (error) => ledger.problem("the process", `unhandled: ${String(error)}`))

  const callOnce = (where: string, rpc: Rpc, dice: Dice.Dice) =>
    Effect.suspend(() => {
      if (dice.chance(0.05)) {
        const withinMillis = 1 + dice.size(500)
        const call = rpc.call(Hang, undefined, { timeout: withinMillis })
        return Effect.asVoid(Effect.exit(ledger.call(where, { withinMillis, as: ["TimeoutError"] }, call)))
      }
      const size = dice.size(250_000)
      // Not compressible, and another for each call; the rest need not be made anew.
      const text = `${dice.text(200)}${"x".repeat(size)}`.slice(0, size)
      const call = ledger.call(
        where,
        { withinMillis: CallMillis, as: ["ok"] },
        rpc.call(Echo, { text }, { timeout: CallMillis })
      )
      // Some are given up.
      if (dice.chance(0.05)) return Effect.asVoid(Effect.timeoutOption(Effect.exit(call), dice.size(50)))
      const start = performance.now()
      return Effect.map(Effect.exit(call), (exit) => {
        if (Exit.isFailure(exit)) return
        times[size < 800 ? "small" : "large"].push(performance.now() - start)
        if (exit.value.text !== text) ledger.problem(where, "an answer is not what was asked")
      })
    })

  /** A connection that lasts some seconds, and its callers; then another one. */
  const client = Effect.fnUntraced(function*(implementation: Implementation, number: number, url: string) {
    const dice = Dice.make(`${seed} client ${number}`)
    for (let count = 0; isOn(); count++) {
      const where = `client ${number} of ${implementation}#${count}`
      ledger.made.attempts++
      const lasting = Math.min(until, performance.now() + 5000 + dice.size(30_000))
      yield* Effect.gen(function*() {
        const rpc = Context.get(yield* Layer.build(layerOf(implementation, url)), SoraRpc.SoraRpc)
        ledger.made.connections++
        const caller = Effect.whileLoop({
          while: () => performance.now() < lasting,
          body: () => Effect.andThen(callOnce(where, rpc, dice), Effect.sleep(dice.size(20))),
          step: () => {}
        })
        yield* Effect.replicateEffect(caller, CallersPerClient, { concurrency: "unbounded", discard: true })
      }).pipe(
        Effect.scoped,
        Effect.catchCause((cause) =>
          Effect.sync(() => ledger.problem(where, `no connection: ${ledger.messageOf(cause)}`))
        )
      )
    }
  })

  /** One pair of peers, and one of the things that it has to do. */
  const playPair = async (number: number) => {
    const pair = Pairs[number % Pairs.length]!
    const own = pair[0] === "werift" ? 0 : 1
    const connected = await Lossy.connect(seed * 1000 + number, makePeer(pair[0]), makePeer(pair[1]))
    const turn = Math.floor(number / Pairs.length)
    const plays: Record<string, () => Promise<void>> = {
      exchange: async () => {
        const { lost, sent } = await Lossy.exchange(connected, seed + number, weather)
        exchanged.reliable += sent
        exchanged.lost += lost
      },
      wrap: () => Lossy.wrap(connected, turn % 2 === 0 ? 0 : 1, weather),
      close: () => Lossy.closeUnderLoad(connected, own, seed + number, weather),
      beat: () => Lossy.beat(connected, weather),
      leave: () => Lossy.leave(connected, turn % 2 === 0 ? 0 : 1, seed + number, weather)
    }
    const name = Object.keys(plays)[turn % 5]!
    try {
      await plays[name]!()
    } catch (error) {
      ledger.problem(`${pair.join(" and ")}#${number}`, `${name}: ${String(error)}`)
    }
    await connected.close()
    exchanged.rounds.set(name, (exchanged.rounds.get(name) ?? 0) + 1)
  }

  const pairs = Effect.fnUntraced(function*() {
    for (let number = 0; isOn(); number++) {
      const fiber = yield* Effect.forkDetach(Effect.promise(() => playPair(number)))
      const exit = yield* Effect.timeoutOption(Fiber.await(fiber), PairPatience)
      const where = `${Pairs[number % Pairs.length]!.join(" and ")}#${number}`
      if (Option.isNone(exit)) ledger.problem(where, "it hangs")
      else if (Exit.isFailure(exit.value)) ledger.problem(where, `it failed: ${ledger.messageOf(exit.value.cause)}`)
    }
  })

  const heaps: Array<number> = []
  const sample = Effect.gen(function*() {
    ledger.checkOverdue()
    heaps.push(heapInUse())
    yield* Console.log(
      `${Math.round((performance.now() - until) / 1000 + minutes * 60)} s: ${ledger.made.calls} calls, ` +
        `${ledger.made.connections} connections, ${Array.from(exchanged.rounds.values()).reduce((a, b) => a + b, 0)} ` +
        `pairs of peers, heap ${megabytes(heaps.at(-1)!)}, ${sockets()} sockets, ${ledger.problems.size} problems`
    )
  })

  yield* Console.log(
    `${minutes} minutes, seed ${seed}, ${loss} % of all packets lost each way, ${loss / 2} % doubled, 2 to 10 ms late`
  )
  const counts = yield* Effect.scoped(Effect.gen(function*() {
    const server = yield* SoraServer.make({ handlers })
    const relay = yield* Effect.acquireRelease(
      Effect.promise(() => relaySignaling(server.url, { seed, weather: () => weather })),
      ({ close }) => Effect.promise(close)
    )
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep("15 seconds"), sample)))
    yield* Effect.all([
      pairs(),
      ...Clients.map((implementation, number) => client(implementation, number, relay.url))
    ], { concurrency: "unbounded", discard: true })
    return relay.counts()
  }))
  yield* sample

  // The last goodbyes, and the sockets that Node closes a turn later.
  yield* Effect.timeoutOption(
    Effect.repeat(Effect.delay(Effect.sync(() => sockets() === 0), "200 millis"), { until: (isDone) => isDone }),
    "10 seconds"
  )
  ledger.checkOverdue()
  if (sockets() > 0) ledger.problem("the end", `${sockets()} sockets are still open`)
  if (ledger.open() > 0) ledger.problem("the end", `${ledger.open()} calls are not over`)
  if (counts.dropped === 0) ledger.problem("the end", "no packet was lost")
  // The first ones are for warming up; a run of a minute has no others worth comparing.
  const [early, late] = [Math.min(...heaps.slice(4, 8)), Math.min(...heaps.slice(-4))]
  if (heaps.length >= 12 && late > early * MaxGrowth + Slack) {
    ledger.problem("the end", `the heap grew from ${megabytes(early)} to ${megabytes(late)}`)
  }

  const ofTimes = (all: ReadonlyArray<number>) =>
    `${percentile(all, 0.5)}, ${percentile(all, 0.99)}, ${percentile(all, 1 - Number.EPSILON)} ms (${all.length})`
  const table = [
    ["calls made", ledger.made.calls],
    ...Array.from(ledger.ends).toSorted(([a], [b]) => a < b ? -1 : 1).map(([kind, n]) =>
      [`  ended: ${kind}`, n] as const
    ),
    ["calls of less than 800 bytes took: p50, p99, at most", ofTimes(times.small)],
    ["larger ones", ofTimes(times.large)],
    ["connections made, attempts", `${ledger.made.connections}, ${ledger.made.attempts}`],
    ["their packets, lost", `${counts.packets}, ${counts.dropped}`],
    ["pairs of peers", Array.from(exchanged.rounds, ([name, n]) => `${name} ${n}`).join(", ")],
    ["messages exchanged, of which were lost that may be", `${exchanged.reliable}, ${exchanged.lost}`],
    ["heap at most, when all is closed", [Math.max(...heaps), heapInUse()].map(megabytes).join(", ")]
  ] as const
  for (const [name, value] of table) yield* Console.log(`${name.padEnd(62)}${value}`)
  return Array.from(
    ledger.problems.values(),
    ({ count, what, where }) => `${count} × in ${where.join(", ")} (seed ${seed}): ${what}`
  )
})
