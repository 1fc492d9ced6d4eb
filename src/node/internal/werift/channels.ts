/**
 * What is mended in werift's DataChannels.
 */
import type { RTCDataChannel, RTCSctpTransport } from "werift"
import * as Sctp from "./sctp.ts"
import type { Transfer } from "./sctp/transfer.ts"

/** Payload protocol identifiers of WebRTC (RFC 8831, section 8). */
const Protocol = { Dcep: 50, String: 51, Binary: 53, StringEmpty: 56, BinaryEmpty: 57 }

/** DATA_CHANNEL_ACK (RFC 8832, section 5.2). */
const AckMessage = 2

/**
 * A message for no channel, or of no known kind (RFC 8832, section 6), rejects a
 * promise that nobody has, which ends the process. That a channel has opened may be
 * heard when it has been closed again: that is no fault.
 *
 * Relies on: `datachannelReceive` of the transport, which gets each message, and
 * that nobody else subscribes to `onReceive`.
 *
 * @internal
 */
export const dropAddressless = (transport: RTCSctpTransport, association: Sctp.Association): void => {
  const receive = transport["datachannelReceive"]
  const { onReceive } = transport.sctp
  onReceive.allUnsubscribe()
  onReceive.subscribe((...frame) => {
    const [streamId, protocol, data] = frame
    const isLate = protocol === Protocol.Dcep && data[0] === AckMessage && !(streamId in transport.dataChannels)
    if (isLate && association.transfer?.isResetting(streamId)) return
    receive(...frame).catch(() => association.limits.onBad())
  })
}

/**
 * Messages wait for the one before them to be gone, and what is buffered is told
 * wrongly (WebRTC, `RTCDataChannel.bufferedAmount`). An empty one is not sent, but
 * its number is used, so that nothing after it arrives; it is to be sent as a byte
 * of a protocol of its own (RFC 8831, section 6.6). What is sent is what there was
 * when it was handed over, whatever becomes of the buffer (WebRTC,
 * `RTCDataChannel.send`). And until the other end knows how a channel is meant, what
 * is sent on it is ordered (RFC 8832, section 6).
 *
 * Relies on: `dataChannelQueue`, `dataChannelFlush` and `datachannelSend` of the
 * transport.
 *
 * @internal
 */
export const sendMessages = (transport: RTCSctpTransport, association: Sctp.Association): void => {
  transport["datachannelSend"] = (channel: RTCDataChannel, data: Buffer | string) => {
    const isText = typeof data === "string"
    // Of an `ArrayBuffer`, which werift's types leave out, `from` would make no copy.
    const userData = Buffer.from(data instanceof ArrayBuffer ? new Uint8Array(data) : data)
    const size = userData.length
    transport["assertSendableMessageSize"](size)
    if (channel.readyState !== "open" && channel.readyState !== "connecting") return size
    channel.addBufferedAmount(size)
    if (size === 0) {
      const protocol = isText ? Protocol.StringEmpty : Protocol.BinaryEmpty
      transport["dataChannelQueue"].push([channel, protocol, Buffer.alloc(1)])
    } else transport["dataChannelQueue"].push([channel, isText ? Protocol.String : Protocol.Binary, userData])
    void transport["dataChannelFlush"]()
    return size
  }
  transport["dataChannelFlush"] = async () => {
    const { transfer } = association
    if (transport.sctp.associationState !== Sctp.Established || transfer === undefined) return
    // What is sent by whoever hears that the first has gone comes after the others.
    const queue = transport["dataChannelQueue"]
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [channel, protocol, data] = next
      const streamId = channel.id ?? identify(transport, transfer, channel)
      if (protocol === Protocol.Dcep) {
        transfer.send({ streamId, protocol, data, isOrdered: true })
        continue
      }
      const isEmpty = protocol === Protocol.StringEmpty || protocol === Protocol.BinaryEmpty
      transfer.send({
        streamId,
        protocol,
        data,
        isOrdered: channel.ordered || channel.readyState === "connecting",
        maxRetransmits: channel.maxRetransmits ?? undefined,
        expiresAt: channel.maxPacketLifeTime === null ? undefined : performance.now() + channel.maxPacketLifeTime,
        onLeft: isEmpty ? undefined : (bytes) => channel.addBufferedAmount(-bytes)
      })
    }
  }
}

