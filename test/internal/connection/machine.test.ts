/**
 * What a connection does, driven by events alone: no WebRTC, no WebSocket, no
 * clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Schema } from "effect"
import { DisconnectReason, SoraConnectionError } from "effect-sora-rpc"
import * as Machine from "../../../src/internal/connection/machine.ts"
import type { Command, Event, State, Task } from "../../../src/internal/connection/state.ts"

const task: Task = {
  urls: ["wss://a.example.com/signaling", "wss://b.example.com/signaling"],
  connect: { type: "connect", role: "sendrecv", channelId: "lobby" },
  labels: ["#chat"],
  connectTimeout: Duration.seconds(30),
  timeLeft: Duration.seconds(20),
  disconnectTimeout: Duration.seconds(3)
}

/** A machine that runs: what it has wanted so far, and where it stands. */
const running = () => {
  let [state, first] = Machine.start(task)
  const commands: Array<Command> = [...first]
  const post = (...events: ReadonlyArray<Event>): ReadonlyArray<Command> => {
    const wanted: Array<Command> = []
    for (const event of events) {
      const [next, more] = Machine.step(task, state, event)
      state = next
      wanted.push(...more)
    }
    commands.push(...wanted)
    return wanted
  }
  return {
    post,
    state: (): State => state,
    phase: () => state.phase._tag,
    of: <T extends Command["_tag"]>(tag: T) =>
      commands.filter((command): command is Extract<Command, { _tag: T }> => command._tag === tag)
  }
}

const offer = (members: object = {}) =>
  JSON.stringify({
    type: "offer",
    sdp: "SDP",
    connection_id: "ME",
    data_channels: ["signaling", "notify", "rpc", "#chat"].map((label) => ({ label, direction: "sendrecv" })),
    rpc_methods: ["m"],
    ...members
  })

const message = (text: string | object, node = 0): Event => ({
  _tag: "SocketMessage",
  node,
  text: typeof text === "string" ? text : JSON.stringify(text)
})
const onChannel = (label: string, text: object): Event => ({
  _tag: "ChannelMessage",
  label,
  text: JSON.stringify(text)
})
const socketOpen = (node = 0, url = task.urls[0]!): Event => ({ _tag: "SocketOpen", node, url })
const answered: Event = { _tag: "Answered", to: { type: "offer", sdp: "SDP", way: "websocket" }, sdp: "ANSWER" }
const peer = (state: string): Event => ({ _tag: "PeerState", state })
const channels = ["signaling", "notify", "rpc", "#chat"]
const added = channels.map((label): Event => ({ _tag: "Channel", label, is: "connecting" }))
const open = (label: string): Event => ({ _tag: "Channel", label, is: "open" })
const closed = (label: string): Event => new DisconnectReason.ChannelClosed({ label })
const lost = new DisconnectReason.SocketLost({})
const socketEnded = (reason: DisconnectReason.ServerClosed | DisconnectReason.SocketLost = lost, node = 0): Event => ({
  _tag: "SocketEnded",
  node,
  reason,
  invalid: undefined
})

const joining = [socketOpen(), message(offer()), answered, ...added]
const connected = [...joining, peer("connected"), ...channels.map(open)]
const switched = { type: "switched", ignore_disconnect_websocket: true }

const sent = (commands: ReadonlyArray<Command>) =>
  commands.filter((command) => command._tag === "Send").map(({ message, ways }) => [message.type, ways] as const)
const signaling = { label: "signaling" }

