/**
 * Camera: a connection that sends a picture, and one that shows what others
 * send, in the layer that is asked for.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { ComponentChildren } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import * as BrowserSora from "../../browser/BrowserSora.ts"
import * as SoraConnection from "../../SoraConnection.ts"
import * as SoraMethod from "../../SoraMethod.ts"
import { get, info, set, state, useAtom, useTexts } from "./atoms.ts"
import { Button, Select, TextInput } from "./parts.tsx"
import { say } from "./server.ts"
import { messageOf, open, type Session } from "./session.ts"
import { testPicture } from "./testPicture.ts"
import type { Texts } from "./texts.ts"

interface Sending {
  readonly session: Session
  readonly media: MediaStream
  readonly stop: () => void
}

interface Seen {
  /** The sender, which its streams are named after. */
  readonly connectionId: string
  readonly stream: MediaStream
}

const channelId = state("lobby")
const source = state<"camera" | "test">("test")
const sending = state<Sending | "connecting" | undefined>(undefined)
const watching = state<Session | "connecting" | undefined>(undefined)
const seen = state<ReadonlyMap<string, Seen>>(new Map())
/** By sender: the layer that the server said it sends. */
const layers = state<Readonly<Record<string, string>>>({})

const url = () => get(info)?.signalingUrl ?? ""

const startSending = async (texts: Texts) => {
  set(sending, "connecting")
  let release: () => void = () => {}
  try {
    const { media, stop } = get(source) === "test" ? testPicture() : await camera()
    release = stop
    const session = await open({
      signalingUrls: [url()],
      channelId: get(channelId),
      role: "sendonly",
      audio: false,
      video: { codecType: "VP8", bitRate: 2500 },
      simulcast: true,
      media
    }, (why) => {
      stop()
      set(sending, undefined)
      say(`${texts.disconnected}: ${why}`, true)
    })
    set(sending, { session, media, stop })
  } catch (error) {
    release()
    set(sending, undefined)
    say(`${texts.failed}${messageOf(error)}`, true)
  }
}

const camera = async () => {
  const media = await navigator.mediaDevices.getUserMedia({ video: { width: 1280, height: 720 } })
  return {
    media,
    stop: () => {
      for (const track of media.getTracks()) track.stop()
    }
  }
}

const stopSending = async () => {
  const current = get(sending)
  if (current === undefined || current === "connecting") return
  set(sending, undefined)
  await current.session.close()
  current.stop()
}

const startWatching = async (texts: Texts) => {
  set(watching, "connecting")
  try {
    const session = await open({
      signalingUrls: [url()],
      channelId: get(channelId),
      role: "recvonly",
      simulcast: true
    }, (why) => {
      set(watching, undefined)
      set(seen, new Map())
      say(`${texts.disconnected}: ${why}`, true)
    })
    session.fork(watchTracks)
    session.fork(watchLayers)
    set(watching, session)
  } catch (error) {
    set(watching, undefined)
    say(`${texts.failed}${messageOf(error)}`, true)
  }
}

const stopWatching = async () => {
  const current = get(watching)
  if (current === undefined || current === "connecting") return
  set(watching, undefined)
  set(seen, new Map())
  set(layers, {})
  await current.close()
}

const watchTracks = Stream.runForEach(BrowserSora.tracks, ({ streams: [stream], track }) =>
  Effect.sync(() => {
    if (stream === undefined || track.kind !== "video") return
    set(seen, new Map(get(seen)).set(stream.id, { connectionId: stream.id, stream }))
    stream.addEventListener("removetrack", () => {
      const left = new Map(get(seen))
      left.delete(stream.id)
      set(seen, left)
    })
  }))

const watchLayers = Effect.flatMap(
  SoraConnection.SoraConnection,
  ({ notify }) =>
    Stream.runForEach(notify, (event) =>
      Effect.sync(() => {
        if (event._tag !== "simulcast.switched" || typeof event.senderConnectionId !== "string") return
        set(layers, { ...get(layers), [event.senderConnectionId]: event.currentRid ?? "" })
      }))
)

