/**
 * RPC methods as data. A method is a value: its name, the Sora release whose
 * API it follows, a schema for its params and one for its result. The client
 * encodes and decodes with it, the development server dispatches with it.
 *
 * Params and results are camelCase here and Sora's own names on the wire
 * (`sora-protocol.md` sections 4.6 to 4.9). The five methods that Sora 2025.2
 * knows are the values at the end of this module; `make` adds one of your own.
 *
 * @since 0.1.0
 * @module
 */
import type * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Predicate from "effect/Predicate"
import { isSuccess } from "effect/Result"
import * as Schema from "effect/Schema"
import { issueOf } from "./internal/options.ts"
import { type Members, Struct } from "./internal/wire.ts"
import { InvalidOptions, type ServerError } from "./SoraRpcError.ts"

const TypeId = "~effect-sora-rpc/SoraMethod"

/**
 * Returns `true` when a value is a method made with {@link make}.
 *
 * @category guards
 * @since 0.1.0
 */
export const isSoraMethod = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

/**
 * A schema whose values need no services to encode or decode.
 *
 * @category models
 * @since 0.1.0
 */
export type PureSchema = Schema.Codec<any, any>

/**
 * A method that can be called over RPC.
 *
 * @category models
 * @since 0.1.0
 */
export interface SoraMethod<
  out Name extends string,
  out ParamsSchema extends PureSchema,
  out ResultSchema extends PureSchema
> {
  readonly [TypeId]: typeof TypeId
  /** The name of the HTTP API, such as `RequestSimulcastRid`. */
  readonly name: Name
  /**
   * The Sora release that this definition follows, such as `2025.2.0`; absent
   * for a method whose whole name is `name`.
   */
  readonly version: string | undefined
  /** Encoded to the wire's `params`; `Schema.Void` when the method takes none. */
  readonly params: ParamsSchema
  /** Decoded from the wire's `result`. */
  readonly result: ResultSchema
}

/**
 * Any method, whatever its schemas.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any extends SoraMethod<string, PureSchema, PureSchema> {}

/**
 * What a call of the method takes.
 *
 * @category models
 * @since 0.1.0
 */
export type Params<M extends Any> = M["params"]["Type"]

/**
 * What a call of the method gives.
 *
 * @category models
 * @since 0.1.0
 */
export type Result<M extends Any> = M["result"]["Type"]

/**
 * The arguments of a call after the method: params may be left out when every
 * member of them may.
 *
 * @category models
 * @since 0.1.0
 */
export type Arguments<M extends Any, Options> = [Params<M>] extends [void] ? [params?: undefined, options?: Options]
  : {} extends Params<M> ? [params?: Params<M> | undefined, options?: Options]
  : [params: Params<M>, options?: Options]

/**
 * The connection that called a method.
 *
 * @category models
 * @since 0.1.0
 */
export interface Caller {
  readonly connectionId: string
  readonly clientId: string
  readonly channelId: string
}

/**
 * A method together with what serves it, for the development server and for
 * `SoraRpc.layerTest`. Made with {@link handle}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handled<out R = never> {
  readonly method: Any
  /** Gets the decoded params, and gives the result; what it fails with is the answer's error. */
  readonly handler: (params: any, caller: Caller) => Effect.Effect<unknown, ServerError, R>
}

const isSchema = Schema.declare(Schema.isSchema, { expected: "a Schema" })

const definitionIssueOf = issueOf(Schema.Struct({
  name: Schema.NonEmptyString,
  version: Schema.optional(Schema.NonEmptyString),
  params: Schema.optional(isSchema),
  result: Schema.optional(isSchema)
}))

