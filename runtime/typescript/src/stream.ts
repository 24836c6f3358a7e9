// What a call has on both of its sides: messages that arrive, and credit to send (PROTOCOL.md, section 6). Credit is
// counted in bytes of DATA frames, headers included, so that empty messages cost something too. A message that comes
// in several frames is announced with its length; the receiver reserves room for the whole in the session's budget and
// then grants the credit for the whole, so that it always can be finished; until then it gets no further than the window.
import { Flag, headerSize, streamName, Type, Violation } from "./frame.js";
import type { Agreed, SessionLimits } from "./limits.js";
import type { Writer } from "./writer.js";

/** A message that has come whole. */
interface Item {
  data: Buffer;
  /** Of the window. */
  cost: number;
  /** Of the session's reservations. */
  room: number;
}

/** A message, or the end, that waits to be sent. */
interface Departure {
  /** Undefined: only the end. */
  message: Uint8Array | undefined;
  /** Bytes of it that were sent. */
  at: number;
  end: boolean;
  done(sent: boolean): void;
}

/** The largest message that is sent in one frame, where the credit does not say otherwise. */
const singleMost = 16 << 10;
/** The pieces of larger ones while nobody else is sending, and when several streams take turns. */
const pieceAlone = 64 << 10;
const pieceTurns = 16 << 10;
/** Less credit than this is not used up by pieces. */
const pieceLeast = 4 << 10;
/** The largest window that a stream is raised to. */
const raiseMost = 1 << 20;
/** Credit of a stream that goes beyond this ends the session. */
const creditMost = 2 ** 31 - 1;

const sent = Promise.resolve(true);

/** What the streams of a session share: its budgets, and turns at sending. */
export class Shared {
  /** By how much windows were raised. */
  raised = 0;
  private reserved = 0;
  private starved: Stream[] = []; // wait for a reservation
  private due: Stream[] = []; // owe a CREDIT or CANCEL
  private turns: Stream[] = []; // have something to send, and credit

  constructor(
    readonly agreed: Agreed,
    readonly limits: SessionLimits,
    readonly writer: Writer,
    /** How many calls run, of both sides. */
    readonly busy: () => number,
  ) {}

  /** Reserves room for a message, or says that there is none. */
  reserve(room: number): boolean {
    if (this.reserved + room > this.limits.assembly) {
      return false;
    }
    this.reserved += room;
    return true;
  }

  starve(st: Stream): void {
    this.starved.push(st);
  }

  /** Gives room back and lets the next in line have it. */
  release(room: number): void {
    this.reserved -= room;
    while (this.starved.length > 0 && this.starved[0]!.reserveAgain()) {
      this.starved.shift();
    }
  }

  owe(st: Stream): void {
    this.due.push(st);
    this.writer.schedule();
  }

  /** Turns what is owed into frames. */
  collect(): void {
    for (const st of this.due) {
      st.pay();
    }
    this.due.length = 0;
  }

  /** Lets a stream send when its turn comes. */
  turn(st: Stream): void {
    this.turns.push(st);
    this.run();
  }

  /** Whether nobody waits for a turn. */
  get free(): boolean {
    return this.turns.length === 0 && this.writer.hasRoom;
  }

  /** Lets streams send, one piece each after the other, while there is room. */
  run(): void {
    while (this.turns.length > 0 && this.writer.hasRoom) {
      const st = this.turns.shift()!;
      if (st.step()) {
        this.turns.push(st);
      }
    }
  }
}

/** The stream of one call, either side. */
export class Stream {
  /** Nothing can be sent any more. */
  closed = false;
  /** Nobody wants what arrives. */
  discard = false;
  /** END has come. */
  peerEnd = false;
  private over = false; // nothing arrives any more

  // Arriving.
  private items: Item[] = [];
  private readers: ((message: Buffer | undefined) => void)[] = [];
  private window: number; // credit that is granted when nothing is held
  private avail: number; // credit that the peer has left
  private held = 0; // bytes that have come and are not taken
  private taken = 0; // of held, not settled
  private part: Buffer | undefined; // the message that is being put together
  private partHave = 0;
  private partLeft = 0; // bytes of it to come; 0: none is
  private partCost = 0; // of it, what counts as held
  private partRoom = 0; // what is reserved for it
  private starving = false;

  // Leaving.
  private credit: number;
  private departures: Departure[] = [];
  private inTurn = false;
  /** The last piece that was sent is not the last one of its message. */
  inside = false;

