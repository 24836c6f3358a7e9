// Connections of every kind, and peers that die.
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { preface } from "#runtime/frame.js";
import { words } from "#runtime/address.js";
import { StreamTransport } from "#runtime/transport/stream.js";
import { client, Code, dial, Reason, RpcError, serve, SessionError } from "ipcgen";
import type { Conn, DialOptions } from "ipcgen";
import { Echo } from "../../../testdata/services/typescript/echo/v1/echo.ipc.js";
import { echo } from "./echo.js";
import { gate } from "./gate.js";
import { quiet, RawPeer, UnderTest } from "./peer.js";
import { bytes } from "./vectors.js";

const folder = mkdtempSync(join(tmpdir(), "ipcgen-"));
after(() => rmSync(folder, { recursive: true }));
let count = 0;
const newPath = (): string => join(folder, `s${count++}`);
const child = fileURLToPath(new URL("./child.js", import.meta.url));
const options = { log: quiet };

/** Collects what is written. */
class Text extends Writable {
  text = "";
  readonly lines = gate();
  constructor(private readonly until = "\n") {
    super();
  }
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    if (this.text.includes(this.until)) {
      this.lines.open();
    }
    done();
  }
}

async function says(conn: Conn, text: string): Promise<void> {
  assert.equal((await client(Echo, conn).say({ text })).text, text);
}

