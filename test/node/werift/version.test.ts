import { assert, describe, it } from "@effect/vitest"
import { createRequire } from "node:module"
import { DtlsClient, RTCPeerConnection } from "werift"
import packageJson from "../../../package.json" with { type: "json" }
import { checkVersion, missing, TestedVersion } from "../../../src/node/internal/werift/version.ts"

const peer = () => new RTCPeerConnection({})
const dtls = () => new DtlsClient({ transport: { type: "none", address: {}, closed: false } as any })

describe("the version of werift", () => {
  it("is the one that is installed here, and the one that is asked for", () => {
    const { resolve } = createRequire(import.meta.url)
    const installed = createRequire(import.meta.url)(resolve("werift").replace(/\/lib\/.*$/, "/package.json"))
    assert.strictEqual(installed.version, TestedVersion)
    assert.strictEqual(packageJson.peerDependencies.werift, TestedVersion)
    assert.strictEqual(packageJson.devDependencies.werift, TestedVersion)
  })

  it("has all that the mends rely on", () => {
    assert.deepStrictEqual(missing({ peer, dtls }), [])
    checkVersion()
  })

  it("is not this one when something is gone", () => {
    const without = () => {
      const made = dtls() as unknown as Record<string, unknown>
      delete made["onHandleHandshakes"]
      return made as unknown as DtlsClient
    }
    assert.deepStrictEqual(missing({ peer, dtls: without }), ["dtls.onHandleHandshakes"])
  })

  it("is not this one when what holds it is gone, or throws", () => {
    const gone = missing({
      peer: () => ({}) as RTCPeerConnection,
      dtls: () => {
        throw new TypeError("no such thing")
      }
    })
    assert.includeMembers([...gone], ["peer.iceTransports", "sctp.handleData", "dtlsContext.flight"])
  })
})
