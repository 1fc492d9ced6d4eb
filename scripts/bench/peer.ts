/**
 * Peers of the three implementations, with the responding end in a process of its
 * own (`echo.ts`) and signaling between the two over IPC, so that both ends of a
 * measurement are of one implementation.
 */
import wrtc from "@roamhq/wrtc"
import type { PeerConnection } from "effect-sora-rpc"
import * as polyfill from "node-datachannel/polyfill"
import { fork } from "node:child_process"
import { join } from "node:path"
import { RTCPeerConnection } from "werift"
import * as Werift from "../../src/node/internal/werift/peer.ts"

export const implementations = ["werift", "@roamhq/wrtc", "node-datachannel"] as const

/** "plain werift" is werift without what this library mends in it: to see what that is worth. */
export type Implementation = typeof implementations[number] | "plain werift"

/** What the measurements use of a peer, on top of what the library does. */
export interface Peer extends PeerConnection.PeerConnectionLike {
  createDataChannel(label: string): PeerConnection.DataChannelLike
  createOffer(): Promise<any>
  addIceCandidate(candidate: any): Promise<unknown>
}

/** Of `node-datachannel` and `@roamhq/wrtc` as they are; of werift as this library makes it. */
export const constructorOf = (implementation: Implementation): new(configuration: any) => Peer =>
  ({
    "werift": class extends Werift.WeriftPeer {
      constructor(configuration: any) {
        super({ ...Werift.loopback, maxMessageSize: 262_144, ...configuration })
      }
    },
    "plain werift": class extends RTCPeerConnection {
      constructor(configuration: any) {
        super({ ...Werift.loopback, maxMessageSize: 262_144, ...configuration })
      }
      override async setLocalDescription(description: any): Promise<any> {
        for (const { connection } of this.iceTransports) (connection as { stunServer?: unknown }).stunServer = undefined
        return super.setLocalDescription(description)
      }
    },
    "@roamhq/wrtc": wrtc.RTCPeerConnection,
    "node-datachannel": polyfill.RTCPeerConnection
  })[implementation] as any

const configuration = { iceServers: [] }

const isCandidate = (candidate: any) => Boolean(candidate?.candidate)

const plain = (candidate: any) => typeof candidate.toJSON === "function" ? candidate.toJSON() : { ...candidate }

export interface Signal {
  readonly sdp?: string
  readonly candidate?: any
}

/** The end that offers and has the channel, as Sora does. Gives what takes the other end's signals. */
export const offer = async (implementation: Implementation, send: (signal: Signal) => void) => {
  const peer = new (constructorOf(implementation))(configuration)
  const channel = peer.createDataChannel("rpc")
  peer.addEventListener("icecandidate", ({ candidate }) => {
    if (isCandidate(candidate)) send({ candidate: plain(candidate) })
  })
  const description = await peer.createOffer()
  await peer.setLocalDescription(description)
  send({ sdp: description.sdp })
  // One after the other: a candidate that overtakes the description ends a peer of `node-datachannel`.
  let last: Promise<unknown> = Promise.resolve()
  const receive = ({ candidate, sdp }: Signal) =>
    last = last.then(() =>
      sdp === undefined ? peer.addIceCandidate(candidate) : peer.setRemoteDescription({ type: "answer", sdp })
    )
  return { channel, peer, receive }
}

/** The other end; settled with the channel when it is open. */
export const answer = (
  implementation: Implementation,
  connect: (receive: (signal: Signal) => void) => (signal: Signal) => void
): Promise<{ readonly channel: PeerConnection.DataChannelLike; readonly peer: Peer }> =>
  new Promise((resolve, reject) => {
    const peer = new (constructorOf(implementation))(configuration)
    peer.addEventListener("datachannel", ({ channel }) => {
      const done = () => resolve({ channel, peer })
      if (channel.readyState === "open") done()
      else channel.addEventListener("open", done)
    })
    // Candidates of either side wait for the description before them.
    const early: Array<any> = []
    const own: Array<Signal> = []
    let described = false
    let answered = false
    peer.addEventListener("icecandidate", ({ candidate }) => {
      if (!isCandidate(candidate)) return
      const signal = { candidate: plain(candidate) }
      if (answered) send(signal)
      else own.push(signal)
    })
    const receive = async ({ candidate, sdp }: Signal) => {
      if (sdp === undefined) {
        if (described) await peer.addIceCandidate(candidate)
        else early.push(candidate)
        return
      }
      await peer.setRemoteDescription({ type: "offer", sdp })
      described = true
      await Promise.all(early.map((candidate) => peer.addIceCandidate(candidate)))
      const created = await peer.createAnswer()
      await peer.setLocalDescription({ type: "answer", sdp: created.sdp ?? "" })
      send({ sdp: created.sdp ?? "" })
      answered = true
      for (const signal of own) send(signal)
    }
    const send = connect((signal) => void Promise.resolve(receive(signal)).catch(reject))
  })

/** `echo.ts` for an implementation: gives open channels to it, each of a peer of its own, and ends it. */
export const echo = async (implementation: Implementation) => {
  const child = fork(join(import.meta.dirname, "echo.ts"), [implementation])
  const { url } = await new Promise<{ readonly url: string }>((resolve, reject) => {
    child.once("message", (message: any) => resolve(message))
    child.once("exit", (code) => reject(new Error(`echo.ts ended: ${code}`)))
  })
  let last = 0
  const receivers = new Map<number, (signal: Signal) => void>()
  child.on("message", ({ id, ...signal }: any) => receivers.get(id)?.(signal))
  const open = () => {
    const id = ++last
    let onExit: () => void
    const gone = new Promise<never>((_, reject) => {
      onExit = () => reject(new Error(`echo.ts ended while a ${implementation} peer was set up`))
      child.once("exit", onExit)
    })
    const opened = answer(implementation, (receive) => {
      receivers.set(id, receive)
      // A child that has ended is reported by `gone`.
      const send = (message: object) => child.connected ? void child.send(message, () => {}) : onExit()
      send({ id, start: true })
      return (signal) => send({ id, ...signal })
    })
    return Promise.race([opened, gone]).finally(() => child.off("exit", onExit))
  }
  return { open, url, kill: () => child.kill("SIGKILL") }
}
