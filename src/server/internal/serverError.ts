/**
 * The error of the server's own API.
 */
import * as Schema from "effect/Schema"

/**
 * The server could not start, or could not do what was asked of it.
 *
 * @category errors
 */
export class SoraServerError extends Schema.TaggedError<SoraServerError>()("SoraServerError", {
  message: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {}

/** @internal */
export const cannotListen = (host: string, port: number) => (cause: unknown) =>
  new SoraServerError({
    message: `the development server cannot listen on ${host}:${port}; is the port in use?`,
    cause
  })
