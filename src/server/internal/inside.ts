/**
 * What stands behind a running server, for what this package builds on it: a
 * replay says to a connection what a server of its own would not.
 */
import type { Rooms } from "./rooms.ts"

const insides = new WeakMap<object, Rooms>()

export const keep = <Server extends object>(rooms: Rooms, server: Server): Server => {
  insides.set(server, rooms)
  return server
}

/** Of a server that `SoraServer.make` has made. */
export const roomsOf = (server: object): Rooms => insides.get(server)!
