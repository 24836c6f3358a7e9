// What a testee knows by name, and what it tells: runtime/interop/README.md.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Conn } from "ipcgen";
import type { ObservationSchema } from "../../../testdata/interop/typescript/interop/v1/control.ipc.js";

/** What goes by a name: a gate, and how far a call or a handler is. */
export class Named {
  sent = 0n;
  received = 0n;
  readonly opened: Promise<void>;
  open!: () => void;

  constructor() {
    this.opened = new Promise((resolve) => (this.open = resolve));
  }
}

const names = new Map<string, Named>();

/** What goes by a name; it comes to be when first mentioned. */
export function named(name: string): Named {
  let n = names.get(name);
  if (n === undefined) {
    n = new Named();
    names.set(name, n);
  }
  return n;
}

type Observation = NonNullable<NonNullable<MessageInitShape<typeof ObservationSchema>>["what"]>;

const observed: Observation[] = [];
let wake: (() => void) | undefined;
let over = false;

/** Notes that something has happened. */
export function observe(what: Observation): void {
  observed.push(what);
  wake?.();
}

/** Ends the observations. */
export function endObservations(): void {
  over = true;
  wake?.();
}

/** What happens, from the start of the program on. */
export async function* observations(): AsyncGenerator<{ what: Observation }> {
  for (let i = 0; ; i++) {
    while (i === observed.length) {
      if (over) {
        return;
      }
      await new Promise<void>((resolve) => (wake = resolve));
    }
    yield { what: observed[i]! };
  }
}

const sessions = new Map<bigint, Conn>();

/** Numbers a session, and observes its end. */
export function number(conn: Conn): bigint {
  const n = BigInt(sessions.size + 1);
  sessions.set(n, conn);
  void conn.ended.then((why) => observe({ case: "ended", value: { session: n, reason: why.reason } }));
  return n;
}

/** The session of a number. */
export function session(n: bigint): Conn {
  const conn = sessions.get(n);
  if (conn === undefined) {
    throw new Error(`testee: no session ${n}`);
  }
  return conn;
}

/** Closes all sessions. */
export function closeAll(): void {
  for (const conn of sessions.values()) {
    conn.close();
  }
}
