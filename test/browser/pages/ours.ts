/** Our client in a page. */
import { BrowserSora } from "effect-sora-rpc/browser"
import * as Ours from "../ours.ts"
import { fakeMedia, makeStreams, report } from "./page.ts"

const streams = makeStreams()
const ours = Ours.make(
  async (options) => BrowserSora.layer(options as BrowserSora.Options),
  report,
  streams.onTrack
)

window.client = {
  ...ours,
  connect: async (options) => ours.connect(options, options.media === true ? { media: await fakeMedia() } : {}),
  playing: streams.playing
}
