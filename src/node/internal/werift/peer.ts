/**
 * werift as a W3C peer connection, with what it needs to behave like one. Used
 * by the Node client and by the development server. What is mended in its layers
 * is in `ice.ts`, `dtls.ts`, `sctp.ts` and `channels.ts`, one function for each
 * fault.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import {
  type PeerConfig,
  type RTCDtlsTransport,
  RTCPeerConnection,
  type RTCSessionDescription,
  type SessionDescription
} from "werift"
import { MaxMessageBytes } from "../../../internal/protocol.ts"
import * as Channels from "./channels.ts"
import * as Dtls from "./dtls.ts"
import * as Ice from "./ice.ts"
import * as Turn from "./turn.ts"
import { checkVersion } from "./version.ts"

export { loopback } from "./ice.ts"

/** Of messages whose last piece has not come. */
const MaxUnfinishedBytes = 16 * 1024 * 1024

/** @internal */
export class WeriftPeer extends RTCPeerConnection {
  #isQuiet = false
  #stopWatching: (() => void) | undefined
  /** And what ends the handshake of each. */
  readonly #transports = new Map<RTCDtlsTransport, () => void>()

  constructor(config: Partial<PeerConfig>) {
    checkVersion()
    super(config)
    // Before a channel can send anything.
    const createSctpTransport = this["createSctpTransport"]
    this["createSctpTransport"] = () => {
      const transport = createSctpTransport.call(this)
      Channels.mend(transport, { maxBytes: MaxUnfinishedBytes, onBad: () => {} })
      return transport
    }
    this.connectionStateChange.subscribe((state) => {
      const ice = this.iceTransports[0]
      if (state !== "connected" || ice === undefined) return
      Ice.holdBursts(ice)
      this.#stopWatching ??= Ice.watchLife(ice, (isQuiet) => {
        this.#isQuiet = isQuiet
        this.emit("connectionstatechange")
      })
    })
  }

  /** As libwebrtc says it: `disconnected` when the other side has gone quiet, `connected` again when it is back. */
  override get connectionState() {
    const state = super.connectionState
    return this.#isQuiet && state === "connected" ? "disconnected" : state
  }

  override async close(): Promise<void> {
    this.#stopWatching?.()
    for (const endHandshake of this.#transports.values()) endHandshake()
    await super.close()
    await Promise.allSettled(Array.from(this.#transports.keys(), Ice.closeAlsoLate))
  }

  /** Settled when the candidates of the latest local description are gathered and stand in it. */
  gathered: Promise<unknown> = Promise.resolve()

  /**
   * Resolves when the description is applied (RFC 8829, section 5.9): werift
   * itself resolves when every candidate is gathered, which takes seconds where a
   * STUN or TURN server does not answer, and meanwhile no answer could be sent.
   *
   * Relies on: `signalingStateChange`, which comes before gathering begins.
   */
  override setLocalDescription(description: { type: "rollback" }): Promise<void>
  override setLocalDescription(description?: Partial<RTCSessionDescription>): Promise<SessionDescription>
  override setLocalDescription(description?: any): Promise<any> {
    Ice.askNoPublicStun(this.iceTransports, this.config)
    for (const transport of this.iceTransports) {
      Turn.askAllServers(transport, this.config, (error) => this.emit("icecandidateerror", error))
    }
    const gathered = super.setLocalDescription(description)
    this.#mendTransports()
    this.gathered = gathered
    const applied = new Promise<void>((resolve) => {
      const { unSubscribe } = this.signalingStateChange.subscribe(() => {
        unSubscribe()
        // Not yet: werift changes the state before it starts to gather.
        setImmediate(resolve)
      })
      gathered.finally(unSubscribe).catch(() => {})
    })
    return Promise.race([gathered, applied])
  }

  override async setRemoteDescription(description: Parameters<RTCPeerConnection["setRemoteDescription"]>[0]) {
    await super.setRemoteDescription(description)
    this.#mendTransports()
  }

  /**
   * A description may move a section to another transport. werift forgets the one
   * that it leaves, and its sockets stay open (RFC 8829, section 5.11).
   *
   * Relies on: `dtlsTransports`, which are those in use.
   */
  #mendTransports() {
    const inUse = this.dtlsTransports
    for (const [transport, endHandshake] of this.#transports) {
      if (inUse.includes(transport)) continue
      this.#transports.delete(transport)
      endHandshake()
      void Ice.closeAlsoLate(transport)
    }
    for (const transport of inUse) {
      if (!this.#transports.has(transport)) this.#transports.set(transport, Dtls.mend(transport))
    }
  }
}

/**
 * A peer that is closed with the scope.
 *
 * @internal
 */
export const make = (config: Partial<PeerConfig>): Effect.Effect<WeriftPeer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() =>
      new WeriftPeer({
        // Sora's limit of a DataChannel message. werift says 65,536, as where nothing is said (RFC 8841, section 6.1).
        maxMessageSize: MaxMessageBytes,
        ...config
      })
    ),
    (peer) => Effect.promise(() => peer.close())
  )
