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

const Candidate = /^a=candidate:\S+ 1 udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host/im

interface Address {
  readonly address: string
  readonly port: number
}

export const makeRelay = async (seed: number) => {
  const random = seeded(seed)
  const sockets = [await bound(), await bound()] as const
  /** Where each peer says that it is, and where it has sent from, which counts for more. */
  const told: Array<Address | undefined> = [undefined, undefined]
  const heard: Array<Address | undefined> = [undefined, undefined]
  const timers = new Set<ReturnType<typeof setTimeout>>()
  const fair: Weather = { drop: 0, duplicate: 0, delay: 0, jitter: 0 }
  const weathers: [Weather, Weather] = [fair, fair]
  const counts = { packets: 0, dropped: 0 }
  let isClosed = false
  sockets.forEach((socket, side) =>
    socket.on("message", (packet, { address, port }) => {
      // One path: what it sends from other sockets goes nowhere.
      const { address: known, port: knownPort } = heard[side] ??= { address, port }
      if (known !== address || knownPort !== port) return
      const copies = fate(random, weathers[side as 0 | 1])
      counts.packets++
      if (copies.length === 0) counts.dropped++
      for (const after of copies) {
        const forward = () => {
          const target = heard[1 - side] ?? told[1 - side]
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
    /** How it treats packets from now on, all or those of one of the peers. */
    set: (next: Weather, from?: 0 | 1) => {
      for (const side of from === undefined ? [0, 1] as const : [from]) weathers[side] = next
    },
    /** What a peer has described, as the other one is to read it: the one candidate is the port of that other's side. */
    through: (from: 0 | 1, sdp: string): string => {
      const [, address, port] = Candidate.exec(sdp) ?? []
      if (address !== undefined) told[from] ??= { address, port: Number(port) }
      const other = sockets[1 - from]!.address().port
      return sdp.replaceAll(/^a=candidate:.*\r?\n/gm, "").replace(
        /^a=mid:.*\r?\n/m,
        (line) => `${line}a=candidate:1 1 udp 2130706431 127.0.0.1 ${other} typ host\r\n`
      )
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

/**
 * Lets two peers find each other through the relay. The first one offers, and has a channel already. `prepare` runs
 * before either can send.
 */
export const connectThrough = async (
  relay: Relay,
  offerer: Peer,
  answerer: Peer,
  prepare: () => void = () => {}
): Promise<void> => {
  const offer = await offerer.createOffer()
  await offerer.setLocalDescription(offer)
  await answerer.setRemoteDescription({ type: "offer", sdp: relay.through(0, await described(offerer)) })
  prepare()
  const answer = await answerer.createAnswer()
  await answerer.setLocalDescription({ type: "answer", sdp: answer.sdp! })
  await offerer.setRemoteDescription({ type: "answer", sdp: relay.through(1, await described(answerer)) })
}
