"""The protocol between two processes over one byte stream, without any input or output of its own.

A driver (``_connection`` for asyncio, ``_sync_connection`` for threads) feeds what it reads to Session.receive and writes what
Session.to_send has. The driver owns the session: it calls it from one thread at a time. What the driver has to do when
something happens, it says by the methods of Driver.

The order of events is that of the file: a connection becomes a session, frames come, calls of this side, calls of the
peer, what is owed to the peer, the end.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from . import _frame as frame
from ._call import Call, Failure, Incoming, Method, SlotWaiter
from ._errors import Code, Reason, SessionError
from ._frame import ACK, CALL, DATA, END, HEADER, HEADER_SIZE, MORE, MSG, NOT_EXECUTED, STATUS, Malformed
from ._limits import MIN_FRAME, MIN_WINDOW, Settled
from ._stream import OUT_HIGH, SINGLE_MOST, Stream

VERSION = 1
AGENT = "ipcgen-python"
MAX_TIMEOUT = 2**63 - 1


class Driver(Protocol):
    """What a session asks of the one that drives it."""

    def _opened(self) -> None:
        """The handshake is over: the session may be used."""

    def _wake(self, waiter: Any) -> None:
        """Let a waiter that the driver left with the session look again."""

    def _start_handler(self, incoming: Incoming) -> None:
        """Run the handler of a call of the peer, and answer it."""

    def _cancel_handler(self, incoming: Incoming) -> None:
        """Tell a handler that nobody waits for it any more."""

    def _now(self) -> float:
        """Return the time in seconds, on the clock of deadlines."""


class Session:
    """One connection to a peer."""

    def __init__(
        self,
        driver: Driver,
        side: int,
        limits: Settled,
        methods: Mapping[int, Method],
        services: list[tuple[str, int]],
    ) -> None:
        self.driver = driver
        self.side = side  # 0 dialed, 1 listened
        self.limits = limits
        self.methods = methods
        self.peer: frame.Hello | None = None  # None until its HELLO has come
        self.ended: SessionError | None = None
        # What both sides keep to, from the handshake on.
        self.max_frame = self.max_message = self.slots = self.window = self.single = 0
        # Calls of this side.
        self.local: list[Call | None] = []
        self.local_generation: list[int] = []
        self.free: list[int] = []
        self.pending = 0  # calls whose STATUS has not come
        self.queue: deque[SlotWaiter] = deque()
        # Calls of the peer.
        self.remote: list[Incoming | None] = []
        self.remote_generation: list[int] = []
        self.remote_answered: list[int] = []  # where in the bytes of the session the last STATUS ends
        self.running = 0
        # Draining.
        self.leaving = self.peer_leaving = False
        self.quiet: Any = None  # who waits until a drain has nothing left to wait for
        self.pings: list[Any] = []  # wait for the answer to the PING that is on its way
        self.later_pings: list[Any] = []  # came after it, and want one of their own
        # Reading.
        self._in = bytearray()
        self._need = 1
        self._handlers: dict[int, Callable[[int, int, int, bytes, int, int], None]] = {
            CALL: self._on_call,
            DATA: self._on_data,
            STATUS: self._on_status,
            frame.CANCEL: self._on_cancel,
            frame.CREDIT: self._on_credit,
            frame.PING: self._on_ping,
            frame.GOAWAY: self._on_goaway,
            frame.HELLO: self._on_hello,
        }
        # Writing.
        self._out: list[bytes | memoryview] = []
        self._chunk: bytes | memoryview = b""
        self.queued = self.handed = 0  # bytes ever put, and of them those that the transport has taken
        self.failed = False  # a write failed: nothing more is sent, what has come is still read
        self._due: list[Stream] = []  # owe a CREDIT or CANCEL
        self._pong = False
        self.room: list[Stream] = []
        # Budgets for messages that arrive.
        self.raised = self.reserved = 0
        self.starved: deque[Stream] = deque()
        self._say_hello(services)

    # The handshake.

    def _say_hello(self, services: list[tuple[str, int]]) -> None:
        limits = self.limits
        self.hello = frame.Hello(
            max_frame=limits.max_frame,
            max_message=limits.max_message,
            max_slots=limits.slots,
            window=limits.window,
            min_version=VERSION,
            max_version=VERSION,
            session=int.from_bytes(os.urandom(8), "little"),
            agent=AGENT,
            services=services,
        )
        payload = self.hello.encode()
        if len(payload) > frame.MAX_HELLO:
            raise SessionError(
                Reason.REFUSED,
                f"this side's HELLO has {len(payload)} bytes, over the limit of {frame.MAX_HELLO}: "
                f"it serves too many services ({len(services)}) for one session",
            )
        self.put(frame.PREFACE + frame.header(frame.HELLO, 0, len(payload)) + payload)

    def _shake_hands(self) -> bool:
        """Read preface and HELLO off the front of what has come; return whether they have come whole."""
        data, preface = self._in, frame.PREFACE
        # Each byte is compared when it comes: a peer that speaks something else, and waits, is told apart at once.
        n = min(len(data), len(preface))
        if data[:n] != preface[:n]:
            began = bytes(data[:32])
            raise SessionError(
                Reason.FOREIGN, f"the peer does not speak ipcgen's protocol: it began with {began!r}, not {preface!r}"
            )
        head = len(preface) + HEADER_SIZE
        if len(data) < head:
            return False
        word, zero, length, stream, arg = HEADER.unpack_from(data, len(preface))
        try:
            frame.check(word, zero, length, stream, arg, frame.MAX_HELLO)
        except Malformed as e:
            raise self._refused(Reason.PROTOCOL, f"handshake: {e}") from e
        type_ = word & 0xFF
        if type_ not in (frame.HELLO, frame.GOAWAY):
            raise self._refused(Reason.PROTOCOL, f"handshake: a {frame.RULES[type_].name} frame came before HELLO")
        if len(data) < head + length:
            return False
        payload = bytes(data[head : head + length])
        del data[: head + length]
        if type_ == frame.GOAWAY:
            raise SessionError(Reason.REFUSED, f"the peer refused: {frame.safe_text(payload)}")
        try:
            theirs = frame.parse_hello(payload)
        except Malformed as e:
            raise self._refused(Reason.PROTOCOL, f"handshake: HELLO: {e}") from e
        self._agree(theirs)
        self.peer = theirs
        return True

    def _agree(self, theirs: frame.Hello) -> None:
        """Take the highest version of both and the smaller of each limit."""
        mine = self.hello
        if theirs.session == mine.session:
            raise SessionError(Reason.FOREIGN, "the peer sends back what it gets: it is no ipcgen peer")
        if min(mine.max_version, theirs.max_version) < max(mine.min_version, theirs.min_version):
            raise self._refused(
                Reason.VERSION,
                f"this side ({mine.agent}) speaks protocol versions {mine.min_version} to {mine.max_version}, the peer "
                f"({frame.safe_text(theirs.agent.encode())}) {theirs.min_version} to {theirs.max_version}: "
                "upgrade the older one",
            )
        if min(theirs.max_frame, theirs.max_message) < MIN_FRAME or theirs.max_slots == 0 or theirs.window < MIN_WINDOW:
            raise self._refused(
                Reason.PROTOCOL,
                f"handshake: HELLO with limits below the least: frame {theirs.max_frame}, message {theirs.max_message}, "
                f"slots {theirs.max_slots}, window {theirs.window}",
            )
        self.max_frame = min(mine.max_frame, theirs.max_frame)
        self.max_message = min(mine.max_message, theirs.max_message)
        self.slots = min(mine.max_slots, theirs.max_slots)
        self.window = min(mine.window, theirs.window)
        self.single = min(SINGLE_MOST, self.window // 4 - HEADER_SIZE, self.max_frame)
        self.free = list(range(self.slots - 1, -1, -1))
        self.local, self.local_generation = [None] * self.slots, [0] * self.slots
        self.remote, self.remote_generation = [None] * self.slots, [0] * self.slots
        self.remote_answered = [0] * self.slots

    def _refused(self, reason: Reason, text: str) -> SessionError:
        """Tell the peer why there will be no session, and return the same as an error."""
        raw = frame.cut_text(text, frame.MAX_GOAWAY_TEXT)
        self.put(frame.header(frame.GOAWAY, 0, len(raw), arg=reason) + raw)
        return SessionError(reason, text)

    # Reading.

    def receive(self, data: bytes) -> None:
        """Take what the peer sent. A SessionError says that it broke the protocol, or ended the session."""
        if self._in or self.peer is None:
            self._in += data
            if len(self._in) < self._need:
                return
            if self.peer is None:
                if not self._shake_hands():
                    return
                self.driver._opened()
            data = bytes(self._in)
            self._in.clear()
        at = self._frames(data)
        if at < len(data):
            self._in += data[at:]

    @property
    def silent(self) -> bool:
        """Whether nothing has come from the peer yet."""
        return self.peer is None and not self._in

    def _frames(self, data: bytes) -> int:
        """Handle the frames that have come whole; return where the first that has not begins."""
        at, size, most = 0, len(data), self.limits.max_frame
        unpack, legal, handlers = HEADER.unpack_from, frame.LEGAL_WORDS, self._handlers
        while size - at >= HEADER_SIZE:
            word, zero, length, stream, arg = unpack(data, at)
            type_ = word & 0xFF
            # Only what the message or the credit of a call needs passes without a closer look.
            if zero or length > most or word not in legal or stream < 0x10000 or (arg and type_ != STATUS) or type_ > STATUS:
                _check(word, zero, length, stream, arg, most)
            start = at + HEADER_SIZE
            stop = start + length
            if stop > size:
                self._need = stop - at
                return at
            try:
                handlers[type_](word >> 8, stream, arg, data, start, stop)
            except Malformed as e:
                raise SessionError(Reason.PROTOCOL, f"{frame.RULES[type_].name}: {e}") from e
            at = stop
        self._need = HEADER_SIZE
        return at

    def _stream(self, id_: int) -> Stream | None:
        """Find the stream that a frame belongs to; None is one that has ended and may still be spoken of."""
        slot = id_ & 0x7FFF
        if slot >= self.slots:
            raise Malformed(f"slot {slot}, over the limit of {self.slots}")
        if (id_ >> 15 & 1) == self.side:
            call = self.local[slot]
            if call is None or call.id != id_:
                raise Malformed(f"stream {id_:#x}, which this side has not open")
            return call
        if self.remote_generation[slot] != id_ >> 16:
            raise Malformed(f"stream {id_:#x}, which the peer has not opened")
        return self.remote[slot]  # None: the peer sent it before it saw the STATUS

    def _on_data(self, flags: int, id_: int, arg: int, data: bytes, start: int, stop: int) -> None:
        stream = self._stream(id_)
        if stream is None:
            return
        if stream.peer_end:
            raise Malformed(f"stream {id_:#x} goes on after its END")
        if flags & END and (id_ >> 15 & 1) == self.side:
            raise Malformed(f"stream {id_:#x}: an END on DATA of responses, which only STATUS ends")
        cost = HEADER_SIZE + stop - start
        if cost > stream.avail:
            raise Malformed(f"stream {id_:#x}: {cost} bytes, over the credit of {stream.avail}")
        stream.avail -= cost
        if stream.discard:
            return
        if flags & MSG:
            stream.arrive(data[start:stop], bool(flags & MORE))
        elif stop > start or stream.part_left:
            raise Malformed(f"stream {id_:#x}: a frame without MSG inside a message")
        if flags & END:
            stream.peer_end = True
            if isinstance(stream, Incoming):
                self._request_complete(stream)
        if stream.receiver is not None:
            self.driver._wake(stream.receiver)

    def _on_credit(self, flags: int, id_: int, arg: int, data: bytes, start: int, stop: int) -> None:
        stream = self._stream(id_)
        if stream is None:
            return
        if not arg or stream.credit + arg > 2**31 - 1:
            raise Malformed(f"stream {id_:#x}: credit of {arg} on top of {stream.credit}")
        stream.credit += arg
        if stream.sender is not None:
            self.driver._wake(stream.sender)

    def _on_ping(self, flags: int, id_: int, arg: int, data: bytes, start: int, stop: int) -> None:
        if not flags & ACK:
            self._pong = True
            return
        if not self.pings:
            raise Malformed("an answer to no PING")
        answered, self.pings, self.later_pings = self.pings, self.later_pings, []
        if self.pings:
            self.put(frame.header(frame.PING, 0, 0))
        for waiter in answered:
            self.driver._wake(waiter)
        self.settle_drain()

    def _on_hello(self, flags: int, id_: int, arg: int, data: bytes, start: int, stop: int) -> None:
        raise Malformed("not expected after the handshake")

    def _on_goaway(self, flags: int, id_: int, arg: int, data: bytes, start: int, stop: int) -> None:
        if arg == Reason.DRAINED:
            self.peer_leaving = True
            self._refuse_queue()
            return
        if arg == Reason.CLOSED:
            raise SessionError(Reason.PEER_GONE, "the peer closed the session")
        text = frame.safe_text(data[start:stop])
        raise SessionError(Reason.REFUSED, f"the peer ended the session (reason {arg}): {text}")

    # Calls of this side.

    def refusal(self) -> Failure | None:
        """Say why no call can be started."""
        if self.ended is not None:
            return Failure(Code.UNAVAILABLE, str(self.ended), not_executed=True, cause=self.ended)
        if self.failed:
            return Failure(Code.UNAVAILABLE, "the session is ending: the peer is gone", not_executed=True)
        if self.leaving:
            return Failure(Code.UNAVAILABLE, "the session is draining: this side is closing it", not_executed=True)
        if self.peer_leaving:
            return Failure(Code.UNAVAILABLE, "the session is draining: the peer is closing it", not_executed=True)
        return None

    def open(
        self, call: Call, slot: int, method: int, timeout: int, metadata: bytes, message: bytes | None, last: bool
    ) -> bool:
        """Queue the CALL of a call that has the slot; return whether the message went with it, if there is one."""
        self.local[slot] = call
        self.local_generation[slot] = call.id >> 16
        call.mark = self.queued
        self.pending += 1
        head = frame.CALL_HEAD.pack(method, timeout, 0)[:16] + metadata
        flags, fits = 0, True
        if message is not None:
            fits = len(head) + len(message) <= self.max_frame
            flags = MSG if fits else 0
        if last and fits:
            flags |= END
            call.closed = True
        if message is not None and fits:
            head += message
        self.put(frame.header(CALL, flags, len(head), call.id) + head)
        return fits

    def new_call(self, slot: int) -> Call:
        """Return the next call in a slot."""
        return Call(self, frame.stream_id(slot, self.side, frame.next_generation(self.local_generation[slot])))

    def free_slot(self, slot: int) -> None:
        """Hand a slot to the call that has waited longest, or keep it."""
        if not self.queue:
            self.free.append(slot)
            return
        first = self.queue.popleft()
        first.slot = slot
        self.driver._wake(first.waiter)

    def _refuse_queue(self) -> None:
        """Wake the calls that wait for a slot they will not get."""
        waiting, self.queue = self.queue, deque()
        for w in waiting:
            w.refused = True
            self.driver._wake(w.waiter)

    def _on_status(self, flags: int, id_: int, arg: int, data: bytes, start: int, stop: int) -> None:
        head: frame.StatusHead | None = None
        if data.startswith(frame.PLAIN_STATUS, start, stop):
            message = data[start + 6 : stop]
        else:
            head, message = frame.parse_status(data, start, stop, self.limits.metadata)
        if (id_ >> 15 & 1) != self.side:
            raise Malformed("for a call of the peer itself")
        call = self._stream(id_)
        assert isinstance(call, Call)
        if message and not flags & MSG:
            raise Malformed("with message bytes and without MSG")
        if call.part_left and arg == Code.OK:
            raise Malformed("of success, in the middle of a message")
        if head is not None:
            call.trailers = head.trailers
        if arg:
            call.failure = Failure(
                arg,
                head.text if head else "",
                not_executed=bool(flags & NOT_EXECUTED),
                remote=True,
                details=head.details if head else None,
                trailers=call.trailers,
            )
        elif flags & MSG and not call.abandoned:
            call.push(message, 0)
        slot = id_ & 0x7FFF
        self.local[slot] = None
        self.pending -= 1
        self._finish_call(call)
        self.free_slot(slot)
        self.settle_drain()

    def _finish_call(self, call: Call) -> None:
        call.finished = call.closed = call.over = True
        if call.abandoned:
            call.drop()
        else:
            call.finish()
        self._wake_stream(call)

    def responses(self, call: Call) -> list[bytes]:
        """Take all that came for a call that is over. Its room is for others, also where the call has failed."""
        taken = []
        while (data := call.take()) is not None:
            taken.append(data)
        return taken

    def _wake_stream(self, stream: Stream) -> None:
        if stream.receiver is not None:
            self.driver._wake(stream.receiver)
        if stream.sender is not None:
            self.driver._wake(stream.sender)

    def abandon(self, call: Call, why: Failure | None) -> None:
        """Let go of a call, for a failure or because the program canceled it: the peer is told, and the slot stays taken until
        its STATUS."""
        if call.abandoned or (call.finished and not call.items):
            return  # there is nothing left to let go of
        call.abandoned = call.closed = call.discard = call.over = True
        call.why = why
        if call.finished:
            call.drop()
            return
        call.forget()
        self.owe(call)
        late = why is not None and why.code == Code.DEADLINE_EXCEEDED
        call.cancel_code = Code.DEADLINE_EXCEEDED if late else Code.CANCELLED
        self._wake_stream(call)

    def lost(self, call: Call) -> Failure:
        """Return how a call fails whose session ended."""
        assert self.ended is not None
        return Failure(Code.UNAVAILABLE, str(self.ended), not_executed=self.handed <= call.mark, cause=self.ended)

    # Calls of the peer.

    def _on_call(self, flags: int, id_: int, arg: int, data: bytes, start: int, stop: int) -> None:
        slot = id_ & 0x7FFF
        if (id_ >> 15 & 1) == self.side:
            raise Malformed(f"on stream {id_:#x}, which is this side's")
        if slot >= self.slots:
            raise Malformed(f"on slot {slot}, over the limit of {self.slots}")
        method, timeout, metadata, message = frame.parse_call(data, start, stop, self.limits.metadata)
        if message and not flags & MSG:
            raise Malformed("with message bytes and without MSG")
        if self.remote[slot] is not None:
            raise Malformed(f"on slot {slot}, whose last call has not been answered")
        if self.remote_answered[slot] > self.handed:
            # Else a peer that reads nothing could have answers pile up, a slot at a time.
            raise Malformed(f"on slot {slot}, whose last call's answer has not been sent")
        if id_ >> 16 != frame.next_generation(self.remote_generation[slot]):
            raise Malformed(f"on slot {slot} with generation {id_ >> 16} after {self.remote_generation[slot]}")
        self.remote_generation[slot] = id_ >> 16
        served = self.methods.get(method)
        call = Incoming(self, id_, served, metadata)
        if timeout:
            call.deadline = self.driver._now() + min(timeout, MAX_TIMEOUT) / 1e9
        if self.leaving:
            self._put_failure(call, Failure(Code.UNAVAILABLE, "the peer is draining: it takes no new calls", not_executed=True))
            return
        if served is None:
            text = f"the peer does not serve this method (id {method:#018x}): is it of an older schema?"
            self._put_failure(call, Failure(Code.UNIMPLEMENTED, text, not_executed=True))
            return
        self.remote[slot] = call
        self.running += 1
        call.peer_end = bool(flags & END)
        self._start(call, served, message if flags & MSG else None)

    def _start(self, call: Incoming, method: Method, message: bytes | None) -> None:
        """Start the handler of a new call, or leave it until the request is complete."""
        if not method.single:
            if message is not None:
                call.push(message, 0)
            call.started = True
            self.driver._start_handler(call)
        elif message is not None and call.peer_end:
            call.request = message
            call.started = True
            self.driver._start_handler(call)
        else:
            if message is not None:
                call.push(message, 0)
            if call.peer_end:
                self._request_complete(call)

    def _request_complete(self, call: Incoming) -> None:
        """Start the handler of one message whose request came in several frames."""
        if call.started or call.method is None or not call.method.single:
            return
        call.request = call.take()
        if call.request is None:
            self.answer(call, Failure(Code.INVALID_ARGUMENT, "the call came without a request", not_executed=True))
            return
        call.started = True
        self.driver._start_handler(call)

    def _on_cancel(self, flags: int, id_: int, arg: int, data: bytes, start: int, stop: int) -> None:
        if (id_ >> 15 & 1) == self.side:
            raise Malformed("of a call of the other side")
        call = self._stream(id_)
        if call is None:
            return
        assert isinstance(call, Incoming)
        call.closed = True
        if not call.started:
            text = "canceled before the request was complete"
            self.answer(call, Failure(Code.CANCELLED, text, not_executed=True))
            return
        self.tell(call, Code.DEADLINE_EXCEEDED if arg == Code.DEADLINE_EXCEEDED else Code.CANCELLED)

    def tell(self, call: Incoming, code: int) -> None:
        """Tell a handler, once, that it is to stop."""
        if not call.cause:
            call.cause = code
            self.driver._cancel_handler(call)

    def answer(self, call: Incoming, failure: Failure | None, message: bytes | None = None) -> None:
        """Queue the STATUS of a call and free its slot. A message must fit: see fits."""
        slot = call.id & 0x7FFF
        if self.remote[slot] is not call:
            return  # the session ended before the handler was started
        self.remote[slot] = None
        self.running -= 1
        call.drop()
        if self.ended is None:
            if call.inside and failure is None:
                failure = Failure(Code.CANCELLED, "the handler returned in the middle of a message")
            if failure is not None:
                failure.trailers = call.trailers
                self._put_failure(call, failure)
            else:
                self._put_success(call, message)
        self.settle_drain()

    def too_long(self, call: Incoming) -> Failure | None:
        """Say how a call that went well fails whose trailers do not go with the STATUS."""
        if not call.trailers:
            return None
        size = self._head_size(call)
        if size <= self.max_frame:
            return None
        text = f"the trailers take {size} bytes, over the limit of {self.max_frame} of a frame"
        return Failure(Code.RESOURCE_EXHAUSTED, text)

    def _head_size(self, call: Incoming) -> int:
        """Return how many bytes stand before the message in the STATUS of a call that went well."""
        size = len(frame.PLAIN_STATUS)
        if call.trailers:
            size += len(frame.encode_metadata(call.trailers, self.limits.metadata)) - len(frame.NO_METADATA)
        return size

    def fits(self, call: Incoming, message: bytes) -> bool:
        """Say whether a message goes with the STATUS; one that does not, or must wait for room, goes before it."""
        if self._head_size(call) + len(message) > self.max_frame:
            return False
        return len(message) <= MIN_FRAME or self.queued - self.handed < OUT_HIGH

    def _put_success(self, call: Incoming, message: bytes | None) -> None:
        head = frame.PLAIN_STATUS
        if call.trailers:
            head = b"\0\0\0\0" + frame.encode_metadata(call.trailers, self.limits.metadata)
        flags = END
        if message is not None:
            flags |= MSG
            head += message
        self.put(frame.header(STATUS, flags, len(head), call.id) + head)
        self.remote_answered[call.id & 0x7FFF] = self.queued

    def _put_failure(self, call: Incoming, failure: Failure) -> None:
        trailers = frame.encode_metadata(failure.trailers, self.limits.metadata)
        body = frame.encode_status(failure.text, failure.details, trailers)
        if len(body) > self.max_frame:
            body = frame.encode_status(failure.text, [], trailers)
        if len(body) > self.max_frame:
            body = frame.encode_status(failure.text, [], frame.encode_metadata({}, self.limits.metadata))
        flags = END | NOT_EXECUTED if failure.not_executed else END
        self.put(frame.header(STATUS, flags, len(body), call.id, failure.code) + body)
        self.remote_answered[call.id & 0x7FFF] = self.queued

    # Writing.

    def put(self, data: bytes | memoryview, size: int = -1) -> None:
        """Queue bytes of frames."""
        self._out.append(data)
        self.queued += len(data) if size < 0 else size

    def owe(self, stream: Stream) -> None:
        """Note that a stream has a CREDIT or CANCEL to send."""
        if not stream.listed:
            stream.listed = True
            self._due.append(stream)

    @property
    def wants_write(self) -> bool:
        """Whether there is something to send."""
        return bool(self._out or self._chunk or self._due or self._pong) and not self.failed

    def to_send(self) -> bytes | memoryview:
        """Return what to write next: nothing when all is written."""
        if not self._chunk:
            if self._due or self._pong:
                self._collect()
            out = self._out
            if out:
                self._chunk = b"".join(out) if len(out) > 1 else out[0]
                self._out = []
        return self._chunk

    def _collect(self) -> None:
        """Turn what is owed into frames. It happens when a write begins, so that it cannot pile up."""
        due, self._due = self._due, []
        for stream in due:
            if stream.owes:
                self.put(frame.header(frame.CREDIT, 0, 0, stream.id, stream.owes))
            if stream.cancel_code:
                self.put(frame.header(frame.CANCEL, 0, 0, stream.id, stream.cancel_code))
            stream.owes, stream.cancel_code, stream.listed = 0, 0, False
        if self._pong:
            self._pong = False
            self.put(frame.header(frame.PING, ACK, 0))

    def sent(self, n: int) -> None:
        """Note that the transport has taken the first n bytes of to_send."""
        self.handed += n
        chunk = self._chunk
        self._chunk = b"" if n == len(chunk) else memoryview(chunk)[n:]
        if self.room and self.queued - self.handed < OUT_HIGH:
            waiting, self.room = self.room, []
            for stream in waiting:
                if stream.sender is not None:
                    self.driver._wake(stream.sender)

    def release(self, room: int) -> None:
        """Give reserved room back and let the next in line have it."""
        self.reserved -= room
        while self.starved:
            stream = self.starved[0]
            if not stream.over and stream.part_left:
                if self.reserved + stream.part_size + stream.part_left > self.limits.assembly:
                    return
                stream.starving = False
                self.starved.popleft()
                stream.reserve()
            else:
                stream.starving = False
                self.starved.popleft()

    # The end.

    def ping(self, waiter: Any) -> None:
        """Send a PING; the waiter is woken when the peer has answered."""
        if self.pings:
            self.later_pings.append(waiter)  # the answer under way says nothing of what was sent since
        else:
            self.pings.append(waiter)
            self.put(frame.header(frame.PING, 0, 0))

    def drain(self) -> None:
        """Start no more calls and take none."""
        if self.ended is None and not self.leaving:
            self.leaving = True
            text = b"draining"
            self.put(frame.header(frame.GOAWAY, 0, len(text), arg=Reason.DRAINED) + text)
            self._refuse_queue()

    def settle_drain(self) -> None:
        """End the wait of a drain when no call is left."""
        if self.quiet is not None and self.is_quiet:
            self.driver._wake(self.quiet)

    @property
    def is_quiet(self) -> bool:
        """Whether no call runs and no PING is on its way."""
        return not (self.pending or self.running or self.pings)

    def end(self, error: SessionError) -> bytes:
        """End the session for the reason of the first call; later ones do nothing. Return what to tell the peer, if it can
        be told without waiting."""
        if self.ended is not None:
            return b""
        self.ended = error
        farewell = b""
        if not self.failed and not self._chunk and error.reason in (Reason.CLOSED, Reason.PROTOCOL, Reason.VERSION):
            if self.window:  # else the handshake has said what there is to say
                text = frame.cut_text(error.text, frame.MAX_GOAWAY_TEXT)
                self._collect()
                self.put(frame.header(frame.GOAWAY, 0, len(text), arg=error.reason) + text)
            farewell = bytes(self.to_send())
        for slot, call in enumerate(self.local):
            if call is not None:
                self.local[slot] = None
                if call.failure is None:
                    call.failure = self.lost(call)
                self._finish_call(call)
        for incoming in self.remote:
            if incoming is not None:
                incoming.closed = True
                if incoming.started:
                    self.tell(incoming, Code.CANCELLED)
                else:
                    self.answer(incoming, None)
                self._wake_stream(incoming)
        self._refuse_queue()
        for waiter in (*self.pings, *self.later_pings, self.quiet):
            if waiter is not None:
                self.driver._wake(waiter)
        for stream in self.room:
            if stream.sender is not None:
                self.driver._wake(stream.sender)
        return farewell


def _check(word: int, zero: int, length: int, stream: int, arg: int, most: int) -> None:
    try:
        frame.check(word, zero, length, stream, arg, most)
    except Malformed as e:
        raise SessionError(Reason.PROTOCOL, str(e)) from e
