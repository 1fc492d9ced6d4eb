/**
 * The two services of one connection over the platform of `/node` or `/browser`.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { Socket } from "effect/socket"
import type { PeerConnection } from "../../PeerConnection.ts"
import type { RpcTransport } from "../../RpcTransport.ts"
import type { SoraConnectionError } from "../../SoraConnectionError.ts"
import * as SoraRpc from "../../SoraRpc.ts"
import * as Options from "../options.ts"
import { RpcOptions } from "../rpc/rpcOptions.ts"
import { toConnectionError } from "./connectOptions.ts"
import type { SoraConnection } from "./model.ts"

const checkRpcOptions = Options.check(Schema.Struct({ rpc: RpcOptions }))

/** @internal */
export const layer = <E, R>(
  rpc: SoraRpc.Options = {},
  platform: Layer.Layer<PeerConnection | Socket.WebSocketConstructor>,
  connection: Layer.Layer<SoraConnection | RpcTransport, E, R>
): Layer.Layer<
  SoraRpc.SoraRpc | SoraConnection,
  SoraConnectionError | E,
  Exclude<R, PeerConnection | Socket.WebSocketConstructor>
> =>
  // Checked first: nothing is dialled with options that do not fit.
  Layer.unwrap(
    Effect.as(
      Effect.mapError(checkRpcOptions({ rpc }), toConnectionError),
      SoraRpc.layerWith(rpc).pipe(
        Layer.orDie,
        Layer.provideMerge(connection),
        Layer.provide(platform)
      )
    )
  )
