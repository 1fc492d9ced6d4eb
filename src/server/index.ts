/**
 * `effect-sora-rpc/server`: the offline development server.
 */
export * as SoraAuth from "./SoraAuth.ts"
export * as SoraServer from "./SoraServer.ts"
