/**
 * The five methods of Sora 2025.2 on the development server, with their side
 * effects (`sora-protocol.md` sections 4.6 to 4.10). The bodies of errors other
 * than unknown keys are guesses.
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { invalidParams } from "../../internal/rpc/dispatcher.ts"
import * as SoraMethod from "../../SoraMethod.ts"
import type { ServerError } from "../../SoraRpcError.ts"
import { isBounded, MaxMetadataBytes } from "./connection/connectRules.ts"
import * as Media from "./media/media.ts"
import type { Member } from "./member.ts"
import type { Rooms, ServerConnection } from "./rooms.ts"

const invalid = (issue: string) => invalidParams({ ISSUE: issue })

/** A caller may name itself and its channel, and nobody else. An empty id counts as absent. */
const checkOwn = (
  member: Member,
  implied: { readonly channelId?: string; readonly own?: readonly [name: string, value: string | undefined] }
): Effect.Effect<void, ServerError> => {
  if (implied.channelId && implied.channelId !== member.channelId) {
    return Effect.fail(invalid("channel_id is not yours"))
  }
  const [name, value] = implied.own ?? []
  return value && value !== member.connectionId ? Effect.fail(invalid(`${name} is not yours`)) : Effect.void
}

const isObject = (json: Schema.Json | undefined): json is Schema.JsonObject =>
  typeof json === "object" && json !== null && !Array.isArray(json)

