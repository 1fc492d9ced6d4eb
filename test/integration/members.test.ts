/**
 * Who is in the channel, over real WebRTC: the development server tells of it
 * as Sora does, with its metadata extension on and off.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { SoraConnection, SoraMembers, SoraMethod } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import { connect, first } from "../utils/connect.ts"

type Client = Effect.Success<ReturnType<typeof connect>>

const Profile = Schema.Struct({ name: Schema.String, mood: Schema.optionalKey(Schema.String) })
const Put = SoraMethod.PutSignalingNotifyMetadata.withMetadata(Profile)
const PutItem = SoraMethod.PutSignalingNotifyMetadataItem.withMetadata(Profile)

/** Names by client id, with what each is said to have as metadata, and who is oneself. */
const view = (members: SoraConnection.Members) =>
  Object.fromEntries(
    Array.from(members.values(), ({ clientId, isSelf, metadata }) => [
      isSelf ? `${clientId} (self)` : clientId,
      metadata
    ])
  )

/** Waits until a client sees it so; what it saw last is in the failure. */
const sees = (client: Client, expected: Record<string, unknown>) =>
  Effect.gen(function*() {
    let last: unknown
    yield* first(client.connection.memberChanges, (members) => {
      last = view(members)
      return JSON.stringify(sorted(last)) === JSON.stringify(sorted(expected))
    }).pipe(Effect.catchCause(() => Effect.sync(() => assert.deepStrictEqual(last, expected))))
    assert.deepStrictEqual(view(yield* client.connection.members), expected)
  })

const sorted = (object: any) => Object.entries(object).toSorted(([a], [b]) => a < b ? -1 : 1)

describe("members", () => {
  it.live("joined late, with metadata put by RPC, and after a reconnect", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const join = (clientId: string, options: object = {}) =>
        connect({ url: server.url, clientId, reconnect: true, ...options })
      const alice = yield* join("alice", { signalingNotifyMetadata: { from: "connect" } })
      yield* sees(alice, { "alice (self)": undefined })
      yield* alice.rpc.call(Put, { metadata: { name: "Alice" }, push: true })
      yield* sees(alice, { "alice (self)": { name: "Alice" } })
      // A late one finds it in the list, and is told of what comes after.
      const bob = yield* join("bob")
      yield* sees(bob, { alice: { name: "Alice" }, "bob (self)": undefined })
      yield* alice.rpc.call(PutItem, { key: "mood", value: "busy", push: true })
      const carol = yield* join("carol", { role: "recvonly" })
      for (const [client, self] of [[alice, "alice"], [bob, "bob"], [carol, "carol"]] as const) {
        const all = { alice: { name: "Alice", mood: "busy" }, bob: undefined, carol: undefined }
        yield* sees(
          client,
          Object.fromEntries(
            Object.entries(all).map(([name, metadata]) => [name === self ? `${name} (self)` : name, metadata])
          )
        )
      }
      const { authnMetadata, authzMetadata, connectionId, isSelf, role } = Array.from(
        (yield* bob.connection.members).values()
      ).find(({ clientId }) => clientId === "alice")!
      assert.deepStrictEqual({ authnMetadata, authzMetadata, role, isSelf }, {
        authnMetadata: { from: "connect" },
        authzMetadata: undefined,
        role: undefined,
        isSelf: false
      })
      assert.strictEqual(connectionId, (yield* alice.connection.offer).connectionId)
      assert.deepInclude(
        Array.from((yield* bob.connection.members).values()).find(({ clientId }) => clientId === "carol"),
        { role: "recvonly" }
      )

      // Bob's connection dies; while it is made again carol leaves, and dave comes.
      const before = (yield* bob.connection.offer).connectionId
      yield* server.inject(before, "killSocket")
      yield* first(bob.connection.changes, ({ _tag }) => _tag === "Reconnecting")
      yield* carol.close
      yield* join("dave")
      yield* first(bob.connection.changes, ({ _tag }) => _tag === "Connected")
      const others = { alice: { name: "Alice", mood: "busy" }, dave: undefined }
      yield* sees(bob, { ...others, "bob (self)": undefined })
      const { connectionId: after } = yield* bob.connection.offer
      assert.notStrictEqual(after, before)
      assert.isTrue((yield* bob.connection.members).get(after)?.isSelf)
      yield* sees(alice, { "alice (self)": { name: "Alice", mood: "busy" }, bob: undefined, dave: undefined })
    }), 30_000)

  it.live(
    "without the metadata extension have the metadata of connect and of the authentication",
    () =>
      Effect.gen(function*() {
        const server = yield* SoraServer.make({
          signalingNotifyMetadataExt: false,
          authenticate: ({ clientId }) =>
            Effect.succeed(clientId === "bob" ? { signalingNotifyMetadata: { name: "granted" } } : {})
        })
        const alice = yield* connect({ url: server.url, clientId: "alice", signalingNotifyMetadata: { name: "Alice" } })
        const bob = yield* connect({ url: server.url, clientId: "bob", signalingNotifyMetadata: { name: "Bob" } })
        yield* sees(alice, { "alice (self)": { name: "Alice" }, bob: { name: "granted" } })
        yield* sees(bob, { alice: { name: "Alice" }, "bob (self)": { name: "granted" } })
        const own = (yield* bob.connection.members).get((yield* bob.connection.offer).connectionId)
        assert.deepInclude(own, { authnMetadata: { name: "Bob" }, authzMetadata: { name: "granted" } })
        const profiles = yield* SoraMembers.get(Profile).pipe(
          Effect.provideService(SoraConnection.SoraConnection, alice.connection)
        )
        assert.sameDeepMembers(Array.from(profiles.values(), ({ metadata }) => metadata), [
          Option.some({ name: "Alice" }),
          Option.some({ name: "granted" })
        ])
      }),
    30_000
  )

  it.live("do not have those of the own bundle, whose pushes come nevertheless", () =>
    Effect.gen(function*() {
      const server = yield* SoraServer.make()
      const join = (clientId: string, bundleId: string) => connect({ url: server.url, clientId, bundleId })
      const camera = yield* join("camera", "alice")
      const screen = yield* join("screen", "alice")
      const bob = yield* join("bob", "bob")
      yield* screen.rpc.call(Put, { metadata: { name: "Screen" }, push: true })
      yield* sees(bob, { camera: undefined, screen: { name: "Screen" }, "bob (self)": undefined })
      yield* first(camera.connection.push, () => true)
      yield* sees(camera, { "camera (self)": undefined, bob: undefined })
      yield* sees(screen, { "screen (self)": { name: "Screen" }, bob: undefined })
      assert.deepStrictEqual(
        Array.from((yield* bob.connection.members).values(), ({ bundleId }) => bundleId).toSorted(),
        ["alice", "alice", "bob"]
      )
      yield* screen.close
      yield* sees(bob, { camera: undefined, "bob (self)": undefined })
    }), 30_000)
})
