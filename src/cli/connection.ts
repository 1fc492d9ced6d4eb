/**
 * The connection of a command: made before it, closed in order after it, and
 * written down on the way where that is asked for.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { isLoopbackHost } from "../node/internal/loopback.ts"
import * as NodeSora from "../node/NodeSora.ts"
import type { RpcChannel } from "../RpcChannel.ts"
import * as RpcTransport from "../RpcTransport.ts"
import * as SoraConnection from "../SoraConnection.ts"
import * as SoraRpc from "../SoraRpc.ts"
import { type Failure, failureOf, redacted } from "./failure.ts"
import * as Flags from "./flags.ts"
import * as Format from "./recording/format.ts"
import * as Recorder from "./recording/recorder.ts"
import * as Redact from "./recording/redact.ts"

/** A channel of which every frame is told. */
export const tapped = (
  channel: RpcChannel,
  tell: (direction: "sent" | "received", frame: string) => void
): RpcChannel => ({
  isWritable: channel.isWritable,
  listenUnsafe: (listener) =>
    channel.listenUnsafe({
      ...listener,
      onFrame(frame) {
        tell("received", frame)
        listener.onFrame(frame)
      }
    }),
  sendUnsafe(frame) {
    const refused = channel.sendUnsafe(frame)
    if (refused === undefined) tell("sent", frame)
    return refused
  }
})

/** What a server of this machine is reached over; werift leaves the loopback interface out by itself. */
export const platformOf = ({ proxy, signalingUrls, tls }: NodeSora.Options) =>
  NodeSora.layerPlatform(
    signalingUrls.every((url) => isLoopbackHost(URL.parse(url)?.hostname ?? ""))
      ? { iceAdditionalHostAddresses: ["127.0.0.1"] }
      : {},
    { proxy, tls }
  )

/** The services of a connection, of which every frame goes to the recorder. */
const layerOf = ({ proxy, rpc = {}, tls, ...options }: NodeSora.Options, recorder: Recorder.Recorder) => {
  const connection = SoraConnection.layer(options)
  const transport = Layer.effect(
    RpcTransport.RpcTransport,
    Effect.map(RpcTransport.RpcTransport, (transport) => ({
      ...transport,
      channel: tapped(transport.channel, recorder.rpc)
    }))
  )
  return SoraRpc.layerWith(rpc).pipe(
    Layer.orDie,
    Layer.provide(transport),
    Layer.provideMerge(connection),
    Layer.provide(platformOf({ ...options, proxy, tls }))
  )
}

/** Tells the recorder what comes, until the connection ends. */
const follow = ({ changes, signaling }: SoraConnection.SoraConnection["Service"], recorder: Recorder.Recorder) =>
  Effect.all([
    Stream.runForEach(
      signaling,
      (event) => Effect.sync(() => recorder.signaling({ ...event, message: event.message as Schema.JsonObject }))
    ),
    Stream.runForEach(
      changes,
      (state) => Effect.sync(() => recorder.state(state._tag, "reason" in state ? state.reason.message : undefined))
    )
  ], { concurrency: "unbounded", discard: true })

/** A recorder as the flags ask for it. */
export const recorderOf = Effect.fnUntraced(function*(
  flags: Pick<Flags.Connection, "transcript" | "include">,
  secrets: ReadonlyArray<string>
) {
  const keep = yield* Flags.keptOf(flags.include)
  return Option.isNone(flags.transcript)
    ? Recorder.nowhere(Redact.make({ secrets, keep }))
    : yield* Recorder.make({ path: flags.transcript.value, secrets, keep })
})

/** Does it, and fails when the recording turns out not to be whole. */
export const whole = <A, E, R>(
  { broken }: Recorder.Recorder,
  use: Effect.Effect<A, E, R>
): Effect.Effect<A, E | Failure, R> =>
  Effect.tap(
    Effect.raceFirst(use, Deferred.await(broken)),
    () => Deferred.isDoneUnsafe(broken) ? Deferred.await(broken) : Effect.void
  )

/** Connects, does it, and says goodbye whatever comes of it. */
export const withConnection = <A, E, R>(
  flags: Flags.Connection,
  /** `shown` is for what goes to stdout: all but secrets. */
  use: (shown: Redact.Redactor) => Effect.Effect<A, E, R>,
  rpc: SoraRpc.Options = {}
): Effect.Effect<A, E | Failure, Exclude<R, SoraRpc.SoraRpc | SoraConnection.SoraConnection>> =>
  Effect.scoped(Effect.gen(function*() {
    const { options, secrets } = yield* Flags.optionsOf(flags)
    const recorder = yield* recorderOf(flags, secrets)
    const shown = Redact.make({ secrets, keep: Format.Redactable.literals })
    const scope = yield* Scope.make()
    const made = yield* Effect.gen(function*() {
      const context = yield* Effect.mapError(
        Layer.buildWithScope(layerOf({ ...options, rpc }, recorder), scope),
        (error) => redacted(failureOf(error), shown)
      )
      const following = yield* Effect.forkDetach(
        follow(Context.get(context, SoraConnection.SoraConnection), recorder)
      )
      return { context, following }
    }).pipe(Effect.onError(() => Scope.close(scope, Exit.void)))
    return yield* whole(
      recorder,
      Effect.provideContext(use(shown), made.context).pipe(Effect.mapError((error) => redacted(error, shown)))
    ).pipe(
      Effect.onExit(() =>
        Effect.andThen(
          Scope.close(scope, Exit.void),
          // The streams end with the connection: the goodbye is written down too.
          Effect.timeoutOption(Fiber.await(made.following), "2 seconds")
        )
      )
    ) as Effect.Effect<A, E, Exclude<R, SoraRpc.SoraRpc | SoraConnection.SoraConnection>>
  })) as Effect.Effect<A, E | Failure, Exclude<R, SoraRpc.SoraRpc | SoraConnection.SoraConnection>>
