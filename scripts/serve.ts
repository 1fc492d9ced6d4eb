/**
 * The development server in the foreground, until SIGINT or SIGTERM:
 *
 *   npm run serve -- --port 5000
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { SoraMethod } from "effect-sora-rpc"
import { SoraAuth, SoraFaults, SoraServer } from "effect-sora-rpc/server"
import * as Cause from "effect/Cause"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"

class CannotServe extends Schema.TaggedError<CannotServe>()("CannotServe", { text: Schema.String }) {
  override readonly [Runtime.errorExitCode] = 2
  override get [CliError.userMessage]() {
    return this.text
  }
}

const Port = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))

/** With a seed in any case, so that what was seen can be seen again. */
const decodeFaults = (text: string) =>
  Effect.gen(function*() {
    const faults = yield* Effect.mapError(
      SoraFaults.decodeJson(text),
      ({ message }) => new CannotServe({ text: `--faults: ${message}` })
    )
    return { ...faults, seed: faults.seed ?? (yield* Random.nextIntBetween(0, 2 ** 31)) }
  })

const makeAuthenticate = (secret: Redacted.Redacted<string> | undefined) =>
  Effect.try({
    try: () => SoraAuth.jwtClaims({ secret }),
    catch: () => new CannotServe({ text: "SORA_JWT_SECRET is empty: anybody can sign with nothing" })
  })

const serve = Command.make(
  "serve",
  {
    host: Flag.String("host").pipe(Flag.withDescription("Address to listen on"), Flag.withDefault("127.0.0.1")),
    port: Flag.Int("port").pipe(
      Flag.withDescription("Port to listen on; 0 takes a free one"),
      Flag.withSchema(Port),
      Flag.withDefault(5000)
    ),
    apiPort: Flag.Int("api-port").pipe(
      Flag.withDescription("Port of the HTTP API, on this machine alone; 0 takes a free one. Without it there is none"),
      Flag.withSchema(Port),
      Flag.optional
    ),
    allowedOrigins: Flag.String("allow-origin").pipe(
      Flag.withDescription(
        "A page that may connect, by its origin such as https://app.example, or * for all; may be given again. " +
          "Pages of this machine always may; on a loopback address no others may unless they are named here"
      ),
      Flag.atLeast(0)
    ),
    compress: Flag.Boolean("compress").pipe(
      Flag.withDescription("Compress the built-in DataChannels, as Sora does; --no-compress turns it off"),
      Flag.withDefault(true)
    ),
    defaultDataChannelSignaling: Flag.Boolean("default-data-channel-signaling").pipe(
      Flag.withDescription("Signaling moves to the DataChannels for clients that do not say whether it should"),
      Flag.withDefault(false)
    ),
    ignoreDisconnectWebsocket: Flag.Boolean("ignore-disconnect-websocket").pipe(
      Flag.withDescription("Let the WebSocket go once signaling is on the DataChannels"),
      Flag.withDefault(false)
    ),
    redirects: Flag.Int("redirects").pipe(
      Flag.withDescription("How often a client is redirected before the offer"),
      Flag.withDefault(0)
    ),
    closeMessage: Flag.Boolean("close-message").pipe(
      Flag.withDescription("Announce an end of the server's with a close message"),
      Flag.withDefault(false)
    ),
    faults: Flag.String("faults").pipe(
      Flag.withDescription(
        "What goes wrong on purpose, as JSON: rates from 0 to 1 of " +
          "drop, duplicate, reorder, corrupt, wrongId, giant, bomb, swapForm, delayRate (with delay, a time) for " +
          "responses; refuse, ignoreConnect, redirectLoop for connects; closeRpc, killSocket, killPeer, " +
          "closeAbruptly (within lifeMax, a time) for connections; and a seed, with which it happens again. " +
          "Such as '{\"drop\":0.1,\"delay\":\"1 second\",\"seed\":7}'"
      ),
      Flag.optional
    ),
    jwt: Flag.Boolean("jwt").pipe(
      Flag.withDescription(
        "Grant what the JWT in metadata.access_token claims; its signature is checked with SORA_JWT_SECRET"
      ),
      Flag.withDefault(false)
    ),
    secret: Flag.Redacted("jwt-secret").pipe(
      Flag.withFallbackConfig(Config.Redacted("SORA_JWT_SECRET")),
      Flag.withHidden,
      Flag.optional
    )
  },
  Effect.fnUntraced(
    function*(
      {
        allowedOrigins,
        apiPort,
        closeMessage,
        compress,
        defaultDataChannelSignaling,
        faults: faultsJson,
        host,
        ignoreDisconnectWebsocket,
        jwt,
        port,
        redirects,
        secret
      }
    ) {
      const faults = Option.isNone(faultsJson) ? undefined : yield* decodeFaults(faultsJson.value)
      const authenticate = jwt ? yield* makeAuthenticate(Option.getOrUndefined(secret)) : undefined
      const server = yield* SoraServer.make({
        host,
        port,
        apiPort: Option.getOrUndefined(apiPort),
        allowedOrigins: allowedOrigins.includes("*") ? "*" : allowedOrigins.length > 0 ? allowedOrigins : undefined,
        compress,
        defaultDataChannelSignaling,
        redirects,
        closeMessage,
        faults,
        authenticate,
        ...(ignoreDisconnectWebsocket ? { ignoreDisconnectWebsocket: true } : {})
      }).pipe(Effect.mapError(({ message }) => new CannotServe({ text: message })))
      yield* Console.log(server.url)
      if (server.apiUrl !== undefined) yield* Console.log(`HTTP API: ${server.apiUrl}`)
      yield* Console.log(
        jwt
          ? "Grants what the access token of each connection claims."
          : `Grants ${SoraMethod.known.map(SoraMethod.wireName).join(", ")} to everyone.`
      )
      if (faults !== undefined) yield* Console.log(`Goes wrong on purpose: ${JSON.stringify(faults)}.`)
      yield* Console.log("This is a development server, not Sora: see the README. Ctrl-C stops it.")
      return yield* Effect.never
    },
    Effect.scoped
  )
).pipe(Command.withDescription("Run the offline development server on this machine"))

serve.pipe(
  Command.run({ version: "0.1.0" }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({
    // Being told to stop is how a server ends.
    teardown: (exit, onExit) =>
      Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? onExit(0) : Runtime.defaultTeardown(exit, onExit)
  })
)
