/**
 * A connection of which everything is looked at on the way: its WebSocket, its
 * peer connection and DataChannels, and each frame of its `rpc` channel.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { Socket } from "effect/socket"
import * as Stream from "effect/Stream"
import type { DisconnectReason } from "../../DisconnectReason.ts"
import type * as NodeSora from "../../node/NodeSora.ts"
import { PeerConnection, type PeerConnectionLike } from "../../PeerConnection.ts"
import * as Signaling from "../../Signaling.ts"
import * as SoraConnection from "../../SoraConnection.ts"
import type { SoraConnectionError } from "../../SoraConnectionError.ts"
import { platformOf } from "../connection.ts"
import { decodeFrame } from "../recording/format.ts"
import type { Recorder } from "../recording/recorder.ts"

const isObject = Schema.is(Schema.JsonObject)

/** What was seen of a connection, from its first byte. */
export interface Seen {
  /** WebSockets that opened; a redirect makes another one. */
  opened: number
  redirects: number
  offer: Schema.JsonObject | undefined
  /** Times of pings, in milliseconds. */
  readonly pings: Array<number>
  readonly peerStates: Array<string>
  /** Labels, in the order in which they opened; `switched` among them when the server said so. */
  readonly opening: Array<string>
  /** How messages of each label come: texts, binary, and binary with the head of zlib. */
  readonly forms: Map<string, Set<"text" | "binary" | "zlib">>
  /** What came, in order: the label of a DataChannel, or the type of a message of the WebSocket. */
  readonly arrivals: Array<string>
  /** The `data` of pushes. */
  readonly pushes: Array<Schema.Json>
}

const nothing = (): Seen => ({
  opened: 0,
  redirects: 0,
  offer: undefined,
  pings: [],
  peerStates: [],
  opening: [],
  forms: new Map(),
  arrivals: [],
  pushes: []
})

const formOf = (data: unknown): "text" | "binary" | "zlib" => {
  if (typeof data === "string") return "text"
  const bytes = data instanceof ArrayBuffer
    ? new Uint8Array(data)
    : ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array()
  // RFC 1950, section 2.2: the method is 8, and both bytes are a multiple of 31.
  const [method = 0, flags = 0] = bytes
  return (method & 0x0f) === 8 && ((method << 8) + flags) % 31 === 0 ? "zlib" : "binary"
}

/** A WebSocket whose messages are told, both ways. */
const lookAtSocket = (
  webSocket: ReturnType<Socket.WebSocketConstructor["Service"]>,
  tell: (direction: "sent" | "received", message: Signaling.Wire) => void,
  opened: () => void
) => {
  const read = (direction: "sent" | "received", data: unknown) => {
    const parsed = typeof data === "string" ? Signaling.parseMessage(data) : undefined
    if (parsed !== undefined && Result.isSuccess(parsed)) tell(direction, parsed.success)
  }
  webSocket.addEventListener("open", opened)
  webSocket.addEventListener("message", ({ data }) => read("received", String(data)))
  const send = webSocket.send.bind(webSocket)
  webSocket.send = (data) => {
    read("sent", data)
    send(data)
  }
  return webSocket
}

const lookAtPeer = (peer: PeerConnectionLike, seen: Seen) => {
  peer.addEventListener("connectionstatechange", () => seen.peerStates.push(peer.connectionState))
  peer.addEventListener("datachannel", ({ channel }) => {
    const { label } = channel
    const opened = () => {
      if (!seen.opening.includes(label)) seen.opening.push(label)
    }
    if (channel.readyState === "open") opened()
    channel.addEventListener("open", opened)
    channel.addEventListener("message", ({ data }: { readonly data: unknown }) => {
      seen.arrivals.push(label)
      const forms = seen.forms.get(label) ?? new Set()
      seen.forms.set(label, forms.add(formOf(data)))
    })
  })
  return peer
}

