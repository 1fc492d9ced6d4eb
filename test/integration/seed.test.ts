/**
 * Everything that the page shows from which this project started, against the
 * development server: see `test/utils/seed.ts`.
 */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ending, makeClient, makeServer, steps } from "../utils/seed.ts"

const setUp = Effect.flatMap(makeServer, makeClient)

describe("the page's examples", () => {
  for (const [title, step] of Object.entries(steps)) it.live(title, () => Effect.flatMap(setUp, step))

  for (const how of ["the client closes", "the server closes"] as const) {
    it.live(`${how}: every waiting call fails with code -1, Disconnected`, () =>
      Effect.flatMap(setUp, (seed) => ending(seed, how)))
  }
})
