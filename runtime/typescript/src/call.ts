// Calls of this side (PROTOCOL.md, section 5).
import { Code } from "./error.js";
import type { SessionError } from "./error.js";
import { aborted, failure, notExecuted } from "./failure.js";
import type { Failure } from "./failure.js";
import { Flag, nextGeneration, sideOf, slotOf, streamID, streamName, Type, Violation } from "./frame.js";
import type { Header, Side } from "./frame.js";
import { encodable, noMetadata } from "./metadata.js";
import type { Metadata, MetadataInit } from "./metadata.js";
import { encodeCall, parseStatus } from "./payload.js";
import { Stream } from "./stream.js";
import type { Shared } from "./stream.js";
import { Timer } from "./timer.js";

/** What a call of this side starts with. */
export interface Outgoing {
  /** The method's id. */
  method: Uint8Array;
  /** Undefined where messages follow. */
  request: Uint8Array | undefined;
  /** More messages follow the request. */
  open: boolean;
  metadata: MetadataInit | undefined;
  /** Milliseconds from now; undefined: no limit. */
  timeoutMs: number | undefined;
  signal: AbortSignal | undefined;
}

/** What a session tells of a call. */
export interface CallEvents {
  /** The STATUS has come, or the call failed on this side; undefined is success. It is told once. */
  ended(f: Failure | undefined): void;
  /** The call has got its slot. */
  opened?(call: Call): void;
  /** The message of a STATUS of a call that went well. Where it is not there, messages are left in the stream. */
  answer?(message: Buffer, whole: Buffer | undefined): void;
}

/** A call of this side. */
export class Call {
  /** Undefined until the call has a slot. */
  stream: Stream | undefined;
  trailers: Metadata = noMetadata;
  /** It has ended for its program; the slot may still be taken. */
  ended = false;
  /** Nobody waits for it. */
  abandoned = false;
  /** Where in the bytes of the session it begins. */
  mark = 0;
  /** When it is to end at the latest. */
  readonly deadline: number;
  private timer: Timer | undefined;
  private onAbort: (() => void) | undefined;

  constructor(
    readonly calls: Calls,
    readonly o: Outgoing,
    private readonly events: CallEvents,
  ) {
    this.deadline = o.timeoutMs === undefined ? Infinity : performance.now() + o.timeoutMs;
  }

  /** Watches for what ends the call on this side. */
  watch(): void {
    const { signal } = this.o;
    if (this.deadline !== Infinity) {
      this.timer = new Timer(this.deadline - performance.now(), () => {
        this.calls.giveUp(this, failure(Code.DeadlineExceeded, "no answer within the deadline"));
      });
    }
    if (signal !== undefined) {
      this.onAbort = () => this.calls.giveUp(this, aborted(signal.reason));
      signal.addEventListener("abort", this.onAbort);
    }
  }

  /** Tells that the call has a slot. */
  opened(): void {
    this.events.opened?.(this);
  }

  /** Ends the call for its program. */
  end(f: Failure | undefined): void {
    if (this.ended) {
      return;
    }
    this.ended = true;
    this.timer?.stop();
    if (this.onAbort !== undefined) {
      this.o.signal!.removeEventListener("abort", this.onAbort);
    }
    this.events.ended(f);
  }

  /** Hands over the message of a STATUS. */
  answer(message: Buffer, whole: Buffer | undefined): void {
    if (this.abandoned) {
      return;
    }
    if (this.events.answer !== undefined) {
      this.events.answer(message, whole);
    } else {
      this.stream!.push(message, whole, 0);
    }
  }
}

/** A place for a call of this side. */
interface Slot {
  generation: number;
  call: Call | undefined;
}

/** The calls of this side of a session. */
export class Calls {
  /** Calls whose STATUS has not come. */
  pending = 0;
  private readonly slots: Slot[] = [];
  private readonly free: number[] = []; // last freed first
  private queue: Call[] = []; // wait for a slot

  constructor(
    private readonly shared: Shared,
    private readonly side: Side,
    /** Says why no call can be started, if none can. */
    private readonly refusal: () => Failure | undefined,
    /** A call has ended. */
    private readonly settle: () => void,
  ) {
    for (let i = shared.agreed.slots - 1; i >= 0; i--) {
      this.free.push(i);
      this.slots.push({ generation: 0, call: undefined });
    }
  }

  /** Starts a call, now or when a slot is free. */
  start(o: Outgoing, events: CallEvents): Call {
    const call = new Call(this, o, events);
    const f = this.refusal() ?? this.unfit(call);
    if (f !== undefined) {
      call.end(f);
      return call;
    }
    call.watch();
    const slot = this.free.pop();
    if (slot === undefined) {
      this.queue.push(call);
    } else {
      this.open(call, slot);
    }
    return call;
  }

  /** Says why a call is not to be made at all. */
  private unfit(call: Call): Failure | undefined {
    const { signal, timeoutMs, request } = call.o;
    if (signal?.aborted === true) {
      return { ...aborted(signal.reason), notExecuted: true };
    }
    if (timeoutMs !== undefined && !(timeoutMs > 0)) {
      return notExecuted(Code.DeadlineExceeded, "the deadline was over before the call");
    }
    const most = this.shared.agreed.maxMessage;
    if (request !== undefined && request.length > most) {
      return notExecuted(Code.ResourceExhausted, `request of ${request.length} bytes, over the limit of ${most} that both sides take`);
    }
    return undefined;
  }

