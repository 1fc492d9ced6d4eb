/**
 * How much a client takes from a server while it connects, so that none can keep
 * it busy: JSON, SDP and candidates all cost time that no timeout can interrupt.
 */

/**
 * A signaling message, in bytes. The offer of a channel with a thousand senders
 * has about half a megabyte.
 *
 * @internal
 */
export const MaxSignalingBytes = 4 * 1024 * 1024

/** @internal */
export const tooLong = `it has more than ${MaxSignalingBytes} bytes`

/** An SDP, in characters: 3,000 senders. werift takes half a second for it. */
const MaxSdpLength = 1024 * 1024

/** werift takes a tenth of a second for so many, and four times that for twice as many. */
const MaxCandidates = 2000

/**
 * Why an SDP of the server is not given to WebRTC.
 *
 * @internal
 */
export const sdpIssue = (sdp: string): string | undefined => {
  if (sdp.length > MaxSdpLength) return `its sdp has more than ${MaxSdpLength} characters`
  if (sdp.split("a=candidate:").length > MaxCandidates + 1) return `its sdp has more than ${MaxCandidates} candidates`
  // werift accepts any text as SDP and then waits for ever.
  return /^m=application /m.test(sdp)
    ? undefined
    : "its sdp has no m=application section, so there can be no DataChannel"
}
