/**
 * Our client in the suite's shape; what it runs over is the caller's. Used in a page and in Node.
 */
import type { SoraConnectionError, SoraRpcError } from "effect-sora-rpc"
import { SoraConnection, SoraRpc } from "effect-sora-rpc"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Client, ConnectOptions, Json, Outcome, Report } from "./client.ts"

type Connection = SoraConnection.SoraConnection["Service"]
type Services = SoraRpc.SoraRpc | SoraConnection.SoraConnection
type Failure = SoraConnectionError.SoraConnectionError | SoraRpcError.InvalidOptions

export type Connected = Layer.Layer<Services, Failure>
export type Connect = (
  options: SoraConnection.Options
) => Promise<Connected>

export const toOptions = (options: ConnectOptions): SoraConnection.Options => ({
  signalingUrls: [options.url],
  channelId: options.channelId,
  role: options.role,
  ...(options.audio === undefined ? {} : { audio: options.audio }),
  ...(options.video === undefined ? {} : { video: options.video }),
  ...(options.simulcast === undefined ? {} : { simulcast: options.simulcast }),
  ...(options.spotlight === undefined ? {} : { spotlight: options.spotlight }),
  ...(options.ignoreDisconnectWebsocket === undefined
    ? {}
    : { ignoreDisconnectWebsocket: options.ignoreDisconnectWebsocket }),
  ...(options.metadata === undefined ? {} : { signalingNotifyMetadata: options.metadata }),
  ...(options.messaging === undefined ? {} : { dataChannels: [{ ...options.messaging, direction: "sendrecv" }] }),
  reconnect: options.reconnect
})

/** What was said to the program, so that the suite can compare it with what the other clients say. */
const describeEnd = (state: SoraConnection.State): string =>
  state._tag === "Connected" ? state._tag : `${state.reason._tag}: ${state.reason.message}`

const toOutcome = (exit: Exit.Exit<Json, unknown>): Outcome => {
  if (Exit.isSuccess(exit)) return { _tag: "Result", result: exit.value }
  const error = Cause.squash(exit.cause) as Error & { _tag?: string; code?: number; data?: Json; reason?: Error }
  return {
    _tag: "Error",
    name: error._tag === "RpcError" ? `RpcError/${(error.reason as { _tag?: string })._tag}` : error._tag ?? error.name,
    message: error.message,
    ...(error.code === undefined ? {} : { code: error.code }),
    ...(error.data === undefined ? {} : { data: error.data })
  }
}

/**
 * `codec` is for messages of the application: their payloads are handed out as they are on the wire. `playing` is the
 * page's business.
 */
export const make = (
  connect: Connect,
  report: Report,
  codec: {
    readonly deflate: (bytes: Uint8Array) => Promise<Uint8Array>
    readonly inflate: (bytes: Uint8Array) => Promise<Uint8Array>
  },
  onTrack: (event: Json) => void = () => {}
): Omit<Client, "playing" | "connect"> & {
  readonly connect: (options: ConnectOptions, more?: Partial<SoraConnection.Options>) => ReturnType<Client["connect"]>
} => {
  let runtime: ManagedRuntime.ManagedRuntime<Services, Failure> | undefined
  let compress = false

  const watch = <A>(stream: Stream.Stream<A>, use: (event: A) => void) =>
    // The streams end with the connection.
    void Effect.runPromise(Stream.runForEach(stream, (event) => Effect.sync(() => use(event)))).catch((error) => {
      report({ type: "ended", how: `a stream failed: ${error}` })
    })

  const listenedTo = new WeakSet<object>()
  const listen = (connection: Connection) => {
    for (const [label, channel] of Effect.runSync(connection.dataChannels)) {
      if (listenedTo.has(channel)) continue
      listenedTo.add(channel)
      channel.addEventListener("message", async ({ data }: { data: string | ArrayBuffer | Uint8Array }) => {
        const bytes = typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data)
        const plain = compress ? await codec.inflate(bytes) : bytes
        report({ type: "message", label, text: new TextDecoder().decode(plain) })
      })
    }
  }

  const follow = (connection: Connection) => {
    watch(connection.notify, (event) => {
      const { authnMetadata, connectionId, currentRid, data, metadata } = event as Json
      report({ type: "notify", event: event._tag, connectionId, currentRid, authnMetadata, metadata, members: data })
    })
    watch(connection.push, ({ data }) => report({ type: "push", data }))
    watch(connection.signaling, ({ direction, message }) => {
      if (direction === "sent" && message.type === "re-answer") report({ type: "re-answered" })
    })
    watch(connection.tracks, (event) => {
      onTrack(event)
      report({ type: "track", kind: event.track.kind, streamId: event.streams[0]?.id ?? "" })
    })
    watch(connection.removedTracks, (event) => {
      report({ type: "track-removed", kind: event.track.kind, streamId: event.streams[0]?.id ?? "" })
    })
    watch(connection.changes, (state) => {
      const { connectionId } = Effect.runSync(connection.offer)
      if (state._tag === "Disconnected") return report({ type: "ended", how: describeEnd(state) })
      report({
        type: "state",
        state: state._tag,
        connectionId,
        ...(state._tag === "Reconnecting" ? { reason: describeEnd(state) } : {})
      })
      if (state._tag !== "Connected") return
      listen(connection)
      if (state.switched) report({ type: "switched" })
    })
  }

  const run = async <A, E>(effect: Effect.Effect<A, E, Services>) => toOutcome(await runtime!.runPromiseExit(effect))

  return {
    async connect(options, more) {
      compress = options.messaging?.compress ?? false
      runtime = ManagedRuntime.make(await connect({ ...toOptions(options), ...more }))
      const { connection, methods } = await runtime.runPromise(Effect.gen(function*() {
        const rpc = yield* SoraRpc.SoraRpc
        return { connection: yield* SoraConnection.SoraConnection, methods: yield* rpc.methods }
      }))
      listen(connection)
      follow(connection)
      return { connectionId: Effect.runSync(connection.offer).connectionId, rpcMethods: methods }
    },
    call: (method, params, timeoutMillis) =>
      run(
        SoraRpc.SoraRpc.use((rpc) =>
          rpc.call(method, params, timeoutMillis === undefined ? {} : { timeout: timeoutMillis })
        )
      ),
    async notify(method, params) {
      const outcome = await run(SoraRpc.SoraRpc.use((rpc) => rpc.notify(method, params)))
      if (outcome._tag === "Error") throw new Error(outcome.message)
    },
    async send(label, text) {
      const channel = await runtime!.runPromise(
        SoraConnection.SoraConnection.use((it) =>
          Effect.map(it.dataChannels, (channels) => Option.getOrThrow(Option.fromUndefinedOr(channels.get(label))))
        )
      )
      const bytes = new TextEncoder().encode(text)
      channel.send(compress ? await codec.deflate(bytes) : bytes)
    },
    disconnect: () => runtime!.dispose()
  }
}
