/**
 * The main job, step by step: two clients in one channel, every kind of call,
 * every kind of failure. On the embedded development server:
 *
 *   npm start
 *
 * or against a real Sora, with what that server grants:
 *
 *   npm start -- --signaling-url wss://… --channel-id … --metadata '{…}'
 *
 * Ends with exit code 0 only if all of it happened.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Signaling, SoraConnection, SoraMethod, SoraRpc } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import { SoraServer } from "effect-sora-rpc/server"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { BadFlag, channelId, metadata, parseMetadata, signalingUrls } from "./connectFlags.ts"

class DemoFailed extends Schema.TaggedError<DemoFailed>()("DemoFailed", { text: Schema.String }) {
  override readonly [Runtime.errorExitCode] = 1
  override get [CliError.userMessage]() {
    return this.text
  }
}

/** A method of our own that the embedded server never answers. */
const Ponder = SoraMethod.make("Ponder", { version: "1.0.0", params: Schema.Struct({ question: Schema.String }) })

/** What a step shows; `undefined` when the server grants too little for it. */
type Shown = string | undefined

const show = (value: unknown) => JSON.stringify(value)

let count = 0
let skipped = 0

/** Runs a step and prints what came of it. Whatever it does not expect ends the demo. */
const step = <E, R>(title: string, run: Effect.Effect<Shown, E, R>): Effect.Effect<void, DemoFailed, R> =>
  run.pipe(
    Effect.timeout("10 seconds"),
    Effect.mapError((error) => new DemoFailed({ text: `✗ ${title}\n  ${String(error)}` })),
    Effect.flatMap((shown) => {
      count++
      if (shown === undefined) skipped++
      return Console.log(
        shown === undefined ? `- ${title}\n    skipped: not granted by this server` : `✓ ${title}\n    ${shown}`
      )
    })
  )

/** Expects a failure, and shows it. */
const failing = <A, E, R>(run: Effect.Effect<A, E, R>, expected: (error: E) => string | false) =>
  Effect.flatMap(Effect.flip(run), (error) => {
    const shown = expected(error)
    return shown === false ? Effect.fail(error) : Effect.succeed(shown)
  }) as Effect.Effect<string, E | A, R>

interface Client {
  readonly rpc: SoraRpc.SoraRpc["Service"]
  readonly connection: SoraConnection.SoraConnection["Service"]
  readonly scope: Scope.Closeable
}

const connect = Effect.fnUntraced(function*(options: NodeSora.Options) {
  // The layer in a scope of its own, because the demo closes one connection before the other.
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(NodeSora.layer(options), scope)
  return {
    rpc: Context.get(context, SoraRpc.SoraRpc),
    connection: Context.get(context, SoraConnection.SoraConnection),
    scope
  } satisfies Client
})

const first = <A>(stream: Stream.Stream<A>, matches: (a: A) => boolean) =>
  stream.pipe(Stream.filter(matches), Stream.runHead, Effect.map(Option.getOrThrow))

