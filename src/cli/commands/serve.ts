/**
 * `serve`: the development server in the foreground, until Ctrl-C.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SoraAuth from "../../server/SoraAuth.ts"
import * as SoraFaults from "../../server/SoraFaults.ts"
import * as SoraServer from "../../server/SoraServer.ts"
import * as SoraMethod from "../../SoraMethod.ts"
import { badUsage, cannot } from "../failure.ts"
import * as Flags from "../flags.ts"
import { endsByInterrupt, note, write } from "../output.ts"

const Port = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))

/** Where to listen, of `serve` and of `replay`. */
export const listening = {
  host: Flags.text("host", "Address to listen on").pipe(Flag.withDefault("127.0.0.1")),
  port: Flags.int("port", "Port to listen on; 0 takes a free one").pipe(Flag.withDefault(5000), Flag.withSchema(Port))
}

/** With a seed in any case, so that what was seen can be seen again. */
const decodeFaults = Effect.fnUntraced(function*(text: string) {
  const faults = yield* Effect.mapError(SoraFaults.decodeJson(text), ({ message }) => badUsage("--faults", message))
  return { ...faults, seed: faults.seed ?? (yield* Random.nextIntBetween(0, 2 ** 31)) }
})

const emptySecret = badUsage("SORA_JWT_SECRET", "it is empty: anybody can sign with nothing")

const makeAuthenticate = (secret: Redacted.Redacted<string> | undefined) =>
  // An empty variable is none to `Config`; here it is a mistake that would open the server.
  secret === undefined && process.env["SORA_JWT_SECRET"] === ""
    ? Effect.fail(emptySecret)
    : Effect.try({ try: () => SoraAuth.jwtClaims({ secret }), catch: () => emptySecret })

/** Before anybody connects, rather than as each one does. */
const needJose = Effect.mapError(
  Effect.tryPromise(() => import("jose")),
  () => badUsage("--jwt", "needs the package jose: npm install jose")
)

/** Its code is loaded only here: who does not look pays nothing for it. */
const servePage = Effect.fnUntraced(function*(server: SoraServer.SoraServer["Service"]) {
  const SoraServerUi = yield* Effect.promise(() => import("../../ui/SoraServerUi.ts"))
  const { url } = yield* SoraServerUi.make.pipe(
    Effect.provideService(SoraServer.SoraServer, server),
    Effect.mapError(({ message }) => cannot("SoraServerError", message))
  )
  return url
})

export const serve = Command.make(
  "serve",
  {
    ...listening,
    apiPort: Flags.int(
      "api-port",
      "Port of the HTTP API, on this machine alone; 0 takes a free one. Without it there is none"
    ).pipe(Flag.withSchema(Port), Flag.optional),
    allowedOrigins: Flags.list(
      "allow-origin",
      "A page that may connect, by its origin such as https://app.example, or * for all; may be given again. " +
        "Pages of this machine always may; on a loopback address no others may unless they are named here"
    ).pipe(Flag.withDefault([] as ReadonlyArray<string>)),
    compress: Flags.bool(
      "compress",
      "Compress the built-in DataChannels, as Sora does; --no-compress turns it off",
      true
    ),
    defaultDataChannelSignaling: Flags.bool(
      "default-data-channel-signaling",
      "Signaling moves to the DataChannels for clients that do not say whether it should"
    ),
    defaultIgnoreDisconnectWebsocket: Flags.bool(
      "default-ignore-disconnect-websocket",
      "The WebSocket may go then, for clients that do not say whether it may"
    ),
    signalingNotifyMetadataExt: Flags.bool(
      "signaling-notify-metadata-ext",
      "What RPC writes as metadata is a store of its own, as in sora.conf; --no-signaling-notify-metadata-ext turns it off",
      true
    ),
    ignoreDisconnectWebsocket: Flags.bool(
      "ignore-disconnect-websocket",
      "Let the WebSocket go once signaling is on the DataChannels"
    ),
    redirects: Flags.int("redirects", "How often a client is redirected before the offer").pipe(Flag.withDefault(0)),
    closeMessage: Flags.bool("close-message", "Announce an end of the server's with a close message"),
    faults: Flags.text(
      "faults",
      "What goes wrong on purpose, as JSON: rates from 0 to 1 of " +
        "drop, duplicate, reorder, corrupt, wrongId, giant, bomb, swapForm, delayRate (with delay, a time) for " +
        "responses; refuse, ignoreConnect, redirectLoop for connects; closeRpc, killSocket, killPeer, " +
        "closeAbruptly (within lifeMax, a time) for connections; and a seed, with which it happens again. " +
        "Such as '{\"drop\":0.1,\"delay\":\"1 second\",\"seed\":7}'"
    ).pipe(Flag.optional),
    ui: Flags.bool("ui", "Serve a page that shows connections and messages, and breaks them; its URL is printed"),
    jwt: Flags.bool(
      "jwt",
      "Grant what the JWT in metadata.access_token claims; its signature is checked with SORA_JWT_SECRET"
    ),
    secret: Flag.Redacted("jwt-secret").pipe(
      Flag.withFallbackConfig(Config.Redacted("SORA_JWT_SECRET")),
      Flag.withHidden,
      Flag.optional
    )
  },
  Effect.fnUntraced(
    function*({ allowedOrigins, apiPort, faults: json, ignoreDisconnectWebsocket, jwt, secret, ui, ...options }) {
      const faults = Option.isNone(json) ? undefined : yield* decodeFaults(json.value)
      const authenticate = jwt
        ? yield* Effect.andThen(needJose, makeAuthenticate(Option.getOrUndefined(secret)))
        : undefined
      yield* endsByInterrupt
      const server = yield* SoraServer.make({
        ...options,
        apiPort: Option.getOrUndefined(apiPort),
        allowedOrigins: allowedOrigins.includes("*") ? "*" : allowedOrigins.length > 0 ? allowedOrigins : undefined,
        faults,
        authenticate,
        ...(ignoreDisconnectWebsocket ? { ignoreDisconnectWebsocket: true } : {})
      }).pipe(Effect.mapError(({ message }) => cannot("SoraServerError", message)))
      const { apiUrl, url } = server
      const uiUrl = ui ? yield* servePage(server) : undefined
      // For who starts it and waits for its URL.
      yield* write(
        { url, ...(apiUrl === undefined ? {} : { apiUrl }), ...(uiUrl === undefined ? {} : { uiUrl }) },
        () =>
          [
            url,
            ...(apiUrl === undefined ? [] : [`HTTP API: ${apiUrl}`]),
            ...(uiUrl === undefined ? [] : [`Page: ${uiUrl}`])
          ]
            .join("\n")
      )
      yield* note(
        jwt
          ? "Grants what the access token of each connection claims."
          : `Grants ${SoraMethod.known.map(SoraMethod.wireName).join(", ")} to everyone.`
      )
      if (faults !== undefined) yield* note(`Goes wrong on purpose: ${JSON.stringify(faults)}.`)
      yield* note("This is a development server, not Sora: see docs/server.md. Ctrl-C stops it.")
      return yield* Effect.never
    },
    Effect.scoped
  )
).pipe(
  Command.withDescription("Run the offline development server on this machine, until Ctrl-C"),
  Command.withExamples([
    { command: "sora-rpc serve", description: "ws://127.0.0.1:5000/signaling, grants everything to everyone" },
    { command: "SORA_JWT_SECRET=… sora-rpc serve --jwt", description: "Grants what a token claims" }
  ])
)
