/**
 * `effect-sora-rpc/cluster`: channels on many runners, one connection each.
 *
 * @since 0.1.0
 */
export * as SoraChannel from "./SoraChannel.ts"
