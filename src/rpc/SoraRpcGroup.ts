/**
 * Methods as an `RpcGroup` of `effect/rpc`, the common form of typed calls in
 * Effect: so that an `RpcClient` calls over Sora's channel, and an `RpcServer`
 * (HTTP, WebSocket, a worker) hands on what it is asked to a connection.
 *
 * ```ts
 * const group = SoraRpcGroup.make(SoraMethod.known)
 *
 * // in a program with a `SoraRpc`
 * const client = yield* RpcClient.make(group)
 * yield* client.RequestSimulcastRid({ rid: "r1" })
 *
 * program.pipe(Effect.provide(SoraRpcGroup.layerProtocol(group)))
 * ```
 *
 * A method's tag is its name without a version. Its error schema has the three
 * errors of a call, which arrive as what they are on the other side, reasons
 * included; only what JSON has no form for, the `cause` of an `InvalidParams` or
 * an `Unavailable`, arrives as an `Error` with its name and message. Beside them
 * a client fails with `RpcClientError` when it cannot reach its server. Params
 * that do not fit are a defect of the client that makes them, as in any
 * `RpcGroup`.
 *
 * `effect/rpc` is a module that Effect calls unstable: it may change in a minor
 * release.
 *
 * @since 0.1.0
 * @module
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcGroup from "effect/rpc/RpcGroup"
import type { FromClientEncoded, FromServerEncoded } from "effect/rpc/RpcMessage"
import type * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import { Released } from "../DisconnectReason.ts"
import * as SoraMethod from "../SoraMethod.ts"
import { type CallOptions, SoraRpc } from "../SoraRpc.ts"
import { Disconnected, InvalidOptions, InvalidParams, RpcError, SoraRpcError } from "../SoraRpcError.ts"

/**
 * A schema of a method as `effect/rpc` types its own: what is given to a client
 * is what the schema decodes to.
 *
 * @category models
 * @since 0.1.0
 */
export interface SchemaOf<S extends SoraMethod.PureSchema>
  extends Schema.Bottom<S["Type"], S["Encoded"], never, never, SchemaAST.AST, SchemaOf<S>>
{}

/**
 * The `Rpc` of a method.
 *
 * @category models
 * @since 0.1.0
 */
export type FromMethod<M extends SoraMethod.Any> = M extends
  SoraMethod.SoraMethod<infer Name, infer Params, infer Result> ? Rpc.Rpc<
    Name,
    [Params] extends [typeof Schema.Void] ? typeof Schema.Void : SchemaOf<Params>,
    SchemaOf<Result>,
    typeof SoraRpcError
  >
  : never

/** Which method an `Rpc` is; it stays with it when the group is merged or prefixed. */
const Method = Context.Reference<SoraMethod.Any | undefined>("effect-sora-rpc/rpc/SoraRpcGroup/Method", {
  defaultValue: () => undefined
})

/**
 * A group of methods, each under its name without a version. Throws
 * `InvalidOptions` when two of them have the same name: make a group of each,
 * and give one a `prefix`.
 *
 * ```ts
 * const group = SoraRpcGroup.make([...SoraMethod.known, GetRoomInfo])
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const Methods extends ReadonlyArray<SoraMethod.Any>>(
  methods: Methods
): RpcGroup.RpcGroup<FromMethod<Methods[number]>> => {
  const names = methods.map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) < i)
  if (twice !== undefined) throw new InvalidOptions({ issue: `methods: two of them are called ${twice}` })
  const rpcs = methods.map((method) =>
    Rpc.make(method.name, { payload: method.params, success: method.result, error: SoraRpcError })
      .annotate(Method, method)
  )
  // The compiler does not know which method is at which place of the list.
  return RpcGroup.make(...rpcs) as RpcGroup.RpcGroup<any>
}

const TimeoutHeader = "sora-rpc-timeout"

/**
 * The timeout of one call, as headers: `effect/rpc` has no options of a call's
 * own. Without it the default of the `SoraRpc` that makes the call holds.
 *
 * ```ts
 * client.RequestSimulcastRid({ rid: "r1" }, { headers: SoraRpcGroup.timeout("2 seconds") })
 * program.pipe(RpcClient.withHeaders(SoraRpcGroup.timeout("2 seconds")))
 * ```
 *
 * @category headers
 * @since 0.1.0
 */
export const timeout = (duration: Duration.Input): { readonly [TimeoutHeader]: string } => ({
  [TimeoutHeader]: String(Duration.toMillis(duration))
})

/** Milliseconds as {@link timeout} writes them; undefined for anything else. */
const readTimeout = (text: string): number | undefined =>
  text === "Infinity" || /^\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : undefined

/** `call` and `notify` as they are for a method whose schemas are checked elsewhere. */
interface AnyCalls {
  readonly call: (
    method: SoraMethod.Any,
    params: any,
    options?: CallOptions
  ) => Effect.Effect<unknown, SoraRpcError>
  readonly notify: (method: SoraMethod.Any, params: any) => Effect.Effect<void, SoraRpcError>
}

/** Calls the method of an `Rpc` with the timeout that the headers ask for. */
const call = (
  rpc: AnyCalls,
  method: SoraMethod.Any,
  params: unknown,
  text: string | undefined
): Effect.Effect<unknown, SoraRpcError> => {
  const millis = text === undefined ? undefined : readTimeout(text)
  if (text !== undefined && millis === undefined) {
    const issue = `the header ${TimeoutHeader} is no number of milliseconds`
    return Effect.fail(new RpcError({ method: SoraMethod.wireName(method), reason: new InvalidParams({ issue }) }))
  }
  return rpc.call(method, params, millis === undefined ? undefined : { timeout: millis })
}

