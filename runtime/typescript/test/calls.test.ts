// Calls as programs make and handle them, through generated code.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { create } from "@bufbuild/protobuf";
import { client, Code, implement, local, Reason, RpcError, SessionError } from "ipcgen";
import type { CallContext, Conn, ConnOptions, Init, Metadata } from "ipcgen";
import type { Tree } from "../../../testdata/messages/typescript/nested/nested.ipc.js";
import { Echo, TooLongSchema } from "../../../testdata/services/typescript/echo/v1/echo.ipc.js";
import type { EchoHandlers } from "../../../testdata/services/typescript/echo/v1/echo.ipc.js";
import { forest, gate } from "./gate.js";
import { echo, untilOver } from "./echo.js";
import { quiet } from "./peer.js";

/** A connection to handlers. */
function to(handlers: Partial<EchoHandlers>, options: ConnOptions = {}): Promise<Conn> {
  return local([implement(Echo, handlers)], { log: quiet, ...options });
}

/** The RpcError by which a call fails. */
async function failed(call: Promise<unknown>): Promise<RpcError> {
  try {
    await call;
  } catch (err) {
    assert.ok(err instanceof RpcError, String(err));
    return err;
  }
  assert.fail("the call went well");
}

async function collect<T>(all: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const v of all) {
    list.push(v);
  }
  return list;
}

test("a method of each kind", async () => {
  await using conn = await local([echo()]);
  const c = client(Echo, conn);
  assert.equal((await c.say({ text: "hello" })).text, "hello");
  assert.deepEqual((await collect(c.repeat({ text: "x", times: 3 }))).map((r) => r.text), ["x", "x", "x"]);
  assert.equal((await c.join([{ text: "a" }, { text: "b" }])).text, "ab");
  assert.equal(await c.note({ text: "note" }), undefined);
  await using chat = c.chat();
  assert.equal(await chat.send({ text: "1" }), true);
  assert.equal((await chat.receive())?.text, "1");
  await chat.closeSend();
  assert.equal(await chat.receive(), undefined);
  assert.equal(await chat.send({ text: "too late" }), false);
});

test("handlers that are methods of a class have their this", async () => {
  class Impl {
    greeting = "hi ";
    say(request: { text: string }): { text: string } {
      return { text: this.greeting + request.text };
    }
  }
  await using conn = await to(new Impl());
  assert.equal((await client(Echo, conn).say({ text: "you" })).text, "hi you");
});

test("an RpcError travels with its code, text and declared details, and no cause", async () => {
  const undeclared = create(Echo.methods.get("say")!.input);
  await using conn = await to({
    say() {
      throw new RpcError(Code.OutOfRange, "over the limit", { details: [undeclared, create(TooLongSchema, { limit: 8 })], cause: new Error("secret") });
    },
  });
  const err = await failed(client(Echo, conn).say({ text: "" }));
  assert.equal(err.code, Code.OutOfRange);
  assert.equal(err.text, "over the limit");
  assert.equal(err.message, "echo.v1.Echo/Say: OUT_OF_RANGE: over the limit");
  assert.equal(err.detail(TooLongSchema)?.limit, 8);
  assert.equal(err.details.length, 1);
  assert.equal(err.cause, undefined);
  assert.ok(err.remote && !err.notExecuted);
});

test("a typed error that cannot be encoded stays, and the rest of its error travels", async () => {
  const logged: unknown[][] = [];
  const log = { warn: () => undefined, error: (...args: unknown[]) => void logged.push(args) };
  const fail = (): never => {
    throw new RpcError(Code.OutOfRange, "over the limit", { details: [create(TooLongSchema, { limit: -1 })] });
  };
  await using conn = await to({ say: ({ text }) => (text === "now" ? fail() : Promise.resolve().then(fail)) }, { log });
  for (const text of ["now", "later"]) {
    const err = await failed(client(Echo, conn).say({ text }));
    assert.deepEqual([err.code, err.text, err.details], [Code.OutOfRange, "over the limit", []]);
  }
  assert.equal(logged.length, 2);
});