test("addresses that are none say what is meant", async () => {
  for (const [address, want] of [
    ["", /want one of unix:PATH, tcp:HOST:PORT/],
    ["/run/echo.sock", /has no scheme: for a unix socket write "unix:\/run\/echo.sock"/],
    ["echo.sock", /write "unix:echo.sock"/],
    ["localhost:80", /has no scheme: for TCP write "tcp:localhost:80"/],
    ["unix:", /want unix:PATH: the path is missing/],
    ["unix:///x", /is not a URL: write "unix:\/x"/],
    ["unx:/x", /did you mean "unix:\/x"\?/],
    ["fifo:/x", /FIFOs need file locks, which Node does not have/],
    ["signal:1", /no signal: transport yet/],
    ["constructor:1x", /want one of/],
    ["tcp:host", /the port is missing/],
    ["tcp:host:", /the port is missing/],
    ["tcp:host:x", /the port "x" is not a number/],
    ["tcp:host:65536", /the port "65536" is not a number/],
    ["tcp:::1:80", /an IPv6 host stands in brackets/],
    ["tls:host:1", /set the option tls/],
    ["stdio:x", /nothing follows the colon/],
    ["fd:x", /want fd:N or fd:R,W: want the numbers/],
    ["fd:1", /want numbers from 3 on/],
    ["fd:999", /descriptor 999 is not open/],
    ["exec:", /the program is missing/],
    ["exec:a 'b", /the quote ' is not closed/],
    ["unix:@x", /an abstract socket is open to every user/],
    [`unix:/${"x".repeat(200)}`, /the path has 201 bytes/],
  ] as const) {
    await assert.rejects(dial(address, options), want, address);
  }
});

test("a command line is split as a shell does", () => {
  for (const [line, want] of [
    ["a b", ["a", "b"]],
    ["  a\t b ", ["a", "b"]],
    [`a 'b c' "d e"`, ["a", "b c", "d e"]],
    [`a\\ b "c\\"d\\\\" 'e\\f'`, ["a b", `c"d\\`, "e\\f"]],
    [`"a\\b" ''`, ["a\\b", ""]],
  ] as const) {
    assert.deepEqual(words(line), want);
  }
});

test("a unix socket is its user's alone, and gone with its server", async () => {
  const path = newPath();
  const server = await serve(`unix:${path}`, [echo()], options);
  assert.equal(server.address, `unix:${path}`);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  await using conn = await dial(`unix:${path}`);
  assert.ok(conn.peer.sameUser);
  assert.deepEqual(conn.peer.services, ["echo.v1.Echo"]);
  await says(conn, "hello");
  await server.shutdown();
  assert.equal((await conn.ended).reason, Reason.PeerGone);
  assert.ok(!existsSync(path));
});

test("whoever may open a socket besides its user, its peers are not known to be that", async () => {
  const path = newPath();
  const accepted = gate<Conn>();
  await using server = await serve(`unix:${path}`, [echo()], { ...options, connected: accepted.open });
  chmodSync(path, 0o666);
  await using conn = await dial(`unix:${path}`);
  assert.ok(!conn.peer.sameUser);
  assert.ok(!(await accepted.opened).peer.sameUser);
  conn.close();
  await server.shutdown();
});

test("a live server's socket and other files are not taken over, a dead one's is", async () => {
  const path = newPath();
  const server = await serve(`unix:${path}`, [echo()], options);
  await assert.rejects(serve(`unix:${path}`, []), /another server listens there: stop it/);
  await using conn = await dial(`unix:${path}`);
  await says(conn, "still there");
  conn.close();
  await server.shutdown();

  writeFileSync(path, "mine");
  await assert.rejects(serve(`unix:${path}`, []), /there is a file that is not a socket/);
  await assert.rejects(dial(`unix:${path}`), /there is a file that is not a socket/);
  assert.equal(readFileSync(path, "utf8"), "mine");
  rmSync(path);
  await assert.rejects(dial(`unix:${path}`), /no such socket: is the server running\?/);

  const dead = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  assert.equal(spawnSync(process.execPath, ["-e", dead]).signal, "SIGKILL");
  await assert.rejects(dial(`unix:${path}`), /nobody listens there: the server has died/);
  const heir = await serve(`unix:${path}`, [echo()], options);
  await using again = await dial(`unix:${path}`);
  await says(again, "taken over");
  again.close();
  await heir.shutdown();
  await assert.rejects(serve(`unix:${join(folder, "no", "where")}`, []), /make the directory first/);
});

test("TCP on a port that the system chooses", async () => {
  await using server = await serve("tcp:127.0.0.1:0", [echo()], options);
  assert.match(server.address, /^tcp:127\.0\.0\.1:[1-9][0-9]*$/);
  await using conn = await dial(server.address);
  assert.ok(!conn.peer.sameUser);
  await says(conn, "x".repeat(100_000));
  conn.close();
});

test("TLS, mutual", async (t) => {
  const key = join(folder, "key.pem");
  const cert = join(folder, "cert.pem");
  try {
    execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert], { stdio: "ignore" });
  } catch (err) {
    t.skip(`needs openssl: ${String(err)}`);
    return;
  }
  const pair = { key: readFileSync(key), cert: readFileSync(cert), ca: readFileSync(cert) };
  await using server = await serve("tls:127.0.0.1:0", [echo()], { ...options, tls: { ...pair, requestCert: true } });
  const conn = await dial(server.address, { tls: { ...pair, servername: "localhost" } });
  await says(conn, "x".repeat(100_000));
  conn.close();
  await assert.rejects(dial(server.address, { tls: { servername: "localhost" } }), /dial tls:127.0.0.1:[0-9]+: handshake: self-signed certificate/);
});

test("a child over its stdin and stdout, which prints to stderr", async () => {
  const stderr = new Text("written to stdout\n");
  await using conn = await dial(`exec:${process.execPath} ${child} print stdio:`, { stderr });
  await says(conn, "hello");
  await stderr.lines.opened;
  assert.equal(stderr.text, "printed by console.log\nwritten to stdout\n");
});

test("a program that serves a child is called by it", async () => {
  const stderr = new Text();
  const server = await serve(`exec:${process.execPath} ${child} call stdio:`, [echo()], { ...options, stderr });
  await stderr.lines.opened;
  await server.finished;
  assert.equal(stderr.text, "from the child\n");
});

