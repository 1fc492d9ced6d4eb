/**
 * Methods as both ends of a worker need them.
 */
import { Schema } from "effect"
import { SoraMethod } from "../../src/index.ts"
import { SoraRpcGroup } from "../../src/rpc/index.ts"

export const Own = SoraMethod.make("Own", {
  version: "3.1",
  params: SoraMethod.Struct({ roomId: Schema.String, since: Schema.optionalKey(Schema.Date) }),
  result: SoraMethod.Struct({ memberCount: Schema.Int, since: Schema.optionalKey(Schema.Date) })
})
export const Ask = SoraMethod.make("Ask", { version: "1", params: Schema.Json })
export const Hang = SoraMethod.make("Hang", { version: "1" })

export const group = SoraRpcGroup.make([...SoraMethod.known, Own, Ask, Hang])
