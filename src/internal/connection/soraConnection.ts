/**
 * The service tag of `SoraConnection`, apart from what makes one: `SoraRpc`
 * needs the tag, and must not pull in signaling and its unstable modules.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type { DataChannelLike, PeerConnectionLike, TrackEvent } from "../../PeerConnection.ts"
import type { RpcChannel } from "../../RpcChannel.ts"
import type * as Signaling from "../../Signaling.ts"
import type { SignalingEvent, State } from "../../SoraConnection.ts"

/**
 * One connection to Sora.
 *
 * The streams give a new subscriber the latest 64 events first, so that those
 * which came while the connection was made are not lost to it; a subscriber
 * that falls 1,024 events behind loses the oldest. They end with the connection.
 *
 * @category services
 */
export class SoraConnection extends Context.Service<SoraConnection, {
  /** The server's offer: ids, `rpcMethods`, `metadata`, … After reconnecting it is the latest one. */
  readonly offer: Signaling.Offer
  /** `rpc_methods` of the offer, or of a later re-offer that changed them; empty when nothing was granted. */
  readonly rpcMethods: () => ReadonlyArray<string>
  readonly state: Effect.Effect<State>
  /** The current state and each later one. Ends after `Disconnected`. */
  readonly changes: Stream.Stream<State>
  /** Notify events of the channel (section 6). */
  readonly notify: Stream.Stream<Signaling.Notify>
  /** Pushes to the channel (sections 4.10 and 4.11). */
  readonly push: Stream.Stream<Signaling.Push>
  /**
   * The audio and video tracks that other connections send, as they come. The id
   * of a track's stream is its sender's connection id.
   */
  readonly tracks: Stream.Stream<TrackEvent>
  /** Every signaling message, both ways. What was sent includes `metadata`: mind where you log it. */
  readonly signaling: Stream.Stream<SignalingEvent>
  /**
   * The `rpc` channel; none when the server offered none (section 4.1). With
   * `reconnect` it is one channel through all connections, interrupted between
   * them.
   */
  readonly rpcChannel: Option.Option<RpcChannel>
  /**
   * The DataChannels for messages of the application (labels that begin with
   * `#`, asked for with `dataChannels`), by label. They are open once the connection is made.
   * Payloads are as they are on the wire: binary, and zlib where the offer says
   * `compress`. Do not close one: Sora ends a connection that loses a channel.
   */
  readonly dataChannels: () => ReadonlyMap<string, DataChannelLike>
  /** The peer connection itself, for tracks and statistics. After reconnecting it is the latest one. */
  readonly peerConnection: PeerConnectionLike
}>()("effect-sora-rpc/SoraConnection") {}
