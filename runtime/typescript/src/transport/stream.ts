// The transport over Node's streams: a socket, or a pair of pipes.
import type { Socket } from "node:net";
import type { Receiver, Transport } from "./transport.js";

/** How long what is left to write may take once the session has ended, in milliseconds. */
const leaveMs = 100;

/** What a StreamTransport is told of its peer. */
export interface StreamPeer {
  readonly address: string;
  readonly sameUser: boolean;
  /** Tells how the peer ended, once it has closed its end; waits for that no longer than makes sense. */
  ending?(): Promise<string | undefined>;
  /** The streams are closed. */
  closed?(): void;
}

/** A connection over one socket, or over one stream to read from and one to write to. */
export class StreamTransport implements Transport {
  readonly address: string;
  readonly sameUser: boolean;
  private closed = false;

  constructor(
    private readonly input: Socket,
    private readonly output: Socket,
    private readonly peer: StreamPeer,
  ) {
    this.address = peer.address;
    this.sameUser = peer.sameUser;
    for (const s of new Set([input, output])) {
      s.on("error", () => undefined); // until start; what happens then, start's listeners tell
    }
    keepReading(output);
  }

  start(receiver: Receiver): void {
    let over = false;
    let ending = false;
    const once = (tell: () => void): void => {
      if (!over && !this.closed) {
        over = true;
        tell();
      }
    };
    this.input.on("data", (chunk: Buffer) => receiver.data(chunk));
    this.input.on("end", () => {
      ending = true;
      if (this.peer.ending === undefined) {
        once(() => receiver.gone());
      } else {
        void this.peer.ending().then((how) => once(() => receiver.gone(how)));
      }
    });
    this.input.on("error", (err) => once(() => receiver.failed(err)));
    this.input.on("close", () => {
      if (!ending) {
        once(() => receiver.gone());
      }
    });
    this.input.resume();
  }

  write(buffers: readonly Buffer[], done: (err: Error | null) => void): void {
    const { output } = this;
    if (output.destroyed) {
      process.nextTick(done, Object.assign(new Error("the connection is closed"), { code: "EPIPE" }));
      return;
    }
    const finish = (err?: Error | null): void => {
      const failed = writeErrors.get(output) ?? err;
      done(failed ?? null);
    };
    const last = buffers.length - 1;
    if (last > 0) {
      output.cork();
    }
    for (const [i, b] of buffers.entries()) {
      if (i === last) {
        output.write(b, finish);
      } else {
        output.write(b);
      }
    }
    if (last > 0) {
      output.uncork();
    }
  }

  close(farewell?: Buffer): void {
    if (this.closed) {
      return;
    }
    this.closed = true;
    const { input, output } = this;
    if (farewell !== undefined && !output.destroyed && output.writableLength === 0) {
      output.write(farewell);
    }
    if (output.destroyed || output.writableLength === 0) {
      this.destroy();
      return;
    }
    if (farewell === undefined) {
      this.destroy(); // the peer does not read
      return;
    }
    // TLS encrypts in its own time.
    const timer = setTimeout(() => this.destroy(), leaveMs);
    output.end(() => {
      clearTimeout(timer);
      this.destroy();
    });
    input.resume();
  }

  private destroy(): void {
    this.input.destroy();
    this.output.destroy();
    this.peer.closed?.();
  }
}

const writeErrors = new WeakMap<Socket, Error>();

/**
 * Keeps a failed write from closing the socket, as Node has it do: what the peer had sent before it went could not be
 * read any more. The stream's own functions for writing are wrapped, and the error is kept for whoever writes.
 */
function keepReading(socket: Socket): void {
  const caught = (done: (err?: Error | null) => void) => (err?: Error | null) => {
    if (err !== undefined && err !== null) {
      writeErrors.set(socket, err);
    }
    done();
  };
  const write = socket._write.bind(socket);
  socket._write = (chunk, encoding, done) => write(chunk, encoding, caught(done));
  if (socket._writev !== undefined) {
    const writev = socket._writev.bind(socket);
    socket._writev = (chunks, done) => writev(chunks, caught(done));
  }
}
