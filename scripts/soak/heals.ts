/**
 * The soak of connections that heal: bots whose tokens live for two seconds, and
 * whose WebSockets and peers are killed at any time, in the middle of an attempt
 * too. They must stay, and find their metadata and rid as they want them on the
 * server as often as they come back; soon after also the rid of a single sender,
 * one that nobody kills.
 */
import { type DisconnectReason, SoraConnection, SoraMembers, SoraMethod, SoraRpc } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import { SoraAuth, type SoraFaults, SoraServer } from "effect-sora-rpc/server"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { SignJWT } from "jose"
import { isDeepStrictEqual } from "node:util"
import * as Dice from "./dice.ts"
import { sockets } from "./gauges.ts"

const Ping = SoraMethod.make("Ping")

class NoToken extends Schema.TaggedError<NoToken>()("NoToken", {}) {}

export interface Options {
  readonly minutes: number
  readonly seed: number
}

const Bots = 4
/** How long a bot that is up has to ask for the rid of a single sender. */
const SenderRidMillis = 3000
const TokenSeconds = 2
/** A peer that is killed goes unnoticed for 18 seconds, so it is rare. */
const faults: ReadonlyArray<SoraFaults.ConnectionFault> = [
  ...Array.from({ length: 8 }, () => "killSocket" as const),
  ...Array.from({ length: 8 }, () => "closeRpc" as const),
  ...Array.from({ length: 8 }, () => "closeAbruptly" as const),
  "killPeer"
]
const rids = ["none", "r0", "r1", "r2"] as const
const senderRidOf = (connectionId: string) => rids[1 + connectionId.charCodeAt(0) % 3]!

/** What a bot wants to find on the server: other than before with each connection, so that nothing old can pass for it. */
const wantedOf = (name: string, number: number) => ({
  metadata: { name, connection: number },
  rid: rids[number % rids.length]!
})

