// The protocol between two processes over one transport (PROTOCOL.md): calls both ways, streams with flow control,
// deadlines, cancellation, draining, and one error for whatever ends it.
//
// The order of events, and the file that each is in:
//
//	session.ts    a connection becomes a session, and ends
//	handshake.ts  preface and HELLO each way
//	reader.ts     chunks of bytes become frames
//	writer.ts     frames of many calls become few writes
//	call.ts       calls of this side
//	serve.ts      calls of the peer
//	stream.ts     messages and credit of one call, either side
//
// It knows no method's types; client.ts and implement.ts put those on top. Nothing in it calls code of the user while
// its own state is in between: what a handler or a continuation does comes in through the methods here.
import { Call, Calls } from "./call.js";
import type { CallEvents, Outgoing } from "./call.js";
import { Code, Reason, reasonName, SessionError } from "./error.js";
import { notExecuted, textOf } from "./failure.js";
import type { Failure } from "./failure.js";
import { Flag, headerSize, putHeader, sideOf, Type, typeName, Violation } from "./frame.js";
import type { Header, Side } from "./frame.js";
import { Handshake } from "./handshake.js";
import type { SessionLimits } from "./limits.js";
import { cutText, maxGoAwayText, safeText } from "./payload.js";
import type { Hello } from "./payload.js";
import { FrameReader } from "./reader.js";
import { ServedCalls } from "./serve.js";
import type { ServedTable } from "./serve.js";
import { Shared } from "./stream.js";
import { Timer } from "./timer.js";
import type { Receiver, Transport } from "./transport/transport.js";
import { Writer } from "./writer.js";
import type { WriterOwner } from "./writer.js";

/** Where the runtime says what nobody is told otherwise: console has it. */
export interface Logger {
  warn(message: string, ...details: unknown[]): void;
  error(message: string, ...details: unknown[]): void;
}

/** One side of a session. */
export interface SessionConfig {
  /** 0 dialed, 1 listened. */
  side: Side;
  limits: SessionLimits;
  methods: ServedTable;
  services: Hello["services"];
  log: Logger;
}

/** Codes by which the system says that the peer is gone. */
const goneCodes = new Set(["EPIPE", "ECONNRESET", "ECONNABORTED", "ENOTCONN", "ESHUTDOWN", "ERR_STREAM_DESTROYED"]);
/** How long what a peer had sent before writing to it failed may take to be read, in milliseconds. */
const lastWordsMs = 1000;

