/**
 * Tokens signed by hand: nothing of this library, and of no other.
 */
import { createHmac } from "node:crypto"

export const part = (json: unknown) => Buffer.from(JSON.stringify(json)).toString("base64url")

export const jwt = (claims: object, secret: string, header: object = { alg: "HS256", typ: "JWT" }) => {
  const signed = `${part(header)}.${part(claims)}`
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`
}