test("an error whose text is none travels as text", async () => {
  const fail = (): never => {
    throw new RpcError(Code.NotFound, new Error("gone") as never);
  };
  await using conn = await to({ say: ({ text }) => (text === "now" ? fail() : Promise.resolve().then(fail)) });
  for (const text of ["now", "later"]) {
    const err = await failed(client(Echo, conn).say({ text }));
    assert.deepEqual([err.code, err.text], [Code.NotFound, "Error: gone"]);
  }
});

test("what onTrailers throws is logged, and the call and its session go on", async () => {
  const logged: unknown[][] = [];
  const log = { warn: () => undefined, error: (...args: unknown[]) => void logged.push(args) };
  await using conn = await local([echo()], { log });
  const c = client(Echo, conn);
  const onTrailers = (): never => {
    throw new Error("mine");
  };
  assert.equal((await c.say({ text: "x" }, { onTrailers })).text, "x");
  assert.equal((await collect(c.repeat({ text: "x", times: 2 }, { onTrailers }))).length, 2);
  assert.equal(conn.error, undefined);
  assert.deepEqual(logged.map(([, e]) => (e as Error).message), ["mine", "mine"]);
});

test("any other error is UNKNOWN to the caller, and logged", async () => {
  const logged: unknown[][] = [];
  const log = { warn: () => undefined, error: (...args: unknown[]) => void logged.push(args) };
  await using conn = await to({ say: () => Promise.reject(new Error("secret")), note: () => { throw new Error("of nobody's business"); } }, { log });
  const c = client(Echo, conn);
  const err = await failed(c.say({ text: "" }));
  assert.equal(err.code, Code.Unknown);
  assert.doesNotMatch(err.text, /secret/);
  await c.note({ text: "" });
  await conn.shutdown();
  assert.deepEqual(logged.map(([, e]) => (e as Error).message), ["secret", "of nobody's business"]);
});

test("what is not implemented is UNIMPLEMENTED and not executed", async () => {
  await using conn = await to({});
  const c = client(Echo, conn);
  for (const call of [c.say({ text: "" }), collect(c.repeat({ text: "" })), c.join([]), collect(c.chat())]) {
    const err = await failed(call);
    assert.equal(err.code, Code.Unimplemented);
    assert.ok(err.notExecuted);
  }
});

test("metadata and trailers are text or bytes", async () => {
  await using conn = await to({
    say(_, context) {
      context.setTrailer("took", "long");
      context.setTrailer("raw", Uint8Array.of(0xff, 0));
      assert.throws(() => context.setTrailer("Upper", ""), /name "Upper"/);
      return { text: `${context.metadata.get("lang")} ${context.metadata.bytes("raw")?.length} ${context.metadata.get("none")}` };
    },
  });
  let trailers: Metadata | undefined;
  const options = { metadata: { lang: "en", raw: Uint8Array.of(1, 2, 3) }, onTrailers: (t: Metadata) => void (trailers = t) };
  assert.equal((await client(Echo, conn).say({ text: "" }, options)).text, "en 3 undefined");
  assert.equal(trailers?.get("took"), "long");
  assert.deepEqual([...(trailers?.bytes("raw") ?? [])], [0xff, 0]);
  assert.equal(inspect({ trailers }), "{ trailers: Metadata { raw: '\uFFFD\\x00', took: 'long' } }");
  const err = await failed(client(Echo, conn).say({ text: "" }, { metadata: { "no spaces": "" } }));
  assert.equal(err.code, Code.InvalidArgument);
  assert.ok(err.notExecuted);
});

