/** Our client, called from fibers, as a program does. */
import { SoraRpc } from "effect-sora-rpc"
import { BrowserSora } from "effect-sora-rpc/browser"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Method, params } from "./contestant.ts"

let scope: Scope.Closeable
let rpc: SoraRpc.SoraRpc["Service"]

const call = Effect.suspend(() => rpc.call(Method, params, { timeout: "20 seconds" }))

window.contestant = {
  async connect(url) {
    const start = performance.now()
    scope = Scope.makeUnsafe()
    const layer = BrowserSora.layer({
      signalingUrls: [url],
      channelId: "bench",
      role: "sendonly",
      audio: false,
      video: false
    })
    rpc = Context.get(await Effect.runPromise(Layer.buildWithScope(layer, scope)), SoraRpc.SoraRpc)
    await Effect.runPromise(call)
    return performance.now() - start
  },
  roundTrips: (count) =>
    Effect.runPromise(Effect.forEach(Array.from({ length: count }), () =>
      Effect.suspend(() => {
        const start = performance.now()
        return Effect.map(call, () => performance.now() - start)
      }))),
  rate: (callers, ms) =>
    Effect.runPromise(Effect.gen(function*() {
      const start = performance.now()
      let answered = 0
      const isOn = () => performance.now() - start < ms
      const caller = Effect.whileLoop({ while: isOn, body: () => call, step: () => void answered++ })
      yield* Effect.replicateEffect(caller, callers, { concurrency: "unbounded", discard: true })
      return answered / (performance.now() - start) * 1000
    })),
  close: () => Effect.runPromise(Scope.close(scope, Exit.void))
}
