/**
 * What `SoraRpc` calls over: a channel for frames, and the methods that the
 * server grants on it. A `SoraConnection` provides one, so does a DataChannel
 * that you have already, and so does a channel in memory.
 *
 * Its members are plain functions, because each call asks them; `Effect` begins
 * one level up.
 *
 * @since 0.1.0
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { RpcChannel } from "./RpcChannel.ts"
import type { Unavailable } from "./SoraRpcError.ts"

/**
 * The transport of calls, which has one `SoraRpc` at most: two would answer each
 * other's ids.
 *
 * @category services
 * @since 0.1.0
 */
export class RpcTransport extends Context.Service<RpcTransport, {
  readonly channel: RpcChannel
  /** What the server granted in its latest offer, the `rpc_methods`, verbatim. */
  readonly methodsUnsafe: () => ReadonlyArray<string>
  /** Why no call can be made now: the server opened no `rpc` channel. Undefined when calls can be made, or can wait. */
  readonly obstacleUnsafe: () => Unavailable | undefined
  /** `maxInFlight` of the `PeerConnection`, where it has one. */
  readonly maxInFlight?: number | undefined
  /** Attributes for the spans of calls: where they go. Asked only where somebody traces. */
  readonly spanAttributesUnsafe?: (() => Readonly<Record<string, unknown>>) | undefined
}>()("effect-sora-rpc/RpcTransport") {}

/**
 * A transport over a channel on which the server grants `methods`, the offer's
 * `rpc_methods`, once and for all.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  channel: RpcChannel,
  options: { readonly methods: ReadonlyArray<string> }
): RpcTransport["Service"] => ({ channel, methodsUnsafe: () => options.methods, obstacleUnsafe: () => undefined })

/**
 * {@link make} over a channel that is made with the layer.
 *
 * ```ts
 * RpcTransport.layer(RpcChannel.fromDataChannel(dataChannel, { compress: true }), { methods: sora.rpcMethods })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E, R>(
  channel: Effect.Effect<RpcChannel, E, R>,
  options: { readonly methods: ReadonlyArray<string> }
): Layer.Layer<RpcTransport, E, Exclude<R, Scope.Scope>> =>
  Layer.effect(RpcTransport, Effect.map(channel, (channel) => make(channel, options)))
