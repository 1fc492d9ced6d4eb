/**
 * A server that answers as a recording says: the development server with the
 * grants of the recorded offer and handlers that look their answer up. SDP, ids
 * and transports are the server's own; ids of the recorded connection stand for
 * those of the one that is served.
 *
 * A call is answered by the recorded one with the same method and params: the
 * next of them that this connection has not had yet, else the last. What the
 * recorded connection was told after that call (notify, push) is told after the
 * answer, once.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Inside from "../../server/internal/inside.ts"
import type { ServerConnection } from "../../server/internal/rooms.ts"
import * as SoraAuth from "../../server/SoraAuth.ts"
import * as SoraServer from "../../server/SoraServer.ts"
import * as Signaling from "../../Signaling.ts"
import * as SoraMethod from "../../SoraMethod.ts"
import { ServerError } from "../../SoraRpcError.ts"
import { InvalidRecording, type Recording } from "./format.ts"

type Json = Schema.Json
type JsonObject = Schema.JsonObject

/** What is said without being asked. */
interface Told {
  readonly kind: "notify" | "push"
  readonly message: JsonObject
}

interface Exchange {
  readonly method: string
  readonly params: Json
  /** The id of a call; a notification has none. */
  readonly id: Json | undefined
  /** Nothing where none came: the call is never answered. */
  response: JsonObject | undefined
  readonly told: Array<Told>
}

/** A recording as a server needs it. */
export interface Script {
  readonly offer: Signaling.Offer
  /** Said when a connection has joined. */
  readonly atFirst: ReadonlyArray<Told>
  readonly exchanges: ReadonlyArray<Exchange>
}

const isObject = Schema.is(Schema.JsonObject)
const decodeOffer = Schema.decodeUnknownEffect(Signaling.Offer)

/** Reads the first connection of a recording. */
export const scriptOf = Effect.fnUntraced(function*({ lines }: Recording): Effect.fn.Return<Script, InvalidRecording> {
  let offer: JsonObject | undefined
  const atFirst: Array<Told> = []
  const exchanges: Array<Exchange> = []
  for (const line of lines) {
    if (line.type === "signaling" && line.direction === "received") {
      const { message } = line
      if (message.type === "offer") {
        if (offer !== undefined) break
        offer = message
      } else if (message.type === "notify" || message.type === "push") {
        const told = exchanges.at(-1)?.told ?? atFirst
        told.push({ kind: message.type, message })
      }
    } else if (line.type === "rpc" && isObject(line.message)) {
      const { id, method, params = {} } = line.message
      if (line.direction === "sent" && typeof method === "string") {
        exchanges.push({ method, params, id, response: undefined, told: [] })
      } else if (line.direction === "received" && id !== undefined) {
        const asked = exchanges.find((exchange) => exchange.id === id && exchange.response === undefined)
        if (asked !== undefined) asked.response = line.message
      }
    }
  }
  if (offer === undefined) {
    return yield* new InvalidRecording({ issue: "it has no offer, so that no connection was made" })
  }
  const decoded = yield* Effect.mapError(
    decodeOffer(offer),
    () => new InvalidRecording({ issue: "its offer is none of Sora" })
  )
  return { offer: decoded, atFirst, exchanges }
})

/** Without the order of members, which says nothing. */
const canonical = (json: Json): string =>
  JSON.stringify(
    json,
    (_, value) =>
      isObject(value) ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => a < b ? -1 : 1)) : value
  )

/** Ids stand in members that are named so; elsewhere the same text is something else. */
const renamed = (json: Json, names: ReadonlyMap<string, string>, name = ""): Json =>
  typeof json === "string"
    ? name.endsWith("_id") ? names.get(json) ?? json : json
    : Array.isArray(json)
    ? json.map((item: Json) => renamed(item, names, name))
    : isObject(json)
    ? Object.fromEntries(Object.entries(json).map(([name, value]) => [name, renamed(value, names, name)]))
    : json

/** A connection that is served, and what it has had of the recording. */
interface Served {
  readonly toOurs: ReadonlyMap<string, string>
  readonly toRecorded: ReadonlyMap<string, string>
  readonly had: Set<Exchange>
  readonly tell: (told: ReadonlyArray<Told>) => void
}

