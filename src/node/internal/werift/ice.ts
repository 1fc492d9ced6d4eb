/**
 * What is mended in werift's ICE.
 */
import { Socket } from "node:dgram"
import type { PeerConfig, RTCDtlsTransport, RTCIceTransport } from "werift"

/**
 * Only the loopback interface: nothing leaves the machine, and it works without
 * a network. werift leaves this interface out, as RFC 8445, section 5.1.1.1,
 * says, listens on all of them whatever it advertises, and with
 * `iceInterfaceAddresses` alone advertises the others all the same.
 *
 * @internal
 */
export const loopback = {
  iceUseIpv4: false,
  iceUseIpv6: false,
  iceAdditionalHostAddresses: ["127.0.0.1"],
  iceInterfaceAddresses: { udp4: "127.0.0.1" }
} satisfies Partial<PeerConfig>

const isStun = (server: { readonly urls: string | Array<string> }) =>
  [server.urls].flat().some((url) => url.startsWith("stun"))

/**
 * Where no STUN server is configured, the ICE agent asks a public one: packets
 * leave the machine, and gathering waits for the answer. Candidates come from
 * the configured servers alone (WebRTC, `RTCConfiguration.iceServers`).
 *
 * Relies on: `stunServer` of the ICE agent, read when gathering begins.
 *
 * @internal
 */
export const askNoPublicStun = (transports: ReadonlyArray<RTCIceTransport>, config: Required<PeerConfig>): void => {
  if (config.iceServers.some(isStun)) return
  for (const { connection } of transports) (connection as { stunServer?: unknown }).stunServer = undefined
}

/** Without a sign of life for this long a peer is `disconnected`. */
const QuietMillis = 7000

/**
 * Says when the other side has gone quiet, and when it is back. werift asks for
 * a sign of life every 4 to 6 seconds (RFC 7675, section 5.1) and gives up, as
 * `failed`, after 30: it never says `disconnected` before (WebRTC,
 * `RTCPeerConnectionState`), as libwebrtc does after 7.
 *
 * Relies on: `consentExpiryTimer` of the ICE agent, which werift starts anew with
 * every answer, and `onData`.
 *
 * @internal
 */
export const watchLife = ({ connection }: RTCIceTransport, onChange: (isQuiet: boolean) => void): () => void => {
  let lastSign = performance.now()
  let consent: unknown
  let isQuiet = false
  connection.onData.subscribe(() => {
    lastSign = performance.now()
  })
  const watch = setInterval(() => {
    const current = (connection as { consentExpiryTimer?: unknown }).consentExpiryTimer
    if (current !== consent) lastSign = performance.now()
    consent = current
    const now = performance.now() - lastSign > QuietMillis
    if (now === isQuiet) return
    isQuiet = now
    onChange(isQuiet)
  }, 1000)
  watch.unref()
  return () => clearInterval(watch)
}

/** What a socket holds that the process has not read yet; the system may allow less. */
const ReceiveBufferBytes = 1024 * 1024

/**
 * Small packets overrun the receive buffer of a socket, of which each takes far
 * more than its size: 200 that come while the process does something else fill
 * what a system gives by default, and what comes after them is lost.
 *
 * Relies on: `protocols` of the ICE agent, of which those over UDP have a
 * `transport.socket`.
 *
 * @internal
 */
export const holdBursts = ({ connection }: RTCIceTransport): void => {
  // The type of the agent does not name them.
  const { protocols } = connection as unknown as {
    readonly protocols: ReadonlyArray<{ readonly transport?: { readonly socket?: unknown } }>
  }
  for (const { transport } of protocols) {
    if (!(transport?.socket instanceof Socket)) continue
    try {
      transport.socket.setRecvBufferSize(ReceiveBufferBytes)
    } catch {
      // Closed meanwhile, or not allowed: then it holds what it holds.
    }
  }
}

/**
 * Closes a transport, also what it is still gathering: a socket that is bound
 * after the end werift keeps for ever. (Relays: `turn.ts`.)
 *
 * Relies on: `close` of the ICE agent, which may be called twice.
 *
 * @internal
 */
export const closeAlsoLate = async (transport: RTCDtlsTransport): Promise<void> => {
  const { iceTransport } = transport
  await transport.stop()
  if (iceTransport.gatheringState !== "gathering") return
  iceTransport.addEventListener("gatheringstatechange", () => void iceTransport.connection.close())
}
