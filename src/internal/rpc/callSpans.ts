/**
 * The spans of calls that are under way in this process, for a development server
 * in the same one: what it does for a call continues the client's span, and
 * nothing of it goes over the wire. A call is known by its connection and its id.
 */
import type * as Tracer from "effect/Tracer"
import type { RpcChannel } from "../../RpcChannel.ts"

type Lookup = (id: number) => Tracer.Span | undefined

/** Of the connections that are up. */
const channels = new Map<string, RpcChannel>()

/** Of the client that calls over a channel. */
const lookups = new WeakMap<RpcChannel, Lookup>()

/**
 * A connection is up, over this channel; returns what says that it is not any
 * more.
 *
 * @internal
 */
export const over = (connectionId: string, channel: RpcChannel): () => void => {
  channels.set(connectionId, channel)
  return () => void channels.delete(connectionId)
}

/**
 * Who calls over a channel. A later one takes the place of the first.
 *
 * @internal
 */
export const ofChannel = (channel: RpcChannel, lookup: Lookup): void => void lookups.set(channel, lookup)

/** @internal */
export const find = (connectionId: string, id: unknown): Tracer.Span | undefined => {
  const channel = channels.get(connectionId)
  return channel === undefined || typeof id !== "number" ? undefined : lookups.get(channel)?.(id)
}
