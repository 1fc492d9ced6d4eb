/**
 * What several views are made of.
 */
import type { ComponentChildren, RefObject, TargetedKeyboardEvent } from "preact"
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks"
import { useTexts } from "./atoms.ts"
import { say } from "./server.ts"

export const Button = (props: {
  readonly onClick: () => void
  readonly children: ComponentChildren
  readonly kind?: "plain" | "danger" | "primary"
  readonly disabled?: boolean
  readonly pressed?: boolean
  readonly type?: "button" | "submit"
}) => (
  <button
    type={props.type ?? "button"}
    class={props.kind ?? "plain"}
    disabled={props.disabled ?? false}
    aria-pressed={props.pressed}
    onClick={props.onClick}
  >
    {props.children}
  </button>
)

/** A field with its label. */
export const Labelled = (props: {
  readonly label: string
  readonly children: (id: string) => ComponentChildren
  readonly class?: string
}) => {
  const id = useId()
  return (
    <div class={`field ${props.class ?? ""}`}>
      <label for={id}>{props.label}</label>
      {props.children(id)}
    </div>
  )
}

export const TextInput = (props: {
  readonly label: string
  readonly value: string
  readonly onInput: (value: string) => void
  readonly class?: string
  readonly type?: "text" | "number" | "search"
  readonly step?: string
  readonly min?: string
  readonly max?: string
  readonly invalid?: boolean
}) => (
  <Labelled label={props.label} {...(props.class === undefined ? {} : { class: props.class })}>
    {(id) => (
      <input
        id={id}
        type={(props.type ?? "text") as "text"}
        step={props.step}
        min={props.min}
        max={props.max}
        autocomplete="off"
        spellcheck={false}
        aria-invalid={props.invalid === true}
        value={props.value}
        onInput={(event) => props.onInput(event.currentTarget.value)}
      />
    )}
  </Labelled>
)

export const TextArea = (props: {
  readonly label: string
  readonly value: string
  readonly onInput: (value: string) => void
  readonly rows?: number
  readonly invalid?: boolean
}) => (
  <Labelled label={props.label}>
    {(id) => (
      <textarea
        id={id}
        rows={props.rows ?? 2}
        spellcheck={false}
        aria-invalid={props.invalid === true}
        value={props.value}
        onInput={(event) => props.onInput(event.currentTarget.value)}
      />
    )}
  </Labelled>
)

export const Select = (props: {
  readonly label: string
  readonly value: string
  readonly options: ReadonlyArray<readonly [value: string, text: string]>
  readonly onChange: (value: string) => void
  readonly disabled?: boolean
}) => (
  <Labelled label={props.label}>
    {(id) => (
      <select
        id={id}
        disabled={props.disabled ?? false}
        value={props.value}
        onChange={(event) => props.onChange(event.currentTarget.value)}
      >
        {props.options.map(([value, text]) => <option key={value} value={value}>{text}</option>)}
      </select>
    )}
  </Labelled>
)

export const Checkbox = (props: {
  readonly label: string
  readonly checked: boolean
  readonly onChange: (checked: boolean) => void
}) => (
  <label class="checkbox">
    <input
      type="checkbox"
      checked={props.checked}
      onChange={(event) => props.onChange(event.currentTarget.checked)}
    />
    {props.label}
  </label>
)

export const Copy = ({ text }: { readonly text: string }) => {
  const texts = useTexts()
  return (
    <Button
      onClick={() =>
        void navigator.clipboard.writeText(text).then(
          () => say(texts.copied),
          (error: unknown) => say(`${texts.failed}${String(error)}`, true)
        )}
    >
      {texts.copy}
    </Button>
  )
}

/** A text that scrolls by itself, and can be reached by the keyboard for that. */
export const Code = ({ label, text }: { readonly label: string; readonly text: string }) => (
  <pre class="code" tabIndex={0} role="region" aria-label={label}>{text}</pre>
)

/** Long texts are shown in part, so that drawing one does not take long. */
const MaxShown = 200_000

export const pretty = (value: unknown): string => {
  const text = JSON.stringify(value, undefined, 2) ?? "undefined"
  return text.length > MaxShown ? `${text.slice(0, MaxShown)}\n… ${text.length}` : text
}

export const Json = ({ label, value }: { readonly label: string; readonly value: unknown }) => (
  <Code label={label} text={pretty(value)} />
)

const RowHeight = 28
/** Rows beyond what is seen, so that scrolling shows no gap. */
const Spare = 8

