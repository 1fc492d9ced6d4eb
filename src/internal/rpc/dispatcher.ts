/**
 * The server's half of JSON-RPC 2.0, as Sora answers (`sora-protocol.md`
 * sections 4.3 to 4.5): for `SoraServer`, and for tests without a network.
 *
 * What is known of a real Sora is answered to the letter: -32601
 * `UNSUPPORTED-JSON-RPC-METHOD`, checked before the params, and -32602
 * `JSON-RPC-INVALID-PARAMS` with the unknown keys. The texts of the other
 * errors, and `ISSUE` in their data, are guesses.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as SchemaIssue from "effect/SchemaIssue"
import type * as Scope from "effect/Scope"
import type { RpcChannel } from "../../RpcChannel.ts"
import * as SoraMethod from "../../SoraMethod.ts"
import { InvalidOptions, ServerError } from "../../SoraRpcError.ts"
import { scanMembers } from "./jsonRpc.ts"
import * as Observe from "./observe.ts"

const unsupportedMethod = new ServerError({ code: -32601, message: "UNSUPPORTED-JSON-RPC-METHOD" })

/** @internal */
export const invalidParams = (data: Schema.JsonObject): ServerError =>
  new ServerError({ code: -32602, message: "JSON-RPC-INVALID-PARAMS", data })

const parseError = new ServerError({ code: -32700, message: "JSON-RPC-PARSE-ERROR" })
const invalidRequest = new ServerError({ code: -32600, message: "JSON-RPC-INVALID-REQUEST" })
const internalError = new ServerError({ code: -32603, message: "JSON-RPC-INTERNAL-ERROR" })

/** @internal */
export const internalErrorOf = (issue: string): ServerError =>
  new ServerError({ code: internalError.code, message: internalError.message, data: { ISSUE: issue } })

/** The members that the schema does not know, as far as they are members of the params themselves. */
const unknownKeys = (issue: SchemaIssue.Issue, depth = 0): ReadonlyArray<string> => {
  switch (issue._tag) {
    case "Composite":
    case "AnyOf":
      return issue.issues.flatMap((issue) => unknownKeys(issue, depth))
    case "Encoding":
    case "Filter":
      return unknownKeys(issue.issue, depth)
    case "Pointer":
      return depth === 0 && issue.issue._tag === "UnexpectedKey"
        ? [String(issue.path[0])]
        : []
    default:
      return []
  }
}

/**
 * What the user's code returned: the compiler may not have looked at it, and it
 * may be anything, such as the promise of an async function.
 *
 * @internal
 */
export const asEffect = <A, E, R>(what: string, returned: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  if (Effect.isEffect(returned)) return returned
  const other: unknown = returned
  // A rejection that nobody hears would end the process.
  if (other instanceof Promise) other.catch(() => {})
  return Effect.die(new TypeError(`${what} must return an Effect`))
}

/**
 * The names of the handlers' methods, as a server grants them.
 *
 * @internal
 */
export const namesOf = (
  handlers: ReadonlyArray<SoraMethod.Handled<any>>
): Effect.Effect<ReadonlyArray<string>, InvalidOptions> =>
  Effect.suspend(() => {
    const names = handlers.map(({ method }) => SoraMethod.wireName(method))
    const twice = names.find((name, i) => names.indexOf(name) < i)
    return twice === undefined
      ? Effect.succeed(names)
      : Effect.fail(new InvalidOptions({ issue: `handlers: two of them serve ${twice}` }))
  })

interface Prepared<R> {
  readonly handle: (params: unknown, caller: SoraMethod.Caller) => Effect.Effect<unknown, ServerError, R>
}

const prepare = <R>({ handler, method }: SoraMethod.Handled<R>): Prepared<R> => {
  const decode = Schema.decodeUnknownResult(
    method.params === Schema.Void ? Schema.Undefined : Schema.toCodecJson(method.params),
    { onExcessProperty: "error", errors: "all" }
  )
  const encode = Schema.encodeUnknownEffect(Schema.toCodecJson(method.result))
  return {
    handle(params, caller) {
      const input = method.params === Schema.Void
        ? (params !== undefined && isEmptyObject(params) ? undefined : params)
        : params ?? {}
      const decoded = decode(input)
      if (Result.isFailure(decoded)) {
        const keys = unknownKeys(decoded.failure.issue)
        return Effect.fail(
          invalidParams(keys.length > 0 ? { "UNKNOWN-KEYS": keys } : { ISSUE: decoded.failure.message })
        )
      }
      // A result that its own schema refuses is a mistake of the handler.
      return Effect.flatMap(
        asEffect("a handler", handler(decoded.success, caller)),
        (result) => Effect.orDie(encode(result))
      )
    }
  }
}

const isEmptyObject = (u: unknown) => typeof u === "object" && u !== null && Object.keys(u).length === 0

/** @internal */
export interface Dispatcher<R> {
  /** The text to answer with; `undefined` for a notification, whatever came of it. Nothing is called for a `refusal`. */
  readonly dispatch: (
    frame: string,
    caller: SoraMethod.Caller,
    granted: (method: string) => boolean,
    refusal?: ServerError
  ) => Effect.Effect<string | undefined, never, R>
}

