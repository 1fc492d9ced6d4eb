/** A bare peer in a page, which does what `pagePeer.ts` says, and tells it what happens. Bytes are text of a letter each. */

export type PageEvent =
  | {
    readonly type: "datachannel"
    readonly label: string
    readonly ordered: boolean
    readonly maxRetransmits: number | null
    readonly maxPacketLifeTime: number | null
  }
  | { readonly type: "open" | "close"; readonly label: string }
  | { readonly type: "message"; readonly label: string; readonly text: string }

export interface PagePeer {
  create(label: string, options: RTCDataChannelInit): void
  send(messages: ReadonlyArray<readonly [label: string, text: string]>): void
  closeChannel(label: string): void
  offer(): Promise<string>
  answer(): Promise<string>
  hear(description: RTCSessionDescriptionInit): Promise<void>
  close(): void
}

declare global {
  interface Window {
    /** Put here by the harness. */
    tell: (events: ReadonlyArray<PageEvent>) => void
    /** Used by the harness. */
    peer: PagePeer
  }
}

const peer = new RTCPeerConnection()
const channels = new Map<string, RTCDataChannel>()

let events: Array<PageEvent> = []
/** What happens at about the same time goes together. */
const tell = (event: PageEvent) => {
  if (events.push(event) > 1) return
  setTimeout(() => {
    window.tell(events)
    events = []
  })
}

const textOf = (bytes: Uint8Array) => {
  let text = ""
  for (let at = 0; at < bytes.length; at += 10_000) text += String.fromCharCode(...bytes.subarray(at, at + 10_000))
  return text
}

const take = (channel: RTCDataChannel) => {
  const { label } = channel
  channel.binaryType = "arraybuffer"
  channels.set(label, channel)
  channel.addEventListener("open", () => tell({ type: "open", label }))
  channel.addEventListener("close", () => tell({ type: "close", label }))
  channel.addEventListener(
    "message",
    ({ data }) => tell({ type: "message", label, text: textOf(new Uint8Array(data)) })
  )
}

peer.addEventListener("datachannel", ({ channel }) => {
  take(channel)
  const { label, maxPacketLifeTime, maxRetransmits, ordered } = channel
  tell({ type: "datachannel", label, maxPacketLifeTime, maxRetransmits, ordered })
})

/** Of this end, with all its candidates. */
const describe = async (description: RTCSessionDescriptionInit) => {
  await peer.setLocalDescription(description)
  while (peer.iceGatheringState !== "complete") {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await new Promise((resolve) => peer.addEventListener("icegatheringstatechange", resolve, { once: true }))
  }
  return peer.localDescription!.sdp
}

window.peer = {
  create: (label, options) => take(peer.createDataChannel(label, options)),
  send(messages) {
    for (const [label, text] of messages) channels.get(label)!.send(Uint8Array.from(text, (it) => it.charCodeAt(0)))
  },
  closeChannel: (label) => channels.get(label)!.close(),
  offer: async () => describe(await peer.createOffer()),
  answer: async () => describe(await peer.createAnswer()),
  hear: (description) => peer.setRemoteDescription(description),
  close: () => peer.close()
}
