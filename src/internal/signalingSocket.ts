/**
 * The signaling WebSocket: the first URL that opens, its messages, its end.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { Socket } from "effect/socket"
import { Unreachable } from "../SoraConnectionError.ts"
import { ServerClosed, SocketLost } from "../SoraRpcError.ts"

/** @internal */
export interface SignalingSocket {
  /** False when the WebSocket is gone; its end has been, or is about to be, reported. */
  readonly send: (text: string) => boolean
  /** Closes it with 1000 and forgets it: its end is not reported. */
  readonly close: (reason: string) => Effect.Effect<void>
}

/** Time that the server has to answer a Close. */
const CloseGrace = Duration.seconds(1)

interface Options {
  readonly openTimeout: Duration.Duration
  readonly onMessage: (text: string) => void
  readonly onEnd: (reason: ServerClosed | SocketLost) => void
}

/** Where the WebSocket goes, without the parts that may be secret. */
const display = (url: string): string => {
  const parsed = URL.parse(url)
  return parsed === null ? "(not a URL)" : `${parsed.protocol}//${parsed.host}${parsed.pathname}`
}

/** The most telling message of a chain of causes: an `ErrorEvent` says "error", its error says ECONNREFUSED. */
const detailOf = (cause: unknown): string => {
  let detail = ""
  let current = cause
  for (let depth = 0; depth < 5 && typeof current === "object" && current !== null; depth++) {
    const { cause, code, error, errors, message } = current as Record<string, unknown>
    if (typeof message === "string" && message !== "") detail = message
    else if (typeof code === "string") detail = code
    current = error ?? cause ?? (Array.isArray(errors) ? errors[0] : undefined)
  }
  return detail
}

const describe = ({ reason }: Socket.SocketError): string => {
  switch (reason._tag) {
    case "SocketCloseError":
      return reason.code === 1006 ? "closed before it opened" : `closed with ${reason.code} ${reason.closeReason ?? ""}`
    case "SocketOpenError":
      return reason.kind === "Timeout" ? "it did not open in time" : detailOf(reason.cause) || "it did not open"
    default:
      return detailOf("cause" in reason ? reason.cause : undefined) || reason.message
  }
}

/**
 * Dials the URLs in order until one opens. The WebSocket lives in the scope.
 *
 * @internal
 */
export const open = Effect.fnUntraced(function*(
  urls: ReadonlyArray<string>,
  options: Options
): Effect.fn.Return<SignalingSocket, Unreachable, Socket.WebSocketConstructor | Scope.Scope> {
  const parent = yield* Effect.scope
  const failures: Array<{ readonly url: string; readonly detail: string }> = []
  for (const url of urls) {
    if (URL.parse(url) === null) {
      // A redirect may name anything; what it names stays out of the error.
      failures.push({ url: display(url), detail: "it cannot be dialled" })
      continue
    }
    const scope = yield* Scope.fork(parent)
    const opened = yield* Effect.exit(Scope.provide(dial(url, options, scope), scope))
    if (Exit.isSuccess(opened)) return opened.value
    yield* Scope.close(scope, Exit.void)
    const failure = opened.cause.reasons.find(Cause.isFailReason)
    // A defect or an interruption is not the URL's fault.
    if (failure === undefined) return yield* Effect.failCause(opened.cause as Cause.Cause<never>)
    failures.push({ url: display(url), detail: describe(failure.error) })
  }
  return yield* new Unreachable({ failures })
})

const whenClosed = (webSocket: Socket.WebSocketLike): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (webSocket.readyState === 3) return resume(Effect.void)
    const onClose = () => resume(Effect.void)
    webSocket.addEventListener("close", onClose)
    return Effect.sync(() => webSocket.removeEventListener("close", onClose))
  })

/** Closes, and waits for the other half of the handshake; `ws` alone would wait 30 seconds for it. */
const release = Effect.fnUntraced(function*(webSocket: Socket.WebSocketLike) {
  webSocket.close(1000)
  // In a fiber that can be interrupted, which a finalizer cannot: else the timeout would not bound it.
  const closed = yield* Effect.forkDetach(Effect.timeoutOption(whenClosed(webSocket), CloseGrace))
  yield* Fiber.await(closed)
  if (webSocket.readyState !== 3 && "terminate" in webSocket) (webSocket as { terminate: () => void }).terminate()
})

const dial = Effect.fnUntraced(function*(
  url: string,
  options: Options,
  scope: Scope.Closeable
): Effect.fn.Return<SignalingSocket, Socket.SocketError, Socket.WebSocketConstructor | Scope.Scope> {
  const makeWebSocket = yield* Socket.WebSocketConstructor
  let webSocket: Socket.WebSocketLike | undefined
  const socket = yield* Socket.fromWebSocket(
    Effect.acquireRelease(
      Effect.try({
        try: () => (webSocket = makeWebSocket(url)),
        catch: (cause) => new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) })
      }),
      release
    ),
    { openTimeout: options.openTimeout }
  )
  const pull = yield* Socket.readerString(socket)

  let closed = false
  yield* pull.pipe(
    Effect.map((texts) => {
      for (const text of texts) if (!closed) options.onMessage(text)
    }),
    Effect.forever,
    Effect.catch(({ reason }) =>
      Effect.sync(() => {
        if (closed) return
        closed = true
        options.onEnd(
          reason._tag === "SocketCloseError" && reason.code !== 1006
            ? new ServerClosed({ code: reason.code, reason: reason.closeReason ?? "" })
            : new SocketLost({})
        )
      })
    ),
    Effect.forkIn(scope)
  )
  return {
    send(text: string) {
      if (closed) return false
      try {
        webSocket!.send(text)
        return true
      } catch {
        return false
      }
    },
    close: (reason: string) =>
      Effect.suspend(() => {
        closed = true
        webSocket!.close(1000, reason)
        return Scope.close(scope, Exit.void)
      })
  }
})
