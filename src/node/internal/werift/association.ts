/**
 * What the development server has to know of a peer, or do to it, and werift
 * has no public way for. Each function says what it relies on.
 */
import type { RTCPeerConnection } from "werift"

/**
 * What SCTP keeps until the other end has acknowledged it.
 *
 * Relies on: `outboundQueue` and `sentQueue`, which hold what has not been sent
 * and what has not been acknowledged, and `flightSize`, the bytes of the latter.
 *
 * @internal
 */
export const unacknowledged = (peer: RTCPeerConnection): { readonly packets: number; readonly bytes: number } => {
  const sctp = peer.sctpTransport?.sctp
  return sctp === undefined
    ? { packets: 0, bytes: 0 }
    : { packets: sctp["outboundQueue"].length + sctp["sentQueue"].length, bytes: sctp["flightSize"] }
}

/**
 * Whether something was sent that the other end has not acknowledged.
 *
 * Relies on: `sentQueue`.
 *
 * @internal
 */
export const isInFlight = (peer: RTCPeerConnection): boolean => (peer.sctpTransport?.sctp["sentQueue"].length ?? 0) > 0

/**
 * The largest message that the other end takes, in bytes; 0 is no limit.
 *
 * Relies on: `remoteMaxMessageSize`, which is public and documented nowhere.
 *
 * @internal
 */
export const maxMessageBytes = (peer: RTCPeerConnection): number => peer.sctpTransport?.remoteMaxMessageSize ?? 0

/**
 * Calls back when the other end has ended the association. A client that leaves
 * aborts it; werift's connection state does not tell of that for half a minute.
 *
 * Relies on: the events of `sctp.stateChanged`.
 *
 * @internal
 */
export const onAssociationClosed = (peer: RTCPeerConnection, run: () => void): () => void => {
  const subscription = peer.sctpTransport?.sctp.stateChanged.closed.subscribe(run)
  return () => subscription?.unSubscribe()
}

/**
 * The index of the section of the DataChannels in the SDP. There is one
 * transport, and this section always uses it.
 *
 * Relies on: `mLineIndex` of the SCTP transport.
 *
 * @internal
 */
export const dataSectionIndex = (peer: RTCPeerConnection): number => peer.sctpTransport?.mLineIndex ?? 0

/**
 * From here on nothing is sent, whatever the peer does: not even that it closes.
 *
 * Relies on: `protocols` of the ICE agent, which are its sockets. They are not
 * closed here: the peer does that when it is closed itself.
 *
 * @internal
 */
export const silence = (peer: RTCPeerConnection): void => {
  for (const transport of peer.iceTransports) {
    // The type of the agent does not name them.
    const { protocols } = transport.connection as unknown as {
      readonly protocols: ReadonlyArray<{ sendData: () => Promise<void>; sendStun: () => Promise<void> }>
    }
    for (const protocol of protocols) {
      protocol.sendData = async () => {}
      protocol.sendStun = async () => {}
    }
  }
}
