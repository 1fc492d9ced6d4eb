/**
 * The points of section 9 of `sora-protocol.md` (what is not known of a real
 * Sora) that can be tried: what the development server does is our guess, and
 * what this server does is asked of it. Nothing here changes anything but where
 * it says `write`; at worst a connection of our own ends.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as ConnectMessage from "../../internal/connection/connectMessage.ts"
import type * as NodeSora from "../../node/NodeSora.ts"
import * as Signaling from "../../Signaling.ts"
import type * as SoraConnection from "../../SoraConnection.ts"
import * as SoraMethod from "../../SoraMethod.ts"
import { NoMethod } from "../commands/ping.ts"
import { decodeFrame } from "../recording/format.ts"
import type { Recorder } from "../recording/recorder.ts"
import { type Finding, notTried, tried } from "./report.ts"
import { askSocket, type Closed, idOf, type Seen, type Session } from "./session.ts"

interface Context {
  readonly options: NodeSora.Options
  /** The first signaling URL that can be reached. */
  readonly url: string
  readonly recorder: Recorder
  /** The session at hand; another one when the last has ended. */
  readonly session: Effect.Effect<Session | undefined>
  /** What the server granted. */
  readonly granted: ReadonlyArray<string>
  /** May state be changed? */
  readonly write: boolean
  /** Why nothing can be tried on the `rpc` channel. */
  readonly obstacle: string | undefined
}

type Probe = (context: Context) => Effect.Effect<ReadonlyArray<Finding>>

const isObject = Schema.is(Schema.JsonObject)

/** The entry of `rpc_methods` of a known method. */
const grantOf = ({ granted }: Context, name: string) =>
  SoraMethod.resolve(SoraMethod.known.find((method) => method.name === name)!, granted)

// ---------------------------------------------------------------- frames

let nextId = 1_000_000

/** What came back, in words that two servers can be compared by. */
const said = (answer: Schema.Json | undefined): string => {
  if (answer === undefined) return "no answer"
  if (Array.isArray(answer)) return `an array of ${answer.length}`
  if (!isObject(answer)) return "no object"
  const { error } = answer
  if (error === undefined) return "result" in answer ? "a result" : "neither a result nor an error"
  if (!isObject(error) || typeof error.code !== "number" || typeof error.message !== "string") {
    return "an error that is none"
  }
  const data = error.data === undefined
    ? "no data"
    : isObject(error.data)
    ? `data with ${Object.keys(error.data).join(", ")}`
    : "data that is no object"
  return `${error.code} ${error.message}, ${data}`
}

/** A call; its answer is known by its id. */
const call = ({ raw }: Session, method: string, params: Schema.Json, id: number = nextId++) =>
  raw.ask(JSON.stringify({ jsonrpc: "2.0", id, method, params }), (json) => idOf(json) === id)

/** The same, in a word. */
const kindOf = (answer: Schema.Json | undefined): string =>
  isObject(answer) && isObject(answer.error) && typeof answer.error.code === "number"
    ? String(answer.error.code)
    : said(answer)

/** What a call is answered with. */
const answerOf = ({ raw }: Session, asking: Effect.Effect<Schema.Json | undefined>) =>
  Effect.suspend(() => {
    const before = raw.frames.length
    return Effect.map(asking, (json) =>
      json === undefined && raw.frames.length > before ? "no answer, but another frame" : said(json))
  })

/** Nothing where an answer may be that of another frame. */
const tidily = ({ raw }: Session, observe: Effect.Effect<string>): Effect.Effect<Observed> =>
  Effect.suspend(() =>
    raw.isTidy()
      ? Effect.map(observe, (text) => raw.isTidy() || text === "no answer" ? text : undefined)
      : Effect.undefined
  )

/** A frame that is no proper call, whose answer may have no id: whatever comes next and names no other call. */
const throwIn = (session: Session, frame: string, id?: Schema.Json, timeout?: "1 second") =>
  tidily(
    session,
    Effect.map(session.raw.ask(frame, (json) => [undefined, id].includes(idOf(json)), timeout), said)
  )

/** What was seen; nothing where it cannot be told. */
type Observed = string | undefined

const untidy = "answers come late, twice or broken, so that this one could not be told from others"

