/**
 * What is mended in werift's TURN (RFC 8656): which servers are asked, and how a
 * relay is asked for, kept and given back.
 */
import {
  Candidate,
  candidateFoundation,
  candidatePriority,
  classes,
  Message,
  methods,
  parseIceServers,
  parseMessage,
  type PeerConfig,
  resolveTurnTransport,
  type RTCIceTransport,
  StunOverTurnProtocol,
  TurnProtocol
} from "werift"
import * as Socket from "./turnSocket.ts"

/** A TURN URL of an ICE server, with what that server wants. */
interface Server extends Socket.Address {
  readonly url: string
  readonly username: string
  readonly credential: string
}

/**
 * Why a URL gave no relay, with the members of `RTCPeerConnectionIceErrorEvent`:
 * the code of the server's refusal, or 701 where it was not reached.
 *
 * @internal
 */
export interface CandidateError {
  readonly url: string
  readonly errorCode: number
  readonly errorText: string
}

/** As many as libwebrtc takes. */
const MaxServers = 32

/** How long a server has to grant a relay. Others are asked meanwhile. */
const GrantMillis = 10_000

/** How long closing waits for a server to hear that a relay is given back. */
const ReturnMillis = 500

/**
 * A relay that is not used is given back when nothing came over it for so long: twice the interval of consent (RFC 7675,
 * section 5.1). Not at once: the other end may still check it, and settle on it.
 */
const UnusedMillis = 10_000

/** What is asked for, in seconds: as much as a server gives that is not told. */
const Lifetime = 600

/**
 * A channel is bound anew after this many seconds, which also renews the
 * permission of the peer (RFC 8656, sections 9 and 12): that lasts 300. werift
 * says 500, and for the time between nothing comes through.
 */
const ChannelRefresh = 240

const Unreachable = 701

/** What of the ICE agent is used and not in its type. */
interface Agent {
  turnServer: unknown
  readonly state: string
  readonly generation: number
  readonly localUsername: string
  readonly nominated: { readonly protocol: unknown; readonly remoteAddr: readonly [string, number] } | undefined
  protocols: Array<unknown>
  readonly checkList: ReadonlyArray<{ readonly protocol: unknown; readonly state: number; handle?: unknown }>
  readonly remoteCandidatesEnd: boolean
  readonly earlyChecksDone: boolean
  getCandidatePromises: (addresses: Array<string>, timeout?: number) => Array<Promise<unknown>>
  connect: () => Promise<void>
  close: () => Promise<void>
  ensureProtocol: (protocol: unknown) => void
  pairLocalProtocol: (protocol: unknown) => void
  sortCheckList: () => void
  checkStart: (pair: unknown) => unknown
  appendLocalCandidate: (candidate: Candidate) => void
  handleConnectionClosed: (protocol: unknown, remoteAddr: readonly [string, number]) => void
}

/** Of a candidate pair that nobody has begun to check. */
const Waiting = 1

/** What of a client of TURN is used and not in its type. */
interface Hidden {
  refreshHandle?: { readonly resolve?: () => void }
  handleSTUNMessage: (data: Buffer, from: readonly [string, number]) => void
  send: (data: Buffer, to: readonly [string, number]) => Promise<void>
}

interface HiddenTransaction {
  integrityKey?: Buffer | undefined
}

const serversOf = (config: Required<PeerConfig>): ReadonlyArray<Server> => {
  const servers = new Map<string, Server>()
  for (const { credential = "", urls, username = "" } of config.iceServers) {
    for (const url of [urls].flat()) {
      const { turnServer, turnTransport } = parseIceServers([{ urls: url }])
      if (turnServer === undefined) continue
      const transport = resolveTurnTransport(
        {
          parsedTurnTransport: turnTransport,
          configuredTurnTransport: config.turnTransport,
          forceTurnTCP: config.forceTurnTCP
        } as Parameters<typeof resolveTurnTransport>[0]
      ) ?? "udp"
      const [host, port] = turnServer
      servers.set(JSON.stringify([host, port, transport, username]), {
        url,
        host,
        port,
        transport,
        username,
        credential
      })
    }
  }
  return Array.from(servers.values()).slice(0, MaxServers)
}

const texts: Readonly<Record<number, string>> = {
  401: "TURN refused the credential",
  403: "TURN forbids it",
  441: "TURN refused the credential: the allocation is another user's",
  486: "TURN has no relay left for this user",
  508: "TURN has no relay left"
}

const errorOf = (url: string, cause: any): CandidateError => {
  const code: unknown = cause?.response?.getAttributeValue?.("ERROR-CODE")?.[0]
  if (typeof code === "number") return { url, errorCode: code, errorText: texts[code] ?? "TURN refused a relay" }
  const text = cause instanceof Error && cause.message !== "" ? cause.message : "it did not answer"
  return { url, errorCode: Unreachable, errorText: text }
}

