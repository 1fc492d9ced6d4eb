/**
 * The moderation bot of `moderationBot.ts`, until Ctrl-C or until Sora's API ends it:
 *
 *   npm run serve
 *   npx tsx examples/moderation.ts
 *
 * Another server is named by SORA_SIGNALING_URL, the channel by SORA_CHANNEL_ID. At
 * SORA_TOKEN_URL is what goes to the authentication, as JSON: it is fetched for
 * every connection.
 */
import { NodeHttpClient, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Option, Redacted, Schema } from "effect"
import { NodeSora } from "effect-sora-rpc/node"
import { HttpClient, HttpClientResponse } from "effect/http"
import { bot, Credentials, CredentialsError, options } from "./moderationBot.ts"

const CredentialsLive = Layer.effect(
  Credentials,
  Effect.gen(function*() {
    const client = HttpClient.filterStatusOk(yield* HttpClient.HttpClient)
    const url = yield* Config.option(Config.String("SORA_TOKEN_URL"))
    if (Option.isNone(url)) return { fetch: Effect.succeed(Redacted.make({})) }
    return {
      fetch: client.get(url.value).pipe(
        Effect.flatMap(HttpClientResponse.schemaBodyJson(Schema.Redacted(Schema.Json))),
        Effect.mapError((cause) => new CredentialsError({ cause }))
      )
    }
  })
).pipe(Layer.provide(NodeHttpClient.layerFetch))

const SoraLive = Layer.unwrap(Effect.gen(function*() {
  const { channelId, signalingUrl } = yield* Config.all({
    signalingUrl: Config.String("SORA_SIGNALING_URL").pipe(Config.withDefault("ws://127.0.0.1:5000/signaling")),
    channelId: Config.String("SORA_CHANNEL_ID").pipe(Config.withDefault("lobby"))
  })
  return NodeSora.layer({ ...options, signalingUrls: [signalingUrl], channelId })
}))

bot.pipe(
  Effect.provide(SoraLive.pipe(Layer.provide(CredentialsLive))),
  NodeRuntime.runMain
)