const tappedPlatform = (
  options: NodeSora.Options,
  seen: Seen,
  tell: (direction: "sent" | "received", message: Signaling.Wire) => void,
  now: () => number
) =>
  Layer.unwrap(Effect.map(
    Effect.context<PeerConnection | Socket.WebSocketConstructor>(),
    (context) => {
      const platform = Context.get(context, PeerConnection)
      const makeWebSocket = Context.get(context, Socket.WebSocketConstructor)
      const received = (message: Signaling.Wire) => {
        seen.arrivals.push(String(message.type))
        if (message.type === "redirect") seen.redirects++
        if (message.type === "offer") seen.offer = message as Schema.JsonObject
        if (message.type === "ping") seen.pings.push(now())
        if (message.type === "switched") seen.opening.push("switched")
      }
      return Layer.merge(
        Layer.succeed(PeerConnection, {
          environment: platform.environment,
          make: (configuration) => Effect.map(platform.make(configuration), (peer) => lookAtPeer(peer, seen))
        }),
        Layer.succeed(Socket.WebSocketConstructor, (url, options) =>
          lookAtSocket(makeWebSocket(url, options), (direction, message) => {
            if (direction === "received") {
              received(message)
            }
            tell(direction, message)
          }, () =>
            void seen.opened++))
      )
    }
  )).pipe(Layer.provide(platformOf(options)))

/** The `rpc` channel, frame by frame. */
export interface Raw {
  /** Every frame that came. */
  readonly frames: ReadonlyArray<string>
  /** One at a time: sends a frame and gives the first one that matches; nothing when none comes in time, or it could not be sent. */
  readonly ask: (
    frame: string,
    matches: (answer: Schema.Json | undefined) => boolean,
    timeout?: Duration.Input
  ) => Effect.Effect<Schema.Json | undefined>
  readonly send: (frame: string) => string | undefined
  /** Has each call been answered in time and once, and did nothing else come? Else an answer without an id is anybody's. */
  readonly isTidy: () => boolean
}

export interface Session {
  readonly connection: SoraConnection.SoraConnection["Service"]
  readonly seen: Seen
  readonly raw: Raw
  /** Why it is over, if it is. */
  readonly over: Effect.Effect<DisconnectReason | undefined>
  readonly close: Effect.Effect<void>
}

/** What an answer or a call names itself by; nothing where that is null, or no object. */
export const idOf = (json: Schema.Json | undefined): Schema.Json | undefined =>
  isObject(json) ? json.id ?? undefined : undefined

const rawOf = ({ transport: { channel } }: SoraConnection.SoraConnection["Service"], recorder: Recorder): Raw => {
  const frames: Array<string> = []
  /** The ids of calls that wait. */
  const owed = new Set<Schema.Json | undefined>()
  let isTidy = true
  /** What the one that asks is told; says whether that is its answer. */
  let waiting: ((json: Schema.Json | undefined) => boolean) | undefined
  channel.listenUnsafe({
    onFrame(frame) {
      recorder.rpc("received", frame)
      frames.push(frame)
      const json = decodeFrame(frame)
      // A request of the server's answers nobody.
      if (isObject(json) && "method" in json) return
      const isOwed = owed.delete(idOf(json))
      if (waiting?.(json) !== true && !isOwed) isTidy = false
    }
  })
  const send = (frame: string) => {
    const refused = channel.sendUnsafe(frame)
    if (refused !== undefined) return refused.message
    recorder.rpc("sent", frame.length > 4096 ? `${frame.slice(0, 64)}…` : frame)
    const json = decodeFrame(frame)
    const id = idOf(json)
    // Others may rightly be left without an answer.
    if (typeof id === "number" && isObject(json) && "method" in json) owed.add(id)
    return undefined
  }
  return {
    frames,
    send,
    isTidy: () => isTidy,
    ask: (frame, matches, timeout = "3 seconds") =>
      Effect.gen(function*() {
        const answer = yield* Deferred.make<Schema.Json | undefined>()
        waiting = (json) => {
          const isIt = matches(json)
          if (isIt) Deferred.doneUnsafe(answer, Exit.succeed(json))
          return isIt
        }
        if (send(frame) !== undefined) return undefined
        const came = yield* Effect.timeoutOption(Deferred.await(answer), timeout)
        // It may have been answered without its id.
        if (Option.isSome(came)) owed.delete(idOf(decodeFrame(frame)))
        if (owed.size > 0) isTidy = false
        return Option.getOrUndefined(came)
      }).pipe(Effect.ensuring(Effect.sync(() => {
        waiting = undefined
      })))
  }
}

