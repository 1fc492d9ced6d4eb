/**
 * What the development server does with media, and werift has no public way
 * for. Each function says what it relies on.
 */
import {
  type MediaStream,
  PictureLossIndication,
  ReceiverEstimatedMaxBitrate,
  type RTCPeerConnection,
  RtcpPayloadSpecificFeedback,
  type RTCRtpCodecParameters,
  type RTCRtpTransceiver,
  type RtpHeader
} from "werift"

/**
 * Adds a section to the next offer, with a name of ours. `streamId` is told to
 * the other end as the stream of what is sent.
 *
 * Relies on: `mid` and `codecs` can be written before the offer is made, and only
 * the `id` of a stream is looked at.
 *
 * @internal
 */
export const addSection = (peer: RTCPeerConnection, kind: "audio" | "video", options: {
  readonly mid: string
  readonly direction: "recvonly" | "sendonly"
  readonly codec: RTCRtpCodecParameters | undefined
  readonly rids?: ReadonlyArray<string> | undefined
  readonly streamId?: string | undefined
}): RTCRtpTransceiver => {
  const { codec, direction, mid, rids, streamId } = options
  const transceiver = peer.addTransceiver(kind, {
    direction,
    ...(rids === undefined ? {} : { simulcast: rids.map((rid) => ({ rid, direction: "recv" as const })) }),
    ...(streamId === undefined ? {} : { streams: [{ id: streamId } as MediaStream] })
  })
  transceiver.mid = mid
  if (codec !== undefined) {
    transceiver.setCodecPreferences([codec])
    // It would be resolved to the codec of the peer's configuration, which may have other parameters.
    transceiver.codecs = [codec]
    transceiver.codecPreferencesNeedResolution = false
  }
  return transceiver
}

/**
 * Whether the section receives several layers.
 *
 * Relies on: `options`, which are those of `addTransceiver`.
 *
 * @internal
 */
export const isSimulcast = (transceiver: RTCRtpTransceiver): boolean => transceiver.options.simulcast !== undefined

/**
 * Asks for no packet again. werift counts losses over all layers together, whose
 * sequence numbers have nothing to do with each other.
 *
 * Relies on: `nack` of the receiver, which is told of each packet by `addPacket`.
 *
 * @internal
 */
export const ignoreLosses = ({ receiver }: RTCRtpTransceiver): void => {
  receiver["nack"].addPacket = () => {}
}

/**
 * Calls back when the other end asks for a keyframe of what the section sends.
 *
 * Relies on: `onRtcp` of the DTLS transport. Not on the sender's own event:
 * werift takes the packet for the receiver's when the client sends video as well.
 *
 * @internal
 */
export const onKeyframeRequest = (transceiver: RTCRtpTransceiver, run: () => void): () => void =>
  transceiver.dtlsTransport.onRtcp.subscribe((packet) => {
    if (packet.type !== RtcpPayloadSpecificFeedback.type) return
    const { feedback } = packet as RtcpPayloadSpecificFeedback
    if (feedback.count !== PictureLossIndication.count) return
    if ((feedback as PictureLossIndication).mediaSsrc === transceiver.sender.ssrc) run()
  }).unSubscribe

/**
 * Tells the other end how many bits a second it may send.
 *
 * Relies on: `rtcpSsrc` of the receiver, and `sendRtcp` of the DTLS transport.
 *
 * @internal
 */
export const sendEstimate = (
  { dtlsTransport, receiver }: RTCRtpTransceiver,
  bitsPerSecond: number,
  ssrcs: ReadonlyArray<number>
): void => {
  const exponent = Math.max(0, Math.ceil(Math.log2(bitsPerSecond / 0x3ffff)))
  const feedback = new ReceiverEstimatedMaxBitrate({
    senderSsrc: receiver.rtcpSsrc,
    mediaSsrc: 0,
    ssrcNum: ssrcs.length,
    brExp: exponent,
    brMantissa: Math.floor(bitsPerSecond / 2 ** exponent),
    ssrcFeedbacks: [...ssrcs]
  })
  dtlsTransport.sendRtcp([new RtcpPayloadSpecificFeedback({ feedback })]).catch(() => {})
}

/**
 * What the section sends goes on with another stream of packets, as if it were
 * the same: `header` is the first of them, `timestampGap` lies before it.
 *
 * Relies on: `replaceRTP` of the sender.
 *
 * @internal
 */
export const continueWith = ({ sender }: RTCRtpTransceiver, header: RtpHeader, timestampGap: number): void =>
  sender.replaceRTP(header, false, timestampGap)
