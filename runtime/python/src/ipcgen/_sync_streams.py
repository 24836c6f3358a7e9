"""The caller's end of calls whose messages are streamed, without an event loop."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from google.protobuf.message import Message

from ._call import Call, Failure
from ._errors import Code, rpc_error
from ._frame import END
from ._method import CLOSED, CLOSED_HALF, CallOptions, Method, because, let_go, no_response, several_responses
from ._stream import Sending
from ._sync_connection import SyncConnection

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


class SyncStream(Generic[Req, Res]):
    """A call that opens when it is first used."""

    _call: Call | None = None

    def __init__(
        self, conn: SyncConnection, method: Method[Req, Res], request: Req | None, options: CallOptions
    ) -> None:
        self._conn, self._method, self._options = conn, method, options
        # Encoded now: what is wrong with the request shows where it was given.
        self._first = None if request is None else method.encode_request(request, conn._session)
        self._opening = threading.Lock()
        self._shut = ""  # why this side sends no more, where it is of its own doing
        self._unopened: Failure | None = None  # how a call fails that ended before it was opened

    def _opened(self) -> Call:
        if self._call is None:
            with self._opening:  # one thread may send while another receives
                if self._call is None:
                    with self._conn._lock:
                        self._open()
        assert self._call is not None
        return self._call

    def _open(self) -> None:
        """Called with the connection's lock held, which is released while the call waits for its slot."""
        if self._unopened is not None:
            raise self._method.error(self._unopened)
        first, self._first = self._first, None
        self._call = self._conn._open(self._method, first, first is not None, self._options)
        if self._unopened is not None:  # while it waited for its slot
            self._conn._abandon(self._call, self._unopened)
            raise self._method.error(self._unopened)

    def _next(self) -> Res | None:
        """Return the next response; None when the call has ended well."""
        conn, call = self._conn, self._opened()
        with conn._lock:
            try:
                data = call.take()
                if data is None:
                    conn._wait(lambda: bool(call.items) or call.over, call.deadline, call, "receiver")
                    data = call.take()
                if conn._session.wants_write:  # the credit for it, or for a large message that waited for its room
                    conn._push()
                if data is not None:
                    return self._method.decode_response(data)
            except BaseException as e:
                conn._abandon(call, because(e))
                raise
            self._finish(call)
            return None

    def _finish(self, call: Call) -> None:
        """Say how a call went of which no more messages come. Called with the connection's lock held."""
        if call.abandoned:
            failure: Failure | None = let_go(call)
        elif not call.finished:
            self._conn._give_up_late(self._method, call)
        else:
            failure = call.failure
            if "trailers" in self._options:
                self._options["trailers"].update(call.trailers)
        if failure is not None:
            raise self._method.error(failure)

    def _put(self, message: Message) -> bool:
        """Send a message; False says that the peer has ended the call, or the deadline has passed. One that cannot be sent ends
        it."""
        if self._shut:
            self._check_shut()
        try:
            data = self._method.encode_request(message, self._conn._session, first=self._call is None)
        except Exception as e:
            self._give_up(because(e))
            raise
        return self._put_data(Sending(data))

    def _check_shut(self) -> None:
        """Say that this side has closed what is to be sent on, unless the peer has ended the call."""
        call = self._call
        if call is None or call.abandoned or not call.finished:
            raise self._method.named(rpc_error(Code.FAILED_PRECONDITION, self._shut))

    def _put_end(self) -> None:
        self._shut = self._shut or CLOSED_HALF
        self._put_data(Sending(None, END))

    def _put_data(self, out: Sending) -> bool:
        call = self._opened()
        with self._conn._lock:
            try:
                return self._conn._send(call, out)
            except BaseException:
                self._conn._abandon(call)
                raise

    def close(self) -> None:
        """End the call if it has not ended: its handler is told."""
        self._shut = CLOSED
        self._give_up(None)

    def _give_up(self, why: Failure | None) -> None:
        if self._call is None:
            self._unopened = self._unopened or why or Failure(Code.CANCELLED, "canceled by the caller", not_executed=True)
        elif not self._conn._left:
            with self._conn._lock:
                self._conn._abandon(self._call, why)

    def __enter__(self) -> Self:
        self._opened()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Res:
        message = self._next()
        if message is None:
            raise StopIteration
        return message

    def __del__(self) -> None:
        # Leaving a "for" drops its iterator: that ends the call.
        call = self._call
        if call is not None and not call.finished and not call.abandoned:
            self._conn._drop(call)


class SyncResponseStream(SyncStream[Any, Res], Iterator[Res]):
    """The responses of a server stream. Leaving the loop ends the call; so do ``with`` and close."""


class SyncBidiStream(SyncStream[Req, Res], Iterator[Res]):
    """The caller's end of a bidirectional call. One thread may send while another receives.

    Use it in ``with``: leaving the scope ends the call.
    """

    def send(self, message: Req) -> None:
        """Send a message; it waits while the peer is behind. EOFError says that the call is over: receive tells how. Behind
        close_send and close it is an RpcError, FAILED_PRECONDITION. Any other error has ended the call: a message that is too
        large, or cannot be encoded, does so."""
        if not self._put(message):
            call = self._call
            assert call is not None
            if not call.finished and not call.abandoned:
                with self._conn._lock:
                    self._finish(call)
            raise EOFError(f"{self._method.path}: the call is over: receive tells how it ended")

    def close_send(self) -> None:
        """Tell the peer that no more messages come. Receiving goes on."""
        self._put_end()

    def receive(self) -> Res | None:
        """Return the next message; None when the call has ended well. RpcError says that it has not."""
        return self._next()


def send_all_sync(conn: SyncConnection, method: Method[Req, Res], requests: Iterable[Req], options: CallOptions) -> Res:
    """Do a call of a client stream. It stops taking requests when the peer has ended the call."""
    with SyncBidiStream(conn, method, None, options) as stream:
        for request in requests:
            if not stream._put(request):
                break
        stream.close_send()
        response = stream.receive()
        if response is None:
            raise method.named(no_response())
        if stream.receive() is not None:
            raise method.named(several_responses())
        return response