test("metadata and trailers over the peer's frame fail their call alone", async () => {
  const say = ({ times }: { times: number }, context: CallContext): { text: string } => {
    context.setTrailer("t", "x".repeat(times));
    return { text: "x".repeat(3000) };
  };
  await using conn = await to({ say }, { limits: { maxFrame: 4096 } });
  const c = client(Echo, conn);
  const refused = await failed(c.say({ text: "" }, { metadata: { m: "x".repeat(4999) } }));
  assert.ok(refused.code === Code.InvalidArgument && refused.notExecuted);
  assert.match(refused.text, /metadata takes 5021 bytes .* over the limit of 4096 of a frame/);
  const long = await failed(c.say({ times: 5000 }));
  assert.ok(long.code === Code.ResourceExhausted && long.remote && !long.notExecuted);
  assert.match(long.text, /the trailers take 5010 bytes, over the limit of 4096 of a frame/);
  assert.equal((await c.say({ times: 1080 })).text.length, 3000);
  assert.equal(conn.error, undefined);
});

test("a deadline ends the call on both sides", async () => {
  const reason = gate<DOMException>();
  await using conn = await to({
    say(_, context) {
      assert.ok(context.remainingMs <= 20);
      context.signal.addEventListener("abort", () => reason.open(context.signal.reason as DOMException));
      return untilOver(context);
    },
  });
  const c = client(Echo, conn);
  assert.equal((await failed(c.say({ text: "" }, { timeoutMs: 20 }))).code, Code.DeadlineExceeded);
  assert.equal((await reason.opened).name, "TimeoutError");
  const late = await failed(c.say({ text: "" }, { timeoutMs: 0 }));
  assert.equal(late.code, Code.DeadlineExceeded);
  assert.ok(late.notExecuted);
});

test("a deadline of longer than Node's timers can wait does not end the call at once", async () => {
  await using conn = await to({ say: async (r, context) => (await new Promise(setImmediate), void context.signal, { text: `${r.text} ${context.signal.aborted}` }) });
  assert.equal((await client(Echo, conn).say({ text: "a" }, { timeoutMs: 2 ** 40 })).text, "a false");
});

test("a signal ends the call on both sides, and the slot is free again", async () => {
  const waiting = gate();
  await using conn = await to({ say: (r, context) => (r.text === "wait" ? (waiting.open(), untilOver(context)) : { text: r.text }) }, { limits: { calls: 1 } });
  const c = client(Echo, conn);
  const controller = new AbortController();
  const call = failed(c.say({ text: "wait" }, { signal: controller.signal }));
  await waiting.opened;
  controller.abort(new Error("bored"));
  const err = await call;
  assert.equal(err.code, Code.Cancelled);
  assert.equal((err.cause as Error).message, "bored");
  assert.ok(!err.notExecuted);
  assert.equal((await c.say({ text: "next" })).text, "next");
  const before = await failed(c.say({ text: "" }, { signal: controller.signal }));
  assert.ok(before.code === Code.Cancelled && before.notExecuted);
  assert.equal((await failed(c.say({ text: "wait" }, { signal: AbortSignal.timeout(1) }))).code, Code.DeadlineExceeded);
});

/** A handler that streams without end, and tells when it was left. */
function endless(): { left: Promise<void>; handler: EchoHandlers["repeat"] } {
  const left = gate();
  return {
    left: left.opened,
    async *handler() {
      try {
        for (;;) {
          yield { text: "x" };
        }
      } finally {
        left.open();
      }
    },
  };
}

test("leaving a loop over responses ends the call", async () => {
  const { left, handler } = endless();
  await using conn = await to({ repeat: handler });
  for await (const r of client(Echo, conn).repeat({ text: "" })) {
    assert.equal(r.text, "x");
    break;
  }
  await left;
});

test("leaving the scope of a bidirectional call ends it", async () => {
  const cancelled = gate<unknown>();
  await using conn = await to({
    async *chat(requests) {
      try {
        for await (const r of requests) {
          yield { text: r.text };
        }
      } catch (err) {
        cancelled.open(err);
        throw err;
      }
    },
  });
  {
    await using chat = client(Echo, conn).chat();
    await chat.send({ text: "1" });
    assert.equal((await chat.receive())?.text, "1");
  }
  const err = await cancelled.opened;
  assert.ok(err instanceof RpcError && err.code === Code.Cancelled);
});

