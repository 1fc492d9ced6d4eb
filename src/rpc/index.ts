/**
 * `effect-sora-rpc/rpc`: Sora's methods as an `RpcGroup` of `effect/rpc`.
 *
 * @since 0.1.0
 * @module
 */
export * as SoraRpcGroup from "./SoraRpcGroup.ts"
