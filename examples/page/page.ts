/**
 * A page: it sends camera and microphone, shows everybody else, and puts its mood as
 * metadata. Served beside a development server, on http://localhost:8080; open it
 * twice:
 *
 *   npm run demo:browser
 */
import { Effect, Option, Stream } from "effect"
import { SoraConnection, SoraRpc } from "effect-sora-rpc"
import { BrowserSora } from "effect-sora-rpc/browser"

const print = (text: string) => Effect.sync(() => document.body.append(text, document.createElement("br")))

const program = Effect.gen(function*() {
  const connection = yield* SoraConnection.SoraConnection
  yield* print(`connected as ${(yield* connection.offer).connectionId}`)

  yield* BrowserSora.tracks.pipe(
    Stream.filter(({ track }) => track.kind === "video"),
    Stream.runForEach(({ streams: [stream] }) =>
      Effect.sync(() => {
        const video = document.createElement("video")
        Object.assign(video, { srcObject: stream ?? null, autoplay: true, muted: true })
        stream?.addEventListener("removetrack", () => video.remove())
        document.body.append(video)
      })
    ),
    Effect.forkScoped
  )

  const metadata = yield* SoraRpc.putSignalingNotifyMetadataItem({ key: "mood", value: "busy", push: true })
  yield* print(`metadata: ${JSON.stringify(metadata)}`)
  return yield* Effect.never
})

Effect.gen(function*() {
  // Without a camera or a microphone the page only watches.
  const media = yield* Effect.option(
    Effect.tryPromise(() => navigator.mediaDevices.getUserMedia({ audio: true, video: true }))
  )
  return yield* program.pipe(Effect.provide(BrowserSora.layer({
    signalingUrls: ["ws://127.0.0.1:5000/signaling"],
    channelId: "lobby",
    role: Option.isSome(media) ? "sendrecv" : "recvonly",
    media: Option.getOrUndefined(media)
  })))
}).pipe(
  Effect.scoped,
  Effect.tapError(({ message }) => print(message)),
  Effect.runFork
)