describe("getting there", () => {
  it("gives up when what is left of the time is over, and says what all of it was", () => {
    const it = running()
    const [wait] = it.of("Wait")
    assert.strictEqual(Duration.toSeconds(wait!.duration), 20)
    it.post(wait!.event)
    const { error } = it.of("End")[0]!
    assert.isTrue(error._tag === "ConnectTimeout" && Duration.toSeconds(error.timeout) === 30)
  })

  it("dials, says connect, answers, and is ready when what the offer promises is open", () => {
    const it = running()
    assert.deepStrictEqual(it.of("Dial").map(({ node, urls }) => [node, urls]), [[0, task.urls]])
    assert.strictEqual(it.phase(), "Dialling")
    assert.deepStrictEqual(sent(it.post(socketOpen())), [["connect", ["websocket"]]])
    assert.strictEqual(it.phase(), "AwaitingOffer")
    it.post(message(offer()))
    assert.strictEqual(it.of("Answer")[0]!.to.sdp, "SDP")
    assert.strictEqual(it.phase(), "Negotiating")
    assert.deepStrictEqual(sent(it.post(answered)), [["answer", ["websocket"]]])
    it.post(...added, peer("connected"), open("signaling"), open("notify"), open("#chat"))
    assert.strictEqual(it.phase(), "Joining")
    it.post(open("rpc"))
    assert.strictEqual(it.phase(), "Connected")
    assert.strictEqual(it.of("Ready")[0]!.offer.connectionId, "ME")
    assert.deepStrictEqual(it.state().rpcMethods, ["m"])
  })

  it("waits for the application's own channel, whatever opens first", () => {
    const it = running()
    it.post(...joining, open("rpc"), open("signaling"))
    assert.strictEqual(it.phase(), "Joining")
    it.post(open("#chat"))
    assert.strictEqual(it.phase(), "Connected")
  })

  it("without an rpc channel it waits for signaling, and without any for the peer", () => {
    const it = running()
    const data_channels = [{ label: "signaling", direction: "sendrecv" }]
    it.post(socketOpen(), message(offer({ data_channels })), answered, {
      _tag: "Channel",
      label: "signaling",
      is: "connecting"
    })
    it.post(open("signaling"))
    assert.strictEqual(it.phase(), "Connected")
    const bare = running()
    bare.post(socketOpen(), message(offer({ data_channels: [] })), answered)
    assert.strictEqual(bare.phase(), "Joining")
    bare.post(peer("connected"))
    assert.strictEqual(bare.phase(), "Connected")
  })

  it("keeps candidates until the answer is sent, and sends each once, in order", () => {
    const it = running()
    const candidate = (candidate: string): Event => ({ _tag: "Candidate", candidate: { type: "candidate", candidate } })
    it.post(socketOpen(), message(offer()), candidate("1"), candidate("2"))
    assert.isEmpty(it.of("Send").filter(({ message }) => message.type === "candidate"))
    it.post(answered, candidate("3"))
    assert.deepStrictEqual(
      it.of("Send").map(({ message }) => message.type === "candidate" ? message.candidate : message.type),
      ["connect", "answer", "1", "2", "3"]
    )
  })

  it("follows a redirect, of a socket only the first, and says so to the new node", () => {
    const it = running()
    it.post(socketOpen())
    const redirect = (location: string) => message({ type: "redirect", location })
    it.post(redirect("wss://c.example.com/"), redirect("wss://d.example.com/"), socketEnded())
    assert.deepStrictEqual(it.of("Dial").map(({ node, urls }) => [node, urls[0]]), [
      [0, task.urls[0]],
      [1, "wss://c.example.com/"]
    ])
    it.post(socketOpen(1, "wss://c.example.com/"))
    assert.deepInclude(it.of("Send").at(-1)!.message, { type: "connect", redirect: true })
    it.post(message(offer(), 1))
    assert.strictEqual(it.phase(), "Negotiating")
  })

  const failures: ReadonlyArray<readonly [string, ReadonlyArray<Event>, error: string]> = [
    ["no URL opens", [{
      _tag: "Failed",
      reason: new SoraConnectionError.Unreachable({ failures: [] })
    }], "Unreachable"],
    ["the server refuses", [
      socketOpen(),
      socketEnded(new DisconnectReason.ServerClosed({ code: 4490, reason: "NO" }))
    ], "Refused"],
    ["the WebSocket is lost", [socketOpen(), socketEnded()], "ConnectionLost"],
    ["what comes is no JSON", [socketOpen(), message("no JSON")], "InvalidMessage"],
    ["what comes is too long", [socketOpen(), message(" ".repeat(5_000_000))], "InvalidMessage"],
    ["the redirect is to no WebSocket", [
      socketOpen(),
      message({ type: "redirect", location: "https://x" })
    ], "InvalidMessage"],
    ["the redirect leaves TLS", [socketOpen(), message({ type: "redirect", location: "ws://x" })], "InvalidMessage"],
    ["the redirect comes before connect", [message({ type: "redirect", location: "wss://x" })], "InvalidMessage"],
    [
      "the redirects do not end",
      Array.from({ length: 12 }, (_, node) => [
        socketOpen(node, "wss://x"),
        message({ type: "redirect", location: "wss://x" }, node)
      ]).flat(),
      "TooManyRedirects"
    ],
    ["the peer fails", [...joining, peer("failed")], "ConnectionLost"],
    ["time is over", [...joining, { _tag: "ConnectOver" }], "ConnectTimeout"],
    ["it is given up", [socketOpen(), new DisconnectReason.Released()], "ConnectionLost"]
  ]
  for (const [name, events, error] of failures) {
    it(`fails with ${error} when ${name}`, () => {
      const it = running()
      it.post(...events)
      assert.deepStrictEqual(it.of("End").map(({ error }) => error._tag), [error])
      assert.isEmpty(it.of("Ready"))
    })
  }

  it("says what it waited for when time is over", () => {
    const waits = (...events: ReadonlyArray<Event>) => {
      const it = running()
      it.post(...events, { _tag: "ConnectOver" })
      return it.of("End")[0]!.error.message
    }
    assert.include(waits(), "a signaling URL to open")
    assert.include(waits(socketOpen()), "the server's offer")
    assert.include(waits(socketOpen(), message(offer())), "the SDP exchange")
    assert.include(waits(...joining), "the WebRTC connection")
  })
})

