// The payloads that have a form of their own (PROTOCOL.md, section 2): to bytes and back, without state.
import { Violation } from "./frame.js";
import { isName, Metadata, noMetadata } from "./metadata.js";
import type { Encodable, MetadataLimit } from "./metadata.js";

// Limits of payloads in bytes. They are the same for every peer; those that depend on who the peer is are the session's.
export const maxHello = 4096;
export const maxStatusText = 1024;
/** All details of a STATUS together. */
export const maxDetails = 16 << 10;
export const maxGoAwayText = 1024;
/** A service's or a message type's full name. */
export const maxName = 512;

/** Takes values off the front of a payload. Throws a Violation where it is too short. */
class Reader {
  constructor(
    readonly b: Buffer,
    public at = 0,
  ) {}

  take(n: number): Buffer {
    if (n > this.b.length - this.at) {
      throw new Violation("payload ends in the middle");
    }
    this.at += n;
    return this.b.subarray(this.at - n, this.at);
  }

  u8(): number {
    return this.take(1)[0]!;
  }

  u16(): number {
    return this.take(2).readUInt16LE();
  }

  u32(): number {
    return this.take(4).readUInt32LE();
  }

  u64(): bigint {
    return this.take(8).readBigUInt64LE();
  }

  /** The rest. */
  rest(): Buffer {
    return this.b.subarray(this.at);
  }

  metadata(limit: MetadataLimit): Metadata {
    const n = this.u16();
    if (n === 0) {
      return noMetadata;
    }
    if (n > limit.entries) {
      throw new Violation(`metadata of ${n} entries, over the limit of ${limit.entries}`);
    }
    const entries = new Map<string, Buffer>();
    let size = 0;
    for (let i = 0; i < n; i++) {
      const name = this.take(this.u8()).toString("latin1");
      const value = this.take(this.u16());
      size += name.length + value.length;
      if (size > limit.bytes) {
        throw new Violation(`metadata over the limit of ${limit.bytes} bytes`);
      }
      if (!isName(name)) {
        throw new Violation(`metadata with the name ${JSON.stringify(name)}`);
      }
      if (entries.has(name)) {
        throw new Violation(`metadata with the name ${JSON.stringify(name)} twice`);
      }
      entries.set(name, Buffer.from(value)); // a copy: it may be kept longer than what it came in
    }
    return new Metadata(entries);
  }
}

/** Collects values for a payload. */
class Writer {
  private readonly parts: Uint8Array[] = [];
  private size = 0;

  bytes(b: Uint8Array): this {
    this.parts.push(b);
    this.size += b.length;
    return this;
  }

  u8(v: number): this {
    return this.bytes(Uint8Array.of(v));
  }

  u16(v: number): this {
    const b = Buffer.allocUnsafe(2);
    b.writeUInt16LE(v);
    return this.bytes(b);
  }

  u32(v: number): this {
    const b = Buffer.allocUnsafe(4);
    b.writeUInt32LE(v);
    return this.bytes(b);
  }

  u64(v: bigint): this {
    const b = Buffer.allocUnsafe(8);
    b.writeBigUInt64LE(v);
    return this.bytes(b);
  }

  metadata(md: Encodable): this {
    this.u16(md.length);
    for (const [name, value] of md) {
      this.u8(name.length).bytes(Buffer.from(name, "latin1")).u16(value.length).bytes(value);
    }
    return this;
  }

  done(): Buffer {
    return Buffer.concat(this.parts, this.size);
  }
}

/** What a side says of itself. */
export interface Hello {
  minVersion: number;
  maxVersion: number;
  features: number;
  /** Bytes of payload that it takes in one frame. */
  maxFrame: number;
  /** Bytes of a message that it takes. */
  maxMessage: number;
  /** Calls that it takes at a time. */
  maxSlots: number;
  /** Bytes of DATA frames that it takes on a new stream. */
  window: number;
  /** Its half of the session's id. */
  session: bigint;
  /** What it runs on, for people: "ipcgen-node". */
  agent: string;
  services: { name: string; hash: bigint }[];
}

/** Returns a HELLO's payload. */
export function encodeHello(p: Hello): Buffer {
  const w = new Writer().u16(p.minVersion).u16(p.maxVersion);
  for (const v of [p.features, p.maxFrame, p.maxMessage, p.maxSlots, p.window]) {
    w.u32(v);
  }
  w.u64(p.session).u8(Buffer.byteLength(p.agent)).bytes(Buffer.from(p.agent)).u16(p.services.length);
  for (const s of p.services) {
    w.u16(Buffer.byteLength(s.name)).bytes(Buffer.from(s.name)).u64(s.hash);
  }
  return w.done();
}

