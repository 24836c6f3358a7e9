"""What a process serves: implementations of services, and how a session runs their handlers."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, ClassVar

from google.protobuf.message import Message

from ._call import Incoming
from ._channel import Peer
from ._connection import Connection, current_call
from ._errors import Code, RpcError
from ._frame import encode_metadata
from ._method import Method
from ._stream import Sending


class Service:
    """The base of generated services. A subclass implements the methods; those that it does not answer UNIMPLEMENTED."""

    _service: ClassVar[str]  # the full name: "echo.v1.Echo"
    _methods: ClassVar[tuple[tuple[str, Any], ...]]  # by the names of the Python methods


class Binding:
    """A method with its handler."""

    __slots__ = ("handler", "method", "single")

    def __init__(self, method: Any, handler: Callable[..., Any]) -> None:
        self.method = method
        self.handler = handler
        self.single: bool = method.single

    async def run(self, conn: Connection, incoming: Incoming) -> bytes | None:
        """Run the handler, and return its last message."""
        result: bytes | None = await self.method.run(conn, incoming, self.handler)
        return result


def bind(services: Iterable[Service]) -> tuple[dict[int, Binding], list[tuple[str, int]]]:
    """Return the methods of services by their ids, and the services' names and hashes."""
    methods: dict[int, Binding] = {}
    names: dict[str, int] = {}
    for service in services:
        if not isinstance(service, Service):
            raise TypeError(f"want an instance of a generated service's subclass, got {service!r}")
        name = service._service
        if name in names:
            raise ValueError(f"the service {name} is there twice")
        names[name] = _hash(method for _, method in service._methods)
        for attribute, method in service._methods:
            if method.id in methods:
                other = methods[method.id].method.path
                raise ValueError(f"the methods {other} and {method.path} have the same id {method.id:#x}: rename one")
            methods[method.id] = Binding(method, _handler(service, attribute, method))
    return methods, list(names.items())


_STREAMS = (1, 3)
"""The shapes of methods whose handlers yield."""


def _handler(service: Service, attribute: str, method: Any) -> Callable[..., Any]:
    """Return what handles a method. A TypeError says that it cannot, as far as that shows before it runs, which is when it
    would have had its effects already."""
    handler: Callable[..., Any] = getattr(service, attribute)
    generated = next(c for c in type(service).__mro__ if "_service" in vars(c))
    if getattr(handler, "__func__", handler) is vars(generated).get(attribute):
        return handler  # left out: it answers UNIMPLEMENTED
    fits, mend = _STREAM_FITS if method.shape in _STREAMS else _SINGLE_FITS
    # A decorator may make a handler of something else: one that fits is enough.
    function = inspect.unwrap(handler, stop=fits)
    if not fits(function):
        raise TypeError(f"{type(service).__name__}.{attribute} handles {method.path}: {mend}")
    return handler


def _is_function(f: Any) -> bool:
    return inspect.isfunction(getattr(f, "__func__", f))  # whatever else can be called is taken at its word


_SINGLE_FITS: tuple[Callable[[Any], bool], str] = (
    lambda f: not _is_function(f) or inspect.iscoroutinefunction(f),
    'want an "async def" that returns the response and does not yield',
)
_STREAM_FITS: tuple[Callable[[Any], bool], str] = (
    # A plain function may return the iterator that another one makes.
    lambda f: not (inspect.iscoroutinefunction(f) or inspect.isgeneratorfunction(f)),
    'want an "async def" that yields responses',
)


def _hash(methods: Iterable[Any]) -> int:
    """Say what a service's methods are, so that two sides can tell whether they were made from the same schema."""
    lines = sorted(f"{m.path} {m.shape}\n".encode() for m in methods)
    return int.from_bytes(hashlib.sha256(b"".join(lines)).digest()[:8], "little")


class Requests:
    """The requests of a call, as its handler sees them. It ends when the caller sends no more."""

    def __init__(self, conn: Connection, incoming: Incoming, method: Method[Any, Any]) -> None:
        self._conn, self._incoming, self._method = conn, incoming, method

    def __aiter__(self) -> Requests:
        return self

    async def __anext__(self) -> Any:
        incoming = self._incoming
        data = await self._conn._receive(incoming)
        if data is not None:
            return self._method.decode_request(data)
        if incoming.peer_end:
            raise StopAsyncIteration
        raise RpcError(Code.CANCELLED, "the caller is gone")


async def one_request(conn: Connection, incoming: Incoming, method: Method[Any, Any]) -> Message:
    """Return the request of a server stream."""
    data = await conn._receive(incoming)
    if data is None:
        raise RpcError(Code.INVALID_ARGUMENT, "the call came without a request")
    request: Message = method.decode_request(data)
    return request


async def send_responses(
    conn: Connection, incoming: Incoming, method: Method[Any, Any], responses: AsyncIterator[Message]
) -> None:
    """Send what a handler yields, until the caller takes no more."""
    close = getattr(responses, "aclose", None)
    async with contextlib.AsyncExitStack() as stack:
        if close is not None:
            stack.push_async_callback(close)
        async for response in responses:
            data = method.encode_response(response, conn._session)
            if not await conn._send(incoming, Sending(data)):
                return


class HandlerCall:
    """The call that a handler handles."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming

    @property
    def connection(self) -> Connection:
        """The session by which the call came, to call the peer back."""
        conn = self._incoming.session.driver
        assert isinstance(conn, Connection)
        return conn

    @property
    def peer(self) -> Peer:
        """Who made the call."""
        return self.connection.peer

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the caller sent beside the request. A value that is not text has surrogate escapes."""
        return self._incoming.metadata

    @property
    def time_left(self) -> float | None:
        """Seconds until the call's deadline; None where it has none."""
        deadline = self._incoming.deadline
        return max(0.0, deadline - self.connection._now()) if deadline else None

    @property
    def cancelled(self) -> Code | None:
        """Why the handler was told to stop: DEADLINE_EXCEEDED, or CANCELLED for every other reason; None while it was not."""
        return Code(self._incoming.cause) if self._incoming.cause else None

    def set_trailer(self, name: str, value: str) -> None:
        """Add a value to what goes back with the end of the call. ValueError: the name is not allowed, or it is too much.
        TypeError: it is no text."""
        trailers = {**self._incoming.trailers, name: value}
        encode_metadata(trailers, self._incoming.session.limits.metadata)
        self._incoming.trailers = trailers


def current() -> HandlerCall:
    """Return the call that the handler handles which runs here. LookupError: none does."""
    return HandlerCall(current_call.get())