/** A function of its own: what lives as long as the list would else keep the items that it began with. */
const useHeight = (box: RefObject<HTMLElement | null>): number => {
  const [height, setHeight] = useState(400)
  useEffect(() => {
    const element = box.current!
    const observer = new ResizeObserver(() => setHeight(element.clientHeight))
    observer.observe(element)
    return () => observer.disconnect()
  }, [])
  return height
}

/**
 * A list of which only the rows in sight are drawn. One row is chosen, with the
 * keyboard too; with `follow` it stays at the end while it is there.
 */
export const VirtualList = <A extends object>(props: {
  readonly label: string
  readonly items: ReadonlyArray<A>
  readonly keyOf: (item: A) => string | number
  readonly chosen: string | number | undefined
  readonly onChoose: (item: A) => void
  readonly row: (item: A) => ComponentChildren
  readonly classOf?: (item: A) => string
  readonly follow?: boolean
}) => {
  const { chosen, items, keyOf, onChoose } = props
  const box = useRef<HTMLDivElement>(null)
  const [top, setTop] = useState(0)
  const height = useHeight(box)
  const atEnd = useRef(true)
  const id = useId()

  useLayoutEffect(() => {
    const element = box.current!
    if (props.follow === true && atEnd.current) element.scrollTop = element.scrollHeight
  }, [items, items.length, props.follow])

  const index = chosen === undefined ? -1 : indexOf(items, keyOf, chosen)
  const choose = (to: number) => {
    const next = Math.max(0, Math.min(items.length - 1, to))
    const item = items[next]
    if (item === undefined) return
    onChoose(item)
    const element = box.current!
    if (next * RowHeight < element.scrollTop) element.scrollTop = next * RowHeight
    else if ((next + 1) * RowHeight > element.scrollTop + element.clientHeight) {
      element.scrollTop = (next + 1) * RowHeight - element.clientHeight
    }
  }
  const onKeyDown = (event: TargetedKeyboardEvent<HTMLDivElement>) => {
    const page = Math.max(1, Math.floor(height / RowHeight) - 1)
    const from = index < 0 ? Math.floor(top / RowHeight) - 1 : index
    const to = {
      ArrowDown: from + 1,
      ArrowUp: from - 1,
      PageDown: from + page,
      PageUp: from - page,
      Home: 0,
      End: items.length - 1
    }[event.key]
    if (to === undefined) return
    event.preventDefault()
    choose(to)
  }

  // Where it will be scrolled to: drawn for where it was, all rows would be drawn again a moment later.
  const seen = props.follow === true && atEnd.current ? Math.max(0, items.length * RowHeight - height) : top
  const first = Math.max(0, Math.floor(seen / RowHeight) - Spare)
  const last = Math.min(items.length, Math.ceil((seen + height) / RowHeight) + Spare)
  return (
    <div
      ref={box}
      class="list"
      role="listbox"
      aria-label={props.label}
      tabIndex={0}
      aria-activedescendant={index >= first && index < last ? `${id}-${chosen}` : undefined}
      onKeyDown={onKeyDown}
      onScroll={(event) => {
        const { clientHeight, scrollHeight, scrollTop } = event.currentTarget
        atEnd.current = scrollTop + clientHeight >= scrollHeight - RowHeight
        setTop(scrollTop)
      }}
    >
      <div class="all" role="presentation" style={{ height: `${items.length * RowHeight}px` }}>
        {items.slice(first, last).map((item, i) => {
          const key = keyOf(item)
          return (
            <div
              key={key}
              id={`${id}-${key}`}
              class={`row ${props.classOf?.(item) ?? ""}`}
              role="option"
              aria-selected={key === chosen}
              aria-posinset={first + i + 1}
              aria-setsize={items.length}
              style={{ top: `${(first + i) * RowHeight}px` }}
              onClick={() => onChoose(item)}
            >
              {props.row(item)}
            </div>
          )
        })}
      </div>
    </div>
  )
}

const indexOf = <A extends object>(
  items: ReadonlyArray<A>,
  keyOf: (item: A) => string | number,
  wanted: string | number
): number => {
  if (typeof wanted !== "number") return items.findIndex((item) => keyOf(item) === wanted)
  // Numbers are in order.
  let from = 0
  let to = items.length
  while (from < to) {
    const middle = (from + to) >>> 1
    if ((keyOf(items[middle]!) as number) < wanted) from = middle + 1
    else to = middle
  }
  return items[from] !== undefined && keyOf(items[from]!) === wanted ? from : -1
}
