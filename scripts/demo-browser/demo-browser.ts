/**
 * The page of the examples, served on localhost beside a development server, until
 * SIGINT or SIGTERM:
 *
 *   npm run demo:browser
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { SoraServer } from "effect-sora-rpc/server"
import * as Cause from "effect/Cause"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as esbuild from "esbuild"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

class CannotServe extends Schema.TaggedError<CannotServe>()("CannotServe", { text: Schema.String }) {
  override readonly [Runtime.errorExitCode] = 2
  override get [CliError.userMessage]() {
    return this.text
  }
}

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url))

const page = path("../../examples/page")

/** The signaling URL of the page, in whose place comes that of the server beside it. */
const PageUrl = "ws://127.0.0.1:5000/signaling"

/** Serves the page, bundled anew at each request, until the scope closes. Gives the port. */
const servePage = Effect.fnUntraced(function*(signalingUrl: string, port: number) {
  const attempt = <A>(run: () => Promise<A>) =>
    Effect.tryPromise({
      try: run,
      catch: (cause) => new CannotServe({ text: cause instanceof Error ? cause.message : String(cause) })
    })
  const context = yield* Effect.acquireRelease(
    attempt(() =>
      esbuild.context({
        entryPoints: [`${page}/page.ts`],
        outdir: page,
        plugins: [{
          name: "signaling URL",
          setup: (build) =>
            build.onLoad({ filter: /examples.page.page\.ts$/ }, ({ path }) => ({
              contents: readFileSync(path, "utf8").replaceAll(PageUrl, signalingUrl),
              loader: "ts"
            }))
        }],
        bundle: true,
        write: false,
        platform: "browser",
        format: "esm",
        target: "es2023",
        logLevel: "warning",
        alias: {
          "effect-sora-rpc": path("../../src/index.ts"),
          "effect-sora-rpc/browser": path("../../src/browser/index.ts")
        }
      })
    ),
    (context) => Effect.promise(() => context.dispose())
  )
  // On localhost only, which a browser takes for secure: elsewhere a page gets no camera.
  return (yield* attempt(() => context.serve({ host: "127.0.0.1", port, servedir: page }))).port
})

const port = (name: string, description: string, byDefault: number) =>
  Flag.Int(name).pipe(
    Flag.withDescription(`${description}; 0 takes a free one`),
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))),
    Flag.withDefault(byDefault)
  )

Command.make(
  "demo:browser",
  {
    port: port("port", "Port of the page", 8080),
    signalingPort: port("signaling-port", "Port of the development server", 5000)
  },
  Effect.fnUntraced(function*({ port, signalingPort }) {
    const server = yield* SoraServer.make({ port: signalingPort }).pipe(
      Effect.mapError(({ message }) => new CannotServe({ text: `${message} (--signaling-port takes another)` }))
    )
    const served = yield* servePage(server.url, port)
    yield* Console.log(`http://localhost:${served}`)
    yield* Console.log(`signals with ${server.url}; open it in two tabs. Ctrl-C stops it.`)
    return yield* Effect.never
  }, Effect.scoped)
).pipe(
  Command.withDescription("Serve the page of the examples on localhost, beside a development server"),
  Command.run({ version: "0.1.0" }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({
    // Being told to stop is how a server ends.
    teardown: (exit, onExit) =>
      Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? onExit(0) : Runtime.defaultTeardown(exit, onExit)
  })
)
