/** The official SDK, called from promises, as a program does. */
import Sora from "sora-js-sdk"
import { Method, params } from "./contestant.ts"

let connection: ReturnType<ReturnType<typeof Sora.connection>["messaging"]>

const call = () => connection.rpc(Method, params, { timeout: 20_000 })

window.contestant = {
  async connect(url) {
    const start = performance.now()
    connection = Sora.connection([url]).messaging("bench", null, {
      audio: false,
      video: false,
      dataChannelSignaling: true,
      dataChannels: [{ label: "#bench", direction: "sendrecv" }]
    })
    // Its promise resolves before its channels are open.
    const opened = new Promise<void>((resolve) =>
      connection.on("timeline", ({ dataChannelLabel, type }: { dataChannelLabel?: string; type: string }) => {
        if (type === "onopen" && dataChannelLabel === "rpc") resolve()
      })
    )
    await connection.connect()
    await opened
    await call()
    return performance.now() - start
  },
  async roundTrips(count) {
    const times: Array<number> = []
    for (let i = 0; i < count; i++) {
      const start = performance.now()
      // oxlint-disable-next-line eslint/no-await-in-loop -- one after the other is what is measured
      await call()
      times.push(performance.now() - start)
    }
    return times
  },
  async rate(callers, ms) {
    const start = performance.now()
    let answered = 0
    const caller = async () => {
      while (performance.now() - start < ms) {
        // oxlint-disable-next-line eslint/no-await-in-loop -- as above
        await call()
        answered++
      }
    }
    await Promise.all(Array.from({ length: callers }, caller))
    return answered / (performance.now() - start) * 1000
  },
  close: () => connection.disconnect()
}
