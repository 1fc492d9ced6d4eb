/**
 * Who may connect to the development server, and what they are granted: what
 * Sora's authentication webhook decides (`sora-protocol.md` section 2.17).
 *
 * @since 0.1.0
 * @module
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Jose from "jose"
import { createHash, timingSafeEqual } from "node:crypto"
import { issueOf } from "../internal/options.ts"
import { Struct } from "../internal/wire.ts"
import type * as Signaling from "../Signaling.ts"
import { Rid } from "../SoraMethod.ts"
import { InvalidOptions } from "../SoraRpcError.ts"

const number = Schema.optionalKey(Schema.Finite)

/**
 * One layer of a simulcast sender, as `RTCRtpSender.setParameters` takes it: the
 * names are WebRTC's own. Of one that is not `active` nothing is sent.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Encoding = Schema.Struct({
  rid: Schema.Literals(["r0", "r1", "r2"]),
  active: Schema.optionalKey(Schema.Boolean),
  maxBitrate: number,
  minBitrate: number,
  maxFramerate: number,
  scaleResolutionDownBy: number,
  scaleResolutionDownTo: Schema.optionalKey(Schema.Struct({ maxWidth: Schema.Int, maxHeight: Schema.Int })),
  scalabilityMode: Schema.optionalKey(Schema.String),
  adaptivePtime: Schema.optionalKey(Schema.Boolean)
})

/**
 * One layer of a simulcast sender.
 *
 * @category schemas
 * @since 0.1.0
 */
export type Encoding = typeof Encoding.Type

/**
 * The layers of a simulcast sender, each named once.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Encodings = Schema.NonEmptyArray(Encoding).check(
  Schema.makeFilter((encodings) => new Set(encodings.map(({ rid }) => rid)).size === encodings.length, {
    expected: "encodings of different rids"
  })
)

/**
 * What the authentication gives to a connection. Members that are absent leave
 * what the client asked for, or the server's default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Grant {
  readonly clientId?: string
  readonly bundleId?: string
  /** Sent to this client alone, as `offer.metadata`. */
  readonly metadata?: Schema.Json
  /** Shown to the channel as `authz_metadata`. */
  readonly signalingNotifyMetadata?: Schema.Json
  /** The first value of the metadata that RPC changes; nothing without the server's metadata extension. */
  readonly signalingNotifyMetadataExt?: Schema.Json
  /** The methods granted, as in `rpc_methods`. Default: all that the server has. */
  readonly rpcMethods?: ReadonlyArray<string>
  readonly simulcast?: boolean
  readonly simulcastRequestRid?: Rid
  /** The rids that `RequestSimulcastRid` may ask for. Default: all. */
  readonly simulcastRpcRids?: ReadonlyArray<Rid>
  /** What a simulcast sender sends, in place of three layers. Those without a `scalabilityMode` have `L1T1`. */
  readonly simulcastEncodings?: ReadonlyArray<Encoding>
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
 * @since 0.1.0
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
 * @since 0.1.0
 */
export type Authenticate<R = never> = (connect: Signaling.Connect) => Effect.Effect<Grant, Refusal, R>

/**
 * Grants everything to everyone.
 *
 * @category hooks
 * @since 0.1.0
 */
export const grantAll: Authenticate = () => Effect.succeed({})

const Claims = Struct({
  channelId: Schema.optionalKey(Schema.String),
  rpcMethods: Schema.optionalKey(Schema.Array(Schema.String)),
  simulcast: Schema.optionalKey(Schema.Boolean),
  simulcastRequestRid: Schema.optionalKey(Rid),
  simulcastRpcRids: Schema.optionalKey(Schema.Array(Rid)),
  simulcastEncodings: Schema.optionalKey(Encodings),
  spotlight: Schema.optionalKey(Schema.Boolean),
  metadata: Schema.optionalKey(Schema.Json),
  signalingNotifyMetadata: Schema.optionalKey(Schema.Json),
  signalingNotifyMetadataExt: Schema.optionalKey(Schema.Json),
  ignoreDisconnectWebsocket: Schema.optionalKey(Schema.Boolean),
  /** Seconds. */
  connectionLifetime: Schema.optionalKey(Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)))
})

const AccessToken = Schema.decodeUnknownResult(Schema.Struct({ access_token: Schema.String }))
const decodeClaims = Schema.decodeUnknownResult(Claims)

const JwtOptions = Schema.Struct({
  secret: Schema.optional(Schema.Redacted(Schema.NonEmptyString))
})
const issueOfJwtOptions = issueOf(Schema.toType(JwtOptions))

/** Only whoever checks tokens needs the package. */
const loadJose: Effect.Effect<typeof Jose> = Effect.tryPromise(() => import("jose")).pipe(
  Effect.mapError(({ cause }) =>
    new Error("SoraAuth.jwtClaims needs the package \"jose\", which is not there: npm install jose", { cause })
  ),
  Effect.orDie
)

