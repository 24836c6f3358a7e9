// What the peer may cost this side (PROTOCOL.md, section 3).
import type { MetadataLimit } from "./metadata.js";

/**
 * Limits bound what a peer may cost. What is not set has its default, which is smaller for peers that are not known to
 * be the same user (in brackets). Both sides keep to the smaller value of the first four. Sizes are in bytes.
 */
export interface Limits {
  /** One message: 4 MiB (1 MiB); at most 2040 MiB. */
  maxMessage?: number;
  /** One frame on the wire: 128 KiB (16 KiB). */
  maxFrame?: number;
  /** Calls that the peer may have running: 256 (32). */
  calls?: number;
  /** What may be on its way on a new stream: 128 KiB (32 KiB). */
  window?: number;
  /** Messages larger than a frame that a session may hold: 16 MiB (2 MiB). */
  assembly?: number;
  /** How deep messages may nest: 64 (32). */
  depth?: number;
  /** Milliseconds for the peer to say hello: 5000. */
  handshakeMs?: number;
  /** Milliseconds for the peer to take something of what is sent: 30000 (10000). */
  stallMs?: number;
  /** Milliseconds for running calls when this side shuts down: 5000. */
  graceMs?: number;
  /** Sessions that a server has at most at a time: 1024. */
  sessions?: number;
}

/** The limits of one session, all set. */
export interface SessionLimits extends Required<Omit<Limits, "sessions">> {
  /** The sum by which a session's windows may grow beyond the initial ones. */
  raised: number;
  metadata: MetadataLimit;
}

const trusted: SessionLimits = {
  maxFrame: 128 << 10,
  maxMessage: 4 << 20,
  calls: 256,
  window: 128 << 10,
  raised: 8 << 20,
  assembly: 16 << 20,
  metadata: { entries: 64, bytes: 8 << 10 },
  depth: 64,
  handshakeMs: 5000,
  stallMs: 30_000,
  graceMs: 5000,
};

const untrusted: SessionLimits = {
  maxFrame: 16 << 10,
  maxMessage: 1 << 20,
  calls: 32,
  window: 32 << 10,
  raised: 1 << 20,
  assembly: 2 << 20,
  metadata: { entries: 32, bytes: 4 << 10 },
  depth: 32,
  handshakeMs: 5000,
  stallMs: 10_000,
  graceMs: 5000,
};

/** The least max_frame and max_message, and a quarter of the least window. */
export const minFrame = 4 << 10;

/** Connections of a server that have not said HELLO. */
export const mostShaking = 64;

/** The default of Limits.sessions. */
export const mostSessions = 1024;

// Between what bounds a limit is used; the least of assembly is maxMessage.
const ranges: [keyof Limits & keyof SessionLimits, number, number][] = [
  ["maxFrame", minFrame, (16 << 20) - 1],
  ["maxMessage", minFrame, 2040 << 20],
  ["calls", 1, 1 << 15],
  ["window", 4 * minFrame, 2 ** 30],
  ["assembly", minFrame, 2 ** 40],
  ["depth", 1, 10_000],
  ["handshakeMs", 1, 2 ** 31 - 1],
  ["stallMs", 1, 2 ** 31 - 1],
  ["graceMs", 1, 2 ** 31 - 1],
];

/** Fills in what is not set and brings the rest into its range. Throws a TypeError for what is no number. */
export function sessionLimits(l: Limits, sameUser: boolean): SessionLimits {
  const all: SessionLimits = { ...(sameUser ? trusted : untrusted) };
  for (const [name, least, most] of ranges) {
    const v = l[name];
    if (v === undefined) {
      continue;
    }
    if (typeof v !== "number" || !(v > 0)) {
      throw new TypeError(`limits.${name} is ${String(v)}: want a number above 0`);
    }
    all[name] = Math.min(Math.max(Math.floor(v), least), most);
  }
  all.assembly = Math.max(all.assembly, all.maxMessage);
  return all;
}

/** What both sides keep to: the smaller of each limit. */
export interface Agreed {
  maxFrame: number;
  maxMessage: number;
  slots: number;
  window: number;
}