test("receiving from a call that was closed with messages unread is an error", async () => {
  await using conn = await local([echo()]);
  for (const times of [0, 2]) {
    await using call = client(Echo, conn).chat();
    for (let i = 0; i < times; i++) {
      await call.send({ text: "x" });
    }
    await call.closeSend();
    while (await call.send({ text: "over?" }).catch(() => true)) {
      await conn.ping(); // until its end has come
    }
    call.close();
    if (times === 0) {
      assert.equal(await call.receive(), undefined);
    } else {
      assert.equal((await failed(call.receive())).code, Code.Cancelled);
    }
  }
});

test("sending on what this side has closed is an error", async () => {
  await using conn = await local([echo()]);
  const chat = client(Echo, conn).chat();
  const closing = chat.closeSend();
  const half = await failed(chat.send({ text: "late" }));
  assert.equal(half.message, "echo.v1.Echo/Chat: FAILED_PRECONDITION: this side has closed its half of the call, so it sends no more");
  await closing;
  assert.equal(await chat.receive(), undefined);
  assert.equal(await chat.send({ text: "after the end" }), false);
  const left = client(Echo, conn).chat();
  left.close();
  const err = await failed(left.send({ text: "late" }));
  assert.equal(err.code, Code.FailedPrecondition);
  assert.equal(err.text, "this side has closed the call");
  assert.equal((await failed(left.receive())).code, Code.Cancelled);
});

/** Collects garbage and lets what follows from that happen, until a promise is resolved. Fails where that takes too often. */
async function collected<T>(until: Promise<T>): Promise<T> {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  const rounds = (async (): Promise<never> => {
    for (let i = 0; i < 50; i++) {
      gc();
      await new Promise(setImmediate);
    }
    assert.fail("still there");
  })();
  return Promise.race([until, rounds]);
}

test("a stream that the program has dropped ends, and the slot is free again", async () => {
  await using conn = await to({ say: (r) => ({ text: r.text }), repeat: endless().handler, chat: () => endless().handler({} as never, {} as never) }, { limits: { calls: 2 } });
  const c = client(Echo, conn);
  await (async () => {
    await c.chat().receive();
    await c.repeat({ text: "" })[Symbol.asyncIterator]().next();
  })();
  assert.equal((await collected(c.say({ text: "next" }))).text, "next");
});

test("a stream that the program waits for is not dropped, nor one in a loop", async () => {
  await using conn = await local([echo()]);
  const c = client(Echo, conn);
  const open = gate();
  const requests = async function* (): AsyncGenerator<{ text: string }> {
    await open.opened;
    yield { text: "a" };
  };
  const responses = (async () => {
    for await (const r of c.chat()) {
      return r.text;
    }
    return "none";
  })().catch((err: RpcError) => err.message);
  const joined = c.join(requests());
  const received = c.chat({ timeoutMs: 2 ** 40 }).receive().catch((err: RpcError) => err.message);
  await assert.rejects(collected(Promise.race([responses, joined, received])), /still there/);
  open.open();
  assert.equal((await joined).text, "a");
  conn.close();
  assert.match(`${await responses} ${await received}`, /UNAVAILABLE.*UNAVAILABLE/);
});

test("closing this side's half twice is closing it once", async () => {
  const open = gate();
  await using conn = await to({
    async *chat(requests) {
      await open.opened;
      for await (const { text } of requests) {
        yield { text };
      }
    },
  });
  await using chat = client(Echo, conn).chat();
  const sent = chat.send({ text: "x".repeat(1 << 20) }); // waits for credit, and the END behind it
  const closed = [chat.closeSend(), chat.closeSend()];
  open.open();
  assert.equal((await chat.receive())?.text.length, 1 << 20);
  assert.equal(await sent, true);
  await Promise.all(closed);
  assert.equal(await chat.receive(), undefined);
  assert.equal(conn.error, undefined);
});