/** Reads a HELLO's payload. What follows the last service belongs to later versions and is passed over. */
export function parseHello(b: Buffer): Hello {
  const r = new Reader(b);
  const p: Hello = {
    minVersion: r.u16(),
    maxVersion: r.u16(),
    features: r.u32(),
    maxFrame: r.u32(),
    maxMessage: r.u32(),
    maxSlots: r.u32(),
    window: r.u32(),
    session: r.u64(),
    agent: "",
    services: [],
  };
  p.agent = utf8(r.take(r.u8()), "agent");
  for (let n = r.u16(); n > 0; n--) {
    const name = r.take(r.u16());
    if (name.length > maxName) {
      throw new Violation(`service with a name of ${name.length} bytes`);
    }
    p.services.push({ name: utf8(name, "service with a name that"), hash: r.u64() });
  }
  if (p.minVersion > p.maxVersion || p.minVersion === 0) {
    throw new Violation(`versions from ${p.minVersion} to ${p.maxVersion}`);
  }
  return p;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function utf8(b: Buffer, what: string): string {
  try {
    return decoder.decode(b);
  } catch {
    throw new Violation(`${what} is not UTF-8`);
  }
}

/** The head of a CALL; message bytes follow it. */
export interface CallHead {
  /** The method's id, its lower and its upper half. */
  methodLow: number;
  methodHigh: number;
  /** Nanoseconds from now, as near as a number comes to them; 0 is none. */
  timeout: number;
  metadata: Metadata;
}

/** Returns the head of a CALL. */
export function encodeCall(method: Uint8Array, timeout: number, md: Encodable | undefined): Buffer {
  const b = Buffer.allocUnsafe(18);
  b.set(method, 0);
  b.writeUInt32LE(timeout % 2 ** 32, 8);
  b.writeUInt32LE(Math.min(Math.floor(timeout / 2 ** 32), 0x7fffffff), 12);
  if (md === undefined) {
    b.writeUInt16LE(0, 16);
    return b;
  }
  return Buffer.concat([b.subarray(0, 16), new Writer().metadata(md).done()]);
}

/** Reads the head of a CALL and returns the message bytes behind it. */
export function parseCall(b: Buffer, limit: MetadataLimit): { head: CallHead; message: Buffer } {
  const r = new Reader(b);
  const methodLow = r.u32();
  const methodHigh = r.u32();
  const timeout = r.u32() + r.u32() * 2 ** 32;
  return { head: { methodLow, methodHigh, timeout, metadata: r.metadata(limit) }, message: r.rest() };
}

/** A message that says more about an error. */
export interface Detail {
  /** The full name of the message. */
  type: string;
  /** Its wire format. */
  value: Uint8Array;
}

/** The head of a STATUS; message bytes follow it. */
export interface StatusHead {
  text: string;
  details: readonly Detail[];
  trailers: Metadata;
}

/** The head of a STATUS that says nothing but its code. */
export const emptyStatus = Buffer.alloc(6);

/** Returns the head of a STATUS. */
export function encodeStatus(text: string, details: readonly Detail[], trailers: Encodable): Buffer {
  const w = new Writer().u16(Buffer.byteLength(text)).bytes(Buffer.from(text)).u16(details.length);
  for (const d of details) {
    w.u16(Buffer.byteLength(d.type)).bytes(Buffer.from(d.type)).u16(d.value.length).bytes(d.value);
  }
  return w.metadata(trailers).done();
}

const noDetails: readonly Detail[] = [];
const plainStatus: StatusHead = { text: "", details: noDetails, trailers: noMetadata };

/** Reads the head of a STATUS and returns the message bytes behind it. */
export function parseStatus(b: Buffer, limit: MetadataLimit): { head: StatusHead; message: Buffer } {
  if (b.length >= 6 && b.readUInt32LE(0) === 0 && b.readUInt16LE(4) === 0) {
    return { head: plainStatus, message: b.subarray(6) };
  }
  const r = new Reader(b);
  const text = r.take(r.u16());
  const details: Detail[] = [];
  let size = 0;
  for (let n = r.u16(); n > 0; n--) {
    const type = r.take(r.u16());
    const value = r.take(r.u16());
    size += type.length + value.length;
    if (size > maxDetails) {
      throw new Violation(`error details over the limit of ${maxDetails} bytes`);
    }
    if (type.length > maxName) {
      throw new Violation(`error detail with a type's name of ${type.length} bytes`);
    }
    details.push({ type: utf8(type, "an error detail's type"), value: Uint8Array.from(value) });
  }
  const trailers = r.metadata(limit);
  if (text.length > maxStatusText) {
    throw new Violation(`status text of ${text.length} bytes, over the limit of ${maxStatusText}`);
  }
  return { head: { text: utf8(text, "status text"), details, trailers }, message: r.rest() };
}

/** Returns text as a frame may carry it: at most so many bytes of UTF-8. */
export function cutText(text: string, most: number): string {
  const b = Buffer.from(text, "utf8"); // a lone surrogate has become U+FFFD
  if (b.length <= most) {
    return b.toString("utf8");
  }
  let end = most;
  while (end > 0 && (b[end]! & 0xc0) === 0x80) {
    end--;
  }
  return b.toString("utf8", 0, end);
}

/** The details that fit into a STATUS, first ones first. */
export function cutDetails(details: readonly Detail[]): readonly Detail[] {
  let size = 0;
  for (const [i, d] of details.entries()) {
    size += Buffer.byteLength(d.type) + d.value.length;
    if (size > maxDetails) {
      return details.slice(0, i);
    }
  }
  return details;
}

/** What a peer wrote for people, cut to the limit and without what would disturb a terminal. */
export function safeText(b: Buffer): string {
  const text = b.toString("utf8", 0, Math.min(b.length, maxGoAwayText));
  return text.replace(/[\u0000-\u001f\u007f-\u009f\ufffd\u202a-\u202e\u2066-\u2069]/g, "?");
}
