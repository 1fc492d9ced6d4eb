/** Two peers of werift that are connected over the loopback interface. */
import type { RTCDataChannel, RTCPeerConnection } from "werift"
import { RTCPeerConnection as PlainPeer } from "werift"
import { loopback, WeriftPeer } from "../../../src/node/internal/werift/peer.ts"

/** As werift makes it, but for the public STUN server: nothing leaves the machine. */
export const plain = (): RTCPeerConnection => {
  const peer = new PlainPeer({ ...loopback, iceServers: [], maxMessageSize: 262_144 })
  const set = peer.setLocalDescription
  peer.setLocalDescription = ((description: any) => {
    for (const { connection } of peer.iceTransports) (connection as { stunServer?: unknown }).stunServer = undefined
    return set.call(peer, description)
  }) as typeof set
  return peer
}

export const mended = (): WeriftPeer => new WeriftPeer({ ...loopback, iceServers: [], maxMessageSize: 262_144 })

export const candidates = (peer: RTCPeerConnection): Promise<unknown> =>
  peer instanceof WeriftPeer ? peer.gathered : Promise.resolve()

/** Both have what the other says; they are not connected yet. `prepare` runs before either can send. */
export const negotiate = async (
  offerer: RTCPeerConnection,
  answerer: RTCPeerConnection,
  prepare: () => void = () => {}
): Promise<void> => {
  await offerer.setLocalDescription(await offerer.createOffer())
  await candidates(offerer)
  await answerer.setRemoteDescription({ type: "offer", sdp: offerer.localDescription!.sdp })
  prepare()
  await answerer.setLocalDescription(await answerer.createAnswer())
  await candidates(answerer)
  await offerer.setRemoteDescription({ type: "answer", sdp: answerer.localDescription!.sdp })
}

/** Connected, with a channel that is open on both sides. */
export const connected = async (offerer: RTCPeerConnection, answerer: RTCPeerConnection) => {
  const channel = offerer.createDataChannel("x")
  const other = new Promise<RTCDataChannel>((resolve) => answerer.onDataChannel.once(resolve))
  const open = new Promise<void>((resolve) => channel.addEventListener("open", () => resolve()))
  await negotiate(offerer, answerer)
  await open
  return { channel, other: await other }
}

export const closeAll = (...peers: ReadonlyArray<RTCPeerConnection>): Promise<unknown> =>
  Promise.all(peers.map((peer) => peer.close()))
