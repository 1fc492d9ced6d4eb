/** An offer whose candidate nobody listens at. */
export const Nowhere = [
  "v=0",
  "o=- 1 1 IN IP4 0.0.0.0",
  "s=-",
  "t=0 0",
  "a=group:BUNDLE 0",
  "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
  "c=IN IP4 127.0.0.1",
  "a=mid:0",
  "a=ice-ufrag:abcd",
  "a=ice-pwd:abcdefghijklmnopqrstuvwx",
  "a=candidate:1 1 udp 2122260223 127.0.0.1 9 typ host",
  `a=fingerprint:sha-256 ${Array.from({ length: 32 }, () => "AA").join(":")}`,
  "a=setup:actpass",
  "a=sctp-port:5000",
  ""
].join("\r\n")
