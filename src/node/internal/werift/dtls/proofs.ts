/**
 * The proofs that a handshake of DTLS consists of (RFC 5246, sections 7.4.3, 7.4.8
 * and 7.4.9; RFC 8422, section 5.4): that the other end has the key of its
 * certificate, and that both have heard the same.
 */
import { createHash, createHmac, timingSafeEqual, verify, X509Certificate } from "node:crypto"
import { DtlsClient, type DtlsSocket } from "werift"

/** Messages of the handshake (RFC 5246, section 7.4). */
const Message = { ServerHello: 2, Certificate: 11, ServerKeyExchange: 12, CertificateVerify: 15, Finished: 20 }
const proofs = new Set(Object.values(Message))

/** Those of RFC 5246, section 7.4.1.4.1, that are safe. */
const hashes = new Map([[4, "sha256"], [5, "sha384"], [6, "sha512"]])
const keyTypes = new Map([[1, "rsa"], [3, "ec"]])

const hmac = (secret: Buffer, data: Buffer) => createHmac("sha256", secret).update(data).digest()

/** The first twelve bytes of the pseudorandom function (RFC 5246, section 5), with the hash that werift's suites have. */
const verifyData = (secret: Buffer, label: string, messages: Buffer): Buffer => {
  const seed = Buffer.concat([Buffer.from(label), createHash("sha256").update(messages).digest()])
  return hmac(secret, Buffer.concat([hmac(secret, seed), seed])).subarray(0, 12)
}

/** The algorithm, the length and the signature (RFC 5246, section 4.7), of the data. */
const isSigned = (data: Buffer, signed: Buffer, certificate: Buffer): boolean => {
  const hash = hashes.get(signed[0]!)
  const { publicKey } = new X509Certificate(certificate)
  return hash !== undefined && publicKey.asymmetricKeyType === keyTypes.get(signed[1]!) &&
    verify(hash, data, publicKey, signed.subarray(4, 4 + signed.readUInt16BE(2)))
}

/**
 * Gives whether a message proves what it has to; they are asked about in order,
 * before they are dealt with.
 *
 * @internal
 */
export const makeProofs = (socket: DtlsSocket) => {
  const isClient = socket instanceof DtlsClient
  let serverRandom: Buffer | undefined
  let certificate: Buffer | undefined
  const soFar = () => Buffer.concat(socket.dtls.sortedHandshakeCache.map((message) => message.serialize()))
  const prove = (type: number, body: Buffer): boolean => {
    switch (type) {
      case Message.ServerHello:
        serverRandom = body.subarray(2, 34)
        return true
      case Message.Certificate:
        // The first one is the end's own (RFC 5246, section 7.4.2).
        certificate = body.subarray(6, 6 + body.readUIntBE(3, 3))
        return true
      case Message.ServerKeyExchange: {
        // Both random numbers and the parameters, which end with the key (RFC 8422, section 5.4).
        const params = body.subarray(0, 4 + body[3]!)
        const clientRandom = socket.cipher.localRandom.serialize()
        const data = Buffer.concat([clientRandom, serverRandom!, params])
        return isSigned(data, body.subarray(params.length), certificate!)
      }
      case Message.CertificateVerify:
        return isSigned(soFar(), body, certificate!)
      case Message.Finished: {
        const expected = verifyData(socket.cipher.masterSecret, `${isClient ? "server" : "client"} finished`, soFar())
        return body.length === expected.length && timingSafeEqual(body, expected)
      }
      default:
        return true
    }
  }
  const seen = new Set<number>()
  return (type: number, body: Buffer): boolean => {
    // Each once: another certificate after the signature would be one that nothing was signed with.
    if (proofs.has(type) && seen.has(type)) return false
    seen.add(type)
    try {
      return prove(type, body)
    } catch {
      // What is missing or cannot be read proves nothing.
      return false
    }
  }
}
