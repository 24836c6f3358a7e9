// Calls of the peer (PROTOCOL.md, section 5).
import { Code } from "./error.js";
import { failure, notExecuted } from "./failure.js";
import type { Failure } from "./failure.js";
import { Flag, generationOf, nextGeneration, sideOf, slotOf, streamName, Type, Violation } from "./frame.js";
import type { Header, Side } from "./frame.js";
import { encodable } from "./metadata.js";
import type { Encodable, Metadata } from "./metadata.js";
import { cutDetails, cutText, emptyStatus, encodeStatus, maxStatusText, parseCall } from "./payload.js";
import { keep, Stream } from "./stream.js";
import type { Session } from "./session.js";
import type { Shared } from "./stream.js";
import { Timer } from "./timer.js";

/** A method that this side serves, without its types. */
export interface Served {
  readonly path: string;
  /** The caller sends one request, without which the handler is not started. */
  readonly single: boolean;
  /** Starts the handler. It does not throw, and calls in.answer once. */
  run(incoming: Incoming, request: Buffer | undefined): void;
}

/** Finds a method by its id. */
export class ServedTable {
  private readonly byLow = new Map<number, { high: number; method: Served }[]>();

  /** Throws where another method has the id. */
  add(id: Uint8Array, method: Served): void {
    const b = Buffer.from(id);
    const low = b.readUInt32LE(0);
    const high = b.readUInt32LE(4);
    const other = this.find(low, high);
    if (other !== undefined) {
      throw new Error(`the methods ${other.path} and ${method.path} have the same id: rename one`);
    }
    this.byLow.set(low, [...(this.byLow.get(low) ?? []), { high, method }]);
  }

  find(low: number, high: number): Served | undefined {
    return this.byLow.get(low)?.find((e) => e.high === high)?.method;
  }
}

/** Why a handler's signal was aborted. */
export type Cause = "cancelled" | "deadline" | "answered" | "session ended";

/** A call of the peer. */
export class Incoming {
  /** The handler was started. */
  started = false;
  /** Why the handler need not go on; undefined while it should. */
  cause: Cause | undefined;
  private readonly trailers = new Map<string, string | Uint8Array>();
  private controller: AbortController | undefined;
  private timer: Timer | undefined;

  constructor(
    readonly calls: ServedCalls,
    readonly stream: Stream,
    readonly method: Served,
    readonly metadata: Metadata,
    /** When the caller gives up, as performance.now() tells it; Infinity: never. */
    readonly deadline: number,
  ) {}

  /** Aborted when the caller gives up or is gone, when the deadline has passed, and when the call is answered. */
  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.over !== undefined) {
        this.controller.abort(reasonOf(this.over));
      } else if (this.deadline !== Infinity) {
        this.timer = new Timer(this.deadline - performance.now(), () => this.stop("deadline"));
      }
    }
    return this.controller.signal;
  }

  /** Why the handler need not go on, also where nobody has told it. */
  get over(): Cause | undefined {
    if (this.cause === undefined && performance.now() >= this.deadline) {
      this.cause = "deadline";
    }
    return this.cause;
  }

  /** Tells the handler that it need not go on. */
  stop(cause: Cause): void {
    this.cause ??= cause;
    this.timer?.stop();
    this.controller?.abort(reasonOf(this.cause));
  }

  /** Adds a value to what goes back with the end of the call. Throws an Error where it may not. */
  setTrailer(name: string, value: string | Uint8Array): void {
    encodable(Object.fromEntries([...this.trailers, [name, value]]), this.calls.shared.limits.metadata);
    this.trailers.set(name, value);
  }

  /** The trailers as they travel. */
  get encodedTrailers(): Encodable {
    return this.trailers.size === 0 ? [] : encodable(Object.fromEntries(this.trailers), this.calls.shared.limits.metadata);
  }

  /** Ends the call: with a failure, or well, with the last message or without one. */
  answer(f: Failure | undefined, message?: Uint8Array): void {
    this.calls.answer(this, f, message);
  }
}

function reasonOf(cause: Cause): DOMException {
  return cause === "deadline" ? new DOMException("the call's deadline has passed", "TimeoutError") : new DOMException(`the call is ${cause === "session ended" ? "lost: its session has ended" : cause}`, "AbortError");
}

/** How many bytes stand before the message in the STATUS of a call that went well. */
function headSize(incoming: Incoming): number {
  return incoming.encodedTrailers.reduce((size, [name, value]) => size + name.length + value.length + 3, emptyStatus.length);
}

