// Clients: the methods of a service as functions, and what each kind of call returns.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, Message } from "@bufbuild/protobuf";
import type { Call, CallEvents, Outgoing } from "./call.js";
import { sessionOf } from "./conn.js";
import type { Conn } from "./conn.js";
import { Code } from "./error.js";
import type { RpcError } from "./error.js";
import { failure, notExecuted, textOf } from "./failure.js";
import type { Failure } from "./failure.js";
import type { Kind, Method, Service } from "./method.js";
import { keep } from "./stream.js";
import type { Session } from "./session.js";
import type { BidiCall, CallOptions } from "./types.js";

/** A message, as generated code has it, or what makes one. */
type Init = Record<string, unknown>;
type Requests = AsyncIterable<Init> | Iterable<Init>;

/**
 * Returns a client of a service, whose methods call the peer of a connection. Errors of calls are RpcErrors; a call ends
 * with its answer, its signal, its deadline, or the session.
 */
export function client<C>(service: Service<C, unknown>, conn: Conn): C {
  const session = sessionOf(conn);
  const methods: Record<string, unknown> = {};
  for (const [name, method] of service.methods) {
    methods[name] = callers[method.kind](session, method);
  }
  return methods as C;
}

/** What a client has for a method of each kind. */
const callers: Record<Kind, (s: Session, m: Method) => unknown> = {
  unary: (s, m) => (request: Init, options?: CallOptions) => unary(s, m, request, options),
  "server stream": (s, m) => (request: Init, options?: CallOptions) => ({
    [Symbol.asyncIterator]: () => new Responses(new CallStream(s, m, request, options)),
  }),
  "client stream": (s, m) => (requests: Requests, options?: CallOptions) => clientStream(s, m, requests, options),
  bidi: (s, m) => (options?: CallOptions) => new Bidi(new CallStream(s, m, undefined, options)),
  oneway: (s, m) => (request: Init, options?: CallOptions) => oneway(s, m, request, options),
};

/** Whether the requests of a kind of call follow it. Of the others the one request goes with it. */
const streamed: Record<Kind, boolean> = { unary: false, "server stream": false, "client stream": true, bidi: true, oneway: false };

/** What a call starts with; request is passed over where requests follow. Throws the RpcError of one that cannot be encoded. */
function outgoing(m: Method, request: Init | undefined, options: CallOptions | undefined): Outgoing {
  const open = streamed[m.kind];
  return {
    method: m.id,
    request: open ? undefined : encode(m, m.input, request),
    open,
    metadata: options?.metadata,
    timeoutMs: timeout(m, options?.timeoutMs ?? m.timeoutMs),
    signal: options?.signal,
  };
}

function timeout(m: Method, ms: number | undefined): number | undefined {
  if (ms === undefined || ms === Infinity) {
    return undefined;
  }
  if (typeof ms !== "number" || Number.isNaN(ms)) {
    throw m.error(notExecuted(Code.InvalidArgument, `timeoutMs is ${String(ms)}: want milliseconds`));
  }
  return ms;
}

function encode(m: Method, desc: DescMessage, message: Init | undefined): Uint8Array {
  const refused = streamed[m.kind] ? failure : notExecuted; // of those that follow a call the handler runs already
  if (typeof message !== "object" || message === null) {
    // create would make an empty message of it: what a program forgot to pass is not to be sent as that.
    throw m.error(refused(Code.InvalidArgument, `the request is ${said(message)}: want the message ${desc.typeName}, or an object with some of its fields`));
  }
  try {
    return toBinary(desc, create(desc, message as never));
  } catch (err) {
    throw m.error(refused(Code.InvalidArgument, `encoding the request: ${textOf(err)}`, err));
  }
}

/** Hands over the trailers of a call. What the program throws is not to reach the session, which is in the middle of a frame. */
function tellTrailers(s: Session, options: CallOptions | undefined, call: Call): void {
  try {
    options?.onTrailers?.(call.trailers);
  } catch (err) {
    s.config.log.error("ipcgen: the option onTrailers threw:", err);
  }
}

/** What was given in place of something else, for people. */
function said(v: unknown): string {
  return v === undefined || v === null ? String(v) : `of type ${typeof v}`;
}

