/**
 * The ways to the server: the WebSocket of the node that is spoken to, and the
 * DataChannels. A message goes by the first that takes it.
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { Socket } from "effect/socket"
import * as Signaling from "../../Signaling.ts"
import { SoraConnectionError } from "../../SoraConnectionError.ts"
import type { Channels } from "./channels.ts"
import type { AnyOptions, SignalingEvent } from "./model.ts"
import * as SignalingSocket from "./signalingSocket.ts"
import { type Event, seen, type Way, WebSocketWay } from "./state.ts"

/** @internal */
export interface Transport {
  /** Closes the WebSocket that there is, and takes the first of the URLs that opens. */
  readonly dial: (node: number, urls: ReadonlyArray<string>) => Effect.Effect<void, SoraConnectionError>
  /** Closes the WebSocket, whose end is then no news; waits for the server's half of the handshake, within limits. */
  readonly hangUp: (reason: string) => Effect.Effect<void>
  readonly send: (message: Signaling.ClientMessage, ways: ReadonlyArray<Way>) => void
}

/**
 * WebSockets live in the scope `held`.
 *
 * @internal
 */
export const make = Effect.fnUntraced(function*({ channels, held, onSent, options, post }: {
  readonly options: AnyOptions
  readonly held: Scope.Scope
  readonly channels: Channels
  readonly post: (event: Event) => void
  readonly onSent: (event: SignalingEvent) => void
}): Effect.fn.Return<Transport, never, Socket.WebSocketConstructor> {
  const makeWebSocket = yield* Socket.WebSocketConstructor
  let socket: SignalingSocket.SignalingSocket | undefined

  const hangUp = (reason: string) =>
    Effect.suspend(() => {
      const last = socket
      socket = undefined
      return last === undefined ? Effect.void : last.close(reason)
    })

  const sendBy = (way: Way, message: Signaling.Wire): boolean => {
    const text = JSON.stringify(message)
    const sent = way === WebSocketWay ? socket?.send(text) === true : channels.send(way.label, text)
    if (sent) onSent(seen("sent", way, message))
    return sent
  }

  return {
    dial: Effect.fnUntraced(function*(node, urls) {
      yield* hangUp("redirected")
      socket = yield* SignalingSocket.open(urls, options, {
        onMessage: (text) => post({ _tag: "SocketMessage", node, text }),
        onEnd: (reason, invalid) => post({ _tag: "SocketEnded", node, reason, invalid })
      }, makeWebSocket).pipe(
        Scope.provide(held),
        Effect.mapError((reason) => new SoraConnectionError({ reason }))
      )
      post({ _tag: "SocketOpen", node, url: socket.url })
    }),
    hangUp,
    send(message, ways) {
      const wire = Signaling.encodeClientMessage(message)
      ways.some((way) => sendBy(way, wire))
    }
  }
})
