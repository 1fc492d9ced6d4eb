import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
export const doctor = Command.make("doctor", {}, () => Effect.void)
