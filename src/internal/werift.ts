/**
 * werift as a W3C peer connection, with what it needs to behave like one. Used
 * by the Node client and by the development server.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createSecretKey } from "node:crypto"
import {
  DtlsClient,
  type DtlsSocket,
  type PeerConfig,
  type RTCDtlsTransport,
  RTCPeerConnection,
  type RTCSessionDescription,
  type SessionDescription
} from "werift"
import { guard } from "./sctp.ts"

/**
 * Only the loopback interface: nothing leaves the machine, and it works without
 * a network. (`iceInterfaceAddresses` would still advertise other addresses.)
 *
 * @internal
 */
export const loopback = {
  iceUseIpv4: false,
  iceUseIpv6: false,
  iceAdditionalHostAddresses: ["127.0.0.1"]
} satisfies Partial<PeerConfig>

const isStun = (server: { readonly urls: string | Array<string> }) =>
  [server.urls].flat().some((url) => url.startsWith("stun"))

/**
 * Without a sign of life for this long a peer is `disconnected`. werift asks for
 * one every 4 to 6 seconds (RFC 7675) and itself gives up, as `failed`, after 30.
 */
const StaleAfterMillis = 7000

/** Of messages whose last piece has not come. */
const MaxUnfinishedBytes = 16 * 1024 * 1024

/** The first byte of a record of DTLS's handshake (RFC 5246, section 6.2.1). */
const HandshakeRecord = 22

/**
 * An end that waits for an answer says its flight again (RFC 6347, section
 * 4.2.4), so an end that was slow gets what it has dealt with already. werift
 * begins that step of the handshake anew, or fails it: on a machine that is busy
 * for half a second it lost the connection. So what belongs to a step that is
 * past is dropped; of a flight's last message werift itself knows that it has to
 * say its answer again.
 */
const dropRepeated = (dtls: DtlsSocket): void => {
  const isClient = dtls instanceof DtlsClient
  const isRepeated = ({ fragment, msg_type }: { readonly fragment: Buffer; readonly msg_type: number }): boolean => {
    const { flight } = dtls.dtls
    switch (msg_type) {
      case Handshake.ClientHello: {
        // The first one has no cookie; that follows the version, the random and the session id (RFC 6347, section 4.2.1).
        const hasCookie = fragment[35 + fragment[34]!]! > 0
        return flight >= (hasCookie ? 6 : 4)
      }
      case Handshake.HelloVerifyRequest:
        return flight !== 1
      case Handshake.ServerHello:
      case Handshake.ServerKeyExchange:
      case Handshake.CertificateRequest:
        return flight >= 5
      case Handshake.Certificate:
        return flight >= (isClient ? 5 : 6)
      case Handshake.CertificateVerify:
      case Handshake.ClientKeyExchange:
        return flight >= 6
      default:
        return false
    }
  }
  const handle = dtls.onHandleHandshakes
  dtls.onHandleHandshakes = (handshakes) => handle(handshakes.filter((handshake) => !isRepeated(handshake)))
}

/**
 * An end that has said its last of the handshake sends at once, and that last may
 * be lost, or never said. SCTP must not hear of it before werift has started it:
 * it would give no numbers to its channels, which rejects a promise that nobody
 * has, or never tell that it is connected. Gives what ends the waiting.
 */
const holdData = ({ onData }: DtlsSocket): () => void => {
  const { execute } = onData
  let early: Buffer | undefined
  onData.execute = (data) => {
    // The latest alone: until it is answered the other end says the same again.
    early = data
  }
  return () => {
    onData.execute = execute
    if (early !== undefined) execute(early)
  }
}

/** Messages of the handshake (RFC 5246, section 7.4, and RFC 6347, section 4.3.2). */
const Handshake = {
  ClientHello: 1,
  ServerHello: 2,
  HelloVerifyRequest: 3,
  Certificate: 11,
  ServerKeyExchange: 12,
  CertificateRequest: 13,
  CertificateVerify: 15,
  ClientKeyExchange: 16
}

/**
 * werift would go on saying its last flight for half a minute, to nobody, and
 * keep the process alive for it. It looks whether the handshake is past that
 * flight before each time, and before it begins with the first one.
 */
const endHandshake = ({ dtls }: RTCDtlsTransport): void => {
  if (dtls === undefined) return
  Object.defineProperty(dtls.dtls, "flight", { get: () => Infinity, set() {} })
  if (dtls instanceof DtlsClient) dtls.connect = async () => {}
}

/** Also of what is still being gathered: when a TURN server answers after the end, werift keeps the relay for ever. */
const stop = async (transport: RTCDtlsTransport): Promise<void> => {
  const { iceTransport } = transport
  await transport.stop()
  if (iceTransport.gatheringState !== "gathering") return
  iceTransport.addEventListener("gatheringstatechange", () => void iceTransport.connection.close())
}

/** @internal */
export class WeriftPeer extends RTCPeerConnection {
  #stale = false
  #watch: ReturnType<typeof setInterval> | undefined

  constructor(config: Partial<PeerConfig>) {
    super(config)
    this.connectionStateChange.subscribe((state) => {
      if (state === "connected") this.#watchLife()
    })
  }

