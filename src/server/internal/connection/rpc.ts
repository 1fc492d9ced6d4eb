/**
 * The calls of a connection, and the answers to them. They are many, so they do
 * not wait for what else happens.
 */
import * as Effect from "effect/Effect"
import * as Channel from "../../../internal/rpc/channel.ts"
import { type Dispatcher, internalErrorOf } from "../../../internal/rpc/dispatcher.ts"
import type { Member } from "../member.ts"
import type { Settings } from "../options.ts"
import type { Line } from "../tap.ts"
import { type Channels, sizeOf } from "./channels.ts"
import type { Ending } from "./ending.ts"
import type { Fate } from "./fate.ts"
import type { Load } from "./inbox.ts"
import type { Transport } from "./transport.ts"

export interface Rpc {
  readonly onMessage: (data: unknown) => void
  /** Calls can be answered. Those that came before are dealt with now. */
  readonly start: () => void
}

export const make = (options: {
  readonly member: Member
  readonly granted: ReadonlyArray<string>
  readonly dispatcher: Dispatcher<never>
  readonly settings: Settings
  readonly channels: Channels
  readonly transport: Transport
  readonly ending: Ending
  readonly fate: Fate
  readonly load: Load
  readonly line: Line
  readonly run: (effect: Effect.Effect<void>) => void
}): Rpc => {
  const { channels, dispatcher, ending, fate, granted, line, load, member, run, settings, transport } = options
  const tooManyCalls = internalErrorOf(`${settings.maxCalls} calls are under way`)
  const isGranted = (method: string) => granted.includes(method)
  let underWay = 0
  /** What has come while nothing can be answered. */
  let early: Array<unknown> | undefined = []

  const answer = (text: string | undefined): Effect.Effect<void> => {
    if (text === undefined) return Effect.void
    const faults = fate.current()
    if (faults !== undefined) {
      return faults.respond(text, {
        compress: channels.get("rpc")?.compress ?? false,
        maxBytes: channels.maxMessageBytes(),
        send: (data) => void transport.sendData("rpc", data)
      })
    }
    if (transport.sendOnChannel("rpc", text)) return Effect.void
    // What Sora does with an answer above the largest message is not known (section 9 row 14); here it is dropped.
    return Effect.logDebug(`an answer of ${text.length} characters could not be sent`)
  }

  const handle = (data: unknown) => {
    if (ending.isOver()) return
    let frame: string
    try {
      frame = Channel.decodeMessage(data, channels.get("rpc")?.compress ?? false, settings.maxInflatedBytes)
    } catch {
      // Answered with a parse error.
      frame = ""
    }
    line.message("received", "datachannel", "rpc", frame)
    // A call is kept until it is answered, and so counts until then.
    if (!load.take(frame.length)) return
    const ended = Effect.sync(() => {
      underWay--
      load.free(frame.length)
    })
    const refusal = underWay < settings.maxCalls ? undefined : tooManyCalls
    underWay++
    const answered = Effect.flatMap(dispatcher.dispatch(frame, member, isGranted, refusal), answer)
    run(Effect.onExit(answered, () => ended))
  }

  return {
    onMessage(data) {
      if (early === undefined) return handle(data)
      if (load.take(sizeOf(data))) early.push(data)
    },
    start() {
      const waiting = early ?? []
      early = undefined
      for (const data of waiting) {
        load.free(sizeOf(data))
        handle(data)
      }
    }
  }
}
