/**
 * The messages of each label that was asked for, through many connections: who
 * listens, and what waits to be sent.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import type { DisconnectReason } from "../../DisconnectReason.ts"
import {
  type Message,
  type Messaging as LabelMessaging,
  MessagingError,
  type MessagingErrorReason,
  NotOpen,
  type Options,
  ReceiveOnly,
  Unavailable,
  UnknownLabel
} from "../../SoraMessaging.ts"
import { Disconnected, InvalidOptions } from "../../SoraRpcError.ts"
import { isolated } from "../defects.ts"
import * as Broadcast from "./broadcast.ts"
import type { Options as ConnectionOptions } from "./model.ts"
import type { Outlet } from "./outlet.ts"

const dropped = Metric.counter("sora.client.messages.dropped", {
  description: "Messages of the application that could not be read: broken zlib, too large, shorter than their header",
  incremental: true
})

/**
 * What a connection tells of the application's own channels.
 *
 * @internal
 */
export interface Listener {
  readonly message: (label: string, message: Message) => void
  /** What came is none. */
  readonly malformed: (label: string) => void
  /** Of each channel that opens; only one that takes the place of another is news. */
  readonly opened: (label: string, outlet: Outlet) => void
  /** There is room for more. */
  readonly writable: (label: string) => void
}

/** @internal */
export interface Messaging extends Listener {
  readonly of: (label: string, options?: Options) => Effect.Effect<LabelMessaging, MessagingError>
  /** A new connection is up, with these channels. */
  readonly attach: (outlets: ReadonlyMap<string, Outlet>) => void
  /** The connection ended; `attach` may follow. */
  readonly interrupt: (reason: DisconnectReason) => void
  readonly end: (reason: DisconnectReason) => void
}

type Sent = Exit.Exit<void, MessagingError | Disconnected>

interface Waiting {
  readonly data: string | Uint8Array
  readonly resume: (exit: Sent) => void
}

/** A label of all connections. */
interface Line {
  readonly label: string
  readonly isSendable: boolean
  readonly messages: Broadcast.Broadcast<Message>
  /** In the order in which they came. */
  readonly waiting: Set<Waiting>
  /** The channel of the current connection, which may have none. */
  outlet: Outlet | undefined
}

const refused = (label: string, reason: MessagingErrorReason) => new MessagingError({ label, reason })

/** @internal */
export const make = Effect.fnUntraced(function*(
  asked: ConnectionOptions["dataChannels"] = []
): Effect.fn.Return<Messaging> {
  const context = yield* Effect.context<never>()
  const lines = new Map<string, Line>()
  for (const { direction, label } of asked) {
    lines.set(label, {
      label,
      isSendable: direction !== "recvonly",
      messages: yield* Broadcast.make<Message>(),
      waiting: new Set(),
      outlet: undefined
    })
  }
  /** Why there is no connection now, of one that there was. */
  let brokenBy: DisconnectReason | undefined
  let ended: DisconnectReason | undefined

  const handOver = ({ label, outlet }: Line, data: string | Uint8Array): Sent => {
    const reason = outlet === undefined
      ? new NotOpen({ detail: "the server opened no such DataChannel" })
      : outlet.send(data)
    return reason === undefined ? Exit.void : Exit.fail(refused(label, reason))
  }

  const isReady = ({ outlet }: Line) => brokenBy === undefined && (outlet === undefined || outlet.isWritable())

  const pump = (line: Line) => {
    for (const next of line.waiting) {
      if (!isReady(line)) return
      line.waiting.delete(next)
      const sent = handOver(line, next.data)
      // The sender goes on at once, and may send again.
      isolated(() => next.resume(sent))
    }
  }

  const failAll = (reason: DisconnectReason) => {
    const exit = Exit.fail(new Disconnected({ reason }))
    const waiting = Array.from(lines.values()).flatMap(({ waiting }) => Array.from(waiting))
    for (const line of lines.values()) line.waiting.clear()
    for (const { resume } of waiting) isolated(() => resume(exit))
  }

  const send = (line: Line, data: string | Uint8Array, { maxQueued = 65_536, whenDisconnected }: Options) =>
    Effect.callback<void, MessagingError | Disconnected>((resume) => {
      const reason = ended ?? (whenDisconnected === "fail" ? brokenBy : undefined)
      if (reason !== undefined) return resume(Exit.fail(new Disconnected({ reason })))
      if (line.waiting.size === 0 && isReady(line)) return resume(handOver(line, data))
      const { size } = line.waiting
      if (size >= maxQueued) {
        const detail = `${size} messages wait to be sent already`
        return resume(Exit.fail(refused(line.label, new Unavailable({ detail }))))
      }
      const waiting: Waiting = { data, resume }
      line.waiting.add(waiting)
      return Effect.sync(() => line.waiting.delete(waiting))
    })

  return {
    message: (label, message) => lines.get(label)?.messages.publish(message),
    malformed(label) {
      if (lines.has(label)) Metric.withAttributes(dropped, { label }).updateUnsafe(1, context)
    },
    opened(label, outlet) {
      const line = lines.get(label)
      if (line === undefined) return
      line.outlet = outlet
      pump(line)
    },
    writable(label) {
      const line = lines.get(label)
      if (line !== undefined) pump(line)
    },
    attach(outlets) {
      brokenBy = undefined
      for (const line of lines.values()) {
        line.outlet = outlets.get(line.label)
        pump(line)
      }
    },
    interrupt(reason) {
      brokenBy = reason
      failAll(reason)
    },
    end(reason) {
      ended ??= reason
      failAll(reason)
      for (const { messages } of lines.values()) messages.end()
    },
    of(label, options = {}) {
      const line = lines.get(label)
      if (line === undefined) {
        return Effect.fail(refused(label, new UnknownLabel({ labels: Array.from(lines.keys()) })))
      }
      if (!((options.maxQueued ?? 1) >= 1)) {
        return Effect.die(new InvalidOptions({ issue: "maxQueued: expected a number of at least 1" }))
      }
      return Effect.succeed({
        label,
        messages: line.messages.stream,
        send: (data: string | Uint8Array) =>
          typeof data !== "string" && !(data instanceof Uint8Array)
            ? Effect.die(new InvalidOptions({ issue: "data: expected a text or a Uint8Array" }))
            : line.isSendable
            ? send(line, data, options)
            : Effect.fail(refused(label, new ReceiveOnly()))
      })
    }
  }
})
