/**
 * Call: a client in the page joins a channel and calls what it is granted.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Schema from "effect/Schema"
import { useMemo, useState } from "preact/hooks"
import type { Field } from "../internal/form.ts"
import { get, info, read, set, state, useAtom, useTexts, write } from "./atoms.ts"
import { BadDraft, type Draft, empty, fromJson, toJson } from "./drafts.ts"
import { FormField } from "./form.tsx"
import { clockTime, millis } from "./format.ts"
import { asCode, asCommand, type Asked, builtIn, type Callable, callables } from "./methods.ts"
import { Button, Checkbox, Code, Copy, Json, Select, TextArea, TextInput } from "./parts.tsx"
import { say } from "./server.ts"
import { messageOf, open, type Session } from "./session.ts"
import type { Texts } from "./texts.ts"

const MaxHistory = 50

type Role = "sendrecv" | "sendonly" | "recvonly"

interface To {
  /** Empty for this server. */
  readonly url: string
  readonly channelId: string
  readonly role: Role
  readonly metadata: string
  readonly simulcast: boolean
  readonly spotlight: boolean
}

const to = state<To>({
  url: "",
  channelId: "lobby",
  role: "recvonly",
  metadata: "",
  simulcast: true,
  spotlight: false
})
const session = state<Session | "connecting" | undefined>(undefined)
const chosenMethod = state("")
const drafts = state<Readonly<Record<string, Draft>>>({})

type Outcome =
  | { readonly _tag: "Result"; readonly value: unknown }
  | { readonly _tag: "Notified" }
  | { readonly _tag: "Error"; readonly error: Readonly<Record<string, unknown>> }

interface Called {
  readonly at: number
  readonly took: number
  readonly asked: Asked
  readonly outcome: Outcome
}

const past = state<ReadonlyArray<Called>>([])
const underWay = state(0)

const urlOf = ({ url }: To) => url === "" ? get(info)?.signalingUrl ?? "" : url

const connect = async (texts: Texts) => {
  const given = get(to)
  let metadata: Schema.Json | undefined
  try {
    metadata = given.metadata.trim() === "" ? undefined : JSON.parse(given.metadata) as Schema.Json
  } catch {
    return say(`${texts.failed}${texts.connectMetadata} ${texts.badJson}`, true)
  }
  set(session, "connecting")
  const isForRpcAlone = given.role === "sendonly" && !given.simulcast && !given.spotlight
  try {
    set(
      session,
      await open({
        signalingUrls: [urlOf(given)],
        channelId: given.channelId,
        role: given.role,
        ...(isForRpcAlone ? { audio: false, video: false } : {}),
        ...(given.simulcast ? { simulcast: true } : {}),
        ...(given.spotlight ? { spotlight: true } : {}),
        ...(metadata === undefined ? {} : { metadata })
      }, (why) => {
        set(session, undefined)
        say(`${texts.disconnected}: ${why}`, true)
      })
    )
  } catch (error) {
    set(session, undefined)
    say(`${texts.failed}${messageOf(error)}`, true)
  }
}

const disconnect = async () => {
  const current = get(session)
  if (current === undefined || current === "connecting") return
  set(session, undefined)
  await current.close()
}

/** As the library gives it, all that can be seen of it. */
const errorOf = (error: unknown): Readonly<Record<string, unknown>> => {
  if (!(error instanceof Error)) return { message: String(error) }
  const { _tag, code, data, method, reason } = error as Error & Readonly<Record<string, unknown>>
  return Object.fromEntries(
    Object.entries({
      _tag: _tag ?? error.name,
      reason: reason instanceof Error ? (reason as Error & { _tag?: string })._tag : undefined,
      code,
      message: error.message,
      method,
      data
    }).filter(([, value]) => value !== undefined)
  )
}

