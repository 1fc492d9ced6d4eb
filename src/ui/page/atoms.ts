/**
 * What the page knows, as atoms in one registry, and the hook with which a view
 * watches one.
 */
import { Atom, AtomRegistry } from "effect/reactivity"
import type * as Schema from "effect/Schema"
import { useLayoutEffect, useReducer } from "preact/hooks"
import type { Connection, Info, Second } from "../internal/protocol.ts"
import { isLanguage, type Language, languages, type Texts } from "./texts.ts"

export const registry = AtomRegistry.make()

/** Kept while no view watches it. */
export const state = <A>(initial: A): Atom.Writable<A> => Atom.keepAlive(Atom.make(initial))

export const useAtom = <A>(atom: Atom.Atom<A>): A => {
  const [, again] = useReducer<number, void>((count) => count + 1, 0)
  const value = registry.get(atom)
  useLayoutEffect(() => {
    const stop = registry.subscribe(atom, () => again())
    // It may have changed since the view was drawn.
    if (registry.get(atom) !== value) again()
    return stop
  }, [atom])
  return value
}

export const set = <A>(atom: Atom.Writable<A>, value: A): void => registry.set(atom, value)
export const get = <A>(atom: Atom.Atom<A>): A => registry.get(atom)

/** One that the browser remembers; a browser that remembers nothing takes the default. */
export const remembered = <A extends string>(name: string, is: (text: string | null) => text is A, otherwise: A) => {
  const key = `effect-sora-rpc/ui/${name}`
  const atom = state(otherwise)
  const found = read(key)
  if (is(found)) set(atom, found)
  registry.subscribe(atom, (value) => write(key, value))
  return atom
}

export const read = (key: string): string | null => {
  try {
    return localStorage.getItem(key)
  } catch {
    return null
  }
}

export const write = (key: string, value: string): void => {
  try {
    localStorage.setItem(key, value)
  } catch {
    // It is not remembered.
  }
}

export type Theme = "auto" | "light" | "dark"
const isTheme = (text: string | null): text is Theme => text === "auto" || text === "light" || text === "dark"

export const language: Atom.Writable<Language> = remembered(
  "language",
  isLanguage,
  navigator.language.startsWith("ja") ? "ja" : "en"
)
export const theme: Atom.Writable<Theme> = remembered<Theme>("theme", isTheme, "auto")

export const useTexts = (): Texts => languages[useAtom(language)]

export type Status = "connecting" | "online" | "offline"
export const status = state<Status>("connecting")
export const info = state<Info | undefined>(undefined)
export const connections = state<ReadonlyMap<string, Connection>>(new Map())
export const faults = state<Schema.JsonObject>({})
export const seconds = state<ReadonlyArray<Second>>([])

/** What was done last, or why not; read out by screen readers. */
export const notice = state<{ readonly text: string; readonly failed: boolean } | undefined>(undefined)
