/**
 * Where the scenarios of the hostile soak play: one server that all of them
 * share, the methods that it serves, and ways to connect to it.
 */
import { SoraConnection, SoraMethod, SoraRpc, SoraRpcError } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import type { SoraServer } from "effect-sora-rpc/server"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type { Dice } from "./dice.ts"
import { type Ledger, Provoked } from "./ledger.ts"

export const Echo = SoraMethod.make("Echo", {
  version: "1",
  params: Schema.Struct({ text: Schema.String }),
  result: Schema.Struct({ text: Schema.String })
})
export const Hang = SoraMethod.make("Hang", { version: "1" })
export const Die = SoraMethod.make("Die", { version: "1" })
export const Refuse = SoraMethod.make("Refuse", { version: "1" })
export const Wrong = SoraMethod.make("Wrong", { version: "1", result: Schema.Struct({ text: Schema.String }) })
/** Answers with as many characters as it is asked for. */
export const Long = SoraMethod.make("Long", {
  version: "1",
  params: Schema.Struct({ length: Schema.Natural }),
  result: Schema.String
})

export const handlers = [
  SoraMethod.handle(Echo, ({ text }) => Effect.succeed({ text })),
  SoraMethod.handle(Hang, () => Effect.never),
  SoraMethod.handle(Die, () => Effect.die(new Provoked("the handler"))),
  SoraMethod.handle(Refuse, () => new SoraRpcError.ServerError({ code: -1, message: "no", data: null })),
  SoraMethod.handle(Wrong, () => Effect.succeed({ text: 1 as never })),
  SoraMethod.handle(Long, ({ length }) => Effect.succeed("x".repeat(length)))
]

/** What a scenario is given. */
export interface Stage {
  readonly server: SoraServer.SoraServer["Service"]
  readonly port: number
  readonly ledger: Ledger
  readonly dice: Dice
  /** Scenario and iteration, for the report. */
  readonly where: string
  readonly problem: (what: string) => void
  /** The channel of this scenario: sometimes that of the good client. */
  readonly channelId: string
  /** SDP of a real offer, with candidates that nobody listens at. */
  readonly offerSdp: string
}

export interface Scenario {
  readonly weight: number
  readonly run: (stage: Stage) => Effect.Effect<void, unknown, Scope.Scope>
}

export type Rpc = SoraRpc.SoraRpc["Service"]

export interface Client {
  readonly rpc: Rpc
  readonly connection: SoraConnection.SoraConnection["Service"]
  readonly close: Effect.Effect<void>
}

/** A connection in a scope of its own, which may be closed before the scenario's. */
export const connect = Effect.fnUntraced(function*(ledger: Ledger, options: NodeSora.Options) {
  ledger.made.attempts++
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(NodeSora.layer(options), scope).pipe(
    Effect.onError(() => Scope.close(scope, Exit.void))
  )
  ledger.made.connections++
  return {
    rpc: Context.get(context, SoraRpc.SoraRpc),
    connection: Context.get(context, SoraConnection.SoraConnection),
    close: Scope.close(scope, Exit.void)
  }
})

/** To the shared server, which has no reason to refuse: a failure is a problem, and the end of the scenario. */
export const connectWell = (stage: Stage, options?: Partial<NodeSora.Options>) =>
  connect(stage.ledger, {
    signalingUrls: [stage.server.url],
    channelId: stage.channelId,
    role: "sendrecv",
    ...options
  }).pipe(
    Effect.tapCause((cause) =>
      Effect.sync(() => stage.problem(`no connection to a good server: ${stage.ledger.messageOf(cause)}`))
    )
  )

/**
 * An attempt that may fail, but only with an error of its own and in time; what
 * is done with the connection, if there is one, must be over in time as well.
 */
export const attempt = (
  stage: Stage,
  options: Pick<NodeSora.Options, "signalingUrls"> & Partial<NodeSora.Options>,
  use: (client: Client) => Effect.Effect<void> = () => Effect.void
) =>
  Effect.gen(function*() {
    const startedAt = performance.now()
    const exit = yield* connect(stage.ledger, {
      channelId: "hostile",
      role: "sendrecv",
      connectTimeout: "2 seconds",
      openTimeout: "1 second",
      disconnectTimeout: "500 millis",
      ...options
    }).pipe(Effect.exit)
    const took = performance.now() - startedAt
    // The timeout, the goodbye, and what a busy machine adds to them.
    if (took > 2000 + 2500 + 3000) stage.problem(`connecting took ${Math.round(took)} ms, with a timeout of 2000`)
    if (Exit.isSuccess(exit)) {
      yield* use(exit.value)
      const closing = performance.now()
      yield* exit.value.close
      const closed = performance.now() - closing
      if (closed > 500 + 2500 + 3000) stage.problem(`closing took ${Math.round(closed)} ms, with a timeout of 500`)
    } else if (Cause.hasDies(exit.cause)) {
      stage.problem(`connecting died: ${stage.ledger.messageOf(exit.cause)}`)
    }
  })

/** An echo that has to come. */
export const witness = (stage: Pick<Stage, "ledger" | "where">, rpc: Rpc, as: ReadonlyArray<string> = ["ok"]) =>
  Effect.exit(
    stage.ledger.call(
      stage.where,
      { withinMillis: 5000, as },
      rpc.call(Echo, { text: "witness" }, { timeout: "5 seconds" })
    )
  )
