/**
 * The tree of commands, and how it is run: what goes to stdout and stderr, and
 * with which code the process ends.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Runtime from "effect/Runtime"
import { Version } from "../internal/version.ts"
import { call, notify } from "./commands/call.ts"
import { doctor } from "./commands/doctor.ts"
import { methods } from "./commands/methods.ts"
import { ping } from "./commands/ping.ts"
import { record } from "./commands/record.ts"
import { replay } from "./commands/replay.ts"
import { serve } from "./commands/serve.ts"
import { watch } from "./commands/watch.ts"
import { asFailure, badCommandLine, Failure, format } from "./failure.ts"
import { codeOfInterrupt, OutputFlag, watchStdout } from "./output.ts"

const soraRpc = Command.make("sora-rpc").pipe(
  Command.withDescription(
    "The RPC feature of the WebRTC SFU Sora, from the shell.\n\n" +
      "Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 bad usage, 2 no connection or server, " +
      "3 RpcError, 4 TimeoutError, 5 Disconnected, 6 doctor found a fault. Each flag can be a variable too " +
      "(--channel-id is SORA_CHANNEL_ID); keep tokens in SORA_METADATA or SORA_ACCESS_TOKEN, out of the process list."
  ),
  Command.withShortDescription("The RPC feature of Sora, from the shell"),
  Command.withSubcommands([call, notify, methods, watch, ping, serve, doctor, record, replay]),
  // After them: it is theirs.
  Command.withGlobalFlags([OutputFlag]),
  Command.withExamples([
    { command: "sora-rpc serve", description: "A development server" },
    {
      command: "sora-rpc methods --signaling-url ws://127.0.0.1:5000/signaling --channel-id lobby",
      description: "What it grants"
    },
    { command: "source <(sora-rpc --completions bash)", description: "Completions; zsh and fish have them too" }
  ])
)

/** Before anything is parsed: what is wrong with a command line is told in the form that it asks for. */
const askedForm = (args: ReadonlyArray<string>): "json" | "pretty" => {
  const i = args.findIndex((arg) => arg === "--output" || arg.startsWith("--output="))
  const given = i < 0 ? process.env["SORA_OUTPUT"] : args[i]!.includes("=") ? args[i]!.slice(9) : args[i + 1]
  return given === "json" ? "json" : "pretty"
}

const presenter = (form: "json" | "pretty"): CliOutput.Presenter => ({
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Effect.forEach(event.errors, (error) => {
        const text = error.message.trim()
        return Console.error(
          form === "json"
            ? format(badCommandLine(text), "json")
            : `${text}\nSee ${event.commandPath.join(" ")} --help`
        )
      }, { discard: true })
      : CliOutput.defaultPresenter.present(event)
})

/** Runs a command line as the main program of the process. */
export const main = (args: ReadonlyArray<string>): void => {
  const form = askedForm(args)
  watchStdout()
  Command.runWith(soraRpc, { version: Version })(args).pipe(
    Effect.catchCause((cause): Effect.Effect<never, Failure | CliError.CliError> => {
      const error = Cause.squash(cause)
      // The presenter has told of it.
      return CliError.isCliError(error) ? Effect.fail(error) : asFailure(cause)
    }),
    Effect.tapError((error) => error instanceof Failure ? Console.error(format(error, form)) : Effect.void),
    Effect.provide(
      Layer.mergeAll(
        NodeServices.layer,
        CliOutput.layerPresenter(presenter(form)),
        Layer.succeed(Logger.LogToStderr, true)
      )
    ),
    NodeRuntime.runMain({
      disableErrorReporting: true,
      teardown: (exit, onExit) =>
        // Being told to stop is how some commands end.
        Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) && codeOfInterrupt() !== undefined
          ? onExit(codeOfInterrupt()!)
          : Runtime.defaultTeardown(exit, onExit)
    })
  )
}
