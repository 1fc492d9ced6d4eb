/**
 * The ways to the client: its WebSocket, and the DataChannels by their labels.
 * A client that takes nothing is not sent to without end.
 */
import type { WebSocket } from "@effect/platform-node/NodeWS"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { Socket } from "effect/socket"
import { letGo } from "../../../internal/dataChannel.ts"
import { MaxMessageBytes, SocketCloseGrace } from "../../../internal/protocol.ts"
import { decodeMessage, encodeMessage } from "../../../internal/rpc/channel.ts"
import { sendData } from "../../../internal/signaling/labelled.ts"
import * as Signaling from "../../../Signaling.ts"
import { bufferOverflow, closeReason } from "../ends.ts"
import type { Line } from "../tap.ts"
import type { Channels } from "./channels.ts"
import type { Ending } from "./ending.ts"
import type { Event } from "./state.ts"

/** What sends tells whether it was sent. */
export interface Transport {
  readonly sendOnSocket: (message: Signaling.ServerMessage) => boolean
  readonly sendOnChannel: (label: string, text: string) => boolean
  /** As it is on the wire. */
  readonly sendData: (label: string, data: string | Uint8Array<ArrayBuffer>) => boolean
  /** On its label once signaling has moved to the DataChannels, else on the WebSocket. */
  readonly deliver: (label: "signaling" | "notify" | "push", message: Signaling.ServerMessage) => boolean
  /** On the `signaling` channel, and nowhere else. */
  readonly announce: (message: Signaling.ServerMessage) => void
  /** Asks for statistics, on whichever transport signaling is. */
  readonly askForStatistics: () => boolean
  readonly isSocketOpen: () => boolean
  /** Closes the WebSocket, and waits for the other half of the handshake, within limits. */
  readonly close: (code: number, reason: string) => Effect.Effect<void>
  /** Cuts the WebSocket off. */
  readonly terminate: () => void
  /** Nothing is sent on the WebSocket any more, and it stays open. */
  readonly silence: () => void
  /** Waits until the WebSocket has closed. */
  readonly closed: Effect.Effect<void>
  /** Posts what comes on the WebSocket, and its end. */
  readonly read: Effect.Effect<void>
}

const textOf = (message: Signaling.ServerMessage): string => JSON.stringify(Signaling.encodeServerMessage(message))

/** Empty for what no client could read. */
const readable = (data: string | Uint8Array, compress: boolean): string => {
  try {
    return decodeMessage(data, compress, MaxMessageBytes)
  } catch {
    return ""
  }
}

export const make = Effect.fnUntraced(function*(webSocket: WebSocket, options: {
  readonly channels: Channels
  readonly ending: Ending
  readonly line: Line
  readonly maxBufferedBytes: number
  /** Whether signaling has moved to the DataChannels. */
  readonly isSwitched: () => boolean
  readonly post: (event: Event) => void
}): Effect.fn.Return<Transport, never, Scope.Scope> {
  const { channels, ending, isSwitched, line, maxBufferedBytes, post } = options
  const closed = yield* Deferred.make<void>()
  const isSocketOpen = () => !Deferred.isDoneUnsafe(closed)

  const socket = yield* Socket.fromWebSocket(
    Effect.acquireRelease(Effect.succeed(webSocket), (webSocket) => Effect.sync(() => webSocket.close()))
  )

  /** A client that asks and does not take the answers is not served any longer. */
  const hasRoomFor = (bytes: number): boolean => {
    if (webSocket.bufferedAmount + channels.buffered() + bytes <= maxBufferedBytes) return true
    ending.end(bufferOverflow)
    return false
  }

  const sendOnSocket = (message: Signaling.ServerMessage): boolean => {
    if (!isSocketOpen()) return false
    try {
      const text = textOf(message)
      if (!hasRoomFor(text.length)) return false
      webSocket.send(text)
      line.message("sent", "websocket", undefined, text)
      return true
    } catch {
      return false
    }
  }

  const sendOnLabel = (label: string, data: string | Uint8Array<ArrayBuffer>): boolean => {
    const to = channels.get(label)
    return to?.channel.readyState === "open" && hasRoomFor(data.length) && sendData(to, data)
  }

  const sendOnChannel = (label: string, text: string): boolean => {
    const to = channels.get(label)
    const sent = to !== undefined && sendOnLabel(label, encodeMessage(text, to.compress))
    if (sent) line.message("sent", "datachannel", label, text)
    return sent
  }

  const sendRaw = (label: string, data: string | Uint8Array<ArrayBuffer>): boolean => {
    const sent = sendOnLabel(label, data)
    // A response that was spoilt on purpose. Messages of the application are nobody's business.
    if (sent && label === "rpc" && line.isWatched()) {
      line.message("sent", "datachannel", label, readable(data, channels.get(label)?.compress ?? false))
    }
    return sent
  }

  return {
    sendOnSocket,
    sendOnChannel,
    sendData: sendRaw,
    deliver: (label, message) => isSwitched() && sendOnChannel(label, textOf(message)) || sendOnSocket(message),
    announce(message) {
      if (isSwitched()) sendOnChannel("signaling", textOf(message))
    },
    askForStatistics: () =>
      isSwitched()
        ? sendOnChannel("stats", textOf({ type: "req-stats" }))
        : sendOnSocket({ type: "ping", stats: true }),
    isSocketOpen,
    close: (code, reason) =>
      Effect.suspend(() => {
        if (!isSocketOpen()) return Effect.void
        letGo(() => webSocket.close(code, closeReason(reason)))
        return Effect.asVoid(Effect.timeoutOption(Deferred.await(closed), SocketCloseGrace))
      }),
    terminate: () => webSocket.terminate(),
    silence() {
      // `ws` answers a Close frame and a ping by itself, and its reader says Close when it is released.
      Object.assign(webSocket, { send: () => {}, close: () => {}, pong: () => {} })
    },
    closed: Effect.callback<void>((resume) => {
      if (webSocket.readyState === 3) return resume(Effect.void)
      const onClose = () => resume(Effect.void)
      webSocket.addEventListener("close", onClose, { once: true })
      return Effect.sync(() => webSocket.removeEventListener("close", onClose))
    }),
    read: Socket.readerString(socket).pipe(
      Effect.flatMap((pull) =>
        Effect.forever(Effect.map(pull, (texts) => {
          for (const text of texts) if (!ending.isOver()) post({ _tag: "SocketMessage", text })
        }))
      ),
      Effect.scoped,
      Effect.catch(() =>
        Effect.sync(() => {
          Deferred.doneUnsafe(closed, Exit.void)
          post({ _tag: "SocketEnded" })
        })
      )
    )
  }
})
