/**
 * What the HTTP API can be asked to do (`sora-protocol.md` section 4.12): end
 * connections, push, list, and the methods of RPC, for a connection that the
 * params name. Names, params and the answers to pushes are Sora's; the other
 * answers, and what goes wrong, are guesses.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Dispatcher from "../../../internal/rpc/dispatcher.ts"
import { Struct } from "../../../internal/wire.ts"
import * as Signaling from "../../../Signaling.ts"
import * as SoraMethod from "../../../SoraMethod.ts"
import { disconnectedApi } from "../ends.ts"
import type { Member } from "../member.ts"
import type { Rooms, ServerConnection } from "../rooms.ts"

/** What was asked for was not done. `details` are what RPC would answer beside the text. */
export class ApiError extends Schema.TaggedError<ApiError>()("ApiError", {
  status: Schema.Int,
  message: Schema.String,
  details: Schema.optionalKey(Schema.JsonObject)
}) {}

/** From the body of a request to the body of the answer. */
export type Operation = (body: Schema.Json) => Effect.Effect<Schema.Json, ApiError>

const refused = (message: string) => new ApiError({ status: 400, message })
const missing = (what: string) => new ApiError({ status: 404, message: `there is no ${what}` })

const operation = <Params>(
  params: Schema.Codec<Params, any>,
  run: (params: Params, body: Schema.JsonObject) => Effect.Effect<Schema.Json, ApiError>
): Operation => {
  const decode = Schema.decodeUnknownResult(params, { onExcessProperty: "error", errors: "all" })
  return (body) => {
    const decoded = decode(body)
    return Result.isFailure(decoded)
      ? Effect.fail(refused(decoded.failure.message))
      : Effect.suspend(() => run(decoded.success, body as Schema.JsonObject))
  }
}

/** Members of a connection that pick it out of all. */
type Selector = Partial<Pick<Member, "channelId" | "clientId" | "connectionId" | "role">>

type Fields = Readonly<Record<string, Schema.Codec<string>>>

const selectorOf = (params: Readonly<Record<string, unknown>>, fields: Fields): Selector =>
  Object.fromEntries(Object.keys(fields).map((name) => [name, params[name]]))

const channel = { channelId: Schema.String }

/** Whom a disconnect or a push is for, with the dates of Sora's names for the two. */
const targets = [
  { suffix: "Channel", fields: channel, disconnect: "20151104", push: "20160711" },
  { suffix: "Client", fields: { ...channel, clientId: Schema.String }, disconnect: "20151104", push: "20160711" },
  {
    suffix: "Connection",
    fields: { ...channel, connectionId: Schema.String },
    disconnect: "20151104",
    push: "20160711"
  },
  { suffix: "ChannelByRole", fields: { ...channel, role: Signaling.Role }, disconnect: "20201120", push: "20201120" }
]

/** The methods of RPC by their HTTP names, with the param that says for whom. Of the first two sources name one each. */
const methods = [
  ["Sora_20251210.RequestSimulcastRid", SoraMethod.RequestSimulcastRid, "receiver_connection_id"],
  ["Sora_20251217.RequestSimulcastRid", SoraMethod.RequestSimulcastRid, "receiver_connection_id"],
  ["Sora_20211215.RequestSpotlightRid", SoraMethod.RequestSpotlightRid, "recv_connection_id"],
  ["Sora_20211215.ResetSpotlightRid", SoraMethod.ResetSpotlightRid, "recv_connection_id"],
  ["Sora_20201124.PutSignalingNotifyMetadata", SoraMethod.PutSignalingNotifyMetadata, "connection_id"],
  ["Sora_20201124.PutSignalingNotifyMetadataItem", SoraMethod.PutSignalingNotifyMetadataItem, "connection_id"]
] as const

const Response = Schema.fromJsonString(Schema.Struct({
  result: Schema.optionalKey(Schema.Json),
  error: Schema.optionalKey(Schema.Struct({
    code: Schema.Int,
    message: Schema.String,
    data: Schema.optionalKey(Schema.Json)
  }))
}))
const decodeResponse = Schema.decodeUnknownSync(Response)

const listed = ({ member }: ServerConnection) => ({
  channel_id: member.channelId,
  session_id: member.sessionId,
  client_id: member.clientId,
  bundle_id: member.bundleId,
  connection_id: member.connectionId,
  role: member.role,
  audio: member.audio,
  video: member.video,
  simulcast: member.simulcast,
  spotlight: member.spotlight
})

