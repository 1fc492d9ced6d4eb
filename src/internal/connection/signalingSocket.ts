/**
 * The signaling WebSocket: the first URL that opens, its messages, its end.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { Socket } from "effect/socket"
import { ServerClosed, SocketLost } from "../../DisconnectReason.ts"
import { InvalidMessage } from "../../Signaling.ts"
import { Unreachable } from "../../SoraConnectionError.ts"
import { letGo } from "../dataChannel.ts"
import { tooLong } from "../limits.ts"
import { SocketCloseGrace } from "../protocol.ts"
import type { AnyOptions } from "./model.ts"

/** @internal */
export interface SignalingSocket {
  readonly url: string
  /** False when the WebSocket is gone; its end has been, or is about to be, reported. */
  readonly send: (text: string) => boolean
  /** Closes it with 1000 and forgets it: its end is not reported. */
  readonly close: (reason: string) => Effect.Effect<void>
}

/** @internal */
export interface Listener {
  readonly onMessage: (text: string) => void
  /** `invalid` tells of a message for which the WebSocket itself gave up. */
  readonly onEnd: (reason: ServerClosed | SocketLost, invalid?: InvalidMessage) => void
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
    const { cause, code, error, errors, message, reason } = current as Record<string, unknown>
    // Of OpenSSL, whose messages are lines of its source.
    if (typeof code === "string" && code.startsWith("ERR_SSL_") && typeof reason === "string") detail = reason
    else if (typeof message === "string" && message !== "") detail = message
    else if (typeof code === "string") detail = code
    current = error ?? cause ?? (Array.isArray(errors) ? errors[0] : undefined)
  }
  return detail
}

/** Whatever a WebSocket has to say of its failure: an event, or an error. */
const causeOf = (reason: Socket.SocketErrorReason): any => "cause" in reason ? reason.cause : undefined

/** What `ws` says of a message above its `maxPayload`. */
const isTooLong = (reason: Socket.SocketErrorReason): boolean => {
  const cause = causeOf(reason)
  return (cause?.error ?? cause)?.code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"
}

const lostBy = (reason: Socket.SocketErrorReason): string => detailOf(causeOf(reason)) || reason.message

const describe = ({ reason }: Socket.SocketError): string => {
  switch (reason._tag) {
    case "SocketCloseError":
      return reason.code === 1006 ? "closed before it opened" : `closed with ${reason.code} ${reason.closeReason ?? ""}`
    case "SocketOpenError":
      return reason.kind === "Timeout" ? "it did not open in time" : detailOf(reason.cause) || "it did not open"
    default:
      return lostBy(reason)
  }
}

/**
 * Dials the URLs, each a moment after the one before it or as soon as that has
 * failed. The first that opens wins, and the others are closed. The WebSocket
 * lives in the scope.
 *
 * @internal
 */
export const open = Effect.fnUntraced(function*(
  signalingUrls: ReadonlyArray<string>,
  options: AnyOptions,
  listener: Listener,
  makeWebSocket: Socket.WebSocketConstructor["Service"]
): Effect.fn.Return<SignalingSocket, Unreachable, Scope.Scope> {
  const parent = yield* Effect.scope
  const urls = Array.from(new Set(signalingUrls))
  const winner = yield* Deferred.make<SignalingSocket, Unreachable>()
  const failures = new Map<string, string>()
  const failed = (url: string, detail: string) => {
    failures.set(url, detail)
    if (failures.size < urls.length) return
    // In the order in which they were given, whichever failed first.
    const causes = urls.map((url) => ({ url: display(url), detail: failures.get(url)! }))
    Deferred.doneUnsafe(winner, Exit.fail(new Unreachable({ failures: causes })))
  }

  const tryUrl = Effect.fnUntraced(function*(url: string) {
    // A redirect may name anything; what it names stays out of the error.
    if (URL.parse(url) === null) return failed(url, "it cannot be dialled")
    const scope = yield* Scope.fork(parent)
    // Not read off the exit: the winner wakes the race, which interrupts every attempt, this one too.
    let won = false
    yield* Scope.provide(dial(url, options, listener, makeWebSocket, scope), scope).pipe(
      Effect.map((socket) => {
        won = Deferred.doneUnsafe(winner, Exit.succeed(socket))
      }),
      Effect.catch((error) => Effect.sync(() => failed(url, describe(error)))),
      // A WebSocket that throws where none should.
      Effect.catchDefect((defect) => Effect.sync(() => failed(url, detailOf(defect) || "it threw"))),
      Effect.onExit(() => won ? Effect.void : Scope.close(scope, Exit.void))
    )
  })

  return yield* Effect.acquireUseRelease(
    Scope.make("parallel"),
    Effect.fnUntraced(function*(attempts) {
      for (const url of urls) {
        const running = yield* Effect.forkIn(tryUrl(url), attempts)
        const wait = Effect.raceFirst(Fiber.await(running), Effect.sleep(options.attemptDelay ?? "250 millis"))
        yield* Effect.raceFirst(Effect.exit(Deferred.await(winner)), wait)
        if (Deferred.isDoneUnsafe(winner)) break
      }
      return yield* Deferred.await(winner)
    }),
    Scope.close
  )
})

