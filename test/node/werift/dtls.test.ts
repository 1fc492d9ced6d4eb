/**
 * What is mended in werift's DTLS, and that werift itself still has the fault.
 */
import { assert, describe, it } from "@effect/vitest"
import { KeyObject } from "node:crypto"
import {
  CipherContext,
  DtlsClient,
  type DtlsSocket,
  Event,
  HashAlgorithm,
  NamedCurveAlgorithm,
  RTCCertificate,
  type RTCDtlsTransport,
  type RTCPeerConnection,
  SignatureAlgorithm
} from "werift"
import { answer, offer, type Signal } from "../../../scripts/bench/peer.ts"
import { endHandshake, hearEarly, hearInOrder } from "../../../src/node/internal/werift/dtls.ts"
import type { WeriftPeer } from "../../../src/node/internal/werift/peer.ts"
import { closeAll, connected, mended, negotiate, plain } from "./pair.ts"

interface DtlsRecord {
  readonly epoch: number
  readonly number: number
  /** Whether it is the first message of a client. */
  readonly isHello: boolean
}

/** RFC 6347, sections 4.1 and 4.2.2; none for what is not DTLS. */
const recordsOf = (packet: Buffer): Array<DtlsRecord> => {
  const records: Array<DtlsRecord> = []
  let at = 0
  while (at + 13 <= packet.length && packet[at]! >= 20 && packet[at]! < 64) {
    const epoch = packet.readUInt16BE(at + 3)
    // A handshake record in the clear, of message type client_hello with number 0.
    const isHello = packet[at] === 22 && epoch === 0 && packet[at + 13] === 1 && packet.readUInt16BE(at + 17) === 0
    records.push({ epoch, number: packet.readUIntBE(at + 5, 6), isHello })
    at += 13 + packet.readUInt16BE(at + 11)
  }
  return records
}

describe("werift offers, node-datachannel answers", () => {
  it("hears the first ClientHello, and uses the number of no record twice", { timeout: 20_000 }, async () => {
    const sent: Array<DtlsRecord> = []
    const heard: Array<DtlsRecord> = []
    let toAnswerer: (signal: Signal) => void
    const answering = answer("node-datachannel", (receive) => {
      toAnswerer = receive
      return (signal) => void offering.then(({ receive }) => receive(signal))
    })
    const offering = offer("werift", (signal) => toAnswerer(signal))
    const { channel, peer } = await offering
    const { connection } = (peer as unknown as WeriftPeer).iceTransports[0]!
    const send = connection.send
    connection.send = (data) => {
      sent.push(...recordsOf(data))
      return send.call(connection, data)
    }
    connection.onData.subscribe((data) => heard.push(...recordsOf(data)))
    channel.addEventListener("message", ({ data }) => channel.send(String(data)))

    const other = await answering
    // More messages than the handshake has records, one after the other, so that each is a record.
    await new Promise<void>((resolve) => {
      let echoes = 0
      other.channel.addEventListener("message", () => ++echoes < 30 ? other.channel.send("x") : resolve())
      other.channel.send("x")
    })
    other.peer.close()
    await peer.close()

    // Played again for who was not there, it is still one on the wire.
    assert.strictEqual(new Set(heard.filter(({ isHello }) => isHello).map(({ number }) => number)).size, 1)
    const encrypted = sent.filter(({ epoch }) => epoch === 1).map(({ number }) => number)
    assert.isAbove(encrypted.length, 30)
    assert.strictEqual(new Set(encrypted).size, encrypted.length)
  })
})

/** Says each flight twice, as an end does that has waited half a second for the other. Ends when connected or failed. */
const withRepeatedFlights = async (make: () => RTCPeerConnection) => {
  const peers = [make(), make()] as const
  const channel = peers[0].createDataChannel("x")
  const over = new Promise<string>((resolve) => {
    channel.addEventListener("open", () => resolve("open"))
    for (const peer of peers) peer.connectionStateChange.subscribe((state) => state === "failed" && resolve(state))
  })
  await negotiate(...peers, () => {
    for (const peer of peers) {
      const { connection } = peer.iceTransports[0]!
      const send = connection.send
      connection.send = async (data) => {
        await send.call(connection, data)
        if (data[0] === 22) await send.call(connection, data)
      }
    }
  })
  const outcome = await over
  await closeAll(...peers)
  return outcome
}