/**
 * Defines a method. Without `params` it is called as `call(method)`; without
 * `result` the JSON of the answer is handed on as it is.
 *
 * Values that JSON has no form for (a `Date`, a `bigint`, bytes) are encoded in
 * Schema's own JSON form (`Schema.toCodecJson`).
 *
 * The schemas must encode and decode at once: what needs services does not
 * compile, and what waits for something fails its calls with `InvalidParams`
 * before anything is sent, or dies when it decodes. Throws `InvalidOptions` for
 * an empty name and for what is no schema.
 *
 * ```ts
 * const GetRoomInfo = SoraMethod.make("GetRoomInfo", {
 *   version: "2027.1.0",
 *   params: Schema.Struct({ room: Schema.String }),
 *   result: Schema.Struct({ members: Schema.Int })
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = /* @__NO_SIDE_EFFECTS__ */ <
  const Name extends string,
  ParamsSchema extends PureSchema = Schema.Void,
  ResultSchema extends PureSchema = Schema.Codec<Schema.Json>
>(name: Name, options?: {
  readonly version?: string | undefined
  readonly params?: ParamsSchema | undefined
  readonly result?: ResultSchema | undefined
}): SoraMethod<Name, ParamsSchema, ResultSchema> => {
  const issue = definitionIssueOf({ name, ...options })
  if (issue !== undefined) throw new InvalidOptions({ issue })
  return {
    [TypeId]: TypeId,
    name,
    version: options?.version,
    // The defaults of the type parameters are these two schemas.
    params: options?.params ?? (Schema.Void as PureSchema as ParamsSchema),
    result: options?.result ?? (Schema.Json as PureSchema as ResultSchema)
  }
}

export {
  /**
   * A struct whose members are camelCase here and snake_case on the wire.
   *
   * @category schemas
   * @since 0.1.0
   */
  Struct
} from "./internal/wire.ts"

/**
 * Serves a method: the handler gets decoded params and gives a result, which is
 * encoded. A `ServerError` is sent as JSON-RPC's error object; anything else
 * that goes wrong in the handler is answered with code -32603.
 *
 * @category constructors
 * @since 0.1.0
 */
export const handle = <M extends Any, R = never>(
  method: M,
  handler: (params: Params<M>, caller: Caller) => Effect.Effect<Result<M>, ServerError, R>
): Handled<R> => ({ method, handler })

/**
 * The string that names the method on the wire when it is granted in the
 * version that it was written against: `2025.2.0/RequestSimulcastRid`.
 *
 * @category accessors
 * @since 0.1.0
 */
export const wireName = (method: Any): string =>
  method.version === undefined ? method.name : `${method.version}/${method.name}`

/** Newest first, by the numbers of `2025.2.0`. */
const compareVersions = (a: string, b: string): number => {
  const as = a.split(".")
  const bs = b.split(".")
  for (let i = 0; i < Math.max(as.length, bs.length); i++) {
    const difference = (Number(bs[i]) || 0) - (Number(as[i]) || 0)
    if (difference !== 0) return difference
  }
  return 0
}

/**
 * The granted string to send for a method: the entry of `rpc_methods` that is
 * exactly its {@link wireName}, else the newest `{version}/{name}`, else the
 * bare `name`; `undefined` when the method is not granted.
 *
 * @category accessors
 * @since 0.1.0
 */
export const resolve: {
  (rpcMethods: ReadonlyArray<string>): (method: Any) => string | undefined
  (method: Any, rpcMethods: ReadonlyArray<string>): string | undefined
} = dual(2, (method: Any, rpcMethods: ReadonlyArray<string>): string | undefined => {
  const exact = wireName(method)
  if (rpcMethods.includes(exact)) return exact
  const versions = rpcMethods
    .filter((granted) => granted.endsWith(`/${method.name}`))
    .map((granted) => granted.slice(0, -method.name.length - 1))
    .toSorted(compareVersions)
  if (versions[0] !== undefined) return `${versions[0]}/${method.name}`
  return rpcMethods.includes(method.name) ? method.name : undefined
})

/**
 * A simulcast layer: `r0` is the lowest, `none` stops video.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Rid = /* @__PURE__ */ Schema.Literals(["none", "r0", "r1", "r2"])

/**
 * A simulcast layer: `r0` is the lowest, `none` stops video.
 *
 * @category schemas
 * @since 0.1.0
 */
