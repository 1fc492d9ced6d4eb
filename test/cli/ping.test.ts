import { assert, it } from "@effect/vitest"
import { inWords, summary } from "../../src/cli/commands/ping.ts"

it("says what was lost in whole hundredths, and no time where there is none", () => {
  assert.match(inWords(summary(100, Array.from({ length: 93 }, () => 1))), /^100 sent, 93 answered, 7 % lost; p50 1 ms/)
  assert.strictEqual(inWords(summary(3, [])), "3 sent, 0 answered, 100 % lost")
})
