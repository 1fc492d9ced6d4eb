/**
 * When a track of another connection is gone, as the server's offers tell it.
 */
import { assert, describe, it } from "@effect/vitest"
import type { PeerConnection } from "effect-sora-rpc"
import { make } from "../../../src/internal/connection/received.ts"

const track = (mid: string | undefined, streamId: string | undefined): PeerConnection.TrackEvent => ({
  track: { kind: "video" },
  streams: streamId === undefined ? [] : [{ id: streamId, getTracks: () => [] }],
  ...(mid === undefined ? {} : { transceiver: { mid } })
})

const section = (
  mid: string,
  ...lines: ReadonlyArray<string>
) => ["m=video 9 UDP/TLS/RTP/SAVPF 96", `a=mid:${mid}`, ...lines]

const sdp = (...sections: ReadonlyArray<ReadonlyArray<string>>) =>
  ["v=0", "s=-", "a=group:BUNDLE 0 1", ...sections.flat(), ""].join("\r\n")

const sending = sdp(section("a", "a=sendonly", "a=msid:A t"), section("b", "a=sendrecv", "a=msid:B t"))

describe("a track is gone", () => {
  const after = (...offers: ReadonlyArray<string>) => {
    const removed: Array<string | undefined> = []
    const received = make(({ streams }) => removed.push(streams[0]?.id))
    received.add(track("a", "A"))
    received.add(track("b", "B"))
    for (const offer of offers) received.offered(offer)
    return removed
  }
  const b = section("b", "a=sendrecv", "a=msid:B t")

  it("not while its section sends it", () => assert.deepStrictEqual(after(sending, sending), []))
  it("when its section is inactive, once", () => {
    const offer = sdp(section("a", "a=inactive", "a=msid:A t"), b)
    assert.deepStrictEqual(after(offer, offer), ["A"])
  })
  it("when its section only receives", () => assert.deepStrictEqual(after(sdp(section("a", "a=recvonly"), b)), ["A"]))
  it("when its section is rejected", () =>
    assert.deepStrictEqual(after(sdp(["m=video 0 UDP/TLS/RTP/SAVPF 96", "a=mid:a"], b)), ["A"]))
  it("when there is no such section", () => assert.deepStrictEqual(after(sdp(b)), ["A"]))
  it("when its section sends another stream", () =>
    assert.deepStrictEqual(after(sdp(section("a", "a=sendonly", "a=ssrc:1 msid:C t"), b)), ["A"]))
  it("not where the section names no stream, or says no direction, which is sendrecv", () =>
    assert.deepStrictEqual(after(sdp(section("a"), b)), []))
  it("when another comes on its section", () => {
    const removed: Array<unknown> = []
    const received = make((event) => removed.push(event))
    const [first, again, second] = [track("a", "A"), track("a", "A"), track("a", "C")]
    received.add(first)
    received.add(again)
    assert.deepStrictEqual(removed, [])
    received.add(second)
    assert.deepStrictEqual(removed, [again])
    received.clear()
    received.clear()
    assert.deepStrictEqual(removed, [again, second])
  })
  it("never, of one whose section is not known", () => {
    const removed: Array<unknown> = []
    const received = make((event) => removed.push(event))
    received.add(track(undefined, "A"))
    received.offered(sdp())
    received.clear()
    assert.deepStrictEqual(removed, [])
  })
})