/** Its parts in base64url, each written in the one way in which its bytes are written without padding. */
const isWellFormed = (parts: ReadonlyArray<string>): boolean =>
  parts.every((part) => Buffer.from(part, "base64url").toString("base64url") === part)

/** Takes the same time wherever two texts begin to differ. */
const isSame = (a: string, b: string): boolean => {
  const [left, right] = [a, b].map((text) => createHash("sha256").update(text).digest()) as [Buffer, Buffer]
  return timingSafeEqual(left, right)
}

/** The claims, once they hold at this time; throws jose's errors. */
const readClaims = async (
  jose: typeof Jose,
  token: string,
  secret: Redacted.Redacted<string> | undefined,
  currentDate: Date
): Promise<unknown> => {
  if (secret !== undefined) {
    const key = new TextEncoder().encode(Redacted.value(secret))
    return (await jose.jwtVerify(token, key, { algorithms: ["HS256"], currentDate })).payload
  }
  // Nothing that "crit" could name is known here (RFC 7515, section 4.1.11).
  if (Object.hasOwn(jose.decodeProtectedHeader(token), "crit")) throw new jose.errors.JWTInvalid()
  const unsigned = Buffer.from("{\"alg\":\"none\"}").toString("base64url")
  return jose.UnsecuredJWT.decode(`${unsigned}.${token.split(".")[1]}.`, { currentDate }).payload
}

const refusalOf = (jose: typeof Jose, cause: unknown): string => {
  const { errors } = jose
  if (cause instanceof errors.JWTExpired) return "ACCESS-TOKEN-EXPIRED"
  if (cause instanceof errors.JWTClaimValidationFailed) {
    return cause.claim === "nbf" && cause.reason === "check_failed"
      ? "ACCESS-TOKEN-NOT-YET-VALID"
      : "INVALID-ACCESS-TOKEN"
  }
  return cause instanceof errors.JWSSignatureVerificationFailed || cause instanceof errors.JOSEAlgNotAllowed
    ? "INVALID-ACCESS-TOKEN-SIGNATURE"
    : "INVALID-ACCESS-TOKEN"
}

/**
 * Grants what the private claims of the JWT in `metadata.access_token` say, as
 * the vendor's test server does: `rpc_methods`, `simulcast`,
 * `simulcast_request_rid`, `simulcast_rpc_rids`, `simulcast_encodings`,
 * `connection_lifetime` (seconds) and so on. `channel_id`, where there is one, must be that of `connect`, `exp`
 * must not have passed, and `nbf` must have.
 *
 * With a `secret` the HS256 signature is checked, and the secret itself as the
 * token grants everything; without one nothing is checked, so that tokens made for
 * another server can be tried. An empty secret, which would
 * accept what anybody signs with nothing, is thrown out with `InvalidOptions`.
 *
 * It needs the package `jose`.
 *
 * @category hooks
 * @since 0.1.0
 */
export const jwtClaims = (options?: { readonly secret?: Redacted.Redacted<string> | undefined }): Authenticate => {
  const issue = issueOfJwtOptions(options ?? {})
  if (issue !== undefined) throw new InvalidOptions({ issue })
  const secret = options?.secret
  return Effect.fnUntraced(function*(connect) {
    const found = AccessToken(connect.metadata)
    if (Result.isFailure(found)) return yield* new Refusal({ reason: "NO-ACCESS-TOKEN" })
    const token = found.success.access_token
    if (secret !== undefined && isSame(token, Redacted.value(secret))) return {}
    const [header, payload, signature, ...more] = token.split(".")
    if (header === undefined || payload === undefined || signature === undefined || more.length > 0) {
      return yield* new Refusal({ reason: "INVALID-ACCESS-TOKEN" })
    }
    if (!isWellFormed([header, payload])) return yield* new Refusal({ reason: "INVALID-ACCESS-TOKEN" })
    if (!isWellFormed([signature])) return yield* new Refusal({ reason: "INVALID-ACCESS-TOKEN-SIGNATURE" })
    const jose = yield* loadJose
    const currentDate = new Date(yield* Clock.currentTimeMillis)
    const read = yield* Effect.tryPromise({
      try: () => readClaims(jose, token, secret, currentDate),
      catch: (cause) => new Refusal({ reason: refusalOf(jose, cause) })
    })
    const claims = decodeClaims(read)
    if (Result.isFailure(claims)) return yield* new Refusal({ reason: "INVALID-ACCESS-TOKEN" })
    const { channelId, connectionLifetime, ...grant } = claims.success
    if (channelId !== undefined && channelId !== connect.channelId) {
      return yield* new Refusal({ reason: "ACCESS-TOKEN-OF-ANOTHER-CHANNEL" })
    }
    return connectionLifetime === undefined
      ? grant
      : { ...grant, connectionLifetime: Duration.seconds(connectionLifetime) }
  })
}