/** Does a whole call of one request and one response. */
function unary(s: Session, m: Method, request: Init, options: CallOptions | undefined): Promise<Message> {
  return new Promise((resolve, reject) => {
    let answer: Buffer | undefined;
    let call: Call | undefined;
    const events: CallEvents = {
      answer: (message, whole) => (answer = keep(message, whole)),
      ended: (f) => {
        if (call !== undefined) {
          tellTrailers(s, options, call);
          f ??= tooMany(call, answer);
        }
        if (f !== undefined) {
          reject(m.error(f));
          return;
        }
        try {
          resolve(decode(s, m, (answer ?? call!.stream!.take())!));
        } catch (err) {
          reject(m.error(failure(Code.Internal, `decoding the response: ${textOf(err)}`, err)));
        }
      },
    };
    call = s.start(outgoing(m, request, options), events);
  });
}

/** How a call of one response failed that went well and has not got one: in its STATUS, or else in DATA. */
function tooMany(call: Call, answer: Buffer | undefined): Failure | undefined {
  const n = (answer === undefined ? 0 : 1) + call.stream!.waiting;
  if (n === 1) {
    return undefined;
  }
  call.stream!.drop();
  return failure(Code.Internal, `the peer answered a call of one response with ${n === 0 ? "none" : n}`);
}

function decode(s: Session, m: Method, b: Buffer): Message {
  return fromBinary(m.output, b, { recursionLimit: s.config.limits.depth });
}

/** Sends a call that nobody waits for. It resolves when the call is queued. */
function oneway(s: Session, m: Method, request: Init, options: CallOptions | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    s.start(outgoing(m, request, options), {
      opened: (call) => call.end(undefined), // from now on nothing ends it but its STATUS
      ended: (f) => (f === undefined ? resolve() : reject(m.error(f))),
    });
  });
}

/** What a call tells its stream. The session holds it, and does not hold the stream by it. */
interface Progress {
  ended: boolean;
  failed: Failure | undefined;
  /** Why this side sends no more, where it is of its own doing. */
  shut: string | undefined;
  /** Called when the call has ended. */
  onEnd: (() => void) | undefined;
}

/** Ends the calls whose streams the program has dropped: else they would keep their slots for as long as the session lives. */
const dropped = new FinalizationRegistry<Call>(leave);

/** Why a call ends that its program has closed. */
const closed = "closed by the caller";

/** Ends a call if it has not ended, and forgets what nobody has taken. */
function leave(call: Call): void {
  call.calls.giveUp(call, failure(Code.Cancelled, closed));
  call.stream?.drop();
}

/** A call whose messages are streamed. Whatever the program has of the call holds it. */
class CallStream {
  private readonly call: Call;
  private readonly ready: Promise<void>; // it has a slot, or has ended
  private readonly progress: Progress = { ended: false, failed: undefined, shut: undefined, onEnd: undefined };
  private closing: Promise<void> | undefined;

  constructor(
    private readonly s: Session,
    readonly m: Method,
    request: Init | undefined,
    options: CallOptions | undefined,
  ) {
    let ready!: () => void;
    this.ready = new Promise((resolve) => (ready = resolve));
    const { progress } = this;
    let call: Call | undefined;
    const events: CallEvents = {
      opened: () => ready(),
      ended: (f) => {
        progress.ended = true;
        progress.failed = f;
        progress.shut = undefined;
        if (call !== undefined) {
          tellTrailers(s, options, call);
        }
        ready();
        progress.onEnd?.();
      },
    };
    call = s.start(outgoing(m, request, options), events);
    this.call = call;
    dropped.register(this, call);
  }

  /** Whether the call has ended. */
  get over(): boolean {
    return this.progress.ended;
  }

  /** Calls a function when the call ends. */
  set onEnd(tell: () => void) {
    this.progress.onEnd = tell;
  }

  /**
   * Sends a message; false when the call has ended. Throws the RpcError where this side has closed its half of it, and of a
   * message that cannot be sent, which ends the call.
   */
  async send(message: Init): Promise<boolean> {
    if (this.progress.shut !== undefined) {
      throw this.m.error(failure(Code.FailedPrecondition, this.progress.shut));
    }
    const b = this.encode(message);
    if (this.call.stream === undefined) {
      await this.ready;
    }
    return (await this.call.stream?.send(b, false)) ?? false;
  }

  /** Encodes a message. Throws the RpcError of one that cannot be sent, and ends the call. */
  private encode(message: Init): Uint8Array {
    const { m, call } = this;
    try {
      const b = encode(m, m.input, message);
      const most = this.s.shared.agreed.maxMessage;
      if (b.length > most) {
        throw m.error(failure(Code.ResourceExhausted, `message of ${b.length} bytes, over the limit of ${most} that both sides take`));
      }
      return b;
    } catch (err) {
      const { code, text, cause } = err as RpcError;
      call.calls.giveUp(call, failure(code, text, cause));
      throw err;
    }
  }

