/**
 * The codecs that are offered, and how their keyframes begin.
 */
import {
  type PeerConfig,
  RTCRtpCodecParameters,
  useAV1,
  useH264,
  useOPUS,
  useSdesMid,
  useSdesRTPStreamId,
  useVP8,
  useVP9,
  Vp8RtpPayload,
  Vp9RtpPayload
} from "werift"

/** What a peer is configured with, or another one uses. */
export type Codec = RTCRtpCodecParameters

/** VP8 is the default, not Sora's VP9: it is what every client, and simulcast in every browser, can do. */
const videoCodecs: Record<string, () => Codec> = {
  VP8: () => useVP8(),
  VP9: () => useVP9({ parameters: "profile-id=0" }),
  H264: () => useH264(),
  AV1: () => useAV1()
}

/** What the server's peers need for media. One transport, whatever sections there are. */
export const peerConfig = (): Partial<PeerConfig> => {
  // The same object for both kinds: in a bundle an id has one meaning.
  const mid = useSdesMid()
  return {
    bundlePolicy: "max-bundle",
    codecs: {
      // In lower case, as Sora writes it: official SDKs look for it in what a browser tells of its codecs.
      audio: [useOPUS({ mimeType: "audio/opus", parameters: "minptime=10;useinbandfec=1" })],
      video: Object.values(videoCodecs).map((make) => make())
    },
    headerExtensions: { audio: [mid], video: [mid, useSdesRTPStreamId()] }
  }
}

const byType = (codecs: ReadonlyArray<Codec> | undefined, mimeType: string | undefined): Codec | undefined =>
  codecs?.find((codec) => codec.mimeType.toLowerCase() === mimeType?.toLowerCase())

/** What a client that sends video is to send: what it asks for, else the default, else what there is. */
export const videoCodecFor = (codecs: ReadonlyArray<Codec> | undefined, asked = "VP8"): Codec | undefined =>
  byType(codecs, `video/${asked}`) ?? byType(codecs, "video/vp8") ?? codecs?.[0]

/** What a client sends audio with, or receives what another one sends: a browser encodes two channels only if it is told. */
export const audioCodecFor = (codecs: ReadonlyArray<Codec> | undefined, isStereo: boolean): Codec | undefined => {
  const opus = byType(codecs, "audio/opus")
  if (opus === undefined || !isStereo) return opus ?? codecs?.[0]
  return new RTCRtpCodecParameters({ ...opus, parameters: [opus.parameters, "stereo=1"].filter(Boolean).join(";") })
}

/** Of a peer's codecs the one that another peer uses. */
export const sameCodec = (codecs: ReadonlyArray<Codec> | undefined, codec: Codec | undefined): Codec | undefined =>
  byType(codecs, codec?.mimeType)

/** Whether a decoder can begin with this packet. */
export const beginsKeyframe = (codec: string, payload: Buffer): boolean => {
  if (payload.length < 4) return false
  switch (codec) {
    case "video/vp8":
      return Vp8RtpPayload.deSerialize(payload).isKeyframe
    case "video/vp9":
      return Vp9RtpPayload.deSerialize(payload).isKeyframe
    case "video/av1":
      return (payload[0]! & 0x08) !== 0
    case "video/h264": {
      // The parameter sets, which come first: alone, or at the front of an aggregate.
      const type = payload[0]! & 0x1f
      return type === 7 || type === 24 && (payload[3]! & 0x1f) === 7
    }
    default:
      return true
  }
}
