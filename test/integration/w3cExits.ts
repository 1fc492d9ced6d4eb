/**
 * A program for `w3c.test.ts`, `w3cExits.ts IMPLEMENTATION`: it connects, calls,
 * closes everything, and must then have nothing left that keeps the process alive
 * or that crashes it on its way out.
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import wrtc from "@roamhq/wrtc"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as polyfill from "node-datachannel/polyfill"
import * as PeerConnection from "../../src/PeerConnection.ts"
import * as SoraServer from "../../src/server/SoraServer.ts"
import * as SoraConnection from "../../src/SoraConnection.ts"
import * as SoraRpc from "../../src/SoraRpc.ts"

const constructor: any = process.argv[2] === "@roamhq/wrtc" ? wrtc.RTCPeerConnection : polyfill.RTCPeerConnection

const program = Effect.gen(function*() {
  const { url } = yield* SoraServer.make()
  const connection = SoraConnection.layer({
    signalingUrls: [url],
    channelId: "exits",
    role: "sendonly",
    audio: false,
    video: false
  })
  yield* SoraRpc.putSignalingNotifyMetadata({ metadata: "last words" }).pipe(
    Effect.provide(SoraRpc.layer.pipe(
      Layer.provide(connection),
      Layer.provide(PeerConnection.layerConstructor(constructor, { environment: "test" })),
      Layer.provide(NodeWS.layerWebSocketConstructor)
    ))
  )
})

await Effect.runPromise(Effect.scoped(program))
process.stdout.write("closed\n")
