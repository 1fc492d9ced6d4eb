/**
 * Clients of the server that connect as they should, over real WebRTC, and then
 * do not behave.
 */
import * as Effect from "effect/Effect"
import { createSocket } from "node:dgram"
import type { RTCPeerConnection } from "werift"
import { RawClient } from "../../test/server/rawClient.ts"
import type { Dice } from "./dice.ts"
import * as Nonsense from "./nonsense.ts"
import { sctpPacket } from "./sctp.ts"
import type { Scenario, Stage } from "./stage.ts"

/** How a hostile peer is gone: by the book, or without some or all of the goodbyes. */
type Leaving = "leave" | "socket first" | "peer first" | "vanish"

/** From now on nothing of the peer reaches the server. */
const silence = (peer: RTCPeerConnection | undefined) => {
  for (const { connection } of peer?.iceTransports ?? []) {
    // Private to werift: the sockets of the ICE agent.
    for (const protocol of (connection as any).protocols) {
      protocol.sendData = async () => {}
      protocol.sendStun = async () => {}
    }
  }
}

/** What must not end this process: werift rejects promises that nobody has. */
const guard = (peer: RTCPeerConnection | undefined) => {
  const transport = peer?.sctpTransport
  if (transport === undefined) return
  // The number of its next channel: it has none when the server said its last of the handshake after it began with SCTP.
  transport["dataChannelId"] ??= 1
  // A frame that names no channel of ours.
  const receive = transport["datachannelReceive"]
  transport.sctp.onReceive.allUnsubscribe()
  transport.sctp.onReceive.subscribe((...frame) => void receive(...frame).catch(() => {}))
}

/**
 * A client that is under way to be connected; it is gone with the scope.
 * `joined` tells whether it got there.
 */
const peer = (stage: Stage, more: Record<string, unknown> = {}, leaving: Leaving = "leave") =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const { dice } = stage
        const client = new RawClient(stage.server.url, {
          candidates: dice.pick(["message", "sdp", "none"]),
          pong: dice.chance(0.9),
          connect: {
            data_channel_signaling: true,
            ignore_disconnect_websocket: dice.chance(0.5),
            audio: dice.chance(0.3),
            video: dice.chance(0.3) || { codec_type: "VP8" },
            ...more
          }
        })
        const role = dice.pick(["sendrecv", "sendrecv", "sendonly", "recvonly"])
        return { client, joined: client.join(stage.channelId, role).then(() => true, () => false) }
      }),
      ({ client, joined }) =>
        Effect.promise(async () => {
          if (leaving !== "leave") await new Promise((resolve) => setTimeout(resolve, stage.dice.size(500)))
          if (leaving === "vanish") silence(client.peer)
          if (leaving === "socket first") client.socket.close()
          if (leaving === "peer first") await client.peer?.close()
          // A peer that is made after it was closed would stay: so first it gets there, or gives up.
          await joined
          await client.leave()
        }).pipe(Effect.ignoreCause)
    ),
    ({ client, joined }) => ({
      client,
      joined: Effect.tap(Effect.promise(() => joined), () => Effect.sync(() => guard(client.peer)))
    })
  )

const leavings: ReadonlyArray<Leaving> = ["leave", "socket first", "peer first", "vanish"]

const labels = ["rpc", "signaling", "stats", "notify", "push", "#data"]

const onChannel = (label: string, dice: Dice, { offerSdp }: Stage): any => {
  switch (label) {
    case "rpc":
      return Nonsense.request(dice, dice.below(100))
    case "signaling":
      return dice.pick([
        { type: "re-answer", sdp: Nonsense.sdp(dice, offerSdp) },
        { type: "candidate", candidate: Nonsense.candidate(dice) },
        { type: "update", sdp: offerSdp },
        { type: "pong" },
        { type: "disconnect" }
      ])
    case "stats":
      return dice.pick([{ type: "stats", reports: [] }, { type: "stats" }, { type: "pong" }])
    default:
      return Nonsense.value(dice)
  }
}

