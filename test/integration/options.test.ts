/**
 * Options that do not fit are refused before anything is dialled, with one error
 * that names each of them and says nothing of their values.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SoraConnection, SoraRpcMap } from "effect-sora-rpc"
import { NodePeerConnection, NodeSora } from "effect-sora-rpc/node"
import { Socket } from "effect/socket"

const good = { signalingUrls: ["ws://127.0.0.1:1/"], channelId: "test", role: "sendrecv" }

const never = Layer.succeed(Socket.WebSocketConstructor, () => {
  throw new Error("dialled")
})

/** What is said of options that lack a type, as a JavaScript program's may. */
const issueOf = (options: object) =>
  SoraConnection.make({ ...good, ...options } as unknown as SoraConnection.Options).pipe(
    Effect.scoped,
    Effect.provide([NodePeerConnection.layer, never]),
    Effect.flip,
    Effect.map((error) => {
      assert.strictEqual(error.reason._tag, "InvalidOptions")
      assert.isFalse(error.isRetryable)
      assert.notInclude(error.message, "s3cret")
      return error.message.replace(/^bad options: /, "")
    })
  )

describe("options of a connection", () => {
  const duration = "Expected a duration of at least 0, such as \"5 seconds\""
  const cases: ReadonlyArray<readonly [object, string]> = [
    [{ connectTimeout: NaN }, `connectTimeout: ${duration}`],
    [{ connectTimeout: -1, openTimeout: "soon", attemptDelay: null, disconnectTimeout: [1] }, "connectTimeout: "],
    [{ maxInflatedBytes: 0 }, "maxInflatedBytes: Expected a whole number of at least 1"],
    [{ reconnect: 5 }, "reconnect: Expected true, false or a Schedule"],
    [{ retryConnect: "yes" }, "retryConnect: Expected true, false or a Schedule"],
    [{ conectTimeout: "s3cret" }, "conectTimeout: there is no option of this name"],
    [{ type: "s3cret" }, "type: it is set by this library"],
    [{ audio: { codecTipe: "OPUS" } }, "audio.codecTipe: there is no option of this name"],
    [{ audio: { opusParams: { stereo: "s3cret" } } }, "audio.opusParams.stereo: Expected boolean"],
    [{ video: { h265Params: { levelId: "s3cret" } } }, "video.h265Params.levelId: Expected number"],
    [
      { forwardingFilters: [{ rules: [[{ field: "kind", operator: "in", values: [] }]] }] },
      "forwardingFilters.0.rules"
    ],
    [{ signalingUrls: "ws://127.0.0.1/" }, "signalingUrls: Expected array"],
    [{ signalingUrls: [] }, "signalingUrls: it is empty; give at least one ws:// or wss:// URL"],
    [{ signalingUrls: ["s3cret"] }, "signalingUrls.0: no URL; give ws:// or wss:// URLs"],
    [
      { signalingUrls: ["https://s3cret/"] },
      "signalingUrls.0: a https: URL; Sora is signaled with over ws:// or wss://"
    ],
    [{ signalingUrls: ["ws://h/#s3cret"] }, "signalingUrls.0: a URL with a fragment, which a WebSocket does not take"],
    [{ channelId: "" }, "channelId: it is empty"],
    [{ channelId: undefined }, "channelId: Expected string"],
    [{ headers: { a: "s3cret\r\nb: c" } }, "headers: Expected an object of HTTP header names"],
    [{ headers: { "s3cret\n": "b" } }, "headers: Expected an object of HTTP header names"],
    [{
      headers: {
        get a() {
          throw new Error("s3cret")
        }
      }
    }, "they cannot be read"],
    [
      { metadata: Redacted.make(() => "s3cret") },
      "metadata: Expected a JSON value, a Redacted one, or an Effect of one"
    ],
    [{ media: {} }, "media: Expected a MediaStream"],
    [{ dataChannels: [{ label: "chat", direction: "sendrecv" }] }, "dataChannels: a label must be # and 2 to 31"],
    [
      { dataChannels: [{ label: "#chat", direction: "sendrecv" }, { label: "#chat", direction: "sendonly" }] },
      "dataChannels: two of them have the same label"
    ]
  ]
  for (const [options, says] of cases) {
    it.effect(says, () =>
      Effect.map(issueOf(options), (issue) => {
        assert.isTrue(issue.startsWith(says), issue)
        for (const name of Object.keys(options)) if (says !== "they cannot be read") assert.include(issue, name)
      }))
  }

  it.effect("those of a map", () =>
    Effect.gen(function*() {
      for (const map of [{ idleTimeToLive: -1 }, { idleTimeToLife: "1 second" }]) {
        const { message } = yield* Effect.flip(Effect.scoped(Layer.build(NodeSora.layerMap(good as never, map as {}))))
        assert.match(message, /^bad options: idleTimeToLi[vf]e: /)
      }
      const { message } = yield* Effect.flip(Effect.scoped(SoraRpcMap.make({} as SoraRpcMap.Options)))
      assert.strictEqual(message, "bad options: lookup: Missing key")
    }))

  it.effect("of a map of connections, those of the connection", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        Layer.build(SoraRpcMap.get("lobby")).pipe(
          Effect.scoped,
          Effect.provide(NodeSora.layerMap({ ...good, typo: 1 } as never))
        )
      )
      assert.strictEqual(error.message, "bad options: typo: there is no option of this name")
    }))
})
