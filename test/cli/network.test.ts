/**
 * Commands behind a firewall: a CA and a client certificate of one's own, and a
 * proxy.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SoraServer } from "effect-sora-rpc/server"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { makeAuthority } from "../utils/certificates.ts"
import { proxyServer, secured } from "../utils/network.ts"
import { folder, run } from "./run.ts"

describe("the way to the server", { timeout: 60_000 }, () => {
  it.live("is by certificates and a proxy from flags and variables", () =>
    Effect.gen(function*() {
      const authority = yield* Effect.promise(() => makeAuthority())
      const [ofServer, ofClient] = yield* Effect.promise(() =>
        Promise.all([authority.issue(), authority.issue("client")])
      )
      const server = yield* SoraServer.make()
      const url = yield* secured(server.url, { ...ofServer, ca: authority.ca, requestCert: true })
      const proxy = yield* proxyServer({ credentials: "mika:s3cret" })
      const files = yield* folder
      const pem = (name: string, text: string) => {
        writeFileSync(join(files, name), text)
        return join(files, name)
      }
      const env = {
        SORA_SIGNALING_URL: url,
        SORA_CHANNEL_ID: "lobby",
        SORA_CERT: pem("cert.pem", ofClient.cert),
        SORA_KEY: pem("key.pem", ofClient.key)
      }
      const ca = ["--ca", pem("ca.pem", authority.ca)]
      const through = (credentials: string) => ({
        ...env,
        SORA_PROXY: `http://mika:${credentials}@127.0.0.1:${proxy.port}`
      })

      const [direct, proxied, refused, untrusted, noFile, noPem, examined] = yield* Effect.all([
        run(["methods", ...ca], env),
        run(["methods", ...ca], through("s3cret")),
        run(["methods", ...ca], through("wr0ng")),
        run(["methods"], env),
        run(["methods", "--ca", join(files, "none.pem")], env),
        run(["methods", "--ca", pem("no.pem", "hello")], env),
        run(["doctor", ...ca, "--output", "json"], through("s3cret"))
      ], { concurrency: 2 })

      assert.deepStrictEqual([direct.code, proxied.code], [0, 0], direct.stderr + proxied.stderr)
      assert.strictEqual(proxied.stdout, direct.stdout)
      assert.isNotEmpty(proxy.targets)
      assert.strictEqual(refused.code, 2)
      assert.include(refused.stderr, "407")
      assert.strictEqual(untrusted.code, 2)
      assert.match(untrusted.stderr, /unable to (verify|get)|self-signed/)
      assert.strictEqual(noFile.code, 1)
      assert.include(noFile.stderr, "--ca")
      assert.strictEqual(noPem.code, 1)
      assert.strictEqual(examined.code, 0, examined.stderr)
      assert.include(examined.stdout, "through a proxy")
      for (const { stderr, stdout } of [proxied, refused, examined]) assert.notMatch(stderr + stdout, /s3cret|wr0ng/)
    }))
})
