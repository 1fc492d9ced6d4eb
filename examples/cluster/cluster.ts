/**
 * The cluster of this example: runners that find each other in Postgres, and
 * what they hold.
 */
import * as NodeClusterSocket from "@effect/platform-node/NodeClusterSocket"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Config, Effect, Layer, Option } from "effect"
import { SoraChannel } from "effect-sora-rpc/cluster"
import { NodeSora } from "effect-sora-rpc/node"
import { RunnerAddress } from "effect/cluster"

const Postgres = PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") })

/** A runner that others reach on `port` of this machine. */
const Runner = (port: number) =>
  NodeClusterSocket.layer({
    shardingConfig: {
      ...SoraChannel.shardingConfig,
      runnerAddress: Option.some(RunnerAddress.make("127.0.0.1", port))
    }
  }).pipe(Layer.provide(Postgres))

/** Holds a part of the channels. `name` is what the channel sees as this connection's metadata. */
export const Channels = (port: number, options?: Partial<SoraChannel.Options>) =>
  Layer.unwrap(Effect.map(Config.String("SORA_URL"), (url) =>
    SoraChannel.layer({
      lookup: (channelId, clientId) =>
        NodeSora.layer({
          signalingUrls: [url],
          channelId,
          clientId,
          role: "sendonly",
          audio: false,
          video: false,
          signalingNotifyMetadata: { runner: port }
        }),
      idleTimeToLive: "10 minutes",
      ...options
    }))).pipe(Layer.provide(Runner(port)))

/** Calls channels, and holds none. */
export const Client = SoraChannel.layerClient().pipe(
  Layer.provide(NodeClusterSocket.layer({ clientOnly: true, shardingConfig: SoraChannel.shardingConfig })),
  Layer.provide(Postgres)
)
