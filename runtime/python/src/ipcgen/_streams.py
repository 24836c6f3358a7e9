"""The caller's end of calls whose messages are streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from google.protobuf.message import Message

from ._call import Call, Failure
from ._connection import Connection
from ._errors import Code, rpc_error
from ._frame import END
from ._method import CLOSED, CLOSED_HALF, CallOptions, Method, because, let_go, no_response, several_responses
from ._stream import Sending

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


class CallStream(Generic[Req, Res]):
    """A call that opens when it is first used."""

    _call: Call | None = None

    def __init__(self, conn: Connection, method: Method[Req, Res], request: Req | None, options: CallOptions) -> None:
        self._conn = conn
        self._method = method
        self._options = options
        # Encoded now: what is wrong with the request shows where it was given.
        self._first = None if request is None else method.encode_request(request, conn._session)
        self._opening = asyncio.Lock()
        self._shut = ""  # why this side sends no more, where it is of its own doing
        self._unopened: Failure | None = None  # how a call fails that ended before it was opened

    async def _opened(self) -> Call:
        if self._call is None:
            async with self._opening:
                if self._call is None:
                    if self._unopened is not None:
                        raise self._method.error(self._unopened)
                    first = self._first
                    self._call = await self._conn._open(self._method, first, first is not None, self._options)
                    self._first = None
                    if self._unopened is not None:  # while it waited for its slot
                        self._conn._abandon(self._call, self._unopened)
                        raise self._method.error(self._unopened)
        return self._call

    async def _next(self) -> Res | None:
        """Return the next response; None when the call has ended well."""
        call = await self._opened()
        try:
            data = await self._conn._receive(call)
            if data is not None:
                return self._method.decode_response(data)
        except BaseException as e:
            self._conn._abandon(call, because(e))  # canceled, or the peer sent nonsense
            raise
        self._finish(call)
        return None

    def _finish(self, call: Call) -> None:
        """Say how a call went of which no more messages come."""
        if call.abandoned:
            failure: Failure | None = let_go(call)
        elif call.late and not call.finished:
            self._conn._give_up_late(self._method, call)
        else:
            failure = call.failure
            if "trailers" in self._options:
                self._options["trailers"].update(call.trailers)
        if failure is not None:
            raise self._method.error(failure)

    async def _put(self, message: Req) -> bool:
        """Send a message; False says that the peer has ended the call. One that cannot be sent ends it."""
        if self._shut:
            self._check_shut()
        try:
            data = self._method.encode_request(message, self._conn._session, first=self._call is None)
        except Exception as e:
            self._give_up(because(e))
            raise
        call = await self._opened()
        try:
            return await self._conn._send(call, Sending(data))
        except BaseException:
            self._conn._abandon(call)
            raise

    def _check_shut(self) -> None:
        """Say that this side has closed what is to be sent on, unless the peer has ended the call."""
        call = self._call
        if call is None or call.abandoned or not call.finished:
            raise self._method.named(rpc_error(Code.FAILED_PRECONDITION, self._shut))

    async def _put_end(self) -> None:
        self._shut = self._shut or CLOSED_HALF
        call = await self._opened()
        try:
            await self._conn._send(call, Sending(None, END))
        except BaseException:
            self._conn._abandon(call)
            raise

    def _cancel(self) -> None:
        self._shut = CLOSED
        self._give_up(None)

    def _give_up(self, why: Failure | None) -> None:
        if self._call is not None:
            self._conn._abandon(self._call, why)
        elif self._unopened is None:
            self._unopened = why or Failure(Code.CANCELLED, "canceled by the caller", not_executed=True)

    async def aclose(self) -> None:
        """End the call if it has not ended: its handler is told."""
        self._cancel()

    async def __aenter__(self) -> Self:
        await self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Res:
        message = await self._next()
        if message is None:
            raise StopAsyncIteration
        return message

    def __del__(self) -> None:
        # Leaving an "async for" drops its iterator: that ends the call. The collector may run in any thread.
        call, conn = self._call, self._conn
        if call is not None and not (call.finished or call.abandoned or conn._left or conn._loop.is_closed()):
            conn._loop.call_soon_threadsafe(conn._abandon, call)


class ResponseStream(CallStream[Any, Res], AsyncIterator[Res]):
    """The responses of a server stream. Leaving the loop ends the call; so do ``async with`` and aclose."""


class BidiStream(CallStream[Req, Res], AsyncIterator[Res]):
    """The caller's end of a bidirectional call. One task may send while another receives.

    Use it in ``async with``: leaving the scope ends the call.
    """

    async def send(self, message: Req) -> None:
        """Send a message; it waits while the peer is behind. EOFError says that the call is over: receive tells how. Behind
        close_send and aclose it is an RpcError, FAILED_PRECONDITION. Any other error has ended the call: a message that is too
        large, or cannot be encoded, does so."""
        if not await self._put(message):
            call = self._call
            if call is not None and call.late and not call.finished:
                self._finish(call)
            raise EOFError(f"{self._method.path}: the call is over: receive tells how it ended")

    async def close_send(self) -> None:
        """Tell the peer that no more messages come. Receiving goes on."""
        await self._put_end()

    async def receive(self) -> Res | None:
        """Return the next message; None when the call has ended well. RpcError says that it has not."""
        return await self._next()


async def send_all(
    conn: Connection, method: Method[Req, Res], requests: AsyncIterable[Req] | Iterable[Req], options: CallOptions
) -> Res:
    """Do a call of a client stream. It stops taking requests when the peer has ended the call."""
    stream: CallStream[Req, Res] = CallStream(conn, method, None, options)
    await stream._opened()
    try:
        if isinstance(requests, AsyncIterable):
            async for request in requests:
                if not await stream._put(request):
                    break
        else:
            for request in requests:
                if not await stream._put(request):
                    break
        await stream._put_end()
        response = await stream._next()
        if response is None:
            raise method.named(no_response())
        if await stream._next() is not None:
            raise method.named(several_responses())
        return response
    finally:
        stream._cancel()
