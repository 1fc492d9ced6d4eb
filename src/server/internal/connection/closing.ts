/**
 * The end of a connection, carried out: everything is closed in the order that
 * official clients take for a normal end, which is the WebSocket's Close first,
 * then the DataChannels, then, once the client has left or had its time, the
 * peer.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { End } from "../ends.ts"
import type { Channels } from "./channels.ts"
import type { Negotiation } from "./negotiation.ts"
import type { Transport } from "./transport.ts"

/** Time for the last bytes to be acknowledged. */
const DrainGrace = Duration.seconds(1)

/** Time for the client to leave the peer connection. */
const LeaveGrace = Duration.seconds(1)

/** Says what there is to say, and closes one thing after the other. */
export const closeInOrder = Effect.fnUntraced(function*(by: End, parts: {
  readonly transport: Transport
  readonly channels: Channels
  /** Of one that came as far as an offer. */
  readonly peer: Pick<Negotiation, "left" | "silence"> | undefined
  /** Whether the `close` message is sent (`data_channel_signaling_close_message`). */
  readonly closeMessage: boolean
}): Effect.fn.Return<void> {
  const { channels, closeMessage, peer, transport } = parts
  const { announce, code, manner, reason } = by
  if (manner === "silent") {
    // From here on nothing reaches the client, so that all can be released as ever: what that would say, an SCTP ABORT, a
    // DTLS alert, a Close frame, is said to nobody.
    peer?.silence()
    return transport.silence()
  }
  if (manner === "abrupt") return transport.terminate()
  if (announce === true && closeMessage) transport.announce({ type: "close", code, reason })
  // The Close and its reason must be there before the channels close, on another transport: so wait for its echo.
  yield* transport.close(code, reason)
  yield* Effect.timeoutOption(channels.drained, DrainGrace)
  channels.close()
  if (peer !== undefined) yield* Effect.timeoutOption(peer.left, LeaveGrace)
  transport.terminate()
})
