"""A session driven by asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import logging
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from google.protobuf.message import Message

from ._call import Call, Failure, Incoming, SlotWaiter
from ._channel import Channel, Peer
from ._errors import Code, Reason, SessionError, not_executed
from ._fork import watch
from ._frame import END, NO_METADATA
from ._session import Session
from ._stream import Sending, Stream

if TYPE_CHECKING:
    from ._endpoint import Endpoint
    from ._method import CallOptions, Method
    from ._service import Binding

log = logging.getLogger("ipcgen")

LAST_WORDS = 1.0
"""Seconds to read what a peer had sent before it went, once writing to it has failed."""

GONE = {errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED, errno.ESHUTDOWN}

current_call: contextvars.ContextVar[Incoming] = contextvars.ContextVar("ipcgen_call")


def io_error(what: str, error: OSError) -> SessionError:
    """Return the end of a session whose connection failed."""
    reason = Reason.PEER_GONE if error.errno in GONE else Reason.BROKEN
    ended = SessionError(reason, f"{what}: {error}")
    ended.__cause__ = error
    return ended


class Connection:
    """A session with a peer: what clients call through, and what calls of the peer come by.

    It belongs to the event loop that it was made in, and so do its calls. In a process that is forked from its own, whatever
    uses it is a RuntimeError, and closing it does nothing. ``async with`` closes it.
    """

    _left = False  # this process was forked from the connection's

    def __init__(self, channel: Channel, side: int, endpoint: Endpoint) -> None:
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._limits = endpoint.settle(channel.peer.same_user)
        self._session = Session(self, side, self._limits, endpoint.methods, endpoint.services)
        self._handshake: asyncio.Future[None] = self._loop.create_future()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flush_due = False
        self._flushed: asyncio.Future[None] | None = None  # waits until all is written
        self._writing = False  # waits until the channel can be written to
        self._stalled: asyncio.TimerHandle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0  # 0: not set
        watch(self)

    # Beginning.

    async def _start(self) -> None:
        """Shake hands within the limit for it. On failure the channel is closed."""
        self._loop.add_reader(self._channel.reads, self._readable)
        self._loop.call_soon(self._readable)  # TLS may have it already: it came with the end of its handshake
        self._flush()
        try:
            async with asyncio.timeout(self._limits.handshake):
                await self._handshake
        except TimeoutError:
            text = f"the peer's HELLO did not come within {self._limits.handshake:g} s: is it an ipcgen peer?"
            self._end(SessionError(Reason.NO_HANDSHAKE, text))
        except asyncio.CancelledError:
            self._end(SessionError(Reason.CLOSED, "given up during the handshake"))
            raise
        if self._session.peer is None:
            ended = self._session.ended
            assert ended is not None
            ended._silent = ended.reason == Reason.PEER_GONE and self._session.silent
            raise ended

    # What the session asks for (Driver).

    def _opened(self) -> None:
        """The handshake is over."""
        self._wake(self._handshake)

    def _wake(self, waiter: Any) -> None:
        """Let what awaits a future go on."""
        if not waiter.done():
            waiter.set_result(None)

    def _start_handler(self, incoming: Incoming) -> None:
        """Run a handler in a task of its own."""
        if incoming.deadline:
            self._set_alarm(incoming.deadline)
        binding: Binding = incoming.method  # type: ignore[assignment]
        task = self._loop.create_task(self._handle(binding, incoming))
        incoming.task = task
        self._tasks.add(task)

    def _cancel_handler(self, incoming: Incoming) -> None:
        """Cancel a handler's task."""
        task = incoming.task
        late = incoming.cause == Code.DEADLINE_EXCEEDED
        if not incoming.begun:  # its task would end without having run, and without an answer
            self._tasks.discard(task)
            code = Code.DEADLINE_EXCEEDED if late else Code.CANCELLED
            self._session.answer(incoming, Failure(code, "canceled before the handler began", not_executed=True))
        if task is not asyncio.current_task(self._loop):
            task.cancel("the call's deadline has passed" if late else "nobody waits for the call any more")

    def _now(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    # Reading and writing.

    def _readable(self) -> None:
        if self._session.ended is not None:
            return
        try:
            data = self._channel.recv()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as e:
            self._end(io_error("reading", e))
            return
        session = self._session
        if not data:
            self._loop.remove_reader(self._channel.reads)
            self._ended_by_peer()
            return
        try:
            session.receive(data)
        except SessionError as e:
            self._end(e)
            return
        if session.wants_write:
            self._flush()

    def _ended_by_peer(self) -> None:
        """Find out how the peer went, if that takes no time; a child's exit status may come a moment after its stdout's end."""
        text = "the peer closed the connection or died"
        if self._channel.peer.address.startswith("exec:"):
            ending = self._loop.run_in_executor(None, self._channel.ending, LAST_WORDS)
            ending.add_done_callback(
                lambda f: self._end(SessionError(Reason.PEER_GONE, f"{text}: {f.result()}" if f.result() else text))
            )
            return
        self._end(SessionError(Reason.PEER_GONE, text))

    def _flush(self) -> None:
        """Write what is queued, as far as the channel takes it."""
        if self._writing or self._session.failed or self._session.ended is not None:
            return
        session, send = self._session, self._channel.send
        try:
            while data := session.to_send():
                session.sent(send(data))
            if not self._channel.unsent:
                if self._flushed is not None:
                    self._wake(self._flushed)
                return
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as e:
            self._write_failed(e)
            return
        if session.ended is None:
            self._writing = True
            self._loop.add_writer(self._channel.writes, self._writable)
            self._stalled = self._loop.call_later(self._limits.stall, self._stall)

    def _writable(self) -> None:
        self._stop_writing()
        if self._channel.unsent:
            try:
                self._channel.send(b"")
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as e:
                self._write_failed(e)
                return
        self._flush()

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._channel.writes)
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _stall(self) -> None:
        self._end(SessionError(Reason.STALLED, f"the peer has read nothing for {self._limits.stall:g} s"))

    def _write_failed(self, error: OSError) -> None:
        """Give up sending. What the peer had sent before it went is still read."""
        self._stop_writing()
        ended = io_error("writing", error)
        if ended.reason != Reason.PEER_GONE:
            self._end(ended)
            return
        self._session.failed = True
        self._loop.call_later(LAST_WORDS, self._end, ended)

    def _flush_soon(self) -> None:
        """Write what is queued when this round of the loop is over, together with what others queue until then."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flush_due = False
        self._flush()

    def _flush_alone(self) -> None:
        """Write at once where no other call could share the write."""
        if self._session.pending + self._session.running <= 1:
            self._flush()
        else:
            self._flush_soon()

    # Deadlines: one timer for all calls. It is not set back when a call ends in time.

    def _set_alarm(self, at: float) -> None:
        if self._alarm_at and at >= self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        session, now, following = self._session, self._loop.time(), 0.0
        self._alarm, self._alarm_at = None, 0.0
        for call in session.local:
            if call is None or not call.deadline or call.late:
                continue
            if call.deadline <= now:
                call.late = True
                for waiter in (call.receiver, call.sender):
                    if waiter is not None:
                        self._wake(waiter)
            else:
                following = min(following or call.deadline, call.deadline)
        for incoming in session.remote:
            if incoming is None or not incoming.deadline or incoming.cause:
                continue
            if incoming.deadline <= now:
                session.tell(incoming, Code.DEADLINE_EXCEEDED)
            else:
                following = min(following or incoming.deadline, incoming.deadline)
        if following and session.ended is None:
            self._set_alarm(following)

    # Calls of this side.

    async def _call(self, method: Method[Any, Any], request: Message, options: CallOptions) -> list[bytes]:
        """Do a whole call of one request; return what it was answered when it is over and has gone well."""
        data = method.encode_request(request, self._session)
        call = await self._open(method, data, True, options)
        try:
            while not call.finished:
                if call.late:
                    self._give_up_late(method, call)
                await self._wait_receive(call)
        finally:
            if not call.finished:
                self._abandon(call)
        if "trailers" in options:
            options["trailers"].update(call.trailers)
        answer = self._session.responses(call)
        if self._session.wants_write:
            self._flush_soon()
        if call.failure is not None:
            raise method.error(call.failure)
        return answer

    async def _oneway(self, method: Method[Any, Any], request: Message, options: CallOptions) -> None:
        """Send a call that nobody waits for; return when it is queued."""
        data = method.encode_request(request, self._session)
        call = await self._open(method, data, True, options)
        call.abandoned = call.discard = True

    async def _open(
        self, method: Method[Any, Any], data: bytes | None, last: bool, options: Mapping[str, Any]
    ) -> Call:
        """Get a slot and send the CALL, and all of the first message."""
        session = self._session
        deadline, metadata = 0.0, NO_METADATA
        timeout = method.time_limit(options)
        if timeout is not None:
            deadline = self._loop.time() + timeout
        if options and options.get("metadata"):
            metadata = method.metadata(options["metadata"], session)
        if failure := session.refusal():
            raise method.error(failure)
        slot = session.free.pop() if session.free else await self._wait_slot(method, deadline)
        nanoseconds = 0
        if timeout is not None:
            nanoseconds = int((deadline - self._loop.time()) * 1e9)
            if nanoseconds <= 0:
                session.free_slot(slot)
                raise method.named(not_executed(Code.DEADLINE_EXCEEDED, "the deadline was over before the call"))
        call = session.new_call(slot)
        call.deadline = deadline
        whole = session.open(call, slot, method.id, nanoseconds, metadata, data, last)
        if deadline:
            self._set_alarm(deadline)
        self._flush_alone()
        if not whole and data is not None:
            try:
                await self._send(call, Sending(data, END if last else 0))
            except BaseException:
                self._abandon(call)
                raise
        return call

    async def _wait_slot(self, method: Method[Any, Any], deadline: float) -> int:
        """Wait until a call ends: all slots are taken."""
        session = self._session
        waiter = SlotWaiter(self._loop.create_future())
        session.queue.append(waiter)
        try:
            async with asyncio.timeout_at(deadline or None):
                await waiter.waiter
        except (TimeoutError, asyncio.CancelledError) as e:
            if waiter.slot >= 0:
                session.free_slot(waiter.slot)
            elif not waiter.refused:
                session.queue.remove(waiter)
            if isinstance(e, asyncio.CancelledError):
                e.not_executed = True  # type: ignore[attr-defined]  # asyncio allows no class of our own here
                raise
            text = "no answer within the deadline: all of the session's slots were in use"
            raise method.named(not_executed(Code.DEADLINE_EXCEEDED, text)) from None
        if failure := session.refusal():
            if waiter.slot >= 0:
                session.free_slot(waiter.slot)
            raise method.error(failure)
        return waiter.slot

    def _give_up_late(self, method: Method[Any, Any], call: Call) -> None:
        """End a call whose deadline has passed."""
        late = Failure(Code.DEADLINE_EXCEEDED, "no answer within the deadline")
        self._session.abandon(call, late)
        self._flush()
        raise method.error(late)

    def _abandon(self, call: Call, why: Failure | None = None) -> None:
        """Let go of a call, at once on this side."""
        if not call.abandoned and not self._left:
            self._session.abandon(call, why)
            if self._session.ended is None:
                self._flush_soon()

    # Streams of either side.

    async def _send(self, stream: Stream, out: Sending) -> bool:
        """Send a message, waiting for credit and room; False says that the other side takes no more."""
        if stream.sender is not None:
            raise RuntimeError("another task is sending on this stream: one at a time")
        while not stream.advance(out):
            if stream.closed or self._session.ended is not None:
                return False
            if isinstance(stream, Call) and stream.late:
                return False
            if self._session.wants_write and not self._writing:
                self._flush()  # the peer cannot return credit for what it has not got
                continue
            stream.sender = self._loop.create_future()
            try:
                await stream.sender
            finally:
                stream.sender = None
        self._flush_soon()
        return True

    async def _receive(self, stream: Stream) -> bytes | None:
        """Return the next message; None when none will come."""
        while True:
            data = stream.take()
            if data is not None:
                if self._session.wants_write:  # the credit for it, or for a large message that waited for its room
                    self._flush_soon()
                return data
            if stream.over or stream.peer_end or self._session.ended is not None:
                return None
            if isinstance(stream, Call) and stream.late:
                return None
            await self._wait_receive(stream)

    async def _wait_receive(self, stream: Stream) -> None:
        if stream.receiver is not None:
            raise RuntimeError("another task is receiving on this stream: one at a time")
        stream.receiver = self._loop.create_future()
        try:
            await stream.receiver
        finally:
            stream.receiver = None

    # Calls of the peer.

    async def _handle(self, binding: Binding, incoming: Incoming) -> None:
        """Run a handler, and answer whatever it does."""
        incoming.begun = True
        current_call.set(incoming)
        failure, message = None, None
        try:
            message = await binding.run(self, incoming)
            failure = self._session.too_long(incoming)
            if failure is None and message is not None and not self._session.fits(incoming, message):
                await self._send(incoming, Sending(message))
                message = None
        except BaseException as e:
            failure = self._failed(binding, incoming, e)
            if not isinstance(e, Exception | asyncio.CancelledError):
                raise  # KeyboardInterrupt and its like are the program's
        finally:
            self._session.answer(incoming, failure, None if failure else message)
            self._tasks.discard(incoming.task)
            self._flush_alone()

    def _failed(self, binding: Binding, incoming: Incoming, error: BaseException) -> Failure | None:
        failure, authored = binding.method.failure(error, incoming.cause)
        if not authored or (binding.method.silent and not isinstance(error, asyncio.CancelledError)):
            log.error("handler of %s failed", binding.method.path, exc_info=error)
        return None if binding.method.silent else failure  # of a oneway call not even an error comes back

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

    async def wait_closed(self) -> None:
        """Return when the session has ended, whatever ended it."""
        await asyncio.shield(self._over)

    async def ping(self) -> None:
        """Return when the peer's runtime has answered. SessionError says that the session has ended instead."""
        waiter = self._loop.create_future()
        if self._session.ended is None:
            self._session.ping(waiter)
            self._flush()
            await waiter
        if self._session.ended is not None:
            raise self._session.ended

    async def shutdown(self, grace: float | None = None) -> None:
        """End the session when the calls of both sides have finished; new ones are refused as not executed.

        After grace seconds, 5 where it is None, the calls that still run fail.
        """
        session = self._session
        session.drain()
        with contextlib.suppress(TimeoutError, SessionError):
            async with asyncio.timeout(self._limits.grace if grace is None else grace):
                await self.ping()  # calls that crossed the GOAWAY have come when it is answered
                while session.ended is None and not session.is_quiet:
                    await self._wait_quiet()
                while session.ended is None and (session.wants_write or self._channel.unsent):
                    await self._wait_flushed()
        self._end(SessionError(Reason.DRAINED, "drained"))
        await self._wait_handlers()

    async def _wait_quiet(self) -> None:
        """Wait until the last call has ended."""
        session = self._session
        if session.quiet is None or session.quiet.done():
            session.quiet = self._loop.create_future()
        await asyncio.shield(session.quiet)

    async def _wait_flushed(self) -> None:
        """Wait until the channel has taken all that there is to write."""
        if self._flushed is None or self._flushed.done():
            self._flushed = self._loop.create_future()
        self._flush()
        await asyncio.shield(self._flushed)

    async def close(self) -> None:
        """End the session now; calls that run fail. It returns when the handlers of the peer's calls have returned."""
        if self._left:
            return
        self._end(SessionError(Reason.CLOSED, "this side closed it"))
        await self._wait_handlers()

    async def _wait_handlers(self) -> None:
        """Wait for the handlers, except for one that closes its own session."""
        tasks = self._tasks - {t for t in (asyncio.current_task(),) if t is not None}
        if tasks:
            await asyncio.wait(tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _leave(self, refusal: Any) -> None:
        self._left, self._session, self._loop, self._flush_due = True, refusal, refusal, False

    def _end(self, error: SessionError) -> None:
        """End the session for the reason of the first call; later ones do nothing."""
        session = self._session
        if session.ended is not None:
            return
        error._with(self._channel.peer.address)
        farewell = session.end(error)
        if farewell and not self._channel.unsent:
            with contextlib.suppress(OSError):
                self._channel.send(farewell)  # best effort: the session is over either way
        self._stop_writing()
        if self._alarm is not None:
            self._alarm.cancel()
        self._loop.remove_reader(self._channel.reads)
        self._channel.close()
        for waiter in (self._over, self._handshake, self._flushed):
            if waiter is not None:
                self._wake(waiter)
        if error.reason not in (Reason.CLOSED, Reason.DRAINED, Reason.PEER_GONE) and session.peer is not None:
            log.warning("%s", error)
