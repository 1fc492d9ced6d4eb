/**
 * How times and amounts are written: the same in both languages, so that they
 * can be searched for and compared.
 */
const two = (value: number) => String(value).padStart(2, "0")

export const clockTime = (millis: number): string => {
  const date = new Date(millis)
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${
    String(date.getMilliseconds()).padStart(3, "0")
  }`
}

export const millis = (value: number): string =>
  `${value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0)} ms`
