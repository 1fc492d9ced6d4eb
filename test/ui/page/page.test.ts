/**
 * What the page knows without a browser: its history, its forms, its calls as
 * code.
 */
import { assert, describe, it } from "@effect/vitest"
import { SoraMethod } from "effect-sora-rpc"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Format from "../../../src/cli/recording/format.ts"
import { type Field, formOf } from "../../../src/ui/internal/form.ts"
import type { Entry, Message } from "../../../src/ui/internal/protocol.ts"
import { BadDraft, empty, fromJson, toJson } from "../../../src/ui/page/drafts.ts"
import { History, MaxCharacters, MaxEntries, noFilter } from "../../../src/ui/page/history.ts"
import { asCode, asCommand, callables } from "../../../src/ui/page/methods.ts"
import { readingOf } from "../../../src/ui/page/reading.ts"
import { recordingOf } from "../../../src/ui/page/recording.ts"
import { languages } from "../../../src/ui/page/texts.ts"

const message = (seq: number, more: Partial<Message> = {}): Message => ({
  _tag: "Message",
  seq,
  at: seq,
  line: 1,
  direction: "received",
  transport: "datachannel",
  label: "rpc",
  name: "m",
  error: false,
  text: "{}",
  ...more
})

const opened: Entry = {
  _tag: "Opened",
  seq: 2,
  at: 2,
  line: 1,
  connectionId: "CONNECTION",
  clientId: "CLIENT",
  channelId: "lobby",
  role: "sendrecv"
}

describe("history", () => {
  it("keeps so many messages and no more, of the timeline and of what is shown", () => {
    const history = new History()
    for (let i = 0; i < MaxEntries * 2.5; i += 1000) {
      history.add(
        Array.from({ length: 1000 }, (_, j) => message(i + j + 1, j % 2 === 1 ? { replyTo: i + j } : {})),
        0
      )
    }
    assert.isAtMost(history.count, MaxEntries)
    assert.isAtLeast(history.count, MaxEntries * 0.9)
    assert.strictEqual(history.shown.length, history.count)
    assert.strictEqual(history.shown[0]!.seq, MaxEntries * 2.5 - history.count + 1)
    const last = history.find(MaxEntries * 2.5)!
    assert.strictEqual(history.requestOf(last)!.seq, last.seq - 1)
    assert.strictEqual(history.responseTo(history.requestOf(last)!), last)
    assert.isUndefined(history.find(1))
  })

  it("keeps so many characters and no more", () => {
    const history = new History()
    const text = "x".repeat(1024 * 1024)
    for (let i = 1; i <= 200; i++) history.add([message(i, { text })], 0)
    assert.isAtMost(history.characters, MaxCharacters)
    assert.isAtLeast(history.count, 50)
  })

  it("shows what the filter lets through, the messages before the ids too", () => {
    const history = new History()
    const connect = message(1, { transport: "websocket", name: "connect" })
    delete (connect as { label?: string }).label
    history.filter({ ...noFilter, connection: "CLIENT" })
    history.add([connect], 0)
    assert.lengthOf(history.shown, 0)
    history.add([opened, message(3, { line: 2, connectionId: "OTHER", channelId: "elsewhere" })], 0)
    assert.deepStrictEqual(history.shown.map(({ seq }) => seq), [1, 2])
    history.filter({ ...noFilter, label: "websocket" })
    assert.deepStrictEqual(history.shown.map(({ seq }) => seq), [1])
    history.filter({ ...noFilter, name: "CONN" })
    assert.deepStrictEqual(history.shown.map(({ seq }) => seq), [1])
    history.filter({ ...noFilter, errorsOnly: true })
    assert.lengthOf(history.shown, 0)
    history.filter({ ...noFilter, connection: "elsewhere" })
    assert.deepStrictEqual(history.shown.map(({ seq }) => seq), [3])
  })

  it("is not looked through for connections that are not asked for", () => {
    const history = new History()
    history.filter({ ...noFilter, connection: "OTHER" })
    history.add([message(1)], 0)
    const { shown } = history
    history.add([opened], 0)
    assert.strictEqual(history.shown, shown)
  })

  it("counts what was lost, but not what was before it", () => {
    const history = new History()
    history.add([message(100)], 99)
    assert.strictEqual(history.lost, 0)
    history.add([message(111)], 10)
    assert.strictEqual(history.lost, 10)
  })
})

const texts = languages.en

