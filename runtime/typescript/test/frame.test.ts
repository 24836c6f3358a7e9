// The parser against the vectors, the corpus of Go's fuzz target, and the specification's own tables and example.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Flag, headerSize, parseHeader, preface, putHeader, rules, Type, Violation } from "#runtime/frame.js";
import type { Header } from "#runtime/frame.js";
import { encodable } from "#runtime/metadata.js";
import type { Metadata, MetadataLimit } from "#runtime/metadata.js";
import { encodeCall, encodeHello, encodeStatus, parseCall, parseHello, parseStatus } from "#runtime/payload.js";
import { bytes, root, vectorText } from "./vectors.js";
import type { FrameFile, WantedFrame } from "./vectors.js";

const limit: MetadataLimit = { entries: 4, bytes: 64 };
const flagNames: [string, number][] = [
  ["END", Flag.End],
  ["MORE", Flag.More],
  ["MSG", Flag.Msg],
  ["ACK", Flag.Ack],
  ["NOT_EXECUTED", Flag.NotExecuted],
];

/** Parses one frame as the vectors say what is in it. Throws a Violation. */
function decode(b: Buffer, maxFrame: number, md: MetadataLimit): WantedFrame {
  const h = parseHeader(b, 0, maxFrame);
  const payload = b.subarray(headerSize);
  const frame = { type: rules[h.type]!.name, flags: flagNames.filter(([, bit]) => (h.flags & bit) !== 0).map(([name]) => name), stream: h.stream, arg: h.arg };
  switch (h.type) {
    case Type.Hello: {
      const p = parseHello(payload);
      const hello = {
        min_version: p.minVersion,
        max_version: p.maxVersion,
        features: p.features,
        max_frame: p.maxFrame,
        max_message: p.maxMessage,
        max_slots: p.maxSlots,
        window: p.window,
        session: String(p.session),
        agent: p.agent,
        services: p.services.map((s) => ({ name: s.name, hash: String(s.hash) })),
      };
      return { ...frame, hello };
    }
    case Type.Call: {
      const { head, message } = parseCall(payload, md);
      const method = Buffer.alloc(8);
      method.writeUInt32LE(head.methodLow);
      method.writeUInt32LE(head.methodHigh, 4);
      return { ...frame, call: { method: method.toString("hex"), timeout: String(BigInt(head.timeout)), metadata: plain(head.metadata), message: message.toString("hex") } };
    }
    case Type.Status: {
      const { head, message } = parseStatus(payload, md);
      const details = head.details.map((d) => ({ type: d.type, value: Buffer.from(d.value).toString("hex") }));
      return { ...frame, status: { text: head.text, details, trailers: plain(head.trailers), message: message.toString("hex") } };
    }
    case Type.Data:
    case Type.GoAway:
      return { ...frame, payload: payload.toString("hex") };
    default:
      return frame;
  }
}

function plain(md: Metadata): Record<string, string> {
  return Object.fromEntries([...md].map(([name]) => [name, Buffer.from(md.bytes(name)!).toString("hex")]));
}

function md(values: Record<string, string> | undefined): ReturnType<typeof encodable> {
  return encodable(Object.fromEntries(Object.entries(values ?? {}).map(([name, v]) => [name, bytes(v)])), { entries: 64, bytes: 65536 });
}

/** The bytes of a frame. */
function encode(f: WantedFrame): Buffer {
  let payload = bytes(f.payload ?? "");
  if (f.hello !== undefined) {
    const p = f.hello;
    const services = (p.services ?? []).map((s) => ({ name: s.name, hash: BigInt(s.hash) }));
    payload = encodeHello({ minVersion: p.min_version, maxVersion: p.max_version, features: p.features, maxFrame: p.max_frame, maxMessage: p.max_message, maxSlots: p.max_slots, window: p.window, session: BigInt(p.session), agent: p.agent, services });
  } else if (f.call !== undefined) {
    const head = encodeCall(bytes(f.call.method), Number(f.call.timeout), md(f.call.metadata));
    payload = Buffer.concat([head, bytes(f.call.message ?? "")]);
  } else if (f.status !== undefined) {
    const details = (f.status.details ?? []).map((d) => ({ type: d.type, value: bytes(d.value) }));
    payload = Buffer.concat([encodeStatus(f.status.text, details, md(f.status.trailers)), bytes(f.status.message ?? "")]);
  }
  const b = Buffer.alloc(headerSize);
  const type = rules.findIndex((r) => r?.name === f.type);
  const flags = flagNames.filter(([name]) => f.flags.includes(name)).reduce((all, [, bit]) => all | bit, 0);
  putHeader(b, 0, type, flags, payload.length, f.stream, f.arg);
  return Buffer.concat([b, payload]);
}

