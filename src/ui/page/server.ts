/**
 * The page's connection to the server: it is made again whenever it breaks, and
 * goes on where it was.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { RpcClient, type RpcClientError, type RpcGroup, RpcSerialization } from "effect/rpc"
import * as Schedule from "effect/Schedule"
import { Socket } from "effect/socket"
import * as Stream from "effect/Stream"
import { type Entry, Protocol, type Refused } from "../internal/protocol.ts"
import { connections, faults, get, info, language, notice, seconds, set, state, status } from "./atoms.ts"
import { History } from "./history.ts"
import { languages } from "./texts.ts"

type Client = RpcClient.RpcClient<RpcGroup.Rpcs<typeof Protocol>, RpcClientError.RpcClientError>

const MaxSeconds = 300

let client: Client | undefined

export const history = new History()
/** Counts the changes of {@link history}. */
export const changed = state(0)

let drawing = false
/** A view is drawn once for all that came since the last time. */
export const touch = (): void => {
  if (drawing) return
  drawing = true
  requestAnimationFrame(() => {
    drawing = false
    set(changed, get(changed) + 1)
  })
}

const socketUrl = () => {
  const { host, search } = location
  return `ws://${host}${new URL("socket", location.href).pathname}${search}`
}

const layer = Layer.suspend(() =>
  RpcClient.layerProtocolSocket({ retryTransientErrors: false }).pipe(
    Layer.provide([
      Socket.layerWebSocket(socketUrl()).pipe(Layer.provide(Socket.layerWebSocketConstructorGlobal)),
      RpcSerialization.layerJson
    ])
  )
)

const watchConnections = (client: Client) => {
  let first = true
  return Stream.runForEach(client.Connections(), ({ changed, removed }) =>
    Effect.sync(() => {
      const next = new Map(first ? [] : get(connections))
      first = false
      for (const connection of changed) next.set(connection.connectionId, connection)
      for (const id of removed) next.delete(id)
      set(connections, next)
    }))
}

const watchFaults = (client: Client) => Stream.runForEach(client.Faults(), (now) => Effect.sync(() => set(faults, now)))

const watchTimeline = (client: Client) =>
  Stream.runForEach(
    Stream.suspend(() => client.Timeline({ after: history.last })),
    ({ entries, lost }) =>
      Effect.sync(() => {
        history.add(entries as ReadonlyArray<Entry>, lost)
        touch()
      })
  )

const watchFigures = (client: Client) =>
  Stream.runForEach(client.Figures(), (more) =>
    Effect.sync(() => {
      const last = get(seconds).at(-1)?.at ?? 0
      set(seconds, [...get(seconds), ...more.filter(({ at }) => at > last)].slice(-MaxSeconds))
    }))

const session = Effect.gen(function*() {
  const made: Client = yield* RpcClient.make(Protocol)
  set(info, yield* made.Info())
  set(connections, new Map())
  client = made
  set(status, "online")
  yield* Effect.all([watchConnections(made), watchFaults(made), watchTimeline(made), watchFigures(made)], {
    concurrency: "unbounded"
  })
}).pipe(
  Effect.provide(layer),
  Effect.scoped,
  Effect.ensuring(Effect.sync(() => {
    client = undefined
    set(status, "offline")
  }))
)

export const run: Effect.Effect<void> = session.pipe(
  Effect.sandbox,
  Effect.ignore,
  Effect.repeat(Schedule.spaced("1 second")),
  Effect.asVoid
)

export const say = (text: string, failed = false): void => set(notice, { text, failed })

/** Does something on the server and says how it went. Gives what came of it, or nothing. */
export const act = <A>(
  what: string,
  use: (client: Client) => Effect.Effect<A, Refused | RpcClientError.RpcClientError>
): Promise<A | undefined> => {
  const texts = languages[get(language)]
  const made = client
  if (made === undefined) {
    say(texts.offline, true)
    return Promise.resolve(undefined)
  }
  return Effect.runPromise(
    use(made).pipe(
      Effect.tap(() => Effect.sync(() => say(`${texts.done}${what}`))),
      Effect.catchCause((cause) =>
        Effect.sync(() => {
          const error = cause.reasons.find((reason) => reason._tag === "Fail")?.error
          say(`${texts.failed}${error?.message ?? what}`, true)
          return undefined
        })
      )
    )
  )
}
