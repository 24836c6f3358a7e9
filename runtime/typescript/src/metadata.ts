// What travels beside the messages of a call (PROTOCOL.md, section 2.6).
import { inspect } from "node:util";
import type { InspectOptions } from "node:util";

/**
 * Metadata or trailers to send: names of 1 to 255 characters of `a`-`z`, `0`-`9`, `-`, `_`, `.`; values are strings,
 * which travel as UTF-8, or bytes. A call has at most 64 entries and 8 KiB of them, names included; 32 and 4 KiB where
 * the peer is not known to be the same user.
 */
export type MetadataInit = Readonly<Record<string, string | Uint8Array>>;

/** Metadata or trailers that came from the peer. */
export class Metadata implements Iterable<[name: string, value: string]> {
  readonly #entries: ReadonlyMap<string, Buffer>;

  /** Made by the runtime. */
  constructor(entries: ReadonlyMap<string, Buffer>) {
    this.#entries = entries;
  }

  /** How many entries there are. */
  get size(): number {
    return this.#entries.size;
  }

  /** The value of a name as text, or undefined where it is not there. What is not UTF-8 becomes U+FFFD. */
  get(name: string): string | undefined {
    return this.#entries.get(name)?.toString("utf8");
  }

  /** The value of a name as it came, or undefined where it is not there. */
  bytes(name: string): Uint8Array | undefined {
    return this.#entries.get(name);
  }

  /** The names and values, as text. */
  *[Symbol.iterator](): Iterator<[string, string]> {
    for (const [name, value] of this.#entries) {
      yield [name, value.toString("utf8")];
    }
  }

  /** How console.log shows it. */
  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `Metadata ${inspect(Object.fromEntries(this), options)}`;
  }
}

/** No metadata. */
export const noMetadata = new Metadata(new Map());

/** Bounds metadata. */
export interface MetadataLimit {
  entries: number;
  /** Names and values together. */
  bytes: number;
}

/** Metadata that may be sent, in the order of the names. */
export type Encodable = readonly (readonly [name: string, value: Uint8Array])[];

const validName = /^[a-z0-9\-_.]{1,255}$/;

/** Whether a name is allowed. */
export function isName(name: string): boolean {
  return validName.test(name);
}

/** Turns what a user gave into what can be sent, or throws an Error that says why it may not be. */
export function encodable(md: MetadataInit, limit: MetadataLimit): Encodable {
  const entries = Object.entries(md).map(([name, value]): [string, Uint8Array] => [name, typeof value === "string" ? Buffer.from(value, "utf8") : value]);
  if (entries.length > limit.entries) {
    throw new Error(`metadata has ${entries.length} entries, over the limit of ${limit.entries}`);
  }
  let size = 0;
  for (const [name, value] of entries) {
    if (!isName(name)) {
      throw new Error(`metadata name ${JSON.stringify(name)}: want 1 to 255 characters of a-z, 0-9, '-', '_', '.'`);
    }
    if (!(value instanceof Uint8Array)) {
      throw new Error(`metadata ${name}: want a string or a Uint8Array, not ${typeof value}`);
    }
    size += name.length + value.length;
  }
  if (size > limit.bytes) {
    throw new Error(`metadata has ${size} bytes, over the limit of ${limit.bytes}`);
  }
  return entries.sort(([a], [b]) => (a < b ? -1 : 1));
}
