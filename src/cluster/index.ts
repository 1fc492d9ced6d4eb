/**
 * `effect-sora-rpc/cluster`: channels on many runners, one connection each.
 *
 * @since 0.1.0
 * @module
 */
export * as SoraChannel from "./SoraChannel.ts"