/** The methods of a group by their tags. What is no method of Sora's is a defect of whoever wires the program. */
const methodsOf = (group: RpcGroup.RpcGroup<any>): ReadonlyMap<string, SoraMethod.Any> => {
  const methods = new Map<string, SoraMethod.Any>()
  for (const [tag, rpc] of group.requests as ReadonlyMap<string, Rpc.Any>) {
    const method = Context.get(rpc.annotations, Method)
    if (method === undefined) {
      throw new InvalidOptions({
        issue: `group: ${tag} is no method of SoraRpcGroup.make; it needs a handler of its own`
      })
    }
    methods.set(tag, method)
  }
  return methods
}

const released = Exit.fail(new Disconnected({ reason: new Released() }))

/** Nothing is encoded between an `RpcClient` and the `SoraRpc` beside it, which does all that itself. */
const codecFor = (() => Schema.Any) as unknown as RpcSerialization.CodecFor

/**
 * A client protocol that calls over a `SoraRpc`: with it `RpcClient.make(group)`
 * calls Sora. A call with `discard` is sent as a notification, which the server
 * never answers; one that is interrupted is cancelled.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeProtocol = Effect.fnUntraced(function*<Rpcs extends Rpc.Any>(group: RpcGroup.RpcGroup<Rpcs>) {
  const rpc: AnyCalls = yield* SoraRpc
  const scope = yield* Effect.scope
  const methods = yield* Effect.sync(() => methodsOf(group))
  const running = new Map<string, Fiber.Fiber<unknown, unknown>>()

  return yield* RpcClient.Protocol.make((write) => {
    const end = (clientId: number, requestId: string | number, exit: Exit.Exit<unknown, unknown>) =>
      // As it is, because `codecFor` takes it as it is.
      write(clientId, { _tag: "Exit", requestId, exit } as unknown as FromServerEncoded)

    const send = (clientId: number, message: FromClientEncoded): Effect.Effect<void> => {
      switch (message._tag) {
        case "Request": {
          const key = `${clientId}/${message.id}`
          const method = methods.get(message.tag)
          if (method === undefined) {
            return Effect.die(
              new InvalidOptions({ issue: `group: the protocol was made for one without ${message.tag}` })
            )
          }
          const { 1: text } = message.headers.find(([name]) => name === TimeoutHeader) ?? []
          const made = message.discard === true
            ? rpc.notify(method, message.payload)
            : call(rpc, method, message.payload, text)
          // A fiber of a scope that has closed never begins, and would answer nobody.
          if (scope.state._tag === "Closed") return end(clientId, message.id, released)
          return Effect.onExit(made, (exit) => {
            running.delete(key)
            // The scope closes. Whoever interrupts a call of its own waits for no answer.
            const isOurs = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
            return end(clientId, message.id, isOurs ? released : exit)
          }).pipe(
            Effect.forkIn(scope, { startImmediately: true }),
            Effect.map((fiber) => {
              if (fiber.pollUnsafe() === undefined) running.set(key, fiber)
            })
          )
        }
        case "Interrupt": {
          const key = `${clientId}/${message.requestId}`
          const fiber = running.get(key)
          running.delete(key)
          return fiber === undefined ? Effect.void : Fiber.interrupt(fiber)
        }
        default:
          return Effect.void
      }
    }
    return Effect.succeed({ send, supportsAck: false, supportsTransferables: false, codecFor })
  })
})

/**
 * {@link makeProtocol} as a layer: what `RpcClient.make(group)` needs to call
 * over the `SoraRpc` at hand.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerProtocol = <Rpcs extends Rpc.Any>(
  group: RpcGroup.RpcGroup<Rpcs>
): Layer.Layer<RpcClient.Protocol, never, SoraRpc> => Layer.effect(RpcClient.Protocol, makeProtocol(group))

/**
 * Handlers that hand on what an `RpcServer` is asked to a `SoraRpc`, and its
 * answer or error back: a gateway to one connection. Whoever may call the server
 * acts as that connection, so put the server's own authentication before it.
 *
 * ```ts
 * const Gateway = RpcServer.layerHttp({ group, path: "/rpc", protocol: "http" }).pipe(
 *   Layer.provide([SoraRpcGroup.layerHandlers(group), RpcSerialization.layerJson])
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerHandlers = <Rpcs extends Rpc.Any>(
  group: RpcGroup.RpcGroup<Rpcs>
): Layer.Layer<Rpc.ToHandler<Rpcs>, never, SoraRpc> => {
  type Handler = (
    params: unknown,
    options: { readonly headers: Readonly<Record<string, string | undefined>> }
  ) => Effect.Effect<unknown, SoraRpcError>
  const handlers = Effect.gen(function*() {
    const rpc: AnyCalls = yield* SoraRpc
    const methods = yield* Effect.sync(() => methodsOf(group))
    return Object.fromEntries(
      Array.from(methods, ([tag, method]): [string, Handler] => [
        tag,
        (params, { headers }) => call(rpc, method, params, headers[TimeoutHeader])
      ])
    )
  })
  return (group as RpcGroup.RpcGroup<any>).toLayer(handlers) as Layer.Layer<any, never, SoraRpc>
}
