/**
 * Calls to the RPC feature of Sora: JSON-RPC 2.0 over the `rpc` DataChannel of
 * one connection.
 *
 * A call ends exactly once: with its result, with one of the three errors of
 * `SoraRpcError`, or by interruption. Interrupting a call cancels it on this
 * side; the server may still act on it, and its late response is dropped.
 * Nothing is retried: methods have side effects. When the connection breaks
 * every waiting call fails with `Disconnected`; so does every later one, unless
 * the connection is made again.
 *
 * @since 0.1.0
 * @module
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { check } from "./internal/options.ts"
import * as Client from "./internal/rpc/client.ts"
import * as Dispatcher from "./internal/rpc/dispatcher.ts"
import { type Options, RpcOptions } from "./internal/rpc/rpcOptions.ts"
import * as RpcChannel from "./RpcChannel.ts"
import * as RpcTransport from "./RpcTransport.ts"
import * as SoraMethod from "./SoraMethod.ts"
import type { Disconnected, InvalidOptions, RpcError, TimeoutError } from "./SoraRpcError.ts"

/**
 * Options of one call.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallOptions {
  /**
   * How long to wait for the response, counted from the call and including the
   * wait to be sent. `Duration.infinity` waits for ever; zero fails at once with
   * nothing sent. Default: the layer's `defaultTimeout`.
   *
   * Prefer it to `Effect.timeout` around the call, which fails with Effect's own
   * error of the same tag, without `method` and `timeout`.
   */
  readonly timeout?: Duration.Input | undefined
}

export type {
  /**
   * Options of the service.
   *
   * @category models
   * @since 0.1.0
   */
  Options
} from "./internal/rpc/rpcOptions.ts"

/**
 * Calls methods of Sora over one connection.
 *
 * @category services
 * @since 0.1.0
 */
export class SoraRpc extends Context.Service<SoraRpc, {
  /** The methods that the server granted in its latest offer, verbatim. */
  readonly methods: Effect.Effect<ReadonlyArray<string>>
  /**
   * Calls a method and waits for its result.
   *
   * A method *value* takes its params in camelCase, checked and encoded by its
   * schema, and gives its decoded result. A method *string* is sent as it is,
   * with the JSON as it is; it must be an entry of `methods`, exactly. A method
   * that is neither, or a timeout that is no duration, is a defect
   * (`InvalidOptions`), since no type allows it.
   */
  readonly call: {
    <M extends SoraMethod.Any>(
      method: M,
      ...args: SoraMethod.Arguments<M, CallOptions>
    ): Effect.Effect<SoraMethod.Result<M>, RpcError | TimeoutError | Disconnected>
    (
      method: string,
      params?: Schema.JsonObject | Schema.JsonArray | undefined,
      options?: CallOptions
    ): Effect.Effect<Schema.Json, RpcError | TimeoutError | Disconnected>
  }
  /**
   * Sends a notification: a request without an id, which the server acts on but
   * never answers, not even with an error. Completes when it is handed to the
   * network. Takes a method value or a method string, as `call` does.
   */
  readonly notify: {
    <M extends SoraMethod.Any>(
      method: M,
      ...args: SoraMethod.Arguments<M, never>
    ): Effect.Effect<void, RpcError | Disconnected>
    (
      method: string,
      params?: Schema.JsonObject | Schema.JsonArray | undefined
    ): Effect.Effect<void, RpcError | Disconnected>
  }
}>()("effect-sora-rpc/SoraRpc") {}

const checkOptions = check(RpcOptions)

/**
 * A service over the transport at hand, which has one service at most: a second
 * one is `InvalidOptions`, as are options that do not fit. Closing the scope
 * fails the waiting calls with `Disconnected`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<SoraRpc["Service"], InvalidOptions, RpcTransport.RpcTransport | Scope.Scope> {
  yield* checkOptions(options)
  const transport = yield* RpcTransport.RpcTransport
  const client = yield* Client.make(transport, options)
  return SoraRpc.of({ methods: Effect.sync(transport.methodsUnsafe), call: client.call, notify: client.notify })
})

/**
 * The service over the transport of a `SoraConnection`, or over a channel of
 * your own ({@link RpcTransport.layer}): of another SDK, or in memory.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<SoraRpc, InvalidOptions, RpcTransport.RpcTransport> =>
  Layer.effect(SoraRpc, make(options))

/**
 * {@link layerWith} with the default options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<SoraRpc, InvalidOptions, RpcTransport.RpcTransport> = /* @__PURE__ */ layerWith({})

/**
 * The service with your own handlers in place of Sora, for tests: no network,
 * no server. Calls are encoded, dispatched, answered and decoded as over a real
 * channel, a handler's `ServerError` included, and a method without a handler
 * is not granted. Two handlers of one method are `InvalidOptions`.
 *
 * ```ts
 * const Test = SoraRpc.layerTest([
 *   SoraMethod.handle(SoraMethod.RequestSimulcastRid, ({ rid }) =>
 *     Effect.succeed({ channelId: "lobby", receiverConnectionId: "ME", rid }))
 * ])
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerTest = <R = never>(
  handlers: ReadonlyArray<SoraMethod.Handled<R>>,
  options?: Options
): Layer.Layer<SoraRpc, InvalidOptions, R> =>
  Layer.effect(
    SoraRpc,
    Effect.gen(function*() {
      const methods = yield* Dispatcher.namesOf(handlers)
      const [client, server] = yield* RpcChannel.makePair
      yield* Dispatcher.serve(server, handlers, {
        connectionId: "TEST0000000000000000000000",
        clientId: "test",
        channelId: "test"
      })
      return yield* Effect.provideService(
        make(options),
        RpcTransport.RpcTransport,
        RpcTransport.make(client, { methods })
      )
    })
  )

const wrap = /* @__NO_SIDE_EFFECTS__ */ <M extends SoraMethod.Any>(method: M) =>
(
  ...args: SoraMethod.Arguments<M, CallOptions>
): Effect.Effect<SoraMethod.Result<M>, RpcError | TimeoutError | Disconnected, SoraRpc> =>
  SoraRpc.use((rpc) => rpc.call(method, ...args))

/**
 * Calls {@link SoraMethod.RequestSimulcastRid}.
 *
 * @category calls
 * @since 0.1.0
 */
export const requestSimulcastRid = wrap(SoraMethod.RequestSimulcastRid)

/**
 * Calls {@link SoraMethod.RequestSpotlightRid}.
 *
 * @category calls
 * @since 0.1.0
 */
export const requestSpotlightRid = wrap(SoraMethod.RequestSpotlightRid)

/**
 * Calls {@link SoraMethod.ResetSpotlightRid}.
 *
 * @category calls
 * @since 0.1.0
 */
export const resetSpotlightRid = wrap(SoraMethod.ResetSpotlightRid)

/**
 * Calls {@link SoraMethod.PutSignalingNotifyMetadata}.
 *
 * @category calls
 * @since 0.1.0
 */
export const putSignalingNotifyMetadata = wrap(SoraMethod.PutSignalingNotifyMetadata)

/**
 * Calls {@link SoraMethod.PutSignalingNotifyMetadataItem}.
 *
 * @category calls
 * @since 0.1.0
 */
export const putSignalingNotifyMetadataItem = wrap(SoraMethod.PutSignalingNotifyMetadataItem)
