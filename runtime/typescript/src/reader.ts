// Chunks of bytes become frames.
import { headerSize, parseHeader } from "./frame.js";
import type { Header } from "./frame.js";

/**
 * Cuts what comes into frames. Payloads are slices of what came, so that nothing is copied but the one frame that
 * reaches from one chunk into the next.
 */
export class FrameReader {
  // The frame that has not come whole: its first bytes, in a buffer of headerSize or, once known, of the frame's size.
  private part: Buffer | undefined;
  private have = 0;
  private header: Header | undefined; // of part, once it has come

  /** maxFrame is the largest payload that is taken, in bytes. */
  constructor(public maxFrame: number) {}

  /** Whether a frame has begun and not come whole. */
  get inside(): boolean {
    return this.part !== undefined;
  }

  /**
   * Hands over the frames that chunk completes; whole is what its payload is a slice of. Throws the Violation of a
   * header, or what handle throws. Handle returns false to stop: then all that came behind is dropped.
   */
  push(chunk: Buffer, handle: (h: Header, payload: Buffer, whole: Buffer) => boolean): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.part === undefined && chunk.length - at >= headerSize) {
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
      const part = this.part!;
      if (this.header === undefined || this.have < part.length) {
        continue;
      }
      const h = this.header;
      this.part = this.header = undefined;
      if (!handle(h, part.subarray(headerSize), part)) {
        return;
      }
    }
  }

  /** Takes from chunk what the frame lacks, and returns how much that was. */
  private fill(chunk: Buffer, at: number): number {
    if (this.part === undefined) {
      this.part = Buffer.allocUnsafe(headerSize);
      this.have = 0;
    }
    const n = chunk.copy(this.part, this.have, at, at + this.part.length - this.have);
    this.have += n;
    if (this.header === undefined && this.have === headerSize) {
      const h = parseHeader(this.part, 0, this.maxFrame);
      this.header = h;
      // Memory for a payload that is only claimed: bounded by maxFrame, once a session.
      const whole = Buffer.allocUnsafe(headerSize + h.length);
      this.part.copy(whole);
      this.part = whole;
    }
    return n;
  }
}
