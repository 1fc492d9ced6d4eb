/**
 * What goes wrong on purpose, as `SoraFaults` has it.
 */
import { useEffect, useState } from "preact/hooks"
import { faults as current, useAtom, useTexts } from "./atoms.ts"
import { Button, TextInput } from "./parts.tsx"
import { act, say } from "./server.ts"

const groups = {
  faultsResponses: [
    "drop",
    "duplicate",
    "reorder",
    "corrupt",
    "wrongId",
    "giant",
    "bomb",
    "swapForm",
    "delayRate"
  ],
  faultsConnects: ["refuse", "ignoreConnect", "redirectLoop"],
  faultsConnections: ["closeRpc", "killSocket", "killPeer", "closeAbruptly"]
} as const

/** Durations; on the wire, and from the command line, they may be other than a number. */
const times = { delay: "delayMillis", lifeMax: "lifeMaxMillis" } as const

export const Faults = () => {
  const texts = useTexts()
  const now = useAtom(current)
  const [fields, setFields] = useState<Readonly<Record<string, string>>>({})
  useEffect(() => {
    setFields(
      Object.fromEntries(
        Object.entries(now).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)])
      )
    )
  }, [now])

  const apply = (given: Readonly<Record<string, string>>, what: string) => {
    const faults: Record<string, number | string> = {}
    for (const [name, text] of Object.entries(given)) {
      if (text.trim() === "") continue
      // "1 second" is a duration too.
      const value = name in times && !Number.isFinite(Number(text)) ? text : Number(text)
      if (Number.isNaN(value)) return say(`${texts.failed}${name} ${texts.badNumber}`, true)
      faults[name] = value
    }
    setFields(given)
    void act(what, (server) => server.SetFaults({ faults }))
  }
  const field = (name: string, label: string, type: "number" | "text", max?: string) => (
    <TextInput
      key={name}
      label={label}
      type={type}
      step={max === undefined ? "any" : "0.05"}
      min="0"
      {...(max === undefined ? {} : { max })}
      value={fields[name] ?? ""}
      onInput={(value) => setFields({ ...fields, [name]: value })}
    />
  )
  return (
    <details class="panel">
      <summary>
        {texts.faults}
        {Object.entries(now).some(([name, value]) => name !== "seed" && value !== 0) ? " ●" : ""}
      </summary>
      <p>{texts.faultsHelp}</p>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          apply(fields, texts.faults)
        }}
      >
        {Object.entries(groups).map(([group, names]) => (
          <fieldset key={group}>
            <legend>{texts[group as keyof typeof groups]}</legend>
            <div class="fields narrow">
              {names.map((name) => field(name, name, "number", "1"))}
              {group === "faultsResponses" ? field("delay", texts.delayMillis, "text") : null}
              {group === "faultsConnections" ? field("lifeMax", texts.lifeMaxMillis, "text") : null}
            </div>
          </fieldset>
        ))}
        <div class="fields narrow">{field("seed", texts.seed, "number")}</div>
        <div class="buttons">
          <Button type="submit" kind="primary" onClick={() => {}}>{texts.apply}</Button>
          <Button onClick={() => apply({}, texts.clear)}>{texts.clear}</Button>
        </div>
      </form>
    </details>
  )
}
