import { assert, describe, it } from "@effect/vitest"
import {
  createHash,
  createHmac,
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign
} from "node:crypto"
import { CipherContext, DtlsClient, HashAlgorithm, NamedCurveAlgorithm, SignatureAlgorithm } from "werift"
import { makeProofs } from "../../../src/node/internal/werift/dtls/proofs.ts"

const identity = async () => {
  const { certPem, keyPem } = await CipherContext.createSelfSignedCertificateWithKey(
    { signature: SignatureAlgorithm.ecdsa_3, hash: HashAlgorithm.sha256_4 },
    NamedCurveAlgorithm.secp256r1_23
  )
  const der = Buffer.from(certPem.replaceAll(/-----[^-]+-----|\s/g, ""), "base64")
  return { certificate: certificateMessage(der), key: createPrivateKey(keyPem) }
}

const certificateMessage = (der: Buffer) => {
  const head = Buffer.alloc(6)
  head.writeUIntBE(der.length + 3, 0, 3)
  head.writeUIntBE(der.length, 3, 3)
  return Buffer.concat([head, der])
}

const signed = (data: Buffer, key: KeyObject, algorithm = [4, 3]) => {
  const signature = sign("sha256", data, key)
  const head = Buffer.from([...algorithm, 0, 0])
  head.writeUInt16BE(signature.length, 2)
  return Buffer.concat([head, signature])
}

const ServerHello = Buffer.concat([Buffer.from([254, 253]), randomBytes(32), Buffer.alloc(6)])
const params = Buffer.concat([Buffer.from([3, 0, 29, 32]), randomBytes(32)])

describe("what the server proves to a client", () => {
  const clientRandom = randomBytes(32)
  const masterSecret = randomBytes(48)
  const client = () =>
    Object.assign(Object.create(DtlsClient.prototype) as DtlsClient, {
      cipher: { localRandom: { serialize: () => clientRandom }, masterSecret },
      dtls: {
        sortedHandshakeCache: [{ serialize: () => Buffer.from("all") }, { serialize: () => Buffer.from("that") }]
      }
    })
  const data = Buffer.concat([clientRandom, ServerHello.subarray(2, 34), params])

  it("is that the key of the exchange is signed with that of the certificate", async () => {
    const { certificate, key } = await identity()
    const prove = makeProofs(client() as any)
    assert.isTrue(prove(2, ServerHello))
    assert.isTrue(prove(11, certificate))
    assert.isTrue(prove(12, Buffer.concat([params, signed(data, key)])))
    assert.isTrue(prove(14, Buffer.alloc(0)))
  })

  it("is nothing with another key, another algorithm, other numbers, without a certificate, or with another one after it", async () => {
    const [own, other] = await Promise.all([identity(), identity()])
    const exchange = (key: KeyObject, of = data, algorithm = [4, 3]) =>
      Buffer.concat([params, signed(of, key, algorithm)])
    const after = (...messages: ReadonlyArray<readonly [type: number, body: Buffer]>) => {
      const prove = makeProofs(client() as any)
      return messages.map(([type, body]) => prove(type, body)).at(-1)
    }
    const hello = [2, ServerHello] as const
    const certificate = [11, own.certificate] as const
    assert.isTrue(after(hello, certificate, [12, exchange(own.key)]))
    assert.isFalse(after(hello, certificate, [12, exchange(other.key)]))
    assert.isFalse(after(hello, certificate, [12, exchange(own.key, Buffer.concat([data, data]))]))
    for (const algorithm of [[2, 3], [4, 1], [8, 4]]) {
      assert.isFalse(after(hello, certificate, [12, exchange(own.key, data, algorithm)]))
    }
    assert.isFalse(after(hello, [12, exchange(own.key)]))
    assert.isFalse(after(certificate, [12, exchange(own.key)]))
    assert.isFalse(after(hello, [11, Buffer.alloc(3)]))
    assert.isFalse(after(hello, certificate, [12, exchange(own.key)], [11, other.certificate]))
    assert.isFalse(after(hello, certificate, [12, params.subarray(0, 2)]))
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
    assert.isFalse(after(hello, certificate, [12, exchange(privateKey, data, [4, 1])]))
  })

  it("is at the end that both have heard the same", () => {
    const seed = Buffer.concat([Buffer.from("server finished"), createHash("sha256").update("allthat").digest()])
    const hmac = (of: Buffer) => createHmac("sha256", masterSecret).update(of).digest()
    const expected = hmac(Buffer.concat([hmac(seed), seed])).subarray(0, 12)
    assert.isTrue(makeProofs(client() as any)(20, expected))
    assert.isFalse(makeProofs(client() as any)(20, Buffer.alloc(12)))
    assert.isFalse(makeProofs(client() as any)(20, Buffer.alloc(0)))
  })
})
