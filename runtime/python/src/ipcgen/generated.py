"""What generated code is made of. It is for generated code: nothing here is meant to be used by hand."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.internal import builder
from google.protobuf.message import Message

from ._call import Incoming
from ._connection import Connection
from ._endpoint import Dialing
from ._method import Method, no_response, several_responses
from ._service import Requests, Service, one_request, send_responses
from ._streams import BidiStream, ResponseStream, send_all
from ._sync_connection import SyncConnection
from ._sync_streams import SyncBidiStream, SyncResponseStream, send_all_sync

__all__ = [
    "BidiMethod",
    "ClientStreamMethod",
    "Connection",
    "EnumType",
    "File",
    "OnewayMethod",
    "ServerStreamMethod",
    "Service",
    "SyncConnection",
    "UnaryMethod",
    "connection",
]

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)
E = TypeVar("E")

# What users write is checked in the .pyi file beside the generated one, where it is CallOptions: to a checker that reads
# both, here is any dictionary.
Options = Any


class File:
    """A .proto file: its descriptor, registered with protobuf's default pool, and what it declares."""

    def __init__(self, module: str, descriptor: bytes) -> None:
        try:
            self.descriptor = descriptor_pool.Default().AddSerializedFile(descriptor)
        except TypeError as e:
            raise ImportError(
                f"{module}: {e}: is the same .proto file in this process a second time, made from another version of it "
                "or by protoc?"
            ) from e
        self._names: dict[str, Any] = {}
        builder.BuildTopDescriptorsAndMessages(self.descriptor, module, self._names)

    def __getitem__(self, name: str) -> Any:
        """Return a message's class, an enum, an enum's value or an extension."""
        return self._names[name]


if TYPE_CHECKING:

    class EnumType(type):
        """An enum as a type checker sees it: its values are integers of a type of their own."""

        DESCRIPTOR: EnumDescriptor

        def Name(cls, number: int) -> str: ...
        def Value(cls: type[E], name: str) -> E: ...
        def keys(cls) -> list[str]: ...
        def values(cls: type[E]) -> list[E]: ...
        def items(cls: type[E]) -> list[tuple[str, E]]: ...

else:
    EnumType = type


C = TypeVar("C", Connection, SyncConnection)


def connection(conn: object, want: type[C]) -> C:
    """Return the connection that a client was given; a TypeError says what it was given in place of one."""
    if isinstance(conn, want):
        return conn
    mend = next((text for kind, text in _MISTAKEN.items() if isinstance(conn, kind)), "")
    raise TypeError(f"want a connection of the type {want.__name__}, got {type(conn).__name__!r}{mend}")


_MISTAKEN = {
    Dialing: ': await what ipcgen.dial returns, or use it in "async with"',
    Connection: ": ipcgen.dial_sync makes the connections of clients whose names end in Sync",
    SyncConnection: ": clients whose names end in Sync call over what ipcgen.dial_sync returns",
}


def one_response(method: Method[Any, Res], answer: list[bytes]) -> Res:
    """Return the response of a call of one request and one response that has gone well."""
    if not answer:
        raise method.named(no_response())
    if len(answer) > 1:
        raise method.named(several_responses())
    return method.decode_response(answer[0])


class UnaryMethod(Method[Req, Res]):
    """A method of one request and one response."""

    shape, single, silent = 0, True, False

    async def call(self, conn: Connection, request: Req, options: Options) -> Res:
        return one_response(self, await conn._call(self, request, options))

    def call_sync(self, conn: SyncConnection, request: Req, options: Options) -> Res:
        return one_response(self, conn._call(self, request, options))

    async def run(self, conn: Connection, incoming: Incoming, handler: Any) -> bytes | None:
        assert incoming.request is not None
        response = await handler(self.decode_request(incoming.request))
        return self.encode_response(response, conn._session)


class OnewayMethod(Method[Req, Res]):
    """A method whose caller does not wait and gets nothing back."""

    shape, single, silent = 4, True, True

    async def call(self, conn: Connection, request: Req, options: Options) -> None:
        await conn._oneway(self, request, options)

    def call_sync(self, conn: SyncConnection, request: Req, options: Options) -> None:
        conn._oneway(self, request, options)

    async def run(self, conn: Connection, incoming: Incoming, handler: Any) -> bytes | None:
        assert incoming.request is not None
        await handler(self.decode_request(incoming.request))
        return None


class ServerStreamMethod(Method[Req, Res]):
    """A method of one request and a stream of responses."""

    shape, single, silent = 1, False, False

    def call(self, conn: Connection, request: Req, options: Options) -> ResponseStream[Res]:
        return ResponseStream(conn, self, request, options)

    def call_sync(self, conn: SyncConnection, request: Req, options: Options) -> SyncResponseStream[Res]:
        return SyncResponseStream(conn, self, request, options)

    async def run(self, conn: Connection, incoming: Incoming, handler: Any) -> bytes | None:
        request = await one_request(conn, incoming, self)
        await send_responses(conn, incoming, self, handler(request))
        return None


class ClientStreamMethod(Method[Req, Res]):
    """A method of a stream of requests and one response."""

    shape, single, silent = 2, False, False

    async def call(
        self, conn: Connection, requests: AsyncIterable[Req] | Iterable[Req], options: Options
    ) -> Res:
        return await send_all(conn, self, requests, options)

    def call_sync(self, conn: SyncConnection, requests: Iterable[Req], options: Options) -> Res:
        return send_all_sync(conn, self, requests, options)

    async def run(self, conn: Connection, incoming: Incoming, handler: Any) -> bytes | None:
        response = await handler(Requests(conn, incoming, self))
        return self.encode_response(response, conn._session)


class BidiMethod(Method[Req, Res]):
    """A method of a stream of requests and a stream of responses."""

    shape, single, silent = 3, False, False

    def call(self, conn: Connection, options: Options) -> BidiStream[Req, Res]:
        return BidiStream(conn, self, None, options)

    def call_sync(self, conn: SyncConnection, options: Options) -> SyncBidiStream[Req, Res]:
        return SyncBidiStream(conn, self, None, options)

    async def run(self, conn: Connection, incoming: Incoming, handler: Any) -> bytes | None:
        await send_responses(conn, incoming, self, handler(Requests(conn, incoming, self)))
        return None
