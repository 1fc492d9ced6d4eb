/**
 * What stands behind a running server, for what this package builds on it: its
 * page, and a replay, which says to a connection what a server of its own would
 * not. Kept beside the service, which is public, and gone with it.
 */
import type * as SoraMethod from "../../SoraMethod.ts"
import type * as SoraFaults from "../SoraFaults.ts"
import type { Guest } from "./listener.ts"
import type { Rooms } from "./rooms.ts"
import type { Tap } from "./tap.ts"

export interface Inside {
  readonly host: string
  readonly port: number
  readonly rooms: Rooms
  readonly tap: Tap
  /** All that are served, the user's own too. */
  readonly methods: ReadonlyArray<SoraMethod.Any>
  /** What goes wrong on purpose, at the moment. */
  readonly faults: () => SoraFaults.Faults
  /** Serves more than signaling beside it. Gives what ends that; nothing when something is served already. */
  readonly invite: (guest: Guest) => (() => void) | undefined
}

const insides = new WeakMap<object, Inside>()

export const keep = (server: object, inside: Inside): void => void insides.set(server, inside)

/** Nothing of a service that is no server of ours. */
export const insideOf = (server: object): Inside | undefined => insides.get(server)
