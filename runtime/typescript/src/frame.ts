// The header of frames, and stream ids (PROTOCOL.md, section 1). It has no state, and it checks everything that can be
// said of one header by itself; what depends on the frames before it is the session's to check.

/** The length of a header in bytes. */
export const headerSize = 16;

/** What each side sends before its first frame. */
export const preface = Buffer.from("IPCGEN\r\n", "latin1");

/** The types of frames. */
export const Type = {
  Hello: 0x01,
  GoAway: 0x02,
  Ping: 0x03,
  Call: 0x10,
  Data: 0x11,
  Status: 0x12,
  Cancel: 0x13,
  Credit: 0x14,
} as const;

/** The flags of a header. */
export const Flag = {
  /** No more messages this way. */
  End: 0x01,
  /** The message goes on in the next DATA frame of the stream. */
  More: 0x02,
  /** Carries message bytes. */
  Msg: 0x04,
  /** Answers a PING. */
  Ack: 0x08,
  /** The call's handler has not run. */
  NotExecuted: 0x10,
} as const;

/** The fixed part of a frame. */
export interface Header {
  type: number;
  flags: number;
  /** Payload bytes that follow. */
  length: number;
  stream: number;
  /** STATUS: code; CREDIT: bytes; CANCEL, GOAWAY: reason. */
  arg: number;
}

/** What the peer sent cannot have come from a runtime that keeps to the protocol: the session ends. */
export class Violation extends Error {}

/** What the header of one type may say. */
export interface Rule {
  name: string;
  flags: number;
  /** The stream is 0; every other type names one. */
  session: boolean;
  arg: boolean;
  payload: boolean;
}

/** By type; a type that is not there is none. */
export const rules: readonly (Rule | undefined)[] = table([
  [Type.Hello, { name: "HELLO", flags: 0, session: true, arg: false, payload: true }],
  [Type.GoAway, { name: "GOAWAY", flags: 0, session: true, arg: true, payload: true }],
  [Type.Ping, { name: "PING", flags: Flag.Ack, session: true, arg: false, payload: false }],
  [Type.Call, { name: "CALL", flags: Flag.End | Flag.Msg, session: false, arg: false, payload: true }],
  [Type.Data, { name: "DATA", flags: Flag.End | Flag.More | Flag.Msg, session: false, arg: false, payload: true }],
  [Type.Status, { name: "STATUS", flags: Flag.End | Flag.Msg | Flag.NotExecuted, session: false, arg: true, payload: true }],
  [Type.Cancel, { name: "CANCEL", flags: 0, session: false, arg: true, payload: false }],
  [Type.Credit, { name: "CREDIT", flags: 0, session: false, arg: true, payload: false }],
]);

function table(entries: [number, Rule][]): (Rule | undefined)[] {
  const all = new Array<Rule | undefined>(256).fill(undefined);
  for (const [type, rule] of entries) {
    all[type] = rule;
  }
  return all;
}

/** The name of a type that the specification uses. */
export function typeName(type: number): string {
  return rules[type]?.name ?? `type ${hex(type)}`;
}

/** Writes a header to b. */
export function putHeader(b: Buffer, at: number, type: number, flags: number, length: number, stream: number, arg: number): void {
  b[at] = type;
  b[at + 1] = flags;
  b[at + 2] = 0;
  b[at + 3] = 0;
  b.writeUInt32LE(length, at + 4);
  b.writeUInt32LE(stream, at + 8);
  b.writeUInt32LE(arg, at + 12);
}

/** Reads the header at a place of b, where there are enough bytes. Throws a Violation. */
export function parseHeader(b: Buffer, at: number, maxFrame: number): Header {
  const h: Header = {
    type: b[at]!,
    flags: b[at + 1]!,
    length: b.readUInt32LE(at + 4),
    stream: b.readUInt32LE(at + 8),
    arg: b.readUInt32LE(at + 12),
  };
  const rule = rules[h.type];
  if (rule === undefined) {
    throw new Violation(`frame of unknown type ${hex(h.type)}`);
  }
  if (
    (h.flags & ~rule.flags) !== 0 ||
    b[at + 2] !== 0 ||
    b[at + 3] !== 0 ||
    h.length > maxFrame ||
    rule.session !== (h.stream === 0) ||
    (!rule.session && generationOf(h.stream) === 0) ||
    (!rule.arg && h.arg !== 0) ||
    (!rule.payload && h.length !== 0) ||
    ((h.flags & Flag.More) !== 0 && (h.flags & (Flag.End | Flag.Msg)) !== Flag.Msg)
  ) {
    throw new Violation(`${rule.name} frame ${broken(b, at, h, rule, maxFrame)}`);
  }
  return h;
}

/** Says which rule a header breaks. */
function broken(b: Buffer, at: number, h: Header, rule: Rule, maxFrame: number): string {
  if ((h.flags & ~rule.flags) !== 0) {
    return `with the flags ${hex(h.flags)}, of which it may have ${hex(rule.flags)}`;
  }
  if (b[at + 2] !== 0) {
    return `with ${b[at + 2]} file descriptors, which were not negotiated`;
  }
  if (b[at + 3] !== 0) {
    return `whose reserved byte is ${hex(b[at + 3]!)}, not 0`;
  }
  if (h.length > maxFrame) {
    return `of ${h.length} bytes, over the limit of ${maxFrame}`;
  }
  if (rule.session !== (h.stream === 0)) {
    return `on stream ${streamName(h.stream)}`;
  }
  if (!rule.session && generationOf(h.stream) === 0) {
    return `on stream ${streamName(h.stream)}, whose generation is 0`;
  }
  if (!rule.arg && h.arg !== 0) {
    return `whose last word is ${h.arg}, not 0`;
  }
  if (!rule.payload && h.length !== 0) {
    return `with ${h.length} bytes of payload, which has none`;
  }
  return `with the flags ${hex(h.flags)}: MORE goes with MSG and without END`;
}

function hex(byte: number): string {
  return "0x" + byte.toString(16).padStart(2, "0");
}

/** The side of a session that a stream belongs to: 0 dialed, 1 listened. */
export type Side = 0 | 1;

/** The id of a slot's generation. */
export function streamID(slot: number, side: Side, generation: number): number {
  return (slot | (side << 15) | (generation << 16)) >>> 0;
}

/** The index among its side's slots. */
export function slotOf(stream: number): number {
  return stream & 0x7fff;
}

/** The side that opened the stream. */
export function sideOf(stream: number): Side {
  return ((stream >>> 15) & 1) as Side;
}

/** How often the slot had been used, from 1, skipping 0. */
export function generationOf(stream: number): number {
  return stream >>> 16;
}

/** The generation after another. */
export function nextGeneration(generation: number): number {
  return generation === 0xffff ? 1 : generation + 1;
}

/** A stream's id as errors show it. */
export function streamName(stream: number): string {
  return "0x" + stream.toString(16);
}
