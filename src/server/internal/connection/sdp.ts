/**
 * The candidates of a client: which of them are any use, and how many may be.
 */
import { isIP } from "node:net"

/** Candidates of one description, and messages with one each of a connection. */
export const MaxCandidates = 256

/** Whether its address is one: werift would start a thread to look up a name, of which a browser sends `.local` ones. */
export const isUsableCandidate = (candidate: string): boolean => isIP(candidate.split(" ", 5)[4] ?? "") !== 0

const countOf = (text: string, pattern: RegExp) => text.match(pattern)?.length ?? 0

/**
 * The answer to an offer without the candidates that are of no use. Throws when
 * it has more sections than the offer, or more candidates than anybody needs.
 */
export const withUsableCandidates = (answer: string, offer: string): string => {
  if (countOf(answer, /^m=/gm) > countOf(offer, /^m=/gm)) throw new Error("more sections than the offer has")
  if (countOf(answer, /^a=candidate:/gm) > MaxCandidates) throw new Error(`more than ${MaxCandidates} candidates`)
  return answer.replace(/^a=candidate:.*\r?\n/gm, (line) => isUsableCandidate(line) ? line : "")
}
