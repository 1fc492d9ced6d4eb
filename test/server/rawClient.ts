/**
 * A Sora client by hand: the global WebSocket, werift and `node:zlib`, and
 * nothing of this library. What it understands of the server is an independent
 * check of it.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { deflateSync, inflateSync } from "node:zlib"
import { type RTCDataChannel, RTCPeerConnection } from "werift"

/** JSON as it came; the tests assert on its shape. */
export type Message = any

export interface Received {
  /** `ws`, or the label of the DataChannel. */
  readonly via: string
  /** The text, or the bytes on a `#` channel. */
  readonly data: string | Buffer
  /** The JSON in it; on a `#` channel the bytes. */
  readonly message: Message
  /** The form of the DataChannel message. */
  readonly frame: "text" | "binary" | "zlib"
}

export interface Options {
  /** Members of `connect` beside `type`, `role` and `channel_id`. */
  readonly connect?: Record<string, unknown>
  /** How the client's candidates reach the server. Default `message`: objects with only `candidate`. */
  readonly candidates?: "message" | "sdp" | "none"
  /** Whether pings are answered. Default true. */
  readonly pong?: boolean
  /** In place of the global one. */
  readonly makeSocket?: (url: string) => WebSocket
  /** Called with each channel while it opens, before the server knows that it is open. */
  readonly onChannel?: (channel: RTCDataChannel) => void
}

/** Nothing here takes longer on one machine; a test that waits for ever should say for what. */
const Patience = 8_000

const isZlib = (bytes: Buffer) => (bytes[0]! & 0x0f) === 8 && bytes.readUInt16BE(0) % 31 === 0

export class RawClient {
  readonly socket: WebSocket
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  readonly channels = new Map<string, RTCDataChannel>()
  /** Labels of the channels that closed, and `ws`, in the order of their ends. */
  readonly ends: Array<string> = []
  readonly received: Array<Received> = []
  peer: RTCPeerConnection | undefined
  offer: Message
  private readonly taken = new Set<Received>()
  private readonly waiting = new Set<() => void>()

  private readonly options: Options

  constructor(url: string, options: Options = {}) {
    this.options = options
    this.socket = options.makeSocket?.(url) ?? new WebSocket(url)
    this.closed = new Promise((resolve) => {
      this.socket.addEventListener("close", ({ code, reason }) => {
        this.ended("ws")
        resolve({ code, reason })
      })
    })
    this.socket.addEventListener("open", () => this.wake())
    this.socket.addEventListener("error", () => {})
    this.socket.addEventListener("message", ({ data }) => this.arrived("ws", "text", String(data)))
  }

  get opened(): Promise<void> {
    return this.until("the WebSocket to open", () => this.socket.readyState > 0)
  }

  private wake() {
    for (const check of Array.from(this.waiting)) check()
  }

  private ended(what: string) {
    this.ends.push(what)
    this.wake()
  }

  private arrived(via: string, frame: Received["frame"], data: string | Buffer) {
    const message = typeof data === "string" ? JSON.parse(data) : data
    if (message.type === "ping" && this.options.pong !== false) {
      const stats = [{ id: "T1", type: "transport" }]
      this.send("ws", message.stats === true ? { type: "pong", stats } : { type: "pong" })
    }
    this.received.push({ via, frame, data, message })
    this.wake()
  }

