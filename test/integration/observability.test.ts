/**
 * What of a connection is seen from outside, over real WebRTC.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Metric, Option, Redacted, Schedule, Tracer } from "effect"
import { SoraMethod } from "effect-sora-rpc"
import { SoraAuth, SoraServer } from "effect-sora-rpc/server"
import { connect, first } from "../utils/connect.ts"
import { makeTracer, metric } from "../utils/tracer.ts"

const Steps = ["sora.dial", "sora.await_offer", "sora.negotiate", "sora.join"]

const idOf = ({ spanId }: Tracer.AnySpan) => spanId
const parentOf = ({ parent }: Tracer.Span) => Option.getOrUndefined(Option.map(parent, idOf))
const attributesOf = ({ attributes }: Tracer.Span) => Object.fromEntries(attributes)
const exitOf = ({ status }: Tracer.Span) => status._tag === "Ended" ? status.exit : undefined
const named = (spans: ReadonlyArray<Tracer.Span>, name: string) => spans.filter((span) => span.name === name)
const childrenOf = (spans: ReadonlyArray<Tracer.Span>, span: Tracer.Span) =>
  spans.filter((child) => parentOf(child) === span.spanId)

const observed = <A, E, R>(tracer: Tracer.Tracer, self: Effect.Effect<A, E, R>) =>
  self.pipe(Effect.withTracer(tracer), Effect.provideService(Metric.MetricRegistry, new Map()))

/** The loopback address, with what must not be seen. */
const secret = (url: string) => url.replace("ws://", "ws://user:s3cret@") + "?token=s3cret"

