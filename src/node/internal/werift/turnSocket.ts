/**
 * Sockets to TURN servers. werift's own leave an error of a UDP socket to
 * nobody, which ends the process, and do not say that a stream has ended.
 */
import { createSocket } from "node:dgram"
import { lookup } from "node:dns/promises"
import { once } from "node:events"
import { type AddressInfo, connect as connectTcp, isIP, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import { findPort, type PeerConfig, type TurnProtocol } from "werift"

/** @internal */
export interface Address {
  readonly host: string
  readonly port: number
  readonly transport: "udp" | "tcp" | "tls"
}

type Transport = TurnProtocol["transport"]

/**
 * werift's `Transport`, and what that does not tell.
 *
 * @internal
 */
export interface TurnSocket extends Transport {
  /** Resolves with where it leads, by address, and rejects when it could not be opened, or was closed before. */
  readonly opened: Promise<readonly [string, number]>
  /** Called when a stream ends other than by `close`. */
  onEnd: () => void
}

/** The first address, of IPv4 if there is one: a network without IPv6 is more common than one without IPv4. */
const resolve = async (host: string) => {
  const family = isIP(host)
  if (family !== 0) return { address: host, family }
  const all = await lookup(host, { all: true })
  return all.find(({ family }) => family === 4) ?? all[0]!
}

/**
 * What may wait to go over a stream, in bytes. Beyond it a packet is lost, as over UDP: nothing tells media to slow down,
 * and what is old is of no use.
 */
const MaxWaiting = 1024 * 1024

const ignore = () => {}

const closedEarly = () => new Error("it was closed")

const overUdp = ({ host, port }: Address, config: Required<PeerConfig>): TurnSocket => {
  let socket: ReturnType<typeof createSocket> | undefined
  let target: readonly [string, number] = [host, port]
  const open = async () => {
    const { address, family } = await resolve(host)
    const type = family === 6 ? "udp6" : "udp4"
    const { iceInterfaceAddresses: at, icePortRange: range } = config
    const localPort = range === undefined ? 0 : await findPort(range[0], range[1], type, at)
    if (made.closed) throw closedEarly()
    made.addressFamily = family === 6 ? 6 : 4
    target = [address, port]
    socket = createSocket(type)
    socket.on("message", (data, from) => made.onData(data, [from.address.split("%")[0]!, from.port]))
    socket.bind({ port: localPort, ...(at?.[type] === undefined ? {} : { address: at[type] }) })
    await Promise.race([once(socket, "listening"), once(socket, "close").then(() => Promise.reject(closedEarly()))])
    // From now on it is a packet that was lost.
    socket.on("error", ignore)
    return target
  }
  const made: TurnSocket = {
    type: "udp",
    closed: false,
    onData: ignore,
    onEnd: ignore,
    get address() {
      return (socket?.address() ?? {}) as AddressInfo
    },
    get opened() {
      return opened
    },
    send: async (data) => {
      if (!made.closed) socket?.send(data, target[1], target[0], ignore)
    },
    close: () =>
      new Promise((resolve) => {
        made.closed = true
        if (socket === undefined) return resolve()
        try {
          socket.close(resolve)
        } catch {
          resolve()
        }
      })
  }
  const opened = open()
  opened.catch(ignore)
  return made
}

const overStream = (
  { host, port, transport }: Address,
  { turnTlsOptions }: Required<PeerConfig>
): TurnSocket => {
  const isTls = transport === "tls"
  const socket: Socket = isTls
    ? connectTls({ ...turnTlsOptions, host, port, ...(isIP(host) === 0 ? { servername: host } : {}) })
    : connectTcp({ host, port })
  socket.setNoDelay()
  const remote = () => [socket.remoteAddress!.split("%")[0]!, socket.remotePort!] as const
  const made: TurnSocket = {
    type: isTls ? "tls" : "tcp",
    closed: false,
    onData: ignore,
    onEnd: ignore,
    get address() {
      return {} as AddressInfo
    },
    opened: new Promise((resolve, reject) => {
      socket.once(isTls ? "secureConnect" : "connect", () => {
        made.remoteAddress = remote()
        resolve(made.remoteAddress)
      })
      socket.on("error", reject)
      socket.on("close", () => reject(closedEarly()))
    }),
    send: async (data) => {
      if (!made.closed && socket.writable && socket.writableLength < MaxWaiting) socket.write(data)
    },
    close: async () => {
      made.closed = true
      socket.destroy()
    }
  }
  made.opened.catch(ignore)
  socket.on("data", (data) => made.remoteAddress && made.onData(data, made.remoteAddress))
  socket.on("close", () => {
    if (made.closed) return
    made.closed = true
    made.onEnd()
  })
  return made
}

/**
 * A socket to a TURN server, which begins to open. For `tls` with werift's
 * `turnTlsOptions`.
 *
 * @internal
 */
export const make = (server: Address, config: Required<PeerConfig>): TurnSocket =>
  server.transport === "udp" ? overUdp(server, config) : overStream(server, config)