  // Owed to the peer, sent with the next write.
  private owes = 0;
  private owesCancel = 0;
  private listed = false;

  constructor(
    private readonly shared: Shared,
    readonly id: number,
    private readonly own: boolean,
  ) {
    this.window = this.avail = this.credit = shared.agreed.window;
  }

  /** Whether a message has begun to arrive and is not complete. */
  get insideMessage(): boolean {
    return this.partLeft > 0;
  }

  /** Whether messages wait to be taken. */
  get waiting(): number {
    return this.items.length;
  }

  /** Takes a DATA frame from the wire; whole is what payload is a slice of. Throws a Violation. */
  arrive(flags: number, payload: Buffer, whole: Buffer | undefined): void {
    if (this.peerEnd) {
      throw new Violation(`stream ${streamName(this.id)} goes on after its END`);
    }
    if ((flags & Flag.End) !== 0 && this.own) {
      throw new Violation(`stream ${streamName(this.id)}: an END on DATA of responses, which only STATUS ends`);
    }
    const cost = headerSize + payload.length;
    if (cost > this.avail) {
      throw new Violation(`stream ${streamName(this.id)}: ${cost} bytes, over the credit of ${this.avail}`);
    }
    this.avail -= cost;
    if (this.discard) {
      return;
    }
    if ((flags & Flag.Msg) !== 0) {
      this.arriveMessage(payload, whole, (flags & Flag.More) !== 0);
    } else if (payload.length > 0 || this.partLeft > 0) {
      throw new Violation(`stream ${streamName(this.id)}: a frame without MSG inside a message`);
    }
    if ((flags & Flag.End) !== 0) {
      this.peerEnd = true;
      this.wakeReaders();
    }
  }

  private arriveMessage(payload: Buffer, whole: Buffer | undefined, more: boolean): void {
    let cost = headerSize + payload.length;
    if (this.partLeft === 0) {
      if (!more) {
        this.push(payload, whole, cost);
        return;
      }
      payload = this.announce(payload);
    }
    if (payload.length > this.partLeft || (payload.length === this.partLeft) === more) {
      throw new Violation("a message that is not as long as its first piece says");
    }
    this.grow(payload.length);
    payload.copy(this.part!, this.partHave);
    this.partHave += payload.length;
    this.partLeft -= payload.length;
    if (this.partRoom > 0) {
      cost = 0; // granted with the reservation
    }
    this.partCost += cost;
    this.held += cost;
    if (this.partLeft > 0) {
      this.reserve();
      return;
    }
    this.items.push({ data: this.part!.subarray(0, this.partHave), cost: this.partCost, room: this.partRoom });
    this.part = undefined;
    this.partRoom = 0;
    this.wakeReaders();
  }

  /** Takes the length of the whole message off its first piece. */
  private announce(payload: Buffer): Buffer {
    if (payload.length < 4) {
      throw new Violation(`a first piece of ${payload.length} bytes, without the message's length`);
    }
    const total = payload.readUInt32LE(0);
    if (total > this.shared.limits.maxMessage) {
      throw new Violation(`a message of ${total} bytes, over the limit of ${this.shared.limits.maxMessage}`);
    }
    if (total <= payload.length - 4) {
      throw new Violation(`a message of ${total} bytes whose first piece has ${payload.length - 4} and says that more follow`);
    }
    this.part = undefined;
    this.partHave = this.partCost = this.partRoom = 0;
    this.partLeft = total;
    return payload.subarray(4);
  }

  /** Makes room for n more bytes: at most four times what has come, whatever length was claimed. */
  private grow(n: number): void {
    const have = this.partHave + n;
    if (this.part !== undefined && have <= this.part.length) {
      return;
    }
    const bigger = Buffer.allocUnsafeSlow(Math.min(this.partHave + this.partLeft, Math.max(4 * have, pieceAlone)));
    this.part?.copy(bigger, 0, 0, this.partHave);
    this.part = bigger;
  }

  /** Takes a whole message; one that has come in CALL or STATUS costs nothing. */
  push(payload: Buffer, whole: Buffer | undefined, cost: number): void {
    this.held += cost;
    this.items.push({ data: keep(payload, whole), cost, room: 0 });
    this.wakeReaders();
  }

