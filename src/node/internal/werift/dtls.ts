/**
 * What is mended in werift's DTLS.
 */
import { createSecretKey } from "node:crypto"
import { DtlsClient, type DtlsSocket, type RTCDtlsTransport } from "werift"

/** The first byte of a record of the handshake (RFC 5246, section 6.2.1). */
const HandshakeRecord = 22

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
 * An end that waits for an answer says its flight again (RFC 6347, section
 * 4.2.4), so an end that was slow gets what it has dealt with already. werift
 * begins that step of the handshake anew, or fails it: on a machine that is busy
 * for half a second it lost the connection. So what belongs to a step that is
 * past is dropped; of a flight's last message werift itself knows that it has to
 * say its answer again.
 *
 * Relies on: `onHandleHandshakes` of the socket, and `dtls.flight`, the number of
 * the flight that it sent last.
 *
 * @internal
 */
export const dropRepeated = (socket: DtlsSocket): void => {
  const isClient = socket instanceof DtlsClient
  const isRepeated = ({ fragment, msg_type }: { readonly fragment: Buffer; readonly msg_type: number }): boolean => {
    const { flight } = socket.dtls
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
  const handle = socket.onHandleHandshakes
  socket.onHandleHandshakes = (handshakes) => handle(handshakes.filter((handshake) => !isRepeated(handshake)))
}

/** More than a handshake has records. */
const HandshakeRecords = 100

/**
 * werift sends `Finished` under the number that the handshake has come to, and
 * then counts from 1 again. When it comes to that number, the other end takes the
 * record for a replay and drops it (RFC 6347, sections 4.1 and 4.1.2.6), and what
 * was in it comes a second later. So these numbers are left out.
 *
 * Relies on: `dtls.recordSequenceNumber`, the number of the last record.
 *
 * @internal
 */
export const useNoNumberTwice = ({ dtls }: DtlsSocket): void => {
  dtls.recordSequenceNumber += HandshakeRecords
}

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
 * Mends a transport whose end of DTLS is not made yet.
 *
 * @internal
 */
export const mend = (transport: RTCDtlsTransport): void => {
  const early = hearEarly(transport)
  let held: { readonly pass: () => void } | undefined
  transport.onStateChange.subscribe((state) => {
    // werift makes its end right after it has said so.
    if (state === "connecting") {
      queueMicrotask(() => {
        if (transport.dtls !== undefined) {
          dropRepeated(transport.dtls)
          held = holdData(transport.dtls)
        }
        early.replay()
      })
    }
    if (state === "connected" && transport.dtls !== undefined) {
      // Not before SCTP is started, which is the next thing that werift does.
      if (held !== undefined) setImmediate(held.pass)
      useNoNumberTwice(transport.dtls)
      keepKeys(transport.dtls)
    }
  })
}
