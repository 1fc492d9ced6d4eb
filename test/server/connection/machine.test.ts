/**
 * What a connection does on the server, driven by events alone: no WebRTC, no
 * WebSocket, no clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import * as Machine from "../../../src/server/internal/connection/machine.ts"
import {
  type Command,
  type Event,
  isBusy,
  type Offered,
  type Task
} from "../../../src/server/internal/connection/state.ts"

const task: Task = { connectTimeout: Duration.seconds(30), switchOrder: "after-open", recvonlyWithoutMedia: false }

/** A machine that runs, and what it wants. */
const running = (more: Partial<Task> = {}) => {
  const own = { ...task, ...more }
  let [state] = Machine.start(own)
  return {
    post: (...events: ReadonlyArray<Event>): ReadonlyArray<Command> =>
      events.flatMap((event) => {
        const [next, commands] = Machine.step(own, state, event)
        state = next
        return commands
      }),
    state: () => state
  }
}

const tags = (commands: ReadonlyArray<Command>) => commands.map(({ _tag }) => _tag)

const endOf = (commands: ReadonlyArray<Command>) =>
  commands.flatMap((command) => command._tag === "End" ? `${command.by.code} ${command.by.reason}`.trim() : [])

const text = (message: object) => JSON.stringify(message)
const onSocket = (message: object): Event => ({ _tag: "SocketMessage", text: text(message) })
const onChannel = (label: string, message: object): Event => ({ _tag: "ChannelMessage", label, text: text(message) })
const opened = (...labels: ReadonlyArray<string>): ReadonlyArray<Event> =>
  labels.map((label) => ({ _tag: "ChannelOpen", label }))

const connect = onSocket({ type: "connect", role: "sendrecv", channel_id: "lobby" })
const answer = onSocket({ type: "answer", sdp: "SDP" })
const applied: Event = { _tag: "AnswerApplied" }
const up: Event = { _tag: "PeerState", state: "connected" }
const socketEnded: Event = { _tag: "SocketEnded" }

const offered = (more: Partial<Offered> = {}): Event => ({
  _tag: "Offered",
  offered: { labels: ["signaling", "stats", "rpc"], ignoreDisconnectWebsocket: false, lifetime: undefined, ...more }
})

/** One that has its offer. */
const withOffer = (more: Partial<Offered> = {}, own: Partial<Task> = {}) => {
  const machine = running(own)
  machine.post(connect, offered(more))
  return machine
}

/** One that has joined and switched. */
const joined = (more: Partial<Offered> = {}) => {
  const machine = withOffer(more)
  machine.post(answer, applied, up, ...opened("signaling", "stats", "rpc"))
  return machine
}

describe("getting there", () => {
  it("a whole connection, in order", () => {
    const machine = running()
    assert.deepStrictEqual(tags(machine.post(connect)), ["Admit"])
    assert.deepStrictEqual(tags(machine.post(offered({ lifetime: Duration.seconds(1) }))), ["Ping", "Wait", "Wait"])
    assert.deepStrictEqual(tags(machine.post(answer)), ["ApplyAnswer"])
    assert.deepStrictEqual(tags(machine.post(applied)), [])
    assert.deepStrictEqual(tags(machine.post(up)), ["Join"])
    assert.deepStrictEqual(tags(machine.post(...opened("rpc"))), ["StartCalls"])
    assert.deepStrictEqual(tags(machine.post(...opened("signaling"))), [])
    assert.deepStrictEqual(tags(machine.post(...opened("stats"))), ["TellSwitched", "Renegotiate"])
  })

  it("what the client says waits while it is admitted, and while its answer is applied", () => {
    const machine = running()
    const isBusyAfter = (event: Event) => {
      machine.post(event)
      return isBusy(machine.state())
    }
    assert.deepStrictEqual([connect, offered(), answer, applied].map(isBusyAfter), [true, false, true, false])
  })

  it("connect comes first of all, and once", () => {
    assert.deepStrictEqual(endOf(running().post(answer)), ["4490 INVALID-MESSAGE"])
    assert.deepStrictEqual(endOf(withOffer().post(connect)), ["4490 INVALID-MESSAGE"])
    // A client that was sent elsewhere may say it again; one that is ignored may not.
    assert.deepStrictEqual(tags(running().post(connect, { _tag: "Redirected" }, connect)), ["Admit", "Admit"])
    const ignored = running()
    ignored.post(connect, { _tag: "Ignored" })
    assert.deepStrictEqual(endOf(ignored.post(connect)), ["4490 INVALID-MESSAGE"])
  })

  it("the channels are not waited for, where they need not be open", () => {
    const machine = withOffer({}, { switchOrder: "before-open" })
    assert.deepStrictEqual(tags(machine.post(answer, applied, up)), [
      "ApplyAnswer",
      "Join",
      "TellSwitched",
      "Renegotiate"
    ])
  })

  it("a channel that the server drops is not waited for", () => {
    const machine = withOffer()
    machine.post(answer, applied, up, ...opened("signaling", "stats"))
    assert.isFalse(machine.state().switched)
    machine.post({ _tag: "ChannelDropped", label: "rpc" })
    assert.isTrue(machine.state().switched)
  })

  it("without DataChannel signaling there is no switch, and media is renegotiated all the same", () => {
    const machine = withOffer({ labels: [] })
    assert.deepStrictEqual(tags(machine.post(answer, applied, up)), ["ApplyAnswer", "Join", "Renegotiate"])
    assert.deepStrictEqual(tags(machine.post({ _tag: "MediaChanged" })), ["Renegotiate"])
  })

  it("media waits for the switch", () => {
    const machine = withOffer()
    assert.deepStrictEqual(tags(machine.post(answer, applied, up, { _tag: "MediaChanged" })), ["ApplyAnswer", "Join"])
  })

  it("media is looked at again when the client is back, and when the channel that offers go over is open", () => {
    assert.deepStrictEqual(tags(joined().post({ _tag: "PeerState", state: "disconnected" }, up)), ["Renegotiate"])
    const early = withOffer({}, { switchOrder: "before-open" })
    early.post(answer, applied, up)
    assert.deepStrictEqual(tags(early.post(...opened("stats", "signaling"))), ["Renegotiate"])
  })

  it("what takes too long", () => {
    const over = (alarm: "Connect" | "Join"): Event => ({ _tag: "TimeOver", alarm })
    assert.deepStrictEqual(endOf(running().post(over("Connect"))), ["4490 TIMEOUT"])
    assert.deepStrictEqual(endOf(withOffer().post(over("Connect"))), [])
    assert.deepStrictEqual(endOf(withOffer().post(over("Join"))), ["4490 TIMEOUT"])
    assert.deepStrictEqual(endOf(joined().post(over("Join"))), [])
  })
})

