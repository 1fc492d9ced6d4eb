/** What the measurements have in common. */
import { SoraConnection, SoraMethod, SoraRpc } from "effect-sora-rpc"
import { NodeSora } from "effect-sora-rpc/node"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { fork } from "node:child_process"
import { randomBytes } from "node:crypto"
import { join } from "node:path"

const Payload = Schema.Struct({ data: Schema.String })

/** Answers with its params. */
export const Echo = SoraMethod.make("Echo", { version: "1.0.0", params: Payload, result: Payload })

/** Answers with its data, after so many milliseconds. */
export const EchoLater = SoraMethod.make("EchoLater", {
  version: "1.0.0",
  params: Schema.Struct({ data: Schema.String, millis: Schema.Finite }),
  result: Payload
})

const around = JSON.stringify({ jsonrpc: "2.0", id: 10_000, method: SoraMethod.wireName(Echo), params: { data: "" } })

/** Params of {@link Echo} that make a frame of 200 bytes, which does not compress to nothing. */
export const params200 = { data: randomBytes(200).toString("base64").slice(0, 200 - around.length) }

export class BenchError extends Schema.TaggedError<BenchError>()("BenchError", { message: Schema.String }) {}

/** Another script of this folder in a process of its own, killed with the scope. */
export const spawn = (file: string, ...args: ReadonlyArray<string>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => fork(join(import.meta.dirname, file), args)),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (child) => ({
      /** The next thing that it says, to `question` if there is one. */
      next: (question?: string) =>
        Effect.callback<any, BenchError>((resume) => {
          const onMessage = (message: unknown) => resume(Effect.succeed(message))
          const onExit = () => {
            const how = child.signalCode ?? child.exitCode
            resume(Effect.fail(new BenchError({ message: `${file} ended: ${how}` })))
          }
          if (child.exitCode !== null || child.signalCode !== null) return onExit()
          child.once("message", onMessage)
          child.once("exit", onExit)
          if (question !== undefined) child.send(question)
          return Effect.sync(() => {
            child.off("message", onMessage)
            child.off("exit", onExit)
          })
        })
    })
  )

/** The first thing that another script says. */
export const child = (file: string, ...args: ReadonlyArray<string>) =>
  Effect.flatMap(spawn(file, ...args), ({ next }) => next())

/** For RPC alone, without media. */
export const rpcOnly = (url: string) =>
  ({ signalingUrls: [url], channelId: "bench", role: "sendonly", audio: false, video: false }) as const

/** A connection that is closed with the scope. */
export const connect = Effect.fnUntraced(function*(url: string, rpc: SoraRpc.Options = {}) {
  const context = yield* Layer.build(
    NodeSora.layer({ ...rpcOnly(url), rpc })
  )
  return {
    rpc: Context.get(context, SoraRpc.SoraRpc),
    connection: Context.get(context, SoraConnection.SoraConnection)
  }
})

/** An effect's result, and how many milliseconds it took. */
export const timed = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const start = performance.now()
    return Effect.map(self, (value) => ({ value, ms: performance.now() - start }))
  })

export const median = (numbers: ReadonlyArray<number>): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN

/** One line of what `npm run bench` prints. */
export interface Row {
  readonly name: string
  /** Microseconds, unless `unit` says otherwise; median of the rounds. */
  readonly median: number
  readonly spread: readonly [min: number, max: number]
  readonly unit?: "bytes"
  /** Median of the rounds' own ratios to the floor of the same round. */
  readonly ratioToFloor: number
  readonly target?: Target
}

export interface Target {
  readonly text: string
  readonly limit: number
  readonly value: number
  readonly met: boolean
}

export const target = (text: string, limit: number, value: number): Target => ({
  text,
  limit,
  value,
  met: value <= limit
})

/** Prints rows under a head, the first column to the left, the others to the right. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string | number>>) => {
  const cell = (value: string | number) =>
    typeof value === "string"
      ? value
      : value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) < 10 ? 2 : 0 })
  const cells = rows.map((row) => row.map(cell))
  const widths = (cells[0] ?? []).map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)))
  for (const row of cells) {
    process.stdout.write(
      row.map((text, i) => i === 0 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!)).join("  ") + "\n"
    )
  }
  process.stdout.write("\n")
}
