/**
 * The two services of one connection over the platform of `/node` or `/browser`.
 */
import * as Layer from "effect/Layer"
import type { Socket } from "effect/socket"
import type { PeerConnection } from "../PeerConnection.ts"
import * as SoraConnection from "../SoraConnection.ts"
import type { SoraConnectionError } from "../SoraConnectionError.ts"
import * as SoraRpc from "../SoraRpc.ts"

/** @internal */
export const layer = (
  { rpc, ...connection }: SoraConnection.Options & { readonly rpc?: SoraRpc.Options | undefined },
  platform: Layer.Layer<PeerConnection | Socket.WebSocketConstructor>
): Layer.Layer<SoraRpc.SoraRpc | SoraConnection.SoraConnection, SoraConnectionError> =>
  SoraRpc.layerWith(rpc ?? {}).pipe(
    Layer.provideMerge(SoraConnection.layer(connection)),
    Layer.provide(platform)
  )
