// Implementations: the handlers of a service, ready to be served.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Message } from "@bufbuild/protobuf";
import { connOf } from "./conn.js";
import type { Conn } from "./conn.js";
import { Code, RpcError } from "./error.js";
import { failure, notExecuted, textOf } from "./failure.js";
import type { Failure } from "./failure.js";
import type { Metadata } from "./metadata.js";
import type { Kind, Method, Service } from "./method.js";
import type { Detail } from "./payload.js";
import type { Incoming, Served } from "./serve.js";
import type { CallContext } from "./types.js";

/** A service with its handlers. */
export interface Implementation {
  /** The service's full name: "echo.v1.Echo". */
  readonly name: string;
  readonly hash: bigint;
  readonly methods: readonly { readonly id: Uint8Array; readonly served: Served }[];
}

type Init = Record<string, unknown>;
type Handler = (request: unknown, context: CallContext) => unknown;

/**
 * Makes handlers callable by peers: an object, or an instance of a class. A method without a handler is answered with
 * UNIMPLEMENTED. An RpcError that a handler throws travels to the caller; anything else is UNKNOWN to it, and logged.
 */
export function implement<H extends object>(service: Service<unknown, H>, handlers: Partial<H>): Implementation {
  const methods = [...service.methods].map(([name, method]) => {
    const handler = (handlers as Record<string, Handler | undefined>)[name]?.bind(handlers);
    const single = method.kind === "unary" || method.kind === "oneway" || method.kind === "server stream";
    return { id: method.id, served: { path: method.path, single, run: handler === undefined ? unimplemented : runners[method.kind](method, handler) } };
  });
  return { name: service.name, hash: service.hash(), methods };
}

function unimplemented(incoming: Incoming): void {
  incoming.answer(notExecuted(Code.Unimplemented, "the peer knows the method and does not implement it"));
}

/** How a handler of each kind is run. */
const runners: Record<Kind, (m: Method, handler: Handler) => Served["run"]> = {
  unary: single,
  oneway: single,
  "server stream": (m, handler) => (incoming, request) => {
    const req = decodeRequest(m, incoming, request!);
    if (req !== undefined) {
      void finish(m, incoming, sendAll(m, incoming, () => handler(req, new Context(incoming)) as AsyncIterable<Init>));
    }
  },
  "client stream": (m, handler) => (incoming) => {
    void finish(m, incoming, respond(m, incoming, () => handler(new Requests(m, incoming), new Context(incoming))));
  },
  bidi: (m, handler) => (incoming) => {
    void finish(m, incoming, sendAll(m, incoming, () => handler(new Requests(m, incoming), new Context(incoming)) as AsyncIterable<Init>));
  },
};

/** Runs handlers of one message, answered with at most one. */
function single(m: Method, handler: Handler): Served["run"] {
  return (incoming, request) => {
    const req = decodeRequest(m, incoming, request!);
    if (req === undefined) {
      return;
    }
    const answer = (response: unknown): void => {
      try {
        incoming.answer(undefined, m.kind === "oneway" ? undefined : encodeResponse(m, incoming, response));
      } catch (err) {
        fail(m, incoming, err);
      }
    };
    let response: unknown;
    try {
      response = handler(req, new Context(incoming));
    } catch (err) {
      fail(m, incoming, err);
      return;
    }
    if (isPromise(response)) {
      response.then(answer, (err: unknown) => fail(m, incoming, err));
    } else {
      answer(response);
    }
  };
}

function isPromise(v: unknown): v is PromiseLike<unknown> {
  return typeof v === "object" && v !== null && typeof (v as { then?: unknown }).then === "function";
}

/** The request; undefined when it could not be decoded and the call was answered so. */
function decodeRequest(m: Method, incoming: Incoming, b: Buffer): Message | undefined {
  try {
    return decode(m, incoming, b);
  } catch (err) {
    incoming.answer(notExecuted(Code.InvalidArgument, `decoding the request: ${textOf(err)}`));
    return undefined;
  }
}

function decode(m: Method, incoming: Incoming, b: Buffer): Message {
  return fromBinary(m.input, b, { recursionLimit: incoming.calls.shared.limits.depth });
}

/** Encodes what a handler gave. Throws what the caller is to see. */
function encodeResponse(m: Method, incoming: Incoming, response: unknown): Uint8Array {
  if (typeof response !== "object" || response === null) {
    throw new RpcError(Code.Internal, "the handler returned no response");
  }
  let b: Uint8Array;
  try {
    b = toBinary(m.output, create(m.output, response as never));
  } catch (err) {
    throw new RpcError(Code.Internal, `encoding the response: ${textOf(err)}`, { cause: err });
  }
  const most = incoming.calls.shared.agreed.maxMessage;
  if (b.length > most) {
    throw new RpcError(Code.ResourceExhausted, `message of ${b.length} bytes, over the limit of ${most} that both sides take`);
  }
  return b;
}