/** For a probe over the `rpc` channel: says so when it costs the connection. */
const over = (
  row: number | null,
  about: string,
  guess: string,
  use: (session: Session, context: Context) => Effect.Effect<Observed>
): Probe =>
(context) =>
  Effect.gen(function*() {
    if (context.obstacle !== undefined) return [notTried(row, about, guess, context.obstacle)]
    const session = yield* context.session
    if (session === undefined) return [notTried(row, about, guess, "there is no connection any more")]
    context.recorder.note(`trying: ${about}`)
    const observed = yield* use(session, context)
    const ended = yield* session.over
    if (observed === undefined && ended === undefined) return [notTried(row, about, guess, untidy)]
    return [
      tried(
        row,
        about,
        guess,
        ended === undefined
          ? observed!
          : `${observed ?? "no answer that can be told"}; the connection ended: ${ended.message}`
      )
    ]
  })

/** For a probe that needs one of the methods. */
const withMethod = (
  name: string,
  row: number | null,
  about: string,
  guess: string,
  use: (session: Session, method: string, context: Context) => Effect.Effect<Observed>
): Probe =>
(context) => {
  const method = grantOf(context, name)
  return method === undefined
    ? Effect.succeed([notTried(row, about, guess, `${name} is not granted`)])
    : over(row, about, guess, (session) => use(session, method, context))(context)
}

const writing = (probe: Probe, row: number | null, about: string, guess: string): Probe => (context) =>
  context.write ? probe(context) : Effect.succeed([notTried(row, about, guess, "it changes state: --write tries it")])

/** {@link withMethod} for what changes state. */
const writingWith = (
  name: string,
  row: number | null,
  about: string,
  guess: string,
  use: (session: Session, method: string, context: Context) => Effect.Effect<Observed>
): Probe => writing(withMethod(name, row, about, guess, use), row, about, guess)

const unknownMethod = "-32601 UNSUPPORTED-JSON-RPC-METHOD, no data"
const invalidParams = "-32602 JSON-RPC-INVALID-PARAMS, data with ISSUE"
const unknownKeys = "-32602 JSON-RPC-INVALID-PARAMS, data with UNKNOWN-KEYS"

/** A method whose params have a member that they need, so that bad ones change nothing. */
const Harmless = ["PutSignalingNotifyMetadataItem", "RequestSimulcastRid", "RequestSpotlightRid"]

const withHarmless = (
  row: number | null,
  about: string,
  guess: string,
  use: (session: Session, method: string, context: Context) => Effect.Effect<Observed>
): Probe =>
(context) => {
  const name = Harmless.find((name) => grantOf(context, name) !== undefined)
  return name === undefined
    ? Effect.succeed([notTried(row, about, guess, "no method with params that it needs is granted")])
    : withMethod(name, row, about, guess, use)(context)
}

