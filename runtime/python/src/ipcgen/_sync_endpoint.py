"""Dialing without an event loop."""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import IO

from . import _pipes, _sockets
from ._address import Address, parse
from ._channel import Channel, TLSChannel
from ._errors import SessionError
from ._limits import Limits
from ._sync_connection import SyncConnection


def dial_sync(
    address: str,
    *,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    stderr: IO[bytes] | int | None = None,
    timeout: float | None = None,
) -> SyncConnection:
    """Connect to an address without an event loop, within timeout seconds::

        with ipcgen.dial_sync("unix:/run/echo.sock") as conn:
            client = EchoClientSync(conn)

    Addresses and errors are those of dial.
    """
    channel = _channel(parse(address, tls), tls, stderr, timeout)
    try:
        conn = SyncConnection(channel, limits)
        conn._start()
    except SessionError as e:
        channel.close()
        e.args = (f"dial {address}: {e}",)
        raise
    return conn


def _channel(
    address: Address, tls: ssl.SSLContext | None, stderr: IO[bytes] | int | None, timeout: float | None
) -> Channel:
    if (pipe := _pipes.dialed(address, stderr)) is not None:
        return pipe
    try:
        if address.scheme == "unix":
            sock = _connect_unix(address.path, timeout)
        else:
            sock = socket.create_connection((address.host, address.port), timeout)
    except OSError as e:
        raise _sockets.explain(address, e) from None
    try:
        channel = _sockets.dialed(sock, address, tls)
        if isinstance(channel, TLSChannel):
            _shake(channel, address)
    except BaseException:
        sock.close()
        raise
    return channel


def _connect_unix(path: str, timeout: float | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _shake(channel: TLSChannel, address: Address) -> None:
    """Do the handshake of TLS."""
    deadline = time.monotonic() + _sockets.SHAKE_LIMIT
    while time.monotonic() < deadline:
        try:
            if channel.shake():
                return
        except BlockingIOError:
            select.select([channel.reads], [], [], max(0.0, deadline - time.monotonic()))
        except ssl.SSLError as e:
            e.strerror = f"dial {address.text}: TLS: {e.strerror or e}"
            raise
    raise TimeoutError(f"dial {address.text}: TLS: no answer within {_sockets.SHAKE_LIMIT:g} s: is it a TLS server?")
