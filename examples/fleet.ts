/**
 * One program in many channels: it puts a notice into each, and later takes it back. A
 * channel that fails hurts no other; a connection that nobody has used for a minute is
 * closed.
 *
 *   npm run serve
 *   npx tsx examples/fleet.ts
 *
 * Another server is named by SORA_SIGNALING_URL, the channels by SORA_CHANNEL_IDS
 * (`lobby,stage`), and the access token by SORA_ACCESS_TOKEN.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Layer, Redacted, Schema } from "effect"
import { SoraRpc, SoraRpcMap } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"

const settings = Config.all({
  signalingUrl: Config.String("SORA_SIGNALING_URL").pipe(Config.withDefault("ws://127.0.0.1:5000/signaling")),
  channelIds: Config.Array(Schema.NonEmptyString, "SORA_CHANNEL_IDS")
    .pipe(Config.withDefault(["lobby", "stage", "backstage"])),
  accessToken: Config.Redacted("SORA_ACCESS_TOKEN").pipe(Config.withDefault(Redacted.make("")))
})

/** In one channel, over the connection that all users of that channel share. */
const putNotice = (channelId: string, notice: string | null) =>
  SoraRpc.putSignalingNotifyMetadataItem({ key: "notice", value: notice, push: true }).pipe(
    Effect.andThen(Console.log(`${channelId}: ${notice ?? "taken back"}`)),
    Effect.provide(SoraRpcMap.get(channelId)),
    Effect.catch((error) => Console.error(`${channelId}: ${error.message}`))
  )

/** In all of them, eight at a time. */
const putNotices = (channelIds: ReadonlyArray<string>, notice: string | null) =>
  Effect.forEach(channelIds, (channelId) => putNotice(channelId, notice), { concurrency: 8, discard: true })

const program = Effect.gen(function*() {
  const { channelIds } = yield* settings
  yield* putNotices(channelIds, "closing in five minutes")
  // Over the same connections: each was used within the last minute.
  yield* putNotices(channelIds, null)
})

const Fleet = Layer.unwrap(Effect.gen(function*() {
  const { accessToken, signalingUrl } = yield* settings
  return NodeSora.layerMap({
    signalingUrls: [signalingUrl],
    // For RPC alone.
    role: "sendonly",
    audio: false,
    video: false,
    metadata: Redacted.make({ access_token: Redacted.value(accessToken) })
  }, { idleTimeToLive: "1 minute" })
}))

program.pipe(
  Effect.provide(Fleet),
  NodeRuntime.runMain
)
