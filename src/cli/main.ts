#!/usr/bin/env node
/**
 * The binary. What it needs besides this package is optional to others, so that
 * it may be missing here: that is one line, and not a stack trace.
 */

/** Of the packages that are peers of this one, the one that is not there. */
const missingOf = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND"
    ? /Cannot find package '((?:@[^/']+\/)?[^/']+)/.exec(error.message)?.[1]
    : undefined

try {
  const { main } = await import("./run.ts")
  main(process.argv.slice(2))
} catch (error) {
  const missing = missingOf(error)
  if (missing === undefined) throw error
  process.stderr.write(
    `sora-rpc needs the package ${missing}: npm install effect werift@0.25.2 @effect/platform-node, or without a project ` +
      "npx -p effect-sora-rpc -p @effect/platform-node -p werift@0.25.2 sora-rpc\n"
  )
  process.exitCode = 1
}
