/** A server's end of an address. */
export interface Listening {
  /** Where it can be dialed, with the port filled in that the system chose. */
  readonly address: string;
  /** Takes no more peers. */
  close(): void;
}
