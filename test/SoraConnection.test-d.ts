import { describe, expectTypeOf, it } from "@effect/vitest"
import {
  Config,
  Context,
  Effect,
  type Layer,
  type LayerMap,
  type Redacted,
  Schedule,
  type Schema,
  type Scope
} from "effect"
import {
  type PeerConnection,
  type RpcTransport,
  SoraConnection,
  type SoraConnectionError,
  SoraRpc,
  type SoraRpcError,
  SoraRpcMap
} from "effect-sora-rpc"
import { BrowserSora } from "effect-sora-rpc/browser"
import { NodeSora } from "effect-sora-rpc/node"
import { SoraServer } from "effect-sora-rpc/server"
import type { Socket } from "effect/socket"

class Tokens extends Context.Service<Tokens, {}>()("Tokens") {}
class Wanted extends Context.Service<Wanted, {}>()("Wanted") {}
interface Expired {
  readonly _tag: "Expired"
}
interface Lost {
  readonly _tag: "Lost"
}

declare const token: Effect.Effect<{ readonly access_token: string }, Expired, Tokens | Scope.Scope>
declare const secret: Effect.Effect<Redacted.Redacted<Schema.Json>, Expired>
declare const restore: Effect.Effect<string, Lost, Wanted | SoraRpc.SoraRpc | Scope.Scope>

type Failure = SoraConnectionError.SoraConnectionError
type Both = SoraRpc.SoraRpc | SoraConnection.SoraConnection
type Platform = PeerConnection.PeerConnection | Socket.WebSocketConstructor
type RpcErrors = SoraRpcError.RpcError | SoraRpcError.TimeoutError | SoraRpcError.Disconnected

const base = { signalingUrls: ["wss://sora.example.com"], channelId: "lobby", role: "sendrecv" } as const

describe("a connection", () => {
  it("has no other errors and needs nothing without effects", () => {
    expectTypeOf(NodeSora.layer({ ...base, metadata: { access_token: "" }, reconnect: Schedule.forever }))
      .toEqualTypeOf<
        Layer.Layer<Both, Failure>
      >()
    const options: NodeSora.Options = { ...base, onConnected: () => Effect.orDie(SoraRpc.resetSpotlightRid()) }
    expectTypeOf(NodeSora.layer(options)).toEqualTypeOf<Layer.Layer<Both, Failure>>()
    expectTypeOf(SoraConnection.layer(base)).toEqualTypeOf<
      Layer.Layer<SoraConnection.SoraConnection | RpcTransport.RpcTransport, Failure, Platform>
    >()
  })
  it("with the development server beside it too, which its effects may use", () => {
    const { signalingUrls: _, ...options } = base
    type Three = Both | SoraServer.SoraServer
    type Failures = Failure | SoraServer.SoraServerError
    expectTypeOf(SoraServer.layerTest(options)).toEqualTypeOf<Layer.Layer<Three, Failures>>()
    const granted = Effect.flatMap(SoraServer.SoraServer, () => restore)
    expectTypeOf(SoraServer.layerTest({ ...options, metadata: token, onConnected: () => granted })).toEqualTypeOf<
      Layer.Layer<Three, Failures | Expired | Lost, Tokens | Wanted>
    >()
  })
  it("has the errors of its effects, and needs what they need", () => {
    expectTypeOf(NodeSora.layer({ ...base, metadata: token, onConnected: () => restore })).toEqualTypeOf<
      Layer.Layer<Both, Failure | Expired | Lost, Tokens | Wanted>
    >()
    expectTypeOf(BrowserSora.layer({ ...base, metadata: secret })).toEqualTypeOf<Layer.Layer<Both, Failure | Expired>>()
    expectTypeOf(NodeSora.layer({ ...base, onConnected: () => SoraRpc.resetSpotlightRid() })).toEqualTypeOf<
      Layer.Layer<Both, Failure | RpcErrors>
    >()
    expectTypeOf(SoraConnection.layer({ ...base, metadata: token, onConnected: () => restore })).toEqualTypeOf<
      Layer.Layer<
        SoraConnection.SoraConnection | RpcTransport.RpcTransport,
        Failure | Expired | Lost,
        Tokens | Wanted | Platform
      >
    >()
    expectTypeOf(SoraConnection.make({ ...base, metadata: secret, onConnected: () => restore })).toEqualTypeOf<
      Effect.Effect<
        SoraConnection.SoraConnection["Service"],
        Failure | Expired | Lost,
        Wanted | Platform | Scope.Scope
      >
    >()
  })
  it("takes schedules that see all of them, and no others", () => {
    const all = Schedule.setInputType<Failure | Expired | Lost>()(Schedule.forever)
    NodeSora.layer({ ...base, metadata: token, onConnected: () => restore, reconnect: all, retryConnect: all })
    NodeSora.layer({ ...base, reconnect: all })
    const some = Schedule.setInputType<Failure>()(Schedule.forever)
    NodeSora.layer({ ...base, reconnect: some })
    // @ts-expect-error it would be told of an Expired too
    NodeSora.layer({ ...base, metadata: token, reconnect: some })
  })
  it("refuses metadata that is no JSON", () => {
    // @ts-expect-error a Date
    NodeSora.layer({ ...base, metadata: new Date(0) })
    // @ts-expect-error an effect of a Date
    NodeSora.layer({ ...base, metadata: Effect.succeed(new Date(0)) })
  })
  it("may have its options from Config, and its effects beside them", () => {
    const config = {
      signalingUrls: Config.succeed(["wss://sora.example.com"]),
      channelId: Config.String("CHANNEL"),
      role: Config.succeed("sendrecv" as const)
    }
    expectTypeOf(NodeSora.layerConfig(config)).toEqualTypeOf<Layer.Layer<Both, Failure | Config.ConfigError>>()
    expectTypeOf(BrowserSora.layerConfig(config, { metadata: token, onConnected: () => restore })).toEqualTypeOf<
      Layer.Layer<Both, Failure | Config.ConfigError | Expired | Lost, Tokens | Wanted>
    >()
    expectTypeOf(SoraConnection.layerConfig(config, { metadata: secret })).toEqualTypeOf<
      Layer.Layer<
        SoraConnection.SoraConnection | RpcTransport.RpcTransport,
        Failure | Config.ConfigError | Expired,
        Platform
      >
    >()
  })
})

describe("a map", () => {
  const { channelId: _, ...shared } = base
  it("has one error when it is asked, whatever its lookup fails with", () => {
    const map = NodeSora.layerMap((_channelId) => ({ ...shared, metadata: token, onConnected: () => restore }))
    expectTypeOf(map).toEqualTypeOf<Layer.Layer<SoraRpcMap.SoraRpcMap, SoraRpcError.InvalidOptions, Tokens | Wanted>>()
    expectTypeOf(BrowserSora.layerMap({ ...shared, metadata: secret })).toEqualTypeOf<
      Layer.Layer<SoraRpcMap.SoraRpcMap, SoraRpcError.InvalidOptions>
    >()
    expectTypeOf(SoraRpcMap.get("lobby")).toEqualTypeOf<Layer.Layer<Both, Failure, SoraRpcMap.SoraRpcMap>>()
  })
  it("that is made has those of its lookup", () => {
    const lookup = (channelId: string) => NodeSora.layer({ ...shared, channelId, metadata: token })
    expectTypeOf(SoraRpcMap.make({ lookup })).toEqualTypeOf<
      Effect.Effect<
        LayerMap.LayerMap<string, Both, Failure | Expired>,
        SoraRpcError.InvalidOptions,
        Tokens | Scope.Scope
      >
    >()
  })
})