export type Rid = typeof Rid.Type

// What follows is annotated, so that a bundler leaves out the methods that nobody calls.

const text = /* @__PURE__ */ Schema.optionalKey(Schema.String)
const flag = /* @__PURE__ */ Schema.optionalKey(Schema.Boolean)

const version = "2025.2.0"

const makeKnown = /* @__NO_SIDE_EFFECTS__ */ <
  const Name extends string,
  const P extends Members,
  const R extends Members
>(
  name: Name,
  params: P,
  result: R
) => make(name, { version, params: Struct(params), result: Struct(result) })

/**
 * Changes which simulcast layer this connection receives, of one sender or
 * (without `senderConnectionId`) of all. Fails with a `ServerError` when
 * simulcast is not active on this connection or the server allows fewer rids.
 *
 * The server fills in `channelId` and `receiverConnectionId` by itself; they
 * need not be given (section 4.6).
 *
 * @category methods
 * @since 0.1.0
 */
export const RequestSimulcastRid = makeKnown("RequestSimulcastRid", {
  rid: Rid,
  senderConnectionId: text,
  receiverConnectionId: text,
  channelId: text
}, {
  channelId: Schema.String,
  receiverConnectionId: Schema.String,
  rid: Schema.String,
  senderConnectionId: text
})

/**
 * Sets the simulcast layers that this connection receives of senders in and
 * out of focus. Fails with a `ServerError` when spotlight is not active on this
 * connection (section 4.7).
 *
 * @category methods
 * @since 0.1.0
 */
export const RequestSpotlightRid = makeKnown("RequestSpotlightRid", {
  spotlightFocusRid: Rid,
  spotlightUnfocusRid: Rid,
  sendConnectionId: text,
  recvConnectionId: text,
  channelId: text
}, {
  channelId: Schema.String,
  recvConnectionId: Schema.String,
  spotlightFocusRid: Schema.String,
  spotlightUnfocusRid: Schema.String
})

/**
 * Takes the spotlight layers back to those of `connect` or of the grant, for
 * one sender or (without `sendConnectionId`) for all (section 4.7).
 *
 * @category methods
 * @since 0.1.0
 */
export const ResetSpotlightRid = makeKnown("ResetSpotlightRid", {
  sendConnectionId: text,
  recvConnectionId: text,
  channelId: text
}, {
  channelId: Schema.String,
  recvConnectionId: Schema.String
})

/**
 * The result of a method that took effect whatever the answer looks like: one that does not fit is handed on as it is. One
 * with more members than the schema has does not fit, because a decoded one would be without them.
 */
const orJson = <Type>(schema: Schema.Codec<Type, any>): Schema.Codec<Type | Schema.Json> => {
  const json = Schema.toCodecJson(schema)
  const decode = Schema.decodeUnknownResult(json, { onExcessProperty: "error" })
  const fitting = Schema.Json.check(Schema.makeFilter((input) => isSuccess(decode(input))))
  return Schema.Union([fitting.pipe(Schema.decodeTo(json)), Schema.Json])
}

const putMetadata = /* @__NO_SIDE_EFFECTS__ */ <Metadata extends PureSchema, Result extends PureSchema>(
  metadata: Metadata,
  result: Result
) =>
  make("PutSignalingNotifyMetadata", {
    version,
    params: Struct({
      metadata,
      push: flag,
      connectionId: text,
      channelId: text
    }),
    result
  })

/**
 * Replaces the signaling-notify metadata of this connection, which Sora keeps
 * beside what `connect` and the authentication gave. With `push: true` the server
 * pushes it to every connection of the channel, this one included; who joins
 * later sees it either way. The result is probably the metadata, but that is not
 * documented, so it is handed on as JSON (section 4.8).
 *
 * `withMetadata(schema)` is the same method for metadata of your own type. A
 * result that fits the schema is decoded; any other is handed on as the JSON that
 * it is: the metadata was put, whatever the answer looks like.
 *
 * @category methods
 * @since 0.1.0
 */
