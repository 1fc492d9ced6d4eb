/**
 * What calls cost, in memory and over real WebRTC, beside what others cost in
 * the same run, and which targets are met:
 *
 *   npm run bench [-- --quick] [-- --json]
 *
 * It measures the package as it is built: tsx gives each function its name anew
 * whenever it is made, which our closures pay for and nobody else's.
 */
import * as Effect from "effect/Effect"
import { cpus } from "node:os"
import { memoryRows, printRows } from "./memory.ts"
import { print as printWebRtc, run as webRtcRows } from "./webrtc.ts"

const quick = process.argv.includes("--quick")
const json = process.argv.includes("--json")
const memory = await memoryRows({ quick })
if (!json) {
  process.stdout.write(`Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model}\n\n`)
  printRows(memory)
}
const webRtc = await Effect.runPromise(webRtcRows({ quick }))
if (json) process.stdout.write(`${JSON.stringify({ memory, webRtc }, undefined, 2)}\n`)
else printWebRtc(webRtc)
// What is native keeps threads that end with the process.
process.exit(0)
