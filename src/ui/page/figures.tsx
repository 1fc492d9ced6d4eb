/**
 * Figures: calls per second, how long they took, and how many wait, drawn over
 * the last minutes.
 */
import { useState } from "preact/hooks"
import type { Second } from "../internal/protocol.ts"
import { seconds, useAtom, useTexts } from "./atoms.ts"
import { clockTime, millis } from "./format.ts"
import { Select } from "./parts.tsx"

const Width = 720
const Height = 160
const Left = 56
const Bottom = 20

interface Line {
  readonly name: string
  readonly class: string
  readonly of: (second: Second) => number | undefined
}

/** The next round number. */
const ceiling = (value: number): number => {
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 5, 10].map((step) => step * power).find((round) => round >= value) ?? value
}

const Chart = (props: {
  readonly title: string
  readonly lines: ReadonlyArray<Line>
  readonly shown: ReadonlyArray<Second>
  readonly span: number
  readonly write: (value: number) => string
}) => {
  const { lines, shown, span, title, write } = props
  const end = shown.at(-1)?.at ?? 0
  const top = ceiling(Math.max(1, ...shown.flatMap((second) => lines.map(({ of }) => of(second) ?? 0))))
  const x = (at: number) => Left + (Width - Left) * (1 - (end - at) / span)
  const y = (value: number) => (Height - Bottom) * (1 - value / top) + 4
  // A second without a value is a gap in the line.
  const path = ({ of }: Line) => {
    let isOpen = false
    return shown.map((second) => {
      const value = of(second)
      const command = value === undefined
        ? ""
        : `${isOpen ? "L" : "M"}${x(second.at).toFixed(1)} ${y(value).toFixed(1)}`
      // A value alone is a point, which is drawn as a short line.
      const point = value !== undefined && !isOpen ? "m-1.5 0h3" : ""
      isOpen = value !== undefined
      return command + point
    }).join("")
  }
  const last = shown.at(-1)
  const now = lines.map(({ name, of }) => {
    const value = last === undefined ? undefined : of(last)
    return `${name} ${value === undefined ? "—" : write(value)}`
  }).join(", ")
  return (
    <figure>
      <figcaption>
        <strong>{title}</strong>
        {lines.map((line) => <span key={line.name} class={`key ${line.class}`}>{line.name}</span>)}
        <span>{now}</span>
      </figcaption>
      <svg viewBox={`0 0 ${Width} ${Height}`} role="img" aria-label={`${title}: ${now}`}>
        {[0, 0.5, 1].map((share) => (
          <g key={share}>
            <line class="grid" x1={Left} x2={Width} y1={y(top * share)} y2={y(top * share)} />
            <text x={Left - 6} y={y(top * share) + 4} text-anchor="end">{write(top * share)}</text>
          </g>
        ))}
        <text x={Left} y={Height - 2}>{clockTime((end - span) * 1000).slice(0, 8)}</text>
        <text x={Width} y={Height - 2} text-anchor="end">{clockTime(end * 1000).slice(0, 8)}</text>
        {lines.map((line) => <path key={line.name} class={line.class} d={path(line)} />)}
      </svg>
    </figure>
  )
}

const plain = (value: number) => Number.isInteger(value) ? String(value) : value.toFixed(1)

export const Figures = () => {
  const texts = useTexts()
  const all = useAtom(seconds)
  const [span, setSpan] = useState(60)
  const end = all.at(-1)?.at ?? 0
  const shown = all.filter(({ at }) => at > end - span)
  const total = shown.reduce((sum, { calls }) => sum + calls, 0)
  return (
    <>
      <div class="toolbar">
        <Select
          label={texts.lastMinutes}
          value={String(span)}
          options={[["60", `1 ${texts.minute}`], ["180", `3 ${texts.minutes}`], ["300", `5 ${texts.minutes}`]]}
          onChange={(value) => setSpan(Number(value))}
        />
      </div>
      <p class="summary">{total === 0 ? texts.noCalls : `${texts.calls}: ${total}`}</p>
      <Chart
        title={texts.callsPerSecond}
        shown={shown}
        span={span}
        write={plain}
        lines={[
          { name: texts.calls, class: "line-a", of: ({ calls }) => calls },
          { name: texts.errors, class: "line-b", of: ({ errors }) => errors }
        ]}
      />
      <Chart
        title={texts.latency}
        shown={shown}
        span={span}
        write={(value) => millis(value)}
        lines={[
          { name: "p50", class: "line-a", of: ({ p50 }) => p50 },
          { name: "p99", class: "line-b", of: ({ p99 }) => p99 }
        ]}
      />
      <p class="summary">{texts.latencyHelp}</p>
      <Chart
        title={texts.callsWaiting}
        shown={shown}
        span={span}
        write={plain}
        lines={[{ name: texts.callsWaiting, class: "line-a", of: ({ waiting }) => waiting }]}
      />
      <details class="panel">
        <summary>{texts.table}</summary>
        <table>
          <thead>
            <tr>
              <th scope="col">{texts.time}</th>
              <th scope="col">{texts.calls}</th>
              <th scope="col">{texts.errors}</th>
              <th scope="col">p50</th>
              <th scope="col">p99</th>
              <th scope="col">{texts.callsWaiting}</th>
            </tr>
          </thead>
          <tbody>
            {shown.filter(({ calls, p50, waiting }) => calls > 0 || waiting > 0 || p50 !== undefined).slice(-60).map(
              (second) => (
                <tr key={second.at}>
                  <th scope="row">{clockTime(second.at * 1000).slice(0, 8)}</th>
                  <td>{second.calls}</td>
                  <td>{second.errors}</td>
                  <td>{second.p50 === undefined ? "—" : millis(second.p50)}</td>
                  <td>{second.p99 === undefined ? "—" : millis(second.p99)}</td>
                  <td>{second.waiting}</td>
                </tr>
              )
            )}
          </tbody>
        </table>
      </details>
    </>
  )
}
