import type { PeerConnection } from "effect-sora-rpc"

/** A DataChannel whose other end is the test. Counts its listeners. */
export class FakeDataChannel implements PeerConnection.DataChannelLike {
  readonly label: string
  readyState = "open"
  bufferedAmount = 0
  bufferedAmountLowThreshold = 0
  binaryType = "blob"
  readonly sent: Array<string | Uint8Array> = []
  refuse: Error | undefined
  #listeners = new Set<readonly [string, (event: any) => void]>()

  constructor(label = "rpc") {
    this.label = label
  }
  get listenerCount() {
    return this.#listeners.size
  }
  send(data: string | Uint8Array) {
    if (this.refuse !== undefined) throw this.refuse
    this.sent.push(data)
  }
  close() {
    this.readyState = "closed"
    this.emit("close", {})
  }
  addEventListener(type: string, listener: (event: any) => void) {
    this.#listeners.add([type, listener])
  }
  removeEventListener(type: string, listener: (event: any) => void) {
    for (const entry of this.#listeners) if (entry[0] === type && entry[1] === listener) this.#listeners.delete(entry)
  }
  emit(type: string, event: any) {
    for (const [name, listener] of Array.from(this.#listeners)) if (name === type) listener(event)
  }
}
