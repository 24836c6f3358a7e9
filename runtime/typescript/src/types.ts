// What calls look like to users and generated code.
import type { Message, MessageInitShape } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import type { Conn } from "./conn.js";
import type { Metadata, MetadataInit } from "./metadata.js";

/** What a message can be made of: the message itself, or an object with some of its fields. */
export type Init<M extends Message> = MessageInitShape<GenMessage<M>>;

/** What a call may say beside its request. */
export interface CallOptions {
  /** Aborting it ends the call: CANCELLED, or DEADLINE_EXCEEDED where the signal is that of AbortSignal.timeout. */
  signal?: AbortSignal | undefined;
  /** How long the call may take, in milliseconds; the callee is told. Default: what the schema says, else no limit. */
  timeoutMs?: number | undefined;
  /** Travels beside the request. */
  metadata?: MetadataInit | undefined;
  /** Is called once with what the handler sent beside the end of the call, before the call ends for its caller. */
  onTrailers?: ((trailers: Metadata) => void) | undefined;
}

/**
 * The caller's end of a bidirectional call. It must be closed, or its signal aborted: `await using call = …`. One that the
 * program drops ends when the garbage collector finds it, and has its slot until then.
 */
export interface BidiCall<Req extends Message, Res extends Message> extends AsyncIterable<Res>, AsyncDisposable {
  /**
   * Sends a message. The promise is resolved when it is on its way, which waits while the peer is behind: with false
   * when the call has ended, in which case receive tells how. After closeSend or close it is rejected with
   * FAILED_PRECONDITION. Any other rejection has ended the call: a message that is too large, or cannot be encoded, does so.
   */
  send(message: Init<Req>): Promise<boolean>;
  /** Tells the peer that no more messages come. Receiving goes on. */
  closeSend(): Promise<void>;
  /** The next message; undefined when the call has ended well. Rejects with the RpcError when it has not. */
  receive(): Promise<Res | undefined>;
  /** Ends the call if it has not ended: the handler's signal is aborted. What was not received is given up. */
  close(): void;
}

/** A call, as its handler sees it. */
export interface CallContext {
  /** The method's name: "echo.v1.Echo/Say". */
  readonly method: string;
  /** Aborted when the caller gives up or is gone, when the deadline has passed, and when the call has been answered. */
  readonly signal: AbortSignal;
  /** Milliseconds until the caller gives up; Infinity: it does not say when. */
  readonly remainingMs: number;
  /** What the caller sent beside the request. */
  readonly metadata: Metadata;
  /** The session by which the call came, to call the peer back. */
  readonly conn: Conn;
  /** Adds a value to what goes back with the end of the call. Throws where the name is not allowed or it is too much. */
  setTrailer(name: string, value: string | Uint8Array): void;
}
