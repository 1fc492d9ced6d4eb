/**
 * Who may connect to the development server, and what they are granted: what
 * Sora's authentication webhook decides (`sora-protocol.md` section 2.17).
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { createHmac, timingSafeEqual } from "node:crypto"
import type * as Signaling from "../Signaling.ts"
import { Rid } from "../SoraMethod.ts"

/**
 * What the authentication gives to a connection. Members that are absent leave
 * what the client asked for, or the server's default.
 *
 * @category models
 */
export interface Grant {
  readonly clientId?: string
  readonly bundleId?: string
  /** Sent to this client alone, as `offer.metadata`. */
  readonly metadata?: Schema.Json
  /** Shown to the channel as `authz_metadata`; what `PutSignalingNotifyMetadata` replaces. */
  readonly signalingNotifyMetadata?: Schema.Json
  /** The methods granted, as in `rpc_methods`. Default: all that the server has. */
  readonly rpcMethods?: ReadonlyArray<string>
  readonly simulcast?: boolean
  readonly simulcastRequestRid?: Rid
  /** The rids that `RequestSimulcastRid` may ask for. Default: all. */
  readonly simulcastRpcRids?: ReadonlyArray<Rid>
  readonly spotlight?: boolean
  readonly dataChannelSignaling?: boolean
  readonly ignoreDisconnectWebsocket?: boolean
  /** The connection is ended after this time, with 1000 `LIFETIME-EXPIRED`. */
  readonly connectionLifetime?: Duration.Input
}

/**
 * The connection is refused: the WebSocket is closed with 4490 and this reason.
 *
 * @category errors
 */
export class Refusal extends Schema.TaggedError<Refusal>()("Refusal", { reason: Schema.String }) {
  override get message(): string {
    return this.reason
  }
}

/**
 * Decides about a connection from its `connect` message.
 *
 * @category models
 */
export type Authenticate<R = never> = (connect: Signaling.Connect) => Effect.Effect<Grant, Refusal, R>

/**
 * Grants everything to everyone.
 *
 * @category hooks
 */
export const grantAll: Authenticate = () => Effect.succeed({})

const Claims = Schema.Struct({
  channelId: Schema.optionalKey(Schema.String),
  expiresAt: Schema.optionalKey(Schema.Finite),
  rpcMethods: Schema.optionalKey(Schema.Array(Schema.String)),
  simulcast: Schema.optionalKey(Schema.Boolean),
  simulcastRequestRid: Schema.optionalKey(Rid),
  simulcastRpcRids: Schema.optionalKey(Schema.Array(Rid)),
  spotlight: Schema.optionalKey(Schema.Boolean),
  metadata: Schema.optionalKey(Schema.Json),
  signalingNotifyMetadata: Schema.optionalKey(Schema.Json),
  ignoreDisconnectWebsocket: Schema.optionalKey(Schema.Boolean),
  /** Seconds. */
  connectionLifetime: Schema.optionalKey(Schema.Finite)
}).pipe(Schema.encodeKeys({
  channelId: "channel_id",
  expiresAt: "exp",
  rpcMethods: "rpc_methods",
  simulcastRequestRid: "simulcast_request_rid",
  simulcastRpcRids: "simulcast_rpc_rids",
  signalingNotifyMetadata: "signaling_notify_metadata",
  ignoreDisconnectWebsocket: "ignore_disconnect_websocket",
  connectionLifetime: "connection_lifetime"
}))

const AccessToken = Schema.decodeUnknownResult(Schema.Struct({ access_token: Schema.String }))
const decodeHeader = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Struct({ alg: Schema.String })))
const decodeClaims = Schema.decodeUnknownResult(Schema.fromJsonString(Claims))

const fromBase64Url = (part: string) => Buffer.from(part, "base64url").toString("utf8")

/**
 * Grants what the private claims of the JWT in `metadata.access_token` say, as
 * the vendor's test server does: `rpc_methods`, `simulcast`,
 * `simulcast_request_rid`, `simulcast_rpc_rids`, `connection_lifetime` (seconds)
 * and so on. `channel_id`, where there is one, must be that of `connect`, and
 * `exp` must not have passed.
 *
 * With a `secret` the HS256 signature is checked; without one it is not, so that
 * tokens made for another server can be tried.
 *
 * @category hooks
 */
export const jwtClaims = (options?: { readonly secret?: Redacted.Redacted<string> | undefined }): Authenticate =>
  Effect.fnUntraced(function*(connect) {
    const token = AccessToken(connect.metadata)
    if (Result.isFailure(token)) return yield* new Refusal({ reason: "NO-ACCESS-TOKEN" })
    const parts = token.success.access_token.split(".")
    const [head, payload, signature] = parts
    const header = decodeHeader(fromBase64Url(head ?? ""))
    const claims = decodeClaims(fromBase64Url(payload ?? ""))
    if (parts.length !== 3 || Result.isFailure(header) || Result.isFailure(claims)) {
      return yield* new Refusal({ reason: "INVALID-ACCESS-TOKEN" })
    }
    if (options?.secret !== undefined) {
      const expected = createHmac("sha256", Redacted.value(options.secret)).update(`${head}.${payload}`).digest()
      const given = Buffer.from(signature!, "base64url")
      const valid = header.success.alg === "HS256" && given.length === expected.length &&
        timingSafeEqual(given, expected)
      if (!valid) return yield* new Refusal({ reason: "INVALID-ACCESS-TOKEN-SIGNATURE" })
    }
    const { channelId, connectionLifetime, expiresAt, ...grant } = claims.success
    if (channelId !== undefined && channelId !== connect.channelId) {
      return yield* new Refusal({ reason: "ACCESS-TOKEN-OF-ANOTHER-CHANNEL" })
    }
    if (expiresAt !== undefined && expiresAt * 1000 <= (yield* Clock.currentTimeMillis)) {
      return yield* new Refusal({ reason: "ACCESS-TOKEN-EXPIRED" })
    }
    return connectionLifetime === undefined
      ? grant
      : { ...grant, connectionLifetime: Duration.seconds(connectionLifetime) }
  })