describe("a handshake of which each flight is said twice", () => {
  it("fails in werift", async () => assert.strictEqual(await withRepeatedFlights(plain), "failed"))
  it("succeeds here", async () => assert.strictEqual(await withRepeatedFlights(mended), "open"))
})

/** Packets of the handshake that are sent in one turn arrive in the opposite order. */
const withFlightsReversed = async (make: () => RTCPeerConnection) => {
  const peers = [make(), make()] as const
  const channel = peers[0].createDataChannel("x")
  let flights = 0
  const over = new Promise<string>((resolve) => {
    channel.addEventListener("open", () => resolve("open"))
    for (const peer of peers) {
      peer.connectionStateChange.subscribe((state) => state === "failed" && resolve(state))
      peer.dtlsTransports[0]?.onStateChange.subscribe((state) => state === "failed" && resolve(state))
    }
    void negotiate(...peers, () => {
      for (const peer of peers) {
        const { connection } = peer.iceTransports[0]!
        const send = connection.send
        let flight: Array<Buffer> = []
        connection.send = async (data) => {
          if (data[0] === undefined || data[0] < 20 || data[0] > 22) return send.call(connection, data)
          if (flight.length === 0) {
            setImmediate(() => {
              for (const packet of flight.toReversed()) void send.call(connection, packet)
              flight = []
              // Said again and again, and never understood.
              if (++flights > 40) resolve("hopeless")
            })
          }
          flight.push(data)
        }
      }
    })
  })
  const outcome = await over
  await closeAll(...peers)
  return outcome
}

describe("a handshake whose packets overtake each other", () => {
  it(
    "fails in werift",
    { timeout: 60_000 },
    async () => assert.notStrictEqual(await withFlightsReversed(plain), "open")
  )
  it("succeeds here", async () => assert.strictEqual(await withFlightsReversed(mended), "open"))
})

/** Connects to an end that is not what it says to be. Ends when connected or failed. */
const withImposter = async (
  make: () => RTCPeerConnection,
  role: "client" | "server",
  corrupt: (imposter: RTCPeerConnection) => void | Promise<void>
) => {
  const imposter = plain()
  const honest = make()
  // The one that answers is the client.
  const peers = role === "client" ? [honest, imposter] as const : [imposter, honest] as const
  const channel = peers[0].createDataChannel("x")
  if (role === "server") await corrupt(imposter)
  const over = new Promise<string>((resolve) => {
    channel.addEventListener("open", () => resolve("open"))
    honest.connectionStateChange.subscribe((state) => state === "failed" && resolve(state))
  })
  const answer = imposter.createAnswer
  imposter.createAnswer = async () => {
    if (role === "client") await corrupt(imposter)
    return answer.call(imposter)
  }
  await negotiate(...peers)
  const outcome = await over
  await closeAll(...peers)
  return outcome
}

/** A certificate with the key of another. */
const steal = async (imposter: RTCPeerConnection) => {
  const make = () =>
    CipherContext.createSelfSignedCertificateWithKey(
      { signature: SignatureAlgorithm.ecdsa_3, hash: HashAlgorithm.sha256_4 },
      NamedCurveAlgorithm.secp256r1_23
    )
  const [own, stolen] = await Promise.all([make(), make()])
  // Private: what all transports of the peer get.
  Object.assign((imposter as any).secureManager, {
    certificate: new RTCCertificate(own.keyPem, stolen.certPem, own.signatureHash)
  })
}

/** Has heard something else than the other end. */
const mishear = (imposter: RTCPeerConnection) => {
  const transport = imposter.dtlsTransports[0]!
  transport.onStateChange.subscribe((state) => {
    if (state === "connecting") queueMicrotask(() => (transport.dtls!.cipher.verifyData = () => Buffer.alloc(12)))
  })
}

