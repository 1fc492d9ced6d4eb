import { assert, it } from "@effect/vitest"
import { serverOf } from "../../../src/internal/connection/observe.ts"

it("spans name a server by its host and port, and nothing else of its URL", () => {
  for (
    const [url, address, port] of [
      ["wss://sora.example.com/signaling", "sora.example.com", 443],
      ["ws://sora.example.com/signaling", "sora.example.com", 80],
      ["wss://user:secret@sora.example.com:8443/secret?token=secret", "sora.example.com", 8443],
      ["ws://[::1]:5000/signaling", "::1", 5000]
    ] as const
  ) {
    assert.deepStrictEqual(serverOf(url), { "server.address": address, "server.port": port })
  }
  assert.deepStrictEqual(serverOf("nothing"), {})
})