/** Runs a soak; gives its problems, one line each. */
export const run = Effect.fnUntraced(function*({ minutes, seed }: Options) {
  const dice = Dice.make(`heals ${seed}`)
  const secret = dice.bytes(32).toString("hex")
  const problems: Array<string> = []
  const tally = new Map<string, number>()
  const count = (what: string) => void tally.set(what, (tally.get(what) ?? 0) + 1)
  const outages: Array<number> = []
  process.on("unhandledRejection", () => problems.push("a rejection went unhandled"))
  process.on("uncaughtExceptionMonitor", () => problems.push("an exception went unhandled"))
  yield* Console.log(`${minutes} minutes, seed ${seed}: ${Bots} bots, tokens of ${TokenSeconds} seconds`)

  /** A new token; now and then one that is too old, or none. */
  const metadata = Effect.gen(function*() {
    const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    if (dice.chance(0.05)) {
      count("metadata: failed")
      return yield* new NoToken()
    }
    const isOld = dice.chance(0.1)
    count(isOld ? "metadata: an expired token" : "metadata: a token")
    const token = yield* Effect.promise(() =>
      new SignJWT({}).setProtectedHeader({ alg: "HS256" }).setExpirationTime(now + (isOld ? -1 : TokenSeconds))
        .sign(new TextEncoder().encode(secret))
    )
    return Redacted.make({ access_token: token })
  })

  const bot = Effect.fnUntraced(function*(
    name: string,
    server: SoraServer.SoraServer["Service"],
    sender: string
  ) {
    const restore = ({ number, offer }: SoraConnection.NewConnection) => {
      const { metadata, rid } = wantedOf(name, number)
      const killInTheMiddle = dice.chance(0.2)
      const fault = dice.pick(faults)
      if (killInTheMiddle) count("killed in the middle of onConnected")
      return Effect.all([
        SoraRpc.putSignalingNotifyMetadata({ metadata }),
        killInTheMiddle ? Effect.ignore(server.inject(offer.connectionId, fault)) : Effect.void,
        SoraRpc.requestSimulcastRid({ rid })
      ]).pipe(
        Effect.onExit((exit) =>
          Effect.sync(() => count(Exit.isSuccess(exit) ? "onConnected: done" : "onConnected: failed or interrupted"))
        )
      )
    }
    const layer = NodeSora.layer({
      signalingUrls: [server.url],
      channelId: "soak",
      role: "sendrecv",
      simulcast: true,
      ignoreDisconnectWebsocket: dice.chance(0.5),
      metadata,
      onConnected: restore,
      connectTimeout: "5 seconds",
      disconnectTimeout: "1 second",
      retryConnect: Schedule.spaced("100 millis"),
      reconnect: Schedule.spaced("250 millis")
    })
    const live = Effect.gen(function*() {
      const connection = yield* SoraConnection.SoraConnection
      const rpc = yield* SoraRpc.SoraRpc
      const call = rpc.call(Ping, undefined, { timeout: "10 seconds" }).pipe(
        Effect.exit,
        Effect.map((exit) => {
          const kind = Exit.isSuccess(exit)
            ? "answered"
            : Cause.hasDies(exit.cause)
            ? "DEFECT"
            : exit.cause.reasons.find(Cause.isFailReason)?.error._tag ?? "interrupted"
          count(`calls: ${kind}`)
          if (kind === "DEFECT") problems.push(`${name}: a call died`)
        })
      )
      yield* Effect.forkScoped(Effect.repeat(call, Schedule.spaced("100 millis")))
      yield* SoraMembers.joins(Schema.Unknown).pipe(
        Stream.runForEach(({ connectionId }) =>
          Effect.ignore(
            SoraRpc.requestSimulcastRid({ rid: senderRidOf(connectionId), senderConnectionId: connectionId })
          )
        ),
        Effect.forkScoped
      )
      /** Asked for by whoever hears of it, which is after the connection is up. */
      const checkSender = Effect.fnUntraced(function*(own: string) {
        const until = (yield* Clock.currentTimeMillis) + SenderRidMillis
        while (true) {
          const found = (yield* server.connections).find(({ connectionId }) => connectionId === own)
          if (found === undefined) return count("checks of a single sender: too late")
          const rid = found.senderRids.get(sender)
          if (rid === senderRidOf(sender)) return count("checks of a single sender: as wanted")
          if ((yield* Clock.currentTimeMillis) > until) {
            // It may be cut off already, with nobody on the server knowing.
            const state = yield* connection.state
            if (state._tag !== "Connected" || state.connectionId !== own) {
              return count("checks of a single sender: too late")
            }
            return void problems.push(`${name}: rid ${rid} of a single sender`)
          }
          yield* Effect.sleep("50 millis")
        }
      })
      let brokenAt: number | undefined
      let last = 0
      yield* Stream.runForEach(connection.changes, (state) =>
        Effect.gen(function*() {
          const now = yield* Clock.currentTimeMillis
          switch (state._tag) {
            case "Reconnecting":
              brokenAt ??= now
              return
            case "Disconnected":
              return
            case "Connected": {
              if (brokenAt !== undefined) outages.push(now - brokenAt)
              brokenAt = undefined
              if (state.number !== ++last) problems.push(`${name}: connection ${state.number} came after ${last - 1}`)
              const found = (yield* server.connections).find(({ connectionId }) => connectionId === state.connectionId)
              // Killed again already.
              if (found === undefined) return count("checks: too late")
              yield* Effect.forkScoped(checkSender(state.connectionId))
              const { metadata, rid } = found
              const wanted = wantedOf(name, state.number)
              count("checks: as wanted")
              if (!isDeepStrictEqual({ metadata, rid }, wanted)) {
                problems.push(`${name}: ${JSON.stringify({ metadata, rid })} in place of ${JSON.stringify(wanted)}`)
              }
            }
          }
        }))
      const state = yield* connection.state
      problems.push(`${name} has gone: ${(state as { reason?: DisconnectReason.DisconnectReason }).reason?.message}`)
    })
    yield* Effect.scoped(Effect.provide(live, layer))
  })

  const work = Effect.scoped(Effect.gen(function*() {
    const server = yield* SoraServer.make({
      authenticate: SoraAuth.jwtClaims({ secret: Redacted.make(secret) }),
      handlers: [SoraMethod.handle(Ping, () => Effect.succeed("pong"))]
    })
    const sender = yield* Effect.map(
      Layer.build(NodeSora.layer({
        signalingUrls: [server.url],
        channelId: "soak",
        role: "sendrecv",
        simulcast: true,
        metadata,
        retryConnect: Schedule.spaced("100 millis")
      })),
      Context.get(SoraConnection.SoraConnection)
    )
    const { connectionId } = yield* sender.offer
    const bots = Array.from({ length: Bots }, (_, i) => bot(`bot ${i}`, server, connectionId))
    yield* Effect.forEach(bots, (bot) =>
      Effect.forkScoped(Effect.catchCause(bot, (cause) =>
        Effect.sync(() => {
          if (!Cause.hasInterruptsOnly(cause)) problems.push(`a bot ended: ${Cause.squash(cause)}`)
        }))))
    const kill = Effect.gen(function*() {
      yield* Effect.sleep(Duration.millis(50 + dice.below(800)))
      const connections = (yield* server.connections).filter((other) => other.connectionId !== connectionId)
      if (connections.length === 0) return
      const fault = dice.pick(faults)
      yield* server.inject(dice.pick(connections).connectionId, fault).pipe(Effect.ignore)
      count(`killed: ${fault}`)
    })
    yield* Effect.forkScoped(Effect.forever(kill))
    yield* Effect.sleep(Duration.minutes(minutes))
  }))
  yield* work

  // The sockets that Node closes a turn later.
  yield* Effect.sleep("3 seconds")
  const sorted = outages.toSorted((a, b) => a - b)
  const table = [
    ...Array.from(tally).toSorted(([a], [b]) => a < b ? -1 : 1),
    ["breaks that were healed", sorted.length],
    ["from a break to Connected, ms: median, at most", `${sorted[sorted.length >> 1]}, ${sorted.at(-1)}`],
    ["sockets when all is closed", sockets()]
  ] as const
  for (const [name, value] of table) yield* Console.log(`${name.padEnd(62)}${value}`)
  if (sorted.length < minutes * 10) problems.push(`only ${sorted.length} breaks were healed`)
  if (sockets() > 0) problems.push(`${sockets()} sockets are still open`)
  return problems
})
