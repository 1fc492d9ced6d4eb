/**
 * Reasons of a client's `disconnect` (section 2.10).
 */

/** @internal */
export const NoError = "NO-ERROR"

/** @internal */
export const SocketClosed = "WEBSOCKET-ONCLOSE"

/** @internal */
export const SocketFailed = "WEBSOCKET-ONERROR"

/** @internal */
export const InternalError = "INTERNAL-ERROR"