describe("forms", () => {
  const Everything = Schema.Struct({
    text: Schema.String,
    count: Schema.Int,
    ratio: Schema.optionalKey(Schema.Finite),
    flag: Schema.optionalKey(Schema.Boolean),
    color: Schema.Literals(["red", "green", 7]),
    nested: Schema.optionalKey(Schema.Struct({ a: Schema.String, b: Schema.optional(Schema.String) })),
    list: Schema.Array(Schema.Struct({ x: Schema.Int })),
    any: Schema.Json,
    record: Schema.optionalKey(Schema.Record(Schema.String, Schema.Int))
  })
  const form = formOf(Everything, "type")!

  it("have a field for each member, and JSON where there is none", () => {
    const tags = Object.fromEntries(
      form._tag === "Group" ? form.members.map(({ field, name, optional }) => [name, [field._tag, optional]]) : []
    )
    assert.deepStrictEqual(tags, {
      text: ["Text", false],
      count: ["Number", false],
      ratio: ["Number", true],
      flag: ["Boolean", true],
      color: ["Choice", false],
      nested: ["Group", true],
      list: ["List", false],
      any: ["Json", false],
      record: ["Json", true]
    })
    assert.isUndefined(formOf(Schema.Void, "type"))
    assert.deepStrictEqual(formOf(SoraMethod.Struct({ roomId: Schema.String }), "wire"), {
      _tag: "Group",
      members: [{ name: "room_id", optional: false, field: { _tag: "Text" } }]
    })
  })

  it("end in a schema that contains itself", () => {
    interface Tree {
      readonly children: ReadonlyArray<Tree>
    }
    const Tree: Schema.Codec<Tree> = Schema.Struct({ children: Schema.Array(Schema.suspend(() => Tree)) })
    assert.include(JSON.stringify(formOf(Tree, "type")), "Json")
  })

  const value = {
    text: "",
    count: 3,
    flag: false,
    color: 7,
    nested: { a: "x" },
    list: [{ x: 1 }, { x: 2 }],
    any: { deep: [null] },
    record: { a: 1 }
  }

  it("give what was filled in, and are filled in with what there is", () => {
    assert.deepStrictEqual(toJson(form, fromJson(form, value), texts), value)
    assert.isTrue(Schema.is(Everything)(toJson(form, fromJson(form, value), texts)))
  })

  it("say which member is wrong", () => {
    const issueOf = (change: object) => {
      try {
        toJson(form, { ...(fromJson(form, value) as object), ...change }, texts)
      } catch (error) {
        return error instanceof BadDraft ? error.message : String(error)
      }
      return undefined
    }
    assert.isUndefined(issueOf({}))
    assert.strictEqual(issueOf({ count: "1.5" }), "count is no whole number")
    assert.strictEqual(issueOf({ count: "" }), "count is needed")
    assert.strictEqual(issueOf({ ratio: "x" }), "ratio is no number")
    assert.strictEqual(issueOf({ list: [{ x: "" }] }), "list[0].x is needed")
    assert.strictEqual(issueOf({ any: "{" }), "any is no JSON")
  })

  it("of Sora's methods make params that fit", () => {
    for (const { params } of SoraMethod.known) {
      const form: Field = formOf(params, "type")!
      assert.strictEqual(form._tag, "Group")
      assert.isDefined(empty(form))
    }
  })
})

describe("calls", () => {
  const granted = ["2026.1.0/RequestSimulcastRid", "GetRoomInfo", "example.method"]
  const served = [{ name: "GetRoomInfo", form: { _tag: "Text" } as const }]
  const methods = callables(granted, served)

  it("are of all that is granted, and of Sora's own that is not", () => {
    assert.deepStrictEqual(
      methods.slice(0, 3).map(({ form, granted, known, name }) => [
        name,
        known?.name,
        form?._tag,
        granted
      ]),
      [
        ["2026.1.0/RequestSimulcastRid", "RequestSimulcastRid", "Group", true],
        ["GetRoomInfo", undefined, "Text", true],
        ["example.method", undefined, "Json", true]
      ]
    )
    assert.deepStrictEqual(methods.slice(3).map(({ granted, name }) => [name, granted]), [
      ["2025.2.0/RequestSpotlightRid", false],
      ["2025.2.0/ResetSpotlightRid", false],
      ["2025.2.0/PutSignalingNotifyMetadata", false],
      ["2025.2.0/PutSignalingNotifyMetadataItem", false]
    ])
  })

  it("are written as code and as a command", () => {
    const asked = {
      method: methods[0]!,
      params: { rid: "r1", senderConnectionId: "it's" },
      timeout: 2,
      notification: false
    }
    assert.include(
      asCode(asked),
      "rpc.call(SoraMethod.RequestSimulcastRid, { rid: \"r1\", senderConnectionId: \"it's\" }, { timeout: \"2 seconds\" })"
    )
    const to = {
      signalingUrl: "ws://127.0.0.1:5000/signaling",
      channelId: "a b",
      role: "recvonly",
      simulcast: true,
      spotlight: false
    }
    assert.strictEqual(
      asCommand(asked, to),
      "npx sora-rpc call RequestSimulcastRid '{\"rid\":\"r1\",\"sender_connection_id\":\"it'\\''s\"}' " +
        "--signaling-url ws://127.0.0.1:5000/signaling --channel-id 'a b' --role recvonly --simulcast " +
        "--timeout '2 seconds'"
    )
    // What is sent without being asked for here is asked for: it would be another connection else.
    assert.include(asCommand(asked, { ...to, role: "sendrecv", simulcast: false }), "--role sendrecv --media")
    for (const other of [{ role: "sendrecv" }, { role: "sendonly", simulcast: false }, { simulcast: false }]) {
      assert.notInclude(asCommand(asked, { ...to, ...other }), "--media")
    }
    const own = { method: methods[1]!, params: undefined, timeout: undefined, notification: true }
    assert.include(asCode(own), "rpc.notify(\"GetRoomInfo\")")
    assert.include(asCommand(own, to), "npx sora-rpc notify GetRoomInfo --signaling-url")
  })
})