test("what the requests of a client stream throw ends the call, and reaches the caller as it is", async () => {
  const cancelled = gate<unknown>();
  await using conn = await to({
    async join(requests) {
      try {
        for await (const _ of requests);
      } catch (err) {
        cancelled.open(err);
      }
      return { text: "" };
    },
  });
  const requests = async function* (): AsyncGenerator<{ text: string }> {
    yield { text: "1" };
    throw new Error("no more");
  };
  await assert.rejects(client(Echo, conn).join(requests()), /^Error: no more$/);
  assert.ok(((await cancelled.opened) as RpcError).code === Code.Cancelled);
});

test("a handler may answer before it has all requests, and nobody is asked for more", async () => {
  const returned = gate();
  await using conn = await to({ join: async (requests) => ({ text: (await requests[Symbol.asyncIterator]().next()).value!.text }) });
  const requests = async function* (): AsyncGenerator<{ text: string }> {
    try {
      for (let i = 0; ; i++) {
        yield { text: String(i) };
      }
    } finally {
      returned.open();
    }
  };
  assert.equal((await client(Echo, conn).join(requests())).text, "0");
  await returned.opened;
});

test("an iterator that waits for its next request does not hold up the end of the call", async () => {
  await using conn = await to({ join: () => Promise.reject(new RpcError(Code.Aborted, "no")) });
  const never: AsyncIterable<{ text: string }> = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }) };
  assert.equal((await failed(client(Echo, conn).join(never))).code, Code.Aborted);
});

test("calls over the limit wait for their turn, in their order", async () => {
  const open = gate();
  let running = 0;
  let most = 0;
  await using conn = await to(
    {
      async say(r) {
        most = Math.max(most, ++running);
        await open.opened;
        running--;
        return { text: r.text };
      },
    },
    { limits: { calls: 2 } },
  );
  const c = client(Echo, conn);
  const order: string[] = [];
  const calls = Array.from({ length: 50 }, async (_, i) => order.push((await c.say({ text: String(i) })).text));
  const impatient = await failed(c.say({ text: "" }, { timeoutMs: 5 }));
  assert.ok(impatient.code === Code.DeadlineExceeded && impatient.notExecuted);
  assert.match(impatient.text, /slots/);
  open.open();
  await Promise.all(calls);
  assert.deepEqual(order, Array.from({ length: 50 }, (_, i) => String(i)));
  assert.equal(most, 2);
});

test("a stream that nobody reads waits, and holds up no other call", async () => {
  let sent = 0;
  const full = gate();
  const text = "x".repeat(1000);
  await using conn = await to(
    {
      say: (r) => ({ text: r.text }),
      async *repeat() {
        for (; sent < 1000; sent++) {
          full.open();
          yield { text };
        }
      },
    },
    { limits: { window: 16 << 10 } },
  );
  const c = client(Echo, conn);
  const responses = c.repeat({ text: "" })[Symbol.asyncIterator]();
  await responses.next();
  await full.opened;
  for (let i = 0; i < 100; i++) {
    assert.equal((await c.say({ text: String(i) })).text, String(i));
  }
  assert.ok(sent <= 64, `${sent} messages of 1000 bytes are on their way through a window of 16 KiB`);
  let received = 1;
  while ((await responses.next()).done !== true) {
    received++;
  }
  assert.equal(received, 1000);
});

