/**
 * A moderation bot: it knows who is in the channel, shows itself with a nickname, and
 * receives everybody in the lowest simulcast layer. `moderation.ts` runs it, and
 * `moderationBot.test.ts` tests it without a network.
 */
import { Context, Effect, Option, type Redacted, Schema, Stream } from "effect"
import { SoraMembers, SoraMethod, SoraRpc } from "effect-sora-rpc"

/** What each member tells of itself. */
export const Profile = Schema.Struct({ nickname: Schema.String })
type Profile = typeof Profile.Type
const PutProfile = SoraMethod.PutSignalingNotifyMetadata.withMetadata(Profile)

export class CredentialsError extends Schema.TaggedError<CredentialsError>()("CredentialsError", {
  cause: Schema.Defect()
}) {
  override readonly message = "no token was to be had"
}

/** Where the token for Sora's authentication comes from: a new one each time. */
export class Credentials extends Context.Service<Credentials, {
  readonly fetch: Effect.Effect<Redacted.Redacted<Schema.Json>, CredentialsError>
}>()("Credentials") {}

/** What the bot connects as. It comes back after everything that can be cured. */
export const options = {
  role: "recvonly",
  simulcast: true,
  metadata: Credentials.use(({ fetch }) => fetch),
  onConnected: () =>
    SoraRpc.SoraRpc.use((rpc) => rpc.call(PutProfile, { metadata: { nickname: "Moderator" }, push: true })),
  retryConnect: true,
  reconnect: true
} as const

const nicknameOf = ({ connectionId, metadata }: SoraMembers.Member<Profile>) =>
  Option.match(metadata, { onNone: () => connectionId, onSome: ({ nickname }) => nickname })

const roster = SoraMembers.changes(Profile).pipe(
  Stream.runForEach((members) => Effect.logInfo("here are", ...Array.from(members.values(), nicknameOf)))
)

const receiveLow = ({ connectionId }: SoraMembers.Member<Profile>) =>
  SoraRpc.requestSimulcastRid({ rid: "r0", senderConnectionId: connectionId }).pipe(
    Effect.andThen(Effect.logInfo("low layer of", connectionId)),
    // Such as of somebody who has left again: no reason to leave the others.
    Effect.catch(({ message }) => Effect.logWarning("no low layer of", connectionId, message))
  )

/** Of everybody, and then of who joins, those that may send; with each connection anew. */
const moderate = SoraMembers.joins(Profile).pipe(
  Stream.filter(({ role }) => role !== "recvonly"),
  Stream.mapEffect(receiveLow, { concurrency: 8 }),
  Stream.runDrain
)

/** Runs until the connection has ended for good. */
export const bot = Effect.all([roster, moderate], { concurrency: "unbounded", discard: true })