  /** Reserves room for the message that is being put together and grants credit for the rest, or stands in line. */
  private reserve(): void {
    if (this.partRoom > 0 || this.starving) {
      return;
    }
    if (!this.tryReserve()) {
      this.starving = true;
      this.shared.starve(this);
    }
  }

  private tryReserve(): boolean {
    const total = this.partHave + this.partLeft;
    if (!this.shared.reserve(total)) {
      return false;
    }
    this.partRoom = total;
    const need = this.partLeft + (Math.floor(this.partLeft / pieceLeast) + 2) * headerSize;
    if (need > this.avail) {
      this.grant(need - this.avail);
    }
    return true;
  }

  /** Called at the head of the line. Returns whether the line moves on. */
  reserveAgain(): boolean {
    if (!this.over && this.partLeft > 0 && this.partRoom === 0 && !this.tryReserve()) {
      return false;
    }
    this.starving = false;
    return true;
  }

  private grant(n: number): void {
    this.owes += n;
    this.avail += n;
    this.owe();
  }

  private owe(): void {
    if (!this.listed) {
      this.listed = true;
      this.shared.owe(this);
    }
  }

  /** Appends the frames that are owed. */
  pay(): void {
    this.listed = false;
    if (this.owes > 0) {
      this.shared.writer.append(Type.Credit, 0, this.id, this.owes);
    }
    if (this.owesCancel > 0) {
      this.shared.writer.append(Type.Cancel, 0, this.id, this.owesCancel);
    }
    this.owes = this.owesCancel = 0;
  }

  /** Has a CANCEL sent. */
  cancel(code: number): void {
    this.owesCancel = code;
    this.owe();
  }

  /** The next message; undefined when none will come. What is returned belongs to the caller. */
  receive(): Promise<Buffer | undefined> {
    if (this.readers.length === 0) {
      if (this.items.length > 0) {
        return Promise.resolve(this.take());
      }
      this.settle();
      if (this.over || this.peerEnd) {
        return Promise.resolve(undefined);
      }
    }
    return new Promise((resolve) => this.readers.push(resolve));
  }

  private wakeReaders(): void {
    while (this.readers.length > 0 && this.items.length > 0) {
      this.readers.shift()!(this.take());
    }
    if (this.over || this.peerEnd) {
      for (const r of this.readers.splice(0)) {
        r(undefined);
      }
    }
  }

  /** Takes the next message now, if it is there. */
  take(): Buffer | undefined {
    const it = this.items.shift();
    if (it === undefined) {
      return undefined;
    }
    this.taken += it.cost;
    if (this.taken >= this.window / 4 || it.room > 0 || this.items.length === 0) {
      this.settle();
    }
    if (it.room > 0) {
      this.shared.release(it.room);
    }
    return it.data;
  }

  /** Returns the credit of what was taken, when it is worth a frame. */
  private settle(): void {
    this.held -= this.taken;
    this.taken = 0;
    if (this.over || this.peerEnd) {
      return;
    }
    const { shared } = this;
    if (this.avail < this.window / 4 && this.window < raiseMost && shared.raised + this.window <= shared.limits.raised) {
      shared.raised += this.window; // the sender uses it up as fast as it is granted
      this.window *= 2;
    }
    const give = this.window - this.held - this.avail;
    if (give >= this.window / 2) {
      this.grant(give);
    }
  }

  /**
   * Sends a message, or only the end, behind what was given before. The promise is true when all of it is on its way to
   * the peer, and false when the peer, or this side, has ended the call before. The message must not change meanwhile.
   */
  send(message: Uint8Array | undefined, end: boolean): Promise<boolean> {
    if (this.closed) {
      return Promise.resolve(false);
    }
    if (this.departures.length === 0 && this.shared.free && this.sendWhole(message, end)) {
      return sent;
    }
    return new Promise((done) => {
      this.departures.push({ message, at: 0, end, done });
      this.wantTurn();
    });
  }

  /** Sends in one frame what fits into one and for which there is credit. */
  private sendWhole(message: Uint8Array | undefined, end: boolean): boolean {
    const length = message?.length ?? 0;
    if (length > this.single() || headerSize + length > this.credit) {
      return false;
    }
    this.credit -= headerSize + length;
    const flags = (message === undefined ? 0 : Flag.Msg) | (end ? Flag.End : 0);
    if (message === undefined) {
      this.shared.writer.append(Type.Data, flags, this.id, 0);
    } else {
      this.shared.writer.append(Type.Data, flags, this.id, 0, message);
    }
    this.closed = end;
    return true;
  }