test("large messages both ways at a time, beside small ones", async () => {
  await using conn = await local([echo()], { limits: { window: 16 << 10, maxFrame: 4 << 10, assembly: 4 << 20 } });
  const c = client(Echo, conn);
  const large = "y".repeat(3 << 20);
  const all = await Promise.all([
    c.say({ text: large }),
    c.say({ text: large }),
    c.join([{ text: large.slice(0, 1 << 20) }, { text: large.slice(0, 1 << 20) }]),
    c.say({ text: "small" }),
  ]);
  assert.deepEqual(all.map((r) => r.text.length), [3 << 20, 3 << 20, 2 << 20, 5]);
  assert.deepEqual((await collect(c.repeat({ text: large, times: 3 }))).map((r) => r.text.length), [3 << 20, 3 << 20, 3 << 20]);
});

test("messages over the limit are refused where they are sent", async () => {
  await using conn = await to({ say: () => ({ text: "y".repeat(5000) }), join: () => Promise.resolve({}) }, { limits: { maxMessage: 4096 } });
  const c = client(Echo, conn);
  const request = await failed(c.say({ text: "x".repeat(5000) }));
  assert.ok(request.code === Code.ResourceExhausted && request.notExecuted && !request.remote);
  const response = await failed(c.say({ text: "" }));
  assert.ok(response.code === Code.ResourceExhausted && response.remote);
  assert.equal((await failed(c.join([{ text: "x".repeat(5000) }]))).code, Code.ResourceExhausted);
});

test("a message that cannot be sent ends the call", async () => {
  for (const [message, code] of [
    [{ text: "x".repeat(5000) }, Code.ResourceExhausted],
    [{ times: -1 }, Code.InvalidArgument],
    [undefined, Code.InvalidArgument],
  ] as [never, number][]) {
    const told = gate();
    const chat = async function* (_: unknown, { signal }: CallContext): AsyncIterable<{ text: string }> {
      yield { text: "begun" };
      signal.addEventListener("abort", () => told.open());
      await told.opened;
    };
    await using conn = await to({ chat }, { limits: { maxMessage: 4096 } });
    await using call = client(Echo, conn).chat();
    assert.equal((await call.receive())?.text, "begun");
    assert.equal((await failed(call.send(message))).code, code);
    assert.equal((await failed(call.receive())).code, code);
    await told.opened;
    assert.equal(await call.send({ text: "next" }), false);
  }
});

test("what is no message is refused before the call", async () => {
  await using conn = await local([echo()]);
  const err = await failed(client(Echo, conn).say({ times: -1 }));
  assert.ok(err.code === Code.InvalidArgument && err.notExecuted);
  assert.match(err.text, /encoding the request: .*times/);
  const odd = await failed(client(Echo, conn).say({ text: "" }, { timeoutMs: NaN }));
  assert.match(odd.text, /timeoutMs is NaN/);
});

test("a response that cannot be encoded is an error of the server's", async () => {
  const text = Object.create(null) as string; // which is no text, and cannot become one
  await using conn = await to({ say: () => ({ text }) });
  const err = await failed(client(Echo, conn).say({ text: "" }));
  assert.ok(err.code === Code.Internal && err.remote && !err.notExecuted);
  assert.match(err.text, /encoding the response: /);
});

test("undefined is no request, whatever the kind of the call", { timeout: 20_000 }, async () => {
  await using conn = await to({}, { limits: { calls: 1 } });
  const c = client(Echo, conn);
  const none = undefined as never;
  for (const [call, want] of [
    [() => c.say(none), /^the request is undefined: want the message echo\.v1\.SayRequest, or an object with some of its fields$/],
    [() => c.say(null as never), /the request is null/],
    [() => c.say("text" as never), /the request is of type string/],
    [() => c.note(none), /the request is undefined/],
    [() => collect(c.repeat(none)), /the request is undefined/],
    [() => c.join(none), /^the requests are undefined: want something to iterate over, an array or a generator$/],
    [() => c.join({} as never), /the requests are of type object/],
  ] as const) {
    const err = await failed(call());
    assert.ok(err.code === Code.InvalidArgument && err.notExecuted, err.message);
    assert.match(err.text, want);
  }
  await using chat = c.chat();
  const err = await failed(chat.send(none));
  assert.match(err.text, /the request is undefined/);
  assert.ok(!err.notExecuted);
});

