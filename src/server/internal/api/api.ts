/**
 * The HTTP API, on a port of its own: `POST /` with the header `x-sora-target`,
 * JSON in, JSON out. It listens on the loopback interface alone, because it asks
 * nobody who they are.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as ByteSize from "effect/ByteSize"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import type * as HttpServerError from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { AddressInfo } from "node:net"
import * as HttpServer from "../httpServer.ts"
import { DefaultHost } from "../options.ts"
import { type AllowedOrigins, refusalOf } from "../origins.ts"
import { ApiError, type Operation } from "./operations.ts"

/** The body of a request, in bytes: as much as a signaling message. */
const MaxBodyBytes = 1024 * 1024

/** Time for a request to come. */
const Patience = Duration.seconds(30)

const fail = (status: number, message: string) => Effect.fail(new ApiError({ status, message }))

const operationOf = (
  operations: ReadonlyMap<string, Operation>,
  target: string | undefined
): Effect.Effect<Operation, ApiError> => {
  const known = Array.from(operations.keys())
  if (target === undefined) return fail(400, `say in the header x-sora-target what to do: ${known.join(", ")}`)
  const operation = operations.get(target)
  if (operation !== undefined) return Effect.succeed(operation)
  const [, name] = target.split(".")
  const similar = known.filter((one) => one.endsWith(`.${name}`))
  const named = JSON.stringify(target.slice(0, 200))
  return fail(400, `there is no ${named} here, but ${(similar.length > 0 ? similar : known).join(", ")}`)
}

const bodyOf = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<Schema.Json, ApiError> =>
  Effect.flatMap(
    Effect.mapError(request.text, () =>
      new ApiError({ status: 413, message: `the body cannot be read, or has more than ${MaxBodyBytes} bytes` })),
    (text): Effect.Effect<Schema.Json, ApiError> => {
      try {
        // Whoever lists everything has nothing to say.
        return Effect.succeed(text === "" ? {} : JSON.parse(text) as Schema.Json)
      } catch {
        return fail(400, "the body is no JSON")
      }
    }
  )

const answerTo = Effect.fnUntraced(function*(
  request: HttpServerRequest.HttpServerRequest,
  operations: ReadonlyMap<string, Operation>
): Effect.fn.Return<Schema.Json, ApiError> {
  if (request.url.split("?")[0] !== "/") return yield* fail(404, "everything is at the path /")
  if (request.method !== "POST") return yield* fail(405, "everything is a POST")
  const operation = yield* operationOf(operations, request.headers["x-sora-target"])
  return yield* operation(yield* bodyOf(request))
})

const json = (status: number, body: Schema.Json) => HttpServerResponse.jsonUnsafe(body, { status })

const errorBody = ({ details, message }: ApiError): Schema.JsonObject => ({ error: message, ...details })

/** A page of an origin that may connect may call it too. */
const corsHeaders = (origin: string | undefined): Record<string, string> =>
  origin === undefined ? {} : {
    "access-control-allow-origin": origin,
    "access-control-allow-methods": "POST, OPTIONS",
    "access-control-allow-headers": "content-type, x-sora-target",
    "access-control-max-age": "1000",
    vary: "origin"
  }

/**
 * Listens until the scope closes, and gives the URL.
 *
 * @internal
 */
export const make = Effect.fnUntraced(function*(options: {
  readonly port: number
  readonly allowedOrigins: AllowedOrigins | undefined
  readonly operations: ReadonlyMap<string, Operation>
}): Effect.fn.Return<string, HttpServerError.ServeError, Scope.Scope> {
  const { allowedOrigins, operations, port } = options
  const { server, stop } = HttpServer.make(Patience)

  const app = Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const { host, origin } = request.headers
    const refusal = refusalOf({ host, origin }, { host: DefaultHost, allowedOrigins })
    if (refusal !== undefined) {
      return json(403, { error: `${refusal}: see the option allowedOrigins of SoraServer (--allow-origin)` })
    }
    const response = request.method === "OPTIONS"
      ? HttpServerResponse.empty()
      : yield* answerTo(request, operations).pipe(
        Effect.match({
          onSuccess: (body) => json(200, body),
          onFailure: (error) => json(error.status, errorBody(error))
        }),
        Effect.catchCause((cause) =>
          Cause.hasInterruptsOnly(cause)
            ? Effect.interrupt
            : Effect.as(
              Effect.ignoreCause(Effect.logError("the development server's HTTP API failed", cause)),
              json(500, { error: "the development server failed" })
            )
        )
      )
    return HttpServerResponse.setHeaders(response, corsHeaders(origin))
  }).pipe(Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(MaxBodyBytes)))

  const { serve } = yield* NodeHttpServer.make(() => server, {
    host: DefaultHost,
    port,
    disablePreemptiveShutdown: true
  })
  yield* serve(app)
  // Before anything that would wait for whoever is still there.
  yield* Effect.addFinalizer(() => stop)
  return `http://${DefaultHost}:${(server.address() as AddressInfo).port}/`
})