  /** Sends the CALL, with the request in it when it fits. */
  private open(call: Call, slot: number): void {
    const { o } = call;
    const timeout = call.deadline === Infinity ? 0 : Math.max(1, Math.round((call.deadline - performance.now()) * 1e6));
    let head: Buffer;
    try {
      head = this.head(o, timeout);
    } catch (err) {
      this.give(slot);
      call.end(notExecuted(Code.InvalidArgument, (err as Error).message));
      return;
    }
    const place = this.slots[slot]!;
    place.generation = nextGeneration(place.generation);
    place.call = call;
    const id = streamID(slot, this.side, place.generation);
    const stream = (call.stream = new Stream(this.shared, id, true));
    this.pending++;
    call.opened();
    call.mark = this.shared.writer.queued;
    const last = o.open ? 0 : Flag.End;
    if (o.request === undefined) {
      this.shared.writer.append(Type.Call, last, id, 0, head);
    } else if (head.length + o.request.length <= this.shared.agreed.maxFrame) {
      this.shared.writer.append(Type.Call, Flag.Msg | last, id, 0, head, o.request);
      stream.closed = !o.open;
    } else {
      this.shared.writer.append(Type.Call, 0, id, 0, head);
      void stream.send(o.request, !o.open); // where the peer ends the call before it has all, the STATUS tells how
    }
  }

  /** What stands before the request in a CALL. Throws an Error that says why the metadata may not be sent. */
  private head(o: Outgoing, timeout: number): Buffer {
    const md = o.metadata === undefined ? undefined : encodable(o.metadata, this.shared.limits.metadata);
    const head = encodeCall(o.method, timeout, md);
    const most = this.shared.agreed.maxFrame;
    if (head.length > most) {
      throw new Error(`the call's metadata takes ${head.length} bytes with what goes before it, over the limit of ${most} of a frame`);
    }
    return head;
  }

  /** Hands a slot to the call that has waited longest, or keeps it. */
  private give(slot: number): void {
    const next = this.queue.shift();
    if (next === undefined) {
      this.free.push(slot);
    } else {
      this.open(next, slot);
    }
  }

  /** Ends a call on this side. The peer is told, and the slot stays taken until its STATUS. */
  giveUp(call: Call, f: Failure): void {
    if (call.ended) {
      return;
    }
    const { stream } = call;
    if (stream === undefined) {
      this.queue = this.queue.filter((c) => c !== call);
      call.end({ ...f, notExecuted: true, text: `waiting for one of the session's slots, all of which are in use: ${f.text}` });
      return;
    }
    call.abandoned = true;
    stream.discard = true;
    stream.closeSend();
    stream.drop();
    stream.endReceive();
    stream.cancel(f.code === Code.DeadlineExceeded ? Code.DeadlineExceeded : Code.Cancelled);
    call.end(f);
  }

  /** Finds the stream that a frame of the peer belongs to. Throws a Violation. */
  find(id: number): Call {
    const slot = this.slots[slotOf(id)];
    if (slot === undefined) {
      throw new Violation(`slot ${slotOf(id)}, over the limit of ${this.slots.length}`);
    }
    if (slot.call === undefined || slot.call.stream!.id !== id) {
      throw new Violation(`stream ${streamName(id)}, which this side has not open`);
    }
    return slot.call;
  }

  /** Takes a STATUS, which ends a call. Throws a Violation. */
  status(h: Header, payload: Buffer, whole: Buffer | undefined): void {
    const { head, message } = parseStatus(payload, this.shared.limits.metadata);
    if (sideOf(h.stream) !== this.side) {
      throw new Violation("for a call of the peer itself");
    }
    const call = this.find(h.stream);
    if ((h.flags & Flag.Msg) === 0 && message.length > 0) {
      throw new Violation("with message bytes and without MSG");
    }
    const stream = call.stream!;
    if (stream.insideMessage && h.arg === Code.Ok) {
      throw new Violation("of success, in the middle of a message");
    }
    this.slots[slotOf(h.stream)]!.call = undefined;
    this.pending--;
    call.trailers = head.trailers;
    if (h.arg === Code.Ok && (h.flags & Flag.Msg) !== 0) {
      call.answer(message, whole);
    }
    const failed: Failure | undefined =
      h.arg === Code.Ok
        ? undefined
        : { code: h.arg, text: head.text, details: head.details, notExecuted: (h.flags & Flag.NotExecuted) !== 0, remote: true };
    call.end(failed);
    stream.finish();
    if (call.abandoned) {
      stream.drop();
    }
    this.give(slotOf(h.stream));
    this.settle();
  }

  /** Refuses the calls that wait for a slot they will not get. */
  refuseQueued(): void {
    for (const call of this.queue.splice(0)) {
      call.end(this.refusal()!);
    }
  }

  /** Fails all calls, since the session has ended. */
  lose(why: SessionError): void {
    for (const slot of this.slots) {
      const { call } = slot;
      if (call !== undefined) {
        slot.call = undefined;
        const f = failure(Code.Unavailable, why.message, why);
        call.end({ ...f, notExecuted: this.shared.writer.handed <= call.mark });
        call.stream!.finish();
      }
    }
    this.pending = 0;
    this.refuseQueued();
  }
}

