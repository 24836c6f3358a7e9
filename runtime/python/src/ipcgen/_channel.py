"""Byte streams that never wait: what a session is driven over, whether by asyncio or by a thread that polls.

A channel raises BlockingIOError where it would have to wait, and another OSError when it is broken. Receiving nothing is
the end: the other side has closed or died.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

READ_LEAST = 64 << 10
READ_MOST = 512 << 10


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a session."""

    address: str
    """As it can be dialed, where the peer has an address."""
    pid: int | None = None
    """The peer's process, as the kernel named it; None where it did not."""
    uid: int | None = None
    gid: int | None = None
    same_user: bool = False
    """Whether the peer is known to be this process's user."""
    services: tuple[str, ...] = field(default=())
    """The full names of the services that the peer serves."""


class Channel(Protocol):
    """One end of a byte stream."""

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""

    @property
    def reads(self) -> int:
        """The descriptor to wait for before recv."""

    @property
    def writes(self) -> int:
        """The descriptor to wait for before send."""

    @property
    def unsent(self) -> bool:
        """Whether the channel holds bytes that it has taken and not sent: send nothing to go on with them."""

    def recv(self) -> bytes:
        """Return what has come; nothing at the end."""

    def send(self, data: bytes | memoryview) -> int:
        """Send as much as can be sent at once, and return how much that was."""

    def ending(self, patience: float) -> str:
        """Say how the other end went, where that is known and was not well; wait for that for so many seconds."""

    def close(self) -> None:
        """Close it. Only the first time counts."""

    def leave(self) -> None:
        """Close the descriptors of a process that was forked from this channel's: the other end is told nothing."""


class _Appetite:
    """How much to read at once: more where there was more, so that small messages cost no large buffers."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = READ_LEAST

    def had(self, n: int) -> None:
        if n == self.size:
            self.size = min(4 * n, READ_MOST)
        elif n < READ_LEAST:
            self.size = READ_LEAST


class SocketChannel:
    """A connected socket."""

    unsent = False
    send: Callable[[bytes | memoryview], int]  # the socket's own: one call less a write

    def __init__(self, sock: socket.socket, peer: Peer) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._appetite = _Appetite()
        self.peer = peer
        self.reads = self.writes = sock.fileno()
        self.send = sock.send

    def recv(self) -> bytes:
        data = self._sock.recv(self._appetite.size)
        self._appetite.had(len(data))
        return data

    def ending(self, patience: float) -> str:
        return ""

    def close(self) -> None:
        self._sock.close()

    def leave(self) -> None:
        self._sock.close()


class PipeChannel:
    """A descriptor to read from and one to write to, which may be the same."""

    unsent = False

    def __init__(self, reads: int, writes: int, peer: Peer) -> None:
        os.set_blocking(reads, False)
        os.set_blocking(writes, False)
        self._appetite = _Appetite()
        self._closed = False
        self.reads, self.writes, self.peer = reads, writes, peer

    def recv(self) -> bytes:
        data = os.read(self.reads, self._appetite.size)
        self._appetite.had(len(data))
        return data

    def send(self, data: bytes | memoryview) -> int:
        return os.write(self.writes, data)

    def ending(self, patience: float) -> str:
        return ""

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        os.close(self.writes)
        if self.reads != self.writes:
            os.close(self.reads)

    def leave(self) -> None:
        PipeChannel.close(self)


class TLSChannel:
    """TLS over a connected socket."""

    def __init__(self, sock: socket.socket, peer: Peer, context: ssl.SSLContext, hostname: str | None) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=hostname is None, server_hostname=hostname)
        self._rest: bytes | memoryview = b""
        self.silent = True  # nothing has come
        self.peer = peer
        self.reads = self.writes = sock.fileno()

    @property
    def unsent(self) -> bool:
        return bool(self._rest) or self._out.pending > 0

    def shake(self) -> bool:
        """Go on with the handshake of TLS, and return whether it is over. BlockingIOError: wait until there is more."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._push()
                self._pull()
            except ssl.SSLError:
                self._push()  # the alert that says what is wrong
                raise
            else:
                self._push()
                return True

    def recv(self) -> bytes:
        parts: list[bytes] = []
        while True:
            try:
                part = self._tls.read(READ_LEAST)
            except ssl.SSLWantReadError:
                if parts:
                    return b"".join(parts)
                self._pull()
                continue
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                part = b""
            if not part:
                return b"".join(parts)
            parts.append(part)

    def send(self, data: bytes | memoryview) -> int:
        self._push()
        if self.unsent:
            raise BlockingIOError
        n = self._tls.write(data[: READ_LEAST]) if len(data) else 0
        self._push()
        return n

    def _pull(self) -> None:
        data = self._sock.recv(READ_LEAST)
        if data:
            self.silent = False
            self._in.write(data)
        else:
            self._in.write_eof()

    def _push(self) -> None:
        """Send what TLS has made, as far as that goes."""
        while self.unsent:
            if not self._rest:
                self._rest = self._out.read()
            try:
                n = self._sock.send(self._rest)
            except BlockingIOError:
                return
            self._rest = memoryview(self._rest)[n:] if n < len(self._rest) else b""

    def ending(self, patience: float) -> str:
        return ""

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._tls.unwrap()  # it says goodbye, and does not wait for an answer
        with contextlib.suppress(OSError):
            self._push()
        self._sock.close()

    def leave(self) -> None:
        self._sock.close()


_CREDENTIALS = struct.Struct("iII")


def unix_peer(sock: socket.socket, address: str) -> Peer:
    """Return who is at the other end of a unix socket, as the kernel says."""
    if not hasattr(socket, "SO_PEERCRED"):
        return Peer(address)
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Peer(address, pid=pid, uid=uid, gid=gid, same_user=uid == os.getuid())
