/**
 * A WebSocket, a peer connection and its DataChannels in memory, for
 * `SoraConnection.layerTest`. What one end does the other hears of on the next
 * microtask, in order, whichever way it goes.
 */
import type { Socket } from "effect/socket"
import type { DataChannelLike, PeerConnectionLike, SessionDescription } from "../../PeerConnection.ts"

const later = queueMicrotask

class Emitter extends EventTarget {
  emit(type: string, members: object = {}) {
    this.dispatchEvent(Object.assign(new Event(type), members))
  }
}

/**
 * The client's WebSocket, with what its server does.
 *
 * @internal
 */
export class WebSocket extends Emitter implements Socket.WebSocketLike {
  readyState = 0
  onText: (text: string) => void = () => {}
  /** The client closed it. */
  onClosing: () => void = () => {}

  open() {
    this.readyState = 1
    this.emit("open")
  }
  deliver(text: string) {
    later(() => {
      if (this.readyState === 1) this.emit("message", { data: text })
    })
  }
  /** The end that the server gives it; 1006 is one without a Close frame. */
  end(code: number, reason: string) {
    later(() => {
      if (this.readyState === 3) return
      this.readyState = 3
      this.emit("close", { code, reason })
    })
  }

  send(data: string | Uint8Array) {
    later(() => this.onText(String(data)))
  }
  close(code = 1000, reason = "") {
    if (this.readyState >= 2) return
    this.readyState = 2
    later(() => this.onClosing())
    this.end(code, reason)
  }
}

/**
 * One end of a DataChannel.
 *
 * @internal
 */
export class DataChannel extends Emitter implements DataChannelLike {
  readonly label: string
  readyState = "connecting"
  readonly bufferedAmount = 0
  bufferedAmountLowThreshold = 0
  binaryType = "arraybuffer"
  peer: DataChannel | undefined

  constructor(label: string) {
    super()
    this.label = label
  }

  open() {
    if (this.readyState !== "connecting") return
    this.readyState = "open"
    this.emit("open")
  }
  send(data: string | Uint8Array) {
    if (this.readyState !== "open") throw new DOMException("the DataChannel is not open", "InvalidStateError")
    const sent = typeof data === "string" ? data : data.slice().buffer
    later(() => {
      if (this.peer?.readyState === "open") this.peer.emit("message", { data: sent })
    })
  }
  close() {
    if (this.readyState === "closed") return
    this.readyState = "closing"
    later(() => {
      this.closed()
      this.peer?.closed()
    })
  }
  closed() {
    if (this.readyState === "closed") return
    this.readyState = "closed"
    this.emit("close")
  }
}

/**
 * Both ends of a DataChannel that is not open yet.
 *
 * @internal
 */
export const makeDataChannels = (label: string): readonly [client: DataChannel, server: DataChannel] => {
  const [client, server] = [new DataChannel(label), new DataChannel(label)]
  client.peer = server
  server.peer = client
  return [client, server]
}

/**
 * The client's peer connection. It negotiates nothing: it hands over the SDP of
 * the offer, by which its server knows it.
 *
 * @internal
 */
export class PeerConnection extends Emitter implements PeerConnectionLike {
  connectionState = "new"
  localDescription: SessionDescription | undefined
  readonly onOffer: (sdp: string) => void
  /** The client closed it. */
  onClosing: () => void = () => {}

  constructor(onOffer: (sdp: string) => void) {
    super()
    this.onOffer = onOffer
  }

  change(state: string) {
    this.connectionState = state
    this.emit("connectionstatechange")
  }
  async setRemoteDescription({ sdp }: SessionDescription) {
    this.onOffer(sdp)
  }
  async createAnswer() {
    return { sdp: "v=0\r\n" }
  }
  async setLocalDescription(description: SessionDescription) {
    this.localDescription = description
  }
  async getStats() {
    return new Map()
  }
  getTransceivers() {
    return []
  }
  close() {
    this.connectionState = "closed"
    later(() => this.onClosing())
  }
}
