/**
 * One call or notification from the shell, against any Sora:
 *
 *   npm run -s call -- --signaling-url wss://… --channel-id … --method … --params '{…}'
 *
 * The result is JSON on stdout. An error's tag, code and message go to stderr,
 * and the exit code says which it was: 1 bad option, 2 no connection, 3
 * RpcError, 4 TimeoutError, 5 Disconnected.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { type SoraConnectionError, SoraMethod, SoraRpc, type SoraRpcError } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import { BadFlag, channelId, metadata, parseJson, parseMetadata, signalingUrls } from "./connectFlags.ts"

/** What ends the process, and with which code. */
class CallFailed extends Schema.TaggedError<CallFailed>()("CallFailed", {
  text: Schema.String,
  exitCode: Schema.Int
}) {
  override get [Runtime.errorExitCode]() {
    return this.exitCode
  }
  override get [CliError.userMessage]() {
    return this.text
  }
}

const ExitCode = { SoraConnectionError: 2, RpcError: 3, TimeoutError: 4, Disconnected: 5 }

const failed = (
  error:
    | SoraConnectionError.SoraConnectionError
    | SoraRpcError.RpcError
    | SoraRpcError.TimeoutError
    | SoraRpcError.Disconnected
) => {
  const code = "code" in error ? ` ${error.code}` : ""
  const data = error._tag === "RpcError" && error.data !== undefined ? ` ${JSON.stringify(error.data)}` : ""
  return new CallFailed({ text: `${error._tag}${code}: ${error.message}${data}`, exitCode: ExitCode[error._tag] })
}

const Params = Schema.is(Schema.Union([Schema.JsonObject, Schema.Array(Schema.Json)]))

const call = Command.make(
  "call",
  {
    signalingUrls,
    channelId,
    metadata,
    role: Flag.Literals("role", ["sendrecv", "sendonly", "recvonly"]).pipe(Flag.withDefault("sendonly")),
    media: Flag.Boolean("media").pipe(
      Flag.withDescription("Ask for audio and video; without it a connection that is not recvonly is for RPC alone"),
      Flag.withDefault(false)
    ),
    simulcast: Flag.Boolean("simulcast").pipe(Flag.withDefault(false)),
    spotlight: Flag.Boolean("spotlight").pipe(Flag.withDefault(false)),
    method: Flag.String("method").pipe(
      Flag.withDescription("An entry of rpc_methods, or the name of a known method, such as RequestSimulcastRid")
    ),
    params: Flag.String("params").pipe(Flag.withDescription("A JSON object or array"), Flag.optional),
    timeout: Flag.String("timeout").pipe(
      Flag.withDescription("How long to wait for the response, such as '300 millis' or '5 seconds'"),
      Flag.withDefault("5 seconds")
    ),
    notify: Flag.Boolean("notify").pipe(
      Flag.withDescription("Send a notification: no response"),
      Flag.withDefault(false)
    )
  },
  Effect.fnUntraced(function*(flags) {
    if (flags.signalingUrls.length === 0) {
      const fallback = yield* Effect.option(Config.String("SORA_SIGNALING_URL"))
      if (Option.isNone(fallback)) {
        return yield* new BadFlag({
          flag: "signaling-url",
          mend: "give the URL of a Sora, such as ws://127.0.0.1:5000/signaling"
        })
      }
      flags = { ...flags, signalingUrls: [fallback.value] }
    }
    if (Option.isNone(flags.channelId)) {
      return yield* new BadFlag({ flag: "channel-id", mend: "give the channel to join" })
    }
    const timeout = Duration.fromInput(flags.timeout as Duration.Input)
    if (Option.isNone(timeout)) {
      return yield* new BadFlag({
        flag: "timeout",
        mend: "not a duration; write '300 millis', '5 seconds' or '1 minute'"
      })
    }
    const params = Option.isNone(flags.params) ? undefined : yield* parseJson("params", flags.params.value)
    if (params !== undefined && !Params(params)) {
      return yield* new BadFlag({ flag: "params", mend: "give a JSON object or array" })
    }
    const options: NodeSora.Options = {
      signalingUrls: flags.signalingUrls,
      channelId: flags.channelId.value,
      role: flags.role,
      // Without media Sora takes no `recvonly` connection.
      ...(flags.media || flags.simulcast || flags.spotlight || flags.role === "recvonly"
        ? {}
        : { audio: false, video: false }),
      ...(flags.simulcast ? { simulcast: true } : {}),
      ...(flags.spotlight ? { spotlight: true } : {}),
      ...yield* parseMetadata(flags.metadata)
    }
    yield* Effect.gen(function*() {
      const rpc = yield* SoraRpc.SoraRpc
      // A known method may go by its name alone; what was granted decides the version.
      const known = SoraMethod.known.find(({ name }) => name === flags.method)
      const method = known === undefined ? flags.method : SoraMethod.resolve(known, yield* rpc.methods) ?? flags.method
      if (flags.notify) return yield* rpc.notify(method, params)
      const result = yield* rpc.call(method, params, { timeout: timeout.value })
      yield* Console.log(JSON.stringify(result))
    }).pipe(Effect.provide(NodeSora.layer(options)), Effect.mapError(failed))
  })
).pipe(
  Command.withDescription("Call one RPC method of Sora"),
  Command.withExamples([{
    command: "npm run -s call -- --signaling-url ws://127.0.0.1:5000/signaling --channel-id lobby " +
      "--method PutSignalingNotifyMetadataItem --params '{\"key\":\"mood\",\"value\":\"busy\"}'",
    description: "Set one item of this connection's metadata"
  }])
)

call.pipe(
  Command.run({ version: "0.1.0" }),
  // stdout is for the result alone.
  Effect.provide(Layer.merge(NodeServices.layer, Layer.succeed(Logger.LogToStderr, true))),
  NodeRuntime.runMain
)
