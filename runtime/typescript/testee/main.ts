// The testee of the conformance suite: runtime/interop/README.md.
//
//	main.js CONTROL            serves Testee at CONTROL until its peer is gone
//	main.js CONTROL SERVE      serves Testee at CONTROL, and Test at SERVE until the peer of that is gone
import { readFileSync } from "node:fs";
import { dial, implement, serve, SessionError } from "ipcgen";
import type { ConnOptions, Init, Server } from "ipcgen";
import { Testee } from "../../../testdata/interop/typescript/interop/v1/control.ipc.js";
import type { NoSession, Options } from "../../../testdata/interop/typescript/interop/v1/control.ipc.js";
import { call, cancel } from "./calls.js";
import { test } from "./handlers.js";
import { closeAll, endObservations, named, number, observations, observe, session } from "./state.js";

let server: Server | undefined;

/** What an endpoint is told. */
function options(o: Options | undefined): ConnOptions {
  const set = (n: number | undefined): number | undefined => (n === 0 ? undefined : n);
  const limits = {
    maxMessage: set(o?.maxMessage),
    maxFrame: set(o?.maxFrame),
    calls: set(o?.calls),
    window: set(o?.window),
    graceMs: set(o?.graceMs),
  };
  const read = (name: string): Buffer | undefined => (name === "" ? undefined : readFileSync(name));
  const tls =
    o === undefined || o.certificate + o.authorities === ""
      ? undefined
      : {
          ...{ cert: read(o.certificate), key: read(o.key), ca: read(o.authorities) },
          servername: "localhost",
          requestCert: o.authorities !== "",
        };
  return {
    limits: Object.fromEntries(Object.entries(limits).filter(([, v]) => v !== undefined)),
    tls: tls && (Object.fromEntries(Object.entries(tls).filter(([, v]) => v !== undefined)) as typeof tls & object),
    log: { warn: () => undefined, error: () => undefined },
  };
}

/** Begins to serve Test. */
async function serveTest(address: string, o: Options | undefined): Promise<Server> {
  server = await serve(address, [test()], {
    ...options(o),
    connected: (conn) => observe({ case: "connected", value: number(conn) }),
  });
  return server;
}

function noSession(err: unknown): Init<NoSession> {
  return { reason: err instanceof SessionError ? err.reason : 0, message: (err as Error).message };
}

const testee = implement(Testee, {
  async serve({ address, options: o }) {
    try {
      return { address: (await serveTest(address, o)).address };
    } catch (err) {
      return { failure: noSession(err) };
    }
  },
  async stop() {
    await server?.shutdown();
    return {};
  },
  async dial({ address, options: o }) {
    try {
      return { session: number(await dial(address, { ...options(o), services: [test()] })) };
    } catch (err) {
      return { failure: noSession(err) };
    }
  },
  async shutdown({ session: n }) {
    await session(n).shutdown();
    return {};
  },
  close({ session: n }) {
    session(n).close();
    return {};
  },
  call: (request) => call(request, session(request.session)),
  async cancel({ name }) {
    await cancel(name);
    return {};
  },
  open({ name }) {
    named(name).open();
    return {};
  },
  progress({ name }) {
    const { sent, received } = named(name);
    return { sent, received };
  },
  observe: observations,
});

const [control, at] = process.argv.slice(2);
if (control === undefined) {
  console.error("usage: main.js CONTROL [SERVE]");
  process.exit(2);
}
const controlled = await serve(control, [testee]);
await (at === undefined ? controlled.finished : (await serveTest(at, undefined)).finished);
endObservations();
closeAll();
await Promise.all([controlled.shutdown(), server?.shutdown()]);
process.exit(0);
