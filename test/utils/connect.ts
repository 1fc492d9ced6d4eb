import { Context, Effect, Exit, Layer, Option, Scope, Stream } from "effect"
import { SoraConnection, SoraRpc } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"

/** A connection over real WebRTC in a scope of its own, which the test may close before its end. */
export const connect = Effect.fnUntraced(function*(options: Partial<NodeSora.Options> & { readonly url: string }) {
  const { url, ...rest } = options
  const scope = yield* Scope.fork(yield* Effect.scope)
  const layer = NodeSora.layer({ signalingUrls: [url], channelId: "test", role: "sendrecv", ...rest })
  const context = yield* Layer.buildWithScope(layer, scope).pipe(
    Effect.onError(() => Scope.close(scope, Exit.void))
  )
  return {
    rpc: Context.get(context, SoraRpc.SoraRpc),
    connection: Context.get(context, SoraConnection.SoraConnection),
    close: Scope.close(scope, Exit.void)
  }
})

/** The first element that matches; the test fails when the stream ends, or 10 seconds pass, without one. */
export const first = <A>(stream: Stream.Stream<A>, matches: (a: A) => boolean) =>
  stream.pipe(
    Stream.filter(matches),
    Stream.runHead,
    Effect.map(Option.getOrThrow),
    Effect.timeout("10 seconds"),
    Effect.orDie
  )

/** When signaling has moved to the DataChannels. */
export const switched = (connection: SoraConnection.SoraConnection["Service"]) =>
  first(connection.signaling, ({ message }) => message.type === "switched")

/** Why a connection ended, when it has. */
export const reasonOf = (connection: SoraConnection.SoraConnection["Service"]) =>
  Effect.map(
    first(connection.changes, ({ _tag }) => _tag === "Disconnected"),
    (state) => (state as Extract<SoraConnection.State, { _tag: "Disconnected" }>).reason
  )
