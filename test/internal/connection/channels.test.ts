/**
 * The DataChannels of a connection, as WebRTC implementations hand them over.
 */
import { assert, describe, it } from "@effect/vitest"
import type { RpcChannel } from "effect-sora-rpc"
import * as Channels from "../../../src/internal/connection/channels.ts"
import type { Event } from "../../../src/internal/connection/state.ts"
import { FakeDataChannel } from "../../utils/fakeDataChannel.ts"

const offer = { type: "offer", sdp: "", connectionId: "ME" } as const

const make = () => {
  const events: Array<Event> = []
  const opened: Array<RpcChannel.RpcChannel> = []
  const channels = Channels.make({
    post: (event) => events.push(event),
    onRpc: (channel) => opened.push(channel),
    messaging: { message() {}, malformed() {}, opened() {}, writable() {} },
    maxInflatedBytes: undefined
  })
  return { channels, events, opened }
}

describe("the rpc channel", () => {
  it("that is handed over open and says so again is one channel", () => {
    const { channels, opened } = make()
    const dataChannel = new FakeDataChannel()
    channels.attach(dataChannel, offer)
    let ended = 0
    opened[0]!.listenUnsafe({ onFrame: () => {}, onEnd: () => ended++ })
    dataChannel.emit("open", {})
    assert.lengthOf(opened, 1)
    assert.strictEqual(ended, 0)
  })

  it("that comes again takes the place of the first one, which ends", () => {
    const { channels, events, opened } = make()
    const [first, second] = [new FakeDataChannel(), new FakeDataChannel()]
    channels.attach(first, offer)
    const seen: Array<string> = []
    opened[0]!.listenUnsafe({ onFrame: () => {}, onEnd: () => seen.push("first ended") })
    channels.attach(second, offer)
    assert.lengthOf(opened, 2)
    assert.deepStrictEqual(seen, ["first ended"])
    assert.strictEqual(first.readyState, "closed")
    assert.isUndefined(opened[1]!.sendUnsafe("{}"))
    // Its end is not the end of the connection.
    assert.isEmpty(events.filter(({ _tag }) => _tag === "ChannelClosed"))
  })
})
