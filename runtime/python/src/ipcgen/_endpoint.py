"""Dialing and serving with asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from types import TracebackType
from typing import IO, Any, Self

from . import _pipes, _sockets
from ._address import Address, parse
from ._channel import Channel, Peer, SocketChannel, TLSChannel
from ._connection import Connection
from ._errors import SessionError
from ._limits import Limits, Settled, settle
from ._service import Binding, Service, bind

log = logging.getLogger("ipcgen")

MOST_SESSIONS = 1024
MOST_SAME_USER = 256
MOST_OTHER_USER = 16
MOST_SHAKING = 64


class Endpoint:
    """One side of sessions: what it serves, and what its peers may cost."""

    def __init__(self, services: tuple[Service, ...], limits: Limits | None) -> None:
        methods, self.services = bind(services)
        self.methods: Mapping[int, Binding] = methods
        self.limits = limits or Limits()

    def settle(self, same_user: bool) -> Settled:
        """Return the limits for a peer."""
        return settle(self.limits, same_user)


class Dialing:
    """A connection that is coming to be: ``await`` it, or ``async with`` it, which also closes it."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._conn: Connection | None = None

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._connect().__await__()

    async def __aenter__(self) -> Connection:
        self._conn = await self._connect()
        return self._conn

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._conn is not None:
            await self._conn.close()


def dial(
    address: str,
    *services: Service,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    stderr: IO[bytes] | int | None = None,
) -> Dialing:
    """Connect to an address, serving services to the peer::

        async with ipcgen.dial("unix:/run/echo.sock") as conn:
            client = EchoClient(conn)

    Addresses are ``unix:PATH``, ``tcp:HOST:PORT``, ``tls:HOST:PORT`` (with tls), ``stdio:``, ``fd:N``, ``fd:R,W``,
    ``exec:PROGRAM ARGS``, of which stderr is the program's, and ``shm:PATH``, taken for ``unix:PATH``. Errors are ValueError
    for an address that is none, OSError for one where nobody is, SessionError for a peer that is no good.
    """
    endpoint = Endpoint(services, limits)
    where = parse(address, tls)

    async def connect() -> Connection:
        return await begin(await _channel(where, tls, stderr), 0, endpoint, f"dial {address}")

    return Dialing(connect)


async def begin(channel: Channel, side: int, endpoint: Endpoint, what: str) -> Connection:
    """Make a session of a channel."""
    try:
        conn = Connection(channel, side, endpoint)
        await conn._start()
    except SessionError as e:
        channel.close()
        e.args = (f"{what}: {e}",)
        raise
    return conn


async def _channel(address: Address, tls: ssl.SSLContext | None, stderr: IO[bytes] | int | None) -> Channel:
    """Connect."""
    if (pipe := _pipes.dialed(address, stderr)) is not None:
        return pipe
    sock = await _connect(address)
    try:
        channel = _sockets.dialed(sock, address, tls)
        if isinstance(channel, TLSChannel):
            await shake(channel, f"dial {address.text}")
    except BaseException:
        sock.close()
        raise
    return channel


async def _connect(address: Address) -> socket.socket:
    loop = asyncio.get_running_loop()
    if address.scheme == "unix":
        candidates: list[Any] = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", address.path)]
    else:
        try:
            candidates = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except OSError as e:
            raise type(e)(e.errno, f"dial {address.text}: {e.strerror}") from None
    failure = OSError(errno.EADDRNOTAVAIL, "the host has no address")
    for family, kind, proto, _, where in candidates:
        sock = socket.socket(family, kind, proto)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, where)
        except OSError as e:
            sock.close()
            failure = e
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise _sockets.explain(address, failure) from None


