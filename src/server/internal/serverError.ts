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