/** Plays a stream, and tells how large its picture is. */
const Picture = (props: {
  readonly label: string
  readonly stream: MediaStream
  readonly children?: ComponentChildren
}) => {
  const texts = useTexts()
  const video = useRef<HTMLVideoElement>(null)
  const [size, setSize] = useState("")
  useEffect(() => {
    const element = video.current!
    element.srcObject = props.stream
    const onResize = () => setSize(`${element.videoWidth}×${element.videoHeight}`)
    element.addEventListener("resize", onResize)
    return () => {
      element.removeEventListener("resize", onResize)
      element.srcObject = null
    }
  }, [props.stream])
  return (
    <figure class="picture">
      <video ref={video} aria-label={props.label} autoplay muted playsInline />
      <figcaption>
        <span class="mono">{props.label}</span>
        <span>{texts.pictureSize}: {size === "" ? "—" : size}</span>
        {props.children}
      </figcaption>
    </figure>
  )
}

const Other = ({ seen: { connectionId, stream }, session }: { readonly seen: Seen; readonly session: Session }) => {
  const texts = useTexts()
  const layer = useAtom(layers)[connectionId]
  const [rid, setRid] = useState<SoraMethod.Rid>("r2")
  const ask = (asked: SoraMethod.Rid) => {
    setRid(asked)
    void Effect.runPromise(
      session.rpc.call(SoraMethod.RequestSimulcastRid, { rid: asked, senderConnectionId: connectionId }).pipe(
        Effect.match({
          onSuccess: ({ rid }) => say(`RequestSimulcastRid: ${rid}`),
          onFailure: ({ message }) => say(`${texts.failed}${message}`, true)
        })
      )
    )
  }
  return (
    <Picture label={connectionId} stream={stream}>
      <Select
        label={`${texts.askFor} ${connectionId.slice(0, 8)}`}
        value={rid}
        options={(["r0", "r1", "r2", "none"] as const).map((rid) => [rid, rid] as const)}
        onChange={(value) => ask(value as SoraMethod.Rid)}
      />
      <span role="status">{layer === undefined ? "" : `${texts.switchedTo} ${layer}`}</span>
    </Picture>
  )
}

export const Camera = () => {
  const texts = useTexts()
  const channel = useAtom(channelId)
  const from = useAtom(source)
  const out = useAtom(sending)
  const into = useAtom(watching)
  const all = useAtom(seen)
  const isBusy = out !== undefined || into !== undefined
  return (
    <>
      <div class="toolbar">
        {isBusy
          ? <p>{texts.channelId}: {channel}</p>
          : <TextInput label={texts.channelId} value={channel} onInput={(value) => set(channelId, value)} />}
        <Select
          label={texts.source}
          value={from}
          disabled={out !== undefined}
          options={[["test", texts.sourceTest], ["camera", texts.sourceCamera]]}
          onChange={(value) => set(source, value as "camera" | "test")}
        />
        <Button
          disabled={out === "connecting"}
          kind={out === undefined ? "primary" : "plain"}
          onClick={() => void (out === undefined ? startSending(texts) : stopSending())}
        >
          {out === undefined ? texts.startSending : texts.stopSending}
        </Button>
        <Button
          disabled={into === "connecting"}
          kind={into === undefined ? "primary" : "plain"}
          onClick={() => void (into === undefined ? startWatching(texts) : stopWatching())}
        >
          {into === undefined ? texts.startWatching : texts.stopWatching}
        </Button>
      </div>
      {out === undefined || out === "connecting" ? null : (
        <section aria-label={texts.own}>
          <h2>{texts.own}</h2>
          <p>
            {texts.sending} <code>{out.session.connectionId}</code>
          </p>
          <div class="pictures">
            <Picture label={texts.own} stream={out.media} />
          </div>
        </section>
      )}
      {into === undefined || into === "connecting" ? null : (
        <section aria-label={texts.others}>
          <h2>{texts.others}</h2>
          <p>
            {texts.watching} <code>{into.connectionId}</code>
          </p>
          {all.size === 0 ? <p>{texts.noOthers}</p> : null}
          <div class="pictures">
            {Array.from(all.values(), (one) => <Other key={one.connectionId} seen={one} session={into} />)}
          </div>
        </section>
      )}
    </>
  )
}