const demo = Effect.fnUntraced(function*(options: NodeSora.Options, embedded: boolean) {
  const watcher = yield* connect({ ...options, clientId: "watcher", role: "recvonly" })
  const caller = yield* connect({ ...options, clientId: "caller" })
  const { connection, rpc } = caller
  const ownId = (yield* connection.offer).connectionId
  const granted = yield* rpc.methods
  const can = (method: SoraMethod.Any) => SoraMethod.resolve(method, granted) !== undefined
  const ifGranted = <E, R>(method: SoraMethod.Any, run: Effect.Effect<Shown, E, R>) =>
    can(method) ? run : Effect.as(Effect.void, undefined)

  yield* step(
    "two clients are in one channel",
    Effect.succeed(`${(yield* watcher.connection.offer).connectionId} and ${ownId} in ${options.channelId}`)
  )
  yield* step(
    "the offer, received, lists rpc_methods",
    Effect.map(
      first(connection.signaling, ({ direction, message }) => direction === "received" && message.type === "offer"),
      ({ message }) => show(message.rpc_methods ?? [])
    )
  )
  yield* step(
    "the other client was notified of the newcomer",
    Effect.map(
      first(watcher.connection.notify, (event) => event._tag === "connection.created" && event.connectionId === ownId),
      () => `connection.created ${ownId}`
    )
  )

  // The five methods, typed.
  yield* step(
    "RequestSimulcastRid",
    ifGranted(SoraMethod.RequestSimulcastRid, Effect.map(rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r1" }), show))
  )
  yield* step(
    "RequestSpotlightRid",
    ifGranted(
      SoraMethod.RequestSpotlightRid,
      Effect.map(
        rpc.call(SoraMethod.RequestSpotlightRid, { spotlightFocusRid: "r2", spotlightUnfocusRid: "none" }),
        show
      )
    )
  )
  yield* step(
    "ResetSpotlightRid",
    ifGranted(SoraMethod.ResetSpotlightRid, Effect.map(rpc.call(SoraMethod.ResetSpotlightRid), show))
  )
  yield* step(
    "PutSignalingNotifyMetadata",
    ifGranted(
      SoraMethod.PutSignalingNotifyMetadata,
      Effect.map(rpc.call(SoraMethod.PutSignalingNotifyMetadata, { metadata: { nickname: "Mika" } }), show)
    )
  )
  yield* step(
    "PutSignalingNotifyMetadataItem, pushed to the channel",
    ifGranted(
      SoraMethod.PutSignalingNotifyMetadataItem,
      Effect.map(rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, { key: "mood", value: "busy", push: true }), show)
    )
  )
  yield* step(
    "the other client received the push",
    ifGranted(
      SoraMethod.PutSignalingNotifyMetadataItem,
      Effect.map(first(watcher.connection.push, ({ data }) => isItem(data, "mood")), ({ data }) => show(data))
    )
  )

  // Raw: the exact string, JSON in, JSON out.
  const raw = granted.find((method) => method.endsWith("/PutSignalingNotifyMetadataItem"))
  yield* step(
    "a raw call, by the string of rpc_methods",
    raw === undefined
      ? Effect.as(Effect.void, undefined)
      : Effect.map(
        rpc.call(raw, { key: "hand", value: "up" }, { timeout: "5 seconds" }),
        (json) => `${raw} → ${show(json)}`
      )
  )
  yield* step(
    "a notification: no response, but it works",
    ifGranted(
      SoraMethod.PutSignalingNotifyMetadataItem,
      Effect.gen(function*() {
        yield* rpc.notify(SoraMethod.PutSignalingNotifyMetadataItem, { key: "note", value: 1, push: true })
        const { data } = yield* first(watcher.connection.push, ({ data }) => isItem(data, "note"))
        return `pushed to the other client: ${show(data)}`
      })
    )
  )

  // What can go wrong.
  yield* step(
    "a server error, as the server sent it",
    raw === undefined
      ? Effect.as(Effect.void, undefined)
      : failing(
        rpc.call(raw, { key: "k", value: 1, invalid_param: true }),
        (error) =>
          error._tag === "RpcError" && error.reason._tag === "ServerError" &&
          `${error.code} ${error.message} ${show(error.data)}`
      )
  )
  yield* step(
    "a timeout",
    failing(
      embedded
        ? rpc.call(Ponder, { question: "why?" }, { timeout: "300 millis" })
        // Nothing answers that fast.
        : rpc.call(granted[0] ?? "", {}, { timeout: 0 }),
      (error) =>
        error._tag === "TimeoutError"
          ? error.message
          : granted.length === 0 && "nothing is granted, so nothing was sent"
    )
  )
  yield* step(
    "params that do not fit, refused before sending",
    ifGranted(
      SoraMethod.RequestSimulcastRid,
      failing(
        // As a program without types would do it.
        rpc.call(SoraMethod.RequestSimulcastRid, { rid: "r9" as "r0" }),
        (error) => error._tag === "RpcError" && error.reason._tag === "InvalidParams" && error.message.replace("\n", "")
      )
    )
  )
  yield* step(
    "a method that was not granted",
    failing(
      rpc.call("9999.0.0/NoSuchMethod"),
      (error) =>
        error._tag === "RpcError" && error.reason._tag === "MethodNotAvailable" &&
        `code ${error.code}: ${error.message}`
    )
  )
  yield* step(
    "the connection goes: the pending call fails",
    Effect.gen(function*() {
      const method = embedded ? SoraMethod.wireName(Ponder) : granted[0]
      if (method === undefined) return undefined
      const pending = yield* Effect.forkChild(Effect.flip(rpc.call(method, { question: "still?" })), {
        startImmediately: true
      })
      yield* Scope.close(caller.scope, Exit.void)
      const error = yield* Fiber.join(pending)
      return error._tag === "Disconnected"
        ? `${error._tag} ${error.code} ${error.message} (${error.reason.message})`
        : yield* error
    })
  )
  yield* step(
    "the other client was notified of the leaving",
    Effect.map(
      first(
        watcher.connection.notify,
        (event) => event._tag === "connection.destroyed" && event.connectionId === ownId
      ),
      () => `connection.destroyed ${ownId}`
    )
  )
}, Effect.scoped)

const decodeMetadataPush = Schema.decodeUnknownOption(Signaling.MetadataPush)

const isItem = (data: Schema.Json, key: string): boolean =>
  Option.exists(decodeMetadataPush(data), (push) => push.key === key)

const command = Command.make(
  "demo",
  { signalingUrls, channelId, metadata },
  Effect.fnUntraced(function*(flags) {
    const embedded = flags.signalingUrls.length === 0
    if (!embedded && Option.isNone(flags.channelId)) {
      return yield* new BadFlag({ flag: "channel-id", mend: "give the channel to join" })
    }
    const urls = embedded
      ? [
        yield* Effect.map(
          SoraServer.make({ handlers: [SoraMethod.handle(Ponder, () => Effect.never)] }),
          ({ url }) => url
        )
      ]
      : flags.signalingUrls
    yield* Console.log(embedded ? `On the embedded development server, ${urls[0]}` : "Against the given server")
    yield* demo({
      signalingUrls: urls,
      channelId: Option.getOrElse(flags.channelId, () => "demo"),
      role: "sendrecv",
      simulcast: true,
      spotlight: true,
      ...yield* parseMetadata(flags.metadata)
    }, embedded).pipe(
      Effect.catchTag("SoraConnectionError", ({ message }) => new DemoFailed({ text: `✗ no connection: ${message}` }))
    )
    yield* Console.log(`\nAll of it happened: ${count - skipped} steps${skipped === 0 ? "" : `, ${skipped} skipped`}.`)
  }, Effect.scoped)
).pipe(Command.withDescription("Show what effect-sora-rpc does, step by step"))

command.pipe(Command.run({ version: "0.1.0" }), Effect.provide(NodeServices.layer), NodeRuntime.runMain)
