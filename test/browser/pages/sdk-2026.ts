/** The official SDK, in its latest release. */
import Sora from "sora-js-sdk"
import { expose, type Sdk } from "./sdk.ts"

expose(Sora as unknown as Sdk)
