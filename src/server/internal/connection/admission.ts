/**
 * What a client is answered that connects: another address, silence, a refusal,
 * or terms.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Signaling from "../../../Signaling.ts"
import { type Grant, Refusal } from "../../SoraAuth.ts"
import { type End, faultInjected, refusedFor, timedOut } from "../ends.ts"
import type { Fate } from "./fate.ts"
import { issueOfGrant, type Terms, termsOf } from "./grant.ts"
import type { Services } from "./services.ts"

export type Admission =
  | { readonly _tag: "Admitted"; readonly terms: Terms }
  | { readonly _tag: "Redirected"; readonly location: string }
  | { readonly _tag: "Ignored" }
  | { readonly _tag: "Refused"; readonly by: End }

/** `path` is what the client asked for, with the count of redirects. What a hook does wrong is a defect. */
export const admit = Effect.fnUntraced(function*(connect: Signaling.Connect, path: string, parts: {
  readonly services: Services
  readonly fate: Fate
}): Effect.fn.Return<Admission> {
  const { fate, services } = parts
  const { settings } = services
  const redirected = Number(/[?&]redirected=(\d+)/.exec(path)?.[1] ?? 0)
  const location = `${services.url()}?redirected=${redirected + 1}`
  switch (fate.onConnect(path.includes("loop=1"))) {
    case "refuse":
      return { _tag: "Refused", by: faultInjected }
    case "ignoreConnect":
      return { _tag: "Ignored" }
    case "redirectLoop":
      return { _tag: "Redirected", location: `${location}&loop=1` }
  }
  // The client closes this socket and comes back with one more on the count.
  if (redirected < settings.redirects) return { _tag: "Redirected", location }
  const given = yield* Effect.timeoutOption(Effect.result(services.authenticate(connect)), settings.connectTimeout)
  if (Option.isNone(given)) return { _tag: "Refused", by: timedOut }
  if (Result.isFailure(given.value)) {
    const { failure } = given.value
    return failure instanceof Refusal ? { _tag: "Refused", by: refusedFor(failure.reason) } : yield* Effect.die(failure)
  }
  const grant: Grant = given.value.success
  const issue = issueOfGrant(grant)
  if (issue !== undefined) return yield* Effect.die(new TypeError(`authenticate gave no grant: ${issue}`))
  // They may have been replaced while the authentication was under way.
  fate.renew()
  return { _tag: "Admitted", terms: termsOf(connect, grant, settings, services.allMethods) }
})
