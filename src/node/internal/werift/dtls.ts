/**
 * What is mended in werift's DTLS.
 */
import { createSecretKey } from "node:crypto"
import { DtlsClient, type DtlsSocket, type RTCDtlsTransport } from "werift"
import { makeProofs } from "./dtls/proofs.ts"

/** The first byte of a record of the handshake, and of the `ChangeCipherSpec` in it (RFC 5246, section 6.2.1). */
const HandshakeRecord = 22
const ChangeRecord = 20

/** Length of the head of a record (RFC 6347, section 4.1). */
const RecordHeadBytes = 13

/** Last messages of a flight (RFC 5246, section 7.4). */
const Handshake = { ClientHello: 1, Finished: 20 }

/** A message of the handshake, or a piece of one. */
type Fragment = Parameters<DtlsSocket["handleFragmentHandshake"]>[0][number]

/**
 * werift makes its end of DTLS when ICE is up on its own side. A `ClientHello`
 * that came before is lost, and comes again a second later where the client waits
 * as long as RFC 6347, section 4.2.4.1, has it. So it is kept until there is
 * somebody to hear it.
 *
 * Relies on: `onData` of the ICE agent, and `dtls` of the transport, which is set
 * right after the state has become "connecting".
 *
 * @internal
 */
export const hearEarly = (transport: RTCDtlsTransport): { readonly replay: () => void } => {
  // The latest alone: until it is answered a client says the same again and again.
  let early: Buffer | undefined
  const { onData } = transport.iceTransport.connection
  const { unSubscribe } = onData.subscribe((data) => {
    if (transport.dtls === undefined && data[0] === HandshakeRecord) early = data
  })
  return {
    replay: () => {
      unSubscribe()
      if (early === undefined) return
      try {
        onData.execute(early)
      } catch {
        // It need not be DTLS: anybody can send to a port. werift drops such packets too, when they come by themselves.
      }
    }
  }
}

/**
 * werift looks at none of the proofs of a handshake. So whoever is between the two
 * ends can be either of them to the other, with the certificate that it has seen
 * go by and without its key: that the fingerprints of the SDP are right says
 * nothing then (RFC 8827, section 6.5; RFC 5246, sections 7.4.3, 7.4.8 and 7.4.9).
 * Here the handshake fails.
 *
 * Relies on: `cipher.localRandom`, `cipher.masterSecret` and
 * `dtls.sortedHandshakeCache` of the socket.
 *
 * @internal
 */
export const proveEnds = (socket: DtlsSocket): (message: Fragment) => boolean => {
  const isProved = makeProofs(socket)
  let hasFailed = false
  return ({ fragment, msg_type }) => {
    hasFailed ||= !isProved(msg_type, fragment)
    if (hasFailed) socket.onError.execute(new Error(`handshake message ${msg_type} proves nothing`))
    return !hasFailed
  }
}

/** Messages of a handshake that are kept until those before them come, and bytes of one: more than any has. */
const MaxEarly = 16
const MaxMessageBytes = 65_536

/** Whether the pieces, in order of their offsets, are all of the message. */
const isWhole = (pieces: ReadonlyArray<Fragment>): boolean => {
  let reached = 0
  for (const { fragment_length, fragment_offset } of pieces) {
    if (fragment_offset > reached) return false
    reached = Math.max(reached, fragment_offset + fragment_length)
  }
  return reached >= pieces[0]!.length
}

/**
 * Messages of a handshake are for werift what comes, when it comes: one that
 * overtakes another makes keys of the wrong messages, and the handshake never
 * ends; one that comes in pieces is put together of those that came last; and one
 * that is said again, as by an end that waits for an answer, begins that step
 * anew. They are to be taken by their number, each once (RFC 6347, section
 * 4.2.2). Where the last one of a flight comes again its answer was lost, and has to
 * be said again (section 4.2.4). werift makes it anew, which is right where it is
 * the same each time; flights 4 and 5 have other signatures then, so that what
 * answers the first is no proof for the second: of those `repeatSoon` says the same
 * again.
 *
 * Relies on: `handleFragmentHandshake` and `onHandleHandshakes` of the socket, and
 * `dtls.flight`, the number of the flight that it sent last.
 *
 * @internal
 */