test("programs that do not start, end, or speak something else", async () => {
  await assert.rejects(dial("exec:/no/such/program"), /exec:\/no\/such\/program: starting it: .*ENOENT/);
  await assert.rejects(dial(`exec:${process.execPath} ${child} exit 3`), (err: SessionError) => err.reason === Reason.PeerGone && /during the handshake: .* ended: exit status 3/.test(err.message));
  await assert.rejects(dial(`exec:${process.execPath} ${child} garbage`), (err: SessionError) => err.reason === Reason.Foreign && /it began with "this is no session/.test(err.message));
  await assert.rejects(dial("exec:cat"), (err: SessionError) => err.reason === Reason.Foreign && /it is no ipcgen peer/.test(err.message));
});

test("inherited descriptors", async () => {
  const program = spawn(process.execPath, [child, "serve", "fd:3"], { stdio: ["ignore", "inherit", "inherit", "pipe"] });
  const exited = new Promise((resolve) => program.once("exit", resolve));
  const socket = program.stdio[3] as Socket;
  const end = new UnderTest(new StreamTransport(socket, socket, { address: "fd:", sameUser: true }), 0, {}, []);
  const conn = await end.conn;
  await says(conn, "hello");
  conn.close();
  assert.equal(await exited, 0);
});

/** A child that serves Echo. */
async function victim(o: DialOptions = {}): Promise<{ conn: Conn; kill: () => void; stop: () => void }> {
  const path = newPath();
  const program = spawn(process.execPath, [child, "serve", `unix:${path}`], { stdio: ["ignore", "inherit", "inherit"] });
  after(() => program.kill("SIGKILL"));
  for (;;) {
    try {
      const conn = await dial(`unix:${path}`, { ...options, ...o });
      return { conn, kill: () => program.kill("SIGKILL"), stop: () => program.kill("SIGSTOP") };
    } catch {
      await new Promise(setImmediate);
    }
  }
}

async function lost(call: Promise<unknown>, notExecuted: boolean): Promise<void> {
  await assert.rejects(call, (err: RpcError) => {
    assert.ok(err instanceof RpcError);
    assert.deepEqual([err.code, err.notExecuted], [Code.Unavailable, notExecuted]);
    return true;
  });
}

test("calls of every kind end when the peer is killed", async () => {
  const { conn, kill } = await victim({ limits: { calls: 4 } });
  const c = client(Echo, conn);
  const chat = c.chat();
  await chat.send({ text: "there?" });
  await chat.receive();
  const responses = c.repeat({ text: "x".repeat(1000), times: 1_000_000_000 })[Symbol.asyncIterator]();
  await responses.next();
  const asked = gate();
  const never = async function* (): AsyncGenerator<{ text: string }> {
    yield { text: "first" };
    asked.open();
    await new Promise(() => undefined);
  };
  const calls = [c.say({ text: "wait" }), c.join(never()), chat.receive()];
  const queued = c.say({ text: "never" });
  await asked.opened;
  kill();
  for (const call of calls) {
    await lost(call, false);
  }
  await lost(queued, true);
  await lost((async () => { while ((await responses.next()).done !== true); })(), false);
  const ended = await conn.ended;
  assert.deepEqual([ended.reason, ended.peer], [Reason.PeerGone, conn.peer.address]);
  assert.ok(ended.message.startsWith(`session with ${conn.peer.address} ended: peer gone: `), ended.message);
  await lost(c.say({ text: "" }), true);
});

test("a stopped peer does not hold up deadlines, and is given up when it takes nothing", async () => {
  const { conn, stop, kill } = await victim({ limits: { stallMs: 200 } });
  const c = client(Echo, conn);
  await says(conn, "hello");
  stop();
  await assert.rejects(c.say({ text: "hello" }, { timeoutMs: 10 }), (err: RpcError) => err.code === Code.DeadlineExceeded);
  const flood = Array.from({ length: 20 }, () => c.say({ text: "x".repeat(1 << 20) }));
  await Promise.allSettled(flood);
  assert.equal((await conn.ended).reason, Reason.Stalled);
  kill();
});

test("what a peer had sent before it went is read, though writing to it fails", async () => {
  const path = newPath();
  const accepted = gate<Socket>();
  const server = createServer((s) => accepted.open(s)).listen(path);
  const socket = connect(path);
  const peer = await accepted.opened;
  server.close();
  const got = gate<string>();
  const over = gate();
  const transport = new StreamTransport(socket, socket, { address: "test:", sameUser: true });
  transport.start({ data: (b) => got.open(b.toString()), gone: () => over.open(), failed: () => over.open() });
  // All in one turn of the event loop: nothing can be read in between.
  peer.write("last words");
  peer.destroy();
  const failed = gate<Error | null>();
  transport.write([Buffer.from("too late")], failed.open);
  assert.equal(((await failed.opened) as NodeJS.ErrnoException).code, "EPIPE");
  assert.equal(await got.opened, "last words");
  await over.opened;
  transport.close();
});

test("a peer that says nothing, or takes nothing, is given up", async () => {
  const silent = new UnderTest(new RawPeer(), 0, { handshakeMs: 1 }, []);
  assert.equal(await silent.ended, "no handshake");
  const peer = new RawPeer();
  peer.stuck = true;
  const end = new UnderTest(peer, 0, { stallMs: 1 }, []);
  peer.send(Buffer.concat([preface, bytes("01000000 29000000 00000000 00000000 0100 0100 00000000 00100000 00200000 04000000 00400000 1122334455667788 06 766563746f72 0000")]));
  assert.equal(await end.ended, "stalled");
});

test("who only looks whether a server listens is not worth a warning", async () => {
  const said: string[] = [];
  const log = { warn: (m: string) => void said.push(m), error: () => undefined };
  for (const address of [`unix:${newPath()}`, "tcp:127.0.0.1:0"]) {
    await using server = await serve(address, [echo()], { log });
    const where = address.startsWith("tcp:") ? { host: "127.0.0.1", port: Number(server.address.split(":")[2]) } : { path: address.slice("unix:".length) };
    const came = async (leave: (socket: Socket) => void): Promise<void> => {
      const socket = connect(where);
      await once(socket, "connect");
      leave(socket);
      await once(socket, "close");
    };
    await came((socket) => socket.destroy());
    await came((socket) => socket.resume().once("data", () => socket.end()));
    await came((socket) => socket.resume().end("IPC")); // this one wanted something
    await server.shutdown();
  }
  assert.equal(said.length, 2, said.join("\n"));
  for (const text of said) {
    assert.match(text, /session did not begin: session with \S+ ended: peer gone/);
  }
});

test("dialing ends with its signal", async () => {
  const path = newPath();
  const server = createServer(() => undefined).listen(path); // accepts, and says nothing
  const controller = new AbortController();
  const dialing = dial(`unix:${path}`, { signal: controller.signal });
  server.once("connection", () => controller.abort(new Error("enough")));
  await assert.rejects(dialing, /^Error: enough$/);
  await assert.rejects(dial(`unix:${path}`, { signal: controller.signal }), /^Error: enough$/);
  server.close();
});

test("a server lets running calls finish when its signal is aborted", async () => {
  const path = newPath();
  const controller = new AbortController();
  const server = await serve(`unix:${path}`, [echo()], { ...options, signal: controller.signal });
  await using conn = await dial(`unix:${path}`);
  const chat = client(Echo, conn).chat();
  await chat.send({ text: "1" });
  assert.equal((await chat.receive())?.text, "1");
  controller.abort();
  await assert.rejects(client(Echo, conn).say({ text: "" }), (err: RpcError) => err.notExecuted);
  await chat.send({ text: "2" });
  assert.equal((await chat.receive())?.text, "2");
  await chat.closeSend();
  assert.equal(await chat.receive(), undefined);
  await server.finished;
});

test("a server takes only so many sessions", async () => {
  const path = newPath();
  await using server = await serve(`unix:${path}`, [echo()], { ...options, limits: { sessions: 1 } });
  const first = await dial(`unix:${path}`);
  await assert.rejects(dial(`unix:${path}`), (err: SessionError) => err.reason === Reason.PeerGone);
  await says(first, "still there");
  first.close();
  await server.shutdown();
});

test("shm: stays on the socket, and says so", async () => {
  const path = newPath();
  const said: string[] = [];
  const log = { warn: (m: string) => void said.push(m), error: () => undefined };
  await using server = await serve(`unix:${path}`, [echo()], options);
  await using conn = await dial(`shm:${path}`, { log });
  await says(conn, "hello");
  assert.equal(conn.peer.address, `unix:${path}`);
  assert.match(said.join("\n"), /Node has no shared memory, so the session stays on the socket/);
  conn.close();
  await server.shutdown();
});
