/**
 * Which werift is mended. The mends reach into what is private to it, so that
 * with another version they could fail anywhere, and differently each time. So
 * another one is used as it comes by the client, and not at all by the server.
 */
import { createRequire } from "node:module"
import { DtlsClient, RTCPeerConnection, TurnProtocol } from "werift"

/**
 * The version that the mends were tested with, which is also the peer dependency.
 *
 * @internal
 */
export const TestedVersion = "0.25.2"

/** What the mends rely on, of each thing that they reach into. */
const relied = {
  peer: [
    "createSctpTransport",
    "signalingStateChange",
    "connectionStateChange",
    "dtlsTransports",
    "iceTransports",
    "sctpTransport"
  ],
  dtlsTransport: ["dataReceiver", "dtls", "iceTransport", "onStateChange"],
  iceAgent: [
    "protocols",
    "stunServer",
    "turnServer",
    "consentExpiryTimer",
    "onData",
    "connect",
    "close",
    "state",
    "generation",
    "localUsername",
    "nominated",
    "checkList",
    "remoteCandidatesEnd",
    "earlyChecksDone",
    "getCandidatePromises",
    "ensureProtocol",
    "pairLocalProtocol",
    "sortCheckList",
    "checkStart",
    "appendLocalCandidate",
    "handleConnectionClosed"
  ],
  turn: ["handleSTUNMessage", "send", "request", "requestWithRetry", "connectionMade", "transactions", "integrityKey"],
  dtls: ["handleFragmentHandshake", "onHandleHandshakes", "onData", "onError", "connect", "connected", "transport"],
  dtlsContext: [
    "flight",
    "recordSequenceNumber",
    "sortedHandshakeCache",
    "handshakeCache",
    "lastFlight",
    "checkHandshakesExist"
  ],
  cipherContext: ["cipher", "encryptPacket", "localRandom", "masterSecret"],
  sctpTransport: [
    "sctp",
    "setDtlsTransport",
    "dataChannels",
    "dataChannelId",
    "dataChannelQueue",
    "dataChannelOpen",
    "dataChannelFlush",
    "dataChannelClose",
    "datachannelSend",
    "datachannelReceive",
    "assertSendableMessageSize"
  ],
  sctp: [
    "onReceive",
    "onReconfigStreams",
    "stateChanged",
    "associationState",
    "state",
    "isStopped",
    "isServer",
    "transport",
    "handleData",
    "receiveChunk",
    "setState",
    "timer1Expired",
    "rto",
    "mtu",
    "maxPayloadSize",
    "localPort",
    "remotePort",
    "localTsn",
    "localVerificationTag",
    "lastReceivedTsn",
    "reconfigResponseSeq",
    "remoteVerificationTag",
    "ssthresh",
    "peerAdvertisedRwnd",
    "remoteExtensions",
    "_inboundStreamsCount",
    "_outboundStreamsCount",
    // Which are cleared when the association ends.
    "sackTimeout",
    "timer3Handle",
    "timerReconfigHandle"
  ]
} satisfies Record<string, ReadonlyArray<string>>

/**
 * What is missing in a werift of which `make` gives a peer and an end of DTLS.
 *
 * @internal
 */
export const missing = (make: {
  readonly peer: () => RTCPeerConnection
  readonly dtls: () => DtlsClient
}): ReadonlyArray<string> => {
  // Whatever is thrown on the way to it, it is not there.
  const find = (get: () => unknown): object => {
    try {
      return Object(get()) as object
    } catch {
      return {}
    }
  }
  const peer = find(make.peer) as RTCPeerConnection
  // It makes the transports. Nothing is opened before there is a description.
  find(() => peer.createDataChannel(""))
  const dtls = find(make.dtls) as DtlsClient
  const parts: Record<keyof typeof relied, object> = {
    peer,
    dtlsTransport: find(() => peer.dtlsTransports[0]),
    iceAgent: find(() => peer.iceTransports[0]!.connection),
    // It opens no socket.
    turn: find(() => new TurnProtocol(["", 0], "", "", 0, { closed: true } as any)),
    dtls,
    dtlsContext: find(() => dtls.dtls),
    cipherContext: find(() => dtls.cipher),
    sctpTransport: find(() => peer.sctpTransport),
    sctp: find(() => peer.sctpTransport!.sctp)
  }
  return Object.entries(relied).flatMap(([part, names]) =>
    names.filter((name) => !(name in parts[part as keyof typeof relied])).map((name) => `${part}.${name}`)
  )
}

/** None where werift is no package of its own any more, such as in a bundle. */
const installedVersion = (): string | undefined => {
  const require = createRequire(import.meta.url)
  try {
    // Its `exports` do not have its package.json.
    return require(require.resolve("werift").replace(/([\\/])lib[\\/].*$/, "$1package.json")).version
  } catch {
    return undefined
  }
}

let difference: string | undefined

/**
 * What is wrong with the werift that there is, for who has to be told; empty for
 * the one that is known. The first peer of a process looks for it.
 *
 * @internal
 */
export const unknown = (): string => {
  if (difference !== undefined) return difference
  const version = installedVersion()
  const names = missing({
    peer: () => new RTCPeerConnection({}),
    // Looked at and never connected, so that only a transport is needed that does nothing.
    dtls: () => new DtlsClient({ transport: { type: "none", address: {}, closed: false } as any })
  })
  const differences = [
    ...version === undefined || version === TestedVersion ? [] : [`it is ${version}`],
    ...names.length === 0 ? [] : [`it has no ${names.join(", ")}`]
  ]
  return difference = differences.length === 0
    ? ""
    : `effect-sora-rpc needs werift ${TestedVersion}, and this is another version: ${differences.join(", and ")}`
}

/**
 * Throws when this is no werift that is known here.
 *
 * @internal
 */
export const checkVersion = (): void => {
  if (unknown() !== "") throw new Error(unknown())
}
