// Addresses become connections. There is one syntax for dialing and serving, that of every language's runtime:
//
//	unix:PATH              a unix socket
//	tcp:HOST:PORT          TCP; an IPv6 host stands in brackets; serving on port 0 takes a free one
//	tls:HOST:PORT          TCP with TLS, as the option tls says
//	stdio:                 this process's stdin and stdout, for a program that its peer started
//	fd:N or fd:R,W         descriptors that this process inherited: one socket, or one to read and one to write
//	exec:PROGRAM ARGS      a program to start, over its stdin and stdout; quotes and backslashes as in a shell
//	shm:PATH               a unix socket that peers may leave for shared memory; Node has none, so it stays there
//
// An address of one connection (stdio, fd, exec) can be served on as well: it has that one peer.
import { isIPv6 } from "node:net";
import type { Writable } from "node:stream";
import type { ConnectionOptions, TlsOptions } from "node:tls";
import type { Logger } from "./session.js";
import type { Listening } from "./transport/listening.js";
import { descriptors, exec, stdio } from "./transport/pipe.js";
import { dialTCP, listenTCP } from "./transport/tcp.js";
import type { HostPort } from "./transport/tcp.js";
import type { Transport } from "./transport/transport.js";
import { dialUnix, listenUnix } from "./transport/unix.js";

/** What an address cannot say. */
export interface AddressOptions {
  /** For tls: addresses, where it must be set: what Node's tls.connect or tls.createServer takes. TLS 1.3 unless it says otherwise. */
  tls?: (ConnectionOptions & TlsOptions) | undefined;
  /** Where the stderr goes of a program that exec: starts; by default to this process's. */
  stderr?: Writable | undefined;
}

type Accept = (t: Transport) => void;

/** A kind of address. One of a single connection has no listen. */
interface Scheme {
  form: string;
  dial(rest: string, o: AddressOptions, signal: AbortSignal | undefined): Promise<Transport>;
  listen?(rest: string, o: AddressOptions, accept: Accept): Promise<Listening>;
  check(rest: string, o: AddressOptions): void;
}

const unix: Scheme = {
  form: "unix:PATH",
  check: path,
  dial: (rest, _, signal) => dialUnix(rest, signal),
  listen: (rest, _, accept) => listenUnix(rest, accept),
};

const schemes: Record<string, Scheme> = {
  unix,
  tcp: {
    form: "tcp:HOST:PORT",
    check: hostPort,
    dial: (rest, _, signal) => dialTCP(hostPort(rest), undefined, signal),
    listen: (rest, _, accept) => listenTCP(hostPort(rest), undefined, accept),
  },
  tls: {
    form: "tls:HOST:PORT",
    check: (rest, o) => {
      if (o.tls === undefined) {
        throw new Error("it needs a TLS configuration: set the option tls");
      }
      hostPort(rest);
    },
    dial: (rest, o, signal) => dialTCP(hostPort(rest), o.tls, signal),
    listen: (rest, o, accept) => listenTCP(hostPort(rest), o.tls, accept),
  },
  stdio: { form: "stdio:", check: nothing, dial: () => Promise.resolve().then(stdio) },
  fd: {
    form: "fd:N or fd:R,W",
    check: numbers,
    dial: async (rest) => Promise.resolve(numbers(rest)).then(([r, w]) => descriptors(r, w)),
  },
  exec: { form: "exec:PROGRAM ARGS", check: words, dial: (rest, o) => exec(words(rest), o.stderr) },
  shm: { ...unix, form: "shm:PATH" },
};

/** Connects to an address. */
export async function dialAddress(address: string, o: AddressOptions, log: Logger, signal?: AbortSignal): Promise<Transport> {
  const [scheme, rest] = split(address, o, log);
  signal?.throwIfAborted();
  return scheme.dial(rest, o, signal);
}

/** Waits for peers at an address. An address of one peer is closed when that one has come. */
export async function listenAddress(address: string, o: AddressOptions, log: Logger, accept: Accept): Promise<{ listening: Listening; single: boolean }> {
  const [scheme, rest] = split(address, o, log);
  if (scheme.listen !== undefined) {
    return { listening: await scheme.listen(rest, o, accept), single: false };
  }
  const transport = await scheme.dial(rest, o, undefined);
  setImmediate(accept, transport);
  return { listening: { address, close: () => undefined }, single: true };
}

/** Finds the scheme of an address and checks what follows it. */
function split(address: string, o: AddressOptions, log: Logger): [Scheme, string] {
  const colon = address.indexOf(":");
  const name = colon < 0 ? address : address.slice(0, colon);
  const rest = colon < 0 ? "" : address.slice(colon + 1);
  const scheme = colon < 0 || !Object.hasOwn(schemes, name) ? undefined : schemes[name];
  if (scheme === undefined) {
    throw unknown(address, name, rest, colon >= 0);
  }
  if (rest.startsWith("//")) {
    throw new Error(`address ${JSON.stringify(address)} is not a URL: write ${JSON.stringify(`${name}:${rest.slice(2)}`)}`);
  }
  try {
    scheme.check(rest, o);
  } catch (err) {
    throw new Error(`address ${JSON.stringify(address)}: want ${scheme.form}: ${(err as Error).message}`);
  }
  if (name === "shm") {
    log.warn(`ipcgen: ${address}: Node has no shared memory, so the session stays on the socket: unix:${rest} is the same`);
  }
  return [scheme, rest];
}