test("a handler without a response fails with INTERNAL", async () => {
  await using conn = await to({ say: (() => undefined) as never });
  assert.equal((await failed(client(Echo, conn).say({ text: "" }))).code, Code.Internal);
});

test("a shutdown lets running calls finish and refuses new ones as not executed", async () => {
  const started = gate();
  const open = gate();
  await using conn = await to({ say: async (r) => (started.open(), await open.opened, { text: r.text }) });
  const c = client(Echo, conn);
  const running = c.say({ text: "finished" });
  await started.opened;
  const finished = conn.shutdown();
  const refused = await failed(c.say({ text: "" }));
  assert.ok(refused.code === Code.Unavailable && refused.notExecuted);
  assert.match(refused.text, /draining/);
  open.open();
  assert.equal((await running).text, "finished");
  assert.equal(await finished, true);
  assert.equal((await conn.ended).reason, Reason.Drained);
});

test("a shutdown fails the calls that outlast its patience", async () => {
  const started = gate();
  await using conn = await to({ say: (_, context) => (started.open(), untilOver(context)) });
  const running = failed(client(Echo, conn).say({ text: "" }));
  await started.opened;
  assert.equal(await conn.shutdown(1), false);
  assert.equal((await running).code, Code.Unavailable);
});

test("closing fails running calls, tells those that never ran, and aborts handlers", async () => {
  const started = gate();
  const aborted = gate<unknown>();
  await using conn = await to(
    {
      say(_, context: CallContext) {
        started.open();
        context.signal.addEventListener("abort", () => aborted.open(context.signal.reason));
        return untilOver(context);
      },
    },
    { limits: { calls: 1 } },
  );
  const c = client(Echo, conn);
  const running = failed(c.say({ text: "" }));
  const queued = failed(c.say({ text: "" }));
  const stream = failed(collect(c.repeat({ text: "" })));
  await started.opened;
  conn.close();
  const err = await running;
  assert.ok(err.code === Code.Unavailable && !err.notExecuted);
  assert.ok(err.cause instanceof SessionError && err.cause.reason === Reason.Closed);
  for (const e of [await queued, await stream, await failed(c.say({ text: "" }))]) {
    assert.ok(e.code === Code.Unavailable && e.notExecuted);
  }
  assert.equal(((await aborted.opened) as DOMException).name, "AbortError");
  assert.equal(conn.error?.reason, Reason.Closed);
  await assert.rejects(conn.ping(), SessionError);
});

test("messages nest only so deep", async () => {
  await using conn = await local([implement(forest, { echo: (r) => r })], { limits: { depth: 10 } });
  const nest = (n: number): Init<Tree> => (n === 0 ? {} : { left: nest(n - 1) });
  const c = client(forest, conn);
  await c.echo(nest(9));
  const err = await failed(c.echo(nest(10)));
  assert.ok(err.code === Code.InvalidArgument && err.notExecuted);
});

test("a oneway call that is on its way is not cancelled by its signal or deadline", async () => {
  const started = gate();
  const open = gate();
  const outcome = gate<boolean>();
  await using conn = await to({
    async note(_, context) {
      const { signal } = context;
      started.open();
      await open.opened;
      outcome.open(signal.aborted);
    },
  });
  const controller = new AbortController();
  await client(Echo, conn).note({ text: "" }, { signal: controller.signal });
  await started.opened;
  controller.abort();
  await conn.ping();
  open.open();
  assert.equal(await outcome.opened, false);
});

test("two services of one name, and what is wrong with limits, are refused", async () => {
  await assert.rejects(local([echo(), echo()]), /the service echo.v1.Echo is there twice/);
  await assert.rejects(local([echo()], { limits: { calls: -1 } }), /limits.calls is -1: want a number above 0/);
});