/** A place for a call of the peer. */
interface Slot {
  generation: number;
  incoming: Incoming | undefined;
  /** Where in the bytes of the session its last STATUS ends. */
  answered: number;
}

/** The calls of the peer of a session. */
export class ServedCalls {
  /** Calls that are not answered. */
  running = 0;
  private readonly slots: Slot[] = [];

  constructor(
    readonly session: Session,
    readonly shared: Shared,
    private readonly side: Side,
    private readonly methods: ServedTable,
    /** This side takes no new calls. */
    private readonly leaving: () => boolean,
    /** A call was answered. */
    private readonly settle: () => void,
  ) {
    for (let i = 0; i < shared.agreed.slots; i++) {
      this.slots.push({ generation: 0, incoming: undefined, answered: 0 });
    }
  }

  /** Takes a CALL. Throws a Violation. */
  call(h: Header, payload: Buffer, whole: Buffer | undefined): void {
    if (sideOf(h.stream) === this.side) {
      throw new Violation(`on stream ${streamName(h.stream)}, which is this side's`);
    }
    const slot = this.slot(h.stream);
    const { head, message } = parseCall(payload, this.shared.limits.metadata);
    const has = (h.flags & Flag.Msg) !== 0;
    if (!has && message.length > 0) {
      throw new Violation("with message bytes and without MSG");
    }
    this.checkFree(slot, h.stream);
    slot.generation = generationOf(h.stream);
    const stream = new Stream(this.shared, h.stream, false);
    if (this.leaving()) {
      this.refuse(slot, h.stream, notExecuted(Code.Unavailable, "the peer is draining: it takes no new calls"));
      return;
    }
    const method = this.methods.find(head.methodLow, head.methodHigh);
    if (method === undefined) {
      const id = (BigInt(head.methodHigh) << 32n) | BigInt(head.methodLow);
      this.refuse(slot, h.stream, notExecuted(Code.Unimplemented, `the peer does not serve this method (id 0x${id.toString(16).padStart(16, "0")}): is it of an older schema?`));
      return;
    }
    const deadline = head.timeout === 0 ? Infinity : performance.now() + head.timeout / 1e6;
    const incoming = new Incoming(this, stream, method, head.metadata, deadline);
    slot.incoming = incoming;
    this.running++;
    stream.peerEnd = (h.flags & Flag.End) !== 0;
    this.begin(incoming, has ? message : undefined, whole);
  }

  private slot(id: number): Slot {
    const slot = this.slots[slotOf(id)];
    if (slot === undefined) {
      throw new Violation(`slot ${slotOf(id)}, over the limit of ${this.slots.length}`);
    }
    return slot;
  }

  private checkFree(slot: Slot, id: number): void {
    if (slot.incoming !== undefined) {
      throw new Violation(`on slot ${slotOf(id)}, whose last call has not been answered`);
    }
    if (slot.answered > this.shared.writer.handed) {
      // Else a peer that reads nothing could have answers pile up, a slot at a time.
      throw new Violation(`on slot ${slotOf(id)}, whose last call's answer has not been sent`);
    }
    if (generationOf(id) !== nextGeneration(slot.generation)) {
      throw new Violation(`on slot ${slotOf(id)} with generation ${generationOf(id)} after ${slot.generation}`);
    }
  }

  /** Starts the handler of a new call, or leaves it until the request is complete. */
  private begin(incoming: Incoming, message: Buffer | undefined, whole: Buffer | undefined): void {
    const { stream, method } = incoming;
    if (!method.single || !stream.peerEnd) {
      if (message !== undefined) {
        stream.push(message, whole, 0);
      }
      if (!method.single) {
        incoming.started = true;
        method.run(incoming, undefined);
      }
      return;
    }
    this.runSingle(incoming, message === undefined ? undefined : keep(message, whole));
  }

  /** Runs a handler of one request, which has come. */
  private runSingle(incoming: Incoming, request: Buffer | undefined): void {
    incoming.started = true;
    if (request === undefined) {
      incoming.answer(notExecuted(Code.InvalidArgument, "the call came without a request"));
    } else {
      incoming.method.run(incoming, request);
    }
  }

  /** Finds the call that a frame belongs to; undefined is one that has ended and may still be spoken of. */
  find(id: number): Incoming | undefined {
    const slot = this.slot(id);
    if (slot.generation !== generationOf(id)) {
      throw new Violation(`stream ${streamName(id)}, which the peer has not opened`);
    }
    return slot.incoming;
  }

