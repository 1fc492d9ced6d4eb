/**
 * The page: five views of a development server.
 */
import * as Effect from "effect/Effect"
import { type ComponentType, render } from "preact"
import { useEffect, useLayoutEffect, useRef } from "preact/hooks"
import { language, notice, registry, set, state, status, type Theme, theme, useAtom, useTexts } from "./atoms.ts"
import { Call } from "./call.tsx"
import { Camera } from "./camera.tsx"
import { Figures } from "./figures.tsx"
import { Now } from "./now.tsx"
import { Select } from "./parts.tsx"
import { run } from "./server.ts"
import { isLanguage } from "./texts.ts"
import { Timeline } from "./timeline.tsx"

const views = { now: Now, timeline: Timeline, call: Call, figures: Figures, camera: Camera } as const

type View = keyof typeof views

const viewOf = (hash: string): View => {
  const name = hash.slice(1)
  return Object.hasOwn(views, name) ? name as View : "now"
}

const view = state<View>(viewOf(location.hash))
addEventListener("hashchange", () => set(view, viewOf(location.hash)))

const App = () => {
  const texts = useTexts()
  const current = useAtom(view)
  const state = useAtom(status)
  const said = useAtom(notice)
  const inLanguage = useAtom(language)
  const inTheme = useAtom(theme)
  const heading = useRef<HTMLHeadingElement>(null)
  const first = useRef(true)
  useLayoutEffect(() => {
    document.documentElement.lang = inLanguage
    document.title = `${texts[current]} · ${texts.title}`
  }, [inLanguage, current])
  // Who reads by ear is told that there is another view, and goes on from its heading.
  useEffect(() => {
    if (!first.current) heading.current?.focus()
    first.current = false
  }, [current])
  const Current: ComponentType = views[current]
  return (
    <>
      <header>
        <p class="title">{texts.title}</p>
        <nav aria-label={texts.views}>
          {(Object.keys(views) as ReadonlyArray<View>).map((name) => (
            <a key={name} href={`#${name}`} aria-current={name === current ? "page" : undefined}>{texts[name]}</a>
          ))}
        </nav>
        <div class="settings">
          <Select
            label={texts.language}
            value={inLanguage}
            options={[["en", "English"], ["ja", "日本語"]]}
            onChange={(value) => {
              if (isLanguage(value)) set(language, value)
            }}
          />
          <Select
            label={texts.theme}
            value={inTheme}
            options={[["auto", texts.themeAuto], ["light", texts.themeLight], ["dark", texts.themeDark]]}
            onChange={(value) => set(theme, value as Theme)}
          />
        </div>
      </header>
      <div class="status" role="status">
        <span class={`dot ${state}`} aria-hidden="true" />
        <span>{texts[state]}</span>
        {said === undefined ? null : <span class={said.failed ? "notice failed" : "notice"}>{said.text}</span>}
      </div>
      <main>
        <h1 ref={heading} tabIndex={-1}>{texts[current]}</h1>
        <Current />
      </main>
    </>
  )
}

registry.subscribe(theme, (chosen) => {
  document.documentElement.dataset["theme"] = chosen
}, { immediate: true })

render(<App />, document.getElementById("app")!)
Effect.runFork(run)