const send = async ({ rpc }: Session, asked: Asked) => {
  const { method, notification, params, timeout } = asked
  const at = Date.now()
  const began = performance.now()
  const options = timeout === undefined ? undefined : { timeout: `${timeout} seconds` as const }
  // What the params must be, the library checks.
  const target = (method.known ?? method.name) as string
  const given = params as Schema.JsonObject | undefined
  const call: Effect.Effect<Outcome, unknown> = notification
    ? Effect.as(rpc.notify(target, given), { _tag: "Notified" })
    : Effect.map(rpc.call(target, given, options), (value) => ({ _tag: "Result", value }))
  set(underWay, get(underWay) + 1)
  const exit = await Effect.runPromiseExit(call)
  set(underWay, get(underWay) - 1)
  const outcome: Outcome = Exit.isSuccess(exit)
    ? exit.value
    : { _tag: "Error", error: errorOf(Cause.squash(exit.cause)) }
  set(past, [{ at, took: performance.now() - began, asked, outcome }, ...get(past)].slice(0, MaxHistory))
}

const Connecting = () => {
  const texts = useTexts()
  const given = useAtom(to)
  const current = useAtom(session)
  const about = useAtom(info)
  const isOpen = current !== undefined
  return (
    <form
      class="panel"
      aria-label={texts.connectTitle}
      onSubmit={(event) => {
        event.preventDefault()
        if (!isOpen) void connect(texts)
      }}
    >
      <fieldset disabled={isOpen}>
        <legend>{texts.connectTitle}</legend>
        <div class="fields">
          <TextInput
            label={texts.signalingUrl}
            value={given.url === "" ? about?.signalingUrl ?? "" : given.url}
            onInput={(url) => set(to, { ...given, url })}
          />
          <TextInput
            label={texts.channelId}
            value={given.channelId}
            onInput={(channelId) => set(to, { ...given, channelId })}
          />
          <Select
            label={texts.role}
            value={given.role}
            options={[["recvonly", "recvonly"], ["sendrecv", "sendrecv"], ["sendonly", "sendonly"]]}
            onChange={(role) => set(to, { ...given, role: role as Role })}
          />
          <TextArea
            label={texts.connectMetadata}
            rows={1}
            value={given.metadata}
            onInput={(metadata) => set(to, { ...given, metadata })}
          />
          <Checkbox
            label={texts.simulcast}
            checked={given.simulcast}
            onChange={(simulcast) => set(to, { ...given, simulcast })}
          />
          <Checkbox
            label={texts.spotlight}
            checked={given.spotlight}
            onChange={(spotlight) => set(to, { ...given, spotlight })}
          />
        </div>
      </fieldset>
      <div class="buttons">
        {/* Two buttons: one that became the other during its click would do what the other does. */}
        {current === undefined
          ? <Button key="connect" type="submit" kind="primary" onClick={() => {}}>{texts.connect}</Button>
          : (
            <Button key="disconnect" disabled={current === "connecting"} onClick={() => void disconnect()}>
              {texts.disconnect}
            </Button>
          )}
        <span>
          {current === undefined
            ? texts.disconnected
            : current === "connecting"
            ? `${texts.connectingTo}…`
            : `${texts.connected} ${current.connectionId}`}
        </span>
      </div>
    </form>
  )
}

const Latest = () => {
  const texts = useTexts()
  const [called] = useAtom(past)
  if (called === undefined) return null
  const { asked, outcome, took } = called
  return (
    <section class="panel" aria-live="polite" aria-label={outcome._tag === "Error" ? texts.error : texts.result}>
      <h3>
        {outcome._tag === "Error" ? texts.error : texts.result} <small>{asked.method.name} · {millis(took)}</small>
      </h3>
      {outcome._tag === "Notified"
        ? <p>{texts.notified}</p>
        : outcome._tag === "Result"
        ? <Json label={texts.result} value={outcome.value} />
        : (
          <div class="failed">
            <Json label={texts.error} value={outcome.error} />
          </div>
        )}
    </section>
  )
}

const templatesKey = (method: string) => `effect-sora-rpc/ui/templates/${method}`

const readTemplates = (method: string): Readonly<Record<string, Schema.Json>> => {
  try {
    const found: unknown = JSON.parse(read(templatesKey(method)) ?? "{}")
    return typeof found === "object" && found !== null ? found as Record<string, Schema.Json> : {}
  } catch {
    return {}
  }
}

