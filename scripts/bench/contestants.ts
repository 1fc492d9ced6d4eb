/**
 * Who is measured in memory, all over the same fake DataChannel: it hands a
 * frame over on a microtask, and what answers does it on another one, with no
 * more than a search for the id. So what is left to measure is the client.
 */
import { type PeerConnection, RpcChannel, RpcTransport, SoraMethod, SoraRpc } from "effect-sora-rpc"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { RpcClient, RpcGroup, RpcSerialization } from "effect/rpc"
import * as Rpc from "effect/rpc/Rpc"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { JSONRPCClient } from "json-rpc-2.0"
import { deflateSync } from "node:zlib"
import Sora from "sora-js-sdk"

const Method = SoraMethod.wireName(SoraMethod.RequestSimulcastRid)
/** Long enough for 4,096 calls of who is slow. */
const TimeoutMs = 60_000
const typedParams = { rid: "r1", senderConnectionId: "5V2W8ZKXX116V2KQ1QPFX9R2AR" } as const
const wireParams = { rid: "r1", sender_connection_id: "5V2W8ZKXX116V2KQ1QPFX9R2AR" }

const result = `{"channel_id":"lobby","receiver_connection_id":"0PX8MA8GPD0R54WQCKZ0KZM8GW",` +
  `"rid":"r1","sender_connection_id":"5V2W8ZKXX116V2KQ1QPFX9R2AR"}`

const answer = (id: string | number) => `{"jsonrpc":"2.0","id":${id},"result":${result}}`

const sortedAnswer = (id: string | number) => `{"id":${id},"jsonrpc":"2.0","result":${result}}`

/** Deflated answers by id: what the responder would spend on zlib is not the client's cost. */
const deflated: Array<ArrayBuffer> = []
const deflatedAnswer = (id: number): ArrayBuffer => {
  let known = deflated[id]
  if (known === undefined) {
    const { buffer, byteLength, byteOffset } = deflateSync(answer(id))
    known = deflated[id] = (buffer as ArrayBuffer).slice(byteOffset, byteOffset + byteLength)
  }
  return known
}

/** Deflates ahead, outside of what is timed. */
export const prepareDeflated = (ids: number) => {
  for (let id = 0; id < ids; id++) deflatedAnswer(id)
}

const idOf = (frame: string) => {
  const start = frame.indexOf("\"id\":") + 5
  let end = start
  while (frame[end] !== "," && frame[end] !== "}") end++
  return frame.slice(start, end)
}

/** The order of the answer's members: as in the specification's examples, or by name. */
export type Answers = "usual" | "sorted" | "none"

/**
 * Every client here numbers its calls 1, 2, 3, …, and each frame is one call. So
 * a deflated frame is answered by counting, without inflating it.
 */
export class FakeDataChannel {
  readonly label = "rpc"
  readonly readyState = "open"
  readonly bufferedAmount = 0
  bufferedAmountLowThreshold = 0
  binaryType = "arraybuffer"
  /** `sora-js-sdk` sets it, the others add listeners. */
  onmessage: ((event: { data: unknown; currentTarget: unknown }) => void) | null = null
  readonly #answers: Answers
  #frames = 0
  constructor(answers: Answers = "usual") {
    this.#answers = answers
  }
  send(frame: unknown) {
    if (this.#answers === "none") return
    queueMicrotask(() => {
      const data = typeof frame !== "string"
        ? deflatedAnswer(++this.#frames)
        : this.#answers === "sorted"
        ? sortedAnswer(idOf(frame))
        : answer(idOf(frame))
      queueMicrotask(() => this.onmessage?.({ data, currentTarget: this }))
    })
  }
  addEventListener(type: string, listener: (event: unknown) => void) {
    // oxlint-disable-next-line unicorn/prefer-add-event-listener -- This is how it is added.
    if (type === "message") this.onmessage = listener
  }
  removeEventListener() {}
  close() {}
}

/** Calls `times` times in all, `concurrency` at a time, each one as soon as one before it has its answer. */
export type Run = (times: number, concurrency: number) => Promise<void>

const runPromises = (call: () => PromiseLike<unknown>): Run => async (times, concurrency) => {
  let started = 0
  const worker = async () => {
    while (started++ < times) await call()
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
}

const runEffects = (call: () => Effect.Effect<unknown, unknown>, context: Context.Context<never>): Run => {
  const run = Effect.runPromiseWith(context)
  return (times, concurrency) =>
    run(Effect.suspend(() => {
      let started = 0
      const worker = Effect.whileLoop({ while: () => started++ < times, body: call, step: () => {} })
      return Effect.replicateEffect(worker, concurrency, { concurrency: "unbounded", discard: true })
    }))
}

/** Nothing that a client could leave out: no timeout, no checks, no errors. */
export const floorCall = (
  channel: Pick<PeerConnection.DataChannelLike, "addEventListener" | "send">,
  method: string,
  params: unknown
) => {
  const waiting = new Map<number, (result: unknown) => void>()
  let nextId = 1
  channel.addEventListener("message", ({ data }: any) => {
    const { id, result } = JSON.parse(data)
    const resolve = waiting.get(id)!
    waiting.delete(id)
    resolve(result)
  })
  return () => {
    const id = nextId++
    return new Promise<unknown>((resolve) => {
      waiting.set(id, resolve)
      channel.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }))
    })
  }
}

