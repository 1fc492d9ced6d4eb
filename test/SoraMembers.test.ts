/** Metadata of the user's own type, of members and of pushes. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Queue, Schema, Stream } from "effect"
import { DisconnectReason, SoraConnection, SoraMembers, SoraMethod, SoraRpc } from "effect-sora-rpc"
import { TestClock } from "effect/testing"

const Profile = Schema.Struct({
  nickname: Schema.String,
  since: Schema.optionalKey(Schema.Date),
  level: Schema.optionalKey(Schema.NumberFromString)
})
const PutProfile = SoraMethod.PutSignalingNotifyMetadata.withMetadata(Profile)
const PutProfileItem = SoraMethod.PutSignalingNotifyMetadataItem.withMetadata(Profile)

const Epoch = new Date(0)

const put = (members: Schema.JsonObject) => ({
  type: "push" as const,
  data: { type: "signaling_notify_metadata_ext", action: "Put", connection_id: "A", ...members }
})

describe("decode", () => {
  const decode = SoraMembers.decode(Profile)

  it("decodes JSON of the schema", () => {
    assert.deepStrictEqual(
      decode({ nickname: "Mika", since: "1970-01-01T00:00:00.000Z", level: "3", unknown: true }),
      Option.some({ nickname: "Mika", since: Epoch, level: 3 })
    )
  })

  it("is none for what does not fit, for nothing, and for a schema that throws", () => {
    for (const json of [undefined, null, [], "Mika", { nickname: 1 }]) {
      assert.deepStrictEqual(decode(json), Option.none())
    }
    const Throws = Schema.String.check(Schema.makeFilter(() => {
      throw new Error("of the user's")
    }))
    assert.deepStrictEqual(SoraMembers.decode(Throws)("text"), Option.none())
  })
})

describe("decodePush", () => {
  const decode = SoraMembers.decodePush(Profile)

  it("decodes metadata and items", () => {
    assert.deepStrictEqual(
      decode(put({ metadata: { nickname: "Mika", level: "1" } })),
      Option.some({ _tag: "Metadata", connectionId: "A", metadata: { nickname: "Mika", level: 1 } })
    )
    assert.deepStrictEqual(
      decode(put({ key: "since", value: "1970-01-01T00:00:00.000Z" })),
      Option.some({ _tag: "MetadataItem", connectionId: "A", key: "since", value: Epoch })
    )
  })

  it("is none for any other push, and for what does not fit", () => {
    for (
      const data of [
        null,
        "text",
        { metadata: { nickname: "Mika" } },
        put({}).data,
        put({ metadata: { nickname: 1 } }).data,
        put({ key: "nickname", value: 1 }).data,
        put({ key: "toString", value: "x" }).data,
        put({ key: "nickname" }).data
      ]
    ) assert.deepStrictEqual(decode({ type: "push", data }), Option.none())
  })

  it("has no items where the schema is no struct", () => {
    const decode = SoraMembers.decodePush(Schema.Array(Schema.String))
    assert.deepStrictEqual(
      decode(put({ metadata: ["a"] })),
      Option.some({
        _tag: "Metadata" as const,
        connectionId: "A",
        metadata: ["a"]
      })
    )
    assert.deepStrictEqual(decode(put({ key: "0", value: "a" })), Option.none())
  })
})

describe("of a connection", () => {
  it.effect("what withMetadata encodes comes back as it was, as a member's and as a push", () =>
    Effect.gen(function*() {
      const rpc = yield* SoraRpc.SoraRpc
      const sora = yield* SoraConnection.TestSora
      const odd = yield* sora.join({ metadata: { nickname: ["odd"] } })
      const metadata = { nickname: "Mika", since: Epoch, level: 2 }
      yield* rpc.call(PutProfile, { metadata, push: true })
      yield* rpc.call(PutProfileItem, { key: "level", value: 3, push: true })
      const self = (yield* SoraConnection.SoraConnection.use(({ offer }) => offer)).connectionId
      const [first, second] = yield* Stream.runCollect(Stream.take(SoraMembers.pushes(Profile), 2))
      assert.deepStrictEqual(first, { _tag: "Metadata", connectionId: self, metadata })
      assert.deepStrictEqual(second, { _tag: "MetadataItem", connectionId: self, key: "level", value: 3 })
      const members = yield* SoraMembers.get(Profile)
      assert.deepStrictEqual(members.get(self)?.metadata, Option.some({ ...metadata, level: 3 }))
      assert.isTrue(members.get(self)?.isSelf)
      // One whose metadata does not fit is there all the same.
      assert.deepInclude(members.get(odd), {
        isSelf: false,
        metadata: Option.none(),
        metadataJson: { nickname: ["odd"] }
      })
      const now = yield* Stream.runHead(SoraMembers.changes(Profile))
      assert.deepStrictEqual(now, Option.some(members))
    }).pipe(Effect.provide(SoraConnection.layerTest({
      handlers: [
        SoraMethod.handle(
          SoraMethod.PutSignalingNotifyMetadata,
          ({ metadata, push }, { connectionId }) =>
            SoraConnection.TestSora.use((sora) => sora.putMetadata(connectionId, metadata, { push })).pipe(
              Effect.as(metadata)
            )
        ),
        SoraMethod.handle(
          SoraMethod.PutSignalingNotifyMetadataItem,
          ({ key, value }, { connectionId }) =>
            SoraConnection.TestSora.use((sora) =>
              sora.push({
                type: "signaling_notify_metadata_ext",
                action: "PutMetadataItem",
                connection_id: connectionId,
                key,
                value
              })
            ).pipe(Effect.as({ key, value }))
        )
      ]
    }))))

  it.effect("who joins is told once, and everybody again to another connection", () =>
    Effect.gen(function*() {
      const sora = yield* SoraConnection.TestSora
      const told = yield* Queue.unbounded<string>()
      const mika = yield* sora.join({ metadata: { nickname: "Mika" } })
      yield* SoraMembers.joins(Profile).pipe(
        Stream.runForEach(({ connectionId }) => Queue.offer(told, connectionId)),
        Effect.forkScoped
      )
      assert.strictEqual(yield* Queue.take(told), mika)
      // What changes of somebody is no news of who is there.
      yield* sora.putMetadata(mika, { nickname: "Mika M." }, { push: true })
      const ren = yield* sora.join()
      assert.strictEqual(yield* Queue.take(told), ren)
      yield* sora.leave(ren)

      yield* sora.disconnect(new DisconnectReason.SocketLost({}))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Queue.take(told), mika)
      const aoi = yield* sora.join()
      assert.strictEqual(yield* Queue.take(told), aoi)
      assert.strictEqual(yield* Queue.size(told), 0)
    }).pipe(Effect.provide(SoraConnection.layerTest({ reconnect: true }))))
})
