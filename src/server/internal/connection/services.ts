/**
 * What all connections of a server have in common.
 */
import type * as Dispatcher from "../../../internal/rpc/dispatcher.ts"
import type { Authenticate } from "../../SoraAuth.ts"
import type * as Faults from "../faults.ts"
import type { Settings } from "../options.ts"
import type { Rooms } from "../rooms.ts"
import type { Tap } from "../tap.ts"

export interface Services {
  readonly settings: Settings
  readonly url: () => string
  readonly rooms: Rooms
  readonly tap: Tap
  readonly dispatcher: Dispatcher.Dispatcher<never>
  readonly authenticate: Authenticate
  readonly allMethods: ReadonlyArray<string>
  /** What goes wrong on purpose, at the moment. */
  readonly faults: () => Faults.Source | undefined
}
