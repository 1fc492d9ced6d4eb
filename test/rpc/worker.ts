/**
 * A worker thread with a connection to the development server at `url`, which
 * hands on to it what it is asked.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeWorkerRunner from "@effect/platform-node/NodeWorkerRunner"
import { Layer } from "effect"
import { RpcServer } from "effect/rpc"
import { workerData } from "node:worker_threads"
import { NodeSora } from "../../src/node/index.ts"
import { SoraRpcGroup } from "../../src/rpc/index.ts"
import { group } from "./group.ts"

const { url, ...connection } = workerData

const main = RpcServer.layer(group).pipe(
  Layer.provide(SoraRpcGroup.layerHandlers(group)),
  Layer.provide(NodeSora.layer({ signalingUrls: [url], ...connection })),
  Layer.provide(RpcServer.layerProtocolWorkerRunner),
  Layer.provide(NodeWorkerRunner.layer)
)

NodeRuntime.runMain(Layer.launch(main))