/**
 * A client of TURN over an open socket.
 *
 * Relies on: `handleSTUNMessage`, `send`, `request`, `transactions` and `refreshHandle` of werift's.
 */
const makeTurn = ({ credential, host, port, username }: Server, socket: Socket.TurnSocket): TurnProtocol => {
  const turn = new TurnProtocol([host, port], username, credential, Lifetime, socket, {
    channelRefreshTime: ChannelRefresh
  })
  // Private in its type; `version.ts` looks whether they are there.
  const hidden = turn as unknown as Hidden
  const { handleSTUNMessage, send } = hidden
  const { request } = turn

  // A server that does not know the credential, or has a new nonce, has nothing to prove itself with (RFC 8489, sections
  // 9.2.4 and 9.2.5): werift drops what it says, and asks again for six seconds.
  hidden.handleSTUNMessage = (data, from) => {
    const message = parseMessage(data)
    const transaction = message && turn.transactions[message.transactionIdHex] as HiddenTransaction | undefined
    const code: unknown = message?.getAttributeValue("ERROR-CODE")?.[0]
    if (transaction !== undefined && (code === 401 || code === 438)) transaction.integrityKey = undefined
    handleSTUNMessage.call(turn, data, from)
  }

  // Aborted when nothing is begun any more, and when nothing is waited for any more.
  const leaving = new AbortController()
  const left = new AbortController()
  const giveBack = new Message(methods.REFRESH, classes.REQUEST).setAttribute("LIFETIME", 0)
  let asked: Promise<unknown> | undefined
  // A request that is said again with another nonce has its old proof in it, and werift makes the new one over that.
  turn.request = (message, address, key, options) => {
    // Its type does not have them.
    const said = message as unknown as { attributes: Array<readonly [string, unknown]> }
    said.attributes = said.attributes.filter(([name]) => name !== "MESSAGE-INTEGRITY" && name !== "FINGERPRINT")
    const isForARelay = message.messageMethod === methods.ALLOCATE && turn.integrityKey !== undefined
    const { signal = leaving.signal } = options as { readonly signal?: AbortSignal | undefined }
    const until = message === giveBack || isForARelay && !leaving.signal.aborted
      ? left.signal
      : AbortSignal.any([leaving.signal, signal])
    const answered = request.call(turn, message, address, key, { signal: until })
    if (isForARelay) asked = answered
    return answered
  }

  // As over UDP, where nobody hears of a packet that was not sent.
  hidden.send = (data, to) => send.call(turn, data, to).catch(() => {})

  // With the relay given back (RFC 8656, section 7.1): werift leaves it to the server, for ten minutes. Over a stream the
  // server sees it go. One that was asked for is waited for: coturn may read what says that it is given back before that.
  let closing: Promise<void> | undefined
  turn.close = () =>
    closing ??= (async () => {
      leaving.abort()
      if (socket.type === "udp" && turn.integrityKey !== undefined && !socket.closed) {
        const timer = setTimeout(() => left.abort(), ReturnMillis)
        await asked?.catch(() => {})
        await turn.requestWithRetry(giveBack, turn.server).catch(() => {})
        clearTimeout(timer)
      }
      left.abort()
      hidden.refreshHandle?.resolve?.()
      await socket.close()
    })()
  return turn
}

/**
 * Asks one server. `onRelay` has the relay when it is granted.
 */
const ask = async (
  server: Server,
  config: Required<PeerConfig>,
  turns: Set<TurnProtocol>,
  onRelay: (protocol: StunOverTurnProtocol, server: Server) => boolean
): Promise<void> => {
  if (server.username === "" || server.credential === "") throw new Error("it has no username or no credential")
  const socket = Socket.make(server, config)
  const turn = makeTurn(server, socket)
  turns.add(turn)
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    void turn.close()
  }, GrantMillis)
  const gone = new Promise<never>((_, reject) => {
    socket.onEnd = () => reject(new Error("it closed the connection"))
  })
  try {
    turn.server = await Promise.race([socket.opened, gone])
    await Promise.race([turn.connectionMade(), gone])
    const protocol = new StunOverTurnProtocol(turn)
    protocol.sendData = (data, to) => turn.sendData(data, to).catch(() => {})
    if (!onRelay(protocol, server)) await turn.close()
  } catch (error) {
    turns.delete(turn)
    await turn.close()
    throw isLate ? new Error("it did not answer in time") : error
  } finally {
    clearTimeout(timer)
  }
}

const preference = { udp: 3, tcp: 2, tls: 1 } as const

