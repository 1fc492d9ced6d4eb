/**
 * The other end of `SoraConnection.layerTest`: as much of a Sora as one client
 * in memory needs, and the service by which a test drives it. Everything on the
 * client's side is what runs over a real network too.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { Socket } from "effect/socket"
import type { ChannelClosed, PeerFailed, Redirected, ServerClosed, SocketLost } from "../../DisconnectReason.ts"
import { type DataChannelLike, PeerConnection, type TrackEvent } from "../../PeerConnection.ts"
import * as Signaling from "../../Signaling.ts"
import type { Refused } from "../../SoraConnectionError.ts"
import type * as SoraMethod from "../../SoraMethod.ts"
import type * as SoraRpc from "../../SoraRpc.ts"
import type { InvalidOptions } from "../../SoraRpcError.ts"
import { CloseCode, CloseReason, isUserLabel, ManagedLabels } from "../protocol.ts"
import * as Channel from "../rpc/channel.ts"
import * as Dispatcher from "../rpc/dispatcher.ts"
import { type Labelled, sendText } from "../signaling/labelled.ts"
import type { Member, Options } from "./model.ts"
import * as Network from "./testNetwork.ts"

/**
 * What a test may say of somebody who joins.
 *
 * @category testing
 * @since 0.1.0
 */
export type TestMember = Partial<Omit<Member, "isSelf">>

/**
 * The server that a program under `layerTest` is connected to. The program's own
 * fibers go on by themselves: wait for what they do, or let time pass with
 * `TestClock`. A message needs a connection; without one it is a defect.
 *
 * @category services
 * @since 0.1.0
 */
export class TestSora extends Context.Service<TestSora, {
  /** Sends a push with this `data`. */
  readonly push: (data: Schema.Json) => Effect.Effect<void>
  /** Sends any signaling message: a notify event, a re-offer, … */
  readonly send: (message: Signaling.ServerMessage) => Effect.Effect<void>
  /** Somebody joins the channel, by default as `sendrecv`; gives its connection id. Possible without a connection too. */
  readonly join: (member?: TestMember) => Effect.Effect<string>
  /** Somebody leaves. Possible without a connection too, which then finds it gone. */
  readonly leave: (connectionId: string) => Effect.Effect<void>
  /** Puts somebody's metadata, as RPC does; `push` tells of it. Default true. */
  readonly putMetadata: (
    connectionId: string,
    metadata: Schema.Json,
    options?: { readonly push?: boolean | undefined }
  ) => Effect.Effect<void>
  /** A track of somebody's comes. */
  readonly track: (event: TrackEvent) => Effect.Effect<void>
  /** The server's ends of the application's own DataChannels, by label. */
  readonly dataChannels: Effect.Effect<ReadonlyMap<string, DataChannelLike>>
  /**
   * Breaks the connection, for this reason as the client finds it: a Close, a
   * WebSocket that is lost (while the connection has one), a DataChannel that closes (half a second goes by
   * before that counts, see `reliability.md`), a peer that fails, a late redirect.
   */
  readonly disconnect: (
    reason: ServerClosed | SocketLost | ChannelClosed | PeerFailed | Redirected
  ) => Effect.Effect<void>
  /** Whether a signaling URL can be dialled from now on. A connection that is up stays. */
  readonly setReachable: (isReachable: boolean) => Effect.Effect<void>
}>()("effect-sora-rpc/SoraConnection/TestSora") {}

/**
 * What to connect as, all of it optional, and how the server behaves.
 *
 * @category testing
 * @since 0.1.0
 */
export interface TestOptions<R = never, E = never, R2 = never, E2 = never, R3 = never>
  extends Partial<Omit<Options<E, R2, E2, R3>, "signalingUrls">>
{
  /** What answers calls; a method without a handler is not granted. They may use {@link TestSora}. */
  readonly handlers?: ReadonlyArray<SoraMethod.Handled<R>> | undefined
  /**
   * Run for each `connect`: fails with what the client is refused with, or gives members
   * of the offer, such as its `metadata`. Default: an offer that grants every
   * method with a handler.
   */
  readonly authenticate?:
    | ((connect: Signaling.Connect) => Effect.Effect<Partial<Signaling.Offer>, Refused, R>)
    | undefined
  /** Options of `SoraRpc`. */
  readonly rpc?: SoraRpc.Options | undefined
}

/** @internal */
export const SignalingUrl = "wss://sora.test/signaling"