const frames: ReadonlyArray<Probe> = [
  over(2, "a method that does not exist", unknownMethod, (session) => answerOf(session, call(session, NoMethod, {}))),
  withHarmless(
    2,
    "params with an unknown member",
    unknownKeys,
    (session, method) => answerOf(session, call(session, method, { effect_sora_rpc: 1 }))
  ),
  withHarmless(
    2,
    "params without what is needed",
    invalidParams,
    (session, method) => answerOf(session, call(session, method, {}))
  ),
  withHarmless(
    13,
    "params that are an array",
    invalidParams,
    (session, method) => answerOf(session, call(session, method, []))
  ),
  (context) => {
    const about = "a known method that is not granted"
    const absent = SoraMethod.known.find(({ name }) => grantOf(context, name) === undefined)
    return absent === undefined
      ? Effect.succeed([notTried(2, about, unknownMethod, "all that are known are granted")])
      : over(
        2,
        about,
        unknownMethod,
        (session) => answerOf(session, call(session, SoraMethod.wireName(absent), { effect_sora_rpc: 1 }))
      )(context)
  },
  (context) => {
    const about = "a granted method by its name without a version"
    const name = Harmless.find((name) => grantOf(context, name)?.includes("/") === true)
    return name === undefined || context.granted.includes(name)
      ? Effect.succeed([notTried(null, about, unknownMethod, "none is granted with a version alone")])
      : over(null, about, unknownMethod, (session) => answerOf(session, call(session, name, { effect_sora_rpc: 1 })))(
        context
      )
  },
  over(11, "an id that is a text", "echoed", (session) => {
    const id = `id-${nextId++}`
    return tidily(
      session,
      Effect.map(
        session.raw.ask(
          JSON.stringify({ jsonrpc: "2.0", id, method: NoMethod }),
          (json) => [undefined, id].includes(idOf(json) as string)
        ),
        (answer) => idOf(answer) === id ? "echoed" : said(answer)
      )
    )
  }),
  over(
    11,
    "an id that is null",
    "-32600 JSON-RPC-INVALID-REQUEST, no data",
    (session) => throwIn(session, JSON.stringify({ jsonrpc: "2.0", id: null, method: NoMethod }))
  ),
  over(11, "two calls with one id", "both are answered", (session) => {
    const id = nextId++
    const frame = JSON.stringify({ jsonrpc: "2.0", id, method: NoMethod })
    let count = 0
    return tidily(
      session,
      Effect.andThen(
        Effect.suspend(() => {
          session.raw.send(frame)
          return session.raw.ask(frame, (json) => idOf(json) === id && ++count === 2)
        }),
        Effect.sync(() => count === 2 ? "both are answered" : `${count} is answered`)
      )
    )
  }),
  over(16, "the order of answers to 20 calls", "as called, all with -32601", (session) => {
    const ids = Array.from({ length: 20 }, () => nextId++)
    const frames = ids.map((id) => JSON.stringify({ jsonrpc: "2.0", id, method: NoMethod }))
    const order: Array<Schema.Json> = []
    const kinds = new Set<string>()
    let isDoubled = false
    return Effect.map(
      Effect.suspend(() => {
        for (const frame of frames.slice(0, -1)) session.raw.send(frame)
        return session.raw.ask(frames.at(-1)!, (json) => {
          const id = idOf(json)
          if (id === undefined || !ids.includes(id as number)) return false
          if (order.includes(id)) isDoubled = true
          else order.push(id)
          kinds.add(kindOf(json))
          return order.length === ids.length
        })
      }),
      () =>
        order.length < ids.length
          ? `${order.length} of 20 are answered`
          : [
            order.every((id, i) => id === ids[i]) ? "as called" : "not as called",
            ...(isDoubled ? ["some twice"] : []),
            kinds.size === 1 ? `all with ${[...kinds][0]}` : `with ${[...kinds].join(" and ")}`
          ].join(", ")
    )
  }),
  withHarmless(21, "a notification with bad params", "silence", (session, method) => {
    const frame = JSON.stringify({ jsonrpc: "2.0", method, params: { effect_sora_rpc: 1 } })
    return Effect.map(
      throwIn(session, frame, undefined, "1 second"),
      (answer) => answer === "no answer" ? "silence" : answer
    )
  }),
  // Those that a server might take amiss come last.
  over(12, "a batch", "-32600 JSON-RPC-INVALID-REQUEST, no data", (session) => {
    const id = nextId++
    return throwIn(session, JSON.stringify([{ jsonrpc: "2.0", id, method: NoMethod }]), id)
  }),
  over(2, "a request without a method", "-32600 JSON-RPC-INVALID-REQUEST, no data", (session) => {
    const id = nextId++
    return throwIn(session, JSON.stringify({ jsonrpc: "2.0", id }), id)
  }),
  over(2, "a frame that is no JSON", "-32700 JSON-RPC-PARSE-ERROR, no data", (session) => throwIn(session, "not json"))
]

/** Last on the channel: a call that is left without an answer makes those of others doubtful. */
const large = over(14, "a call of 200,000 bytes", unknownMethod, (session) => {
  const id = nextId++
  // Of letters that do not compress well: what is inflated is limited, too.
  const filler = Array.from({ length: 199_900 }, () => Math.floor(Math.random() * 36).toString(36)).join("")
  return throwIn(session, JSON.stringify({ jsonrpc: "2.0", id, method: NoMethod, params: { filler } }), id)
})

// ---------------------------------------------------------------- what changes state

const Key = "effect-sora-rpc-doctor"

/** What is pushed within a second of an action, and which came first. */
const withPush = (session: Session, ask: Effect.Effect<unknown>) =>
  Effect.gen(function*() {
    const { arrivals, pushes } = session.seen
    const [begun, before] = [arrivals.length, pushes.length]
    yield* ask
    for (let i = 0; i < 20 && pushes.length === before; i++) yield* Effect.sleep("50 millis")
    const since = arrivals.slice(begun)
    return {
      push: pushes[before],
      first: since.indexOf("push") < since.indexOf("rpc") ? "the push first" : "the answer first"
    }
  })