describe("an end that does not prove", () => {
  for (const role of ["client", "server"] as const) {
    for (
      const [what, corrupt] of [["that its certificate is its own", steal], ["what it has heard", mishear]] as const
    ) {
      it(`${what} is connected to by werift, as a ${role}`, async () =>
        assert.strictEqual(await withImposter(plain, role, corrupt), "open"))
      it(`${what} is not connected to here, as a ${role}`, async () =>
        assert.strictEqual(await withImposter(mended, role, corrupt), "failed"))
    }
  }
})

describe("messages of a handshake", () => {
  class Fragment {
    static assemble = (pieces: ReadonlyArray<Fragment>) => {
      const whole = Buffer.alloc(pieces[0]!.length)
      for (const { fragment, fragment_offset } of pieces) fragment.copy(whole, fragment_offset)
      return new Fragment(pieces[0]!.message_seq, whole)
    }
    readonly message_seq: number
    readonly fragment: Buffer
    readonly fragment_offset: number
    readonly length: number
    readonly msg_type: number
    get fragment_length() {
      return this.fragment.length
    }
    constructor(number: number, whole: Buffer, from = 0, to = whole.length, type = 13) {
      this.message_seq = number
      this.fragment = whole.subarray(from, to)
      this.fragment_offset = from
      this.length = whole.length
      this.msg_type = type
    }
  }

  const listener = () => {
    const heard: Array<string> = []
    const socket = {
      dtls: { flight: 5 },
      onError: { execute: (error: Error) => assert.fail(error.message) },
      handleFragmentHandshake: (fragments: ReadonlyArray<Fragment>) => fragments,
      onHandleHandshakes: async (messages: ReadonlyArray<Fragment>) => {
        for (const { fragment, message_seq } of messages) heard.push(`${message_seq}${fragment}`)
      }
    }
    hearInOrder(socket as unknown as DtlsSocket)
    return { heard, socket, hear: (...pieces: ReadonlyArray<Fragment>) => void socket.handleFragmentHandshake(pieces) }
  }
  const [a, b, c] = ["aaaa", "bbbbbb", "cc"].map((text) => Buffer.from(text)) as [Buffer, Buffer, Buffer]

  it("are heard by their number, each once, in whatever order they and their pieces come", () => {
    const { hear, heard } = listener()
    hear(new Fragment(2, c), new Fragment(1, b, 2, 5))
    hear(new Fragment(0, a, 2))
    hear(new Fragment(1, b, 4), new Fragment(1, b, 2, 5))
    assert.deepStrictEqual(heard, [])
    hear(new Fragment(0, a, 0, 2))
    assert.deepStrictEqual(heard, ["0aaaa"])
    hear(new Fragment(1, b, 0, 3))
    assert.deepStrictEqual(heard, ["0aaaa", "1bbbbbb", "2cc"])
    hear(new Fragment(0, a), new Fragment(2, c), new Fragment(1, b, 2, 5))
    assert.strictEqual(heard.length, 3)
  })

  it("are heard again where an answer was lost, and not once that is over", () => {
    const { hear, heard, socket } = listener()
    // A Finished, by an end that has said its own.
    const finished = new Fragment(0, Buffer.alloc(0), 0, 0, 20)
    socket.dtls.flight = 6
    hear(finished)
    hear(finished)
    socket.dtls.flight = 7
    hear(finished)
    assert.deepStrictEqual(heard, ["0", "0"])
  })

  it("are not heard again where the answer would be another one", () => {
    const { hear, heard } = listener()
    const done = new Fragment(0, Buffer.alloc(0), 0, 0, 14)
    hear(done)
    hear(done)
    assert.deepStrictEqual(heard, ["0"])
  })

  it("are not kept when they are far ahead, or too large", () => {
    const { hear, heard } = listener()
    for (let number = 1000; number > 0; number--) hear(new Fragment(number, a))
    hear(Object.assign(new Fragment(0, a), { length: 1 << 23 }))
    assert.deepStrictEqual(heard, [])
    hear(new Fragment(0, a))
    assert.strictEqual(heard.length, 16)
  })
})

