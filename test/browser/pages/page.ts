/**
 * What all pages have in common: the client goes on `window`, its events come out through the function that the
 * harness put there.
 */
import type { Client, Report } from "../client.ts"

declare global {
  interface Window {
    /** Put here by the harness. */
    report: Report
    /** Read by the harness. */
    client: Client
  }
}

export const report: Report = (event) => window.report(event)

export const fakeMedia = () => navigator.mediaDevices.getUserMedia({ audio: true, video: true })

/** zlib by the browser, not by the library under test. */
export const inflate = async (bytes: Uint8Array) =>
  new Uint8Array(
    await new Response(
      new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("deflate"))
    ).arrayBuffer()
  )

/** The streams that arrived, by the connection id of their sender. */
export const makeStreams = () => {
  const streams = new Map<string, MediaStream>()
  return {
    onTrack: ({ streams: [stream] }: RTCTrackEvent) => {
      if (stream !== undefined) streams.set(stream.id, stream)
    },
    async playing(streamId: string) {
      const video = document.createElement("video")
      Object.assign(video, { muted: true, autoplay: true, srcObject: streams.get(streamId) })
      // A first frame of video was decoded.
      await new Promise((resolve) => video.addEventListener("loadeddata", resolve, { once: true }))
      return { width: video.videoWidth, height: video.videoHeight }
    }
  }
}
