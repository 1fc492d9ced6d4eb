/**
 * A program for `stops.test.ts`, `stopped.ts WHAT`: it stops a connection that is
 * being made, in a way that once ended the process or kept it alive, and then has
 * nothing left to do.
 */
import * as NodeWS from "@effect/platform-node/NodeWS"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { createServer, type Socket } from "node:net"
import * as Werift from "../../src/node/internal/werift/peer.ts"
import * as NodeSora from "../../src/node/NodeSora.ts"
import * as PeerConnection from "../../src/PeerConnection.ts"
import * as SoraServer from "../../src/server/SoraServer.ts"
import * as SoraConnection from "../../src/SoraConnection.ts"
import * as ScriptedSora from "../utils/scriptedSora.ts"

const connect = (options: Partial<SoraConnection.Options> & Pick<SoraConnection.Options, "signalingUrls">) =>
  Effect.scoped(SoraConnection.make({ channelId: "stops", role: "sendrecv", ...options }))

/** Accepts connections, and says nothing; gives the URLs of two of them, and when the first is dialled. */
const mute = Effect.gen(function*() {
  const dialled = yield* Deferred.make<void>()
  const sockets: Array<Socket> = []
  const listen = Effect.callback<string>((resume) => {
    const server = createServer((socket) => {
      sockets.push(socket)
      socket.on("error", () => {})
      Deferred.doneUnsafe(dialled, Exit.void)
    }).listen(0, "127.0.0.1", () => {
      const address = server.address()
      resume(Effect.succeed(`ws://127.0.0.1:${typeof address === "object" ? address?.port : 0}/`))
    })
    servers.push(server)
  })
  const servers: Array<ReturnType<typeof createServer>> = []
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const socket of sockets) socket.destroy()
      for (const server of servers) server.close()
    })
  )
  return { signalingUrls: [yield* listen, yield* listen], dialled: Deferred.await(dialled) }
})

const programs: Record<string, Effect.Effect<unknown, unknown, any>> = {
  interrupt: Effect.gen(function*() {
    const { dialled, signalingUrls } = yield* mute
    const connecting = yield* Effect.forkChild(connect({ signalingUrls }))
    yield* dialled
    yield* Fiber.interrupt(connecting)
  }).pipe(Effect.provide(NodeSora.layerPlatform())),

  connectTimeout: Effect.gen(function*() {
    const { signalingUrls } = yield* mute
    yield* Effect.flip(connect({ signalingUrls, connectTimeout: "100 millis" }))
  }).pipe(Effect.provide(NodeSora.layerPlatform())),

  redirects: Effect.gen(function*() {
    const { signalingUrls } = yield* mute
    const sora = yield* ScriptedSora.make((peer) =>
      Effect.map(peer.take, () => {
        for (let i = 0; i < 11; i++) peer.send({ type: "redirect", location: signalingUrls[0] })
      })
    )
    const error = yield* Effect.flip(connect({ signalingUrls: [sora.url], connectTimeout: "1 second" }))
    process.stdout.write(`${error.reason._tag}\n`)
  }).pipe(Effect.provide(NodeSora.layerPlatform())),

  handshake: Effect.gen(function*() {
    const { url } = yield* SoraServer.make()
    const shaking = yield* Deferred.make<void>()
    const peers = Layer.succeed(PeerConnection.PeerConnection, {
      environment: "test",
      make: () =>
        Effect.map(Werift.make({ ...Werift.loopback, iceServers: [] }), (peer) => {
          const prepare = peer.setRemoteDescription.bind(peer)
          peer.setRemoteDescription = async (description) => {
            await prepare(description)
            peer.iceTransports[0]!.connection.send = async (data) => {
              // Its first flight of DTLS, which never arrives.
              if (data[0] === 22) Deferred.doneUnsafe(shaking, Exit.void)
            }
          }
          return peer
        })
    })
    const connecting = yield* Effect.forkChild(
      connect({ signalingUrls: [url] }).pipe(Effect.provide([peers, NodeWS.layerWebSocketConstructor]))
    )
    yield* Deferred.await(shaking)
    yield* Fiber.interrupt(connecting)
  })
}

await Effect.runPromise(Effect.scoped(programs[process.argv[2]!]!) as Effect.Effect<unknown, unknown>)
process.stdout.write("stopped\n")
