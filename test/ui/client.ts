/**
 * The page's own client on Node, to see what the server tells it.
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import { SoraServerUi } from "effect-sora-rpc/ui"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { RpcClient, RpcSerialization } from "effect/rpc"
import { Socket } from "effect/socket"
import { Protocol } from "../../src/ui/internal/protocol.ts"

export const socketUrl = (page: string): string => page.replace(/^http/, "ws").replace("/ui/?", "/ui/socket?")

/** Ends with the scope. */
export const uiClient = Effect.gen(function*() {
  const { url } = yield* SoraServerUi.SoraServerUi
  const protocol = yield* Layer.build(
    RpcClient.layerProtocolSocket().pipe(
      Layer.provide([Socket.layerWebSocket(socketUrl(url)), RpcSerialization.layerJson]),
      Layer.provide(NodeWS.layerWebSocketConstructor)
    )
  )
  return yield* RpcClient.make(Protocol).pipe(Effect.provideContext(protocol))
})
