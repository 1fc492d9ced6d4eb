/**
 * The flags by which the demo is told what to connect to.
 */
import * as CliError from "effect/cli/CliError"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"

/** Something on the command line that cannot be used. */
export class BadFlag extends Schema.TaggedError<BadFlag>()("BadFlag", { flag: Schema.String, mend: Schema.String }) {
  override readonly [Runtime.errorExitCode] = 1
  override get [CliError.userMessage]() {
    return `--${this.flag}: ${this.mend}`
  }
}

/** A JSON text; the error does not repeat it, because it may hold a token. */
export const parseJson = (flag: string, text: string): Effect.Effect<Schema.Json, BadFlag> =>
  Effect.mapError(
    Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Json))(text),
    () =>
      new BadFlag({
        flag,
        mend: `${
          flag === "metadata" ? "it, or SORA_METADATA, is " : ""
        }not JSON; quote it for the shell, such as --${flag} '{"key":"value"}'`
      })
  )

/** One or more `--signaling-url`. */
export const signalingUrls = Flag.String("signaling-url").pipe(
  Flag.withDescription("Signaling URL, ws:// or wss://; may be given more than once"),
  Flag.atLeast(0)
)

export const channelId = Flag.String("channel-id").pipe(
  Flag.withDescription("Channel to join"),
  Flag.withFallbackConfig(Config.String("SORA_CHANNEL_ID")),
  Flag.optional
)

export const metadata = Flag.Redacted("metadata").pipe(
  Flag.withDescription("JSON for the server's authentication; SORA_METADATA keeps it out of the process list"),
  Flag.withFallbackConfig(Config.Redacted("SORA_METADATA")),
  Flag.optional
)

/** `--metadata` as the option of a connection. */
export const parseMetadata = (text: Option.Option<Redacted.Redacted<string>>) =>
  Option.isNone(text)
    ? Effect.succeed({})
    : Effect.map(parseJson("metadata", Redacted.value(text.value)), (json) => ({ metadata: Redacted.make(json) }))