describe("connecting", () => {
  it.live("is a span with its steps, where it went, and no secret", () => {
    const { spans, tracer } = makeTracer()
    return observed(
      tracer,
      Effect.gen(function*() {
        const server = yield* SoraServer.make()
        const client = yield* Effect.useSpan("program", (span) =>
          Effect.withParentSpan(
            connect({ url: secret(server.url), channelId: "lobby", metadata: Redacted.make({ token: "s3cret" }) }),
            span
          ))
        const { connectionId } = yield* client.connection.offer
        const [attempt] = named(spans, "sora.connect")
        assert.deepStrictEqual([attempt?.kind, parentOf(attempt!)], ["client", named(spans, "program")[0]?.spanId])
        const port = Number(new URL(server.url).port)
        assert.deepStrictEqual(attributesOf(attempt!), {
          "sora.channel_id": "lobby",
          "server.address": "127.0.0.1",
          "server.port": port,
          "sora.connection_id": connectionId
        })
        const steps = childrenOf(spans, attempt!)
        assert.deepStrictEqual(steps.map(({ name }) => name), Steps)
        assert.isTrue([attempt!, ...steps].every((span) => Exit.isSuccess(exitOf(span)!)))
        const happened = (steps[3] as Tracer.NativeSpan).events.map(([name, , attributes]) =>
          [name, attributes?.["sora.label"]].filter(Boolean).join(" ")
        )
        assert.includeMembers(happened, ["peer connected", "channel open rpc"])
        const text = JSON.stringify(
          spans.map((
            span
          ) => [
            span.name,
            attributesOf(span),
            (span as Tracer.NativeSpan).events.map(([name, , more]) => [name, more])
          ])
        )
        assert.notInclude(text, "s3cret")

        // The call, and what the server did for it.
        yield* client.rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, { key: "k", value: 1 })
        yield* client.rpc.notify(SoraMethod.PutSignalingNotifyMetadataItem, { key: "k", value: 2 })
        yield* client.rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, { key: "k", value: 3 })
        const calls = named(spans, "2025.2.0/PutSignalingNotifyMetadataItem")
        const [call, notification] = calls.filter(({ kind }) => kind === "client")
        for (const span of [call, notification]) {
          assert.deepInclude(attributesOf(span!), attributesOf(attempt!))
        }
        const served = calls.filter(({ kind }) => kind === "server")
        assert.lengthOf(served, 3)
        const [, unknown] = served
        assert.strictEqual(parentOf(served[0]!), call!.spanId)
        assert.strictEqual(served[0]!.traceId, call!.traceId)
        assert.deepStrictEqual(attributesOf(served[0]!), {
          "rpc.system.name": "jsonrpc",
          "rpc.method": "2025.2.0/PutSignalingNotifyMetadataItem",
          "jsonrpc.protocol.version": "2.0",
          "jsonrpc.request.id": "1",
          "sora.channel_id": "lobby",
          "sora.connection_id": connectionId
        })
        // A notification has no id by which to know it.
        assert.isUndefined(parentOf(unknown!))

        assert.deepStrictEqual((yield* metric("sora.client.connections")).value, 1)
        assert.strictEqual((yield* metric("sora.client.connect.duration")).count, 1)
        yield* client.close
        assert.deepStrictEqual((yield* metric("sora.client.connections")).value, 0)
      })
    )
  })

  it.live("by way of another node goes through its steps again", () => {
    const { spans, tracer } = makeTracer()
    return observed(
      tracer,
      Effect.gen(function*() {
        const server = yield* SoraServer.make({ redirects: 1 })
        yield* connect({ url: server.url })
        const [attempt] = named(spans, "sora.connect")
        assert.deepStrictEqual(childrenOf(spans, attempt!).map(({ name }) => name), [...Steps.slice(0, 2), ...Steps])
      })
    )
  })

  it.live("that fails says why, and how far it came", () => {
    const { spans, tracer } = makeTracer()
    return observed(
      tracer,
      Effect.gen(function*() {
        const server = yield* SoraServer.make({
          authenticate: () => Effect.fail(new SoraAuth.Refusal({ reason: "NOT-YOU" }))
        })
        yield* Effect.flip(connect({ url: server.url }))
        yield* Effect.flip(connect({ url: "ws://127.0.0.1:1/signaling" }))
        const [refused, never] = named(spans, "sora.connect")
        assert.strictEqual(refused!.attributes.get("error.type"), "Refused")
        assert.deepStrictEqual(childrenOf(spans, refused!).map(({ name }) => name), Steps.slice(0, 2))
        assert.isTrue(Exit.isFailure(exitOf(childrenOf(spans, refused!)[1]!)!))
        assert.strictEqual(never!.attributes.get("error.type"), "Unreachable")
        assert.isFalse(never!.attributes.has("server.address"))
        assert.deepStrictEqual(childrenOf(spans, never!).map(({ name }) => name), Steps.slice(0, 1))
        assert.strictEqual((yield* metric("sora.client.connect.duration", { "error.type": "Refused" })).count, 1)
        assert.isUndefined(yield* metric("sora.client.connections"))
      })
    )
  })

  it.live("again is a trace of its own, with an attempt each", () => {
    const { spans, tracer } = makeTracer()
    return observed(
      tracer,
      Effect.gen(function*() {
        let refusals = 0
        const server = yield* SoraServer.make({
          authenticate: () =>
            refusals-- > 0 ? Effect.fail(new SoraAuth.Refusal({ reason: "INTERNAL-ERROR" })) : Effect.succeed({})
        })
        const connecting = connect({ url: server.url, reconnect: Schedule.spaced("10 millis") })
        const client = yield* Effect.useSpan("program", (span) => Effect.withParentSpan(connecting, span))
        const before = yield* client.connection.offer
        refusals = 1
        yield* server.inject(before.connectionId, "closeAbruptly")
        yield* first(client.connection.changes, ({ _tag }) => _tag === "Reconnecting")
        assert.strictEqual((yield* metric("sora.client.connections")).value, 0)
        yield* client.rpc.call(SoraMethod.PutSignalingNotifyMetadataItem, { key: "k", value: 1 }, {
          timeout: "15 seconds"
        })
        yield* first(client.connection.changes, ({ _tag }) => _tag === "Connected")
        const { connectionId } = yield* client.connection.offer
        const [again] = named(spans, "sora.reconnect")
        assert.isUndefined(parentOf(again!))
        const { "sora.disconnect.reason": reason, ...attributes } = attributesOf(again!)
        assert.deepStrictEqual(attributes, { "sora.channel_id": "test", "sora.reconnect.outcome": "connected" })
        const attempts = childrenOf(spans, again!)
        assert.deepStrictEqual(attempts.map(({ attributes, name }) => [name, attributes.get("error.type")]), [
          ["sora.connect", "Refused"],
          ["sora.connect", undefined]
        ])
        assert.strictEqual(attempts[1]!.attributes.get("sora.connection_id"), connectionId)
        // The call waited for the new connection, and was served on it.
        const [call, served] = named(spans, "2025.2.0/PutSignalingNotifyMetadataItem")
        assert.strictEqual(call!.attributes.get("sora.connection_id"), connectionId)
        assert.strictEqual(parentOf(served!), call!.spanId)
        assert.strictEqual((yield* metric("sora.client.connections")).value, 1)
        const counted = yield* metric("sora.client.reconnects", { reason: String(reason), outcome: "connected" })
        assert.strictEqual(counted.count, 1)
      })
    )
  }, 30_000)

  it.live("is not hurt by a tracer that throws", () => {
    const { tracer } = makeTracer()
    let broken: string | undefined
    const throwing = Tracer.make({
      span(options) {
        if (options.name === "sora.negotiate" || options.name === broken) throw new Error("a mistake of the tracer")
        const span = tracer.span(options)
        span.event = () => {
          throw new Error("another one")
        }
        return span
      }
    })
    const reported: Array<unknown> = []
    const listen = Effect.acquireRelease(
      Effect.sync(() => Object.assign(globalThis, { reportError: (error: unknown) => reported.push(error) })),
      () => Effect.sync(() => Reflect.deleteProperty(globalThis, "reportError"))
    )
    return observed(
      throwing,
      Effect.gen(function*() {
        yield* listen
        const server = yield* SoraServer.make()
        const client = yield* connect({ url: server.url })
        assert.strictEqual((yield* client.connection.state)._tag, "Connected")
        assert.includeMembers(reported.map(String), ["Error: a mistake of the tracer", "Error: another one"])
        for (const name of ["sora.connect", "sora.reconnect"]) {
          broken = name
          const client = yield* connect({ url: server.url, reconnect: Schedule.spaced("10 millis") })
          yield* server.inject((yield* client.connection.offer).connectionId, "closeAbruptly")
          yield* first(client.connection.changes, ({ _tag }) => _tag === "Reconnecting")
          yield* first(client.connection.changes, ({ _tag }) => _tag === "Connected")
        }
      })
    )
  })
})