export const floor = (): Run => runPromises(floorCall(new FakeDataChannel(), Method, wireParams))

/** The floor of an Effect that can be interrupted: `Effect.callback` in place of the `Promise`, and nothing more. */
export const effectFloor = (): Run => {
  const channel = new FakeDataChannel()
  const waiting = new Map<number, (exit: Exit.Exit<unknown>) => void>()
  let nextId = 1
  channel.addEventListener("message", ({ data }: any) => {
    const { id, result } = JSON.parse(data)
    const resume = waiting.get(id)!
    waiting.delete(id)
    resume(Exit.succeed(result))
  })
  const call = () =>
    Effect.callback((resume) => {
      const id = nextId++
      waiting.set(id, resume)
      channel.send(JSON.stringify({ jsonrpc: "2.0", id, method: Method, params: wireParams }))
      return Effect.sync(() => void waiting.delete(id))
    })
  return runEffects(call, Context.empty())
}

export interface OursOptions {
  readonly raw?: boolean
  readonly timeout?: boolean
  readonly traced?: boolean
  readonly compress?: boolean
  /** 32 by default, as for users; what is measured elsewhere is the call and not the queue. */
  readonly maxInFlight?: number
  readonly answers?: Answers
}

/** A tracer whose spans are dropped when they end. */
const tracer = Tracer.make({ span: (options) => new Tracer.NativeSpan(options) })

/** The client's call, without a runner around it. */
export const oursCall = async (options: OursOptions) => {
  const scope = Scope.makeUnsafe()
  const rpc = await Effect.runPromise(Scope.provide(
    Effect.gen(function*() {
      const channel = yield* RpcChannel.fromDataChannel(new FakeDataChannel(options.answers), {
        compress: options.compress ?? false
      })
      const make = SoraRpc.make({
        maxInFlight: options.maxInFlight ?? Infinity,
        defaultTimeout: options.timeout === false ? Duration.infinity : Duration.millis(TimeoutMs)
      })
      return yield* Effect.provideService(
        make,
        RpcTransport.RpcTransport,
        RpcTransport.make(channel, { methods: [Method] })
      )
    }),
    scope
  ))
  const call = options.raw === true
    ? () => rpc.call(Method, wireParams)
    : () => rpc.call(SoraMethod.RequestSimulcastRid, typedParams)
  return { call, close: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
}

export const ours = async (options: OursOptions = {}): Promise<Run> => {
  const { call } = await oursCall(options)
  return runEffects(call, options.traced === true ? Context.make(Tracer.Tracer, tracer) : Context.empty())
}

/**
 * The official SDK's own path from `rpc()` to its answer. A connection object is
 * given an open channel through the handler that its peer connection would call,
 * and the one entry of the offer that `rpc()` reads.
 */
export const soraCall = (options: { timeout?: boolean; compress?: boolean; answers?: Answers }) => {
  const connection: any = Sora.connection("wss://unused.invalid/signaling").recvonly("lobby")
  connection.signalingOfferMessageDataChannels = { rpc: { label: "rpc", compress: options.compress ?? false } }
  connection.onDataChannel({ channel: new FakeDataChannel(options.answers) })
  const callOptions = options.timeout === false ? {} : { timeout: TimeoutMs }
  return (): Promise<unknown> => connection.rpc(Method, wireParams, callOptions)
}

export const soraJsSdk = (options: { timeout?: boolean; compress?: boolean } = {}): Run =>
  runPromises(soraCall(options))

export const jsonRpc2 = (timeout: boolean): Run => {
  const channel = new FakeDataChannel()
  const client = new JSONRPCClient((request) => channel.send(JSON.stringify(request)))
  channel.addEventListener("message", (event: any) => client.receive(JSON.parse(event.data)))
  const requester = timeout ? client.timeout(TimeoutMs) : client
  return runPromises(() => requester.request(Method, wireParams))
}

/** With the same schemas, and JSON-RPC on the wire. */
export const effectRpc = async (options: { traced?: boolean } = {}): Promise<Run> => {
  const Group = RpcGroup.make(Rpc.make(Method, {
    payload: SoraMethod.RequestSimulcastRid.params,
    success: SoraMethod.RequestSimulcastRid.result
  }))
  const protocol = RpcClient.Protocol.make((write) =>
    Effect.sync(() => {
      const serialization = RpcSerialization.jsonRpc()
      const parser = serialization.makeUnsafe()
      const channel = new FakeDataChannel()
      let client = 0
      channel.addEventListener("message", (event: any) => {
        for (const message of parser.decode(event.data)) Effect.runFork(write(client, message as never))
      })
      return {
        send: (clientId, request) =>
          Effect.sync(() => {
            client = clientId
            channel.send(parser.encode(request))
          }),
        supportsAck: false,
        supportsTransferables: false,
        codecFor: serialization.codecFor
      }
    })
  )
  const client: any = await Effect.runPromise(
    RpcClient.make(Group, { disableTracing: options.traced !== true }).pipe(
      Effect.provide(Layer.effect(RpcClient.Protocol)(protocol)),
      Scope.provide(Scope.makeUnsafe())
    )
  )
  // Its receiving fiber starts on the next turn; an answer before that is lost.
  await new Promise((resolve) => setImmediate(resolve))
  return runEffects(
    () => client[Method](typedParams),
    options.traced === true ? Context.make(Tracer.Tracer, tracer) : Context.empty()
  )
}
