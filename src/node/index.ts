/**
 * `effect-sora-rpc/node`: connections from Node, through werift.
 *
 * @since 0.1.0
 * @module
 */
export * as NodePeerConnection from "./NodePeerConnection.ts"
export * as NodeSora from "./NodeSora.ts"