/** `send` throws above the size that the other side takes, and when the channel is closed. */
const trySend = (client: RawClient, label: string, data: string | Buffer) => {
  try {
    if (data.length > 0) client.channels.get(label)?.send(data)
  } catch { /* not sent, then */ }
}

/** A response is owed to a request that is well-formed, whatever came before it, as long as the connection lives. */
const answers = (stage: Stage, client: RawClient) =>
  Effect.promise(async () => {
    const id = 1_000_000 + stage.dice.below(1_000_000)
    trySend(client, "rpc", JSON.stringify({ jsonrpc: "2.0", id, method: "1/Echo", params: { text: "x" } }))
    const response = await client.response(id).catch(() => undefined)
    if (response === undefined && client.ends.length === 0) stage.problem("no answer to a good request after bad ones")
  })

export const scenarios: Readonly<Record<string, Scenario>> = {
  "peer: frames on every label": {
    weight: 4,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const data = { data_channels: [{ label: "#data", direction: "sendrecv", compress: dice.chance(0.5) }] }
      const { client, joined } = yield* peer(stage, data, dice.pick(leavings))
      yield* joined
      for (let n = dice.size(100); n > 0; n--) {
        const label = dice.pick(labels)
        trySend(client, label, Nonsense.frame(dice, onChannel(label, dice, stage)))
        if (dice.chance(0.2)) yield* Effect.sleep(dice.size(100))
      }
    })
  },
  "peer: frames on rpc": {
    weight: 4,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const { client, joined } = yield* peer(stage, {}, dice.pick(leavings))
      if (!(yield* joined)) return
      for (let n = dice.size(200); n > 0; n--) {
        trySend(client, "rpc", Nonsense.frame(dice, Nonsense.request(dice, n)))
        if (dice.chance(0.1)) yield* Effect.sleep(dice.size(50))
      }
      yield* answers(stage, client)
    })
  },
  "peer: extra channels": {
    weight: 2,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const { client, joined } = yield* peer(stage, {}, dice.pick(leavings))
      if (!(yield* joined)) return
      for (let n = dice.size(100); n >= 0; n--) {
        const label = dice.pick([...labels, "", "x".repeat(dice.size(60_000)), `#${n}`])
        const channel = client.peer!.createDataChannel(label, {
          ordered: dice.chance(0.5),
          protocol: dice.text(dice.size(100))
        })
        yield* Effect.sleep(dice.size(50))
        try {
          if (channel.readyState === "open") channel.send(Nonsense.frame(dice, onChannel("rpc", dice, stage)) || " ")
          if (dice.chance(0.3)) channel.close()
        } catch { /* too large */ }
      }
      // No assertion: whether a channel that Sora does not know ends the connection is not known either.
    })
  },
  "peer: gone at any moment": {
    weight: 4,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const { client } = yield* peer(stage, {}, dice.pick(leavings))
      yield* Effect.sleep(dice.size(1000))
      for (let n = dice.size(50); n > 0; n--) trySend(client, "rpc", JSON.stringify(Nonsense.request(dice, n)))
      if (dice.chance(0.3)) client.channels.get(dice.pick(labels))?.close()
    })
  },
  "peer: acknowledges nothing": {
    weight: 2,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const { client, joined } = yield* peer(stage, {}, "vanish")
      if (!(yield* joined)) return
      for (let n = dice.size(60); n > 0; n--) {
        const request = { jsonrpc: "2.0", id: n, method: "1/Long", params: { length: 200_000 } }
        trySend(client, "rpc", JSON.stringify(request))
      }
      yield* Effect.sleep(dice.size(200))
      // Packets go one way only, those of ICE too, so that the server keeps what it has not got rid of.
      silence(client.peer)
      for (let n = dice.size(200); n > 0; n--) yield* stage.server.push(stage.channelId, dice.text(1000))
      yield* Effect.sleep(dice.size(5000))
    })
  },
  "peer: garbage below the channels": {
    weight: 3,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const { client, joined } = yield* peer(stage, {}, dice.pick(leavings))
      if (!(yield* joined)) return
      const dtls = client.peer!.dtlsTransports[0]!
      const sctp = client.peer!.sctpTransport!.sctp
      for (let n = dice.size(100); n > 0; n--) {
        const bytes = dice.chance(0.2)
          ? dice.bytes(dice.size(1200))
          : sctpPacket(dice, sctp["remoteVerificationTag"])
        yield* Effect.ignoreCause(Effect.promise(async () => dtls.sendData(bytes)))
        if (dice.chance(0.3)) yield* Effect.sleep(dice.size(20))
      }
      // What a DataChannel message says it is, and the channel that it names.
      for (let n = dice.size(50); n > 0; n--) {
        const kind = dice.pick([50, 51, 53, 56, 57, 0, 2 ** 32 - 1])
        const bytes = dice.bytes(dice.size(100))
        if (kind === 50) bytes[0] = dice.pick([2, 3, 0xff])
        // Not waited for: once the server has ended the association werift never says that it was sent.
        sctp.send(dice.pick([0, 1, 2, 7, 65_534]), kind, bytes).catch(() => {})
      }
    })
  },
  "UDP: garbage": {
    weight: 2,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice } = stage
      const { client } = yield* peer(stage, {}, dice.pick(leavings))
      yield* Effect.sleep(dice.size(500))
      const ports = Array.from(
        String(client.offer?.sdp).matchAll(/a=candidate:.* 127\.0\.0\.1 (\d+) typ host/g),
        ([, port]) => Number(port)
      )
      if (ports.length === 0) return
      const socket = yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof createSocket>>((resume) => {
          const made = createSocket("udp4")
          made.on("error", () => {})
          made.bind(0, "127.0.0.1", () => resume(Effect.succeed(made)))
        }),
        (socket) => Effect.callback<void>((resume) => void socket.close(() => resume(Effect.void)))
      )
      for (let n = dice.size(300); n > 0; n--) {
        const bytes = dice.bytes(dice.size(1400) + 1)
        // STUN begins with 0 or 1, DTLS with 20 to 63, RTP with 128 to 191 (RFC 7983).
        bytes[0] = dice.pick([0, 1, 20, 21, 22, 23, 24, 63, 128, 200, bytes[0]!])
        if (bytes[0] <= 1 && bytes.length >= 20) {
          bytes.writeUInt16BE(dice.chance(0.7) ? bytes.length - 20 : dice.below(65_536), 2)
          bytes.writeUInt32BE(0x2112a442, 4)
        }
        if (bytes[0] >= 20 && bytes[0] <= 63 && bytes.length >= 13) {
          bytes.writeUInt16BE(0xfefd, 1)
          bytes.writeUInt16BE(dice.chance(0.7) ? bytes.length - 13 : dice.below(65_536), 11)
        }
        socket.send(bytes, dice.pick(ports), "127.0.0.1")
        if (dice.chance(0.1)) yield* Effect.sleep(dice.size(50))
      }
    })
  },
  "server's API at the wrong time": {
    weight: 3,
    run: Effect.fnUntraced(function*(stage: Stage) {
      const { dice, server } = stage
      // Never one that has to stay.
      if (stage.channelId === "good") return
      const { client, joined } = yield* peer(stage, {}, dice.pick(leavings))
      if (dice.chance(0.7)) yield* joined
      else yield* Effect.sleep(dice.size(300))
      const connectionId = client.offer?.connection_id ?? "NOBODY"
      for (let n = dice.size(30); n > 0; n--) {
        const act = dice.pick<Effect.Effect<unknown, unknown>>([
          server.reOffer(connectionId),
          server.requestStats(connectionId),
          server.push(stage.channelId, Nonsense.value(dice), { connectionId }),
          server.push(stage.channelId, JSON.parse(Nonsense.nested(dice.size(3000)))),
          server.connections,
          server.inject(connectionId, "closeRpc"),
          server.inject(connectionId, dice.pick(["killSocket", "killPeer", "closeAbruptly"])),
          server.disconnect({ connectionId })
        ])
        // Some of these wait for the client, which may say nothing.
        yield* Effect.forkScoped(Effect.exit(Effect.timeoutOption(act, dice.size(3000))))
        if (dice.chance(0.5)) yield* Effect.sleep(dice.size(100))
      }
    })
  }
}
