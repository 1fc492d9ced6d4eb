/**
 * `effect-sora-rpc/node`: connections from Node, through werift.
 */
export * as NodePeerConnection from "./NodePeerConnection.ts"
export * as NodeSora from "./NodeSora.ts"