const candidateOf = ({ host, port, transport }: Server, turn: TurnProtocol, agent: Agent): Candidate =>
  new Candidate(
    // Of each server one of its own (RFC 8445, section 5.1.1.3): of one foundation only one is checked at a time.
    candidateFoundation("relay", transport, `${host}:${port}`),
    1,
    "udp",
    candidatePriority("relay", preference[transport]),
    turn.relayedAddress[0],
    turn.relayedAddress[1],
    "relay",
    turn.mappedAddress[0],
    turn.mappedAddress[1],
    undefined,
    agent.generation,
    agent.localUsername
  )

/** Resolves with the first that does, or when all have failed. */
const firstOf = (promises: ReadonlyArray<Promise<unknown>>): Promise<unknown> => Promise.any(promises).catch(() => {})

const mended = new WeakSet<object>()

/**
 * Asks all TURN servers at once, each over its own socket and with its own
 * credential. werift takes the first URL of all and forgets the rest. A relay
 * that is granted is a candidate from then on, also when checks have begun, and
 * none is waited for where there is another candidate: with
 * `iceTransportPolicy` `relay` gathering is complete for werift with the first
 * one, and later ones still come. What is not used is given back once the
 * connection is up, and asked for again by an ICE restart.
 *
 * Relies on: `getCandidatePromises`, `connect`, `close` and what `Agent` names of the ICE agent.
 *
 * @internal
 */
export const askAllServers = (
  { connection }: RTCIceTransport,
  config: Required<PeerConfig>,
  onError: (error: CandidateError) => void
): void => {
  const servers = serversOf(config)
  const isRelayOnly = config.iceTransportPolicy === "relay"
  if (mended.has(connection) || servers.length === 0 && !isRelayOnly) return
  mended.add(connection)
  const agent = connection as unknown as Agent
  agent.turnServer = undefined
  const { close, connect, getCandidatePromises } = agent
  const turns = new Set<TurnProtocol>()
  const granted = new Map<Server, StunOverTurnProtocol>()
  /** Of those granted, over which something came since the last look. */
  const heard = new Set<StunOverTurnProtocol>()
  let looking: ReturnType<typeof setInterval> | undefined
  let isClosed = false
  let first: Promise<unknown> = Promise.resolve()

  const drop = (server: Server, protocol: StunOverTurnProtocol) => {
    granted.delete(server)
    agent.protocols = agent.protocols.filter((other) => other !== protocol)
    void protocol.close().then(() => turns.delete(protocol.turn))
  }

  const look = () => {
    const { nominated } = agent
    if (nominated === undefined) return
    for (const [server, protocol] of granted) {
      if (!heard.delete(protocol) && protocol !== nominated.protocol) drop(server, protocol)
    }
  }

  const onRelay = (protocol: StunOverTurnProtocol, server: Server): boolean => {
    // Too late to be of use.
    if (agent.state === "closed" || agent.nominated !== undefined) return false
    granted.set(server, protocol)
    protocol.turn.onData.subscribe(() => heard.add(protocol))
    agent.ensureProtocol(protocol)
    agent.protocols.push(protocol)
    protocol.localCandidate = candidateOf(server, protocol.turn, agent)
    ;(protocol.turn.transport as Socket.TurnSocket).onEnd = () => {
      drop(server, protocol)
      if (agent.nominated?.protocol === protocol) agent.handleConnectionClosed(protocol, agent.nominated.remoteAddr)
    }
    agent.pairLocalProtocol(protocol)
    agent.sortCheckList()
    agent.appendLocalCandidate(protocol.localCandidate)
    // Else nobody begins them where the other end has named all its candidates.
    if (agent.earlyChecksDone) {
      for (const pair of agent.checkList) {
        if (pair.protocol === protocol && pair.state === Waiting) pair.handle = agent.checkStart(pair)
      }
    }
    return true
  }

  agent.getCandidatePromises = (addresses, timeout) => {
    // Where no server can be asked werift would tell of the host's addresses instead.
    const others = isRelayOnly ? [] : getCandidatePromises.call(agent, addresses, timeout)
    const asked = servers.filter((server) => !granted.has(server)).map((server) => {
      const asking = ask(server, config, turns, onRelay)
      asking.catch((cause) => agent.state === "closed" || onError(errorOf(server.url, cause)))
      return asking
    })
    first = granted.size > 0 ? Promise.resolve() : firstOf(asked)
    return isRelayOnly || addresses.length === 0 ? [...others, first] : others
  }
  agent.connect = async () => {
    // It gives up at once where there is no pair to check.
    if (agent.checkList.length === 0 && agent.remoteCandidatesEnd) await first
    await connect.call(agent)
    clearInterval(looking)
    if (!isClosed) looking = setInterval(look, UnusedMillis)
  }
  agent.close = async () => {
    isClosed = true
    clearInterval(looking)
    await Promise.all([close.call(agent), ...Array.from(turns, (turn) => turn.close())])
  }
}