/**
 * `alias` maps a name on the wire to the name of a handler, for servers that
 * take unprefixed names.
 *
 * @internal
 */
export const make = <R>(
  handlers: ReadonlyArray<SoraMethod.Handled<R>>,
  alias: (method: string) => string = (method) => method
): Dispatcher<R> => {
  const table = new Map(handlers.map((handled) => [SoraMethod.wireName(handled.method), prepare(handled)]))

  return {
    dispatch(frame, caller, granted, refusal) {
      let request: any
      try {
        request = JSON.parse(frame)
      } catch {
        return Effect.succeed(respondError("null", parseError))
      }
      if (typeof request !== "object" || request === null || Array.isArray(request)) {
        return Effect.succeed(respondError("null", invalidRequest))
      }
      // The id as it was written: 2^64-1 must come back to the digit, and JSON.parse would round it.
      const ids = scanMembers(frame, ["id"])
      const id = ids[0]?.source
      const wellFormed = request.jsonrpc === "2.0" && typeof request.method === "string" && ids.length <= 1 &&
        (request.params === undefined || typeof request.params === "object" && request.params !== null) &&
        (id === undefined || typeof request.id === "number" || typeof request.id === "string")
      if (!wellFormed) {
        const echo = typeof request.id === "number" || typeof request.id === "string" ? id! : "null"
        return Effect.succeed(respondError(echo, invalidRequest))
      }
      const name = alias(request.method)
      const prepared = table.get(name)
      const result = refusal !== undefined
        ? Effect.fail(refusal)
        : prepared === undefined || !granted(name)
        ? Effect.fail(unsupportedMethod)
        : Observe.served(
          Effect.suspend(() => prepared.handle(request.params, caller)),
          name,
          request.id,
          caller
        )
      return Effect.flatMap(Effect.exit(result), (exit) => {
        const { answer, mistake } = answerTo(id, exit)
        // The caller learns only that something went wrong; whoever wrote the handler wants to know what. A logger that
        // fails must not take the answer with it.
        return mistake === undefined
          ? Effect.succeed(answer)
          : Effect.as(Effect.ignoreCause(Effect.logError(`the handler of ${name} failed`, mistake)), answer)
      })
    }
  }
}

const isInt32 = (code: number) => code === (code | 0)

/**
 * What is answered to the request with this id, and the cause when that is the
 * handler's mistake: it failed with anything but a `ServerError` that can be
 * written down.
 */
const answerTo = (
  id: string | undefined,
  exit: Exit.Exit<unknown, ServerError>
): { readonly answer: string | undefined; readonly mistake: Cause.Cause<unknown> | undefined } => {
  const failed = (mistake: Cause.Cause<unknown>) => ({
    answer: id === undefined ? undefined : respondError(id, internalError),
    mistake
  })
  try {
    if (Exit.isSuccess(exit)) {
      return { answer: id === undefined ? undefined : respond(id, exit.value), mistake: undefined }
    }
    const [reason, ...others] = exit.cause.reasons
    if (others.length > 0 || reason === undefined || !Cause.isFailReason(reason)) return failed(exit.cause)
    const error: unknown = reason.error
    if (!(error instanceof ServerError) || !isInt32(error.code)) return failed(exit.cause)
    return { answer: id === undefined ? undefined : respondError(id, error), mistake: undefined }
  } catch (cause) {
    // A result or `data` that has no JSON.
    return failed(Cause.die(cause))
  }
}

/** `id` is the JSON text of the id. */
const respond = (id: string, result: unknown): string =>
  `{"jsonrpc":"2.0","id":${id},"result":${JSON.stringify(result ?? null)}}`

const respondError = (id: string, { code, data, message }: ServerError): string =>
  `{"jsonrpc":"2.0","id":${id},"error":${JSON.stringify({ code, message, data })}}`

/** In place of an answer that does not go through the channel. */
const tooLarge = (answer: string, issue: string): string =>
  respondError(
    scanMembers(answer, ["id"])[0]!.source,
    internalErrorOf(issue)
  )

/**
 * Answers every frame of a channel until the scope closes.
 *
 * @internal
 */
export const serve = Effect.fnUntraced(function*<R>(
  channel: RpcChannel,
  handlers: ReadonlyArray<SoraMethod.Handled<R>>,
  caller: SoraMethod.Caller
): Effect.fn.Return<void, never, R | Scope.Scope> {
  const { dispatch } = make(handlers)
  const run = yield* FiberSet.makeRuntime<R>()
  yield* Effect.acquireRelease(
    Effect.sync(() =>
      channel.listenUnsafe({
        onFrame: (frame) =>
          void run(Effect.map(dispatch(frame, caller, () => true), (answer) => {
            const refused = answer === undefined ? undefined : channel.sendUnsafe(answer)
            if (refused?._tag === "PayloadTooLarge") channel.sendUnsafe(tooLarge(answer!, refused.message))
          }))
      })
    ),
    (detach) => Effect.sync(detach)
  )
})
