// What a session runs over: bytes both ways.

/** Told what happens to a Transport, in order, never from within one of its methods. */
export interface Receiver {
  /** Bytes that came. They belong to the receiver. */
  data(chunk: Buffer): void;
  /** The peer closed or died; how, where more is known. Nothing comes behind it. */
  gone(how?: string): void;
  /** Reading failed. Nothing comes behind it. */
  failed(err: Error): void;
}

/** A connection. Nothing is read before start. */
export interface Transport {
  /** As it can be written to dial, where the peer has one. */
  readonly address: string;
  /** The peer is known to be this process's user. */
  readonly sameUser: boolean;
  start(receiver: Receiver): void;
  /**
   * Writes the buffers, which must not change until done is called: with null when they are on their way. There is one
   * write at a time. That a write failed does not end reading: what the peer had sent before it went can still come.
   */
  write(buffers: readonly Buffer[], done: (err: Error | null) => void): void;
  /** Closes now. The farewell is written first where that can be done without waiting. */
  close(farewell?: Buffer): void;
}
