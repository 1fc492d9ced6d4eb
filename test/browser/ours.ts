/**
 * Our client in the suite's shape; what it runs over is the caller's. Used in a page and in Node.
 */
import type { SoraConnectionError, SoraRpcError } from "effect-sora-rpc"
import { SoraConnection, SoraMessaging, SoraRpc } from "effect-sora-rpc"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
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

/** `playing` is the page's business. */
export const make = (
  connect: Connect,
  report: Report,
  onTrack: (event: Json) => void = () => {}
): Omit<Client, "playing" | "connect"> & {
  readonly connect: (options: ConnectOptions, more?: Partial<SoraConnection.Options>) => ReturnType<Client["connect"]>
} => {
  let runtime: ManagedRuntime.ManagedRuntime<Services, Failure> | undefined

  const watch = <A>(stream: Stream.Stream<A>, use: (event: A) => void) =>
    // The streams end with the connection.
    void Effect.runPromise(Stream.runForEach(stream, (event) => Effect.sync(() => use(event)))).catch((error) => {
      report({ type: "ended", how: `a stream failed: ${error}` })
    })

  const listen = async (connection: Connection, label: string) => {
    const { messages } = await Effect.runPromise(connection.messaging(label))
    watch(messages, (message) => {
      report({ type: "message", label, text: SoraMessaging.text(message), sender: message.senderConnectionId })
    })
  }

  const follow = (connection: Connection) => {
    watch(connection.notify, (event) => {
      const { authnMetadata, connectionId, currentRid, data, metadata } = event as Json
      report({ type: "notify", event: event._tag, connectionId, currentRid, authnMetadata, metadata, members: data })
    })
    watch(connection.push, ({ data }) => report({ type: "push", data }))
    watch(connection.signaling, ({ direction, message }) => {
      if (direction === "sent" && message.type === "re-answer") report({ type: "re-answered" })
      if (message.type === "switched") report({ type: "switched" })
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
    })
  }

  const run = async <A, E>(effect: Effect.Effect<A, E, Services>) => toOutcome(await runtime!.runPromiseExit(effect))

  return {
    async connect(options, more) {
      runtime = ManagedRuntime.make(await connect({ ...toOptions(options), ...more }))
      const { connection, methods } = await runtime.runPromise(Effect.gen(function*() {
        const rpc = yield* SoraRpc.SoraRpc
        return { connection: yield* SoraConnection.SoraConnection, methods: yield* rpc.methods }
      }))
      if (options.messaging !== undefined) await listen(connection, options.messaging.label)
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
    send: (label, text) =>
      runtime!.runPromise(
        SoraConnection.SoraConnection.use((it) => Effect.flatMap(it.messaging(label), ({ send }) => send(text)))
      ),
    disconnect: () => runtime!.dispose()
  }
}
