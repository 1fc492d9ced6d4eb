/**
 * Who is in the channel, against a model: a server whose events come by three
 * ways, each in its own order, and in no order among them.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option, Schema, Stream, Struct } from "effect"
import type { Signaling } from "effect-sora-rpc"
import { TestClock } from "effect/testing"
import * as Members from "../../../src/internal/connection/members.ts"
import type { Member } from "../../../src/internal/connection/model.ts"

const created = (
  connectionId: string,
  members: Partial<typeof Signaling.ConnectionCreated.Type> = {}
): Signaling.Notify => ({ type: "notify", _tag: "connection.created", connectionId, ...members })
const updated = (
  connectionId: string,
  members: Partial<typeof Signaling.ConnectionUpdated.Type> = {}
): Signaling.Notify => ({ type: "notify", _tag: "connection.updated", connectionId, ...members })
const destroyed = (connectionId: string): Signaling.Notify => ({
  type: "notify",
  _tag: "connection.destroyed",
  connectionId
})
const put = (connection_id: string, members: Schema.JsonObject): Signaling.Push => ({
  type: "push",
  data: { type: "signaling_notify_metadata_ext", action: "Put", connection_id, ...members }
})
const offer = (connectionId: string): Signaling.Offer => ({ type: "offer", sdp: "", connectionId, clientId: "me" })

/** A connection that is up before it hears anything. */
const begin = (roster: Members.Roster, connectionId: string) => {
  roster.begin(offer(connectionId))
  roster.up()
}

const entries = (members: ReadonlyMap<string, Member>) => Object.fromEntries(members)

/** Some of one's own choosing, so that they meet: those that are there by number. */
const Who = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))
const Item = { key: Schema.Literals(["a", "b"]), value: Schema.Literals([1, "x", true]) }
const Step = Schema.Union([
  Schema.TaggedStruct("Join", { metadata: Schema.Boolean }),
  Schema.TaggedStruct("Leave", { who: Who }),
  Schema.TaggedStruct("Put", { who: Who, ...Item }),
  Schema.TaggedStruct("PutItem", { who: Who, ...Item }),
  Schema.TaggedStruct("Update", { who: Who }),
  Schema.TaggedStruct("Switch", {}),
  Schema.TaggedStruct("Deliver", { way: Schema.Literals(["websocket", "notify", "push"]) }),
  Schema.TaggedStruct("Reconnect", {})
])
const Steps = Schema.Array(Step).check(Schema.isMinLength(20), Schema.isMaxLength(60))

describe("against a model", () => {
  it.effect.prop(
    "whatever overtakes what, it is who is there in the end",
    [Steps],
    ([steps]) =>
      Effect.gen(function*() {
        const roster = yield* Members.make
        const there = new Map<string, Member>()
        let count = 0
        let self = ""
        let isSwitched = false
        let ways: Record<"websocket" | "notify" | "push", Array<() => void>>
        const heard = new Set<string>()
        const notify = (event: Signaling.Notify) =>
          ways[isSwitched ? "notify" : "websocket"].push(() => {
            roster.notify(event)
            if (event._tag !== "connection.created") return
            for (const { connectionId } of [event, ...(event.data ?? [])]) heard.add(connectionId!)
          })
        // Pushes keep their order: one that overtakes another when signaling moves cannot be told from it.
        const push = (push: Signaling.Push) => ways.push.push(() => roster.push(push))

        const connect = () => {
          there.delete(self)
          self = `ME${count++}`
          isSwitched = false
          ways = { websocket: [], notify: [], push: [] }
          heard.clear()
          roster.begin(offer(self))
          roster.up()
          const data = Array.from(there.values(), Struct.omit(["isSelf", "role"]))
          there.set(self, { connectionId: self, isSelf: true, clientId: "me", role: "sendrecv" })
          notify(created(self, { clientId: "me", role: "sendrecv", data }))
        }
        const someone = (who: number): Member | undefined => [...there.values()][who % there.size]
        const set = (member: Member | undefined, metadata: Schema.JsonObject, told: Schema.JsonObject) => {
          if (member === undefined) return
          there.set(member.connectionId, { ...member, metadata })
          push(put(member.connectionId, told))
        }

        connect()
        for (const step of steps) {
          switch (step._tag) {
            case "Join": {
              const connectionId = `C${count++}`
              const metadata = step.metadata ? { metadata: { a: 0 } } : {}
              there.set(connectionId, { connectionId, isSelf: false, role: "recvonly", ...metadata })
              notify(created(connectionId, { role: "recvonly", ...metadata }))
              break
            }
            case "Leave": {
              const member = someone(step.who)
              if (member === undefined || member.isSelf) break
              there.delete(member.connectionId)
              notify(destroyed(member.connectionId))
              break
            }
            case "Put": {
              const metadata = { [step.key]: step.value }
              set(someone(step.who), metadata, { metadata })
              break
            }
            case "PutItem": {
              const member = someone(step.who)
              const { key, value } = step
              set(member, { ...(member?.metadata as Schema.JsonObject | undefined), [key]: value }, { key, value })
              break
            }
            case "Update": {
              const member = someone(step.who)
              // It comes a minute and more after its connection.
              if (member === undefined || !heard.has(member.connectionId)) break
              there.set(member.connectionId, { ...member, role: "sendonly" })
              notify(updated(member.connectionId, { role: "sendonly" }))
              break
            }
            case "Switch":
              isSwitched = true
              break
            case "Deliver":
              ways![step.way].shift()?.()
              break
            case "Reconnect":
              connect()
          }
        }
        for (const way of Object.values(ways!)) for (const deliver of way) deliver()
        // Of those of the list no role is told, unless they are updated.
        const withoutRole = (members: ReadonlyMap<string, Member>) =>
          Object.fromEntries(Array.from(members, ([id, member]) => [id, Struct.omit(member, ["role"])]))
        assert.deepStrictEqual(withoutRole(yield* roster.members), withoutRole(there))
        roster.end()
        const last = yield* Stream.runLast(roster.changes)
        assert.deepStrictEqual(Option.map(last, withoutRole), Option.some(withoutRole(there)))
      }),
    { arbitrary: { runs: 1000 } }
  )
})