describe("being there", () => {
  it("gives the WebSocket up when the server allows it and every channel is open", () => {
    const it = running()
    it.post(...joining, message(switched))
    assert.isEmpty(it.of("HangUp"))
    it.post(...channels.map(open))
    assert.lengthOf(it.of("HangUp"), 1)
    assert.isUndefined(it.state().url)
    const kept = running()
    kept.post(...connected, message({ type: "switched" }))
    assert.isEmpty(kept.of("HangUp"))
  })

  it("answers a ping where it came from, with statistics when asked", () => {
    const it = running()
    assert.deepStrictEqual(sent(it.post(...connected, message({ type: "ping" }))).at(-1), ["pong", ["websocket"]])
    it.post(message({ type: "ping", stats: true }), onChannel("stats", { type: "req-stats" }))
    const asked = it.of("CollectStatistics").map(({ type, way }) => ({ type, way }))
    assert.deepStrictEqual(asked, [{ type: "pong", way: "websocket" }, { type: "stats", way: { label: "stats" } }])
    assert.deepStrictEqual(sent(it.post({ _tag: "Statistics", ...asked[1]!, reports: [] })), [
      ["stats", [{ label: "stats" }]]
    ])
  })

  it("answers a re-offer the way it came, or by the way that there is", () => {
    const it = running()
    it.post(...connected, onChannel("signaling", { type: "re-offer", sdp: "AGAIN", rpc_methods: ["n"] }))
    const { to } = it.of("Answer").at(-1)!
    assert.deepStrictEqual(to, { type: "re-offer", sdp: "AGAIN", way: signaling })
    assert.deepStrictEqual(it.state().rpcMethods, ["n"])
    assert.deepStrictEqual(sent(it.post({ _tag: "Answered", to, sdp: "X" })), [["re-answer", [signaling, "websocket"]]])
  })

  it("passes on what it is told, and leaves alone what it does not know", () => {
    const it = running()
    it.post(...connected)
    const told = (text: object) => it.post(onChannel("notify", text)).map(({ _tag }) => _tag)
    assert.deepStrictEqual(told({ type: "notify", event_type: "x" }), ["Message", "Notify"])
    assert.deepStrictEqual(told({ type: "push", data: 1 }), ["Message", "Push"])
    assert.deepStrictEqual(told({ type: "of-next-year" }), ["Message", "Log"])
    assert.deepStrictEqual(told({ type: "close" }), ["Message", "Log"])
    assert.strictEqual(it.phase(), "Connected")
  })

  it("a peer that is disconnected has its time, and another one after it came back", () => {
    const it = running()
    it.post(...connected, peer("disconnected"))
    const { event } = it.of("Wait").at(-1)!
    it.post(peer("connected"), peer("disconnected"), event)
    assert.strictEqual(it.phase(), "Connected")
    it.post(it.of("Wait").at(-1)!.event)
    assert.deepInclude(it.of("End")[0]!.reason, { _tag: "PeerFailed", state: "disconnected" })
  })
})

