import { Effect, Queue } from "effect"
import { RpcChannel, RpcTransport, SoraRpc } from "effect-sora-rpc"

/** A service over a channel. */
export const makeRpc = (
  channel: RpcChannel.RpcChannel,
  { methods, ...options }: SoraRpc.Options & { readonly methods: ReadonlyArray<string> }
) => Effect.provideService(SoraRpc.make(options), RpcTransport.RpcTransport, RpcTransport.make(channel, { methods }))

/** A service over a channel in memory, and the other end of it in the test's hands. */
export const make = Effect.fnUntraced(function*(
  { methods = ["m", "n", "2025.2.0/RequestSimulcastRid"], ...options }: SoraRpc.Options & {
    readonly methods?: ReadonlyArray<string>
  } = {}
) {
  const [client, server] = yield* RpcChannel.makePair
  const requests = yield* Queue.unbounded<any>()
  server.listenUnsafe({
    onFrame: (frame) => Queue.offerUnsafe(requests, JSON.parse(frame))
  })
  const rpc = yield* makeRpc(client, { methods, ...options })
  return {
    rpc,
    channel: client,
    /** The next request, parsed. */
    request: Queue.take(requests),
    /** Requests that nobody took. */
    size: () => Queue.size(requests),
    send: (frame: string | object) =>
      void server.sendUnsafe(typeof frame === "string" ? frame : JSON.stringify({ jsonrpc: "2.0", ...frame }))
  }
})