/** Says what was probably meant by an address without a scheme, or with one that is none. */
function unknown(address: string, name: string, rest: string, colon: boolean): Error {
  const said = JSON.stringify(address);
  if (colon) {
    const near = Object.keys(schemes).find((s) => oneEdit(name.toLowerCase(), s));
    if (near !== undefined) {
      return new Error(`address ${said}: there is no scheme ${JSON.stringify(name)}: did you mean ${JSON.stringify(`${near}:${rest}`)}?`);
    }
  }
  if (colon && name === "fifo") {
    return new Error(`address ${said}: FIFOs need file locks, which Node does not have: write unix:PATH`);
  }
  if (colon && name === "signal") {
    return new Error(`address ${said}: this version of ipcgen has no signal: transport yet, write unix:PATH`);
  }
  if (colon && /^[0-9]{1,5}$/.test(rest)) {
    return new Error(`address ${said} has no scheme: for TCP write ${JSON.stringify(`tcp:${address}`)}`);
  }
  if (!colon && (/[/\\]/.test(address) || address.endsWith(".sock"))) {
    return new Error(`address ${said} has no scheme: for a unix socket write ${JSON.stringify(`unix:${address}`)}`);
  }
  return new Error(`address ${said}: want one of ${Object.values(schemes).map((s) => s.form).join(", ")}`);
}

/** Whether a and b are the same but for one character more, less or other, or two in the wrong order. */
function oneEdit(a: string, b: string): boolean {
  while (a !== "" && a[0] === b[0]) {
    a = a.slice(1);
    b = b.slice(1);
  }
  while (a !== "" && b !== "" && a.at(-1) === b.at(-1)) {
    a = a.slice(0, -1);
    b = b.slice(0, -1);
  }
  return (a.length <= 1 && b.length <= 1) || (a.length === 2 && b.length === 2 && a[0] === b[1] && a[1] === b[0]);
}

function path(rest: string): void {
  if (rest === "") {
    throw new Error("the path is missing");
  }
}

function nothing(rest: string): void {
  if (rest !== "") {
    throw new Error("nothing follows the colon");
  }
}

function hostPort(rest: string): HostPort {
  const m = /^(?:\[([^\]]*)\]|([^:[\]]*)):([^:]*)$/.exec(rest);
  if (m === null) {
    throw new Error(isIPv6(rest) || rest.split(":").length > 2 ? "an IPv6 host stands in brackets" : "the port is missing");
  }
  const port = m[3]!;
  if (port === "") {
    throw new Error("the port is missing");
  }
  if (!/^[0-9]+$/.test(port) || Number(port) > 65535) {
    throw new Error(`the port ${JSON.stringify(port)} is not a number from 0 to 65535`);
  }
  return { host: m[1] ?? m[2]!, port: Number(port) };
}

/** Reads "N" or "R,W". */
function numbers(rest: string): [number, number] {
  const m = /^([0-9]+)(?:,([0-9]+))?$/.exec(rest);
  if (m === null) {
    throw new Error("want the numbers of descriptors that are open: fd:3, or fd:3,4 to read from 3 and write to 4");
  }
  return [Number(m[1]), Number(m[2] ?? m[1])];
}

/**
 * Splits a command line: words are separated by spaces, 'single' quotes keep everything, "double" quotes all but \" and
 * \\, and a backslash outside of them keeps the next character.
 */
export function words(line: string): string[] {
  const argv: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let i = 0; i < line.length; i++) {
    const c = line[i]!;
    if (c === "\\" && quote !== "'") {
      const next = line[++i];
      if (next === undefined) {
        throw new Error("a backslash at the end");
      }
      word = (word ?? "") + (quote === '"' && next !== '"' && next !== "\\" ? "\\" : "") + next;
    } else if (quote !== "" && c === quote) {
      quote = "";
    } else if (quote === "" && (c === "'" || c === '"')) {
      quote = c;
      word ??= "";
    } else if (quote === "" && (c === " " || c === "\t")) {
      if (word !== undefined) {
        argv.push(word);
        word = undefined;
      }
    } else {
      word = (word ?? "") + c;
    }
  }
  if (quote !== "") {
    throw new Error(`the quote ${quote} is not closed`);
  }
  if (word !== undefined) {
    argv.push(word);
  }
  if (argv[0] === undefined || argv[0] === "") {
    throw new Error("the program is missing");
  }
  return argv;
}
