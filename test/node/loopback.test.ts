import { assert, it } from "@effect/vitest"
import { isLoopbackHost } from "../../src/node/internal/loopback.ts"

it("a host of this machine, however it is written, and none that only looks like one", () => {
  for (const host of ["localhost", "app.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"]) {
    assert.isTrue(isLoopbackHost(host), host)
  }
  for (const host of ["", "localhost.example.com", "127.example.com", "127.0.0.1.example.com", "10.0.0.1", "::2"]) {
    assert.isFalse(isLoopbackHost(host), host)
  }
})