const item = "PutSignalingNotifyMetadataItem"

const changing: ReadonlyArray<Probe> = [
  writingWith(item, 8, `the result of ${item}`, "the whole metadata", (session, method) =>
    Effect.gen(function*() {
      yield* call(session, method, { key: `${Key}-other`, value: 1, push: false })
      const answer = yield* call(session, method, { key: Key, value: 1, push: false })
      const result = isObject(answer) ? answer.result : undefined
      if (!isObject(result)) return result === undefined ? "no result" : "no object"
      return `${Key}-other` in result && Key in result
        ? "the whole metadata"
        : "key" in result && "value" in result
        ? "the item"
        : Key in result
        ? "an object of the item alone"
        : `an object with ${Object.keys(result).length} other members`
    })),
  writingWith(item, 10, "the default of push", "no push", (session, method) =>
    Effect.map(
      withPush(session, call(session, method, { key: Key, value: 2 })),
      ({ push }) => push === undefined ? "no push" : "a push"
    )),
  writingWith(item, 23, "the order of an answer and its push", "the push first", (session, method) =>
    tidily(
      session,
      Effect.map(
        withPush(session, call(session, method, { key: Key, value: 3, push: true })),
        ({ first, push }) => push === undefined ? "no push within a second" : first
      )
    )),
  writingWith("PutSignalingNotifyMetadata", 9, "the push of PutSignalingNotifyMetadata", "PutMetadata with metadata", (
    session,
    method
  ) =>
    Effect.map(withPush(session, call(session, method, { metadata: { [Key]: 4 }, push: true })), ({ push }) => {
      if (!isObject(push)) return push === undefined ? "no push within a second" : "no object"
      const { action, connection_id: _, type: __, ...rest } = push as { [member: string]: Schema.Json }
      return `${String(action)} with ${Object.keys(rest).join(", ")}`
    })),
  writingWith(
    item,
    3,
    "its own channel_id and connection_id in params",
    "a result",
    (session, method) =>
      Effect.flatMap(session.connection.offer, ({ connectionId }) =>
        answerOf(
          session,
          call(session, method, {
            key: Key,
            value: 5,
            channel_id: String(session.seen.offer?.channel_id ?? ""),
            connection_id: connectionId
          })
        ))
  ),
  writingWith(
    item,
    5,
    "an id that is empty",
    "a result",
    (session, method) => answerOf(session, call(session, method, { key: Key, value: 6, connection_id: "" }))
  ),
  writingWith(
    item,
    4,
    "the id of another connection",
    invalidParams,
    (session, method) =>
      answerOf(session, call(session, method, { key: Key, value: 7, connection_id: "00000000000000000000000000" }))
  ),
  writingWith(
    "RequestSimulcastRid",
    7,
    "RequestSimulcastRid without simulcast",
    invalidParams,
    (session, method) => answerOf(session, call(session, method, { rid: "r1" }))
  ),
  writingWith(
    "RequestSimulcastRid",
    6,
    "the rid auto",
    invalidParams,
    (session, method) => answerOf(session, call(session, method, { rid: "auto" }))
  )
]

// ---------------------------------------------------------------- what was seen on the way