/** The names of a timeout's milliseconds in messages: "5 s". */
export function seconds(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000} s` : `${ms} ms`;
}

/** One connection to a peer. */
export class Session implements Receiver, WriterOwner {
  /** Why the session ended, or undefined while it lives. */
  ended: SessionError | undefined;
  /** Resolved when the session has ended. */
  readonly done: Promise<SessionError>;
  /** What the peer said of itself. */
  hello!: Hello;

  private readonly reader: FrameReader;
  private readonly writer: Writer;
  private handshake: Handshake | undefined;
  /** What the streams of the session share. */
  shared!: Shared;
  private calls!: Calls;
  private served!: ServedCalls;
  private tellEnd!: (why: SessionError) => void;

  // Draining.
  private leaving = false; // this side sent GOAWAY
  private peerLeaving = false;
  private quiet: (() => void)[] = []; // wait for a drain to have nothing left to wait for
  private pong = false; // is owed
  private pings: (() => void)[] = []; // wait for the answer to the PING that is on its way
  private laterPings: (() => void)[] = []; // came after it, and want one of their own
  private lastWords: Timer | undefined; // set when writing has failed

  private constructor(
    readonly transport: Transport,
    readonly config: SessionConfig,
  ) {
    this.reader = new FrameReader(0);
    this.writer = new Writer(transport, this, config.limits.stallMs);
    this.done = new Promise((resolve) => (this.tellEnd = resolve));
  }

  /**
   * Makes a session of a connection: shakes hands within the limit for it, and begins to read. It owns the connection
   * from now on, also when it fails, with a SessionError or the signal's reason.
   */
  static async start(transport: Transport, config: SessionConfig, signal?: AbortSignal): Promise<Session> {
    const s = new Session(transport, config);
    const abort = (): void => s.end(new SessionError(Reason.Closed, "given up"));
    signal?.addEventListener("abort", abort);
    try {
      const { promise, handshake } = Handshake.begin(config, s.reader, (e) => s.end(e));
      s.handshake = handshake;
      transport.start(s);
      s.writer.raw(handshake.first);
      await promise;
    } catch (err) {
      transport.close();
      signal?.throwIfAborted();
      throw err;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
    return s;
  }

  /** The handshake is over: there are calls from now on. */
  private open(hs: Handshake): void {
    this.handshake = undefined;
    this.hello = hs.theirs;
    this.reader.maxFrame = this.config.limits.maxFrame;
    const busy = (): number => this.calls.pending + this.served.running;
    const settle = (): void => this.settleDrain();
    this.shared = new Shared(hs.agreed, this.config.limits, this.writer, busy);
    this.calls = new Calls(this.shared, this.config.side, () => this.refusal(), settle);
    this.served = new ServedCalls(this, this.shared, this.config.side, this.config.methods, () => this.leaving, settle);
    hs.succeed();
  }

  // What the transport tells.

  data(chunk: Buffer): void {
    if (this.ended !== undefined) {
      return;
    }
    let type: number | undefined;
    try {
      const rest = this.handshake === undefined ? chunk : this.handshake.preface(chunk);
      this.reader.push(rest, (h, payload, whole) => {
        type = h.type;
        this.handle(h, payload, whole);
        type = undefined;
        return this.ended === undefined;
      });
    } catch (err) {
      if (err instanceof SessionError) {
        this.end(err);
      } else if (err instanceof Violation) {
        const where = this.handshake !== undefined ? "handshake: " : type !== undefined ? `${typeName(type)}: ` : "";
        this.end(new SessionError(Reason.Protocol, where + err.message));
      } else {
        this.end(new SessionError(Reason.Broken, `this runtime failed: ${textOf(err)}`, { cause: err }));
      }
    }
  }

  gone(how?: string): void {
    const during = this.handshake !== undefined ? " during the handshake" : this.reader.inside ? " or died in the middle of a frame" : " or died";
    this.end(new SessionError(Reason.PeerGone, `the peer closed the connection${during}${how === undefined ? "" : `: ${how}`}`));
  }

  failed(err: Error): void {
    this.end(ioError("reading", err));
  }

  private handle(h: Header, payload: Buffer, whole: Buffer | undefined): void {
    if (this.handshake !== undefined) {
      const hs = this.handshake;
      hs.frame(h, payload);
      this.open(hs);
      return;
    }
    switch (h.type) {
      case Type.Status:
        this.calls.status(h, payload, whole);
        return;
      case Type.Call:
        this.served.call(h, payload, whole);
        return;
      case Type.Data:
        if (sideOf(h.stream) === this.config.side) {
          this.calls.find(h.stream).stream!.arrive(h.flags, payload, whole);
        } else {
          this.served.data(h, payload, whole);
        }
        return;
      case Type.Credit: {
        const of = sideOf(h.stream) === this.config.side ? this.calls.find(h.stream) : this.served.find(h.stream);
        of?.stream!.addCredit(h.arg);
        return;
      }
      case Type.Cancel:
        this.served.cancel(h);
        return;
      case Type.Ping:
        this.handlePing(h);
        return;
      case Type.GoAway:
        this.handleGoAway(h, payload);
        return;
      default:
        throw new Violation("not expected after the handshake");
    }
  }

  private handlePing(h: Header): void {
    if ((h.flags & Flag.Ack) === 0) {
      this.pong = true;
      this.writer.schedule();
      return;
    }
    if (this.pings.length === 0) {
      throw new Violation("an answer to no PING");
    }
    const answered = this.pings;
    this.pings = this.laterPings;
    this.laterPings = [];
    if (this.pings.length > 0) {
      this.writer.append(Type.Ping, 0, 0, 0);
    }
    for (const tell of answered) {
      tell();
    }
  }

  private handleGoAway(h: Header, payload: Buffer): void {
    switch (h.arg) {
      case Reason.Drained:
        this.peerLeaving = true;
        this.calls.refuseQueued();
        return;
      case Reason.Closed:
        throw new SessionError(Reason.PeerGone, "the peer closed the session");
      default:
        throw new SessionError(Reason.Refused, `the peer ended the session (${reasonName(h.arg)}): ${safeText(payload)}`);
    }
  }

  // What the writer tells.

  collect(): void {
    this.shared?.collect();
    if (this.pong) {
      this.pong = false;
      this.writer.append(Type.Ping, Flag.Ack, 0, 0);
    }
  }

  room(): void {
    this.shared?.run();
    if (this.writer.empty) {
      this.settleDrain();
    }
  }

  /**
   * Gives up sending. What the peer had sent before it went is still to be read, so the session ends when that is done,
   * or after a second.
   */
  writeFailed(err: Error): void {
    if (this.ended !== undefined || this.lastWords !== undefined) {
      return;
    }
    const e = ioError("writing", err);
    if (e.reason !== Reason.PeerGone) {
      this.end(e);
      return;
    }
    this.writer.stop();
    this.lastWords = new Timer(lastWordsMs, () => this.end(e));
  }

  stalled(): void {
    this.end(new SessionError(Reason.Stalled, `the peer has read nothing for ${seconds(this.config.limits.stallMs)}`));
  }

  // What this side does.

  /** Starts a call. */
  start(o: Outgoing, events: CallEvents): Call {
    return this.calls.start(o, events);
  }

  /** Says why no call can be started, if none can. */
  private refusal(): Failure | undefined {
    if (this.ended !== undefined) {
      return notExecuted(Code.Unavailable, this.ended.message, this.ended);
    }
    if (this.lastWords !== undefined) {
      return notExecuted(Code.Unavailable, "the session is ending: the peer is gone");
    }
    if (this.leaving || this.peerLeaving) {
      return notExecuted(Code.Unavailable, `the session is draining: ${this.leaving ? "this side" : "the peer"} is closing it`);
    }
    return undefined;
  }

  /** Resolved when the peer has answered; rejected with the SessionError. */
  async ping(): Promise<void> {
    const answered = new Promise<void>((resolve) => {
      if (this.pings.length > 0) {
        this.laterPings.push(resolve); // the answer under way says nothing of what was sent since
        return;
      }
      this.pings.push(resolve);
      if (this.ended === undefined) {
        this.writer.append(Type.Ping, 0, 0, 0);
      }
    });
    const ended = await Promise.race([answered, this.done]);
    if (ended !== undefined) {
      throw ended;
    }
  }

  /**
   * Tells the peer that the session is to end, lets the calls of both sides finish, and ends it: after so many
   * milliseconds also where calls still run, which then fail. Returns whether they all had finished.
   */
  async drain(graceMs: number): Promise<boolean> {
    if (this.ended === undefined && !this.leaving) {
      this.leaving = true;
      this.writer.append(Type.GoAway, 0, 0, Reason.Drained, Buffer.from("draining"));
      this.calls.refuseQueued();
    }
    let patience: Timer | undefined;
    const impatient = new Promise<boolean>((resolve) => (patience = new Timer(graceMs, () => resolve(false))));
    // Calls that crossed the GOAWAY have come when the peer has answered a PING behind it.
    const calm = this.ping().then(
      () => this.calm(),
      () => true, // the session ended by itself, and with it the calls
    );
    const finished = await Promise.race([calm, impatient]);
    patience?.stop();
    this.end(new SessionError(Reason.Drained, "drained"));
    return finished;
  }

  /** Resolved when no call runs and all is written. */
  private async calm(): Promise<boolean> {
    const quiet = new Promise<void>((resolve) => this.quiet.push(resolve));
    this.settleDrain();
    await Promise.race([quiet, this.done]);
    return true;
  }

  private settleDrain(): void {
    if (this.quiet.length > 0 && this.calls.pending === 0 && this.served.running === 0 && this.writer.empty) {
      for (const tell of this.quiet.splice(0)) {
        tell();
      }
    }
  }

  /** Ends the session now. Calls that run fail on both sides. */
  close(): void {
    this.end(new SessionError(Reason.Closed, "this side closed it"));
  }

  /** Ends the session for the reason of the first call; later ones do nothing. */
  private end(why: SessionError): void {
    if (this.ended !== undefined) {
      return;
    }
    const e = new SessionError(why.reason, why.text, { peer: this.transport.address, cause: why.cause });
    this.ended = e;
    this.lastWords?.stop();
    this.transport.close(this.farewell(e));
    this.writer.stop();
    this.handshake?.fail(e);
    if (this.calls !== undefined) {
      this.calls.lose(e);
      this.served.lose();
    }
    this.settleEnd(e);
  }

  /** Tells whoever waits for the end. */
  private settleEnd(e: SessionError): void {
    this.tellEnd(e);
    const quietly: Reason[] = [Reason.Closed, Reason.Drained, Reason.PeerGone];
    if (this.handshake === undefined && !quietly.includes(e.reason)) {
      this.config.log.warn(`ipcgen: ${e.message}`);
    }
  }

  /** What is said to the peer at the end, where the end is for it to know. */
  private farewell(e: SessionError): Buffer | undefined {
    const told: Reason[] = this.handshake === undefined ? [Reason.Closed, Reason.Protocol] : [Reason.Protocol, Reason.Version];
    if (!told.includes(e.reason) || !this.writer.idle) {
      return undefined;
    }
    const text = Buffer.from(cutText(e.text, maxGoAwayText));
    const frame = Buffer.alloc(headerSize + text.length);
    putHeader(frame, 0, Type.GoAway, 0, text.length, 0, e.reason);
    text.copy(frame, headerSize);
    return this.writer.drainInto(frame);
  }
}

/** Names the reason behind an error of the transport. */
function ioError(what: string, err: Error): SessionError {
  const { code } = err as NodeJS.ErrnoException;
  const gone = code !== undefined && goneCodes.has(code);
  return new SessionError(gone ? Reason.PeerGone : Reason.Broken, `${what}: ${err.message}`, { cause: err });
}
