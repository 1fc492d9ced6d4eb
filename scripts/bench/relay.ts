/**
 * A network that loses packets, in a process of its own: `relay.ts URL`, where
 * the URL is that of a `SoraServer`. Tells the URL that is reached through it.
 */
import { relaySignaling } from "../../test/node/werift/signalingRelay.ts"

process.on("disconnect", () => process.exit(0))

/** Of packets each way. */
const Drop = 0.01

const relay = await relaySignaling(process.argv[2]!, {
  seed: 1,
  weather: () => ({ drop: Drop, duplicate: 0, delay: 0, jitter: 0 })
})
process.send!(relay.url)
