// Connections: dialing, serving, and what a program knows of a session.
import { dialAddress, listenAddress } from "./address.js";
import type { AddressOptions } from "./address.js";
import { SessionError } from "./error.js";
import { PeerSilent } from "./handshake.js";
import type { Implementation } from "./implement.js";
import { mostSessions, mostShaking, sessionLimits } from "./limits.js";
import type { Limits } from "./limits.js";
import { textOf } from "./failure.js";
import { ServedTable } from "./serve.js";
import { Session } from "./session.js";
import type { Logger, SessionConfig } from "./session.js";
import { pair } from "./transport/memory.js";
import type { Listening } from "./transport/listening.js";
import type { Transport } from "./transport/transport.js";

/** What both sides of a session may set. */
export interface ConnOptions extends AddressOptions {
  /** What the peer may cost. */
  limits?: Limits | undefined;
  /** What the runtime has to say: sessions that end badly, handlers that fail. Default: console, to stderr. */
  log?: Logger | undefined;
}

/** What dialing may set. */
export interface DialOptions extends ConnOptions {
  /** What this side serves to the peer. */
  services?: readonly Implementation[] | undefined;
  /** Aborting it ends the dialing, and nothing afterwards. */
  signal?: AbortSignal | undefined;
}

/** What serving may set. */
export interface ServeOptions extends ConnOptions {
  /** Aborting it shuts the server down. */
  signal?: AbortSignal | undefined;
  /** Is called with each new session, so that this side can call before it is called. */
  connected?: ((conn: Conn) => void) | undefined;
}

/** Who is at the other end of a session. */
export interface Peer {
  /** As it can be written to dial, where the peer has one. */
  readonly address: string;
  /** Known to be this process's user. */
  readonly sameUser: boolean;
  /** What it runs on, for people: "ipcgen-go". */
  readonly agent: string;
  /** The full names of the services that it serves. */
  readonly services: readonly string[];
}

/** Returns the connection of a session, always the same. */
export let connOf: (session: Session) => Conn;

/** Returns the session of a connection. */
export let sessionOf: (conn: Conn) => Session;

/** A session with a peer: what clients call through. */
export class Conn implements AsyncDisposable {
  readonly #session: Session;

  private constructor(session: Session) {
    this.#session = session;
  }

  static {
    const conns = new WeakMap<Session, Conn>();
    connOf = (session) => {
      let conn = conns.get(session);
      if (conn === undefined) {
        conn = new Conn(session);
        conns.set(session, conn);
      }
      return conn;
    };
    sessionOf = (conn) => conn.#session;
  }

  /** Who is at the other end. */
  get peer(): Peer {
    const { transport, hello } = this.#session;
    return { address: transport.address, sameUser: transport.sameUser, agent: hello.agent, services: hello.services.map((s) => s.name) };
  }

  /** Resolved with the reason when the session has ended. */
  get ended(): Promise<SessionError> {
    return this.#session.done;
  }

  /** Why the session ended, or undefined while it lives. */
  get error(): SessionError | undefined {
    return this.#session.ended;
  }

  /** Resolved when the peer's runtime has answered. Rejects with the SessionError. */
  ping(): Promise<void> {
    return this.#session.ping();
  }

  /**
   * Ends the session when the calls of both sides have finished; new ones are refused as not executed. After so many
   * milliseconds, by default those of limits.graceMs, the calls that still run fail. Returns whether all had finished.
   */
  shutdown(graceMs = this.#session.config.limits.graceMs): Promise<boolean> {
    return this.#session.drain(graceMs);
  }

  /** Ends the session now; calls that run fail on both sides. */
  close(): void {
    this.#session.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }
}

/** One side of sessions: what it serves and how it behaves. */
class Endpoint {
  private readonly methods = new ServedTable();
  private readonly services: { name: string; hash: bigint }[] = [];
  readonly log: Logger;

  constructor(
    services: readonly Implementation[],
    private readonly options: ConnOptions,
  ) {
    this.log = options.log ?? console;
    sessionLimits(options.limits ?? {}, false); // throws for what is wrong with them
    for (const s of services) {
      if (this.services.some((other) => other.name === s.name)) {
        throw new Error(`the service ${s.name} is there twice`);
      }
      this.services.push({ name: s.name, hash: s.hash });
      for (const { id, served } of s.methods) {
        this.methods.add(id, served);
      }
    }
  }

