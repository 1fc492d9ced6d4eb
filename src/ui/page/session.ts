/**
 * A client in the page: this library's own, over the page's WebRTC.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as BrowserSora from "../../browser/BrowserSora.ts"
import * as SoraConnection from "../../SoraConnection.ts"
import * as SoraRpc from "../../SoraRpc.ts"

export interface Session {
  readonly connectionId: string
  readonly methods: ReadonlyArray<string>
  readonly rpc: SoraRpc.SoraRpc["Service"]
  /** Runs for as long as the connection lives. */
  readonly fork: (effect: Effect.Effect<unknown, unknown, SoraConnection.SoraConnection>) => void
  readonly close: () => Promise<void>
}

/** Rejects with an error that says why there is no connection. `onEnd` is called for an end that nobody here asked for. */
export const open = async (options: BrowserSora.Options, onEnd: (why: string) => void): Promise<Session> => {
  const scope = Scope.makeUnsafe()
  const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
  const built = await Effect.runPromiseExit(Layer.buildWithScope(BrowserSora.layer(options), scope))
  if (Exit.isFailure(built)) {
    await close()
    throw Cause.squash(built.cause)
  }
  const connection = Context.get(built.value, SoraConnection.SoraConnection)
  const rpc = Context.get(built.value, SoraRpc.SoraRpc)
  const fork = (effect: Effect.Effect<unknown, unknown, SoraConnection.SoraConnection>) =>
    void Effect.runFork(
      Effect.forkIn(Effect.ignoreCause(Effect.provideContext(effect, built.value)), scope)
    )
  let closing = false
  fork(
    Stream.runForEach(connection.changes, (state) =>
      Effect.sync(() => {
        if (state._tag !== "Disconnected" || closing) return
        closing = true
        onEnd(state.reason.message)
        // What belongs to it ends with it; this fiber does too, so that nobody here waits.
        void close()
      }))
  )
  const { connectionId } = await Effect.runPromise(connection.offer)
  return {
    connectionId,
    methods: await Effect.runPromise(rpc.methods),
    rpc,
    fork,
    close() {
      closing = true
      return close()
    }
  }
}

export const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error)