/** Turns of the event loop that the client has for what it is sent: more than it takes to hand it to a subscriber. */
const Turns = 32

const nextTurn: (run: () => void) => void = "setImmediate" in globalThis
  ? globalThis.setImmediate
  : (run) => setTimeout(run, 0)

const settle = Effect.callback<void>((resume) => {
  let turns = Turns
  const turn = () => turns-- > 0 ? nextTurn(turn) : resume(Effect.void)
  turn()
})

const idOf = (kind: "TEST" | "PEER", number: number) => `${kind}${String(number).padStart(22, "0")}`

const sdpOf = (connectionId: string) =>
  ["v=0", `s=${connectionId}`, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", ""].join("\r\n") +
  `a=max-message-size:${Channel.MaxMessageBytes}\r\n`

/** Of Sora's own labels, the one that a message goes by once signaling has moved. */
const labelOf = ({ type }: Signaling.ServerMessage) =>
  type === "notify" || type === "push" ? type : type === "req-stats" ? "stats" : "signaling"

type Present = Omit<Member, "isSelf">

/** A connection as the server has it. */
interface Link {
  readonly webSocket: Network.WebSocket
  readonly scope: Scope.Closeable
  readonly channels: Map<string, Labelled & { readonly channel: Network.DataChannel }>
  offer: Signaling.Offer | undefined
  /** As it is listed, once it has joined. */
  self: Present | undefined
  peer: Network.PeerConnection | undefined
  isSwitched: boolean
}

/** @internal */
export const make = Effect.fnUntraced(function*<R = never>(
  { authenticate = () => Effect.succeed({}), handlers = [] }: Pick<TestOptions<R>, "authenticate" | "handlers">
): Effect.fn.Return<
  {
    readonly sora: TestSora["Service"]
    readonly platform: Layer.Layer<PeerConnection | Socket.WebSocketConstructor>
  },
  InvalidOptions,
  Exclude<R, TestSora> | Scope.Scope
> {
  const context = yield* Effect.context<Exclude<R, TestSora>>()
  const layerScope = yield* Effect.scope
  const granted = yield* Dispatcher.namesOf(handlers)
  const run = yield* FiberSet.makeRuntime()

  const others = new Map<string, Present>()
  let isReachable = true
  let joined = 0
  let connected = 0
  let current: Link | undefined
  /** By the SDP of its offer. */
  const offered = new Map<string, Link>()

  // ---------------------------------------------------------------- to the client

  const deliver = (link: Link, message: Signaling.ServerMessage) => {
    const text = JSON.stringify(Signaling.encodeServerMessage(message))
    const isSent = link.isSwitched && message.type !== "redirect" && sendText(link.channels.get(labelOf(message)), text)
    if (!isSent) link.webSocket.deliver(text)
  }

  /** An event about somebody, after it has happened. */
  const about = (member: Present) => {
    const all = [...others.values(), ...(current?.self === undefined ? [] : [current.self])]
    const count = (role: Signaling.Role) => all.filter((other) => other.role === role).length
    return {
      type: "notify",
      ...member,
      minutes: 0,
      channelConnections: all.length,
      channelSendrecvConnections: count("sendrecv"),
      channelSendonlyConnections: count("sendonly"),
      channelRecvonlyConnections: count("recvonly"),
      turnTransportType: "udp"
    } as const
  }

  /** Nothing of the connection is left. */
  const drop = (link: Link) => {
    if (link === current) current = undefined
    if (link.offer !== undefined) offered.delete(link.offer.sdp)
    for (const { channel } of link.channels.values()) channel.close()
    link.webSocket.end(1000, "")
    run(Scope.close(link.scope, Exit.void))
  }

  const refuse = (link: Link, code: number, reason: string) => {
    link.webSocket.end(code, reason)
    drop(link)
  }

  // ---------------------------------------------------------------- from the client

  const offer = Effect.fnUntraced(function*(link: Link, connect: Signaling.Connect) {
    const connectionId = idOf("TEST", connected++)
    const labels = [...ManagedLabels, ...(connect.dataChannels ?? []).map(({ label }) => label)]
    const members = yield* authenticate(connect)
    const { channelId, clientId = connectionId, bundleId = connectionId } = connect
    const made: Signaling.Offer = {
      version: "2025.2.0",
      connectionId,
      clientId,
      bundleId,
      channelId,
      sessionId: idOf("TEST", 0),
      simulcast: connect.simulcast ?? false,
      spotlight: connect.spotlight ?? false,
      audio: connect.audio !== false,
      video: connect.video !== false,
      dataChannelSignaling: true,
      ignoreDisconnectWebsocket: connect.ignoreDisconnectWebsocket ?? false,
      dataChannels: labels.map((label) => ({ label, direction: "sendrecv", compress: false })),
      rpcMethods: granted,
      ...members,
      type: "offer",
      sdp: sdpOf(members.connectionId ?? connectionId)
    }
    const { signalingNotifyMetadata } = connect
    link.offer = made
    link.self = {
      connectionId: made.connectionId,
      clientId: made.clientId ?? clientId,
      bundleId: made.bundleId ?? bundleId,
      role: connect.role,
      audio: connect.audio !== false,
      video: connect.video !== false,
      ...(signalingNotifyMetadata === undefined ? {} : { authnMetadata: signalingNotifyMetadata })
    }
    offered.set(made.sdp, link)
    deliver(link, made)
  })

  const accept = (link: Link, connect: Signaling.Connect) =>
    offer(link, connect).pipe(
      // As `handlers`, which may use it too.
      Effect.provideContext(context as Context.Context<R>),
      Effect.provideService(TestSora, sora),
      Effect.catch(({ code, reason }) => Effect.sync(() => refuse(link, code, reason))),
      Effect.catchDefect((defect) =>
        Effect.andThen(
          Effect.logError("authenticate failed", defect),
          Effect.sync(() => refuse(link, CloseCode.SignalingFailure, CloseReason.InternalError))
        )
      )
    )

  const join = Effect.fnUntraced(function*(link: Link) {
    const { offer, peer, self } = link
    if (offer === undefined || peer === undefined || self === undefined || link.channels.size > 0) return
    current = link
    peer.onClosing = () => drop(link)
    peer.change("connected")
    const ends = (offer.dataChannels ?? []).map(({ compress = false, label }) => {
      const [client, server] = Network.makeDataChannels(label)
      link.channels.set(label, { channel: server, compress })
      if (label !== "rpc" && !isUserLabel(label)) {
        server.addEventListener(
          "message",
          (event) => onText(link, Channel.decodeMessage((event as Event & { data: unknown }).data, compress))
        )
      }
      peer.emit("datachannel", { channel: client })
      return [client, server] as const
    })
    const rpc = link.channels.get("rpc")
    if (rpc !== undefined) {
      const { clientId, connectionId } = self
      yield* Dispatcher.serve(Channel.fromDataChannel(rpc.channel, rpc).channel, handlers, {
        connectionId,
        clientId: clientId ?? connectionId,
        channelId: offer.channelId ?? ""
      }).pipe(
        // First: the context has a scope too, which is the layer's.
        Scope.provide(link.scope),
        Effect.provideContext(context as Context.Context<R>),
        Effect.provideService(TestSora, sora)
      )
    }
    for (const [client, server] of ends) {
      server.open()
      client.open()
    }
    const { ignoreDisconnectWebsocket = false } = offer
    if (offer.dataChannels?.some(({ label }) => label === "signaling") === true) {
      deliver(link, { type: "switched", ignoreDisconnectWebsocket })
      link.isSwitched = true
    }
    // Of each its ids and metadata: what else there is the message has no place for.
    const data = Array.from(others.values())
    deliver(link, { ...about(self), _tag: "connection.created", data })
  })

  const onText = (link: Link, text: string) => {
    const message = Result.flatMap(Signaling.parseMessage(text), Signaling.decodeClientMessage)
    if (Result.isFailure(message)) return link.webSocket.end(CloseCode.SignalingFailure, CloseReason.InvalidMessage)
    switch (message.success.type) {
      case "connect":
        return run(accept(link, message.success))
      case "answer":
        return run(join(link))
      case "disconnect":
        return drop(link)
      default:
        // Candidates, pongs, re-answers: nobody waits for them.
        return undefined
    }
  }

  const serve = (webSocket: Network.WebSocket) => {
    const link: Link = {
      webSocket,
      scope: Scope.forkUnsafe(layerScope),
      channels: new Map(),
      offer: undefined,
      self: undefined,
      peer: undefined,
      isSwitched: false
    }
    webSocket.onText = (text) => onText(link, text)
    webSocket.onClosing = () => {
      if (!link.isSwitched || link.offer?.ignoreDisconnectWebsocket !== true) drop(link)
    }
    webSocket.open()
  }

  // ---------------------------------------------------------------- for the test

  const withLink = (use: (link: Link) => void): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (current === undefined) return Effect.die(new Error("the client of this TestSora has no connection now"))
      use(current)
      return settle
    })

  /** For what happens in the channel, whether or not the client is there to hear of it. */
  const tell = (message: () => Signaling.ServerMessage): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (current !== undefined) deliver(current, message())
      return settle
    })

  const disconnectBy: {
    readonly [Tag in Parameters<TestSora["Service"]["disconnect"]>[0]["_tag"]]: (
      link: Link,
      reason: Extract<Parameters<TestSora["Service"]["disconnect"]>[0], { readonly _tag: Tag }>
    ) => void
  } = {
    ServerClosed(link, { code, reason }) {
      if (link.webSocket.readyState === 1) link.webSocket.end(code, reason)
      else deliver(link, { type: "close", code, reason })
      drop(link)
    },
    SocketLost(link) {
      if (link.webSocket.readyState !== 1) throw new Error("the connection of this TestSora has no WebSocket any more")
      link.webSocket.end(1006, "")
    },
    ChannelClosed(link, { label }) {
      const found = link.channels.get(label)
      if (found === undefined) throw new Error(`the connection of this TestSora has no DataChannel ${label}`)
      found.channel.close()
    },
    PeerFailed: (link, { state }) => link.peer?.change(state),
    Redirected: (link) => deliver(link, { type: "redirect", location: SignalingUrl })
  }

  const sora = TestSora.of({
    push: (data) => withLink((link) => deliver(link, { type: "push", data })),
    send: (message) => withLink((link) => deliver(link, message)),
    join: (member = {}) =>
      Effect.suspend(() => {
        const connectionId = member.connectionId ?? idOf("PEER", joined++)
        const ids = { clientId: connectionId, bundleId: connectionId, connectionId }
        const made: Present = { role: "sendrecv", audio: true, video: true, ...ids, ...member }
        others.set(connectionId, made)
        return Effect.as(tell(() => ({ ...about(made), _tag: "connection.created" })), connectionId)
      }),
    leave: (connectionId) =>
      Effect.suspend(() => {
        const member = others.get(connectionId)
        if (member === undefined) return Effect.die(new Error(`nobody in this TestSora has the id ${connectionId}`))
        others.delete(connectionId)
        return tell(() => ({ ...about(member), _tag: "connection.destroyed" }))
      }),
    putMetadata: (connectionId, metadata, { push = true } = {}) =>
      Effect.suspend(() => {
        const self = current?.self
        const member = others.get(connectionId)
        if (member !== undefined) others.set(connectionId, { ...member, metadata })
        else if (current !== undefined && self?.connectionId === connectionId) current.self = { ...self, metadata }
        else return Effect.die(new Error(`nobody in this TestSora has the id ${connectionId}`))
        if (!push) return Effect.void
        return tell(() => ({
          type: "push",
          data: { type: "signaling_notify_metadata_ext", action: "PutMetadata", connection_id: connectionId, metadata }
        }))
      }),
    track: (event) => withLink(({ peer }) => peer?.emit("track", event)),
    dataChannels: Effect.sync(() =>
      new Map(
        Array.from(current?.channels ?? [], ([label, { channel }]) => [label, channel] as const).filter(([label]) =>
          isUserLabel(label)
        )
      )
    ),
    // The tag chooses the function for its reason, which TypeScript cannot follow.
    disconnect: (reason) => withLink((link) => disconnectBy[reason._tag](link, reason as never)),
    setReachable: (next) =>
      Effect.sync(() => {
        isReachable = next
      })
  })

  const platform = Layer.mergeAll(
    Layer.succeed(PeerConnection, {
      environment: "in memory",
      make: () =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const peer: Network.PeerConnection = new Network.PeerConnection((sdp) => {
              const link = offered.get(sdp)
              if (link !== undefined) link.peer = peer
            })
            return peer
          }),
          (peer) => Effect.sync(() => peer.close())
        )
    }),
    Layer.succeed(Socket.WebSocketConstructor, () => {
      const webSocket = new Network.WebSocket()
      queueMicrotask(() => isReachable ? serve(webSocket) : webSocket.end(1006, ""))
      return webSocket
    })
  )

  return { sora, platform }
})