const ignore = () => {}

const whenClosed = (webSocket: Socket.WebSocketLike): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (webSocket.readyState === 3) return resume(Effect.void)
    const onClose = () => resume(Effect.void)
    webSocket.addEventListener("close", onClose)
    return Effect.sync(() => webSocket.removeEventListener("close", onClose))
  })

/** Closes, and waits for the other half of the handshake; `ws` alone would wait 30 seconds for it. */
const release = Effect.fnUntraced(function*(webSocket: Socket.WebSocketLike) {
  letGo(() => webSocket.close(1000))
  // In a fiber that can be interrupted, which a finalizer cannot: else the timeout would not bound it.
  const closed = yield* Effect.forkDetach(Effect.timeoutOption(whenClosed(webSocket), SocketCloseGrace))
  yield* Fiber.await(closed)
  if (webSocket.readyState !== 3 && "terminate" in webSocket) {
    letGo(() => (webSocket as { terminate: () => void }).terminate())
  }
})

const dial = Effect.fnUntraced(function*(
  url: string,
  { headers, openTimeout = "5 seconds" }: AnyOptions,
  listener: Listener,
  makeWebSocket: Socket.WebSocketConstructor["Service"],
  scope: Scope.Closeable
): Effect.fn.Return<SignalingSocket, Socket.SocketError, Scope.Scope> {
  let webSocket: Socket.WebSocketLike | undefined
  const socket = yield* Socket.fromWebSocket(
    Effect.acquireRelease(
      Effect.try({
        try: () => {
          const made = makeWebSocket(url, headers && { headers })
          // For as long as it lives: `ws` says that it was closed before it opened in the tick after `close`, when whoever
          // dialled may be gone or not there yet, and an error that nobody hears ends the process.
          made.addEventListener("error", ignore)
          return webSocket = made
        },
        catch: (cause) => new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) })
      }),
      release
    ),
    { openTimeout }
  )
  const pull = yield* Socket.readerString(socket)

  let closed = false
  yield* pull.pipe(
    Effect.map((texts) => {
      for (const text of texts) if (!closed) listener.onMessage(text)
    }),
    Effect.forever,
    Effect.catch(({ reason }) =>
      Effect.sync(() => {
        if (closed) return
        closed = true
        if (reason._tag === "SocketCloseError") {
          return listener.onEnd(
            reason.code === 1006
              ? new SocketLost({})
              : new ServerClosed({ code: reason.code, reason: reason.closeReason ?? "" })
          )
        }
        listener.onEnd(
          new SocketLost({ detail: lostBy(reason) }),
          isTooLong(reason) ? new InvalidMessage({ issue: tooLong }) : undefined
        )
      })
    ),
    Effect.forkIn(scope)
  )
  return {
    url,
    send(text: string) {
      // One that is closing takes what is sent, and drops it.
      if (closed || webSocket!.readyState !== 1) return false
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
        letGo(() => webSocket!.close(1000, reason))
        return Scope.close(scope, Exit.void)
      })
  }
})
