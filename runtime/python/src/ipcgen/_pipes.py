"""Descriptors that two processes share: a child's stdin and stdout, or a pair that was inherited."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
import sys
import threading
from typing import IO

from ._address import Address
from ._channel import Peer, PipeChannel

GRACE = 5.0
"""Seconds that a child may run on after its stdin was closed before it is killed."""


def dialed(address: Address, stderr: IO[bytes] | int | None) -> PipeChannel | None:
    """Return the channel of an address that names descriptors or a child; None for an address of sockets."""
    match address.scheme:
        case "stdio":
            return stdio()
        case "fd":
            return inherited(address)
        case "exec":
            return ChildChannel(address, stderr)
    return None


def stdio() -> PipeChannel:
    """Return the channel over this process's stdin and stdout, as a parent that started it has the other ends.

    From then on the process's stdin is empty and its stdout is its stderr, so that a stray print does not disturb the
    peer.
    """
    for fd, need, name in ((0, os.O_RDONLY, "stdin"), (1, os.O_WRONLY, "stdout")):
        if why := _unusable(fd, need):
            raise OSError(f"stdio: {name} {why}: this program speaks to the program that starts it, not to a person")
    # The session gets copies, which children do not inherit; the numbers 0 and 1 are then given to what is harmless.
    reads, writes = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    sys.stdout.flush()  # what was printed until now follows to stderr
    return PipeChannel(reads, writes, Peer("stdio:", same_user=True))


def inherited(address: Address) -> PipeChannel:
    """Return the channel over descriptors that this process inherited. The session owns them."""
    reads, writes = address.fds
    needs = ((reads, os.O_RDWR),) if reads == writes else ((reads, os.O_RDONLY), (writes, os.O_WRONLY))
    for fd, need in needs:
        if why := _unusable(fd, need):
            raise OSError(f"{address.text}: descriptor {fd} {why}")
        os.set_inheritable(fd, False)
    return PipeChannel(reads, writes, Peer(address.text, same_user=True))


_NEEDS = {os.O_RDONLY: "read from", os.O_WRONLY: "written to", os.O_RDWR: "both read from and written to"}


def _unusable(fd: int, need: int) -> str:
    """Say why a descriptor cannot carry a session for which it must be open as need says."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError as e:
        return f"is not open: {e.strerror}"
    if stat.S_ISCHR(mode):
        return "is a terminal or another device, not a pipe or a socket"
    if stat.S_ISSOCK(mode):
        with socket.socket(fileno=os.dup(fd)) as sock:
            if sock.type != socket.SOCK_STREAM:
                return "is a socket, but not of a stream"
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return "is a socket that listens, not a connection"
    elif not stat.S_ISFIFO(mode):
        return "is a file or a directory, not a pipe or a socket"
    access = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    return "" if access in (os.O_RDWR, need) else f"cannot be {_NEEDS[need]}: a pipe goes one way"


class ChildChannel(PipeChannel):
    """A process that this one started, over its stdin and stdout."""

    def __init__(self, address: Address, stderr: IO[bytes] | int | None) -> None:
        try:
            child = subprocess.Popen(address.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, bufsize=0)
        except OSError as e:
            raise type(e)(e.errno, f"{address.text}: starting it: {e.strerror}") from None
        assert child.stdin is not None
        assert child.stdout is not None
        self._child = child
        self._pipes = child.stdin, child.stdout
        peer = Peer(f"exec:{address.argv[0]}", pid=child.pid, uid=os.getuid(), gid=os.getgid(), same_user=True)
        super().__init__(child.stdout.fileno(), child.stdin.fileno(), peer)

    def ending(self, patience: float) -> str:
        try:
            status = self._child.wait(patience)
        except subprocess.TimeoutExpired:
            return ""
        if status < 0:
            return f"{self.peer.address} was killed by signal {-status}"
        return f"{self.peer.address} ended with exit status {status}" if status else ""

    def close(self) -> None:
        """Close the child's stdin and stdout; a thread gives it 5 s to end and then kills it."""
        if self._closed:
            return
        self._closed = True
        for pipe in self._pipes:
            pipe.close()
        if self._child.poll() is None:
            threading.Thread(target=self._see_off, name="ipcgen-child", daemon=True).start()

    def leave(self) -> None:
        self._closed = True
        for pipe in self._pipes:
            pipe.close()

    def _see_off(self) -> None:
        try:
            self._child.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
