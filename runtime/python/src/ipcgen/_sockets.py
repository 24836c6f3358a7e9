"""Unix sockets and TCP: how they are dialed and listened on."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import ssl
import stat
import tempfile
from collections.abc import Callable, Iterator

from ._address import MAX_PATH, Address
from ._channel import Peer, SocketChannel, TLSChannel, unix_peer

GONE_AFTER = 30
"""Seconds within which a TCP peer that is gone without a word is noticed: after half of it in silence it is asked every
sixth of it, and given up after three questions. Unix sockets need none of this: the kernel knows."""

SHAKE_LIMIT = 5.0
"""Seconds that the handshake of TLS may take."""




def explain(address: Address, error: OSError) -> OSError:
    """Return what to say of a connection that did not come to be."""
    text = f"dial {address.text}: "
    if address.scheme == "unix":
        if error.errno == errno.ENOENT:
            text += "no such socket: is the server running? "
        elif error.errno == errno.ECONNREFUSED and not _is_socket(address.path):
            text += "there is a file that is not a socket: "
        elif error.errno == errno.ECONNREFUSED:
            text += "nobody listens there: the server has died and left the file behind: "
    explained = type(error)(error.errno, text + (error.strerror or str(error)))
    return explained


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def dialed(sock: socket.socket, address: Address, tls: ssl.SSLContext | None) -> SocketChannel | TLSChannel:
    """Return the channel of a socket that has connected."""
    if address.scheme == "unix":
        return SocketChannel(sock, unix_peer(sock, address.text))
    return _tcp_channel(sock, address.scheme, tls, address.host)


def accepted(sock: socket.socket, address: Address, tls: ssl.SSLContext | None) -> SocketChannel | TLSChannel:
    """Return the channel of a socket that was accepted."""
    if address.scheme == "unix":
        return SocketChannel(sock, unix_peer(sock, address.text))
    return _tcp_channel(sock, address.scheme, tls, None)


def _tcp_channel(
    sock: socket.socket, scheme: str, tls: ssl.SSLContext | None, hostname: str | None
) -> SocketChannel | TLSChannel:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _limit_silence(sock)
    peer = Peer(f"{scheme}:{join_host(*sock.getpeername()[:2])}")
    if scheme == "tcp" or tls is None:
        return SocketChannel(sock, peer)
    return TLSChannel(sock, peer, tls, hostname)


def _limit_silence(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", GONE_AFTER // 2),
        ("TCP_KEEPINTVL", GONE_AFTER // 6),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", GONE_AFTER * 1000),
    ):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def join_host(host: str, port: int) -> str:
    """Return host and port as they stand in an address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen_unix(address: Address) -> tuple[socket.socket, Callable[[], None]]:
    """Listen on a path, and return what removes the socket again.

    The socket is only its owner's (mode 0600) from the moment it appears. A file that a dead server left is taken over;
    where one is alive, or something that is not a socket stands, that is an error.
    """
    path = address.path
    try:
        # The socket is born in a directory that nobody else can enter, and moved to its place when it is ready.
        private = tempfile.mkdtemp(dir=os.path.dirname(path) or ".", prefix=".")
    except FileNotFoundError as e:
        raise FileNotFoundError(e.errno, f"listen {address.text}: make the directory first: {e.strerror}") from None
    except OSError as e:
        raise type(e)(e.errno, f"listen {address.text}: {e.strerror}") from None
    born = os.path.join(private, "s")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        excess = len(born.encode()) - MAX_PATH
        if excess > 0:
            text = f"the directory's path is {excess} bytes too long for a socket to be made in it: use a shorter one"
            raise OSError(errno.ENAMETOOLONG, text)
        sock.bind(born)
        os.chmod(born, 0o600)
        mine = os.lstat(born)
        sock.listen(128)
        # Of two servers that start at once, the one that gets the directory's lock second finds the first alive.
        with _locked(os.path.dirname(path) or "."):
            _check_free(path)
            os.rename(born, path)
    except OSError as e:
        sock.close()
        with contextlib.suppress(OSError):
            os.unlink(born)
        raise type(e)(e.errno, f"listen {address.text}: {e.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(private)
    return sock, lambda: _remove_same(path, mine)


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _check_free(path: str) -> None:
    """Say why a path cannot be taken: something other than a dead server's socket is there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "there is a file that is not a socket: remove it, or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except BlockingIOError:
            pass  # its queue is full: it is alive
    raise OSError(errno.EADDRINUSE, "another server listens there: stop it, or choose another path")


def _remove_same(path: str, mine: os.stat_result) -> None:
    """Remove path if it still is the file that was made."""
    with contextlib.suppress(OSError):
        now = os.lstat(path)
        if (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino):
            os.unlink(path)


def listen_tcp(address: Address) -> socket.socket:
    """Listen on host and port."""
    try:
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, proto, _, where = found[0]
        sock = socket.socket(family, kind, proto)
    except OSError as e:
        raise type(e)(e.errno, f"listen {address.text}: {e.strerror}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(128)
    except OSError as e:
        sock.close()
        raise type(e)(e.errno, f"listen {address.text}: {e.strerror}") from None
    return sock