export const hearInOrder = (socket: DtlsSocket): void => {
  let next = 0
  const early = new Map<number, Array<Fragment>>()
  const isProved = proveEnds(socket)
  const hear = (message: Fragment) => {
    socket.onHandleHandshakes([message]).catch((error: Error) => socket.onError.execute(error))
  }
  /** Of those that were heard already. */
  const isToHearAgain = ({ fragment_length, length, msg_type }: Fragment): boolean => {
    const { flight } = socket.dtls
    if (fragment_length !== length) return false
    switch (msg_type) {
      case Handshake.ClientHello:
        return flight < 4
      case Handshake.Finished:
        return flight === 6
      default:
        return false
    }
  }
  socket.handleFragmentHandshake = (fragments) => {
    for (const fragment of fragments) {
      const { length, message_seq: number, msg_type } = fragment
      if (number < next) {
        if (isToHearAgain(fragment)) hear(fragment)
        continue
      }
      if (number >= next + MaxEarly || length > MaxMessageBytes) continue
      const pieces = early.get(number) ?? []
      early.set(number, pieces)
      const isOfIt = pieces.length === 0 || pieces[0]!.length === length && pieces[0]!.msg_type === msg_type
      if (isOfIt && !pieces.some(({ fragment_offset }) => fragment_offset === fragment.fragment_offset)) {
        pieces.push(fragment)
      }
    }
    for (let pieces = early.get(next); pieces !== undefined; pieces = early.get(next)) {
      pieces.sort((a, b) => a.fragment_offset - b.fragment_offset)
      if (!isWhole(pieces)) break
      early.delete(next++)
      // A static method of a class that werift does not export.
      const { assemble } = pieces[0]!.constructor as unknown as { assemble(pieces: Array<Fragment>): Fragment }
      const message = assemble(pieces)
      if (!isProved(message)) return []
      hear(message)
    }
    return []
  }
}

/** What is not answered is said again after so long, then after twice as long, for so many times. */
const Repeat = { firstMillis: 50, times: 5 }

/** Flights that are said again when no answer comes; of the others only the other end can know (RFC 6347, section 4.2.4). */
const isRepeated = (flight: number) => flight === 1 || flight === 3 || flight === 4 || flight === 5

/**
 * What is lost of a handshake comes again after half a second, where RFC 6347,
 * section 4.2.4.1, has a second for those who do not know better. On a path that
 * ICE has just found to answer it is known: libwebrtc says it again after 50
 * milliseconds.
 *
 * Relies on: `transport.socket` of the socket, through which it sends, and `dtls.flight`, which is set before
 * a flight is sent.
 *
 * @internal
 */
export const repeatSoon = (socket: DtlsSocket): () => void => {
  const wire = socket.transport.socket
  const { send } = wire
  let flight = 0
  let packets: Array<Buffer> = []
  let timer: ReturnType<typeof setTimeout> | undefined
  const repeat = (count: number) => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      if (socket.connected || socket.dtls.flight !== flight) return
      for (const packet of packets) send(packet).catch(() => {})
      if (count < Repeat.times) repeat(count + 1)
    }, Repeat.firstMillis * 2 ** (count - 1))
  }
  wire.send = (packet, address) => {
    const now = socket.dtls.flight
    if (!socket.connected && isRepeated(now)) {
      if (now !== flight) {
        flight = now
        packets = []
        repeat(1)
      }
      // werift itself says the same again, later.
      if (!packets.includes(packet)) packets.push(packet)
    }
    return send(packet, address)
  }
  return () => {
    clearTimeout(timer)
    packets = []
  }
}

/**
 * A client waits for a tenth of a second before it says anything, which is two
 * thirds of the time that setting up takes.
 *
 * Relies on: `connect`, which werift calls then, and which says the first message.
 *
 * @internal
 */
