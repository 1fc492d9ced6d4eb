/**
 * What is mended in werift's SCTP. How data goes to and fro is in `sctp/`, in the
 * place of werift's own.
 */
import type { RTCSctpTransport } from "werift"
import { isolated } from "../../../internal/defects.ts"
import { alone, Chunk, read } from "./sctp/packet.ts"
import { type Limits, Transfer } from "./sctp/transfer.ts"

export type { Limits } from "./sctp/transfer.ts"

/** RFC 9260, section 4, as werift numbers them. */
const CookieWait = 2

/** @internal */
export const Established = 4

/**
 * What a transport of this library is mended with.
 *
 * @internal
 */
export class Association {
  limits: Limits
  transfer: Transfer | undefined

  constructor(limits: Limits) {
    this.limits = limits
  }
}

const associations = new WeakMap<RTCSctpTransport, Association>()

/**
 * Says what the association of a peer of this library may be made to bear.
 *
 * @internal
 */
export const guard = (transport: RTCSctpTransport, limits: Limits): void => {
  const association = associations.get(transport)!
  association.limits = limits
  if (association.transfer !== undefined) association.transfer.limits = limits
}

const transferChunks = new Set([Chunk.Data, Chunk.Sack, Chunk.ForwardTsn, Chunk.Reconfig])
const controlChunks = new Set(Object.values(Chunk).filter((type) => !transferChunks.has(type)))

/**
 * werift takes what the other end sends for well-formed. A length of zero (RFC
 * 9260, section 3.2) sends it round in circles until the memory is full, and what
 * it cannot read rejects a promise that nobody has, which ends the process. A
 * chunk of a type that it does not know makes it drop the whole packet, where the
 * others are to be read (section 3.2).
 *
 * Relies on: `handleData` of the association, which gets each packet, and
 * `localVerificationTag`.
 *
 * @internal
 */
export const readPackets = ({ sctp }: RTCSctpTransport, association: Association): void => {
  const handleData = sctp["handleData"]
  sctp["handleData"] = async (packet: Buffer) => {
    if (sctp["isStopped"]) return
    const { onBad } = association.limits
    const received = read(packet)
    if (received === undefined) return onBad()
    const isOurs = received.verificationTag === sctp["localVerificationTag"]
    const known = received.chunks.filter(({ type }) => controlChunks.has(type) || isOurs && transferChunks.has(type))
    // What is about setting up and ending is werift's.
    const control = (chunk: typeof known[number]) => {
      if (controlChunks.has(chunk.type)) handleData.call(sctp, alone(packet, chunk)).catch(onBad)
    }
    if (association.transfer === undefined) { for (const chunk of known) control(chunk) }
    else association.transfer.receive(known, control)
  }
}

/** What an INIT changes. */
const initFields = [
  "lastReceivedTsn",
  "reconfigResponseSeq",
  "remoteVerificationTag",
  "ssthresh",
  "peerAdvertisedRwnd",
  "remoteExtensions",
  "_inboundStreamsCount",
  "_outboundStreamsCount"
] as const

/**
 * An INIT that comes again, late or because its answer was lost, begins the
 * association anew: what came since is taken for new, and delivered again. It is
 * to be answered, and to change nothing (RFC 9260, section 5.2.2). A COOKIE ECHO
 * that comes again says once more that the association is up (section 5.2.4). What
 * comes while the answer is being sent, as over TCP it may in the same turn, finds
 * all of that done.
 *
 * Relies on: `receiveChunk` of the association, which sets the fields above before
 * it waits for anything.
 *
 * @internal
 */
export const keepAssociation = (
  { sctp }: RTCSctpTransport,
  { begin, hasBegun }: { readonly begin: () => void; readonly hasBegun: () => boolean }
): void => {
  // Private, and of different types: they are put back as they were.
  const fields = sctp as unknown as Record<typeof initFields[number], unknown>
  const receiveChunk = sctp["receiveChunk"]
  sctp["receiveChunk"] = async (chunk: { readonly type: number }) => {
    const state = sctp.associationState
    const before = initFields.map((name) => [name, fields[name]] as const)
    const received = receiveChunk.call(sctp, chunk)
    if (chunk.type === Chunk.Init || chunk.type === Chunk.InitAck) {
      if (hasBegun() || state === Established) { for (const [name, value] of before) fields[name] = value }
      else if (chunk.type === Chunk.Init ? sctp.isServer : state === CookieWait) begin()
    }
    await received
  }
  const setState = sctp["setState"]
  sctp["setState"] = (state) => {
    if (state !== Established || sctp.associationState !== Established) setState.call(sctp, state)
  }
}

