/**
 * `effect-sora-rpc/browser`: connections from a page, through its own WebRTC.
 *
 * @since 0.1.0
 * @module
 */
export * as BrowserPeerConnection from "./BrowserPeerConnection.ts"
export * as BrowserSora from "./BrowserSora.ts"