describe("the end", () => {
  it("of the WebSocket, before the switch and after", () => {
    assert.deepStrictEqual(endOf(running().post(connect, socketEnded)), ["1000"])
    assert.deepStrictEqual(endOf(withOffer().post(socketEnded)), ["1000"])
    assert.deepStrictEqual(tags(joined({ ignoreDisconnectWebsocket: true }).post(socketEnded)), [])
    const bound = joined()
    assert.deepStrictEqual(tags(bound.post(socketEnded)), ["Wait"])
    assert.deepStrictEqual(endOf(bound.post({ _tag: "TimeOver", alarm: "Goodbye" })), ["1000 TYPE-DISCONNECT"])
  })

  it("of a channel, of the peer, of the time", () => {
    assert.deepStrictEqual(endOf(joined().post({ _tag: "ChannelClosed", label: "stats" })), ["4490 INTERNAL-ERROR"])
    for (const state of ["failed", "closed"]) {
      assert.deepStrictEqual(endOf(joined().post({ _tag: "PeerState", state })), ["1000 PEER-GONE"])
    }
    assert.deepStrictEqual(endOf(joined().post({ _tag: "PeerState", state: "disconnected" })), [])
    assert.deepStrictEqual(endOf(joined().post({ _tag: "TimeOver", alarm: "Lifetime" })), ["1000 LIFETIME-EXPIRED"])
  })
})

describe("messages", () => {
  it("each label takes its own", () => {
    const stats = { type: "stats", reports: [] }
    const candidate = { type: "candidate", candidate: "c" }
    const taken = (label: string, message: object) => endOf(joined().post(onChannel(label, message))).join() || "taken"
    assert.deepStrictEqual([taken("stats", stats), taken("signaling", candidate)], ["taken", "taken"])
    for (const [label, message] of [["stats", candidate], ["signaling", stats], ["notify", candidate]] as const) {
      assert.strictEqual(taken(label, message), "4490 INTERNAL-ERROR", label)
    }
    assert.strictEqual(taken("signaling", { type: "disconnect" }), "1000 TYPE-DISCONNECT")
    assert.deepStrictEqual(endOf(joined().post({ _tag: "ChannelMessage", label: "stats", text: "?" })), [
      "4490 INTERNAL-ERROR"
    ])
    assert.deepStrictEqual(endOf(joined().post({ _tag: "SocketMessage", text: "?" })), ["4490 INVALID-MESSAGE"])
  })

  it("so many candidates, and not one more", () => {
    const machine = withOffer()
    const candidates = Array.from({ length: 256 }, () => onSocket({ type: "candidate", candidate: "c" }))
    assert.deepStrictEqual(endOf(machine.post(...candidates)), [])
    assert.deepStrictEqual(endOf(machine.post(candidates[0]!)), ["4490 INVALID-MESSAGE"])
  })

  it("an answer to no offer", () => {
    const ignored = running()
    ignored.post(connect, { _tag: "Ignored" })
    assert.deepStrictEqual(tags(ignored.post(onSocket({ type: "re-answer", sdp: "" }))), [])
    assert.deepStrictEqual(endOf(ignored.post(answer)), ["4490 INVALID-MESSAGE"])
  })

  it("a pong may bring statistics", () => {
    const pong = (more: object) => tags(joined().post(onSocket({ type: "pong", ...more })))
    assert.deepStrictEqual([pong({}), pong({ stats: [] })], [["Pong"], ["Pong", "Statistics"]])
  })
})
