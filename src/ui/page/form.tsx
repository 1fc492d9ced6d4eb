/**
 * The fields of a form.
 */
import type { Field } from "../internal/form.ts"
import { useTexts } from "./atoms.ts"
import { type Draft, empty } from "./drafts.ts"
import { Button, Select, TextArea, TextInput } from "./parts.tsx"

interface Props {
  readonly field: Field
  readonly name: string
  readonly optional: boolean
  readonly draft: Draft
  readonly onChange: (draft: Draft) => void
}

export const FormField = ({ draft, field, name, onChange, optional }: Props) => {
  const texts = useTexts()
  const text = typeof draft === "string" ? draft : ""
  const label = optional ? name : `${name} *`
  switch (field._tag) {
    case "Group": {
      const members = typeof draft === "object" && !Array.isArray(draft) ? draft as Record<string, Draft> : {}
      const fields = field.members.map((member) => (
        <FormField
          key={member.name}
          field={member.field}
          name={member.name}
          optional={member.optional}
          draft={members[member.name] ?? empty(member.field)}
          onChange={(changed) => onChange({ ...members, [member.name]: changed })}
        />
      ))
      return name === "" ? <div class="fields">{fields}</div> : (
        <fieldset>
          <legend>{label}</legend>
          <div class="fields">{fields}</div>
        </fieldset>
      )
    }
    case "List": {
      const items = Array.isArray(draft) ? draft as ReadonlyArray<Draft> : []
      return (
        <fieldset>
          <legend>{label}</legend>
          {items.map((item, i) => (
            <div key={i} class="item">
              <FormField
                field={field.item}
                name={`${name}[${i}]`}
                optional={false}
                draft={item}
                onChange={(changed) => onChange(items.with(i, changed))}
              />
              <Button onClick={() => onChange(items.filter((_, other) => other !== i))}>
                {`${texts.remove} ${name}[${i}]`}
              </Button>
            </div>
          ))}
          <Button onClick={() => onChange([...items, empty(field.item)])}>{`${texts.add} ${name}`}</Button>
        </fieldset>
      )
    }
    case "Boolean":
      return (
        <Select
          label={label}
          value={text}
          options={[["", texts.absent], ["true", "true"], ["false", "false"]]}
          onChange={onChange}
        />
      )
    case "Choice":
      return (
        <Select
          label={label}
          value={text}
          options={[
            ["", texts.absent],
            ...field.values.map((value, i) =>
              [String(i), typeof value === "string" ? value : JSON.stringify(value)] as const
            )
          ]}
          onChange={onChange}
        />
      )
    case "Number":
      return (
        <TextInput label={label} value={text} type="number" step={field.integer ? "1" : "any"} onInput={onChange} />
      )
    case "Json":
      return <TextArea label={`${label} (JSON)`} value={text} onInput={onChange} />
    case "Text":
      return <TextInput label={label} value={text} onInput={onChange} />
  }
}
