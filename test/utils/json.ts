/**
 * Whether this engine reads its own JSON back. V8 13.6 (Node 24) now and then
 * takes a member name that is one escaped control character for another, once
 * objects of a like shape have been parsed; a sample that it does that to says
 * nothing about our code.
 */
export const survivesEngine = (value: unknown): boolean => {
  const text = JSON.stringify(value)
  return JSON.stringify(JSON.parse(text)) === text
}

/** What is left of a value once it has been JSON: no `-0`, no `undefined` members. */
export const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))
