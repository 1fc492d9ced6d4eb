/**
 * Spans and metrics of a program, its connection and the development server, sent
 * to an OpenTelemetry collector. With one on this machine:
 *
 *   docker run --rm -p 4318:4318 -p 16686:16686 jaegertracing/jaeger
 *   npx tsx examples/tracing.ts
 *
 * Another one is named by OTEL_EXPORTER_OTLP_ENDPOINT.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Layer } from "effect"
import { SoraConnection, SoraRpc } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import { FetchHttpClient } from "effect/http"
import { Otlp, OtlpSerialization } from "effect/observability"

const program = Effect.gen(function*() {
  const connection = yield* SoraConnection.SoraConnection
  yield* Console.log("connected as", (yield* connection.offer).connectionId)
  yield* SoraRpc.putSignalingNotifyMetadataItem({ key: "mood", value: "busy" })
  // What the server refuses is a span with an error.
  yield* Effect.ignore(SoraRpc.requestSimulcastRid({ rid: "r1", senderConnectionId: "NOBODY" }))
}).pipe(Effect.withSpan("program"))

const Observability = Layer.unwrap(Effect.gen(function*() {
  const baseUrl = yield* Config.String("OTEL_EXPORTER_OTLP_ENDPOINT").pipe(Config.withDefault("http://127.0.0.1:4318"))
  return Otlp.layer({ baseUrl, resource: { serviceName: "sora-bot" } })
})).pipe(Layer.provide([OtlpSerialization.layerJson, FetchHttpClient.layer]))

program.pipe(
  Effect.provide(SoraServer.layerTest({ channelId: "lobby", role: "sendrecv" })),
  // Around everything, so that the connection and the server are seen too.
  Effect.provide(Observability),
  NodeRuntime.runMain
)
