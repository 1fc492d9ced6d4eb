/**
 * `methods`: what the server grants, and the shape of what we know of it.
 */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SoraMethod from "../../SoraMethod.ts"
import * as SoraRpc from "../../SoraRpc.ts"
import { withConnection } from "../connection.ts"
import * as Flags from "../flags.ts"
import { write } from "../output.ts"

/** A schema of the JSON on the wire. */
const jsonSchemaOf = (schema: SoraMethod.PureSchema): Schema.JsonObject => {
  const { definitions, schema: root } = Schema.toJsonSchemaDocument(schema)
  return {
    ...(root as object),
    ...(Object.keys(definitions).length === 0 ? {} : { $defs: definitions })
  } as Schema.JsonObject
}

const describe = (granted: string, withSchema: boolean): Schema.JsonObject => {
  const known = SoraMethod.known.find((method) => SoraMethod.resolve(method, [granted]) === granted)
  return {
    method: granted,
    known: known !== undefined,
    ...(known === undefined || !withSchema
      ? {}
      // Sora refuses params with members that it does not know; a result may have more of them.
      : {
        params: { ...(jsonSchemaOf(known.params) as object), additionalProperties: false },
        result: jsonSchemaOf(known.result)
      })
  }
}

export const methods = Command.make(
  "methods",
  {
    schema: Flags.bool("schema", "With the JSON Schema of params and result, of the methods that are known"),
    ...Flags.connection
  },
  Effect.fnUntraced(function*({ schema, ...connection }) {
    const granted = yield* withConnection(
      connection,
      (shown) =>
        SoraRpc.SoraRpc.use(({ methods }) => Effect.map(methods, (names) => names.map((name) => shown.text(name))))
    )
    for (const method of granted) {
      const described = describe(method, schema)
      yield* write(described, () => schema ? JSON.stringify(described, null, 2) : method)
    }
  })
).pipe(
  Command.withDescription("List the methods that the server grants, one a line"),
  Command.withExamples([{
    command: "sora-rpc methods --schema --signaling-url ws://127.0.0.1:5000/signaling --channel-id lobby",
    description: "With the shape of their params and results"
  }])
)
