/**
 * Clients of the server that are bytes and text only: no HTTP, no WebSocket
 * frames, no signaling messages that the server could make sense of.
 */
import * as Effect from "effect/Effect"
import { connect as dial, type Socket } from "node:net"
import type { Dice } from "./dice.ts"
import * as Nonsense from "./nonsense.ts"
import type { Scenario, Stage } from "./stage.ts"

/** A TCP connection that is gone with the scope. */
const tcp = ({ port }: Stage) =>
  Effect.acquireRelease(
    Effect.callback<Socket>((resume) => {
      const socket = dial(port, "127.0.0.1", () => resume(Effect.succeed(socket)))
      // What comes back is not wanted, and that the server hangs up is expected.
      socket.resume()
      socket.on("error", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** Hangs up in some way, sometimes after waiting for the server to do so. */
const part = (dice: Dice, socket: Socket) =>
  Effect.gen(function*() {
    if (dice.chance(0.5)) yield* Effect.sleep(dice.size(1000))
    const how = dice.pick(["end", "resetAndDestroy", "destroy"] as const)
    socket[how]()
  })

const upgrade = (path: string) =>
  `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
  `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`

/** A frame as a client masks it, unless it is to be wrong. */
const wsFrame = (dice: Dice, opcode: number, payload: Buffer, wrong = false): Buffer => {
  const masked = !(wrong && dice.chance(0.3))
  const first = (wrong && dice.chance(0.3) ? dice.below(256) : 0x80) | opcode
  const length = wrong && dice.chance(0.3) ? dice.pick([0, 126, 65_536, 2 ** 31, 2 ** 40]) : payload.length
  const head = length < 126
    ? Buffer.from([first, (masked ? 0x80 : 0) | length])
    : Buffer.concat([Buffer.from([first, (masked ? 0x80 : 0) | 127]), Buffer.alloc(8)])
  if (head.length > 2) head.writeBigUInt64BE(BigInt(length), 2)
  if (!masked) return Buffer.concat([head, payload])
  const mask = dice.bytes(4)
  return Buffer.concat([head, mask, payload.map((byte, i) => byte ^ mask[i & 3]!)])
}

/** A WebSocket that is gone with the scope. Not open, when the server is not willing. */
export const webSocket = (url: string) =>
  Effect.acquireRelease(
    Effect.callback<WebSocket>((resume) => {
      const socket = new WebSocket(url)
      const done = () => resume(Effect.succeed(socket))
      socket.addEventListener("open", done)
      socket.addEventListener("error", done)
      socket.addEventListener("close", done)
    }),
    (socket) => Effect.sync(() => socket.close())
  )

/** The next message of a type, or nothing when the server hangs up or has nothing to say. */
export const next = (socket: WebSocket, type: string) =>
  Effect.callback<any>((resume) => {
    const onMessage = ({ data }: { readonly data: unknown }) => {
      const message = JSON.parse(String(data))
      if (message.type === type) done(message)
    }
    const onClose = () => done(undefined)
    const done = (message: unknown) => {
      detach()
      resume(Effect.succeed(message))
    }
    const detach = () => {
      socket.removeEventListener("message", onMessage)
      socket.removeEventListener("close", onClose)
    }
    if (socket.readyState !== 1) return resume(Effect.undefined)
    socket.addEventListener("message", onMessage)
    socket.addEventListener("close", onClose)
    return Effect.sync(detach)
  }).pipe(Effect.timeoutOrElse({ duration: "3 seconds", orElse: () => Effect.undefined }))

export const send = (socket: WebSocket, text: string) => {
  if (socket.readyState === 1) socket.send(text)
}

const clientMessages = (dice: Dice, { channelId, offerSdp }: Stage): any =>
  dice.pick<() => unknown>([
    () => ({ type: "answer", sdp: Nonsense.sdp(dice, offerSdp) }),
    () => ({ type: "re-answer", sdp: Nonsense.sdp(dice, offerSdp) }),
    () => ({ type: "update", sdp: offerSdp }),
    () => ({ type: "candidate", candidate: Nonsense.candidate(dice), sdpMid: "0", sdpMLineIndex: dice.below(3) }),
    () => ({ type: "pong", stats: [Nonsense.value(dice)] }),
    () => ({ type: "stats", reports: [] }),
    () => ({ type: "disconnect", reason: "NO-ERROR" }),
    () => ({ type: "connect", role: "sendrecv", channel_id: channelId }),
    () => ({ type: "offer", sdp: offerSdp }),
    () => Nonsense.value(dice)
  ])()

export const scenarios: Readonly<Record<string, Scenario>> = {
  "TCP: garbage": {
    weight: 1,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const socket = yield* tcp(stage)
      for (let n = dice.below(5); n >= 0; n--) socket.write(dice.bytes(dice.size(20_000)))
      yield* part(dice, socket)
    })
  },
  "TCP: half an upgrade": {
    weight: 1,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const socket = yield* tcp(stage)
      const request = upgrade(
        dice.pick(["/signaling", `/?redirected=${"9".repeat(30)}&loop=1`, "/%", "//", "http://["])
      )
      const extra = `X-Long: ${"x".repeat(dice.size(100_000))}\r\nContent-Length: 1e9\r\n\r\n`
      const whole = dice.chance(0.3)
        ? request.replace(/\r\n$/, extra)
        : dice.chance(0.5)
        ? Nonsense.mangle(dice, request)
        : request
      const cut = dice.below(whole.length + 1)
      socket.write(whole.slice(0, cut))
      if (dice.chance(0.5)) {
        yield* Effect.sleep(dice.size(100))
        socket.write(whole.slice(cut))
      }
      yield* part(dice, socket)
    })
  },
  "TCP: broken WebSocket frames": {
    weight: 2,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const socket = yield* tcp(stage)
      const connect = Buffer.from(JSON.stringify(Nonsense.connect(dice, stage.channelId)))
      socket.write(upgrade("/signaling"))
      if (dice.chance(0.5)) socket.write(wsFrame(dice, 1, connect))
      for (let n = dice.size(30); n > 0; n--) {
        const payload = dice.chance(0.5) ? connect : dice.bytes(dice.size(300))
        const bytes = wsFrame(dice, dice.pick([0, 1, 2, 3, 8, 9, 10, 15]), payload, true)
        socket.write(dice.chance(0.1) ? bytes.subarray(0, dice.below(bytes.length)) : bytes)
      }
      if (dice.chance(0.2)) { for (let n = 2000; n > 0; n--) socket.write(wsFrame(dice, 9, Buffer.alloc(100))) }
      yield* part(dice, socket)
    })
  },
  "WebSocket: messages in any order": {
    weight: 3,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const socket = yield* webSocket(stage.server.url)
      if (dice.chance(0.7)) send(socket, JSON.stringify(Nonsense.connect(dice, stage.channelId)))
      for (let n = dice.size(30); n > 0; n--) {
        if (dice.chance(0.3)) yield* Effect.sleep(dice.size(100))
        const json = clientMessages(dice, stage)
        send(socket, dice.chance(0.5) ? Nonsense.message(dice, json) : JSON.stringify(json))
      }
      if (dice.chance(0.5)) yield* Effect.sleep(dice.size(500))
    })
  },
  "WebSocket: giant messages": {
    weight: 1,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const socket = yield* webSocket(stage.server.url)
      const connect = Nonsense.connect(dice, stage.channelId)
      const length = dice.pick([900_000, 1_100_000, 4_000_000])
      send(socket, JSON.stringify({ ...connect, signaling_notify_metadata: "x".repeat(length) }))
      send(socket, Nonsense.nested(length >> 1))
      yield* next(socket, "offer")
      send(socket, JSON.stringify({ type: "candidate", candidate: "x".repeat(900_000) }))
      send(socket, JSON.stringify({ type: "answer", sdp: "m=application \r\n".repeat(dice.size(60_000)) }))
      yield* Effect.sleep(dice.size(500))
    })
  },
  "WebSocket: absurd connects": {
    weight: 2,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const socket = yield* webSocket(
        dice.chance(0.2)
          ? `${stage.server.url}?redirected=${dice.pick(["-1", "NaN", "9".repeat(400)])}`
          : stage.server.url
      )
      const connect = Nonsense.connect(dice, stage.channelId)
      send(socket, dice.chance(0.5) ? Nonsense.message(dice, connect) : JSON.stringify(connect))
      yield* next(socket, "offer")
      // Sometimes it says nothing more, and the server has to give it up by itself.
      if (dice.chance(0.1)) yield* next(socket, "nothing")
    })
  },
  "WebSocket: absurd answers": {
    weight: 4,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const socket = yield* webSocket(stage.server.url)
      send(socket, JSON.stringify({ ...Nonsense.connect(dice, stage.channelId), data_channels: [] }))
      const offer = yield* next(socket, "offer")
      if (offer === undefined) return
      // The server's own offer, turned round: its own candidates and all.
      const sdp = String(offer.sdp).replace(/a=setup:\w+/g, `a=setup:${dice.pick(["active", "passive"])}`)
      for (let n = dice.below(3); n >= 0; n--) {
        send(socket, JSON.stringify({ type: dice.chance(0.8) ? "answer" : "re-answer", sdp: Nonsense.sdp(dice, sdp) }))
        if (dice.chance(0.5)) yield* Effect.sleep(dice.size(500))
      }
      for (let n = dice.pick([0, 0, 10, 500]); n > 0; n--) {
        send(socket, JSON.stringify({ type: "candidate", candidate: Nonsense.candidate(dice) }))
      }
      yield* Effect.sleep(dice.size(2000))
    })
  },
  "WebSocket: pongs by the thousand": {
    weight: 1,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const socket = yield* webSocket(stage.server.url)
      send(socket, JSON.stringify({ type: "connect", role: "recvonly", channel_id: stage.channelId }))
      const pong = JSON.stringify({ type: "pong", stats: [dice.text(dice.size(1000))] })
      for (let n = dice.size(10_000); n > 0; n--) send(socket, pong)
      yield* Effect.sleep(dice.size(1000))
    })
  }
}