const serve = (offer: Signaling.Offer, connection: ServerConnection): Served => {
  const { member } = connection
  const pairs = [
    [offer.clientId, member.clientId],
    [offer.bundleId, member.bundleId],
    [offer.sessionId, member.sessionId],
    [offer.channelId, member.channelId],
    // Last: the others are this one where nobody chose them.
    [offer.connectionId, member.connectionId]
  ].filter((pair): pair is [string, string] => pair[0] !== undefined)
  const toOurs = new Map(pairs)
  const isOwn = ({ kind, message }: Told) =>
    kind === "notify" && message.connection_id === offer.connectionId &&
    String(message.event_type).startsWith("connection.")
  return {
    toOurs,
    toRecorded: new Map(pairs.map(([recorded, ours]) => [ours, recorded])),
    had: new Set(),
    tell(told) {
      for (const event of told) {
        // The server says by itself what becomes of the connection.
        if (isOwn(event)) continue
        const message = renamed(event.message, toOurs) as JsonObject
        const decoded = Signaling.decodeServerMessage(message)
        if (decoded._tag === "Success" && decoded.success.type === event.kind) {
          connection.deliver(event.kind, decoded.success as Parameters<typeof connection.deliver>[1])
        }
      }
    }
  }
}

const notRecorded = (method: string) =>
  new ServerError({ code: -32000, message: "NOT-IN-THE-RECORDING", data: { method } })

const ErrorBody = Schema.Struct({
  code: Schema.Int,
  message: Schema.String,
  data: Schema.optionalKey(Schema.Json)
})
const decodeError = Schema.decodeUnknownOption(ErrorBody)

const decodeEncodings = Schema.decodeUnknownOption(SoraAuth.Encodings)

const grantOf = (offer: Signaling.Offer): SoraAuth.Grant => {
  const encodings = decodeEncodings(offer.encodings)
  return {
    rpcMethods: offer.rpcMethods ?? [],
    ...(offer.metadata === undefined ? {} : { metadata: offer.metadata }),
    ...(offer.simulcast === undefined ? {} : { simulcast: offer.simulcast }),
    ...(offer.spotlight === undefined ? {} : { spotlight: offer.spotlight }),
    ...(offer.simulcastRpcRids === undefined
      ? {}
      : { simulcastRpcRids: offer.simulcastRpcRids.filter(Schema.is(SoraMethod.Rid)) }),
    ...(Option.isNone(encodings) ? {} : { simulcastEncodings: encodings.value }),
    ...(offer.ignoreDisconnectWebsocket === undefined
      ? {}
      : { ignoreDisconnectWebsocket: offer.ignoreDisconnectWebsocket })
  }
}

/** Serves a recording until the scope closes. */
export const make = Effect.fnUntraced(function*(
  { atFirst, exchanges, offer }: Script,
  options: Pick<SoraServer.Options, "host" | "port"> = {}
): Effect.fn.Return<SoraServer.SoraServer["Service"], SoraServer.SoraServerError, Scope.Scope> {
  /** Goes with its connection. */
  const served = new WeakMap<ServerConnection, Served>()

  const answer = Effect.fnUntraced(function*(
    method: string,
    params: Json,
    caller: SoraMethod.Caller
  ): Effect.fn.Return<Json, ServerError> {
    const connection = rooms.find(caller.channelId, caller.connectionId)
    const to = connection === undefined ? undefined : served.get(connection)
    if (to === undefined) return yield* notRecorded(method)
    const asked = canonical(renamed(params, to.toRecorded))
    const alike = exchanges.filter((exchange) => exchange.method === method && canonical(exchange.params) === asked)
    const exchange = alike.find((exchange) => !to.had.has(exchange)) ?? alike.at(-1)
    if (exchange === undefined) return yield* notRecorded(method)
    if (!to.had.has(exchange)) {
      to.had.add(exchange)
      // After the answer, which is sent as soon as this returns.
      yield* Effect.forkDetach(Effect.delay(Effect.sync(() => to.tell(exchange.told)), "5 millis"))
    }
    if (exchange.id === undefined) return null
    if (exchange.response === undefined) return yield* Effect.never
    if (!("error" in exchange.response)) return renamed(exchange.response.result ?? null, to.toOurs)
    const error = decodeError(exchange.response.error)
    return yield* Option.isNone(error)
      ? notRecorded(method)
      : new ServerError(renamed(error.value as Json, to.toOurs) as typeof ErrorBody.Type)
  })

  const names = new Set([...offer.rpcMethods ?? [], ...exchanges.map(({ method }) => method)])
  const compress = offer.dataChannels?.find(({ label }) => label === "rpc" || label === "signaling")?.compress
  const server = yield* SoraServer.make({
    ...options,
    rpc: offer.dataChannels?.some(({ label }) => label === "rpc") ?? false,
    compress: compress ?? false,
    authenticate: () => Effect.succeed(grantOf(offer)),
    handlers: Array.from(names, (name) =>
      SoraMethod.handle(
        SoraMethod.make(name, { params: Schema.Json }),
        (params, caller) => answer(name, params, caller)
      ))
  })
  // Made above, by `SoraServer.make`.
  const { rooms } = Inside.insideOf(server)!
  rooms.onJoin.add((connection) => {
    const to = serve(offer, connection)
    served.set(connection, to)
    to.tell(atFirst)
  })
  return server
})
