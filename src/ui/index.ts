/**
 * `effect-sora-rpc/ui`: the development server's page.
 *
 * @since 0.1.0
 * @module
 */
export * as SoraServerUi from "./SoraServerUi.ts"