/**
 * Connects. What was seen is in `seen` whether or not it comes to a connection;
 * of one that does not, its WebSocket's messages are recorded.
 */
export const open = Effect.fnUntraced(function*(
  options: NodeSora.Options,
  recorder: Recorder,
  seen: Seen = nothing()
): Effect.fn.Return<Session, SoraConnectionError> {
  const clock = yield* Clock.Clock
  const scope = yield* Scope.make()
  const unheard: Array<() => void> = []
  const { proxy: _proxy, tls: _tls, ...own } = options
  const layer = SoraConnection.layer(own).pipe(
    Layer.provide(tappedPlatform(
      options,
      seen,
      (direction, message) =>
        unheard.push(() =>
          recorder.signaling({ direction, transport: "websocket", message: message as Schema.JsonObject })
        ),
      () => clock.currentTimeMillisUnsafe()
    ))
  )
  const context = yield* Layer.buildWithScope(layer, scope).pipe(
    Effect.onError(() =>
      Effect.andThen(
        Scope.close(scope, Exit.void),
        Effect.sync(() => {
          for (const record of unheard) record()
        })
      )
    )
  )
  const connection = Context.get(context, SoraConnection.SoraConnection)
  const following = yield* Effect.forkDetach(
    Stream.runForEach(connection.signaling, (event) =>
      Effect.sync(() => {
        if (event.message.type === "push") seen.pushes.push(event.message.data ?? null)
        recorder.signaling({ ...event, message: event.message as Schema.JsonObject })
      }))
  )
  return {
    connection,
    seen,
    raw: rawOf(connection, recorder),
    over: Effect.map(connection.state, (state) => state._tag === "Disconnected" ? state.reason : undefined),
    close: Effect.andThen(
      Scope.close(scope, Exit.void),
      Effect.asVoid(Effect.timeoutOption(Fiber.await(following), "2 seconds"))
    )
  }
})

export { nothing }

/** How a WebSocket ended that was told nothing more. */
export interface Closed {
  readonly code: number
  readonly reason: string
}

const MaxRedirects = 5

/** What a bare WebSocket is told that sends one message: the first answer, or the end; nothing within five seconds. */
export const askSocket = Effect.fnUntraced(function*(
  options: NodeSora.Options,
  url: string,
  message: Signaling.Wire,
  recorder: Recorder
): Effect.fn.Return<Signaling.Wire | Closed | undefined> {
  const makeWebSocket = yield* Effect.scoped(
    Effect.map(Layer.build(platformOf(options)), (context) => Context.get(context, Socket.WebSocketConstructor))
  )
  const record = (direction: "sent" | "received", message: Signaling.Wire) =>
    recorder.signaling({ direction, transport: "websocket", message: message as Schema.JsonObject })

  const ask = (url: string, message: Signaling.Wire) =>
    Effect.acquireUseRelease(
      Effect.sync(() => makeWebSocket(url)),
      (webSocket) =>
        Effect.callback<Signaling.Wire | Closed>((resume) => {
          webSocket.addEventListener("open", () => {
            record("sent", message)
            webSocket.send(JSON.stringify(message))
          })
          webSocket.addEventListener("message", ({ data }) => {
            const parsed = Signaling.parseMessage(String(data))
            if (Result.isFailure(parsed) || parsed.success.type === "ping") return
            record("received", parsed.success)
            // It has an offer that nobody will answer.
            if (parsed.success.type === "offer") {
              webSocket.send(JSON.stringify({ type: "disconnect", reason: "NO-ERROR" }))
            }
            resume(Effect.succeed(parsed.success))
          })
          webSocket.addEventListener(
            "close",
            ({ code = 1006, reason = "" }) => resume(Effect.succeed({ code, reason }))
          )
          webSocket.addEventListener("error", () => {})
        }).pipe(Effect.timeoutOption("5 seconds"), Effect.map(Option.getOrUndefined)),
      (webSocket) => Effect.sync(() => webSocket.close())
    )

  let answer = yield* ask(url, message)
  for (let i = 0; i < MaxRedirects && answer !== undefined && "location" in answer; i++) {
    answer = yield* ask(String(answer.location), { ...message, redirect: true })
  }
  return answer
})
