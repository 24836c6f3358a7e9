// Two ends in one process, for tests.
import type { Receiver, Transport } from "./transport.js";

/** One end of a pair. */
class End implements Transport {
  readonly address = "local:";
  readonly sameUser = true;
  other!: End;
  private receiver: Receiver | undefined;
  private closed = false;
  private waiting: (() => void)[] = []; // came before start

  start(receiver: Receiver): void {
    this.receiver = receiver;
    for (const tell of this.waiting.splice(0)) {
      setImmediate(tell);
    }
  }

  write(buffers: readonly Buffer[], done: (err: Error | null) => void): void {
    const copy = Buffer.concat(buffers);
    const { other } = this;
    other.later(() => {
      if (!other.closed) {
        other.receiver!.data(copy);
      }
    });
    setImmediate(done, null);
  }

  close(farewell?: Buffer): void {
    if (this.closed) {
      return;
    }
    if (farewell !== undefined) {
      this.write([farewell], () => undefined);
    }
    this.closed = true;
    const { other } = this;
    other.later(() => {
      if (!other.closed) {
        other.receiver!.gone();
      }
    });
  }

  /** Tells this end something, in order, not from within the other's method. */
  private later(tell: () => void): void {
    if (this.receiver === undefined) {
      this.waiting.push(tell);
    } else {
      setImmediate(tell);
    }
  }
}

/** Two ends of a connection without a wire. */
export function pair(): [Transport, Transport] {
  const a = new End();
  const b = new End();
  a.other = b;
  b.other = a;
  return [a, b];
}