async def shake(channel: TLSChannel, what: str) -> None:
    """Do the handshake of TLS."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_sockets.SHAKE_LIMIT):
            while True:
                with contextlib.suppress(BlockingIOError):
                    if channel.shake():
                        return
                more = asyncio.Event()
                loop.add_reader(channel.reads, more.set)
                try:
                    await more.wait()
                finally:
                    loop.remove_reader(channel.reads)
    except TimeoutError:
        text = f"{what}: TLS: no answer within {_sockets.SHAKE_LIMIT:g} s: is it a TLS server?"
        raise TimeoutError(errno.ETIMEDOUT, text) from None
    except ssl.SSLError as e:
        e.strerror = f"{what}: TLS: {e.strerror or e}"
        raise


@contextlib.asynccontextmanager
async def local(*services: Service, limits: Limits | None = None) -> AsyncIterator[Connection]:
    """Connect to services in this process, for tests: ``async with ipcgen.local(Echo()) as conn``.

    Calls behave as between processes: messages and errors are encoded and decoded, deadlines and limits hold.
    """
    ours, theirs = socket.socketpair()
    peer = Peer("local", same_user=True)
    there, here = await asyncio.gather(
        begin(SocketChannel(theirs, peer), 1, Endpoint(services, limits), "local"),
        begin(SocketChannel(ours, peer), 0, Endpoint((), limits), "local"),
    )
    try:
        yield here
    finally:
        await here.shutdown(0 if here.error else None)
        await there.close()


async def serve(
    address: str,
    *services: Service,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    connected: Callable[[Connection], Awaitable[None]] | None = None,
) -> None:
    """Serve services to whoever connects to an address, until the task is canceled.

    Then it takes no new calls and lets the running ones finish within the grace of limits. On an address of one peer
    (``stdio:``, ``fd:``, ``exec:``) it returns when that peer is gone. Connected is called with each new session, so that
    this side can call before it is called, in a task that ends with the session. Handlers run in the event loop: what blocks
    belongs into asyncio.to_thread.
    """
    async with listen(address, *services, limits=limits, tls=tls, connected=connected) as listener:
        await listener.serve()


def listen(
    address: str,
    *services: Service,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    connected: Callable[[Connection], Awaitable[None]] | None = None,
) -> Listener:
    """Listen on an address; serve of what it returns then serves. Peers that connect in between wait."""
    return Listener(parse(address, tls), Endpoint(services, limits), tls, connected)


class Listener:
    """Waits for peers and serves them. ``async with`` closes it."""

    def __init__(
        self,
        address: Address,
        endpoint: Endpoint,
        tls: ssl.SSLContext | None,
        connected: Callable[[Connection], Awaitable[None]] | None,
    ) -> None:
        self._where, self._endpoint, self._tls, self._connected = address, endpoint, tls, connected
        self._sock: socket.socket | None = None
        self._remove: Callable[[], None] = lambda: None
        self._tasks: set[asyncio.Task[None]] = set()
        self._users: dict[int, int] = {}
        self._sessions = 0
        self._single = address.scheme not in ("unix", "tcp", "tls")
        self._failure: BaseException | None = None  # of the one peer there was
        self.address = address.text
        """Where the listener can be dialed, with the port filled in that the system chose."""
        if address.scheme == "unix":
            self._sock, self._remove = _sockets.listen_unix(address)
        elif address.scheme in ("tcp", "tls"):
            self._sock = _sockets.listen_tcp(address)
            self.address = f"{address.scheme}:{_sockets.join_host(*self._sock.getsockname()[:2])}"
        if address.scheme == "tls" and tls is not None:
            tls.num_tickets = 0  # a client that closes before it has read them would reset the connection

    async def serve(self) -> None:
        """Serve until the task is canceled, as the function serve says. It is called once."""
        stop = asyncio.Event()
        try:
            if self._sock is not None:
                await self._accept(self._sock, stop)
            elif self._single:
                await self._serve_one(stop)
            else:
                raise RuntimeError("the listener is closed")
        finally:
            self.close()
            stop.set()
            if self._tasks:
                await asyncio.wait(self._tasks)
        if self._failure is not None:
            raise self._failure

    async def _serve_one(self, stop: asyncio.Event) -> None:
        """Serve the one peer of an address that has no more."""
        channel = await _channel(self._where, self._tls, None)
        task = self._task(self._serve_peer(channel, stop))
        await asyncio.shield(task)

    def _task(self, coroutine: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, sock: socket.socket, stop: asyncio.Event) -> None:
        sock.setblocking(False)
        loop, shaking, pause = asyncio.get_running_loop(), asyncio.Semaphore(MOST_SHAKING), 0.0
        while True:
            await shaking.acquire()
            try:
                raw, _ = await loop.sock_accept(sock)
            except OSError as e:
                shaking.release()
                # Out of descriptors, or a peer that was gone already: others may do better.
                pause = min(max(2 * pause, 0.005), 1.0)
                log.warning("accept on %s failed; trying again in %g s: %s", self.address, pause, e)
                await asyncio.sleep(pause)
                continue
            pause = 0.0
            self._task(self._serve_socket(raw, stop, shaking))

    async def _serve_socket(self, raw: socket.socket, stop: asyncio.Event, shaking: asyncio.Semaphore) -> None:
        looked = True
        try:
            channel = _sockets.accepted(raw, self._where, self._tls)
            if isinstance(channel, TLSChannel):
                try:
                    await shake(channel, f"accept on {self.address}")
                finally:
                    looked = channel.silent
        except OSError as e:
            raw.close()
            shaking.release()
            self._did_not_begin(e, looked and not isinstance(e, TimeoutError))
            return
        await self._serve_peer(channel, stop, shaking.release)

    async def _serve_peer(self, channel: Channel, stop: asyncio.Event, shaken: Callable[[], None] = lambda: None) -> None:
        """Serve one peer until it is gone or the listener stops."""
        if why := self._refusal(channel.peer):
            shaken()
            log.warning("peer %s refused: %s", channel.peer.address, why)
            channel.close()
            return
        self._count(channel.peer, 1)
        try:
            try:
                conn = await begin(channel, 1, self._endpoint, f"accept on {self.address}")
            except SessionError as e:
                if self._single:
                    self._failure = e
                self._did_not_begin(e, e._silent)
                return
            finally:
                shaken()
            await self._serve_session(conn, stop)
        finally:
            self._count(channel.peer, -1)

    def _did_not_begin(self, error: OSError, looked: bool) -> None:
        """Log it: quietly where the peer only looked whether somebody listens, as health checks do and other servers."""
        level = logging.DEBUG if looked and not self._single else logging.WARNING
        log.log(level, "session did not begin: %s", error)

    async def _serve_session(self, conn: Connection, stop: asyncio.Event) -> None:
        connected = self._task(self._connected(conn)) if self._connected is not None else None
        over, stopped = asyncio.ensure_future(conn.wait_closed()), asyncio.ensure_future(stop.wait())
        await asyncio.wait((over, stopped), return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        stopped.cancel()
        if conn.error is None:
            await conn.shutdown()
        await conn._wait_handlers()
        if connected is not None:
            connected.cancel()

    def _refusal(self, peer: Peer) -> str:
        """Say why there is no room for a peer."""
        most = self._endpoint.limits.sessions or MOST_SESSIONS
        if self._sessions >= most:
            return f"{self._sessions} sessions are open, which is the limit"
        of_user = MOST_SAME_USER if peer.same_user else MOST_OTHER_USER
        if peer.uid is not None and self._users.get(peer.uid, 0) >= of_user:
            return f"user {peer.uid} has {of_user} sessions open, which is the limit"
        return ""

    def _count(self, peer: Peer, n: int) -> None:
        self._sessions += n
        if peer.uid is not None:
            self._users[peer.uid] = self._users.get(peer.uid, 0) + n
            if not self._users[peer.uid]:
                del self._users[peer.uid]

    def close(self) -> None:
        """Stop listening. Sessions go on."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._remove()  # while it still listens: nobody else can have taken the place
            sock.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
