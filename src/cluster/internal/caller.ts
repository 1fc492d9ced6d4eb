/**
 * The side that calls a channel, wherever in the cluster that is.
 *
 * `Sharding`'s own client sends a message again when it loses a runner, because
 * it cannot know that a message has effects. A call has, and must be sent at
 * most once. So the client is only asked where the channel is (`Locate`, which
 * may be asked again), and the call itself goes to that runner in one attempt.
 */
import * as Cause from "effect/Cause"
import type { AlreadyProcessingMessage, EntityNotAssignedToRunner, MailboxFull } from "effect/cluster/ClusterError"
import type * as Entity from "effect/cluster/Entity"
import * as EntityAddress from "effect/cluster/EntityAddress"
import * as EntityId from "effect/cluster/EntityId"
import * as Envelope from "effect/cluster/Envelope"
import * as Message from "effect/cluster/Message"
import * as RunnerAddress from "effect/cluster/RunnerAddress"
import { Runners } from "effect/cluster/Runners"
import { Sharding } from "effect/cluster/Sharding"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Headers from "effect/http/Headers"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { ClientFault, Released } from "../../DisconnectReason.ts"
import { Disconnected, RpcError, type SoraRpcError, Unavailable } from "../../SoraRpcError.ts"
import { Rpcs, textOf } from "./protocol.ts"

/**
 * The runner that held the channel was lost while a call was under way. Whether
 * the call was made is not known.
 *
 * @internal
 */