describe("members", () => {
  it.effect("are those of the list, with oneself", () =>
    Effect.gen(function*() {
      const roster = yield* Members.make
      begin(roster, "ME")
      roster.notify(created("ME", {
        role: "sendonly",
        authnMetadata: 1,
        authzMetadata: 2,
        data: [{ connectionId: "A", clientId: "a", bundleId: "b", metadata: { name: "A" } }, {
          clientId: "without an id"
        }]
      }))
      assert.deepStrictEqual(entries(yield* roster.members), {
        ME: { connectionId: "ME", isSelf: true, clientId: "me", role: "sendonly", authnMetadata: 1, authzMetadata: 2 },
        A: { connectionId: "A", isSelf: false, clientId: "a", bundleId: "b", metadata: { name: "A" } }
      })
    }))

  it.effect("of a connection that is just up are waited for, a second at most", () =>
    Effect.gen(function*() {
      const roster = yield* Members.make
      begin(roster, "ME")
      const waiting = yield* Effect.forkChild(roster.members, { startImmediately: true })
      yield* TestClock.adjust("500 millis")
      assert.isUndefined(waiting.pollUnsafe())
      roster.notify(created("ME", { data: [{ connectionId: "A" }] }))
      assert.deepStrictEqual([...(yield* Fiber.join(waiting)).keys()], ["A", "ME"])
      // No list comes: oneself is there at least.
      begin(roster, "AGAIN")
      const alone = yield* Effect.forkChild(roster.members, { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(entries(yield* Fiber.join(alone)), {
        AGAIN: { connectionId: "AGAIN", isSelf: true, clientId: "me" }
      })
      // It is not waited for twice.
      assert.deepStrictEqual([...(yield* roster.members).keys()], ["AGAIN"])
    }))

  it.effect("are what was last known while there is no connection, whatever an attempt heard", () =>
    Effect.gen(function*() {
      const roster = yield* Members.make
      begin(roster, "ME")
      roster.notify(created("ME", { data: [{ connectionId: "A" }] }))
      roster.down()
      for (const attempt of ["ME2", "ME3"]) {
        assert.deepStrictEqual([...(yield* roster.members).keys()], ["A", "ME"])
        roster.begin(offer(attempt))
        roster.notify(created("B"))
        // Its list came, and it failed after that.
        roster.notify(created(attempt, { data: [] }))
      }
      assert.deepStrictEqual([...(yield* roster.members).keys()], ["A", "ME"])
      // Nor where all was given up.
      roster.end()
      assert.deepStrictEqual([...(yield* roster.members).keys()], ["A", "ME"])
    }))

  it.effect("of a new connection take the place of the old ones, and the stream tells of nothing between", () =>
    Effect.gen(function*() {
      const roster = yield* Members.make
      const seen: Array<ReadonlyArray<string>> = []
      const watcher = yield* roster.changes.pipe(
        Stream.runForEach((members) => Effect.sync(() => seen.push([...members.keys()]))),
        Effect.forkChild({ startImmediately: true })
      )
      const turn = Effect.repeat(Effect.yieldNow, { times: 10 })
      begin(roster, "ME")
      roster.notify(created("ME", { data: [{ connectionId: "A" }] }))
      yield* turn
      // An attempt that fails.
      roster.down()
      roster.begin(offer("FAILED"))
      roster.notify(created("FAILED", { data: [{ connectionId: "C" }] }))
      roster.notify(destroyed("C"))
      yield* turn
      roster.begin(offer("ME2"))
      // Of the new connection, by a way that is faster than the list.
      roster.notify(created("B"))
      yield* turn
      roster.notify(created("ME2", { data: [] }))
      yield* turn
      assert.lengthOf(seen, 1)
      roster.up()
      roster.end()
      yield* Fiber.join(watcher)
      assert.deepStrictEqual(seen, [["A", "ME"], ["B", "ME2"]])
    }))

  it.effect("that were never told of are believed when they are updated, and nothing is told where nothing changes", () =>
    Effect.gen(function*() {
      const roster = yield* Members.make
      begin(roster, "ME")
      roster.notify(created("ME"))
      roster.notify(updated("A", { role: "recvonly", minutes: 1 }))
      const before = yield* roster.members
      assert.deepStrictEqual(before.get("A"), { connectionId: "A", isSelf: false, role: "recvonly" })
      roster.notify(updated("A", { role: "recvonly", minutes: 2 }))
      assert.strictEqual(yield* roster.members, before)
      // Of late, and older than what is known.
      roster.notify(created("A", { role: "sendonly", clientId: "a" }))
      assert.deepStrictEqual((yield* roster.members).get("A"), {
        connectionId: "A",
        isSelf: false,
        role: "recvonly",
        clientId: "a"
      })
      roster.notify(destroyed("A"))
      assert.deepStrictEqual([...(yield* roster.members).keys()], ["ME"])
    }))

  it.effect("ignore pushes of others' making, and such that tell nothing", () =>
    Effect.gen(function*() {
      const roster = yield* Members.make
      begin(roster, "ME")
      roster.notify(created("ME"))
      const before = yield* roster.members
      for (
        const data of [
          null,
          [],
          "text",
          { connection_id: "ME", metadata: 1 },
          { type: "signaling_notify_metadata_ext", metadata: 1 },
          { type: "signaling_notify_metadata_ext", connection_id: "ME" },
          { type: "signaling_notify_metadata_ext", connection_id: "ME", key: 1, value: 2 }
        ]
      ) roster.push({ type: "push", data })
      assert.strictEqual(yield* roster.members, before)
      roster.push(put("ME", { key: "__proto__", value: { a: 1 } }))
      const { metadata } = (yield* roster.members).get("ME")!
      assert.deepStrictEqual(JSON.stringify(metadata), "{\"__proto__\":{\"a\":1}}")
    }))

  it.effect("have one's own metadata where nothing but pushes is told", () =>
    Effect.gen(function*() {
      const roster = yield* Members.make
      begin(roster, "ME")
      roster.push(put("ME", { metadata: { a: 1 } }))
      const first = yield* Effect.forkChild(roster.members, { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual((yield* Fiber.join(first)).get("ME")?.metadata, { a: 1 })
      roster.push(put("ME", { key: "b", value: 2 }))
      assert.deepStrictEqual((yield* roster.members).get("ME")?.metadata, { a: 1, b: 2 })
    }))

  it.effect("of a connection that breaks while its list is waited for are those known before", () =>
    Effect.gen(function*() {
      const roster = yield* Members.make
      begin(roster, "ME")
      roster.notify(created("ME", { data: [{ connectionId: "A" }] }))
      begin(roster, "ME2")
      const waiting = yield* Effect.forkChild(roster.members, { startImmediately: true })
      roster.down()
      roster.begin(offer("ME3"))
      yield* TestClock.adjust("1 second")
      assert.hasAllKeys(entries(yield* Fiber.join(waiting)), ["A", "ME"])
    }))

  it.effect("who never came and never left are forgotten", () =>
    Effect.gen(function*() {
      const roster = yield* Members.make
      begin(roster, "ME")
      roster.notify(created("ME"))
      for (let i = 0; i < 1000; i++) {
        roster.push(put(`P${i}`, { metadata: i }))
        roster.notify(destroyed(`D${i}`))
      }
      roster.notify(created("P0"))
      roster.notify(created("P999"))
      roster.notify(created("D999"))
      const members = yield* roster.members
      assert.deepStrictEqual([...members.keys()], ["ME", "P0", "P999"])
      assert.isUndefined(members.get("P0")!.metadata)
      assert.strictEqual(members.get("P999")!.metadata, 999)
    }))

  it.effect("may have metadata that is nested as deeply as anybody likes", () =>
    Effect.gen(function*() {
      const roster = yield* Members.make
      const nested = () => JSON.parse("[".repeat(100_000) + "]".repeat(100_000))
      begin(roster, "ME")
      roster.notify(created("ME"))
      roster.notify(updated("A", { metadata: nested() }))
      roster.notify(updated("A", { metadata: nested() }))
      roster.push(put("A", { metadata: nested() }))
      roster.notify(created("B"))
      assert.deepStrictEqual([...(yield* roster.members).keys()], ["ME", "A", "B"])
    }))
})
