/**
 * Servers that our client connects to, and should not have.
 */
import { SoraMethod } from "effect-sora-rpc"
import { SoraServer } from "effect-sora-rpc/server"
import * as Effect from "effect/Effect"
import type { RTCDataChannel } from "werift"
import { malformed } from "../../src/server/internal/malformed.ts"
import * as ScriptedPeer from "../../test/utils/scriptedPeer.ts"
import * as ScriptedSora from "../../test/utils/scriptedSora.ts"
import { tcpServer } from "./connecting.ts"
import type { Dice } from "./dice.ts"
import * as Nonsense from "./nonsense.ts"
import { attempt, type Client, Echo, handlers, type Scenario, type Stage } from "./stage.ts"

const offer = (dice: Dice, { offerSdp }: Stage): any => ({
  type: "offer",
  connection_id: "C",
  client_id: "C",
  sdp: dice.chance(0.5) ? offerSdp : Nonsense.sdp(dice, offerSdp),
  version: "2025.2.0",
  config: { iceServers: [], iceTransportPolicy: "all" },
  data_channel_signaling: true,
  data_channels: ["signaling", "notify", "push", "stats", "rpc"].map((label) => ({
    label,
    direction: "sendrecv",
    compress: true
  })),
  rpc_methods: ["1/Echo"],
  encodings: [{ rid: "r0" }],
  mid: { audio: "0", video: "1" }
})

const serverMessages = (dice: Dice, stage: Stage): any =>
  dice.pick<() => unknown>([
    () => offer(dice, stage),
    () => ({ type: "re-offer", sdp: Nonsense.sdp(dice, stage.offerSdp), rpc_methods: ["x"] }),
    () => ({ type: "update", sdp: stage.offerSdp }),
    () => ({ type: "ping", stats: dice.chance(0.5) }),
    () => ({ type: "switched", ignore_disconnect_websocket: dice.chance(0.5) }),
    () => ({ type: "req-stats" }),
    () => ({
      type: "notify",
      event_type: dice.pick(["connection.created", "simulcast.switched", "x"]),
      data: [],
      minutes: 1
    }),
    () => ({ type: "push", data: Nonsense.value(dice) }),
    () => ({ type: "close", code: dice.pick([1000, 4490, -1]), reason: "x" }),
    () => ({
      type: "redirect",
      location: dice.pick(["", "x", "http://127.0.0.1", "ws://127.0.0.1:1/", "ws://[", "wss://127.0.0.1:1"])
    }),
    () => Nonsense.value(dice)
  ])()

/** A few calls, of which none may be lost, whatever is answered. */
const call = (stage: Stage, client: Client, as: ReadonlyArray<string>) =>
  Effect.forEach(
    Array.from({ length: stage.dice.size(30) }),
    () =>
      Effect.exit(stage.ledger.call(
        stage.where,
        { withinMillis: 1000, as },
        stage.dice.chance(0.7)
          ? client.rpc.call(Echo, { text: "x" }, { timeout: "1 second" })
          : client.rpc.call("1/Echo", { text: "x" }, { timeout: "1 second" })
      )),
    { concurrency: stage.dice.pick([4, 8, 60]), discard: true }
  )

const anyEnd = [
  "ok",
  "TimeoutError",
  "RpcError/ServerError",
  "RpcError/InvalidResult",
  "RpcError/ProtocolViolation",
  "RpcError/Unavailable",
  "RpcError/MethodNotAvailable",
  "RpcError/PayloadTooLarge"
]

const sendOn = (channel: RTCDataChannel, data: string | Buffer) => {
  try {
    if (data.length > 0 && channel.readyState === "open") channel.send(data)
  } catch { /* too large */ }
}

