/**
 * `effect-sora-rpc`: calls to the RPC feature of the WebRTC SFU Sora.
 *
 * @since 0.1.0
 * @module
 */
export * as DisconnectReason from "./DisconnectReason.ts"
export * as PeerConnection from "./PeerConnection.ts"
export * as RpcChannel from "./RpcChannel.ts"
export * as RpcTransport from "./RpcTransport.ts"
export * as Signaling from "./Signaling.ts"
export * as SoraConnection from "./SoraConnection.ts"
export * as SoraConnectionError from "./SoraConnectionError.ts"
export * as SoraMembers from "./SoraMembers.ts"
export * as SoraMessaging from "./SoraMessaging.ts"
export * as SoraMethod from "./SoraMethod.ts"
export * as SoraRpc from "./SoraRpc.ts"
export * as SoraRpcError from "./SoraRpcError.ts"
export * as SoraRpcMap from "./SoraRpcMap.ts"
