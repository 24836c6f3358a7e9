// Preface and HELLO each way (PROTOCOL.md, section 4.1).
import { randomBytes } from "node:crypto";
import { Reason, SessionError } from "./error.js";
import { headerSize, preface, putHeader, Type, typeName, Violation } from "./frame.js";
import type { Header } from "./frame.js";
import { minFrame } from "./limits.js";
import type { Agreed } from "./limits.js";
import { encodeHello, maxHello, parseHello, safeText } from "./payload.js";
import type { Hello } from "./payload.js";
import type { FrameReader } from "./reader.js";
import { seconds } from "./session.js";
import type { SessionConfig } from "./session.js";
import { Timer } from "./timer.js";

/** The versions of the protocol that this runtime speaks. */
const minVersion = 1;
const maxVersion = 1;

const agent = "ipcgen-node";

/** The peer left without having sent anything: it only looked whether somebody listens. */
export class PeerSilent extends SessionError {}

/** The begin of one session. */
export class Handshake {
  /** The preface and HELLO of this side. */
  readonly first: Buffer;
  /** What the peer said. */
  theirs!: Hello;
  agreed!: Agreed;
  private readonly mine: Hello;
  private seen = Buffer.alloc(0); // of the peer's preface
  private timer: Timer;

  private constructor(
    config: SessionConfig,
    /** The handshake is over. */
    readonly succeed: () => void,
    private readonly reject: (err: SessionError) => void,
  ) {
    const { limits, services } = config;
    this.mine = {
      minVersion,
      maxVersion,
      features: 0,
      maxFrame: limits.maxFrame,
      maxMessage: limits.maxMessage,
      maxSlots: limits.calls,
      window: limits.window,
      session: randomBytes(8).readBigUInt64LE(),
      agent,
      services,
    };
    const payload = encodeHello(this.mine);
    if (payload.length > maxHello) {
      throw new SessionError(Reason.Refused, `this side's HELLO has ${payload.length} bytes, over the limit of ${maxHello}: it serves too many services (${services.length}) for one session`);
    }
    const header = Buffer.alloc(headerSize);
    putHeader(header, 0, Type.Hello, 0, payload.length, 0, 0);
    this.first = Buffer.concat([preface, header, payload]);
    this.timer = new Timer(limits.handshakeMs, () => this.late(limits.handshakeMs));
  }

  /** Fails the session; set by begin. */
  private late: (ms: number) => void = () => undefined;

  /** Begins a handshake; the promise is resolved when it is over, and rejected with the SessionError. */
  static begin(config: SessionConfig, reader: FrameReader, end: (e: SessionError) => void): { promise: Promise<void>; handshake: Handshake } {
    reader.maxFrame = maxHello;
    let handshake!: Handshake;
    const promise = new Promise<void>((resolve, reject) => {
      handshake = new Handshake(config, resolve, reject);
    });
    handshake.late = (ms) => end(new SessionError(Reason.NoHandshake, `the peer's HELLO did not come within ${seconds(ms)}: is it an ipcgen peer?`));
    return { promise: promise.finally(() => handshake.timer.stop()), handshake };
  }

  /** The session has ended meanwhile. */
  fail(err: SessionError): void {
    const silent = err.reason === Reason.PeerGone && this.seen.length === 0;
    this.reject(silent ? new PeerSilent(err.reason, err.text, { peer: err.peer, cause: err.cause }) : err);
  }

  /**
   * Takes the peer's preface off what came. Each byte is looked at when it comes: a peer that waits for an answer to
   * something else is told apart at once.
   */
  preface(chunk: Buffer): Buffer {
    const lacks = preface.length - this.seen.length;
    if (lacks === 0) {
      return chunk;
    }
    this.seen = Buffer.concat([this.seen, chunk.subarray(0, lacks)]);
    if (!preface.subarray(0, this.seen.length).equals(this.seen)) {
      const began = Buffer.concat([this.seen, chunk.subarray(lacks, 32)]).toString("latin1");
      throw new SessionError(Reason.Foreign, `the peer does not speak ipcgen's protocol: it began with ${JSON.stringify(began)}, not ${JSON.stringify(preface.toString("latin1"))}`);
    }
    return chunk.subarray(lacks);
  }

  /** Takes the peer's first frame. Throws the SessionError, or a Violation. */
  frame(h: Header, payload: Buffer): void {
    if (h.type === Type.GoAway) {
      throw new SessionError(Reason.Refused, `the peer refused: ${safeText(payload)}`);
    }
    if (h.type !== Type.Hello) {
      throw new Violation(`a ${typeName(h.type)} frame came before HELLO`);
    }
    this.theirs = parseHello(payload);
    this.agree();
  }

  /** Takes the highest version of both and the smaller of each limit. */
  private agree(): void {
    const { mine, theirs } = this;
    if (theirs.session === mine.session) {
      throw new SessionError(Reason.Foreign, "the peer sends back what it gets: it is no ipcgen peer");
    }
    if (Math.min(mine.maxVersion, theirs.maxVersion) < Math.max(mine.minVersion, theirs.minVersion)) {
      throw new SessionError(
        Reason.Version,
        `this side (${mine.agent}) speaks protocol versions ${mine.minVersion} to ${mine.maxVersion}, ` +
          `the peer (${safeText(Buffer.from(theirs.agent))}) ${theirs.minVersion} to ${theirs.maxVersion}: upgrade the older one`,
      );
    }
    if (theirs.maxFrame < minFrame || theirs.maxMessage < minFrame || theirs.maxSlots === 0 || theirs.window < 4 * minFrame) {
      throw new Violation(
        `HELLO with limits below the least: frame ${theirs.maxFrame}, message ${theirs.maxMessage}, slots ${theirs.maxSlots}, window ${theirs.window}`,
      );
    }
    this.agreed = {
      maxFrame: Math.min(mine.maxFrame, theirs.maxFrame),
      maxMessage: Math.min(mine.maxMessage, theirs.maxMessage),
      slots: Math.min(mine.maxSlots, theirs.maxSlots),
      window: Math.min(mine.window, theirs.window),
    };
  }
}
