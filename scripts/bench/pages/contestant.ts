/**
 * What each client in a page can do for `browser.ts`. Types only, and what the
 * clients' loops have in common.
 */

export interface Contestant {
  /** Milliseconds from nothing until a call can be made. */
  connect(url: string): Promise<number>
  /** Milliseconds of each of so many calls, one after the other. */
  roundTrips(count: number): Promise<Array<number>>
  /** Answered calls per second of so many callers that call without pause, for so many milliseconds. */
  rate(callers: number, ms: number): Promise<number>
  close(): Promise<void>
}

declare global {
  interface Window {
    contestant: Contestant
  }
}

export const Method = "1.0.0/Echo"

/** Makes a frame of about 170 bytes, which does not compress to nothing. */
export const params = {
  data: "Vd3kZ0xq9sTfYp1LrBnHa7MwCjUe5oGi8KtQzX2vRmD4yNbS6hWuPcJlEgAoFi0Tq3xZs8VrLk5nYdB7wMjHe2Cp"
}
