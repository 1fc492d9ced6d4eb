/**
 * The moderation bot of `moderationBot.ts`, until Ctrl-C or until Sora's API ends it:
 *
 *   npm run serve
 *   npx tsx examples/moderation.ts
 *
 * Another server is named by SORA_SIGNALING_URL, the channel by SORA_CHANNEL_ID. The
 * token is SORA_ACCESS_TOKEN; or, where tokens expire, SORA_TOKEN_URL is where a new
 * one is fetched for every connection: `{"access_token":"…"}`.
 */
import { NodeHttpClient, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Option, Redacted, Schedule, Schema } from "effect"
import { SoraConnection } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import { HttpClient, HttpClientResponse } from "effect/http"
import { bot, Credentials, CredentialsError, options } from "./moderationBot.ts"

const AccessToken = Schema.Struct({ access_token: Schema.String })

const CredentialsLive = Layer.effect(
  Credentials,
  Effect.gen(function*() {
    const client = HttpClient.filterStatusOk(yield* HttpClient.HttpClient)
    const { accessToken, tokenUrl } = yield* Config.all({
      accessToken: Config.Redacted("SORA_ACCESS_TOKEN").pipe(Config.withDefault(Redacted.make(""))),
      tokenUrl: Config.option(Config.String("SORA_TOKEN_URL"))
    })
    const fetch = Option.match(tokenUrl, {
      onNone: () => Effect.succeed(Redacted.make({ access_token: Redacted.value(accessToken) })),
      onSome: (url) =>
        client.get(url).pipe(
          Effect.flatMap(HttpClientResponse.schemaBodyJson(Schema.Redacted(AccessToken))),
          Effect.mapError((cause) => new CredentialsError({ cause }))
        )
    })
    return { fetch }
  })
).pipe(Layer.provide(NodeHttpClient.layerFetch))

/** As by default, and it says why an attempt failed. */
const attempts = SoraConnection.reconnectSchedule.pipe(
  Schedule.setInputType<{ readonly message: string }>(),
  Schedule.tap(({ input }) => Effect.logWarning(input.message))
)

const SoraLive = Layer.unwrap(Effect.gen(function*() {
  const { channelId, signalingUrl } = yield* Config.all({
    signalingUrl: Config.String("SORA_SIGNALING_URL").pipe(Config.withDefault("ws://127.0.0.1:5000/signaling")),
    channelId: Config.String("SORA_CHANNEL_ID").pipe(Config.withDefault("lobby"))
  })
  return NodeSora.layer({
    ...options,
    signalingUrls: [signalingUrl],
    channelId,
    retryConnect: attempts,
    reconnect: attempts
  })
}))

bot.pipe(
  Effect.provide(SoraLive.pipe(Layer.provide(CredentialsLive))),
  NodeRuntime.runMain
)
