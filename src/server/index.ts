/**
 * `effect-sora-rpc/server`: the offline development server.
 *
 * @since 0.1.0
 * @module
 */
export * as SoraAuth from "./SoraAuth.ts"
export * as SoraFaults from "./SoraFaults.ts"
export * as SoraServer from "./SoraServer.ts"