export class RunnerLost extends Schema.TaggedError<RunnerLost>()("RunnerLost", {
  runner: Schema.String,
  /** What broke the link to it, where that is known. */
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message() {
    return `the runner ${this.runner}, which held the channel, was lost`
  }
}

/**
 * The runner that holds the channel was handed a message, and did not say in time
 * what came of it.
 *
 * @internal
 */
export class RunnerSilent extends Schema.TaggedError<RunnerSilent>()("RunnerSilent", {
  runner: Schema.String
}) {
  override get message() {
    return `the runner ${this.runner}, which holds the channel, did not answer in time`
  }
}

const lost = (runner: string, broken: { readonly cause?: unknown } = {}): Disconnected =>
  new Disconnected({ reason: new ClientFault({ cause: new RunnerLost({ runner, ...broken }) }) })

/** @internal */
export const silent = (runner: string): Disconnected =>
  new Disconnected({ reason: new ClientFault({ cause: new RunnerSilent({ runner }) }) })

const released = new Disconnected({ reason: new Released() })

/** How long until a message whose runner has just let go of the channel looks for it again. */
const RelocateAfter = "50 millis"

/** The codec of a message that does not leave the process. */
const codecFor = Schema.toCodecJson as Message.IncomingRequest<any>["codecFor"]

/** @internal */
export interface Caller {
  /** Whether this runner holds the channel. */
  readonly isHere: (channelId: string) => boolean
  /** Keeps a channel that this runner holds from being idle, and does nothing else to it. */
  readonly touch: (channelId: string) => Effect.Effect<void>
  readonly send: <R extends Exclude<Rpcs, typeof Rpcs.Locate>>(
    channelId: string,
    rpc: R,
    /** Made when it is sent, because what is left of a timeout changes. */
    payload: () => Rpc.Payload<R>,
    /** Told of the runner that is handed the message, and of nothing when that one says that it did not take it. */
    onHanded?: (runner: string | undefined) => void
  ) => Effect.Effect<Rpc.Success<R>, SoraRpcError>
}

/** @internal */
export const make = Effect.fnUntraced(function*(entity: Entity.Entity<string, Rpcs>) {
  const sharding = yield* Sharding
  const runners = yield* Runners
  const scope = yield* Effect.scope
  const client = yield* entity.client

  const addressOf = (channelId: string) => {
    const entityId = EntityId.make(channelId)
    const shardId = sharding.getShardId(entityId, entity.getShardGroup(entityId))
    return EntityAddress.make({ shardId, entityId, entityType: entity.type })
  }

  // Calls of the same time ask once, for as long as one of them waits. Nothing is remembered: what is asked after a
  // runner has stopped never names it.
  const locating = new Map<string, {
    readonly fiber: Fiber.Fiber<RunnerAddress.RunnerAddress, MailboxFull | NotFound>
    waiting: number
  }>()

  const located = (channelId: string) =>
    Effect.map(client(channelId).Locate(), ({ host, port }) => RunnerAddress.make(host, port))

  const ask = (channelId: string, isTold = false): ReturnType<typeof located> =>
    Effect.catchCauseIf(
      located(channelId),
      // A runner that stops meanwhile answers with an interrupt, a socket that breaks with a defect.
      (cause) => !Cause.hasFails(cause),
      (cause) => {
        // It may also be one that does not go away, such as a name that no runner has.
        const isNews = !isTold && !Cause.hasInterruptsOnly(cause)
        const tell = isNews ? Effect.logWarning(`looking again for the runner of ${channelId}`, cause) : Effect.void
        return Effect.andThen(tell, Effect.delay(ask(channelId, isTold || isNews), RelocateAfter))
      }
    )

  const beginLocating = (channelId: string) =>
    ask(channelId).pipe(
      Effect.catchTags({
        AlreadyProcessingMessage: () => Effect.fail(new NotFound()),
        EntityNotAssignedToRunner: () => Effect.fail(new NotFound()),
        PersistenceError: () => Effect.fail(new NotFound())
      }),
      Effect.forkIn(scope),
      Effect.map((fiber) => {
        const begun = { fiber, waiting: 0 }
        locating.set(channelId, begun)
        fiber.addObserver(() => {
          if (locating.get(channelId) === begun) locating.delete(channelId)
        })
        return begun
      })
    )

  const locate = (channelId: string) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function*() {
        const begun = locating.get(channelId) ?? (yield* beginLocating(channelId))
        begun.waiting++
        return yield* restore(Fiber.join(begun.fiber)).pipe(
          Effect.ensuring(Effect.suspend(() => {
            if (--begun.waiting > 0) return Effect.void
            // Whoever asks next asks anew.
            if (locating.get(channelId) === begun) locating.delete(channelId)
            return Effect.sync(() => begun.fiber.interruptUnsafe())
          }))
        )
      })
    )

  /** To an entity of this process, as the runner's server hands on what comes from another. */
  const sendHere = (message: Message.OutgoingRequest<any>) =>
    Effect.scopedWith((callerScope) =>
      Effect.flatMap(Effect.orDie(Message.serializeRequest(message, codecFor)), (envelope) => {
        const answered = Deferred.makeUnsafe<void>()
        return Effect.andThen(
          sharding.send(
            new Message.IncomingRequest({
              envelope,
              codecFor,
              callerScope,
              lastSentReply: Option.none(),
              respond: ({ reply }) => Effect.andThen(message.respond(reply), Deferred.succeed(answered, undefined))
            })
          ),
          Deferred.await(answered)
        )
      })
    )

  const attempt = Effect.fnUntraced(function*<R extends Rpc.Any>(
    address: EntityAddress.EntityAddress,
    rpc: R,
    payload: () => Rpc.Payload<R>,
    onHanded?: (runner: string) => void
  ): Effect.fn.Return<
    Exit.Exit<Rpc.Success<R>, SoraRpcError>,
    SoraRpcError | EntityNotAssignedToRunner | MailboxFull | AlreadyProcessingMessage
  > {
    const isHere = sharding.hasShardId(address.shardId)
    const runner = isHere ? undefined : yield* locate(address.entityId).pipe(
      Effect.catchTag("NotFound", () => Effect.fail(unavailable(rpc, "no runner of the cluster has the channel"))),
      Effect.catchCauseIf(Cause.hasInterruptsOnly, () => Effect.fail(released))
    )
    const name = runner === undefined ? "of this process" : textOf(runner)
    let exit: Exit.Exit<any, any> | undefined
    const message = new Message.OutgoingRequest<any>({
      envelope: Envelope.makeRequest<any>({
        requestId: yield* sharding.getSnowflake,
        address,
        tag: rpc._tag,
        payload: payload(),
        headers: Headers.empty
      }),
      context: Context.empty() as Context.Context<any>,
      annotations: rpc.annotations,
      lastReceivedReply: Option.none(),
      rpc,
      respond: (reply) =>
        Effect.sync(() => {
          if (reply._tag === "WithExit") exit = reply.exit
        })
    })
    onHanded?.(name)
    yield* (runner === undefined ? sendHere(message) : runners.send({ address: runner, message })).pipe(
      Effect.catchTags({
        RunnerUnavailable: () => Effect.fail(lost(name)),
        // Of what is persisted, which this is not.
        PersistenceError: Effect.die
      }),
      // Not ours, which would pass by here: the entity or its runner is stopping.
      Effect.catchCauseIf(Cause.hasInterruptsOnly, () => Effect.fail(released))
    )
    return exit === undefined ? Exit.fail(lost(name)) : endOf(exit, name)
  })

  return {
    isHere: (channelId) => sharding.hasShardId(addressOf(channelId).shardId),
    touch: (channelId) => Effect.ignoreCause(attempt(addressOf(channelId), Rpcs.Locate, () => undefined)),
    send: (channelId, rpc, payload, onHanded) => {
      const address = addressOf(channelId)
      const loop: Effect.Effect<any, SoraRpcError> = attempt(address, rpc, payload, onHanded).pipe(
        Effect.flatten,
        Effect.catchTags({
          // It was not handed to the channel: the one thing that may be tried again.
          EntityNotAssignedToRunner: () => {
            onHanded?.(undefined)
            return Effect.delay(loop, RelocateAfter)
          },
          MailboxFull: () =>
            Effect.fail(unavailable(rpc, "too many calls wait, or the runner holds too many channels")),
          AlreadyProcessingMessage: (error) => Effect.die(error)
        })
      )
      return loop
    }
  } satisfies Caller as Caller
})

class NotFound extends Schema.TaggedError<NotFound>()("NotFound", {}) {}

const unavailable = (rpc: Rpc.Any, detail: string): RpcError =>
  new RpcError({ method: rpc._tag, reason: new Unavailable({ detail }) })

/**
 * What an answer of the entity comes to. An interrupt is a runner that stops, or lets the channel go. What breaks in the
 * entity is an error of its own; a defect is the link's.
 */
const endOf = (exit: Exit.Exit<any, any>, runner: string): Exit.Exit<any, SoraRpcError> => {
  if (Exit.isSuccess(exit) || Cause.hasFails(exit.cause)) return exit
  return Exit.fail(Cause.hasInterrupts(exit.cause) ? released : lost(runner, { cause: Cause.squash(exit.cause) }))
}
