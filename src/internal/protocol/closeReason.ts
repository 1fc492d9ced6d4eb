/**
 * Reasons of the Close, and of the `close` message (section 2.11): the first
 * three come with 1000, the others with 4490.
 */

/** @internal */
export const TypeDisconnect = "TYPE-DISCONNECT"

/** @internal */
export const DisconnectedApi = "DISCONNECTED-API"

/** @internal */
export const LifetimeExpired = "LIFETIME-EXPIRED"

/** @internal */
export const InvalidMessage = "INVALID-MESSAGE"

/** @internal */
export const InternalError = "INTERNAL-ERROR"

/** @internal */
export const Timeout = "TIMEOUT"

/** @internal */
export const PongTimeout = "PONG-TIMEOUT-ERROR"

/** @internal */
export const DuplicatedChannelId = "DUPLICATED-CHANNEL-ID"