export const scenarios: Readonly<Record<string, Scenario>> = {
  "server: TCP garbage": {
    weight: 1,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const { url } = yield* tcpServer((socket) => {
        const head =
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
        if (dice.chance(0.5)) socket.write(dice.chance(0.5) ? head : Nonsense.mangle(dice, head))
        if (dice.chance(0.5)) socket.write(dice.bytes(dice.size(10_000)))
        if (dice.chance(0.5)) socket.destroy()
      })
      yield* attempt(stage, { signalingUrls: [url] })
    })
  },
  "server: messages in any order": {
    weight: 5,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const { url } = yield* ScriptedSora.make((client) =>
        Effect.gen(function*() {
          if (dice.chance(0.9)) yield* client.take
          if (dice.chance(0.7)) client.send(offer(dice, stage))
          for (let n = dice.size(20); n > 0; n--) {
            const json = serverMessages(dice, stage)
            client.send(dice.chance(0.4) ? Nonsense.message(dice, json) : JSON.stringify(json))
            if (dice.chance(0.3)) yield* Effect.sleep(dice.size(100))
          }
          yield* Effect.sleep(dice.size(2000))
          if (dice.chance(0.5)) client.close(dice.pick([1000, 4490, 4000]), "x".repeat(dice.size(120)))
          else client.terminate()
        })
      )
      yield* attempt(stage, { signalingUrls: [url] })
    })
  },
  "server: absurd offers": {
    weight: 4,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const { url } = yield* ScriptedSora.make((client) =>
        Effect.gen(function*() {
          yield* client.take
          const json = offer(dice, stage)
          client.send(
            dice.chance(0.5) ? Nonsense.message(dice, json) : { ...json, sdp: Nonsense.sdp(dice, stage.offerSdp) }
          )
          yield* Effect.sleep("3 seconds")
        })
      )
      yield* attempt(stage, { signalingUrls: [url] })
    })
  },
  "server: giant messages": {
    weight: 1,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const { url } = yield* ScriptedSora.make((client) =>
        Effect.gen(function*() {
          yield* client.take
          client.send({ type: "push", data: "x".repeat(dice.pick([1e6, 5e6])) })
          client.send(Nonsense.nested(1e6))
          client.send({ ...offer(dice, stage), metadata: "x".repeat(1e6) })
          client.send({ type: "re-offer", sdp: "m=application \r\n".repeat(dice.size(60_000)) })
          yield* Effect.sleep(dice.size(2000))
          client.terminate()
        })
      )
      yield* attempt(stage, { signalingUrls: [url] })
    })
  },
  "server: redirects": {
    weight: 1,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const target: { url: string } = { url: "" }
      const { url } = yield* ScriptedSora.make((client) =>
        Effect.gen(function*() {
          if (dice.chance(0.8)) yield* client.take
          client.send({
            type: "redirect",
            location: dice.chance(0.9) ? target.url : dice.pick([stage.server.url, "ws://127.0.0.1:1/", "nowhere"])
          })
          if (dice.chance(0.3)) client.send({ type: "redirect", location: target.url })
          if (dice.chance(0.3)) client.send(offer(dice, stage))
          if (dice.chance(0.3)) client.terminate()
        })
      )
      target.url = url
      yield* attempt(stage, { signalingUrls: [url] })
    })
  },
  "server: hostile over WebRTC": {
    weight: 6,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const scripted = ["signaling", "notify", "push", "stats", "rpc"]
      const { url } = yield* ScriptedPeer.make(
        { sections: dice.pick([[], ["audio", "video"]]), labels: scripted },
        ({ channels, close, peer, send }) =>
          Effect.gen(function*() {
            const rpc = channels[4]!
            const seen: Array<string> = []
            // Half of the calls are answered well, the other half by anything, and sometimes by what another one was asked.
            rpc.onMessage.subscribe((data) => {
              const { id } = JSON.parse(String(data))
              const response = JSON.stringify({ jsonrpc: "2.0", id, result: { text: "x" } })
              seen.push(response)
              sendOn(rpc, response)
              if (dice.chance(0.3)) sendOn(rpc, dice.pick(seen))
              if (dice.chance(0.5)) return
              const wrong = dice.pick(malformed)(String(id + dice.below(3)), response)
              sendOn(rpc, typeof wrong === "string" ? wrong : Buffer.from(wrong))
              sendOn(rpc, Nonsense.frame(dice, JSON.parse(response)))
            })
            if (dice.chance(0.7)) send({ type: "switched", ignore_disconnect_websocket: dice.chance(0.5) })
            for (let n = dice.size(40); n > 0; n--) {
              const channel = dice.pick(channels)
              sendOn(channel, Nonsense.frame(dice, serverMessages(dice, stage)))
              if (dice.chance(0.1)) {
                peer.createDataChannel(dice.pick([...scripted, "", "#x", "x".repeat(dice.size(1000))]))
              }
              if (dice.chance(0.2)) send(Nonsense.message(dice, serverMessages(dice, stage)))
              yield* Effect.sleep(dice.size(100))
            }
            if (dice.chance(0.3)) dice.pick(channels).close()
            if (dice.chance(0.3)) yield* Effect.promise(() => peer.close())
            if (dice.chance(0.5)) close(dice.pick([1000, 4490]), "x")
            yield* Effect.sleep("5 seconds")
          })
      )
      // What the scripted server grants is something else.
      const options = { signalingUrls: [url], rpc: { checkMethods: false } }
      yield* attempt(stage, options, (client) => call(stage, client, anyEnd))
    })
  },
  "server: every fault": {
    weight: 3,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const rate = () => dice.chance(0.5) ? 0 : dice.next() * 0.5
      const server = yield* SoraServer.make({
        handlers: [...handlers, SoraMethod.handle(SoraMethod.make("Kill", { version: "1" }), () => Effect.interrupt)],
        compress: dice.chance(0.5),
        closeMessage: dice.chance(0.5),
        switchOrder: dice.pick(["before-open", "after-open"]),
        redirects: dice.pick([0, 0, 1, 20]),
        pingInterval: "200 millis",
        faults: {
          delay: "500 millis",
          delayRate: rate(),
          drop: rate(),
          duplicate: rate(),
          reorder: rate(),
          corrupt: rate(),
          wrongId: rate(),
          giant: rate() / 10,
          bomb: rate() / 10,
          swapForm: rate(),
          refuse: rate() / 2,
          ignoreConnect: rate() / 2,
          redirectLoop: rate() / 4,
          closeRpc: rate() / 2,
          killSocket: rate() / 2,
          killPeer: rate() / 2,
          closeAbruptly: rate() / 2,
          lifeMax: "2 seconds",
          seed: dice.below(2 ** 31)
        }
      })
      const options = {
        signalingUrls: [server.url],
        ignoreDisconnectWebsocket: dice.chance(0.5),
        reconnect: dice.chance(0.3),
        rpc: { whenDisconnected: dice.pick(["wait", "fail"] as const) }
      }
      yield* Effect.forEach([1, 2, 3], () =>
        attempt(stage, options, (client) =>
          Effect.gen(function*() {
            yield* call(stage, client, anyEnd)
            yield* Effect.exit(
              stage.ledger.call(
                stage.where,
                { withinMillis: 1000, as: anyEnd },
                client.rpc.call("1/Kill", undefined, { timeout: "1 second" })
              )
            )
            yield* call(stage, client, anyEnd)
          })), { concurrency: 3, discard: true })
    })
  }
}
