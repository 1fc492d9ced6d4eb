import { Effect, Queue } from "effect"
import { RpcChannel, SoraRpc } from "effect-sora-rpc"

/** A service over a channel in memory, and the other end of it in the test's hands. */
export const make = Effect.fnUntraced(function*(options?: Partial<Parameters<typeof SoraRpc.fromChannel>[1]>) {
  const [client, server] = yield* RpcChannel.makePair
  const requests = yield* Queue.unbounded<any>()
  server.listenUnsafe({
    onFrame: (frame) => Queue.offerUnsafe(requests, JSON.parse(frame)),
    onWritable: () => {},
    onInterrupted: () => {},
    onMalformed: () => {},
    onEnd: () => {}
  })
  const rpc = yield* SoraRpc.fromChannel(client, { methods: ["m", "n", "2025.2.0/RequestSimulcastRid"], ...options })
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
