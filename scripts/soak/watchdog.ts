/**
 * Ends the process when its event loop does not turn any more, which nothing in
 * that loop could notice: a thread of its own waits for a sign of life.
 */
import { Worker } from "node:worker_threads"

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

/** Starts it; the result gives the sign of life, with what is going on, and `stop` ends it. */
export const start = () => {
  const worker = new Worker(program, { eval: true })
  worker.unref()
  return {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is of a window
    alive: (running: string) => worker.postMessage(running),
    stop: () => worker.terminate()
  }
}
