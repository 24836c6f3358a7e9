"""Connections in a process that was forked from theirs.

Both processes would read what is meant for one of them, and write into the middle of the other's frames. In the child, what a
connection works with is replaced by what refuses all use: that costs nothing where nobody forks, and needs no lock, which
another thread may have had when the process was forked.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import Any, NoReturn, Protocol

from ._channel import Channel


class Connected(Protocol):
    """A connection, of either kind."""

    _channel: Channel

    def _leave(self, refusal: Any) -> None:
        """Replace what the connection works with."""


class Refusal:
    """Raises a RuntimeError for whatever is asked of it."""

    def __init__(self, address: str) -> None:
        self._text = f"the connection to {address} belongs to the process that this one was forked from: dial in this one"

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(self._text)

    def __enter__(self) -> NoReturn:
        raise RuntimeError(self._text)

    def __exit__(self, *error: object) -> None:
        """Never called: nothing enters."""


_connections: weakref.WeakSet[Connected] = weakref.WeakSet()


def watch(conn: Connected) -> None:
    """Have a connection left alone by the processes that are forked from this one."""
    _connections.add(conn)


def _forked() -> None:
    for conn in list(_connections):
        conn._leave(Refusal(conn._channel.peer.address))
        with contextlib.suppress(OSError):
            conn._channel.leave()
    _connections.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