describe("the first message of a client", () => {
  for (const make of [plain, mended]) {
    it(`goes ${make === plain ? "a tenth of a second later in werift" : "at once here"}`, async () => {
      const peers = [make(), make()] as const
      peers[0].createDataChannel("x")
      let hasSaid = false
      const atOnce = new Promise<boolean>((resolve) =>
        negotiate(...peers, () => {
          // The one that answers is the client.
          const [transport] = peers[1].dtlsTransports
          const { connection } = transport!.iceTransport
          const send = connection.send
          connection.send = (data) => {
            if (data[0] === 22) hasSaid = true
            return send.call(connection, data)
          }
          transport!.onStateChange.subscribe((state) => {
            if (state === "connecting") setImmediate(() => resolve(hasSaid))
          })
        })
      )
      assert.strictEqual(await atOnce, make === mended)
      await closeAll(...peers)
    })
  }
})

interface End {
  readonly peer: RTCPeerConnection
  /** Packets of the handshake. */
  readonly said: Array<Buffer>
  onSaid: () => void
}
const isHello = (packet: Buffer) => packet[0] === 22 && packet[13] === 1
/** Whether a record of the handshake is in it that is encrypted. */
const isFinished = (packet: Buffer) => {
  for (let at = 0; at + 13 <= packet.length; at += 13 + packet.readUInt16BE(at + 11)) {
    if (packet[at] === 22 && packet.readUInt16BE(at + 3) === 1) return true
  }
  return false
}

describe("once connected", () => {
  for (const [name, make] of [["werift", plain], ["here", mended]] as const) {
    it(`the numbers of records ${make === plain ? "begin anew" : "go on"} after those of the handshake: ${name}`, async () => {
      const peers = [make(), make()] as const
      const channel = peers[0].createDataChannel("x")
      const open = new Promise((resolve) => channel.addEventListener("open", resolve))
      const sent = peers.map((): Array<DtlsRecord> => [])
      await negotiate(...peers, () => {
        for (const [i, peer] of peers.entries()) {
          const { connection } = peer.iceTransports[0]!
          const send = connection.send
          connection.send = (data) => {
            sent[i]!.push(...recordsOf(data))
            return send.call(connection, data)
          }
        }
      })
      await open
      for (const records of sent) {
        const numbers = records.filter(({ epoch }) => epoch === 1).map(({ number }) => number)
        assert.isAbove(numbers.length, 2)
        // None is left out: what is 64 behind is dropped. What is said again in the clear has its own.
        const all = records.map(({ number }) => number).filter((number) => number >= numbers[0]!)
        const next = all.map((_, i) => numbers[0]! + i)
        if (make === plain) assert.notDeepEqual(numbers, next)
        else assert.deepStrictEqual(all, next)
      }
      await closeAll(...peers)
    })

    it(`the messages of the handshake are ${make === plain ? "kept" : "forgotten"}: ${name}`, async () => {
      const peers = [make(), make()] as const
      await connected(...peers)
      for (const peer of peers) {
        const { handshakeCache, lastFlight } = peer.dtlsTransports[0]!.dtls!.dtls
        const isKept = Object.keys(handshakeCache).length + lastFlight.length > 0
        assert.strictEqual(isKept, make === plain)
      }
      await closeAll(...peers)
    })

    it(`the last flight is answered again: ${name}`, async () => {
      // The one that answers is the client.
      const peers = [make(), make()] as const
      const channel = peers[0].createDataChannel("x")
      const open = new Promise((resolve) => channel.addEventListener("open", resolve))
      const [server, client] = peers.map((peer) => ({ peer, said: [] as Array<Buffer>, onSaid: () => {} })) as [
        End,
        End
      ]
      await negotiate(...peers, () => {
        for (const end of [server, client]) {
          const { connection } = end.peer.iceTransports[0]!
          const send = connection.send
          connection.send = (data) => {
            if (data[0] === 20 || data[0] === 22) {
              end.said.push(data)
              end.onSaid()
            }
            return send.call(connection, data)
          }
        }
      })
      await open
      const before = server.said.length
      const answered = new Promise<void>((resolve) => {
        server.onSaid = () => server.said.slice(before).some(isFinished) && resolve()
      })
      for (const packet of client.said.slice(client.said.findLastIndex(isHello) + 1)) {
        server.peer.iceTransports[0]!.connection.onData.execute(packet)
      }
      await answered
      // That it was asked for is forgotten as well.
      const { handshakeCache } = server.peer.dtlsTransports[0]!.dtls!.dtls
      assert.strictEqual(Object.keys(handshakeCache).length > 0, make === plain)
      await closeAll(...peers)
    })

    it(`keys are ${make === plain ? "bytes" : "objects"}: ${name}`, async () => {
      const peers = [make(), make()] as const
      await connected(...peers)
      for (const peer of peers) {
        const { clientWriteKey, serverWriteKey } = peer.dtlsTransports[0]!.dtls!.cipher.cipher
        for (const key of [clientWriteKey, serverWriteKey]) {
          assert.strictEqual(key instanceof KeyObject, make === mended)
        }
      }
      await closeAll(...peers)
    })
  }
})

