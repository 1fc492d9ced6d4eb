/**
 * Writes a recording as things happen: each line is in the file before anything
 * else is done, so that a session that ends badly is recorded up to its end.
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { closeSync, fchmodSync, fstatSync, openSync, writeFileSync } from "node:fs"
import { Version } from "../../internal/version.ts"
import { badUsage, type Failure } from "../failure.ts"
import * as Format from "./format.ts"
import * as Redact from "./redact.ts"

export interface Recorder {
  readonly redactor: Redact.Redactor
  readonly signaling: (event: {
    readonly direction: "sent" | "received"
    readonly transport: "websocket" | "datachannel"
    readonly label?: string | undefined
    readonly message: Schema.JsonObject
  }) => void
  /** A JSON-RPC frame. */
  readonly rpc: (direction: "sent" | "received", frame: string) => void
  readonly state: (state: string, detail?: string) => void
  readonly note: (text: string, data?: Schema.Json) => void
  /** Fails when a line could not be written; nothing is, after it. */
  readonly broken: Deferred.Deferred<never, Failure>
}

/** A recorder of which nothing is kept. */
export const nowhere = (redactor: Redact.Redactor): Recorder => of(redactor, () => {}, Deferred.makeUnsafe())

const of = (
  redactor: Redact.Redactor,
  add: (event: Format.Event) => void,
  broken: Recorder["broken"]
): Recorder => ({
  redactor,
  broken,
  signaling: ({ direction, label, message, transport }) =>
    add({
      type: "signaling",
      direction,
      transport,
      ...(label === undefined ? {} : { label }),
      message: redactor.json(message) as Schema.JsonObject
    }),
  rpc(direction, frame) {
    const message = Format.decodeFrame(frame)
    add(
      message === undefined
        ? { type: "rpc", direction, text: redactor.text(frame) }
        : { type: "rpc", direction, message: redactor.json(message) }
    )
  },
  state: (state, detail) =>
    add({ type: "state", state, ...(detail === undefined ? {} : { detail: redactor.text(detail) }) }),
  note: (text, data) =>
    add({
      type: "note",
      text: redactor.text(text),
      ...(data === undefined ? {} : { data: redactor.json(data) })
    })
})

/** One that was there keeps its mode when it is opened. */
const openOwn = (path: string): number => {
  const file = openSync(path, "w", 0o600)
  try {
    if (fstatSync(file).isFile()) fchmodSync(file, 0o600)
    return file
  } catch (cause) {
    closeSync(file)
    throw cause
  }
}

/** A recorder into a file, which only its owner may read. */
export const make = Effect.fnUntraced(function*(options: {
  readonly path: string
  readonly secrets: ReadonlyArray<string>
  readonly keep: ReadonlyArray<Format.Redactable>
}): Effect.fn.Return<Recorder, Failure, Scope.Scope> {
  const clock = yield* Clock.Clock
  const begun = clock.currentTimeMillisUnsafe()
  const cannot = (cause: unknown) =>
    badUsage(options.path, `cannot be written: ${cause instanceof Error ? cause.message : "?"}`)
  const file = yield* Effect.acquireRelease(
    Effect.try({
      try: () => openOwn(options.path),
      catch: cannot
    }),
    (file) => Effect.sync(() => closeSync(file))
  )
  const broken = yield* Deferred.make<never, Failure>()
  // Told of from within the connection's own events, which it must not throw into.
  const write = (line: Parameters<typeof Format.encodeLine>[0]) => {
    if (Deferred.isDoneUnsafe(broken)) return
    try {
      writeFileSync(file, Format.encodeLine(line))
    } catch (cause) {
      Deferred.doneUnsafe(broken, Exit.fail(cannot(cause)))
    }
  }
  write({
    format: "effect-sora-rpc/recording",
    version: Format.FormatVersion,
    by: `effect-sora-rpc ${Version}`,
    startedAt: DateTime.formatIso(DateTime.makeUnsafe(begun)),
    redacted: Format.Redactable.literals.filter((what) => !options.keep.includes(what))
  })
  if (Deferred.isDoneUnsafe(broken)) yield* Deferred.await(broken)
  const redactor = Redact.make(options)
  return of(
    redactor,
    (event) => write({ ...event, at: clock.currentTimeMillisUnsafe() - begun } as Format.Line),
    broken
  )
})
