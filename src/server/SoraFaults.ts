/**
 * What the development server does wrong on purpose, to see how a client takes
 * it: lost, late, doubled and malformed responses, refusals, and connections
 * that die in every way a real one can.
 *
 * ```ts
 * SoraServer.layer({ faults: { drop: 0.1, killSocket: 0.05, lifeMax: "30 seconds", seed: 7 } })
 * ```
 *
 * @since 0.1.0
 * @module
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { isTime, millisOf } from "../internal/options.ts"

/**
 * Probabilities, from 0 (never, the default) to 1 (always).
 *
 * Those of responses are applied to each of them independently, and can come
 * together: one response may be doubled, late and malformed. Of the ways to
 * die, a connection gets one at most.
 *
 * @category models
 * @since 0.1.0
 */
export interface Faults {
  /** A response is late by a random time of at most this. */
  readonly delay?: Duration.Input | undefined
  /** How many responses are late, when `delay` is given. Default 1. */
  readonly delayRate?: number | undefined
  /** A response is not sent. */
  readonly drop?: number | undefined
  /** A response is sent twice. */
  readonly duplicate?: number | undefined
  /** A response is held back until another one has gone, or 100 milliseconds have passed. */
  readonly reorder?: number | undefined
  /** A response is no valid one: one of those of `sora-protocol.md` Appendix B that are not accepted, or no text. */
  readonly corrupt?: number | undefined
  /** A response has an id that no call has. */
  readonly wrongId?: number | undefined
  /** A response is padded to 200 kB by an extra member; it is valid. */
  readonly giant?: number | undefined
  /** A response inflates to more than 16 MiB. Only on a compressed label. */
  readonly bomb?: number | undefined
  /** A response is text where it would be compressed, and binary where it would be text. */
  readonly swapForm?: number | undefined

  /** `connect` is answered by the Close frame 4490 `FAULT-INJECTED`. */
  readonly refuse?: number | undefined
  /** `connect` is not answered at all. */
  readonly ignoreConnect?: number | undefined
  /** `connect` is answered by a redirect to this server, which redirects again, without end. */
  readonly redirectLoop?: number | undefined

  /** The `rpc` channel closes, and nothing else. */
  readonly closeRpc?: number | undefined
  /** The WebSocket is cut off, without a Close frame. */
  readonly killSocket?: number | undefined
  /**
   * The server is gone without a word, as after a power cut: no packet and no
   * frame comes any more, on any transport, and nothing is closed.
   */
  readonly killPeer?: number | undefined
  /** Everything is closed at once and without a handshake, as when the server's process dies. */
  readonly closeAbruptly?: number | undefined
  /** A connection that is to die does so at a random time of at most this after it is up. Default 10 seconds. */
  readonly lifeMax?: Duration.Input | undefined

  /**
   * The same seed gives the same faults to the same connects and calls in the
   * same order, however connections overlap. Default: a random one.
   */
  readonly seed?: number | undefined
}

/**
 * How an established connection can be made to die; see {@link Faults}.
 *
 * @category models
 * @since 0.1.0
 */
export type ConnectionFault = "closeRpc" | "killSocket" | "killPeer" | "closeAbruptly"

const Rate = Schema.optional(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })))

const isFinite = (input: unknown): input is Duration.Input => isTime(input) && millisOf(input)! < Infinity

const Time = Schema.optional(Schema.declare(isFinite, { expected: "a duration, such as \"100 millis\"" }))

/**
 * What {@link Faults} must be, as a schema: rates between 0 and 1, and
 * durations of at least 0. To decode, use {@link decode}.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Faults: Schema.Codec<Faults> = Schema.Struct({
  delay: Time,
  delayRate: Rate,
  drop: Rate,
  duplicate: Rate,
  reorder: Rate,
  corrupt: Rate,
  wrongId: Rate,
  giant: Rate,
  bomb: Rate,
  swapForm: Rate,
  refuse: Rate,
  ignoreConnect: Rate,
  redirectLoop: Rate,
  closeRpc: Rate,
  killSocket: Rate,
  killPeer: Rate,
  closeAbruptly: Rate,
  lifeMax: Time,
  seed: Schema.optional(Schema.Int)
}).check(
  Schema.makeFilter((faults) =>
    // With room for the rounding of 0.1 + 0.2 + 0.7.
    (faults.closeRpc ?? 0) + (faults.killSocket ?? 0) + (faults.killPeer ?? 0) + (faults.closeAbruptly ?? 0) <= 1 + 1e-9
      ? undefined
      : "closeRpc, killSocket, killPeer and closeAbruptly exclude each other: together at most 1"
  )
)

/**
 * The faults, when they are fit: an unknown member is an error too, so that a
 * typo does not go unnoticed. The error names the member.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode: (input: unknown) => Effect.Effect<Faults, Schema.SchemaError> = Schema.decodeUnknownEffect(
  Faults,
  { onExcessProperty: "error" }
)

/**
 * {@link decode} for JSON text.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeJson: (text: string) => Effect.Effect<Faults, Schema.SchemaError> = Schema.decodeUnknownEffect(
  Schema.fromJsonString(Faults),
  { onExcessProperty: "error" }
)