describe("a handshake that nobody answers", () => {
  /** A client whose packets go nowhere. */
  const client = () => {
    let packets = 0
    const dtls = new DtlsClient({
      transport: {
        type: "none",
        address: { address: "127.0.0.1", family: "IPv4", port: 9 },
        closed: false,
        onData: () => {},
        send: async () => {
          packets++
        },
        close: async () => {}
      }
    })
    return { dtls, packets: () => packets }
  }

  it("is over at its end", async () => {
    const { dtls, packets } = client()
    const connecting = dtls.connect()
    endHandshake({ dtls } as unknown as RTCDtlsTransport)
    // werift says the first flight eleven times, for 33 seconds, and then fails.
    await connecting
    assert.strictEqual(packets(), 1)
  })

  it("does not begin after its end", async () => {
    const { dtls, packets } = client()
    endHandshake({ dtls } as unknown as RTCDtlsTransport)
    await dtls.connect()
    assert.strictEqual(packets(), 0)
  })
})

describe("what comes before DTLS is up", () => {
  const transport = () => ({ dtls: undefined, iceTransport: { connection: { onData: new Event<[Buffer]>() } } })

  it("is heard when it is", () => {
    const ours = transport()
    const early = hearEarly(ours as unknown as RTCDtlsTransport)
    const { onData } = ours.iceTransport.connection
    onData.execute(Buffer.from([22, 1]))
    onData.execute(Buffer.from([22, 2]))
    onData.execute(Buffer.from([128]))
    const heard: Array<Buffer> = []
    onData.subscribe((data) => heard.push(data))
    early.replay()
    assert.deepStrictEqual(heard, [Buffer.from([22, 2])])
  })

  it("throws nowhere, whatever it is", () => {
    const ours = transport()
    const early = hearEarly(ours as unknown as RTCDtlsTransport)
    const { onData } = ours.iceTransport.connection
    onData.execute(Buffer.from([22]))
    onData.subscribe(() => {
      throw new RangeError("too short")
    })
    assert.throws(() => onData.execute(Buffer.from([22])))
    early.replay()
  })
})

describe("data that comes when SCTP has ended", () => {
  for (const make of [plain, mended]) {
    it(make === plain ? "throws in werift" : "is heard by nobody here", async () => {
      const peers = [make(), make()] as const
      await connected(...peers)
      const [transport] = peers[0].dtlsTransports
      await peers[0].sctpTransport!.sctp.stop()
      const hear = () => transport!.dataReceiver(Buffer.from("late"))
      if (make === plain) assert.throws(hear, /not a function/)
      else hear()
      await closeAll(...peers)
    })
  }
})
