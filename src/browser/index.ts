/**
 * `effect-sora-rpc/browser`: connections from a page, through its own WebRTC.
 */
export * as BrowserPeerConnection from "./BrowserPeerConnection.ts"
export * as BrowserSora from "./BrowserSora.ts"