/** What the vectors leave out is empty. */
function complete(f: WantedFrame): WantedFrame {
  const { hello, call, status } = f;
  return {
    ...f,
    ...(hello && { hello: { ...hello, services: hello.services ?? [] } }),
    ...(call && { call: { ...call, metadata: hexes(call.metadata), message: bytes(call.message ?? "").toString("hex") } }),
    ...(status && {
      status: {
        ...status,
        details: (status.details ?? []).map((d) => ({ ...d, value: bytes(d.value).toString("hex") })),
        trailers: hexes(status.trailers),
        message: bytes(status.message ?? "").toString("hex"),
      },
    }),
    ...(f.payload !== undefined && { payload: bytes(f.payload).toString("hex") }),
  };
}

function hexes(values: Record<string, string> | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(values ?? {}).map(([name, v]) => [name, bytes(v).toString("hex")]));
}

for (const file of ["frames.json", "handshakes.json", "calls.json", "statuses.json"]) {
  const vectors = JSON.parse(vectorText(file)) as FrameFile;
  const limits = { entries: vectors.metadata_entries, bytes: vectors.metadata_bytes };
  for (const c of vectors.cases) {
    test(`${file}: ${c.name}`, () => {
      const b = bytes(c.hex);
      if (c.want === undefined) {
        assert.throws(() => decode(b, vectors.max_frame, limits), Violation);
        return;
      }
      const got = decode(b, vectors.max_frame, limits);
      assert.deepEqual(got, near(complete(c.want)));
      if (c.unique === true && Number.isSafeInteger(Number(c.want.call?.timeout ?? 0))) {
        assert.equal(encode(c.want).toString("hex"), b.toString("hex"));
      }
    });
  }
}

/** JavaScript's numbers hold a timeout only nearly where it is over 2^53 ns, which is 104 days. */
function near(f: WantedFrame): WantedFrame {
  return f.call === undefined ? f : { ...f, call: { ...f.call, timeout: String(BigInt(Number(f.call.timeout))) } };
}

test("the corpus of Go's fuzz target", () => {
  const lines = vectorText("corpus.txt").split("\n").filter((l) => l !== "" && !l.startsWith("#"));
  assert.ok(lines.length > 50);
  for (const line of lines) {
    const [verdict, hex] = line.split(" ");
    const b = Buffer.from(hex!, "hex");
    let accepted = true;
    try {
      decode(b, 65536, limit);
    } catch (err) {
      assert.ok(err instanceof Violation, `${line}: ${String(err)}`);
      accepted = false;
    }
    assert.equal(accepted ? "accept" : "refuse", verdict, line);
  }
});

const specification = readFileSync(join(root, "runtime/PROTOCOL.md"), "utf8");

test("the specification's table of frames", () => {
  const rows = [...specification.matchAll(/^\| ([A-Z]+) \| 0x([0-9a-f]{2}) \| (session|call) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$/gm)];
  const want = rows.map(([, name, type, on, flags, arg, payload]) => {
    const bits = flags === "none" ? 0 : flags!.split(", ").reduce((all, f) => all | flagNames.find(([n]) => n === f)![1], 0);
    return [parseInt(type!, 16), { name, flags: bits, session: on === "session", arg: arg !== "0", payload: payload !== "none" }];
  });
  const got = [...rules.entries()].filter(([, r]) => r !== undefined);
  assert.deepEqual(got, want);
});

test("the specification's example", () => {
  const example = /^## 11\..*?^## 12\./ms.exec(specification)![0];
  const blocks = [...example.matchAll(/```hex\n(.*?)```/gs)].map(([, text]) =>
    Buffer.from(text!.split("\n").map((line) => line.split(";")[0]!.replaceAll(" ", "")).join(""), "hex"),
  );
  assert.equal(blocks.length, 7);
  const types: Header["type"][] = [];
  for (const block of blocks) {
    const b = block.subarray(0, preface.length).equals(preface) ? block.subarray(preface.length) : block;
    const frame = decode(b, 16384, { entries: 32, bytes: 4096 });
    types.push(parseHeader(b, 0, 16384).type);
    assert.equal(encode(frame).toString("hex"), b.toString("hex"));
  }
  assert.deepEqual(types, [Type.Hello, Type.Hello, Type.Call, Type.Status, Type.Call, Type.Status, Type.GoAway]);
});

test("what may not be sent as metadata is refused with its reason", () => {
  for (const [values, want] of [
    [{ a: "", b: "", c: "", d: "", e: "" }, /5 entries, over the limit of 4/],
    [{ a: "x".repeat(64) }, /65 bytes, over the limit of 64/],
    [{ Upper: "" }, /metadata name "Upper"/],
    [{ "": "" }, /metadata name ""/],
    [{ a: 1 as never }, /want a string or a Uint8Array/],
  ] as const) {
    assert.throws(() => encodable(values, limit), want);
  }
});
