import { Effect, Queue } from "effect"
import type { RTCDataChannel } from "werift"
import * as Werift from "../../src/node/internal/werift/peer.ts"
import * as ScriptedSora from "./scriptedSora.ts"

export const whenOpen = (channel: RTCDataChannel) => whenState(channel, "open")
export const whenClosed = (channel: RTCDataChannel) => whenState(channel, "closed")

const whenState = (channel: RTCDataChannel, wanted: string) =>
  Effect.callback<void>((resume) => {
    if (channel.readyState === wanted) return resume(Effect.void)
    channel.stateChanged.subscribe((state) => {
      if (state === wanted) resume(Effect.void)
    })
  })

/** A scripted Sora with a real peer behind it, which negotiates by the book; from there on a test says what happens. */
export const make = Effect.fnUntraced(function*(
  options: {
    /** Sections with audio or video in the first offer. */
    readonly sections: ReadonlyArray<"audio" | "video">
    /** DataChannels that are there from the beginning. */
    readonly labels: ReadonlyArray<string>
    /** Those that are offered, when more. */
    readonly offered?: ReadonlyArray<string>
  },
  script: (it: {
    readonly peer: Werift.WeriftPeer
    readonly channels: ReadonlyArray<RTCDataChannel>
    /** The peer's next offer, with its candidates. */
    readonly offer: Effect.Effect<string>
    readonly answered: (sdp: string) => Effect.Effect<void>
    /** The client's next message that is no candidate. */
    readonly take: Effect.Effect<any>
    readonly send: (message: unknown) => void
    readonly close: (code: number, reason: string) => void
  }) => Effect.Effect<void>
) {
  const peer = yield* Werift.make({ ...Werift.loopback, iceServers: [] })
  for (const kind of options.sections) peer.addTransceiver(kind, { direction: "sendonly" })
  const channels = options.labels.map((label) => peer.createDataChannel(label))
  const offer = Effect.promise(async () => {
    await peer.setLocalDescription(await peer.createOffer())
    await peer.gathered
    return peer.localDescription!.sdp
  })
  const answered = (sdp: string) => Effect.promise(() => peer.setRemoteDescription({ type: "answer", sdp }))
  const sora = yield* ScriptedSora.make((client) =>
    Effect.gen(function*() {
      yield* client.take
      client.send({
        type: "offer",
        connection_id: "C",
        sdp: yield* offer,
        data_channels: (options.offered ?? options.labels).map((label) => ({ label, compress: false })),
        rpc_methods: ["m"]
      })
      yield* answered((yield* client.take).sdp)
      const others = yield* Queue.unbounded<any>()
      yield* Effect.forkScoped(Effect.forever(Effect.flatMap(client.take, (message) =>
        message.type === "candidate"
          ? Effect.promise(() => peer.addIceCandidate(message))
          : Queue.offer(others, message))))
      yield* Effect.forEach(channels, whenOpen, { discard: true })
      yield* script({
        peer,
        channels,
        offer,
        answered,
        take: Queue.take(others),
        send: client.send,
        close: client.close
      })
    }).pipe(Effect.scoped)
  )
  return { url: sora.url, channels }
})