export const make = (rooms: Rooms, now: () => number, options: {
  readonly itemResult: "metadata" | "item"
  readonly metadataExtension: boolean
  /** Whether a connection gets only the layers that its authentication allowed to ask for: over RPC, not over HTTP. */
  readonly limitRids: boolean
}): ReadonlyArray<SoraMethod.Handled> => {
  /** The connection may end between a call and its turn. */
  const withConnection = <A>(
    caller: SoraMethod.Caller,
    use: (connection: ServerConnection) => Effect.Effect<A, ServerError>
  ): Effect.Effect<A, ServerError> =>
    Effect.suspend(() => {
      const connection = rooms.find(caller.channelId, caller.connectionId)
      return connection === undefined ? Effect.fail(invalid("the connection has left its channel")) : use(connection)
    })

  const withMember = <A>(
    caller: SoraMethod.Caller,
    use: (member: Member) => Effect.Effect<A, ServerError>
  ): Effect.Effect<A, ServerError> => withConnection(caller, ({ member }) => use(member))

  /**
   * Spotlight rids are kept for all senders alike: a guess, as is that an unknown sender is refused (section 4.7 tells
   * neither).
   */
  const checkSpotlight = (member: Member, params: {
    readonly channelId?: string
    readonly recvConnectionId?: string
    readonly sendConnectionId?: string
  }): Effect.Effect<void, ServerError> => {
    if (!member.spotlight) return Effect.fail(invalid("spotlight is not active on this connection"))
    const sender = params.sendConnectionId
    return sender && rooms.find(member.channelId, sender) === undefined
      ? Effect.fail(invalid("send_connection_id is not in the channel"))
      : checkOwn(member, { ...params, own: ["recv_connection_id", params.recvConnectionId] })
  }

  /** Changes what a receiver asks for, and tells it of the layers that change: one event per sender (section 6.3). */
  const switchLayers = (receiver: ServerConnection, change: () => void) => {
    const senders = rooms.others(receiver.member).filter(({ member }) =>
      member.role !== "recvonly" && member.video && member.simulcast
    )
    const before = senders.map((sender) => Media.currentRid(receiver, sender))
    change()
    receiver.media.refresh()
    for (const [i, sender] of senders.entries()) {
      Media.tellSwitched(receiver, sender.member, {
        previous: before[i]!,
        current: Media.currentRid(receiver, sender),
        trigger: "receiver",
        now: now()
      })
    }
  }

  const put = (
    member: Member,
    metadata: Schema.Json,
    push: boolean | undefined,
    data: Schema.JsonObject
  ): Effect.Effect<void, ServerError> => {
    // Item by item it would grow without end.
    if (!isBounded(metadata)) {
      return Effect.fail(invalid(`the metadata would have more than ${MaxMetadataBytes} bytes, or is nested too deep`))
    }
    member.metadata = metadata
    if (push === true) {
      rooms.push(member.channelId, {
        ...data,
        connection_id: member.connectionId,
        type: "signaling_notify_metadata_ext"
      })
    }
    return Effect.void
  }

  const aboutLayers = [
    SoraMethod.handle(
      SoraMethod.RequestSimulcastRid,
      (params, caller) =>
        withConnection(caller, (connection) =>
          Effect.gen(function*() {
            const { member } = connection
            yield* checkOwn(member, {
              ...params,
              own: ["receiver_connection_id", params.receiverConnectionId]
            })
            if (!member.simulcast) return yield* invalid("simulcast is not active on this connection")
            if (options.limitRids && !member.rpcRids.includes(params.rid)) {
              return yield* invalid("rid is not among simulcast_rpc_rids")
            }
            const sender = params.senderConnectionId || undefined
            if (sender !== undefined && rooms.find(member.channelId, sender) === undefined) {
              return yield* invalid("sender_connection_id is not in the channel")
            }
            const { bySender } = member.rids
            switchLayers(connection, () => {
              if (sender === undefined) {
                member.rids.all = params.rid
                bySender.clear()
              } else {
                bySender.set(sender, params.rid)
              }
            })
            return {
              channelId: member.channelId,
              receiverConnectionId: member.connectionId,
              rid: params.rid,
              ...(sender === undefined ? {} : { senderConnectionId: sender })
            }
          }))
    ),

    SoraMethod.handle(
      SoraMethod.RequestSpotlightRid,
      (params, caller) =>
        withMember(caller, (member) =>
          Effect.gen(function*() {
            yield* checkSpotlight(member, params)
            member.spotlightRids.focus = params.spotlightFocusRid
            member.spotlightRids.unfocus = params.spotlightUnfocusRid
            return {
              channelId: member.channelId,
              recvConnectionId: member.connectionId,
              spotlightFocusRid: params.spotlightFocusRid,
              spotlightUnfocusRid: params.spotlightUnfocusRid
            }
          }))
    ),

    SoraMethod.handle(
      SoraMethod.ResetSpotlightRid,
      (params, caller) =>
        withMember(caller, (member) =>
          Effect.gen(function*() {
            yield* checkSpotlight(member, params)
            Object.assign(member.spotlightRids, member.initialSpotlightRids)
            return { channelId: member.channelId, recvConnectionId: member.connectionId }
          }))
    )
  ]

  const aboutMetadata = [
    SoraMethod.handle(
      SoraMethod.PutSignalingNotifyMetadata,
      (params, caller) =>
        withMember(caller, (member) =>
          Effect.gen(function*() {
            yield* checkOwn(member, { ...params, own: ["connection_id", params.connectionId] })
            yield* put(member, params.metadata, params.push, { action: "PutMetadata", metadata: params.metadata })
            return params.metadata
          }))
    ),

    SoraMethod.handle(
      SoraMethod.PutSignalingNotifyMetadataItem,
      (params, caller) =>
        withMember(caller, (member) =>
          Effect.gen(function*() {
            yield* checkOwn(member, { ...params, own: ["connection_id", params.connectionId] })
            const stored = member.metadata ?? {}
            if (!isObject(stored)) return yield* invalid("the stored metadata is not an object")
            const { key, value } = params
            const metadata = { ...stored, [key]: value }
            yield* put(member, metadata, params.push, { action: "PutMetadataItem", key, value })
            return options.itemResult === "item" ? { key, value } : metadata
          }))
    )
  ]

  // What Sora answers without the extension is not known (section 9 row 29); here there are no such methods then.
  return options.metadataExtension ? [...aboutLayers, ...aboutMetadata] : aboutLayers
}
