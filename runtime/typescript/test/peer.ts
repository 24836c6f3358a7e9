// A peer that writes bytes, and the end of a session that it tests.
import { connOf } from "#runtime/conn.js";
import { reasonName } from "#runtime/error.js";
import type { SessionError } from "#runtime/error.js";
import { preface } from "#runtime/frame.js";
import type { Header, Side } from "#runtime/frame.js";
import type { Implementation } from "#runtime/implement.js";
import { sessionLimits } from "#runtime/limits.js";
import type { Limits } from "#runtime/limits.js";
import { FrameReader } from "#runtime/reader.js";
import { ServedTable } from "#runtime/serve.js";
import { Session } from "#runtime/session.js";
import type { Logger } from "#runtime/session.js";
import type { Receiver, Transport } from "#runtime/transport/transport.js";
import type { Conn } from "ipcgen";

/** A frame that the end under test has sent. */
export interface Sent {
  header: Header;
  payload: Buffer;
}

/** What is said goes nowhere. */
export const quiet: Logger = { warn: () => undefined, error: () => undefined };

/** The test's end of a transport: what the end under test writes comes out as frames, what the test sends goes in. */
export class RawPeer implements Transport {
  readonly address = "test:";
  readonly sameUser = true;
  /** The end under test has closed the transport. */
  closed = false;
  /** Writes are kept back, as by a peer that does not read. */
  stuck = false;
  private receiver: Receiver | undefined;
  private readonly reader = new FrameReader(1 << 24);
  private lacks = preface.length; // of the preface
  private held: NodeJS.Timeout | undefined;
  private readonly frames: Sent[] = [];
  private wake: (() => void) | undefined;

  start(receiver: Receiver): void {
    this.receiver = receiver;
  }

  write(buffers: readonly Buffer[], done: (err: Error | null) => void): void {
    this.take(Buffer.concat(buffers));
    if (this.stuck) {
      this.held = setInterval(() => undefined, 1000); // a socket would keep the process alive
    } else {
      setImmediate(done, null);
    }
  }

  close(farewell?: Buffer): void {
    if (farewell !== undefined) {
      this.take(farewell);
    }
    this.closed = true;
    clearInterval(this.held);
    this.wake?.();
  }

  private take(b: Buffer): void {
    const skip = Math.min(this.lacks, b.length);
    this.lacks -= skip;
    this.reader.push(b.subarray(skip), (header, payload) => {
      this.frames.push({ header, payload: Buffer.from(payload) });
      return true;
    });
    this.wake?.();
  }

  /** Sends bytes, so many at a time. */
  send(b: Buffer, size = b.length): void {
    for (let at = 0; at < b.length && !this.closed; at += size) {
      this.receiver!.data(Buffer.from(b.subarray(at, at + size)));
    }
  }

  /** Closes the test's direction. */
  end(): void {
    if (!this.closed) {
      this.receiver!.gone();
    }
  }

  /** The next frame of a type that is not among those; undefined when the end under test has closed. */
  async next(...passedOver: number[]): Promise<Sent | undefined> {
    for (;;) {
      const frame = this.frames.shift();
      if (frame !== undefined && !passedOver.includes(frame.header.type)) {
        return frame;
      }
      if (frame === undefined) {
        if (this.closed) {
          return undefined;
        }
        await new Promise<void>((resolve) => (this.wake = resolve));
      }
    }
  }
}

/** One end of a session that a RawPeer talks to. */
export class UnderTest {
  /** The session, once hands are shaken. */
  readonly conn: Promise<Conn>;
  /** Why it ended, or did not begin, in words. */
  readonly ended: Promise<string>;

  constructor(peer: Transport, side: Side, limits: Limits, services: readonly Implementation[]) {
    const methods = new ServedTable();
    for (const { id, served } of services.flatMap((s) => s.methods)) {
      methods.add(id, served);
    }
    const config = { side, limits: sessionLimits(limits, true), methods, services: services.map(({ name, hash }) => ({ name, hash })), log: quiet };
    const session = Session.start(peer, config);
    this.conn = session.then(connOf);
    this.conn.catch(() => undefined);
    this.ended = session.then(
      async (s) => reasonName((await s.done).reason),
      (err: SessionError) => reasonName(err.reason),
    );
  }
}