/** Gives a channel the next stream of this side that is not in use (RFC 8832, section 6). */
const identify = (transport: RTCSctpTransport, transfer: Transfer, channel: RTCDataChannel): number => {
  let streamId = transport["dataChannelId"]!
  while (streamId in transport.dataChannels || transfer.isResetting(streamId)) streamId += 2
  transport.dataChannels[streamId] = channel
  channel.setId(streamId)
  return streamId
}

/** DATA_CHANNEL_OPEN (RFC 8832, section 5.1). */
const openMessage = ({ label, maxPacketLifeTime, maxRetransmits, ordered, protocol }: RTCDataChannel): Buffer => {
  const names = [Buffer.from(label), Buffer.from(protocol)]
  const head = Buffer.alloc(12)
  head[0] = 3
  head[1] = (ordered ? 0 : 0x80) | (maxRetransmits !== null ? 1 : maxPacketLifeTime !== null ? 2 : 0)
  head.writeUInt32BE(maxRetransmits ?? maxPacketLifeTime ?? 0, 4)
  names.forEach((name, i) => head.writeUInt16BE(name.length, 8 + 2 * i))
  return Buffer.concat([head, ...names])
}

/**
 * The lengths of a label and a protocol are told in characters, not bytes, so that
 * the other end cuts off what is not ASCII; and a channel that is unordered and
 * may lose messages opens as an ordered one (RFC 8832, section 5.1).
 *
 * Relies on: `dataChannelOpen` of the transport, which puts the message last into
 * `dataChannelQueue`.
 *
 * @internal
 */
export const openAsMeant = (transport: RTCSctpTransport): void => {
  const open = transport.dataChannelOpen
  const flush = transport["dataChannelFlush"]
  transport.dataChannelOpen = (channel) => {
    transport["dataChannelFlush"] = async () => {}
    try {
      open.call(transport, channel)
    } finally {
      transport["dataChannelFlush"] = flush
    }
    transport["dataChannelQueue"].at(-1)![2] = openMessage(channel)
    void flush()
  }
}

/**
 * What waits on a channel is lost when it is closed (WebRTC,
 * `RTCDataChannel.close`; RFC 8831, section 6.7), and the other end does not close
 * it when it has never sent anything on it. Before the association is up, what waits
 * on all other channels is dropped with it, and none of them opens.
 *
 * Relies on: `dataChannelClose` and `dataChannelQueue` of the transport.
 *
 * @internal
 */
export const closeWhenSent = (transport: RTCSctpTransport, association: Sctp.Association): void => {
  transport.dataChannelClose = (channel) => {
    const { transfer } = association
    const { id } = channel
    if (channel.readyState === "closing" || channel.readyState === "closed") return
    channel.setReadyState("closing")
    if (transport.sctp.associationState === Sctp.Established && transfer !== undefined && id !== undefined) {
      return transfer.reset(id)
    }
    const queue = transport["dataChannelQueue"]
    queue.splice(0, queue.length, ...queue.filter(([of]: readonly [RTCDataChannel]) => of !== channel))
    if (id !== undefined) delete transport.dataChannels[id]
    channel.setReadyState("closed")
  }
}

/**
 * Mends a transport and all that goes over it.
 *
 * @internal
 */
export const mend = (transport: RTCSctpTransport, limits: Sctp.Limits): void => {
  const association = Sctp.mend(transport, limits, dropAddressless)
  sendMessages(transport, association)
  openAsMeant(transport)
  closeWhenSent(transport, association)
}
