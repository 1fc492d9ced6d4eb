/**
 * What both ends of the protocol know (`sora-protocol.md`): labels, codes and
 * reasons of the end, and limits.
 */
import * as Duration from "effect/Duration"

/**
 * The DataChannels that Sora itself speaks on (section 3.1), in the order in which it offers them.
 *
 * @internal
 */
export const ManagedLabels = ["signaling", "notify", "push", "stats", "rpc"] as const

/** @internal */
export type ManagedLabel = typeof ManagedLabels[number]

/**
 * Labels of the application's own DataChannels (section 3.1).
 *
 * @internal
 */
export const UserLabel: RegExp = /^#[a-zA-Z0-9][a-zA-Z0-9-]{1,30}$/

/**
 * Whether a channel is the application's, and not Sora's.
 *
 * @internal
 */
export const isUserLabel = (label: string): boolean => label.startsWith("#")

// One export each, so that a bundler takes those that are used.
export * as CloseCode from "./protocol/closeCode.ts"
export * as CloseReason from "./protocol/closeReason.ts"
export * as DisconnectMessageReason from "./protocol/disconnectMessageReason.ts"

/**
 * The largest message of a DataChannel, in bytes as it is on the wire (section 3.7).
 *
 * @internal
 */
export const MaxMessageBytes = 262_144

/**
 * Ids of channels, clients and bundles, in bytes (section 1).
 *
 * @internal
 */
export const MaxIdBytes = 255

/**
 * The reason of a Close frame, in bytes (RFC 6455, section 5.5.1).
 *
 * @internal
 */
export const MaxCloseReasonBytes = 123

/**
 * Time that the other end of a WebSocket has for its half of the closing handshake. `ws` by itself waits for 30 seconds.
 *
 * @internal
 */
export const SocketCloseGrace = Duration.seconds(1)