  /** As libwebrtc says it: `disconnected` when the other side has gone quiet, `connected` again when it is back. */
  override get connectionState() {
    const state = super.connectionState
    return this.#stale && state === "connected" ? "disconnected" : state
  }

  #watchLife() {
    const ice = this.iceTransports[0]?.connection
    if (this.#watch !== undefined || ice === undefined) return
    let lastSign = performance.now()
    let consent: unknown
    ice.onData.subscribe(() => {
      lastSign = performance.now()
    })
    this.#watch = setInterval(() => {
      // werift starts this timer anew with every answer to a consent check, and tells nobody.
      const current = (ice as { consentExpiryTimer?: unknown }).consentExpiryTimer
      if (current !== consent) lastSign = performance.now()
      consent = current
      const stale = performance.now() - lastSign > StaleAfterMillis
      if (stale === this.#stale) return
      this.#stale = stale
      this.emit("connectionstatechange")
    }, 1000)
    this.#watch.unref()
  }

  override async close(): Promise<void> {
    clearInterval(this.#watch)
    for (const transport of this.#transports) endHandshake(transport)
    await super.close()
    await Promise.allSettled(Array.from(this.#transports, stop))
  }

  /** Settled when the candidates of the latest local description are gathered and stand in it. */
  gathered: Promise<unknown> = Promise.resolve()

  /**
   * Resolves when the description is applied, as a browser does: werift itself
   * resolves when every candidate is gathered, which takes seconds where a
   * STUN or TURN server does not answer, and meanwhile no answer could be sent.
   */
  override setLocalDescription(description: { type: "rollback" }): Promise<void>
  override setLocalDescription(description?: Partial<RTCSessionDescription>): Promise<SessionDescription>
  override setLocalDescription(description?: any): Promise<any> {
    if (!this.config.iceServers.some(isStun)) {
      // Without a STUN server of ours the ICE agent would ask a public one.
      for (const transport of this.iceTransports) {
        ;(transport.connection as { stunServer?: unknown }).stunServer = undefined
      }
    }
    const gathered = super.setLocalDescription(description)
    this.#mendDtls()
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

  readonly #transports = new Set<RTCDtlsTransport>()

  #mendDtls() {
    const inUse = this.dtlsTransports
    for (const transport of this.#transports) {
      // A description may move a section to another transport. werift forgets the one it leaves, and its sockets.
      if (inUse.includes(transport)) continue
      this.#transports.delete(transport)
      endHandshake(transport)
      void stop(transport)
    }
    for (const transport of inUse) {
      if (this.#transports.has(transport)) continue
      this.#transports.add(transport)
      // werift makes its end when ICE is up on its side. What the other end said before is lost, and comes again a second
      // later where DTLS waits as long as RFC 6347, section 4.2.4.1, has it: so it is kept until there is somebody to hear it.
      let early: Buffer | undefined
      let passData = () => {}
      const { onData } = transport.iceTransport.connection
      const { unSubscribe } = onData.subscribe((data) => {
        // The latest alone: until it is answered a client says the same again and again.
        if (transport.dtls === undefined && data[0] === HandshakeRecord) early = data
      })
      transport.onStateChange.subscribe((state) => {
        if (state === "connecting") {
          queueMicrotask(() => {
            unSubscribe()
            if (transport.dtls !== undefined) {
              dropRepeated(transport.dtls)
              passData = holdData(transport.dtls)
            }
            if (early === undefined) return
            try {
              onData.execute(early)
            } catch {
              // It need not be DTLS: anybody can send to a port. werift drops such packets too, when they come by themselves.
            }
          })
        }
        // werift sends `Finished` under the number that the handshake has come to, and then counts from 1 again. When it
        // comes to that number, the other end takes the record for a replay and drops it (RFC 6347, section 4.1.2.6), and
        // what was in it comes a second later. So these numbers are left out.
        if (state !== "connected" || transport.dtls === undefined) return
        // Not before SCTP is started, which is the next thing that werift does.
        setImmediate(passData)
        transport.dtls.dtls.recordSequenceNumber += 100
        // Of a key that is bytes Node makes an object for each record, which is half of what a message costs.
        const { cipher } = transport.dtls.cipher
        const { clientWriteKey, serverWriteKey } = cipher
        if (clientWriteKey instanceof Uint8Array && serverWriteKey instanceof Uint8Array) {
          Object.assign(cipher, {
            clientWriteKey: createSecretKey(clientWriteKey),
            serverWriteKey: createSecretKey(serverWriteKey)
          })
        }
      })
    }
  }

  override async setRemoteDescription(description: Parameters<RTCPeerConnection["setRemoteDescription"]>[0]) {
    await super.setRemoteDescription(description)
    this.#mendDtls()
    const transport = this.sctpTransport
    if (description.type !== "offer" || transport === undefined || this.#guarded === transport.sctp) return
    this.#guarded = transport.sctp
    guard(transport, { maxBytes: MaxUnfinishedBytes, onBad: () => {} })
  }
  #guarded: unknown
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
        // Sora's limit of a DataChannel message; werift's own default is 65,536.
        maxMessageSize: 262_144,
        ...config
      })
    ),
    (peer) => Effect.promise(() => peer.close())
  )
