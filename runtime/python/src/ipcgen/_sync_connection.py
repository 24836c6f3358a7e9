"""A session driven by the threads that call: no event loop, and no thread that hands answers over.

One thread at a time reads; it has the role. A caller that waits takes the role if nobody has it, and so reads its own
answer; while another has it, it is woken when its answer has come. Between calls nobody has the role. When that has lasted
for a tick, a thread of the connection's own takes it, so that a peer that pings, drains or dies finds somebody there, and
gives it back to the next caller.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from google.protobuf.message import Message

from ._call import Call, Failure, Incoming, SlotWaiter
from ._channel import Channel, Peer
from ._connection import LAST_WORDS, io_error
from ._errors import Code, Reason, SessionError, not_executed
from ._fork import watch
from ._frame import END, NO_METADATA
from ._limits import Limits, settle
from ._method import CallOptions, Method
from ._session import Session
from ._stream import Sending

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)

TICK = 0.01
"""Seconds for which nobody may have the role before the connection's own thread takes it."""

LONGEST = 86_400.0
"""Seconds that a thread waits at a time: poll takes no more than 24 days."""


class _Waiter:
    """A thread that waits for the session."""

    __slots__ = ("_gate",)

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._gate.acquire()

    def notify(self) -> None:
        if self._gate.locked():
            self._gate.release()

    def wait(self, seconds: float) -> None:
        """Wait until notified; a negative number of seconds is without limit."""
        self._gate.acquire(timeout=seconds)