describe("reading", () => {
  it("decodes signaling and RPC with the schema that it has", () => {
    const connect = readingOf(
      message(1, { label: "signaling", text: "{\"type\":\"connect\",\"role\":\"sendrecv\",\"channel_id\":\"lobby\"}" }),
      undefined
    )
    assert.deepInclude(connect.value, { channelId: "lobby" })
    const misfit = readingOf(message(1, { label: "signaling", text: "{\"type\":\"answer\"}" }), undefined)
    assert.isUndefined(misfit.value)
    assert.include(misfit.issue, "sdp")
    const unknown = readingOf(message(1, { label: "signaling", text: "{\"type\":\"new\"}" }), undefined)
    assert.deepStrictEqual([unknown.value, unknown.issue], [undefined, undefined])
    const request = message(1, {
      name: "2025.2.0/RequestSimulcastRid",
      text:
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"2025.2.0/RequestSimulcastRid\",\"params\":{\"rid\":\"r0\",\"sender_connection_id\":\"S\"}}"
    })
    assert.deepStrictEqual(readingOf(request, undefined).value, { rid: "r0", senderConnectionId: "S" })
    const response = message(2, {
      direction: "sent",
      text:
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"channel_id\":\"c\",\"receiver_connection_id\":\"r\",\"rid\":\"r0\"}}"
    })
    assert.deepInclude(readingOf(response, request).value, { receiverConnectionId: "r" })
    assert.isUndefined(readingOf(response, undefined).value)
    assert.isUndefined(readingOf(message(1, { text: "{" }), undefined).json)
  })
})

describe("recording", () => {
  it.effect("is of the client's side, without metadata and tokens, and can be read", () =>
    Effect.gen(function*() {
      const text = recordingOf([
        message(1, {
          transport: "websocket",
          label: "signaling",
          text: "{\"type\":\"connect\",\"metadata\":{\"access_token\":\"TOP\"},\"x\":{\"credential\":\"SECRET\"}}"
        }),
        opened,
        message(3, { direction: "sent", text: "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}" })
      ])
      const { header, lines } = yield* Format.decode(text)
      assert.deepStrictEqual(header.redacted, ["metadata", "addresses"])
      assert.deepInclude(lines[0], { type: "signaling", direction: "sent", at: 0, transport: "websocket" })
      assert.deepInclude(lines[2], { type: "rpc", direction: "received", at: 2 })
      assert.notMatch(text, /TOP|SECRET/)
    }))

  it("has no token under another name either", () => {
    const token = "TOKENofSOMEBODY"
    const received = (seq: number, text: string, name = "m") => message(seq, { name, text })
    for (const metadata of [{ access_token: token }, token]) {
      const text = recordingOf([
        received(1, JSON.stringify({ type: "connect", metadata }), "connect"),
        received(2, JSON.stringify({ jsonrpc: "2.0", method: "greet", params: { note: `I am ${token}` } })),
        message(3, { label: "push", direction: "sent", text: JSON.stringify({ type: "push", data: { said: token } }) })
      ])
      assert.include(text, "I am [redacted]")
      assert.notInclude(text, token)
    }
  })
})

it("says everything in both languages", () => {
  assert.sameMembers(Object.keys(languages.ja), Object.keys(languages.en))
  for (const text of Object.values(languages.ja)) assert.isNotEmpty(text)
})