  /** Resolves when the condition holds: it is looked at whenever something happened. */
  until(what: string, condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const check = () => {
        if (!condition()) return
        this.waiting.delete(check)
        clearTimeout(timer)
        resolve()
      }
      const timer = setTimeout(() => {
        this.waiting.delete(check)
        const seen = this.received.map(({ message, via }) => `${via}:${message.event_type ?? message.type ?? "?"}`)
        reject(new Error(`waited in vain for ${what}; received ${seen.join(" ")}; ended ${this.ends.join(" ")}`))
      }, Patience)
      this.waiting.add(check)
      check()
    })
  }

  /** The next message that fits and was not taken yet. */
  async take(what: string, fits: (received: Received) => boolean): Promise<Received> {
    let found: Received | undefined
    await this.until(what, () => {
      found = this.received.find((received) => !this.taken.has(received) && fits(received))
      // At once, before another one who waits looks.
      if (found !== undefined) this.taken.add(found)
      return found !== undefined
    })
    return found!
  }

  async type(type: string, via?: string): Promise<Message> {
    return (await this.take(type, (it) => it.message.type === type && (via === undefined || it.via === via))).message
  }

  async event(eventType: string, fits: (message: Message) => boolean = () => true): Promise<Received> {
    return this.take(eventType, ({ message }) => message.event_type === eventType && fits(message))
  }

  /** `via` is `ws` or a label; a string goes as it is, and so do bytes. */
  send(via: string, message: unknown) {
    const raw = typeof message === "string" || Buffer.isBuffer(message)
    const text = raw ? message : JSON.stringify(message)
    if (via === "ws") return this.socket.send(String(text))
    const compress = this.offer.data_channels.find(({ label }: Message) => label === via)?.compress === true
    this.channels.get(via)!.send(compress && !raw ? deflateSync(text) : text)
  }

  connect(channelId: string, role: string, more: Record<string, unknown> = {}) {
    this.send("ws", { type: "connect", role, channel_id: channelId, ...this.options.connect, ...more })
  }

  /** Answers the offer as the SDKs do. */
  async answer() {
    this.offer = await this.type("offer", "ws")
    const peer = new RTCPeerConnection({
      iceServers: [],
      iceUseIpv4: false,
      iceUseIpv6: false,
      iceAdditionalHostAddresses: ["127.0.0.1"],
      maxMessageSize: 262_144
    })
    this.peer = peer
    peer.onDataChannel.subscribe((channel) => this.accept(channel))
    const sdp = await this.makeAnswer(this.offer.sdp)
    const candidates = this.options.candidates ?? "message"
    this.send("ws", { type: "answer", sdp: candidates === "sdp" ? sdp : sdp.replace(/a=candidate:.*\r\n/g, "") })
    if (candidates !== "message") return
    for (const [, candidate] of sdp.matchAll(/a=(candidate:.*)\r\n/g)) this.send("ws", { type: "candidate", candidate })
  }

  async makeAnswer(sdp: string): Promise<string> {
    const peer = this.peer!
    await peer.setRemoteDescription({ type: "offer", sdp })
    // werift would ask a public STUN server, which is none of this test's business.
    for (const { connection } of peer.iceTransports) (connection as { stunServer?: unknown }).stunServer = undefined
    await peer.setLocalDescription(await peer.createAnswer())
    return peer.localDescription!.sdp
  }

  private accept(channel: RTCDataChannel) {
    const { label } = channel
    this.channels.set(label, channel)
    channel.stateChanged.subscribe((state) => {
      if (state === "closed") this.ended(label)
      else this.wake()
    })
    channel.onMessage.subscribe((data) => {
      if (typeof data === "string") return this.arrived(label, "text", data)
      if (label.startsWith("#")) return this.arrived(label, "binary", data)
      const zlib = isZlib(data)
      const text = (zlib ? inflateSync(data) : data).toString("utf8")
      this.arrived(label, zlib ? "zlib" : "binary", text)
    })
    this.options.onChannel?.(channel)
    this.wake()
  }

  async channelsOpen() {
    const labels: ReadonlyArray<string> = this.offer.data_channels.map(({ label }: Message) => label)
    await this.until(
      "the DataChannels to open",
      () => labels.every((label) => this.channels.get(label)?.readyState === "open")
    )
  }

  async channelsClosed() {
    await this.until(
      "the DataChannels to close",
      () => Array.from(this.channels.keys()).every((label) => this.ends.includes(label))
    )
  }

  /** Connected, switched and with every channel open. */
  async join(channelId: string, role = "sendrecv") {
    await this.opened
    this.connect(channelId, role)
    await this.answer()
    await this.until(
      "its own connection.created",
      () =>
        this.received.some(({ message }) =>
          message.connection_id === this.offer.connection_id && message.type === "notify"
        )
    )
    await this.channelsOpen()
    if (this.offer.data_channel_signaling) await this.type("switched", "ws")
    return this
  }

  private id = 0

  /** The whole response. */
  async rpc(method: string, params?: unknown): Promise<Message> {
    const id = ++this.id
    this.send("rpc", { jsonrpc: "2.0", id, method, params })
    return this.response(id)
  }

  async response(id: unknown): Promise<Message> {
    return (await this.take(`response ${String(id)}`, ({ message, via }) => via === "rpc" && message.id === id)).message
  }

  async leave() {
    await this.peer?.close()
    this.socket.close()
  }
}

/** A client that is gone with the scope. */
export const client = (url: string, options?: Options): Effect.Effect<RawClient, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new RawClient(url, options)),
    (client) => Effect.promise(() => client.leave())
  )

/** The same, connected with DataChannel signaling and switched. */
export const joined = (
  url: string,
  channelId: string,
  options: Options & { readonly role?: string } = {}
): Effect.Effect<RawClient, never, Scope.Scope> =>
  Effect.flatMap(
    client(url, { ...options, connect: { data_channel_signaling: true, ...options.connect } }),
    (client) => Effect.promise(() => client.join(channelId, options.role))
  )
