// Unix sockets.
import { mkdtemp, chmod, link, lstat, rename, rm, unlink } from "node:fs/promises";
import { lstatSync, unlinkSync } from "node:fs";
import type { Stats } from "node:fs";
import { connect, createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { dirname, join } from "node:path";
import { textOf } from "../failure.js";
import type { Listening } from "./listening.js";
import { StreamTransport } from "./stream.js";
import type { Transport } from "./transport.js";

/** How long the path of a unix socket may be, in bytes. */
const maxPath = process.platform === "linux" ? 107 : 103;

/** Says what is wrong with a path, if anything is. */
export function checkPath(path: string): void {
  if (path === "") {
    throw new Error("unix: needs a path: unix:/run/user/1000/echo.sock");
  }
  if (path.startsWith("@")) {
    throw new Error(`unix:${path}: an abstract socket is open to every user, so there is no address for one: use a path (a file of this name is unix:./${path})`);
  }
  const size = Buffer.byteLength(path);
  if (size > maxPath) {
    throw new Error(`unix:${path}: the path has ${size} bytes, and a socket's may have ${maxPath}: use a shorter directory`);
  }
}

/** Connects to the socket at path. */
export async function dialUnix(path: string, signal: AbortSignal | undefined): Promise<Transport> {
  checkPath(path);
  const address = `unix:${path}`;
  try {
    const socket = await connected(connect({ path }), signal);
    return new StreamTransport(socket, socket, { address, sameUser: onlyMine(path) });
  } catch (err) {
    signal?.throwIfAborted();
    throw new Error(`dial ${address}: ${why(err as NodeJS.ErrnoException, path)}`, { cause: err });
  }
}

function why(err: NodeJS.ErrnoException, path: string): string {
  switch (err.code) {
    case "ENOENT":
      return `no such socket: is the server running? ${err.message}`;
    case "ENOTSOCK":
      return `there is a file that is not a socket: ${err.message}`;
    case "ECONNREFUSED":
      return lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false
        ? `there is a file that is not a socket: ${err.message}`
        : `nobody listens there: the server has died and left the file behind: ${err.message}`;
    default:
      return err.message;
  }
}

/** Waits for a socket to be connected. */
export function connected<S extends Socket>(socket: S, signal: AbortSignal | undefined, event = "connect"): Promise<S> {
  return new Promise((resolve, reject) => {
    const settle = (then: () => void): void => {
      signal?.removeEventListener("abort", abort);
      socket.removeListener("error", failed);
      then();
    };
    const failed = (err: Error): void => settle(() => reject(err));
    const abort = (): void => {
      socket.on("error", () => undefined);
      socket.destroy();
      settle(() => reject(signal?.reason as Error));
    };
    socket.once("error", failed);
    socket.once(event, () => settle(() => resolve(socket)));
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted === true) {
      abort();
    }
  });
}

/**
 * Whether a socket's file is this user's and open to nobody else. Node cannot ask the kernel who the peer is; whoever is
 * at the other end of such a socket is this user, or root.
 */
function onlyMine(path: string): boolean {
  const info = lstatSync(path, { throwIfNoEntry: false });
  return info !== undefined && info.isSocket() && info.uid === process.geteuid?.() && (info.mode & 0o077) === 0;
}

/**
 * Waits for peers at path. The socket is only its owner's (mode 0600) from the moment it appears. A file that a dead
 * server left is taken over; where one is alive, or something that is not a socket stands, that is an error. Closing
 * removes the file, unless somebody else has put another one there.
 */
export async function listenUnix(path: string, accept: (t: Transport) => void): Promise<Listening> {
  checkPath(path);
  const address = `unix:${path}`;
  try {
    // The socket is born in a directory that nobody else can enter, and moved to its place when it is ready.
    const hidden = await mkdtemp(join(dirname(path), "."));
    try {
      return await listenIn(hidden, path, address, accept);
    } finally {
      await rm(hidden, { recursive: true, force: true });
    }
  } catch (err) {
    const missing = (err as NodeJS.ErrnoException).code === "ENOENT" ? "make the directory first: " : "";
    throw new Error(`listen ${address}: ${missing}${textOf(err)}`, { cause: err });
  }
}

async function listenIn(hidden: string, path: string, address: string, accept: (t: Transport) => void): Promise<Listening> {
  const born = join(hidden, "s");
  const excess = Buffer.byteLength(born) - maxPath;
  if (excess > 0) {
    throw new Error(`the directory's path is ${excess} bytes too long for a socket to be made in it: use a shorter one`);
  }
  const server = createServer({ pauseOnConnect: true }, (socket) => accept(new StreamTransport(socket, socket, { address, sameUser: onlyMine(path) })));
  await listening(server, { path: born });
  let mine: Stats;
  try {
    await chmod(born, 0o600);
    mine = await lstat(born);
    await settle(born, path, join(hidden, "old"));
  } catch (err) {
    server.close();
    throw err;
  }
  return {
    address,
    close: () => {
      const now = lstatSync(path, { throwIfNoEntry: false });
      if (now?.ino === mine.ino && now.dev === mine.dev) {
        unlinkSync(path); // while it still listens: nobody else can have taken the place
      }
      server.close();
    },
  };
}

/** Waits for a server to listen. */
export function listening(server: Server, options: { path: string } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options, () => {
      server.removeListener("error", reject);
      server.on("error", () => undefined); // accepting failed; the next one may do better
      resolve();
    });
  });
}

/** Gives the socket at born its name, if that is free: a link does not take another one's place. */
async function settle(born: string, path: string, aside: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await link(born, path);
      return;
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== "EEXIST" || tries > 9) {
        throw err;
      }
    }
    await clear(path, aside);
  }
}

/** Removes the socket that a dead server left at path. Throws where something else is there. */
async function clear(path: string, aside: string): Promise<void> {
  const there = await lstat(path).catch(() => undefined);
  if (there === undefined) {
    return;
  }
  if (!there.isSocket()) {
    throw new Error("there is a file that is not a socket: remove it, or choose another path");
  }
  try {
    (await connected(connect({ path }), undefined)).destroy();
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException;
    if (code === "ENOENT") {
      return;
    }
    if (code !== "ECONNREFUSED") {
      throw new Error(`asking whether another server listens there: ${textOf(err)}`, { cause: err });
    }
    // Another server that starts now may have put its own socket there since. What is moved away is looked at again.
    await rename(path, aside);
    const moved = await lstat(aside);
    if (moved.ino !== there.ino) {
      await link(aside, path).catch(() => undefined);
    }
    await unlink(aside);
    return;
  }
  throw Object.assign(new Error("another server listens there: stop it, or choose another path"), { code: "EADDRINUSE" });
}
