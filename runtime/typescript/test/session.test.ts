// Sessions against the conversations of testdata/vectors/sessions.json.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Flag, headerSize, putHeader, rules, Type } from "#runtime/frame.js";
import { parseCall, parseStatus } from "#runtime/payload.js";
import { client, RpcError } from "ipcgen";
import type { Conn, Metadata } from "ipcgen";
import { Echo, TooLongSchema } from "../../../testdata/services/typescript/echo/v1/echo.ipc.js";
import { echo } from "./echo.js";
import { RawPeer, UnderTest } from "./peer.js";
import type { Sent } from "./peer.js";
import { bytes, vectorText } from "./vectors.js";

interface Awaited {
  type: string;
  flags?: string[];
  stream?: number;
  arg?: number;
  method?: string;
  message?: string;
  details?: { type: string; value: string }[];
}

interface Step {
  do: "hello" | "send" | "close" | "call" | "cancel" | "await";
  hex?: string;
  method?: string;
  text?: string;
  times?: number;
  frame?: Awaited;
}

interface Outcome {
  code: number;
  not_executed?: boolean;
  message?: string;
  limit?: number;
  texts?: string[];
  trailers?: Record<string, string>;
}

interface Conversation {
  name: string;
  side: "listener" | "dialer";
  steps: Step[];
  ends?: string;
  outcome?: Outcome;
}

const file = JSON.parse(vectorText("sessions.json")) as { max_frame: number; max_message: number; max_slots: number; window: number; hello: string; cases: Conversation[] };
const limits = { maxFrame: file.max_frame, maxMessage: file.max_message, calls: file.max_slots, window: file.window };
const md = { entries: 64, bytes: 8 << 10 };

for (const size of [undefined, 1]) {
  for (const c of file.cases) {
    test(`${c.name}${size === undefined ? "" : ", byte by byte"}`, { timeout: 20_000 }, () => play(c, size));
  }
}

async function play(c: Conversation, size: number | undefined): Promise<void> {
  const peer = new RawPeer();
  const end = new UnderTest(peer, c.side === "dialer" ? 0 : 1, limits, [echo()]);
  const caller = new AbortController();
  let outcome: Promise<Outcome> | undefined;
  for (const s of c.steps) {
    switch (s.do) {
      case "hello":
        peer.send(bytes(file.hello), size);
        break;
      case "send":
        peer.send(bytes(s.hex!), size);
        break;
      case "close":
        peer.end();
        break;
      case "call":
        outcome = call(await end.conn, s, caller.signal);
        break;
      case "cancel":
        caller.abort();
        break;
      case "await":
        check(await peer.next(Type.Hello, Type.Credit), s.frame!);
    }
  }
  if (c.ends === undefined) {
    await alive(peer);
  } else {
    assert.equal(await end.ended, c.ends);
    assert.ok(peer.closed);
  }
  assert.equal(outcome === undefined, c.outcome === undefined);
  if (c.outcome !== undefined) {
    assert.deepEqual(await outcome, wanted(c.outcome));
  }
  (await end.conn.catch(() => undefined))?.close();
}

/** Compares a frame with what is said of it. */
function check(got: Sent | undefined, want: Awaited): void {
  assert.ok(got !== undefined, `the session ended, want ${want.type}`);
  const { header, payload } = got;
  assert.equal(rules[header.type]!.name, want.type);
  let message = payload;
  if (header.type === Type.Call) {
    const { head, message: m } = parseCall(payload, md);
    message = m;
    const id = Buffer.alloc(8);
    id.writeUInt32LE(head.methodLow);
    id.writeUInt32LE(head.methodHigh, 4);
    assert.equal(id.toString("hex"), want.method ?? id.toString("hex"));
  } else if (header.type === Type.Status) {
    const { head, message: m } = parseStatus(payload, md);
    message = m;
    if (want.details !== undefined) {
      assert.deepEqual(head.details.map((d) => ({ type: d.type, value: Buffer.from(d.value).toString("hex") })), want.details);
    }
  }
  if (want.flags !== undefined) {
    const names = Object.entries({ END: Flag.End, MORE: Flag.More, MSG: Flag.Msg, ACK: Flag.Ack, NOT_EXECUTED: Flag.NotExecuted });
    assert.deepEqual(names.filter(([, bit]) => (header.flags & bit) !== 0).map(([n]) => n).sort(), [...want.flags].sort());
  }
  assert.equal(header.stream, want.stream ?? header.stream);
  assert.equal(header.arg, want.arg ?? header.arg);
  if (want.message !== undefined) {
    assert.equal(message.toString("hex"), bytes(want.message).toString("hex"));
  }
}

/** The session lives: it answers a PING, and has nothing else to say. */
async function alive(peer: RawPeer): Promise<void> {
  const ping = Buffer.alloc(headerSize);
  putHeader(ping, 0, Type.Ping, 0, 0, 0, 0);
  peer.send(ping);
  check(await peer.next(Type.Hello, Type.Credit), { type: "PING", flags: ["ACK"] });
}

/** Makes the call of a step and tells how it ended. */
async function call(conn: Conn, s: Step, signal: AbortSignal): Promise<Outcome> {
  const echo = client(Echo, conn);
  const texts: string[] = [];
  let trailers: Metadata | undefined;
  const options = { signal, onTrailers: (t: Metadata) => void (trailers = t) };
  const request = { text: s.text ?? "", times: s.times ?? 0 };
  let failed: RpcError | undefined;
  try {
    if (s.method === "echo.v1.Echo/Say") {
      texts.push((await echo.say(request, options)).text);
    } else {
      for await (const r of echo.repeat(request, options)) {
        texts.push(r.text);
      }
    }
  } catch (err) {
    assert.ok(err instanceof RpcError, String(err));
    failed = err;
  }
  return {
    code: failed?.code ?? 0,
    not_executed: failed?.notExecuted ?? false,
    message: failed?.remote === true ? failed.text : "",
    limit: failed?.detail(TooLongSchema)?.limit ?? 0,
    texts,
    trailers: Object.fromEntries([...(trailers ?? [])].map(([name]) => [name, Buffer.from(trailers!.bytes(name)!).toString("hex")])),
  };
}

function wanted(o: Outcome): Outcome {
  return { not_executed: false, message: "", limit: 0, texts: [], trailers: {}, ...o };
}