/** For what is said first (RFC 9260, section 16, has 1 second), and at most. */
const SetUpSeconds = { first: 0.5, most: 8 }

/**
 * What sets the association up is said again after 3 seconds, when it was lost,
 * and each time after as many. It should be after 1 second, and each time after
 * twice as long (RFC 9260, sections 5.1.3, 6.3.3 and 16).
 *
 * Relies on: `rto` and `timer1Expired` of the association.
 *
 * @internal
 */
export const setUpSoon = ({ sctp }: RTCSctpTransport): void => {
  sctp["rto"] = SetUpSeconds.first
  const expired = sctp["timer1Expired"]
  sctp["timer1Expired"] = () => {
    sctp["rto"] = Math.min(2 * sctp["rto"], SetUpSeconds.most)
    expired()
  }
}

/**
 * How werift transfers data. Of its faults this is the list:
 *
 * - A sender waits until nothing waits any more, and is woken each time that
 *   something goes: of N senders all, N times.
 * - Reading an acknowledgement waits for what there is to send, and that for the
 *   acknowledgement: with 256 messages at a time it stalls.
 * - One chunk to a packet, one acknowledgement to each packet, at once and alone
 *   (RFC 9260, sections 6.2 and 6.10).
 * - TSNs are sorted as text, and wrong where their number of digits is not the
 *   same; one below zero is -1 (section 1.6).
 * - Something lost is heard of after a second at the earliest, and no later when it
 *   is lost again and again (section 6.3).
 * - A window that is closed is never asked whether it has opened (section 6.1, A).
 * - The end of what is given up is said once: when that is lost, the other end
 *   waits for ever (RFC 3758, section 3.5).
 * - Messages are given up by the pieces of other messages, those of `maxRetransmits`
 *   0 and of `maxPacketLifeTime` never: it counts in other units (RFC 3758,
 *   section 3.5; RFC 8831, section 6.6).
 * - A stream is reset before what was sent on it has gone or come, and the same
 *   request resets it again (RFC 6525, sections 5.1.2, 5.2.1 and 5.2.2).
 * - A message over 1 MiB fills the window that it waits for (RFC 9260, section 6.2).
 * - What waits for its other pieces has no bound.
 *
 * Relies on: the private fields of the association that `transfer.ts` uses, and
 * those that are set here for whoever reads them.
 *
 * @internal
 */
export const transferData = (transport: RTCSctpTransport, association: Association): void => {
  const { sctp } = transport
  /** What a listener throws keeps nobody waiting: not the other channels, and not the other end. */
  const close = (streamId: number) => {
    const channel = transport.dataChannels[streamId]
    isolated(() => sctp.onReconfigStreams.execute([streamId]))
    if (channel === undefined) return
    if (channel.readyState !== "closed") isolated(() => channel.setReadyState("closed"))
    if (transport.dataChannels[streamId] === channel) delete transport.dataChannels[streamId]
  }
  const begin = () => {
    association.transfer = new Transfer(sctp, association.limits, {
      streams: () => Object.keys(transport.dataChannels).map(Number),
      onReset: (streams) => streams.forEach(close)
    })
  }
  association.transfer = undefined
  keepAssociation(transport, { begin, hasBegun: () => association.transfer?.hasReceived === true })
  readPackets(transport, association)
  Object.defineProperties(sctp, {
    outboundQueue: { get: () => association.transfer?.queue ?? [], configurable: true },
    sentQueue: { get: () => association.transfer?.sent ?? [], configurable: true },
    flightSize: { get: () => association.transfer?.flight ?? 0, configurable: true }
  })
  sctp.stateChanged.closed.subscribe(() => association.transfer?.end())
}

/**
 * Mends the associations of a transport, before anything was sent on it: it gets
 * another when its section moves to another DTLS transport. `each` is called with
 * the transport for each of them.
 *
 * Relies on: `setDtlsTransport`, which makes the association.
 *
 * @internal
 */
export const mend = (
  transport: RTCSctpTransport,
  limits: Limits,
  each: (transport: RTCSctpTransport, association: Association) => void
): Association => {
  const association = new Association(limits)
  associations.set(transport, association)
  const mendAssociation = () => {
    setUpSoon(transport)
    transferData(transport, association)
    each(transport, association)
  }
  mendAssociation()
  const setDtlsTransport = transport.setDtlsTransport
  transport.setDtlsTransport = (dtlsTransport) => {
    const before = transport.sctp
    setDtlsTransport.call(transport, dtlsTransport)
    if (transport.sctp !== before) mendAssociation()
  }
  return association
}
