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
import { type Rpcs, textOf } from "./protocol.ts"

/**
 * The runner that held the channel was lost while a call was under way. Whether
 * the call was made is not known.
 *
 * @internal
 */
export class RunnerLost extends Schema.TaggedError<RunnerLost>()("RunnerLost", {
  runner: Schema.String
}) {
  override get message() {
    return `the runner ${this.runner}, which held the channel, was lost`
  }
}

const lost = (runner: string): Disconnected =>
  new Disconnected({ reason: new ClientFault({ cause: new RunnerLost({ runner }) }) })

const released = new Disconnected({ reason: new Released() })

/** How long until a message whose runner has just let go of the channel looks for it again. */
const RelocateAfter = "50 millis"

/** How long a runner is looked for that nobody may be waiting for any more. */
const LocateFor = "1 minute"

/** The codec of a message that does not leave the process. */
const codecFor = Schema.toCodecJson as Message.IncomingRequest<any>["codecFor"]

/** @internal */
export interface Caller {
  /** Whether this runner holds the channel. */
  readonly isHere: (channelId: string) => boolean
  readonly send: <R extends Exclude<Rpcs, typeof Rpcs.Locate>>(
    channelId: string,
    rpc: R,
    /** Made when it is sent, because what is left of a timeout changes. */
    payload: () => Rpc.Payload<R>
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

  // Calls of the same time ask once. Nothing is remembered: what is asked after a runner has stopped never names it.
  const locating = new Map<string, Fiber.Fiber<RunnerAddress.RunnerAddress, MailboxFull | NotFound>>()

  const ask = (channelId: string): ReturnType<typeof located> =>
    Effect.catchCauseIf(
      located(channelId),
      // A runner that stops meanwhile answers with an interrupt, a socket that breaks with a defect.
      (cause) => !Cause.hasFails(cause),
      () => Effect.delay(ask(channelId), RelocateAfter)
    )

  const located = (channelId: string) =>
    Effect.map(client(channelId).Locate(), ({ host, port }) => RunnerAddress.make(host, port))

  const locate = (channelId: string) =>
    Effect.suspend(() => {
      const known = locating.get(channelId)
      if (known !== undefined) return Fiber.join(known)
      return ask(channelId).pipe(
        Effect.timeout(LocateFor),
        Effect.catchTags({
          AlreadyProcessingMessage: () => Effect.fail(new NotFound()),
          EntityNotAssignedToRunner: () => Effect.fail(new NotFound()),
          PersistenceError: () => Effect.fail(new NotFound()),
          TimeoutError: () => Effect.fail(new NotFound())
        }),
        Effect.forkIn(scope),
        Effect.flatMap((fiber) => {
          locating.set(channelId, fiber)
          fiber.addObserver(() => locating.delete(channelId))
          return Fiber.join(fiber)
        })
      )
    })

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
    payload: Rpc.Payload<R>
  ): Effect.fn.Return<
    Exit.Exit<Rpc.Success<R>, SoraRpcError>,
    SoraRpcError | EntityNotAssignedToRunner | MailboxFull | AlreadyProcessingMessage
  > {
    let exit: Exit.Exit<any, any> | undefined
    const message = new Message.OutgoingRequest<any>({
      envelope: Envelope.makeRequest<any>({
        requestId: yield* sharding.getSnowflake,
        address,
        tag: rpc._tag,
        payload,
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
    const isHere = sharding.hasShardId(address.shardId)
    const runner = isHere ? undefined : yield* locate(address.entityId).pipe(
      Effect.catchTag("NotFound", () => Effect.fail(unavailable(rpc, "no runner of the cluster has the channel")))
    )
    const name = runner === undefined ? "of this process" : textOf(runner)
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
    send: (channelId, rpc, payload) => {
      const address = addressOf(channelId)
      const loop: Effect.Effect<any, SoraRpcError> = Effect.suspend(() => attempt(address, rpc, payload())).pipe(
        Effect.flatten,
        Effect.catchTags({
          // It was not handed to the channel: the one thing that may be tried again.
          EntityNotAssignedToRunner: () => Effect.delay(loop, RelocateAfter),
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

/** What an answer of the entity comes to. An interrupt is a runner that stops, or lets the channel go. */
const endOf = (exit: Exit.Exit<any, any>, runner: string): Exit.Exit<any, SoraRpcError> => {
  if (Exit.isSuccess(exit) || Cause.hasFails(exit.cause)) return exit
  return Exit.fail(Cause.hasInterrupts(exit.cause) ? released : lost(runner))
}
