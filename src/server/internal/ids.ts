/**
 * Ids in Sora's form: a UUIDv4 in Crockford's Base32, 26 characters
 * (`sora-protocol.md` section 1).
 */
import { randomUUID } from "node:crypto"

const Alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

/** @internal */
export const makeId = (): string => {
  let value = BigInt(`0x${randomUUID().replaceAll("-", "")}`)
  let id = ""
  for (let i = 0; i < 26; i++) {
    id = Alphabet[Number(value & 31n)] + id
    value >>= 5n
  }
  return id
}