const Templates = (props: {
  readonly method: Callable
  readonly params: Schema.Json | undefined
  readonly onUse: (params: Schema.Json) => void
}) => {
  const texts = useTexts()
  const name = props.method.known?.name ?? props.method.name
  const [own, setOwn] = useState(() => readTemplates(name))
  const [chosen, setChosen] = useState("")
  const [newName, setNewName] = useState("")
  const keep = (templates: Readonly<Record<string, Schema.Json>>) => {
    setOwn(templates)
    write(templatesKey(name), JSON.stringify(templates))
  }
  const all = { ...builtIn[name], ...own }
  const names = Object.keys(all)
  const current = names.includes(chosen) ? chosen : names[0] ?? ""
  return (
    <fieldset>
      <legend>{texts.templates}</legend>
      <div class="fields">
        <Select
          label={texts.templates}
          value={current}
          options={names.map((name) => [name, name] as const)}
          onChange={setChosen}
        />
        <div class="buttons">
          <Button disabled={current === ""} onClick={() => props.onUse(all[current]!)}>{texts.useTemplate}</Button>
          <Button
            disabled={!(current in own)}
            onClick={() => keep(Object.fromEntries(Object.entries(own).filter(([name]) => name !== current)))}
          >
            {texts.forgetTemplate}
          </Button>
        </div>
        <TextInput label={texts.templateName} value={newName} onInput={setNewName} />
        <div class="buttons">
          <Button
            disabled={newName === "" || props.params === undefined}
            onClick={() => {
              if (props.params === undefined) return
              keep({ ...own, [newName]: props.params })
              setChosen(newName)
              setNewName("")
            }}
          >
            {texts.saveTemplate}
          </Button>
        </div>
      </div>
    </fieldset>
  )
}

/** The params that the fields mean, or what is wrong with them. */
const meaningOf = (
  field: Field | undefined,
  draft: Draft,
  texts: Texts
): { readonly params: Schema.Json | undefined; readonly issue: string | undefined } => {
  try {
    return {
      params: field === undefined ? undefined : toJson(field, draft, texts, "", field._tag === "Json"),
      issue: undefined
    }
  } catch (error) {
    if (error instanceof BadDraft) return { params: undefined, issue: error.message }
    throw error
  }
}

const json: Field = { _tag: "Json" }