describe("the end", () => {
  /** Section 2.16: what is said, on which way, in each state. */
  const closeOf1000 = new DisconnectReason.ServerClosed({ code: 1000, reason: "" })
  const needed = [...connected, message({ type: "switched" })]
  const saysClose = { type: "close", code: 1000, reason: "DISCONNECTED-API" }
  const cases: ReadonlyArray<readonly [string, ReadonlyArray<Event>, Event, ReadonlyArray<unknown>]> = [
    ["released before the offer", [socketOpen()], new DisconnectReason.Released(), []],
    ["released", connected, new DisconnectReason.Released(), ["NO-ERROR", "websocket"]],
    ["released, switched", [...connected, message(switched)], new DisconnectReason.Released(), [
      "NO-ERROR",
      signaling,
      "websocket"
    ]],
    ["the WebSocket is lost, not switched", connected, socketEnded(), []],
    ["the WebSocket is lost, switched and needed", [...connected, message({ type: "switched" })], socketEnded(), [
      "WEBSOCKET-ONERROR",
      signaling
    ]],
    [
      "the server closes it, switched and needed",
      [...connected, message({ type: "switched" })],
      socketEnded(closeOf1000),
      [
        "WEBSOCKET-ONCLOSE",
        signaling
      ]
    ],
    ["the server says close on the WebSocket", connected, message(saysClose), []],
    ["the server says close, switched", [...connected, message(switched)], onChannel("signaling", saysClose), []],
    ["the server says close, switched and the WebSocket needed", needed, onChannel("signaling", saysClose), []],
    ["the server says close on the WebSocket, switched and needed", needed, message(saysClose), []],
    ["a channel closes and there is no WebSocket", [...connected, message(switched)], closed("notify"), [
      "NO-ERROR",
      signaling,
      "websocket"
    ]],
    ["the client failed", connected, new DisconnectReason.ClientFault({ cause: new Error("x") }), [
      "INTERNAL-ERROR",
      "websocket"
    ]],
    ["the peer failed", connected, peer("failed"), []]
  ]
  for (const [name, before, event, said] of cases) {
    it(`${name}: says ${said.length === 0 ? "nothing" : String(said[0])}`, () => {
      const it = running()
      it.post(...before)
      const goodbyes = it.post(event).filter((command) => command._tag === "Send")
      assert.deepStrictEqual(
        goodbyes.flatMap((
          { message, ways }
        ) => [message.type === "disconnect" ? message.reason : message.type, ...ways]),
        said
      )
      // Without a goodbye there is nothing to wait for.
      assert.strictEqual(it.phase(), said.length === 0 ? "Ended" : "Ending")
      assert.lengthOf(it.of("End"), 1)
      // The rest of what a server does to end a connection: nothing is said to that either.
      if (said.length > 0) return
      it.post(socketEnded(closeOf1000), ...channels.map(closed))
      assert.deepStrictEqual(it.of("Send").filter(({ message }) => message.type === "disconnect"), [])
      assert.lengthOf(it.of("End"), 1)
      assert.lengthOf(it.of("Release"), 1)
    })
  }

  it("waits until the server has closed everything, and no longer", () => {
    const it = running()
    it.post(...connected, new DisconnectReason.Released(), ...channels.map(closed))
    assert.strictEqual(it.phase(), "Ending")
    it.post(socketEnded())
    assert.strictEqual(it.phase(), "Ended")
    assert.lengthOf(it.of("Release"), 1)
  })

  it("waits no longer than it may: all of it for a connection, a second before there was one", () => {
    const patience = (...events: ReadonlyArray<Event>) => {
      const it = running()
      it.post(...events, new DisconnectReason.Released())
      const wait = it.of("Wait").find(({ event }) => event._tag === "GoodbyeOver")!
      it.post(wait.event)
      assert.strictEqual(it.phase(), "Ended")
      return Duration.toMillis(wait.duration)
    }
    assert.strictEqual(patience(...connected), 3000)
    assert.strictEqual(patience(...joining), 1000)
  })

  it("a channel that closes has half a second to be explained by the WebSocket", () => {
    const it = running()
    it.post(...connected, closed("rpc"))
    assert.strictEqual(it.phase(), "Connected")
    const { duration, event } = it.of("Wait").at(-1)!
    assert.strictEqual(Duration.toMillis(duration), 500)
    const explained = new DisconnectReason.ServerClosed({ code: 4490, reason: "INTERNAL-ERROR" })
    it.post(socketEnded(explained), event)
    assert.deepStrictEqual(it.of("End").map(({ reason }) => reason), [explained])
    const unexplained = running()
    unexplained.post(...connected, closed("rpc"), event)
    assert.deepInclude(unexplained.of("End")[0]!.reason, { _tag: "ChannelClosed", label: "rpc" })
  })

  it("the WebSocket's end is none when the server lets it go", () => {
    const it = running()
    // It went before every channel was open, so by itself.
    it.post(...joining, message(switched), socketEnded(), ...channels.map(open))
    assert.strictEqual(it.phase(), "Connected")
  })
})

