/**
 * A connection of the page's own, over a double of the browser's.
 */
import { assert, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { vi } from "vitest"
import * as DisconnectReason from "../../../src/DisconnectReason.ts"
import * as SoraConnection from "../../../src/SoraConnection.ts"
import * as SoraRpc from "../../../src/SoraRpc.ts"
import { open } from "../../../src/ui/page/session.ts"

const ended = Deferred.makeUnsafe<SoraConnection.State>()
const released = Deferred.makeUnsafe<void>()

const connection = Layer.effect(
  SoraConnection.SoraConnection,
  Effect.as(
    Effect.addFinalizer(() => Deferred.succeed(released, undefined)),
    // The rest is never asked for here.
    {
      offer: Effect.succeed({ connectionId: "CONNECTION" }),
      changes: Stream.fromEffect(Deferred.await(ended))
    } as unknown as SoraConnection.SoraConnection["Service"]
  )
)

vi.mock("../../../src/browser/BrowserSora.ts", () => ({
  layer: () => Layer.merge(connection, SoraRpc.layerTest([]))
}))

it.live("releases what it has when it ends by itself", () =>
  Effect.gen(function*() {
    const whys: Array<string> = []
    const options = { signalingUrls: ["ws://127.0.0.1/signaling"], channelId: "lobby", role: "recvonly" } as const
    const session = yield* Effect.promise(() => open(options, (why) => whys.push(why)))
    yield* Deferred.succeed(ended, { _tag: "Disconnected", reason: new DisconnectReason.Released() })
    yield* Deferred.await(released)
    assert.lengthOf(whys, 1)
    // Once more does nothing.
    yield* Effect.promise(session.close)
    assert.lengthOf(whys, 1)
  }), 5000)