class SyncConnection:
    """A session with a peer, for calls from any number of threads. It serves nothing. ``with`` closes it.

    In a process that is forked from its own, whatever uses it is a RuntimeError, and closing it does nothing.
    """

    _left = False  # this process was forked from the connection's

    def __init__(self, channel: Channel, limits: Limits | None) -> None:
        self._channel = channel
        self._limits = settle(limits, channel.peer.same_user)
        # The lock guards the session and everything below. It is never held while a thread waits.
        self._lock = threading.Lock()
        self._session = Session(self, 0, self._limits, {}, [])
        self._reading = False  # somebody has the role
        self._relieve = False  # the connection's own thread has it and is to give it back
        self._idling = False  # it has it
        self._moves = 0  # how often a caller had it
        self._waiting: list[_Waiter] = []  # those that do not have it
        self._last_words = 0.0  # when to give up reading, once writing has failed
        self._write_error: SessionError | None = None
        self._dropped: list[Call] = []  # that nobody has any more
        self._vacated = threading.Event()
        self._over = threading.Event()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._poll = select.poll()
        self._poll.register(self._wake_read, select.POLLIN)
        self._poll.register(channel.reads, select.POLLIN)
        self._polls_write = False
        watch(self)

    def _start(self) -> None:
        """Shake hands within the limit for it. On failure the channel is closed."""
        limit = self._limits.handshake
        with self._lock:
            try:
                self._take()  # TLS may have it already: it came with the end of its handshake
                self._wait(lambda: self._session.peer is not None, time.monotonic() + limit)
            except BaseException:
                self._end(SessionError(Reason.CLOSED, "given up during the handshake"))
                raise
            if self._session.peer is None:
                text = f"the peer's HELLO did not come within {limit:g} s: is it an ipcgen peer?"
                self._end(SessionError(Reason.NO_HANDSHAKE, text))
                assert self._session.ended is not None
                raise self._session.ended
        threading.Thread(target=self._idle, name="ipcgen-idle", daemon=True).start()

    # What the session asks for (Driver).

    def _opened(self) -> None:
        """The handshake is over."""

    def _wake(self, waiter: Any) -> None:
        """Let a thread look again, if it sleeps."""
        if waiter is not None:
            waiter.notify()

    def _start_handler(self, incoming: Incoming) -> None:
        """Nothing is served here."""
        raise AssertionError("a connection without services has no handlers")

    def _cancel_handler(self, incoming: Incoming) -> None:
        """Nothing is served here."""

    def _now(self) -> float:
        """Return the time on the clock of deadlines."""
        return time.monotonic()

    # Waiting and reading. All of these are called with the lock held.

    def _wait(self, ready: Callable[[], bool], deadline: float, holder: Any = None, name: str = "") -> None:
        """Wait until ready, the deadline (0: none) or the end of the session.

        Where another thread reads, this one leaves a waiter in the attribute of that name, for the session to wake.
        """
        try:
            while not ready() and self._session.ended is None:
                if deadline and time.monotonic() >= deadline:
                    return
                if self._reading:
                    self._wait_for_others(deadline, holder, name)
                    continue
                self._reading = True
                try:
                    self._read(ready, deadline)
                finally:
                    self._reading = False
                    self._moves += 1
        finally:
            if not self._reading:
                self._vacate()

    def _vacate(self) -> None:
        """Let another caller that waits have the role, or nobody."""
        if self._waiting:
            self._waiting[0].notify()
        elif not self._vacated.is_set():
            self._vacated.set()

    def _wait_for_others(self, deadline: float, holder: Any, name: str) -> None:
        """Wait while another thread reads, until something has come for this one or the role is free."""
        if self._idling:
            self._relieve = True
        self._nudge()
        waiter = _Waiter()
        self._waiting.append(waiter)
        if holder is not None:
            setattr(holder, name, waiter)
        self._lock.release()
        try:
            waiter.wait(min(max(0.0, deadline - time.monotonic()), LONGEST) if deadline else -1)
        finally:
            self._lock.acquire()
            self._waiting.remove(waiter)
            if holder is not None:
                setattr(holder, name, None)

    def _nudge(self) -> None:
        """Make the thread that reads look again: at what is to be written, and at whether it is to go on."""
        if self._relieve or self._session.wants_write:
            with contextlib.suppress(BlockingIOError):
                os.write(self._wake_write, b"\0")

    def _read(self, ready: Callable[[], bool], deadline: float) -> None:
        """Read, and write what could not be written at once, until ready, the deadline or the end of the session."""
        session = self._session
        stall = 0.0  # when the peer must have taken something
        while True:
            handed = session.handed
            while self._dropped:
                session.abandon(self._dropped.pop(), None)
            if session.wants_write or self._channel.unsent:
                self._flush()
            if ready() or session.ended is not None:
                return
            blocked = session.wants_write or self._channel.unsent
            if not blocked:
                stall = 0.0
            elif not stall or session.handed != handed:
                stall = time.monotonic() + self._limits.stall
            timeout = self._patience(deadline, stall)
            if timeout == 0:
                return
            self._receive(timeout, blocked)

    def _patience(self, deadline: float, stall: float) -> float | None:
        """Return how long to wait: None is without limit, 0 that the deadline has passed."""
        if not (deadline or stall or self._last_words):
            return None
        now = time.monotonic()
        if stall and now >= stall:
            self._end(SessionError(Reason.STALLED, f"the peer has read nothing for {self._limits.stall:g} s"))
        if self._last_words and now >= self._last_words and self._write_error is not None:
            self._end(self._write_error)
        return max(0.0, min(t for t in (deadline, stall, self._last_words) if t) - now)

    def _receive(self, timeout: float | None, blocked: bool) -> None:
        """Wait for the channel, and handle what it has."""
        channel = self._channel
        if blocked != self._polls_write:
            self._polls_write = blocked
            self._poll.register(channel.reads, select.POLLIN)
            if channel.writes == channel.reads:
                self._poll.register(channel.reads, select.POLLIN | (select.POLLOUT if blocked else 0))
            elif blocked:
                self._poll.register(channel.writes, select.POLLOUT)
            else:
                self._poll.unregister(channel.writes)
        self._lock.release()
        try:
            events = self._poll.poll(None if timeout is None else min(timeout, LONGEST) * 1000 + 1)
        finally:
            self._lock.acquire()
        for fd, event in events:
            if fd == self._wake_read:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            elif fd == channel.reads and event & ~select.POLLOUT and self._session.ended is None:
                self._take()

    def _take(self) -> None:
        """Handle what has come."""
        try:
            data = self._channel.recv()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as e:
            self._end(io_error("reading", e))
            return
        if not data:
            self._lock.release()
            try:
                ending = self._channel.ending(LAST_WORDS)
            finally:
                self._lock.acquire()
            text = "the peer closed the connection or died"
            self._end(SessionError(Reason.PEER_GONE, f"{text}: {ending}" if ending else text))
            return
        try:
            self._session.receive(data)
        except SessionError as e:
            self._end(e)

    def _flush(self) -> None:
        """Write what is queued, as far as the channel takes it."""
        session, send = self._session, self._channel.send
        if session.failed or session.ended is not None:
            return
        try:
            if self._channel.unsent:
                send(b"")
            while data := session.to_send():
                session.sent(send(data))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as e:
            ended = io_error("writing", e)
            if ended.reason != Reason.PEER_GONE:
                self._end(ended)
                return
            session.failed = True  # what the peer had sent before it went is still read
            self._write_error, self._last_words = ended, time.monotonic() + LAST_WORDS

    def _push(self) -> None:
        """Write what is queued; what the channel does not take at once is for the one that reads."""
        self._flush()
        if not self._session.wants_write and not self._channel.unsent:
            return
        if self._reading:
            self._nudge()
        elif not self._vacated.is_set():
            self._vacated.set()

    def _idle(self) -> None:
        """Read while no caller does: the connection's own thread."""
        while True:
            self._vacated.wait()
            moves = self._moves
            if self._over.wait(TICK):
                return
            with self._lock:
                if self._session.ended is not None:
                    return
                if self._reading or moves != self._moves:
                    continue
                self._vacated.clear()
                self._reading = self._idling = True
                try:
                    self._read(lambda: self._relieve, 0.0)
                finally:
                    self._reading = self._idling = self._relieve = False
                    if self._waiting:
                        self._vacate()

    # Calls.

    def _call(self, method: Method[Any, Any], request: Message, options: CallOptions) -> list[bytes]:
        """Do a whole call of one request; return what it was answered when it is over and has gone well."""
        data = method.encode_request(request, self._session)
        with self._lock:
            call = self._open(method, data, True, options)
            try:
                self._wait(lambda: call.finished, call.deadline, call, "receiver")
                if not call.finished:
                    self._give_up_late(method, call)
            finally:
                if not call.finished:
                    self._abandon(call)
            if "trailers" in options:
                options["trailers"].update(call.trailers)
            answer = self._session.responses(call)
            if self._session.wants_write:
                self._push()
            if call.failure is not None:
                raise method.error(call.failure)
            return answer

    def _oneway(self, method: Method[Any, Any], request: Message, options: CallOptions) -> None:
        """Send a call that nobody waits for; return when it is queued."""
        data = method.encode_request(request, self._session)
        with self._lock:
            call = self._open(method, data, True, options)
            call.abandoned = call.discard = True

    def _open(self, method: Method[Any, Any], data: bytes | None, last: bool, options: Mapping[str, Any]) -> Call:
        """Get a slot and send the CALL, and all of the first message. Called with the lock held."""
        session = self._session
        deadline, metadata = 0.0, NO_METADATA
        timeout = method.time_limit(options)
        if timeout is not None:
            deadline = time.monotonic() + timeout
        if options and options.get("metadata"):
            metadata = method.metadata(options["metadata"], session)
        if failure := session.refusal():
            raise method.error(failure)
        slot = session.free.pop() if session.free else self._wait_slot(method, deadline)
        nanoseconds = 0
        if timeout is not None:
            nanoseconds = int((deadline - time.monotonic()) * 1e9)
            if nanoseconds <= 0:
                session.free_slot(slot)
                raise method.named(not_executed(Code.DEADLINE_EXCEEDED, "the deadline was over before the call"))
        call = session.new_call(slot)
        call.deadline = deadline
        whole = session.open(call, slot, method.id, nanoseconds, metadata, data, last)
        self._push()
        if not whole and data is not None:
            try:
                self._send(call, Sending(data, END if last else 0))
            except BaseException:
                self._abandon(call)
                raise
        return call

    def _wait_slot(self, method: Method[Any, Any], deadline: float) -> int:
        """Wait until a call ends: all slots are taken."""
        session, waiting = self._session, SlotWaiter(None)
        session.queue.append(waiting)
        try:
            self._wait(lambda: waiting.slot >= 0 or waiting.refused, deadline, waiting, "waiter")
        except BaseException:
            self._leave_queue(waiting)
            raise
        if failure := session.refusal():
            self._leave_queue(waiting)
            raise method.error(failure)
        if waiting.slot < 0:
            self._leave_queue(waiting)
            text = "no answer within the deadline: all of the session's slots were in use"
            raise method.named(not_executed(Code.DEADLINE_EXCEEDED, text))
        return waiting.slot

    def _leave_queue(self, waiting: SlotWaiter) -> None:
        if waiting.slot >= 0:
            self._session.free_slot(waiting.slot)
        elif not waiting.refused:
            self._session.queue.remove(waiting)

    def _give_up_late(self, method: Method[Any, Any], call: Call) -> None:
        """End a call whose deadline has passed. Called with the lock held."""
        late = Failure(Code.DEADLINE_EXCEEDED, "no answer within the deadline")
        self._session.abandon(call, late)
        self._push()
        raise method.error(late)

    def _abandon(self, call: Call, why: Failure | None = None) -> None:
        """Let go of a call, at once on this side. Called with the lock held."""
        if not call.abandoned:
            self._session.abandon(call, why)
            if self._session.ended is None:
                self._push()
            if self._reading:  # by the thread that waits for this call, perhaps
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake_write, b"\0")

    def _drop(self, call: Call) -> None:
        """Let go of a call that the program has forgotten. Called without the lock, which this thread may have."""
        if self._left:
            return
        self._dropped.append(call)
        self._vacated.set()
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"\0")

    def _send(self, stream: Call, out: Sending) -> bool:
        """Send a message, waiting for credit and room; False says that the other side takes no more. Called with the lock
        held."""
        while not stream.advance(out):
            self._push()
            if stream.advance(out):
                break
            if stream.closed or self._session.ended is not None:
                return False
            if stream.deadline and time.monotonic() >= stream.deadline:
                return False
            self._wait(lambda: stream.advance(out) or stream.closed, stream.deadline, stream, "sender")
        self._push()
        return True

    # For users.

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        peer, hello = self._channel.peer, self._session.peer
        services = tuple(name for name, _ in hello.services) if hello else ()
        return Peer(peer.address, peer.pid, peer.uid, peer.gid, peer.same_user, services)

    @property
    def error(self) -> SessionError | None:
        """Why the session ended; None while it lives."""
        return self._session.ended

    def ping(self, timeout: float | None = None) -> None:
        """Return when the peer's runtime has answered. SessionError says that the session has ended instead."""
        with self._lock:
            self._ping(time.monotonic() + timeout if timeout is not None else 0.0)
            if self._session.ended is not None:
                raise self._session.ended

    def _ping(self, deadline: float) -> None:
        """Called with the lock held."""
        if self._session.ended is None:
            answer = _Answer()
            self._session.ping(answer)
            self._push()
            self._wait(lambda: answer.came, deadline, answer, "waiter")
            if not answer.came and self._session.ended is None:
                raise TimeoutError("the peer has not answered a PING in time")

    def shutdown(self, grace: float | None = None) -> None:
        """End the session when the calls have finished; new ones are refused as not executed.

        After grace seconds, 5 where it is None, the calls that still run fail.
        """
        session = self._session
        deadline = time.monotonic() + (self._limits.grace if grace is None else grace)
        with self._lock:
            session.drain()
            with contextlib.suppress(TimeoutError):
                self._ping(deadline)  # calls that crossed the GOAWAY have come when it is answered
                self._wait(lambda: session.is_quiet and not session.wants_write, deadline, session, "quiet")
            self._end(SessionError(Reason.DRAINED, "drained"))

    def close(self) -> None:
        """End the session now; calls that run fail."""
        if self._left:
            return
        with self._lock:
            self._end(SessionError(Reason.CLOSED, "this side closed it"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _leave(self, refusal: Any) -> None:
        self._left, self._session, self._lock = True, refusal, refusal

    def _end(self, error: SessionError) -> None:
        """End the session for the reason of the first call; later ones do nothing. Called with the lock held."""
        session = self._session
        if session.ended is not None:
            return
        error._with(self._channel.peer.address)
        farewell = session.end(error)
        if farewell and not self._channel.unsent:
            with contextlib.suppress(OSError):
                self._channel.send(farewell)  # best effort: the session is over either way
        self._over.set()
        self._vacated.set()
        for waiter in self._waiting:
            waiter.notify()
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")  # whoever polls stops
        self._channel.close()

    def __del__(self) -> None:
        for fd in (self._wake_read, self._wake_write):
            with contextlib.suppress(OSError):
                os.close(fd)


class _Answer:
    """Waits for the answer to a PING; the thread that reads notes that it has come."""

    came = False
    waiter: _Waiter | None = None

    def notify(self) -> None:
        self.came = True
        if self.waiter is not None:
            self.waiter.notify()