const seenOf = (seen: Seen, context: Context): ReadonlyArray<Finding> => {
  const { granted } = context
  const offer = seen.offer ?? {}
  const offered: ReadonlyArray<any> = Array.isArray(offer.data_channels) ? offer.data_channels : []
  const rpc = offered.find(({ label }) => label === "rpc")
  const frames = [...seen.forms.get("rpc") ?? []]
  const opened = seen.opening.indexOf("rpc")
  const switched = seen.opening.indexOf("switched")
  const gaps = seen.pings.slice(1).map((at, i) => at - seen.pings[i]!).toSorted((a, b) => a - b)
  const known = Object.keys(Signaling.encodeServerMessage(decodedOffer(offer)))
  const strange = Object.keys(offer).filter((name) => !known.includes(name))
  const ofRpc = (row: number, about: string, guess: string, observe: () => string) =>
    rpc === undefined || opened < 0
      ? notTried(row, about, guess, "there is no rpc channel")
      : tried(row, about, guess, observe())
  const ofGrants = (row: number, about: string, guess: string, observe: () => string) =>
    granted.length === 0 ? notTried(row, about, guess, "nothing is granted") : tried(row, about, guess, observe())
  return [
    tried(
      17,
      "the order of data_channels",
      "signaling, notify, push, stats, rpc",
      offered.map(({ label }) => String(label)).filter((label) => !label.startsWith("#")).join(", ")
    ),
    ofRpc(17, "compress of rpc in the offer", "true", () => String(rpc.compress)),
    ofRpc(17, "direction of rpc in the offer", "sendrecv", () => String(rpc.direction)),
    frames.length === 0
      ? notTried(17, "frames of the server on rpc", "zlib", "none came")
      : tried(17, "frames of the server on rpc", rpc?.compress === true ? "zlib" : "text", frames.join(" and ")),
    ofRpc(
      19,
      "when rpc opens",
      "before switched",
      () => switched < 0 ? "switched did not come" : opened < switched ? "before switched" : "after switched"
    ),
    seen.arrivals.includes("re-offer")
      ? tried(18, "a re-offer", "none without a change", "one came")
      : notTried(18, "a re-offer", "without rpc_methods and data_channels", "none came"),
    tried(
      27,
      "the rpc channel and rpc_methods",
      "both",
      rpc === undefined
        ? granted.length === 0 ? "neither" : "methods without the channel"
        : granted.length === 0
        ? "the channel without methods"
        : "both"
    ),
    ofGrants(
      28,
      "versions of what is granted",
      "2025.2.0",
      () =>
        Array.from(new Set(granted.map((method) => method.includes("/") ? method.split("/")[0]! : "none"))).join(", ")
    ),
    ofGrants(
      29,
      "the two metadata methods",
      "granted",
      () =>
        ["PutSignalingNotifyMetadata", item].every((name) => grantOf(context, name) !== undefined)
          ? "granted"
          : "not granted, by the authentication or without signaling_notify_metadata_ext"
    ),
    tried(null, "ignore_disconnect_websocket of the offer", "false", String(offer.ignore_disconnect_websocket)),
    tried(null, "redirects before the offer", "0", String(seen.redirects)),
    tried(null, "members of the offer that we do not know", "none", strange.join(", ") || "none"),
    gaps.length === 0
      ? notTried(24, "the time between pings", "5 s", "fewer than two came")
      : tried(24, "the time between pings", "5 s", secondsOf(gaps[gaps.length >> 1]!))
  ]
}

/** As exactly as a busy machine can tell. */
const secondsOf = (millis: number) =>
  `${millis < 1000 ? Math.round(millis / 100) / 10 : Math.round(millis / 500) / 2} s`

const decodedOffer = (offer: Schema.JsonObject) => {
  const decoded = Signaling.decodeServerMessage(offer)
  return decoded._tag === "Success" && decoded.success.type === "offer"
    ? decoded.success
    : { type: "offer" as const, sdp: "", connectionId: "" }
}

// ---------------------------------------------------------------- before there is a connection

const closedOr = (
  answer: Signaling.Wire | Closed | undefined,
  otherwise: (message: Signaling.Wire) => string
): string =>
  answer === undefined
    ? "nothing within 5 s"
    : "code" in answer && "reason" in answer && !("type" in answer)
    ? `closed with ${answer.code} ${answer.reason}`.trimEnd()
    : otherwise(answer as Signaling.Wire)

const bare = (
  row: number | null,
  about: string,
  guess: string,
  change: (connect: Signaling.Wire) => Signaling.Wire,
  observe: (message: Signaling.Wire) => string = (message) =>
    message.type === "offer" ? "accepted" : String(message.type)
): Probe =>
({ options, recorder, url }) =>
  Effect.gen(function*() {
    recorder.note(`trying: ${about}`)
    // Of a command it is no effect.
    const given = options.metadata as SoraConnection.Metadata | undefined
    const metadata = Redacted.isRedacted(given) ? Redacted.value(given) : given
    const connect = Signaling.encodeClientMessage(ConnectMessage.make(options, metadata, "sora-rpc doctor"))
    return [tried(row, about, guess, closedOr(yield* askSocket(options, url, change(connect), recorder), observe))]
  })

const without = (connect: Signaling.Wire, ...names: ReadonlyArray<string>): Signaling.Wire =>
  Object.fromEntries(Object.entries(connect).filter(([name]) => !names.includes(name)))