  /** How many bytes a message has at most that is sent in one frame. */
  private single(): number {
    const { window, maxFrame } = this.shared.agreed;
    return Math.min(singleMost, window / 4 - headerSize, maxFrame);
  }

  private wantTurn(): void {
    if (!this.inTurn && this.departures.length > 0 && this.credit >= this.needed()) {
      this.inTurn = true;
      this.shared.turn(this);
    }
  }

  /** The credit that the next frame takes at least. */
  private needed(): number {
    const d = this.departures[0]!;
    const left = (d.message?.length ?? 0) - d.at;
    if (d.at === 0 && left <= this.single()) {
      return headerSize + left;
    }
    return headerSize + 4 + Math.min(left, pieceLeast);
  }

  /** Sends one frame. Returns whether it goes on: there is more to send, and credit for it. */
  step(): boolean {
    this.inTurn = false;
    const d = this.departures[0];
    if (d === undefined || this.credit < this.needed()) {
      return false;
    }
    if (d.at > 0 || !this.sendWhole(d.message, d.end)) {
      if (!this.sendPiece(d)) {
        this.inTurn = true;
        return true;
      }
    }
    this.departures.shift();
    d.done(true);
    this.inTurn = this.departures.length > 0 && this.credit >= this.needed();
    return this.inTurn;
  }

  /** Sends a piece of a large message. Returns whether that was the last one. */
  private sendPiece(d: Departure): boolean {
    const { shared } = this;
    const message = d.message!;
    const left = message.length - d.at;
    const most = Math.min(shared.busy() > 1 ? pieceTurns : pieceAlone, shared.agreed.maxFrame);
    let n = Math.min(left, most, this.credit - headerSize);
    if (n === left) {
      this.credit -= headerSize + n;
      shared.writer.append(Type.Data, Flag.Msg | (d.end ? Flag.End : 0), this.id, 0, message.subarray(d.at));
      this.closed = this.closed || d.end;
      this.inside = false;
      return true;
    }
    this.inside = true;
    const parts: Uint8Array[] = [];
    if (d.at === 0) {
      const length = Buffer.allocUnsafe(4);
      length.writeUInt32LE(message.length);
      parts.push(length);
      n = Math.min(n, this.credit - headerSize - 4, shared.agreed.maxFrame - 4);
      this.credit -= 4;
    }
    parts.push(message.subarray(d.at, d.at + n));
    this.credit -= headerSize + n;
    shared.writer.append(Type.Data, Flag.Msg | Flag.More, this.id, 0, ...parts);
    d.at += n;
    return false;
  }

  /** Takes a CREDIT from the wire. */
  addCredit(n: number): void {
    if (n === 0 || this.credit + n > creditMost) {
      throw new Violation(`stream ${streamName(this.id)}: credit of ${n} on top of ${this.credit}`);
    }
    this.credit += n;
    this.wantTurn();
  }

  /** Lets nothing more be sent; what waits to be is not. */
  closeSend(): void {
    this.closed = true;
    for (const d of this.departures.splice(0)) {
      d.done(false);
    }
  }

  /** Nothing more will be received. */
  endReceive(): void {
    this.over = true;
    this.wakeReaders();
  }

  /** The call goes on no longer. What has arrived whole can still be taken. */
  finish(): void {
    this.over = true;
    this.closeSend();
    if (this.partLeft > 0) {
      this.part = undefined;
      this.partLeft = 0;
      this.shared.release(this.partRoom);
      this.partRoom = 0;
    }
    this.shared.raised -= this.window - this.shared.agreed.window;
    this.window = this.shared.agreed.window;
    this.owes = this.owesCancel = 0;
    this.wakeReaders();
  }

  /** Nobody takes any more what has arrived. */
  drop(): void {
    let room = this.partRoom;
    for (const it of this.items) {
      room += it.room;
    }
    this.items = [];
    this.part = undefined;
    this.partLeft = this.partRoom = 0;
    if (room > 0) {
      this.shared.release(room);
    }
  }
}

/** Returns payload so that it can be kept, and keeps no more than four times its bytes alive. */
export function keep(payload: Buffer, whole: Buffer | undefined): Buffer {
  return whole !== undefined && payload.length * 4 >= whole.length ? payload : Buffer.from(payload);
}
