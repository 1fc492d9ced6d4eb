/**
 * The shape that every client is driven in, whether it lives in a page or in this process: JSON in, JSON out, so that
 * one suite runs over all of them. Types only: both sides import it.
 */

/** JSON as it came; the tests assert on its shape. */
export type Json = any

export interface ConnectOptions {
  readonly url: string
  readonly channelId: string
  readonly role: "sendrecv" | "sendonly" | "recvonly"
  readonly audio?: boolean
  readonly video?: boolean
  readonly simulcast?: boolean
  readonly spotlight?: boolean
  readonly ignoreDisconnectWebsocket?: boolean
  /** `signaling_notify_metadata`. */
  readonly metadata?: Json
  /** A DataChannel for messages; with the role `sendonly` and neither audio nor video it is all that there is. */
  readonly messaging?: {
    readonly label: string
    readonly compress: boolean
    readonly header?: ReadonlyArray<{ readonly type: "sender_connection_id" }>
  }
  /** Sends the fake camera and microphone. Pages only. */
  readonly media?: boolean
  /** Our client only. */
  readonly reconnect?: boolean
}

export interface Connected {
  readonly connectionId: string
  readonly rpcMethods: ReadonlyArray<string>
}

/** How a call ended, in the client's own words. */
export type Outcome =
  | { readonly _tag: "Result"; readonly result: Json }
  | {
    readonly _tag: "Error"
    readonly name: string
    readonly code?: number
    readonly message: string
    readonly data?: Json
  }

export type ClientEvent =
  | {
    readonly type: "notify"
    readonly event: string
    readonly connectionId?: string | undefined
    readonly authnMetadata?: Json
    readonly metadata?: Json
    readonly currentRid?: string | undefined
    /** Who was there, in one's own `connection.created`. */
    readonly members?:
      | ReadonlyArray<
        { readonly connectionId?: string | undefined; readonly authnMetadata?: Json; readonly metadata?: Json }
      >
      | undefined
  }
  | { readonly type: "push"; readonly data: Json }
  /** The official SDK leaves the sender in front of the text. */
  | { readonly type: "message"; readonly label: string; readonly text: string; readonly sender?: string | undefined }
  | { readonly type: "switched" }
  /** It has answered a re-offer. */
  | { readonly type: "re-answered" }
  | { readonly type: "track"; readonly kind: string; readonly streamId: string }
  /** Our client only. */
  | { readonly type: "track-removed"; readonly kind: string; readonly streamId: string }
  /** The frame of a response on the `rpc` channel; of clients that let one see it. */
  | { readonly type: "response"; readonly frame: Json }
  /** Our client only. */
  | { readonly type: "state"; readonly state: string; readonly connectionId: string; readonly reason?: string }
  /** The end, in the client's own words. */
  | { readonly type: "ended"; readonly how: string }

export interface Client {
  connect(options: ConnectOptions): Promise<Connected>
  call(method: string, params?: Json, timeoutMillis?: number): Promise<Outcome>
  notify(method: string, params?: Json): Promise<void>
  /** Sends a message of the application. */
  send(label: string, text: string): Promise<void>
  /** Of the tracks received from `streamId`: resolves when as much has arrived that a frame can be decoded. */
  playing(streamId: string): Promise<{ readonly width: number; readonly height: number }>
  disconnect(): Promise<void>
}

export type Report = (event: ClientEvent) => void