const connects: ReadonlyArray<Probe> = [
  bare(1, "a connect without a role", "closed with 4490 INVALID-MESSAGE", (connect) => without(connect, "role")),
  (context) => {
    const about = "a connect whose access token is wrong"
    const guess = "closed with 4490 and the authentication's reason"
    const { metadata } = context.options
    const given = Redacted.isRedacted(metadata) ? Redacted.value(metadata) : metadata
    return given === undefined
      ? Effect.succeed([notTried(1, about, guess, "there is no token in metadata to be wrong")])
      : Effect.map(
        bare(1, about, guess, (connect) => ({ ...connect, metadata: { access_token: "effect-sora-rpc-doctor" } }))(
          context
        ),
        ([finding]) =>
          finding!.observed === "accepted"
            ? [notTried(1, about, guess, "this server takes a wrong one as well")]
            // Which reason it is, is for the report to say.
            : finding!.observed!.startsWith("closed with 4490 ")
            ? [{ ...finding!, verdict: "as guessed" }]
            : [finding!]
      )
  },
  bare(
    31,
    "recvonly without media, with a channel of its own",
    "closed with 4490 INVALID-MESSAGE",
    (connect) => ({
      ...connect,
      role: "recvonly",
      audio: false,
      video: false,
      data_channels: [{ label: "#effect-sora-rpc", direction: "sendrecv" }]
    })
  ),
  bare(
    null,
    "DataChannel signaling for who does not ask for it",
    "off, and the WebSocket must stay",
    (connect) => ({
      ...without(connect, "data_channel_signaling", "ignore_disconnect_websocket", "data_channels", "audio", "video")
    }),
    (message) =>
      message.type !== "offer"
        ? String(message.type)
        : `${message.data_channel_signaling === true ? "on" : "off"}, and the WebSocket ${
          message.ignore_disconnect_websocket === true ? "may go" : "must stay"
        }`
  )
]

const left: ReadonlyArray<Finding> = [
  notTried(14, "messages above 262,144 bytes", "the connection ends", "this client does not send them"),
  notTried(15, "limits of rate and of calls in flight", "none", "it would load the server"),
  notTried(22, "simulcast.switched for none", "sent on change alone", "it needs a sender with simulcast"),
  notTried(24, "time limits for connect and answer", "30 s", "it takes minutes"),
  notTried(
    25,
    "header and compress together",
    "the header inside the compressed data",
    "it needs a channel of the application"
  ),
  notTried(
    26,
    "side effects of the two spotlight methods",
    "simulcast.switched if a layer changes",
    "it needs a spotlight"
  ),
  notTried(30, "errors of the HTTP API", "400, 404, 500 with an error text", "it is not for clients"),
  notTried(
    32,
    "signaling_notify_metadata_ext of the authentication",
    "the first value of the store",
    "the authentication decides"
  ),
  notTried(
    33,
    "what the channel is told of others",
    "no updated of somebody unknown, no data in another's created, own bundle not listed",
    "it needs other connections"
  ),
  notTried(34, "a push of metadata before the created of its connection", "it may be", "it needs other connections"),
  notTried(35, "how long a TURN credential lasts", "no TURN of its own", "it would load the TURN server, for hours"),
  notTried(36, "a re-offer that takes a track away", "the transceiver is stopped", "it needs a sender that stops"),
  notTried(null, "a close message before the server's end", "none", "the server would have to end the connection")
]

/** All of them, one after the other. */
export const tryAll = Effect.fnUntraced(function*<R>(
  context: Context,
  first: Seen,
  onProgress: (done: number, of: number) => Effect.Effect<void, never, R>
): Effect.fn.Return<ReadonlyArray<Finding>, never, R> {
  const probes = [...frames, ...changing, large, ...connects]
  const findings: Array<Finding> = []
  for (const [i, probe] of probes.entries()) {
    yield* onProgress(i, probes.length)
    findings.push(...yield* probe(context))
  }
  const session = yield* context.session
  const asked = session?.raw.frames.map(decodeFrame).filter((json) => isObject(json) && "method" in json).length ?? 0
  return [
    ...seenOf(first, context),
    context.obstacle === undefined
      ? tried(20, "requests of the server on rpc", "none", asked === 0 ? "none" : `${asked}; see the transcript`)
      : notTried(20, "requests of the server on rpc", "none", context.obstacle),
    ...findings,
    ...left
  ]
})
