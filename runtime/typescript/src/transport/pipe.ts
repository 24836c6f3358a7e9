// Descriptors that two processes share: a child's stdin and stdout, and those that were inherited.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { fstatSync } from "node:fs";
import { Socket } from "node:net";
import type { Writable } from "node:stream";
import { textOf } from "../failure.js";
import { StreamTransport } from "./stream.js";
import type { Transport } from "./transport.js";

/**
 * How long a child may run on after its stdin was closed before it is killed, and how long its exit status is waited
 * for once it has closed its stdout, in milliseconds.
 */
const graceMs = 5000;

/** Says why a descriptor cannot carry a session, if it cannot. */
function unusable(fd: number): string | undefined {
  let info;
  try {
    info = fstatSync(fd);
  } catch (err) {
    return `is not open: ${textOf(err)}`;
  }
  if (info.isFIFO() || info.isSocket()) {
    return undefined;
  }
  if (info.isCharacterDevice()) {
    return "is a terminal or another device, not a pipe or a socket";
  }
  return "is a file or a directory, not a pipe or a socket";
}

/**
 * The session over this process's stdin and stdout, as a parent that started it has the other ends. What the program
 * prints from then on goes to stderr, so that a stray console.log does not disturb the peer.
 */
export function stdio(): Transport {
  for (const [fd, name] of ["stdin", "stdout"].entries()) {
    const wrong = unusable(fd);
    if (wrong !== undefined) {
      throw new Error(`stdio: ${name} ${wrong}: this program speaks to the program that starts it, not to a person`);
    }
  }
  const input = new Socket({ fd: 0, readable: true, writable: false });
  const output = new Socket({ fd: 1, readable: false, writable: true });
  // Node cannot give the number 1 to something else, so it is the stream that writes elsewhere.
  process.stdout.write = process.stderr.write.bind(process.stderr);
  return new StreamTransport(input, output, { address: "stdio:", sameUser: true });
}

/** The session over descriptors that this process inherited: one to read from, one to write to, which may be the same. */
export function descriptors(r: number, w: number): Transport {
  const address = r === w ? `fd:${r}` : `fd:${r},${w}`;
  for (const fd of [r, w]) {
    if (fd <= 2) {
      throw new Error(`${address}: want numbers from 3 on: 0 to 2 are stdin, stdout and stderr, which the address stdio: is for`);
    }
    const wrong = unusable(fd) ?? (r === w && fstatSync(fd).isFIFO() ? "cannot be both read from and written to: a pipe goes one way" : undefined);
    if (wrong !== undefined) {
      throw new Error(`${address}: descriptor ${fd} ${wrong}`);
    }
  }
  const input = new Socket({ fd: r, readable: true, writable: r === w });
  const output = r === w ? input : new Socket({ fd: w, readable: false, writable: true });
  return new StreamTransport(input, output, { address, sameUser: true });
}

/**
 * Starts a program whose stdin and stdout are the session. Closing closes them, gives the program 5 s to end, and then
 * kills it.
 */
export async function exec(argv: readonly string[], stderr: Writable | undefined): Promise<Transport> {
  const [program, ...args] = argv as [string, ...string[]];
  const address = `exec:${program}`;
  const child = spawn(program, args, { stdio: ["pipe", "pipe", stderr === undefined ? "inherit" : "pipe"] });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (err) => reject(new Error(`${address}: starting it: ${err.message}`, { cause: err })));
  });
  if (stderr !== undefined) {
    child.stderr!.on("data", (chunk: Buffer) => stderr.write(chunk));
  }
  return new StreamTransport(child.stdout as Socket, child.stdin as Socket, {
    address,
    sameUser: true,
    ending: () => ending(child, address),
    closed: () => leave(child),
  });
}

/** Tells how a child ended that has closed its stdout, where it ended badly. */
async function ending(child: ChildProcess, address: string): Promise<string | undefined> {
  if (child.exitCode === null && child.signalCode === null) {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      child.once("exit", () => resolve());
      timer = setTimeout(resolve, graceMs); // it runs on
    });
    clearTimeout(timer);
  }
  if (child.signalCode !== null) {
    return `${address} ended: ${child.signalCode}`;
  }
  return child.exitCode === null || child.exitCode === 0 ? undefined : `${address} ended: exit status ${child.exitCode}`;
}

/** Gives a child whose stdin was closed its time to end. */
function leave(child: ChildProcess): void {
  if (child.exitCode !== null || child.signalCode !== null) {
    return;
  }
  const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
  child.once("exit", () => clearTimeout(timer));
}
