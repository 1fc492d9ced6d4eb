/**
 * Codes of the WebSocket's Close (section 2.11).
 */

/** @internal */
export const Normal = 1000

/** @internal */
export const GoingAway = 1001

/**
 * Every refusal and every failure of signaling; the reason says which.
 *
 * @internal
 */
export const SignalingFailure = 4490