  /** Takes a DATA frame. Throws a Violation. */
  data(h: Header, payload: Buffer, whole: Buffer | undefined): void {
    const incoming = this.find(h.stream);
    if (incoming === undefined) {
      return; // the peer sent it before it saw the STATUS
    }
    incoming.stream.arrive(h.flags, payload, whole);
    if (incoming.stream.peerEnd && incoming.method.single && !incoming.started) {
      this.runSingle(incoming, incoming.stream.take());
    }
  }

  /** Takes a CANCEL: tells the handler that its caller has given up. Throws a Violation. */
  cancel(h: Header): void {
    if (sideOf(h.stream) === this.side) {
      throw new Violation("of a call of the other side");
    }
    const incoming = this.find(h.stream);
    if (incoming === undefined) {
      return;
    }
    if (!incoming.started) {
      incoming.answer(notExecuted(Code.Cancelled, "cancelled before the request was complete"));
      return;
    }
    incoming.stop(h.arg === Code.DeadlineExceeded ? "deadline" : "cancelled");
    incoming.stream.discard = true;
    incoming.stream.drop();
    incoming.stream.closeSend();
    incoming.stream.endReceive();
  }

  /** Answers a call; a message that is too large for the STATUS goes before it. */
  answer(incoming: Incoming, f: Failure | undefined, message?: Uint8Array): void {
    const { stream } = incoming;
    const slot = this.slots[slotOf(stream.id)]!;
    if (slot.incoming !== incoming) {
      return; // the session has ended
    }
    f ??= this.tooLong(incoming);
    if (f === undefined && message !== undefined && !this.fits(incoming, message)) {
      // The answer outlives the handler: what ends the wait is the caller giving up, or the session's end.
      void stream.send(message, false).then((sent) => {
        if (slot.incoming === incoming) {
          this.answer(incoming, sent ? undefined : failure(Code.Cancelled, "the answer was not sent: the caller gave up"));
        }
      });
      incoming.stop("answered");
      return;
    }
    slot.incoming = undefined;
    this.running--;
    incoming.stop("answered");
    stream.finish();
    stream.drop();
    if (f === undefined && stream.inside) {
      f = failure(Code.Cancelled, "the handler returned in the middle of a message");
    }
    if (f === undefined) {
      this.status(slot, incoming, message);
    } else {
      this.refuse(slot, stream.id, f, incoming.encodedTrailers);
    }
    this.settle();
  }

  /** How a call that went well fails whose trailers do not go with the STATUS. */
  private tooLong(incoming: Incoming): Failure | undefined {
    const size = headSize(incoming);
    const most = this.shared.agreed.maxFrame;
    return size > most ? failure(Code.ResourceExhausted, `the trailers take ${size} bytes, over the limit of ${most} of a frame`) : undefined;
  }

  /** Whether a message can travel in the STATUS: there is space in the frame, and room. */
  private fits(incoming: Incoming, message: Uint8Array): boolean {
    return headSize(incoming) + message.length <= this.shared.agreed.maxFrame && (message.length <= 4096 || this.shared.writer.hasRoom);
  }

  /** Sends the STATUS of a call that went well. */
  private status(slot: Slot, incoming: Incoming, message: Uint8Array | undefined): void {
    const { encodedTrailers } = incoming;
    const head = encodedTrailers.length === 0 ? emptyStatus : encodeStatus("", [], encodedTrailers);
    const { writer } = this.shared;
    if (message === undefined) {
      writer.append(Type.Status, Flag.End, incoming.stream.id, 0, head);
    } else {
      writer.append(Type.Status, Flag.End | Flag.Msg, incoming.stream.id, 0, head, message);
    }
    slot.answered = writer.queued;
  }

  /** Sends the STATUS of a call that failed, cut to its limits. */
  private refuse(slot: Slot, id: number, f: Failure, trailers: Encodable = []): void {
    const text = cutText(f.text, maxStatusText);
    let head = encodeStatus(text, cutDetails(f.details), trailers);
    if (head.length > this.shared.agreed.maxFrame) {
      head = encodeStatus(text, [], trailers);
    }
    if (head.length > this.shared.agreed.maxFrame) {
      head = encodeStatus(text, [], []);
    }
    this.shared.writer.append(Type.Status, Flag.End | (f.notExecuted ? Flag.NotExecuted : 0), id, f.code, head);
    slot.answered = this.shared.writer.queued;
  }

  /** Tells all handlers that the session has ended. */
  lose(): void {
    for (const slot of this.slots) {
      const { incoming } = slot;
      if (incoming !== undefined) {
        slot.incoming = undefined;
        incoming.stop("session ended");
        incoming.stream.finish();
        incoming.stream.drop();
      }
    }
    this.running = 0;
  }
}
