/**
 * Who is in the channel, with metadata of your own type: the `members` of a
 * `SoraConnection`, decoded by the schema that `withMetadata` of the metadata
 * methods encodes with.
 *
 * ```ts
 * const Profile = Schema.Struct({ nickname: Schema.String })
 *
 * const roster = SoraMembers.changes(Profile).pipe(
 *   Stream.runForEach((members) => Console.log(Array.from(members.values(), ({ metadata }) => metadata)))
 * )
 * ```
 *
 * Metadata is what others wrote. What does not fit the schema is
 * `Option.none`, and hurts nobody else.
 *
 * @since 0.1.0
 * @module
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Signaling from "./Signaling.ts"
import * as SoraConnection from "./SoraConnection.ts"
import type { PureSchema } from "./SoraMethod.ts"

/**
 * A connection that is in the channel, this one included, with its metadata
 * decoded.
 *
 * @category models
 * @since 0.1.0
 */
export interface Member<out A> extends Omit<SoraConnection.Member, "metadata"> {
  /** None where it has none, or none that fits. */
  readonly metadata: Option.Option<A>
  /** The metadata as it came. */
  readonly metadataJson: Schema.Json | undefined
}

/**
 * Who is in the channel, by connection id.
 *
 * @category models
 * @since 0.1.0
 */
export type Members<A> = ReadonlyMap<string, Member<A>>

interface Fields {
  readonly fields: Readonly<Record<string, PureSchema>>
}

/**
 * What `PutSignalingNotifyMetadata` with `push: true` tells of: somebody's whole
 * metadata.
 *
 * @category models
 * @since 0.1.0
 */
export interface MetadataPut<out A> {
  readonly _tag: "Metadata"
  readonly connectionId: string
  readonly metadata: A
}

/**
 * What `PutSignalingNotifyMetadataItem` with `push: true` tells of: one item of
 * somebody's metadata.
 *
 * @category models
 * @since 0.1.0
 */
export interface ItemPut<out Key extends string, out Value> {
  readonly _tag: "MetadataItem"
  readonly connectionId: string
  readonly key: Key
  readonly value: Value
}

/**
 * A push that tells of metadata of this schema; of items where it is a
 * `Schema.Struct`.
 *
 * @category models
 * @since 0.1.0
 */
export type Put<S extends PureSchema> =
  | MetadataPut<S["Type"]>
  | (S extends Fields ? { [Key in keyof S["fields"] & string]: ItemPut<Key, S["fields"][Key]["Type"]> }[
      & keyof S["fields"]
      & string
    ]
    : never)

/** A schema that throws, or that waits for something, fits nothing. */
const decoder = <A>(schema: Schema.Codec<A, any>): (input: unknown) => Option.Option<A> => {
  const decode = Schema.decodeUnknownResult(Schema.toCodecJson(schema))
  return (input) => {
    try {
      return Result.getSuccess(decode(input))
    } catch {
      return Option.none()
    }
  }
}