/** By the value of the header `x-sora-target`. The dispatcher is one that limits nobody to `simulcast_rpc_rids`. */
export const make = (options: {
  readonly rooms: Rooms
  readonly dispatcher: Dispatcher.Dispatcher<never>
}): ReadonlyMap<string, Operation> => {
  const { dispatcher, rooms } = options

  const select = (connections: ReadonlyArray<ServerConnection>, selector: Selector) => {
    const wanted = Object.entries(selector) as ReadonlyArray<[keyof Selector, string]>
    const found = connections.filter(({ member }) => wanted.every(([name, value]) => member[name] === value))
    return found.length > 0
      ? Effect.succeed(found)
      : Effect.fail(missing(`connection with ${wanted.map(([name, value]) => `${name} ${value}`).join(" and ")}`))
  }

  const disconnect = (fields: Fields): Operation => {
    const encode = Schema.encodeSync(Struct(fields))
    // The reason is for Sora's webhooks, of which there are none here.
    return operation(Struct({ ...fields, reason: Schema.optionalKey(Schema.JsonObject) }), (params) => {
      const selector = selectorOf(params, fields)
      return Effect.map(select(rooms.all(), selector), (found) => {
        for (const { end } of found) end(disconnectedApi)
        return encode(selector)
      })
    })
  }

  const push = (fields: Fields): Operation =>
    operation(
      Struct({ ...fields, data: Schema.JsonObject }),
      (params) =>
        Effect.map(select(rooms.joined(), selectorOf(params, fields)), (found) => {
          const message = { type: "push", data: params.data } as const
          for (const { deliver } of found) deliver("push", message)
          return message
        })
    )

  const call = (method: SoraMethod.Any, own: string): Operation =>
    operation(
      Schema.StructWithRest(Schema.Struct({ channel_id: Schema.String, [own]: Schema.String }), [
        Schema.Record(Schema.String, Schema.Json)
      ]),
      Effect.fnUntraced(function*(_, params) {
        const selector = { channelId: params["channel_id"], connectionId: params[own] } as Selector
        const [connection] = yield* select(rooms.joined(), selector)
        const request = JSON.stringify({ jsonrpc: "2.0", id: 1, method: SoraMethod.wireName(method), params })
        const answer = yield* dispatcher.dispatch(request, connection!.member, () => true)
        const { error, result = null } = decodeResponse(answer)
        if (error === undefined) return result
        const { message, ...details } = error
        return yield* new ApiError({ status: error.code === -32603 ? 500 : 400, message, details })
      })
    )

  const list = <Params>(params: Schema.Codec<Params, any>, of: (params: Params) => Schema.Json): Operation =>
    operation(params, (params) => Effect.succeed(of(params)))

  // `local` is about clusters.
  const Everywhere = Struct({ local: Schema.optionalKey(Schema.Boolean) })

  return new Map<string, Operation>([
    ...targets.flatMap(({ disconnect: ended, fields, push: pushed, suffix }) => [
      [`Sora_${ended}.Disconnect${suffix}`, disconnect(fields)] as const,
      [`Sora_${pushed}.Push${suffix}`, push(fields)] as const
    ]),
    [
      "Sora_20201013.ListChannels",
      list(Everywhere, () => {
        const channels = new Map(rooms.joined().map(({ member }) => [member.channelId, member.spotlight]))
        return Array.from(channels, ([channel_id, spotlight]) => ({ channel_id, multistream: true, spotlight }))
      })
    ],
    ["Sora_20201013.ListConnections", list(Everywhere, () => rooms.joined().map(listed))],
    [
      "Sora_20201013.ListChannelConnections",
      list(Struct(channel), ({ channelId }) => rooms.members(channelId).map(listed))
    ],
    [
      "Sora_20201124.ListSignalingNotifyMetadata",
      list(
        Struct(channel),
        ({ channelId }) =>
          rooms.members(channelId).map(({ member: { bundleId, clientId, connectionId, metadata } }) => ({
            client_id: clientId,
            bundle_id: bundleId,
            connection_id: connectionId,
            ...(metadata === undefined ? {} : { metadata })
          }))
      )
    ],
    ...methods.map(([target, method, own]) => [target, call(method, own)] as const)
  ])
}