export const helloAtOnce = (socket: DtlsSocket): void => {
  if (!(socket instanceof DtlsClient)) return
  const connecting = socket.connect()
  // Until werift listens to it.
  connecting.catch(() => {})
  socket.connect = () => connecting
}

/**
 * werift sends `Finished` under the number that the handshake has come to, and
 * then counts from 1 again. When it comes to that number, the other end takes the
 * record for a replay and drops it (RFC 6347, sections 4.1 and 4.1.2.6), and what
 * was in it comes a second later. So it counts on. It leaves none out either: what
 * comes when one that is 64 higher has come is dropped as well, as `Finished` would
 * be that data has overtaken.
 *
 * What is said again of a handshake has its old number in werift, and so is dropped
 * by an end that has seen it, also where it could make nothing of it then: OpenSSL
 * forgets what comes too early, such as a `ChangeCipherSpec` that has overtaken
 * others, and waits for it for ever. It is to have a new one (section 4.2.4, figure 2).
 *
 * Relies on: `dtls.recordSequenceNumber`, the number of the last record, on
 * `transport.socket` of the socket, through which it sends, and on
 * `cipher.encryptPacket`, which encrypts `Finished` before anything else.
 *
 * @internal
 */
export const useNoNumberTwice = (socket: DtlsSocket): void => {
  const { cipher, dtls } = socket
  let last = dtls.recordSequenceNumber
  Object.defineProperty(dtls, "recordSequenceNumber", {
    get: () => last,
    set(number: number) {
      if (number > last) last = number
    }
  })
  const { encryptPacket } = cipher
  /** As it was before it was encrypted. */
  let finished: Parameters<typeof encryptPacket>[0] | undefined
  cipher.encryptPacket = (record) => {
    cipher.encryptPacket = encryptPacket
    finished = copyOf(record)
    return encryptPacket.call(cipher, record)
  }
  const used = new Set<string>()
  const renumbered = (record: Buffer): Buffer => {
    const epoch = record.readUInt16BE(3)
    const id = `${epoch} ${record.readUIntBE(5, 6)}`
    if (!used.has(id)) {
      used.add(id)
      return record
    }
    const number = ++last
    if (epoch > 0) {
      // All that is said again of what is encrypted.
      if (finished === undefined || record[0] !== HandshakeRecord) return record
      const again = copyOf(finished)
      again.recordLayerHeader.sequenceNumber = number
      return encryptPacket.call(cipher, again).serialize()
    }
    const again = Buffer.from(record)
    again.writeUIntBE(number, 5, 6)
    return again
  }
  const wire = socket.transport.socket
  const { send } = wire
  wire.send = (packet, address) => {
    if (packet[0] !== HandshakeRecord && packet[0] !== ChangeRecord) return send(packet, address)
    const records: Array<Buffer> = []
    for (let at = 0; at + RecordHeadBytes <= packet.length;) {
      const end = at + RecordHeadBytes + packet.readUInt16BE(at + 11)
      records.push(renumbered(packet.subarray(at, end)))
      at = end
    }
    return send(records.length === 1 ? records[0]! : Buffer.concat(records), address)
  }
}

const copyOf = <Record extends { recordLayerHeader: object }>(record: Record): Record =>
  Object.assign(Object.create(Object.getPrototypeOf(record)), record, {
    recordLayerHeader: { ...record.recordLayerHeader }
  })

/**
 * Of a key that is bytes Node makes an object for each record, which is half of
 * what a message costs. So it is made once.
 *
 * Relies on: `clientWriteKey` and `serverWriteKey` of `cipher.cipher`.
 *
 * @internal
 */
export const keepKeys = (socket: DtlsSocket): void => {
  const { cipher } = socket.cipher
  const { clientWriteKey, serverWriteKey } = cipher
  if (!(clientWriteKey instanceof Uint8Array) || !(serverWriteKey instanceof Uint8Array)) return
  Object.assign(cipher, {
    clientWriteKey: createSecretKey(clientWriteKey),
    serverWriteKey: createSecretKey(serverWriteKey)
  })
}

