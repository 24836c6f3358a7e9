// Chunks of bytes become frames.
import { headerSize, parseHeader } from "./frame.js";
import type { Header } from "./frame.js";

/**
 * Takes a frame. Whole is what payload is a slice of, where it may be kept; else payload is only lent, and must be copied to
 * be kept. Returns false to stop: then all that came behind is dropped.
 */
export type Handle = (h: Header, payload: Buffer, whole: Buffer | undefined) => boolean;

/**
 * Cuts what comes into frames. Payloads are slices of what came, so that nothing is copied but the one frame that
 * reaches from one chunk into the next; that one is put together in a buffer that the next such frame uses again.
 */
export class FrameReader {
  private buffer = Buffer.allocUnsafe(headerSize);
  private have = 0; // bytes of the frame that has not come whole, at the start of buffer
  private header: Header | undefined; // of that frame, once it has come

  /** maxFrame is the largest payload that is taken, in bytes. */
  constructor(public maxFrame: number) {}

  /** Whether a frame has begun and not come whole. */
  get inside(): boolean {
    return this.have > 0;
  }

  /** Hands over the frames that chunk completes. Throws the Violation of a header, or what handle throws. */
  push(chunk: Buffer, handle: Handle): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.have === 0 && chunk.length - at >= headerSize) {
        const h = parseHeader(chunk, at, this.maxFrame);
        const end = at + headerSize + h.length;
        if (end <= chunk.length) {
          const payload = chunk.subarray(at + headerSize, end);
          at = end;
          if (!handle(h, payload, chunk)) {
            return;
          }
          continue;
        }
      }
      at += this.fill(chunk, at);
      const h = this.header;
      if (h === undefined || this.have < headerSize + h.length) {
        continue;
      }
      this.have = 0;
      this.header = undefined;
      if (!handle(h, this.buffer.subarray(headerSize, headerSize + h.length), undefined)) {
        return;
      }
    }
  }

  /** Takes from chunk what the frame lacks, and returns how much that was. */
  private fill(chunk: Buffer, at: number): number {
    const want = headerSize + (this.header?.length ?? 0);
    const n = chunk.copy(this.buffer, this.have, at, at + want - this.have);
    this.have += n;
    if (this.header === undefined && this.have === headerSize) {
      this.header = parseHeader(this.buffer, 0, this.maxFrame);
      this.grow(headerSize + this.header.length);
    }
    return n;
  }

  /** Makes room for a frame; at most for one of maxFrame, once a session. */
  private grow(size: number): void {
    if (size > this.buffer.length) {
      const bigger = Buffer.allocUnsafeSlow(Math.min(Math.max(size, 2 * this.buffer.length), headerSize + this.maxFrame));
      this.buffer.copy(bigger, 0, 0, this.have);
      this.buffer = bigger;
    }
  }
}
