import { Effect, Exit, Scope } from "effect"
import { SoraServer } from "effect-sora-rpc/server"

/** A server that can be stopped, and started again at the same URL. */
export const make = Effect.fnUntraced(function*(options: SoraServer.Options = {}) {
  let scope = yield* Scope.make()
  let server = yield* SoraServer.make(options).pipe(Scope.provide(scope))
  const port = Number(new URL(server.url).port)
  yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
  return {
    url: server.url,
    current: () => server,
    stop: Effect.suspend(() => Scope.close(scope, Exit.void)),
    start: Effect.fnUntraced(function*(again: SoraServer.Options = {}) {
      scope = yield* Scope.make()
      server = yield* SoraServer.make({ ...options, ...again, port }).pipe(Scope.provide(scope))
    })
  }
})