/**
 * Of a handshake that is over werift keeps every message. Only what it said last
 * may be asked for again (RFC 6347, section 4.2.4), which it has apart, but says
 * again only while it has those that were heard before it. When it is asked for, it
 * would keep that as well.
 *
 * Relies on: `dtls.handshakeCache`, `dtls.bufferHandshakeCache`, which fills it,
 * `dtls.lastFlight` and `dtls.checkHandshakesExist`, and that all that was heard is
 * looked at before the transport is "connected".
 *
 * @internal
 */
export const forgetHandshake = ({ dtls }: DtlsSocket): void => {
  dtls.handshakeCache = {}
  dtls.bufferHandshakeCache = () => {}
  dtls.lastFlight = []
  dtls.checkHandshakesExist = () => true
}

/**
 * After its end werift would go on saying its last flight for half a minute, to
 * nobody, and keep the process alive for it. It looks whether the handshake is
 * past that flight before each time, and before it begins with the first one.
 *
 * Relies on: `dtls.flight`, and `connect` of a client.
 *
 * @internal
 */
export const endHandshake = ({ dtls }: RTCDtlsTransport): void => {
  if (dtls === undefined) return
  Object.defineProperty(dtls.dtls, "flight", { get: () => Infinity, set() {} })
  if (dtls instanceof DtlsClient) dtls.connect = async () => {}
}

/**
 * An end that has said its last of the handshake sends at once, and that last may
 * be lost (RFC 6347, section 4.2.4), so that data comes first. werift hands it to
 * SCTP, which it has not started yet: SCTP then gives no numbers to its channels,
 * which rejects a promise that nobody has, or never says that it is connected.
 * Gives what ends the waiting.
 *
 * Relies on: `onData` of the end of DTLS, and SCTP being started right after the
 * transport has become "connected".
 *
 * @internal
 */
export const holdData = ({ onData }: DtlsSocket): { readonly pass: () => void } => {
  const { execute } = onData
  // The latest alone: until it is answered the other end says the same again.
  let early: Buffer | undefined
  onData.execute = (data) => {
    early = data
  }
  return {
    pass() {
      onData.execute = execute
      if (early !== undefined) execute(early)
    }
  }
}

/**
 * Once SCTP has ended, werift hands data to nothing, which throws in the socket's
 * own listener and ends the process. It is heard by nobody instead.
 *
 * Relies on: `dataReceiver`, which the end of SCTP sets to undefined.
 *
 * @internal
 */
export const hearNothingAfterEnd = (transport: RTCDtlsTransport): void => {
  const nobody = () => {}
  let receiver: RTCDtlsTransport["dataReceiver"] | undefined = transport.dataReceiver
  Object.defineProperty(transport, "dataReceiver", {
    get: () => receiver ?? nobody,
    set(next) {
      receiver = next
    }
  })
}

/**
 * Mends a transport whose end of DTLS is not made yet. Gives what ends it.
 *
 * @internal
 */
export const mend = (transport: RTCDtlsTransport): () => void => {
  const early = hearEarly(transport)
  hearNothingAfterEnd(transport)
  let held: { readonly pass: () => void } | undefined
  let stopRepeating = () => {}
  transport.onStateChange.subscribe((state) => {
    // werift makes its end right after it has said so.
    if (state === "connecting") {
      queueMicrotask(() => {
        if (transport.dtls === undefined) return
        useNoNumberTwice(transport.dtls)
        hearInOrder(transport.dtls)
        held = holdData(transport.dtls)
        stopRepeating = repeatSoon(transport.dtls)
        helloAtOnce(transport.dtls)
        early.replay()
      })
    }
    if (state === "connected" && transport.dtls !== undefined) {
      // Not before SCTP is started, which is the next thing that werift does.
      if (held !== undefined) setImmediate(held.pass)
      stopRepeating()
      keepKeys(transport.dtls)
      forgetHandshake(transport.dtls)
    }
  })
  return () => {
    stopRepeating()
    endHandshake(transport)
  }
}
