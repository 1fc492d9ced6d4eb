/**
 * A recording: what went over the wire in one session, as JSON Lines. The first
 * line says which format it is; each other line is one event. Knows no Node, so
 * that a page can write one too.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/** Raised when a reader of the last version could not read what is written now. */
export const FormatVersion = 1

const optional = Schema.optionalKey

/** What may be left out of a recording. Tokens and credentials are never in one. */
export const Redactable = Schema.Literals(["metadata", "addresses"])

export type Redactable = typeof Redactable.Type

/** The first line. */
export const Header = Schema.Struct({
  format: Schema.Literal("effect-sora-rpc/recording"),
  version: Schema.Literal(FormatVersion),
  /** What wrote it, and its version. */
  by: Schema.String,
  /** When it was begun, as RFC 3339. */
  startedAt: Schema.String,
  /** What was taken out, besides tokens and credentials. */
  redacted: Schema.Array(Redactable)
})

const Direction = Schema.Literals(["sent", "received"])

/** Milliseconds since the beginning. */
const at = Schema.Finite

/** A signaling message, with Sora's own names of members. */
export const SignalingLine = Schema.Struct({
  type: Schema.Literal("signaling"),
  at,
  direction: Direction,
  transport: Schema.Literals(["websocket", "datachannel"]),
  label: optional(Schema.String),
  message: Schema.JsonObject
})

/** A frame of the `rpc` channel: its JSON, or its text where it is no JSON. */
export const RpcLine = Schema.Struct({
  type: Schema.Literal("rpc"),
  at,
  direction: Direction,
  message: optional(Schema.Json),
  text: optional(Schema.String)
})

/** The connection came to another state. */
export const StateLine = Schema.Struct({
  type: Schema.Literal("state"),
  at,
  state: Schema.String,
  detail: optional(Schema.String)
})

/** What whoever recorded did or found, such as a step of `doctor`. */
export const NoteLine = Schema.Struct({
  type: Schema.Literal("note"),
  at,
  text: Schema.String,
  data: optional(Schema.Json)
})

export const Line = Schema.Union([SignalingLine, RpcLine, StateLine, NoteLine])

export type Line = typeof Line.Type

/** An event that has no time yet. */
export type Event = Line extends infer L ? L extends Line ? Omit<L, "at"> : never : never

const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Json))

/** A frame of the `rpc` channel; nothing where it is no JSON. */
export const decodeFrame = (frame: string): Schema.Json | undefined => Option.getOrUndefined(decodeJson(frame))

export interface Recording {
  readonly header: typeof Header.Type
  readonly lines: ReadonlyArray<Line>
}

/** A text that is no recording; `issue` says which line, and what was expected of it. */
export class InvalidRecording extends Schema.TaggedError<InvalidRecording>()("InvalidRecording", {
  issue: Schema.String
}) {
  override get message() {
    return `not a recording: ${this.issue}`
  }
}

const decodeHeader = Schema.decodeUnknownEffect(Schema.fromJsonString(Header))
const decodeLine = Schema.decodeUnknownEffect(Schema.fromJsonString(Line))

/** Reads a recording. A line of a type that is not known is an error: to leave it out would change the session. */
export const decode = Effect.fnUntraced(function*(text: string): Effect.fn.Return<Recording, InvalidRecording> {
  const [first = "", ...rest] = text.split(/\r?\n/)
  const header = yield* Effect.mapError(
    decodeHeader(first),
    () => new InvalidRecording({ issue: `its first line is not that of a recording of version ${FormatVersion}` })
  )
  const lines: Array<Line> = []
  for (const [i, line] of rest.entries()) {
    if (line.trim() === "") continue
    lines.push(
      yield* Effect.mapError(
        decodeLine(line),
        // The issue may show a value, and a value may be a secret.
        () => new InvalidRecording({ issue: `line ${i + 2} is no signaling, rpc, state or note event` })
      )
    )
  }
  return { header, lines }
})

export const encodeLine = (line: typeof Header.Type | Line): string => `${JSON.stringify(line)}\n`
