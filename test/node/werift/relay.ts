/**
 * A network between two peers on this machine, as bad as it is told to be: two
 * UDP ports, each of which stands for the other peer.
 */
import { createSocket, type Socket } from "node:dgram"
import { once } from "node:events"
import type { Peer } from "../../../scripts/bench/peer.ts"
import { fate, seeded, type Weather } from "./random.ts"

const bound = async (): Promise<Socket> => {
  const socket = createSocket("udp4")
  socket.bind(0, "127.0.0.1")
  await once(socket, "listening")
  return socket
}

const Candidate = /^a=candidate:(\S+) 1 udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host.*$/gim

export const makeRelay = async (seed: number) => {
  const random = seeded(seed)
  const sockets = [await bound(), await bound()] as const
  const targets: Array<{ readonly address: string; readonly port: number } | undefined> = [undefined, undefined]
  const timers = new Set<ReturnType<typeof setTimeout>>()
  let weather: Weather = { drop: 0, duplicate: 0, delay: 0, jitter: 0 }
  const counts = { packets: 0, dropped: 0 }
  let isClosed = false
  sockets.forEach((socket, side) =>
    socket.on("message", (packet, { address, port }) => {
      // Where a peer sends from is where it is.
      targets[side] = { address, port }
      const copies = fate(random, weather)
      counts.packets++
      if (copies.length === 0) counts.dropped++
      for (const after of copies) {
        const forward = () => {
          const target = targets[1 - side]
          if (!isClosed && target !== undefined) sockets[1 - side]!.send(packet, target.port, target.address)
        }
        if (after === 0) forward()
        else {
          const timer = setTimeout(() => {
            timers.delete(timer)
            forward()
          }, after)
          timers.add(timer)
        }
      }
    })
  )
  return {
    counts,
    /** How it treats packets from now on. */
    set: (next: Weather) => {
      weather = next
    },
    /** What a peer has described, as the other one is to read it: all candidates are the port of that other's side. */
    through: (from: 0 | 1, sdp: string): string => {
      const [, , address, port] = [...sdp.matchAll(Candidate)][0]!
      targets[from] ??= { address: address!, port: Number(port) }
      let isFirst = true
      const other = sockets[1 - from]!.address().port
      return sdp.replaceAll(/^a=candidate:.*\r?\n/gm, () => {
        if (!isFirst) return ""
        isFirst = false
        return `a=candidate:1 1 udp 2130706431 127.0.0.1 ${other} typ host\r\n`
      })
    },
    close: async () => {
      isClosed = true
      for (const timer of timers) clearTimeout(timer)
      await Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.close(resolve))))
    }
  }
}

export type Relay = Awaited<ReturnType<typeof makeRelay>>

/** The description with all its candidates. */
const described = async (peer: Peer): Promise<string> => {
  const states = peer as unknown as EventTarget & {
    readonly iceGatheringState: string
    readonly gathered?: Promise<unknown>
  }
  await states.gathered
  if (states.iceGatheringState !== "complete") {
    await new Promise<void>((resolve) =>
      states.addEventListener("icegatheringstatechange", () => states.iceGatheringState === "complete" && resolve())
    )
  }
  return peer.localDescription!.sdp!
}

/** Lets two peers find each other through the relay. The first one offers, and has a channel already. */
export const connectThrough = async (relay: Relay, offerer: Peer, answerer: Peer): Promise<void> => {
  const offer = await offerer.createOffer()
  await offerer.setLocalDescription(offer)
  await answerer.setRemoteDescription({ type: "offer", sdp: relay.through(0, await described(offerer)) })
  const answer = await answerer.createAnswer()
  await answerer.setLocalDescription({ type: "answer", sdp: answer.sdp! })
  await offerer.setRemoteDescription({ type: "answer", sdp: relay.through(1, await described(answerer)) })
}
