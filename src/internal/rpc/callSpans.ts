/**
 * The spans of calls that are under way in this process, for a development server
 * in the same one: what it does for a call continues the client's span, and
 * nothing of it goes over the wire. A call is known by its connection and its id.
 */
import type * as Tracer from "effect/Tracer"
import type { RpcChannel } from "../../RpcChannel.ts"

type Lookup = (id: number) => Tracer.Span | undefined

/** Of the connections that are up. Those of two servers in memory may have the same id. */
const channels = new Map<string, ReadonlyArray<RpcChannel>>()

/** Of the client that calls over a channel. */
const lookups = new WeakMap<RpcChannel, Lookup>()

/**
 * A connection is up, over this channel; returns what says that it is not any
 * more.
 *
 * @internal
 */
export const over = (connectionId: string, channel: RpcChannel): () => void => {
  channels.set(connectionId, [...channels.get(connectionId) ?? [], channel])
  return () => {
    const others = channels.get(connectionId)?.filter((other) => other !== channel) ?? []
    if (others.length === 0) channels.delete(connectionId)
    else channels.set(connectionId, others)
  }
}

/**
 * Who calls over a channel. A later one takes the place of the first.
 *
 * @internal
 */
export const ofChannel = (channel: RpcChannel, lookup: Lookup): void => void lookups.set(channel, lookup)

/**
 * None where it may be one of two.
 *
 * @internal
 */
export const find = (connectionId: string, id: unknown): Tracer.Span | undefined => {
  const [channel, another] = channels.get(connectionId) ?? []
  return channel === undefined || another !== undefined || typeof id !== "number"
    ? undefined
    : lookups.get(channel)?.(id)
}
