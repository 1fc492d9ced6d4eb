/**
 * Audio and video of a connection, as far as signaling goes: which of the
 * offered sections a client sends on, and which of the received tracks are
 * somebody's (`sora-protocol.md` sections 1 and 2.4).
 */
import type { MediaStreamLike, PeerConnectionLike, TrackEvent, TransceiverLike } from "../../PeerConnection.ts"
import type * as Signaling from "../../Signaling.ts"

/**
 * Sends the tracks of the stream on the sections that the offer names in `mid`,
 * with its `encodings` when it asks for simulcast. The remote description must
 * be set, and the answer not made yet. A kind that the server did not offer to
 * receive (`audio: false`) is not sent.
 *
 * @internal
 */
export const send = async (
  peer: PeerConnectionLike,
  media: MediaStreamLike,
  offer: Signaling.Offer
): Promise<void> => {
  if (peer.getTransceivers === undefined) throw new Error("this WebRTC implementation cannot send media")
  const transceivers = peer.getTransceivers()
  const sendKind = async (kind: "audio" | "video") => {
    const track = media.getTracks().find((track) => track.kind === kind)
    const mid = offer.mid?.[kind]
    if (track === undefined || mid === undefined) return
    const transceiver = transceivers.find((transceiver) => transceiver.mid === mid)
    if (transceiver === undefined) throw new Error(`the offer names a section "${mid}" for ${kind} and has none`)
    transceiver.direction = "sendonly"
    await transceiver.sender.replaceTrack(track)
    if (kind === "video" && offer.simulcast === true) await encode(transceiver, offer.encodings ?? [])
  }
  await Promise.all([sendKind("audio"), sendKind("video")])
}

/** Each layer as the server wants it; the layers themselves stand in its SDP. */
const encode = async (
  { sender }: TransceiverLike,
  encodings: NonNullable<Signaling.Offer["encodings"]>
): Promise<void> => {
  const parameters = sender.getParameters()
  parameters.encodings = (parameters.encodings ?? []).map((encoding) => ({
    ...encoding,
    ...encodings.find(({ rid }) => rid !== undefined && rid === encoding.rid)
  }))
  await sender.setParameters(parameters)
}

/**
 * Whether a track is another connection's: Sora names a stream after its sender,
 * and one that nobody sends `default`, as the official SDK knows it.
 *
 * @internal
 */
export const isRemote = ({ streams }: TrackEvent, connectionId: string | undefined): boolean =>
  streams[0]?.id !== "default" && streams[0]?.id !== connectionId