  /** Makes a session of a connection. */
  async start(transport: Transport, side: 0 | 1, signal?: AbortSignal): Promise<Session> {
    const limits = sessionLimits(this.options.limits ?? {}, transport.sameUser);
    const config: SessionConfig = { side, limits, methods: this.methods, services: this.services, log: this.log };
    return Session.start(transport, config, signal);
  }
}

/**
 * Connects to an address. The error says what was tried; it is a SessionError where there was a peer that was no good.
 *
 *	unix:PATH             a unix socket
 *	tcp:HOST:PORT         TCP
 *	tls:HOST:PORT         TCP with TLS, which needs the option tls
 *	stdio:                this process's stdin and stdout, for a program that its peer started
 *	fd:N, fd:R,W          inherited descriptors: a socket, or one to read and one to write
 *	exec:PROGRAM ARGS     starts a program that speaks on its stdin and stdout
 */
export async function dial(address: string, options: DialOptions = {}): Promise<Conn> {
  const endpoint = new Endpoint(options.services ?? [], options);
  const transport = await dialAddress(address, options, endpoint.log, options.signal);
  try {
    return connOf(await endpoint.start(transport, 0, options.signal));
  } catch (err) {
    throw err instanceof SessionError ? new SessionError(err.reason, err.text, { during: `dial ${address}`, peer: err.peer, cause: err.cause }) : err;
  }
}

/**
 * Serves services to whoever connects to an address, as dial has them. It is resolved when the server listens; an
 * address of one peer (stdio, fd, exec) is served until that one is gone.
 */
export async function serve(address: string, services: readonly Implementation[], options: ServeOptions = {}): Promise<Server> {
  options.signal?.throwIfAborted();
  const server = new Server(new Endpoint(services, options), options);
  await server.listen(address);
  return server;
}

/** What serve returns: waits for peers and serves them. */
export class Server implements AsyncDisposable {
  /** Resolved when the server has been shut down and its sessions have ended; of an address of one peer, when that is gone. */
  readonly finished: Promise<void>;
  #listening: Listening | undefined;
  #single = false;
  #leaving = false;
  #shaking = 0;
  #finish!: () => void;
  readonly #sessions = new Set<Session | undefined>();
  readonly #endpoint: Endpoint;
  readonly #options: ServeOptions;

  /** Made by serve. */
  constructor(endpoint: Endpoint, options: ServeOptions) {
    this.#endpoint = endpoint;
    this.#options = options;
    this.finished = new Promise((resolve) => (this.#finish = resolve));
  }

  /** Where the server can be dialed, with the port filled in that the system chose. */
  get address(): string {
    return this.#listening?.address ?? "";
  }

  /** Listens; called by serve, once. */
  async listen(address: string): Promise<void> {
    const { listening, single } = await listenAddress(address, this.#options, this.#endpoint.log, (t) => void this.#accept(t));
    this.#listening = listening;
    this.#single = single;
    const { signal } = this.#options;
    const leave = (): void => void this.shutdown();
    signal?.addEventListener("abort", leave, { once: true });
    void this.finished.then(() => signal?.removeEventListener("abort", leave));
    if (signal?.aborted === true) {
      leave();
    }
  }

  /** Serves one peer until it is gone. */
  async #accept(transport: Transport): Promise<void> {
    const most = this.#options.limits?.sessions ?? mostSessions;
    const { log } = this.#endpoint;
    if (this.#leaving || this.#sessions.size + this.#shaking >= most || this.#shaking >= mostShaking) {
      if (!this.#leaving) {
        log.warn(`ipcgen: ${transport.address}: peer refused: ${this.#sessions.size} sessions are open, of at most ${most}, and ${this.#shaking} peers have not said hello, of at most ${mostShaking}`);
      }
      transport.close();
      return;
    }
    this.#shaking++;
    let session: Session | undefined;
    try {
      session = await this.#endpoint.start(transport, 1);
      this.#sessions.add(session);
    } catch (err) {
      if (this.#single || !(err instanceof PeerSilent)) {
        log.warn(`ipcgen: ${transport.address}: session did not begin: ${textOf(err)}`);
      }
    }
    this.#shaking--;
    if (session !== undefined) {
      await this.#serve(session);
    }
    this.#settle();
  }

  async #serve(session: Session): Promise<void> {
    if (this.#leaving) {
      void session.drain(session.config.limits.graceMs);
    } else {
      try {
        this.#options.connected?.(connOf(session));
      } catch (err) {
        this.#endpoint.log.error("ipcgen: the option connected threw:", err);
      }
    }
    await session.done;
    this.#sessions.delete(session);
  }

  #settle(): void {
    if ((this.#leaving || this.#single) && this.#sessions.size === 0 && this.#shaking === 0) {
      this.#finish();
    }
  }

  /**
   * Takes no new peers and calls, lets the running calls finish within the grace of limits, and ends. Returns when all
   * has ended.
   */
  async shutdown(): Promise<void> {
    if (!this.#leaving) {
      this.#leaving = true;
      this.#listening?.close();
      for (const s of this.#sessions) {
        void s?.drain(s.config.limits.graceMs);
      }
      this.#settle();
    }
    await this.finished;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }
}

/**
 * A connection without a wire to services in this process, for tests. Its calls behave as calls between processes do:
 * messages and errors are encoded and decoded, deadlines and limits hold.
 */
export async function local(services: readonly Implementation[], options: ConnOptions = {}): Promise<Conn> {
  const caller = new Endpoint([], options);
  const callee = new Endpoint(services, options);
  const [near, far] = pair();
  const [session] = await Promise.all([caller.start(near, 0), callee.start(far, 1)]);
  return connOf(session);
}
