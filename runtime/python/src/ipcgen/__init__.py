"""The runtime of code that ipcgen generates: typed calls between processes over unix sockets, TCP, TLS and pipes.

A program that offers a service subclasses the generated base and serves it::

    class Echo(EchoService):
        async def say(self, request: SayRequest) -> SayResponse:
            return SayResponse(text=request.text)

    asyncio.run(ipcgen.serve("unix:/run/user/1000/echo.sock", Echo()))

A program that uses it dials and makes a client::

    async with ipcgen.dial("unix:/run/user/1000/echo.sock") as conn:
        response = await EchoClient(conn).say(SayRequest(text="hello"))

or, without an event loop::

    with ipcgen.dial_sync("unix:/run/user/1000/echo.sock") as conn:
        response = EchoClientSync(conn).say(SayRequest(text="hello"))

Both ends of a session are equal: dial takes services too, which the peer's handlers call through ``current().connection``.
Every call ends: with the answer, with its deadline, with the cancellation of its task, or with the session, which ends
when the peer dies, stalls or breaks the protocol. Calls fail with RpcError; its ``not_executed`` tells those that certainly
did not run and so can be repeated.

What the runtime has to say goes to the logger "ipcgen". The protocol is specified in runtime/PROTOCOL.md.
"""

from ._channel import Peer
from ._connection import Connection
from ._endpoint import Listener, dial, listen, local, serve
from ._errors import Code, DeadlineExceeded, Reason, RpcError, SessionError
from ._limits import Limits
from ._method import CallOptions
from ._service import HandlerCall, Service, current
from ._streams import BidiStream, ResponseStream
from ._sync_connection import SyncConnection
from ._sync_endpoint import dial_sync
from ._sync_streams import SyncBidiStream, SyncResponseStream

__all__ = [
    "BidiStream",
    "CallOptions",
    "Code",
    "Connection",
    "DeadlineExceeded",
    "HandlerCall",
    "Limits",
    "Listener",
    "Peer",
    "Reason",
    "ResponseStream",
    "RpcError",
    "Service",
    "SessionError",
    "SyncBidiStream",
    "SyncConnection",
    "SyncResponseStream",
    "current",
    "dial",
    "dial_sync",
    "listen",
    "local",
    "serve",
]
