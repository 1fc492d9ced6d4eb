/**
 * A method of your own, on both ends: one value, by which the client encodes and the
 * development server decodes. It needs no Sora:
 *
 *   npx tsx examples/ownMethod.ts
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Option, Schema } from "effect"
import { SoraMethod, SoraRpc, SoraRpcError } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"

const Choice = Schema.Literals(["yes", "no"])

/** `{"choice":"yes"}` is answered with `{"yes_count":1,"no_count":0}`. */
const Vote = SoraMethod.make("Vote", {
  version: "1.0.0",
  params: SoraMethod.Struct({ choice: Choice }),
  result: SoraMethod.Struct({ yesCount: Schema.Int, noCount: Schema.Int })
})

/** On the wire an error object with this code, and with `data` of this schema. */
class VotedAlready extends Schema.TaggedError<VotedAlready>()("VotedAlready", { choice: Choice }) {
  static readonly code = 1001

  toServerError() {
    return new SoraRpcError.ServerError({
      code: VotedAlready.code,
      message: "VOTED-ALREADY",
      data: { choice: this.choice }
    })
  }

  static fromServerError({ code, data }: SoraRpcError.ServerError) {
    const decoded = code === VotedAlready.code ? decodeData(data) : Option.none()
    return Option.isSome(decoded) ? new VotedAlready(decoded.value) : undefined
  }
}
const decodeData = Schema.decodeUnknownOption(Schema.Struct({ choice: Choice }))

/** The server's end: each connection has one vote. */
const countVotes = Effect.sync(() => {
  const votes = new Map<string, typeof Choice.Type>()
  const count = (choice: typeof Choice.Type) => Array.from(votes.values()).filter((vote) => vote === choice).length
  return SoraMethod.handle(
    Vote,
    Effect.fnUntraced(function*({ choice }, { connectionId }) {
      const earlier = votes.get(connectionId)
      if (earlier !== undefined) return yield* new VotedAlready({ choice: earlier }).toServerError()
      votes.set(connectionId, choice)
      return { yesCount: count("yes"), noCount: count("no") }
    })
  )
})

/** The client's end: the error is one of the application again, all others stay what they are. */
const vote = (choice: typeof Choice.Type) =>
  SoraRpc.SoraRpc.use((rpc) => rpc.call(Vote, { choice })).pipe(
    Effect.catchReason(
      "RpcError",
      "ServerError",
      (reason, error) => Effect.fail(VotedAlready.fromServerError(reason) ?? error)
    )
  )

const program = Effect.gen(function*() {
  yield* Console.log("counted:", yield* vote("yes"))
  yield* vote("no").pipe(
    Effect.catchTag("VotedAlready", ({ choice }) => Console.log("voted already:", choice))
  )
})

const Sora = Layer.unwrap(
  Effect.map(
    countVotes,
    (handler) => SoraServer.layerTest({ channelId: "lobby", role: "sendrecv" }, { handlers: [handler] })
  )
)

program.pipe(
  Effect.provide(Sora),
  NodeRuntime.runMain
)
