/** The official SDK, in the release that brought RPC. */
import Sora from "sora-js-sdk-2025"
import { expose, type Sdk } from "./sdk.ts"

expose(Sora as unknown as Sdk)
