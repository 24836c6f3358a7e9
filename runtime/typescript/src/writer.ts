// Frames of many calls become few writes. Frames are collected until the microtasks that make them have run, and leave
// in one write; while it is on its way, more are collected for the next. CREDIT, CANCEL and the answer to PING are not
// queued but kept as a note on what they belong to, and become frames when a write begins, so that a peer that reads
// nothing cannot make them pile up.
import { headerSize, putHeader } from "./frame.js";
import type { Transport } from "./transport/transport.js";

/** How many bytes may wait before streams and large messages wait for room. */
const high = 256 << 10;
/** Most bytes of one write: with the limit for stalls, the slowest peer that is not given up. */
const writeMost = 128 << 10;
/** Small frames are copied together into slabs of this size. */
const slabSize = 64 << 10;
/** Longer payloads are written from where they are. */
const copyMost = 8 << 10;

/** What a Writer asks of and tells its session. */
export interface WriterOwner {
  /** A write is about to begin: append what is owed. */
  collect(): void;
  /** There may be room again. */
  room(): void;
  /** Writing failed; nothing more is written. */
  writeFailed(err: Error): void;
  /** The peer took nothing for the limit. */
  stalled(): void;
}

/** The outgoing half of a session. */
export class Writer {
  /** Bytes ever appended. */
  queued = 0;
  /** Of them, those that a write has begun with. */
  handed = 0;

  private written = 0;
  private failed = false;
  private scheduled = false;
  private writing = false;
  private began = 0; // when the write that is on its way did
  private stallTimer: NodeJS.Timeout | undefined;

  // What waits: whole buffers, then slab[from, to).
  private readonly out: Buffer[] = [];
  private slab = Buffer.allocUnsafeSlow(slabSize);
  private from = 0;
  private to = 0;

  constructor(
    private readonly transport: Transport,
    private readonly owner: WriterOwner,
    private readonly stallMs: number,
  ) {}

  /** Whether large messages and streams may append. */
  get hasRoom(): boolean {
    return this.queued - this.written < high;
  }

  /** Whether all that was appended has been written. */
  get empty(): boolean {
    return this.written === this.queued;
  }

  /** Appends a frame whose payload is the parts, which must not change any more. */
  append(type: number, flags: number, stream: number, arg: number, ...parts: Uint8Array[]): void {
    let length = 0;
    for (const p of parts) {
      length += p.length;
    }
    this.queued += headerSize + length;
    const copied = length <= copyMost;
    const at = this.reserve(copied ? headerSize + length : headerSize);
    putHeader(this.slab, at, type, flags, length, stream, arg);
    let to = at + headerSize;
    for (const p of parts) {
      if (copied) {
        this.slab.set(p, to);
        to += p.length;
      } else {
        this.cut();
        this.out.push(Buffer.from(p.buffer, p.byteOffset, p.byteLength));
      }
    }
    this.schedule();
  }

  /** Appends bytes as they are. */
  raw(b: Buffer): void {
    this.queued += b.length;
    this.cut();
    this.out.push(b);
    this.schedule();
  }

  /** Makes room in the slab and returns where it is. */
  private reserve(n: number): number {
    if (this.slab.length - this.to < n) {
      this.cut();
      this.slab = Buffer.allocUnsafeSlow(slabSize);
      this.from = this.to = 0;
    }
    this.to += n;
    return this.to - n;
  }

  /** Moves what is in the slab to the buffers. */
  private cut(): void {
    if (this.to > this.from) {
      this.out.push(this.slab.subarray(this.from, this.to));
      this.from = this.to;
    }
  }

  /** Has a write begin when the microtasks that run have had their say. */
  schedule(): void {
    if (!this.scheduled && !this.writing) {
      this.scheduled = true;
      process.nextTick(() => {
        this.scheduled = false;
        this.flush();
      });
    }
  }

  /** Writes what waits, unless a write is on its way, behind which it will be. */
  flush(): void {
    if (this.writing || this.failed) {
      return;
    }
    this.writing = true; // while frames are appended that are owed
    this.owner.collect();
    const buffers = this.take();
    if (buffers.length === 0) {
      this.writing = false;
      return;
    }
    this.watch();
    const handed = this.handed;
    this.transport.write(buffers, (err) => this.done(handed, err));
  }

  /** Takes what the next write has. */
  private take(): Buffer[] {
    this.cut();
    const buffers: Buffer[] = [];
    let left = writeMost;
    let n = 0;
    for (; n < this.out.length && left > 0; n++) {
      const b = this.out[n]!;
      if (b.length > left) {
        buffers.push(b.subarray(0, left));
        this.out[n] = b.subarray(left);
        this.handed += left;
        left = 0;
        break;
      }
      buffers.push(b);
      left -= b.length;
      this.handed += b.length;
    }
    this.out.splice(0, n);
    return buffers;
  }

  private done(handed: number, err: Error | null): void {
    this.writing = false;
    if (this.failed) {
      return;
    }
    if (err !== null) {
      this.stop();
      this.owner.writeFailed(err);
      return;
    }
    this.written = handed;
    this.owner.room();
    this.flush();
  }

  /** Notes when a write began, and sees to it that somebody looks whether it ends. */
  private watch(): void {
    this.began = performance.now();
    this.stallTimer ??= this.lookIn(this.stallMs);
  }

  private lookIn(ms: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.stallTimer = undefined;
      const left = this.began + this.stallMs - performance.now();
      if (!this.writing || this.failed) {
        return;
      }
      if (left > 0) {
        this.stallTimer = this.lookIn(Math.ceil(left));
      } else {
        this.owner.stalled();
      }
    }, ms).unref();
  }

  /** Writes no more. */
  stop(): void {
    this.failed = true;
    clearTimeout(this.stallTimer);
    this.out.length = 0;
    this.from = this.to;
  }

  /** Whether a farewell would be written without waiting behind something else. */
  get idle(): boolean {
    return !this.writing && !this.failed;
  }

  /** Takes all that waits, to be written with a farewell. */
  drainInto(farewell: Buffer): Buffer {
    this.owner.collect();
    this.cut();
    const all = Buffer.concat([...this.out, farewell]);
    this.handed = this.queued;
    return all;
  }
}