/**
 * Decodes the metadata of a notify event or of a member, as `withMetadata` of
 * `SoraMethod.PutSignalingNotifyMetadata` encoded it. None where there is none,
 * and where it does not fit. Members that the schema does not know are ignored.
 *
 * ```ts
 * const profileOf = SoraMembers.decode(Profile)
 *
 * connection.notify.pipe(Stream.filter(({ _tag }) => _tag === "connection.created"), Stream.map(({ metadata }) => profileOf(metadata)))
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = <S extends PureSchema>(
  schema: S
): (metadata: Schema.Json | undefined) => Option.Option<S["Type"]> => {
  const decodeJson = decoder(schema)
  return (metadata) => metadata === undefined ? Option.none() : decodeJson(metadata)
}

const decodePushed = decoder(Signaling.MetadataPush)

/**
 * Decodes what `withMetadata` of `SoraMethod.PutSignalingNotifyMetadata` and
 * `SoraMethod.PutSignalingNotifyMetadataItem` encoded, of a push (section 4.10).
 * None for any other push, and for what does not fit.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodePush = <S extends PureSchema>(schema: S): (push: Signaling.Push) => Option.Option<Put<S>> => {
  const decodeMetadata = decode(schema)
  const { fields = {} }: Partial<Fields> = "fields" in schema ? schema as PureSchema & Fields : {}
  // In a struct, so that a member that may be left out is decoded as one.
  const items = new Map(Object.entries(fields).map(([key, value]) => [key, decoder(Schema.Struct({ value }))]))
  const decodeItem = (connectionId: string, key: string, value: Schema.Json): Option.Option<ItemPut<string, unknown>> =>
    Option.map(
      items.get(key)?.({ value }) ?? Option.none(),
      ({ value }) => ({ _tag: "MetadataItem", connectionId, key, value })
    )
  const decodeOf = ({ connectionId, key, metadata, value }: typeof Signaling.MetadataPush.Type): Option.Option<
    MetadataPut<unknown> | ItemPut<string, unknown>
  > =>
    metadata !== undefined
      ? Option.map(decodeMetadata(metadata), (metadata) => ({ _tag: "Metadata", connectionId, metadata }))
      : key !== undefined && value !== undefined
      ? decodeItem(connectionId, key, value)
      : Option.none()
  // The keys are those of the struct, which the compiler does not know here.
  return (push) => Option.flatMap(decodePushed(push.data), decodeOf) as Option.Option<Put<S>>
}

/** Each member is decoded once, however often another one changes. */
const makeDecodeMembers = <S extends PureSchema>(schema: S) => {
  const decodeMetadata = decode(schema)
  const decoded = new WeakMap<SoraConnection.Member, Member<S["Type"]>>()
  const decodeMember = (member: SoraConnection.Member): Member<S["Type"]> => {
    const known = decoded.get(member)
    if (known !== undefined) return known
    const { metadata, ...others } = member
    const made = { ...others, metadata: decodeMetadata(metadata), metadataJson: metadata }
    decoded.set(member, made)
    return made
  }
  return (members: SoraConnection.Members): Members<S["Type"]> =>
    new Map(Array.from(members, ([id, member]) => [id, decodeMember(member)]))
}

/**
 * Who is in the channel now: `members` of the connection, decoded.
 *
 * @category accessors
 * @since 0.1.0
 */
export const get = <S extends PureSchema>(
  schema: S
): Effect.Effect<Members<S["Type"]>, never, SoraConnection.SoraConnection> =>
  Effect.map(SoraConnection.SoraConnection.use(({ members }) => members), makeDecodeMembers(schema))

/**
 * Who is in the channel, now and after each change: `memberChanges` of the
 * connection, decoded.
 *
 * @category accessors
 * @since 0.1.0
 */
export const changes = <S extends PureSchema>(
  schema: S
): Stream.Stream<Members<S["Type"]>, never, SoraConnection.SoraConnection> =>
  Stream.unwrap(
    SoraConnection.SoraConnection.useSync(({ memberChanges }) => Stream.map(memberChanges, makeDecodeMembers(schema)))
  )

/**
 * Everybody else who is in the channel, and then who joins, each once. For another
 * connection it begins anew with everybody, because Sora forgets with a
 * connection what was asked for on it (such as rids of single senders).
 *
 * ```ts
 * const receiveLow = SoraMembers.joins(Profile).pipe(
 *   Stream.runForEach(({ connectionId }) =>
 *     SoraRpc.requestSimulcastRid({ rid: "r0", senderConnectionId: connectionId }).pipe(Effect.ignore)
 *   )
 * )
 * ```
 *
 * Who has left before it was their turn may be left out. The metadata is what is known by then: of who puts it after
 * joining (`onConnected`) there is none yet, and {@link changes} has it.
 *
 * @category accessors
 * @since 0.1.0
 */
export const joins = <S extends PureSchema>(
  schema: S
): Stream.Stream<Member<S["Type"]>, never, SoraConnection.SoraConnection> =>
  Stream.mapAccum(
    changes(schema),
    (): Members<S["Type"]> => new Map(),
    (before, members) => [
      members,
      Array.from(members.values()).filter(({ connectionId, isSelf }) =>
        !isSelf && !(before.has(connectionId) && selfOf(before) === selfOf(members))
      )
    ]
  )

const selfOf = <A>(members: Members<A>): string | undefined => {
  for (const { connectionId, isSelf } of members.values()) if (isSelf) return connectionId
  return undefined
}

/**
 * What is pushed of metadata: `push` of the connection, decoded by
 * {@link decodePush}. Other pushes, and what does not fit, are left out.
 *
 * @category accessors
 * @since 0.1.0
 */
export const pushes = <S extends PureSchema>(
  schema: S
): Stream.Stream<Put<S>, never, SoraConnection.SoraConnection> =>
  Stream.unwrap(SoraConnection.SoraConnection.useSync(({ push }) => {
    const decode = decodePush(schema)
    return push.pipe(Stream.map(decode), Stream.filter(Option.isSome), Stream.map(({ value }) => value))
  }))