/** Answers a call when its handler is done. */
async function finish(m: Method, incoming: Incoming, done: Promise<Uint8Array | undefined>): Promise<void> {
  try {
    incoming.answer(undefined, await done);
  } catch (err) {
    fail(m, incoming, err);
  }
}

async function respond(m: Method, incoming: Incoming, run: () => unknown): Promise<Uint8Array> {
  return encodeResponse(m, incoming, await run());
}

/** Sends what a handler yields, as long as the caller wants it. */
async function sendAll(m: Method, incoming: Incoming, run: () => AsyncIterable<Init>): Promise<undefined> {
  for await (const response of run()) {
    if (!(await incoming.stream.send(encodeResponse(m, incoming, response), false))) {
      throw gaveUp(incoming);
    }
  }
}

/** How a handler is told that its caller wants no more. */
function gaveUp(incoming: Incoming): RpcError {
  return incoming.over === "deadline" ? new RpcError(Code.DeadlineExceeded, "the handler ran out of time") : new RpcError(Code.Cancelled, "the caller gave up or is gone");
}

/** Answers a call whose handler has thrown: with what was written for the caller, and nothing else. */
function fail(m: Method, incoming: Incoming, thrown: unknown): void {
  const { log } = incoming.calls.session.config;
  const f = outcome(m, incoming, thrown);
  if (f === undefined || m.kind === "oneway") {
    log.error(`ipcgen: the handler of ${m.path} failed:`, thrown);
  }
  if (m.kind === "oneway") {
    incoming.answer(undefined); // not even an error goes back
    return;
  }
  incoming.answer(f ?? failure(Code.Unknown, "the handler failed; its process's log says how"));
}

function outcome(m: Method, incoming: Incoming, thrown: unknown): Failure | undefined {
  if (thrown instanceof RpcError) {
    const details = thrown.details.flatMap((d) => detail(m, incoming, d));
    const code = thrown.code >>> 0 || Code.Unknown;
    return { ...failure(code, String(thrown.text)), details, notExecuted: thrown.notExecuted && thrown.method === undefined };
  }
  const name = thrown instanceof Error ? thrown.name : "";
  if ((name === "AbortError" || name === "TimeoutError") && incoming.over !== undefined) {
    const { code, text } = gaveUp(incoming);
    return failure(code, text);
  }
  return undefined;
}

/** A typed error as it travels; none where the schema does not declare it for the method, or it cannot be encoded. */
function detail(m: Method, incoming: Incoming, d: Message): Detail[] {
  const desc = m.errors.find((e) => e.typeName === d.$typeName);
  if (desc === undefined) {
    return [];
  }
  try {
    return [{ type: desc.typeName, value: toBinary(desc, d) }];
  } catch (err) {
    incoming.calls.session.config.log.error(`ipcgen: the handler of ${m.path} failed with a ${desc.typeName} that cannot be encoded:`, err);
    return [];
  }
}

/** The requests of a call, as its handler sees them. They can be gone through once. */
class Requests implements AsyncIterableIterator<Message> {
  constructor(
    private readonly m: Method,
    private readonly incoming: Incoming,
  ) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Message, undefined>> {
    const { m, incoming } = this;
    const b = await incoming.stream.receive();
    if (b === undefined) {
      if (incoming.cause === "cancelled" || incoming.cause === "deadline" || incoming.cause === "session ended") {
        throw gaveUp(incoming);
      }
      return { done: true, value: undefined };
    }
    try {
      return { done: false, value: decode(m, incoming, b) };
    } catch (err) {
      throw new RpcError(Code.InvalidArgument, `decoding a message: ${textOf(err)}`, { cause: err });
    }
  }
}

/** What a handler is told of its call. */
class Context implements CallContext {
  readonly #incoming: Incoming;

  constructor(incoming: Incoming) {
    this.#incoming = incoming;
  }

  get method(): string {
    return this.#incoming.method.path;
  }

  get signal(): AbortSignal {
    return this.#incoming.signal;
  }

  get remainingMs(): number {
    return Math.max(0, this.#incoming.deadline - performance.now());
  }

  get metadata(): Metadata {
    return this.#incoming.metadata;
  }

  get conn(): Conn {
    return connOf(this.#incoming.calls.session);
  }

  setTrailer(name: string, value: string | Uint8Array): void {
    this.#incoming.setTrailer(name, value);
  }
}