export const PutSignalingNotifyMetadata = /* @__PURE__ */ Object.assign(putMetadata(Schema.Json, Schema.Json), {
  /** The method for metadata of this schema. */
  withMetadata: <Metadata extends PureSchema>(metadata: Metadata) =>
    putMetadata(metadata, orJson<Metadata["Type"]>(metadata))
})

/** One `{ key, value }` struct per member, so that a value is checked against its own key. */
const itemParams = /* @__NO_SIDE_EFFECTS__ */ <Value extends PureSchema, Key extends PureSchema>(
  key: Key,
  value: Value
) =>
  Struct({
    key,
    value,
    push: flag,
    connectionId: text,
    channelId: text
  })

const putItem = /* @__NO_SIDE_EFFECTS__ */ <P extends PureSchema, Result extends PureSchema>(
  params: P,
  result: Result
) => make("PutSignalingNotifyMetadataItem", { version, params, result })

/**
 * The params of {@link PutSignalingNotifyMetadataItem} for one member of the
 * metadata.
 *
 * @category models
 * @since 0.1.0
 */
export interface ItemParams<Key extends string, Value> {
  readonly key: Key
  readonly value: Value
  readonly push?: boolean
  readonly connectionId?: string
  readonly channelId?: string
}

/**
 * The result of {@link PutSignalingNotifyMetadataItem} for one member of the
 * metadata, where the server answers with that member.
 *
 * @category models
 * @since 0.1.0
 */
export interface Item<Key extends string, Value> {
  readonly key: Key
  readonly value: Value
}

const withMetadata = <const Fields extends Readonly<Record<string, PureSchema>>>(
  metadata: Schema.Struct<Fields>
) => {
  const fields = Object.entries(metadata.fields).map(([key, value]) => [Schema.Literal(key), value] as const)
  return putItem(
    // The names of the members are computed, so that the compiler does not know them.
    Schema.Union(fields.map(([key, value]) => itemParams(key, value))) as PureSchema as Schema.Codec<
      { [Key in keyof Fields & string]: ItemParams<Key, Fields[Key]["Type"]> }[keyof Fields & string],
      unknown
    >,
    orJson(
      Schema.Union([
        ...fields.map(([key, value]) => Schema.Struct({ key, value })),
        metadata
      ]) as PureSchema as Schema.Codec<
        | { [Key in keyof Fields & string]: Item<Key, Fields[Key]["Type"]> }[keyof Fields & string]
        | Schema.Struct.Type<Fields>,
        unknown
      >
    )
  )
}

/**
 * Sets one member of this connection's signaling-notify metadata and keeps the
 * others. With `push: true` the server pushes the change to every connection of
 * the channel, this one included. What the result holds is not documented, so
 * it is handed on as JSON (section 4.9).
 *
 * `withMetadata(struct)` is the same method for metadata of your own type: `key`
 * is one of the struct's members and `value` has that member's type. A result
 * that is the whole metadata, or the item, is decoded; any other is handed on as
 * the JSON that it is.
 *
 * @category methods
 * @since 0.1.0
 */
export const PutSignalingNotifyMetadataItem = /* @__PURE__ */ Object.assign(
  putItem(itemParams(Schema.String, Schema.Json), Schema.Json),
  {
    /** The method for metadata of this struct. */
    withMetadata
  }
)

/**
 * The methods that Sora 2025.2 grants over RPC (section 4.2).
 *
 * @category methods
 * @since 0.1.0
 */
export const known: readonly [
  typeof RequestSimulcastRid,
  typeof RequestSpotlightRid,
  typeof ResetSpotlightRid,
  typeof PutSignalingNotifyMetadata,
  typeof PutSignalingNotifyMetadataItem
] = [
  RequestSimulcastRid,
  RequestSpotlightRid,
  ResetSpotlightRid,
  PutSignalingNotifyMetadata,
  PutSignalingNotifyMetadataItem
]