  closeSend(): Promise<void> {
    if (!this.over) {
      this.progress.shut = "this side has closed its half of the call, so it sends no more";
    }
    return (this.closing ??= this.sendEnd()); // there is one END
  }

  private async sendEnd(): Promise<void> {
    await this.ready;
    await this.call.stream?.send(undefined, true);
  }

  /** The next message; undefined when the call has ended well. */
  async receive(): Promise<Message | undefined> {
    if (this.call.stream === undefined) {
      await this.ready;
    }
    const b = await this.call.stream?.receive();
    if (b === undefined) {
      if (this.progress.failed !== undefined) {
        throw this.m.error(this.progress.failed);
      }
      return undefined;
    }
    try {
      return decode(this.s, this.m, b);
    } catch (err) {
      const f = failure(Code.Internal, `decoding a message: ${textOf(err)}`, err);
      this.call.calls.giveUp(this.call, f);
      throw this.m.error(f);
    }
  }

  /** Ends the call if it has not ended, and forgets what nobody has taken. */
  close(): void {
    const { over, progress } = this;
    if (over && (this.call.stream?.waiting ?? 0) > 0) {
      progress.failed = failure(Code.Cancelled, closed); // it has not ended well for a program that has not got all of it
    }
    leave(this.call);
    if (!over) {
      progress.shut = "this side has closed the call";
    }
  }
}

/** The responses of a call, for one loop, whose end ends the call. */
class Responses implements AsyncIterableIterator<Message> {
  constructor(private readonly call: CallStream) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Message, undefined>> {
    const value = await this.call.receive();
    return value === undefined ? { done: true, value } : { done: false, value };
  }

  return(): Promise<IteratorResult<Message, undefined>> {
    this.call.close();
    return Promise.resolve({ done: true, value: undefined });
  }
}

/** Calls with all of the requests, and returns the response. */
async function clientStream(s: Session, m: Method, requests: Requests, options: CallOptions | undefined): Promise<Message> {
  if (typeof requests !== "object" || requests === null || !(Symbol.asyncIterator in requests || Symbol.iterator in requests)) {
    throw m.error(notExecuted(Code.InvalidArgument, `the requests are ${said(requests)}: want something to iterate over, an array or a generator`));
  }
  const call = new CallStream(s, m, undefined, options);
  try {
    await sendAll(call, requests);
    const response = await call.receive();
    if (response === undefined) {
      throw m.error(failure(Code.Internal, "the peer ended the call without a response"));
    }
    if ((await call.receive()) !== undefined) {
      throw m.error(failure(Code.Internal, "the peer answered a call of one response with several"));
    }
    return response;
  } finally {
    call.close();
  }
}

/** Sends what the requests yield until they or the call end. */
async function sendAll(call: CallStream, requests: Requests): Promise<void> {
  const it = Symbol.asyncIterator in requests ? requests[Symbol.asyncIterator]() : requests[Symbol.iterator]();
  let done = false;
  try {
    for (;;) {
      const next = await nextOrEnd(call, it);
      if (next === undefined) {
        return;
      }
      if (next.done === true) {
        done = true;
        await call.closeSend();
        return;
      }
      if (!(await call.send(next.value))) {
        return;
      }
    }
  } catch (err) {
    done = true; // an iterator that threw is not to be asked to return
    throw err;
  } finally {
    if (!done) {
      // Not waited for: a generator that waits for something itself returns when it has got it.
      void Promise.resolve(it.return?.()).catch(() => undefined);
    }
  }
}

/** The next request; undefined when the call has ended before it came. */
function nextOrEnd(call: CallStream, it: AsyncIterator<Init> | Iterator<Init>): Promise<IteratorResult<Init> | undefined> {
  return new Promise((resolve, reject) => {
    if (call.over) {
      resolve(undefined);
      return;
    }
    call.onEnd = () => resolve(undefined);
    Promise.resolve(it.next()).then(resolve, reject);
  });
}

/** The caller's end of a bidirectional call. */
class Bidi implements BidiCall<Message, Message> {
  constructor(private readonly call: CallStream) {}

  send(message: Init): Promise<boolean> {
    return this.call.send(message);
  }

  closeSend(): Promise<void> {
    return this.call.closeSend();
  }

  receive(): Promise<Message | undefined> {
    return this.call.receive();
  }

  [Symbol.asyncIterator](): AsyncIterator<Message> {
    return new Responses(this.call);
  }

  close(): void {
    this.call.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.call.close();
    return Promise.resolve();
  }
}