describe("under random interleavings", () => {
  const pool: ReadonlyArray<Event> = [
    ...[0, 1, 2].flatMap((node) => [
      socketOpen(node),
      message(offer(), node),
      message({ type: "redirect", location: "wss://next.example.com/" }, node),
      message(switched, node),
      message({ type: "switched" }, node),
      message({ type: "ping", stats: node === 1 }, node),
      message({ type: "re-offer", sdp: "AGAIN" }, node),
      message("no JSON", node),
      socketEnded(lost, node),
      socketEnded(new DisconnectReason.ServerClosed({ code: 1000, reason: "DISCONNECTED-API" }), node)
    ]),
    answered,
    ...added,
    ...channels.flatMap((label) => [open(label), closed(label)]),
    onChannel("signaling", { type: "close", code: 1000 }),
    onChannel("notify", { type: "notify", event_type: "connection.created" }),
    peer("connected"),
    peer("disconnected"),
    peer("failed"),
    { _tag: "Candidate", candidate: { type: "candidate", candidate: "1" } },
    { _tag: "Statistics", type: "pong", way: "websocket", reports: [] },
    { _tag: "Failed", reason: new SoraConnectionError.NegotiationFailed({ step: "createAnswer", cause: new Error() }) },
    { _tag: "ConnectOver" },
    { _tag: "GoodbyeOver" },
    { _tag: "PeerOver", change: 1 },
    {
      _tag: "ReasonOver",
      closed: new DisconnectReason.ChannelClosed({ label: "rpc" })
    },
    new DisconnectReason.Released(),
    new DisconnectReason.ClientFault({ cause: new Error("x") })
  ]
  const Moves = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: pool.length - 1 })))
  /** Mostly what really happens, so that all states are come to. */
  const script = connected

  it.prop("it ends once, lets go once, and wants nothing more", [Moves, Moves], ([early, late]) => {
    const it = running()
    const seen: Array<string> = []
    const post = (event: Event) => {
      const before = it.phase()
      for (const command of it.post(event)) {
        seen.push(command._tag)
        // Nothing but its own state after the end, and after the goodbye only what ends it.
        assert.notStrictEqual(before, "Ended", `${command._tag} after the end`)
        if (before === "Ending") assert.strictEqual(command._tag, "Release")
        if (command._tag === "Answer") assert.isTrue(["Negotiating", "Joining", "Connected"].includes(it.phase()))
        if (command._tag === "Ready") assert.strictEqual(it.state().channels.get("rpc"), "open")
      }
    }
    for (const [i, move] of early.entries()) {
      if (i < script.length) post(script[i]!)
      if (i % 4 === 0) post(pool[move]!)
    }
    for (const move of late) post(pool[move]!)
    const count = (tag: string) => seen.filter((other) => other === tag).length
    assert.isAtMost(count("End"), 1)
    assert.isAtMost(count("Ready"), 1)
    // Whatever happened, it can be released, within its patience.
    post(new DisconnectReason.Released())
    post({ _tag: "GoodbyeOver" })
    assert.strictEqual(it.phase(), "Ended")
    assert.strictEqual(count("End"), 1)
    assert.strictEqual(count("Release"), 1)
    // Candidates are lost to nobody but an end: sent, or kept for the answer.
    for (const event of pool) post(event)
    assert.strictEqual(it.phase(), "Ended")
    return true
  }, { arbitrary: { runs: 1000, size: 60 } })
})
