/**
 * Watches the process for what no scenario would notice: exceptions and
 * rejections that nobody caught, and an event loop that stands still.
 */
import * as Effect from "effect/Effect"
import { Worker } from "node:worker_threads"
import { type Ledger, Provoked } from "./ledger.ts"

/** How long the event loop may stand still: bombs are inflated in it, and the machine may be busy. */
const MaxStallMillis = 3000

/** No stall of a machine that is busy is as long. */
const PatienceMillis = 20_000

const program = `
  const { parentPort } = require("node:worker_threads")
  let last = Date.now()
  let running = ""
  parentPort.on("message", (message) => {
    last = Date.now()
    running = message
  })
  setInterval(() => {
    if (Date.now() - last < ${PatienceMillis}) return
    require("node:fs").writeSync(2, "\\nPROBLEM: the event loop has stood still for ${PatienceMillis} ms, while " + running + "\\n")
    process.kill(process.pid, "SIGKILL")
  }, 1000)
`

/** A thread that ends the process when the event loop does not turn any more, which nothing in the loop could. */
const startWatchdog = () => {
  const worker = new Worker(program, { eval: true })
  worker.unref()
  return {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is of a window
    alive: (running: string) => worker.postMessage(running),
    stop: () => worker.terminate()
  }
}

/** Watches for what nobody would otherwise notice. */
export const watch = (ledger: Ledger, seed: number, running: ReadonlySet<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const unforeseen = (kind: string) => (error: unknown) => {
        if (error instanceof Provoked && kind === "uncaught exception") return void ledger.provoked.caught++
        const text = error instanceof Error ? `${error.stack}`.split("\n").slice(0, 10).join("\n      ") : String(error)
        ledger.problem("process", `${kind}, while ${Array.from(running).join(", ")} ran: ${text}`, text)
      }
      const onException = unforeseen("uncaught exception")
      const onRejection = unforeseen("unhandled rejection")
      process.on("uncaughtException", onException)
      process.on("unhandledRejection", onRejection)
      const watchdog = startWatchdog()
      const stalls = { longest: 0 }
      let last = performance.now()
      const timer = setInterval(() => {
        const stalled = performance.now() - last - 100
        last = performance.now()
        watchdog.alive(`${Array.from(running).join(", ")} ran (seed ${seed})`)
        stalls.longest = Math.max(stalls.longest, stalled)
        if (stalled > MaxStallMillis) {
          ledger.problem(
            "process",
            `the event loop stood still for ${Math.round(stalled)} ms while ${Array.from(running).join(", ")} ran`,
            "stall"
          )
        }
      }, 100)
      return {
        stalls,
        stop: () => {
          clearInterval(timer)
          void watchdog.stop()
          process.off("uncaughtException", onException)
          process.off("unhandledRejection", onRejection)
        }
      }
    }),
    ({ stop }) => Effect.sync(stop)
  )