const Calling = ({ session }: { readonly session: Session }) => {
  const texts = useTexts()
  const about = useAtom(info)
  const given = useAtom(to)
  const name = useAtom(chosenMethod)
  const kept = useAtom(drafts)
  const running = useAtom(underWay)
  const [seconds, setSeconds] = useState("")
  const [notification, setNotification] = useState(false)
  const [asJson, setAsJson] = useState(false)
  const methods = useMemo(() => callables(session.methods, about?.methods ?? []), [session, about])
  const method = methods.find((one) => one.name === name) ?? methods[0]
  if (method === undefined) return <p>{texts.noMethods}</p>

  const field = method.form !== undefined && asJson ? json : method.form
  const key = `${method.name}${asJson ? " as JSON" : ""}`
  const draft = kept[key] ?? (field === undefined ? "" : empty(field))
  const fill = (params: Schema.Json | undefined, into: Callable = method, isJson = asJson) => {
    const form = into.form !== undefined && isJson ? json : into.form
    if (form === undefined) return
    set(drafts, { ...get(drafts), [`${into.name}${isJson ? " as JSON" : ""}`]: fromJson(form, params) })
  }
  const { issue, params } = meaningOf(field, draft, texts)
  const timeout = seconds.trim() === "" ? undefined : Number(seconds)
  const isTimeout = timeout === undefined || Number.isFinite(timeout) && timeout >= 0
  const asked: Asked = { method, params, timeout: isTimeout ? timeout : undefined, notification }
  const code = asCode(asked)
  const command = asCommand(asked, { ...given, signalingUrl: urlOf(given) })
  return (
    <>
      <form
        class="panel"
        aria-label={texts.call}
        onSubmit={(event) => {
          event.preventDefault()
          if (issue !== undefined) return say(`${texts.failed}${issue}`, true)
          if (!isTimeout) return say(`${texts.failed}${texts.timeout} ${texts.badNumber}`, true)
          void send(session, asked)
        }}
      >
        <Select
          label={texts.method}
          value={method.name}
          options={methods.map(({ granted, name }) => [name, granted ? name : `${name} (${texts.ungranted})`] as const)}
          onChange={(name) => set(chosenMethod, name)}
        />
        <fieldset>
          <legend>{texts.params}</legend>
          {method.form === undefined || method.form._tag === "Json" ? null : (
            <Checkbox
              label={texts.asJson}
              checked={asJson}
              onChange={(isJson) => {
                if (issue === undefined) fill(params, method, isJson)
                setAsJson(isJson)
              }}
            />
          )}
          {field === undefined
            ? <p>{texts.noParams}</p>
            : (
              <FormField
                field={field}
                name={field._tag === "Group" ? "" : texts.params}
                optional
                draft={draft}
                onChange={(changed) => set(drafts, { ...get(drafts), [key]: changed })}
              />
            )}
        </fieldset>
        <div class="fields">
          <TextInput
            label={texts.timeout}
            type="number"
            min="0"
            step="any"
            invalid={!isTimeout}
            value={seconds}
            onInput={setSeconds}
          />
          <Checkbox label={texts.notification} checked={notification} onChange={setNotification} />
        </div>
        <div class="buttons">
          <Button type="submit" kind="primary" onClick={() => {}}>
            {notification ? texts.sendNotification : texts.send}
          </Button>
          {running > 0 ? <span role="status">{texts.waiting}…</span> : null}
          {issue === undefined ? null : <span class="failed">{issue}</span>}
        </div>
      </form>
      <Latest />
      {method.form === undefined
        ? null
        : <Templates key={method.name} method={method} params={params} onUse={(params) => fill(params)} />}
      <div class="two">
        <div>
          <h3>
            {texts.asCode} <Copy text={code} />
          </h3>
          <Code label={texts.asCode} text={code} />
        </div>
        <div>
          <h3>
            {texts.asCommand} <Copy text={command} />
          </h3>
          <Code label={texts.asCommand} text={command} />
        </div>
      </div>
      <Past
        onAgain={({ asked }) => {
          const now = methods.find(({ name }) => name === asked.method.name)
          if (now === undefined) return
          set(chosenMethod, now.name)
          setNotification(asked.notification)
          setSeconds(asked.timeout === undefined ? "" : String(asked.timeout))
          fill(asked.params, now)
        }}
      />
    </>
  )
}

const outcomeText = (outcome: Outcome, texts: Texts): string =>
  outcome._tag === "Result"
    ? texts.result
    : outcome._tag === "Notified"
    ? texts.notified
    : `${outcome.error["_tag"]}: ${outcome.error["message"]}`

const Past = ({ onAgain }: { readonly onAgain: (called: Called) => void }) => {
  const texts = useTexts()
  const all = useAtom(past)
  return (
    <section class="panel" aria-label={texts.history}>
      <h3>{texts.history}</h3>
      {all.length === 0 ? <p>{texts.noHistory}</p> : (
        <ol class="history">
          {all.map((called) => (
            <li key={`${called.at} ${called.took}`}>
              <span class="mono">{clockTime(called.at)}</span>
              <span class="grow">
                {called.asked.method.name} {JSON.stringify(called.asked.params)}
              </span>
              <span class={called.outcome._tag === "Error" ? "failed" : ""}>{outcomeText(called.outcome, texts)}</span>
              <span class="mono">{millis(called.took)}</span>
              <Button onClick={() => onAgain(called)}>{texts.again}</Button>
            </li>
          ))}
        </ol>
      )}
    </section>
  )
}

export const Call = () => {
  const current = useAtom(session)
  return (
    <>
      <Connecting />
      {current === undefined || current === "connecting" ? <Latest /> : <Calling session={current} />}
    </>
  )
}
