/**
 * A certification authority of one's own, for servers on this machine and for
 * clients that show who they are.
 */
import * as x509 from "@peculiar/x509"

let count = 1

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" }

const makeKeys = () => crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])

const pemOf = async (key: CryptoKey) =>
  x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY")

const common = {
  notBefore: new Date(Date.now() - 60_000),
  notAfter: new Date(Date.now() + 3_600_000),
  signingAlgorithm: algorithm
}

export const makeAuthority = async () => {
  const name = `test authority ${++count}`
  const keys = await makeKeys()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...common,
    serialNumber: "01",
    name: `CN=${name}`,
    keys,
    extensions: [new x509.BasicConstraintsExtension(true)]
  })
  return {
    ca: certificate.toString("pem"),
    /** A certificate for this machine, for a server of another name, or of a client. */
    issue: async (subject = "localhost") => {
      const own = await makeKeys()
      const issued = await x509.X509CertificateGenerator.create({
        ...common,
        serialNumber: (++count).toString(16).padStart(2, "0"),
        subject: `CN=${subject}`,
        issuer: certificate.subject,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        extensions: [
          new x509.SubjectAlternativeNameExtension([
            { type: "dns", value: subject },
            { type: "ip", value: "127.0.0.1" }
          ])
        ]
      })
      return { cert: issued.toString("pem"), key: await pemOf(own.privateKey) }
    }
  }
}
