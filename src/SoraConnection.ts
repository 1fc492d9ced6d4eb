/**
 * A connection to Sora: signaling over WebSocket and DataChannels, and the
 * WebRTC peer connection, held by a scope. Making the layer connects; closing
 * its scope disconnects, with Sora's `disconnect` procedure for the state that
 * the connection is in (`sora-protocol.md` section 2.16) and a bounded wait.
 *
 * The connection is made when the `rpc` DataChannel is open, or, where the
 * server offers none, when the peer connection is up. It ends when its scope
 * closes, when the server says so, when a DataChannel closes or when the peer
 * connection fails. With `reconnect` it is then made again.
 *
 * @since 0.1.0
 * @module
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Socket } from "effect/socket"
import { toConnectionError } from "./internal/connection/connectOptions.ts"
import type { Options, ServicesOf, SoraConnection } from "./internal/connection/model.ts"
import * as Reconnecting from "./internal/connection/reconnecting.ts"
import { type TestOptions, TestSora } from "./internal/connection/testSora.ts"
import * as Sora from "./internal/connection/testSora.ts"
import * as Wired from "./internal/connection/wired.ts"
import type { PeerConnection } from "./PeerConnection.ts"
import type { RpcTransport } from "./RpcTransport.ts"
import type { SoraConnectionError } from "./SoraConnectionError.ts"
import type { SoraRpc } from "./SoraRpc.ts"

export {
  /**
   * A connection that is in the channel, this one included.
   *
   * @category models
   * @since 0.1.0
   */
  type Member,
  /**
   * Who is in the channel, by connection id.
   *
   * @category models
   * @since 0.1.0
   */
  type Members,
  /**
   * What goes to the server's authentication.
   *
   * @category models
   * @since 0.1.0
   */
  type Metadata,
  /**
   * A connection that has just come up.
   *
   * @category models
   * @since 0.1.0
   */
  type NewConnection,
  /**
   * What to connect to, and as what.
   *
   * @category models
   * @since 0.1.0
   */
  type Options,
  /**
   * One signaling message as it went over the wire.
   *
   * @category models
   * @since 0.1.0
   */
  type SignalingEvent,
  /**
   * One connection to Sora, as a service.
   *
   * @category services
   * @since 0.1.0
   */
  SoraConnection,
  /**
   * Where a connection stands.
   *
   * @category models
   * @since 0.1.0
   */
  type State
} from "./internal/connection/model.ts"

export {
  /**
   * What a test may say of somebody who joins.
   *
   * @category testing
   * @since 0.1.0
   */
  type TestMember,
  /**
   * What to connect as, and how the server of {@link layerTest} behaves.
   *
   * @category testing
   * @since 0.1.0
   */
  type TestOptions,
  /**
   * The server that a program under {@link layerTest} is connected to.
   *
   * @category testing
   * @since 0.1.0
   */
  TestSora
} from "./internal/connection/testSora.ts"

/**
 * When a broken connection is made again by default: after 1 s, 2 s, 4 s and so
 * on up to 30 s, each varied by a fifth so that many clients do not come back at
 * once, without end.
 *
 * @category schedules
 * @since 0.1.0
 */
export const reconnectSchedule: Schedule.Schedule<unknown> = Reconnecting.reconnectSchedule

/**
 * Connects; the connection lives as long as the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <E = never, R = never, E2 = never, R2 = never>(
  options: Options<E, R, E2, R2>
): Effect.Effect<
  SoraConnection["Service"],
  SoraConnectionError | E | E2,
  ServicesOf<R, R2> | PeerConnection | Socket.WebSocketConstructor | Scope.Scope
> => Reconnecting.make(options)

/**
 * Connects; the connection lives as long as the layer. `SoraRpc` calls over its
 * transport.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E = never, R = never, E2 = never, R2 = never>(
  options: Options<E, R, E2, R2>
): Layer.Layer<
  SoraConnection | RpcTransport,
  SoraConnectionError | E | E2,
  ServicesOf<R, R2> | PeerConnection | Socket.WebSocketConstructor
> => Reconnecting.layer(options)

/**
 * {@link layer} with its options from `Config`. Those that are effects are no
 * configuration: they are given beside it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = <E = never, R = never, E2 = never, R2 = never>(
  options: Config.Wrap<Omit<Options<NoInfer<E>, NoInfer<R>, NoInfer<E2>, NoInfer<R2>>, "onConnected">>,
  effects?: Pick<Options<E, R, E2, R2>, "metadata" | "onConnected">
): Layer.Layer<
  SoraConnection | RpcTransport,
  SoraConnectionError | Config.ConfigError | E | E2,
  ServicesOf<R, R2> | PeerConnection | Socket.WebSocketConstructor
> => Layer.unwrap(Effect.map(Config.unwrap(options), (options) => layer<E, R, E2, R2>({ ...options, ...effects })))

/**
 * A connection and its `SoraRpc` with neither a network nor a server, for tests of whole
 * programs, and {@link TestSora}, which is the other end. What is in memory is the
 * WebSocket and the peer connection; everything above them is what runs against a
 * Sora: options, reconnecting, streams, members, calls. With `TestClock` no time
 * passes but what the test lets pass.
 *
 * ```ts
 * const Test = SoraConnection.layerTest({ reconnect: true, handlers: [ … ] })
 *
 * it.effect("greets who joins", () =>
 *   Effect.gen(function*() {
 *     const sora = yield* SoraConnection.TestSora
 *     yield* Effect.forkScoped(bot)
 *     yield* sora.join({ clientId: "Mika" })
 *     yield* sora.disconnect(new DisconnectReason.SocketLost({}))
 *     yield* TestClock.adjust("1 second") // and it is connected again
 *   }).pipe(Effect.provide(Test)))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerTest = <R = never, E = never, R2 = never, E2 = never, R3 = never>(
  { authenticate, handlers, rpc, ...options }: TestOptions<R, E, R2, E2, R3> = {}
): Layer.Layer<
  SoraConnection | SoraRpc | TestSora,
  SoraConnectionError | E | E2,
  Exclude<R, TestSora> | Exclude<ServicesOf<R2, R3>, TestSora>
> => {
  const connection = Reconnecting.layer<E, R2, E2, R3>(
    { signalingUrls: [Sora.SignalingUrl], channelId: "test", role: "sendrecv", ...options },
    rpc
  ) as Layer.Layer<SoraConnection | RpcTransport, SoraConnectionError | E | E2, ServicesOf<R2, R3>>
  return Layer.unwrap(
    Sora.make({ authenticate, handlers }).pipe(
      Effect.mapError(toConnectionError),
      Effect.map(({ platform, sora }) =>
        Layer.provideMerge(Wired.layer(rpc, platform, connection), Layer.succeed(TestSora, sora))
      )
    )
  )
}
