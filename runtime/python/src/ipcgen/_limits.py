"""What a peer may cost: PROTOCOL.md, section 3."""

from __future__ import annotations

from dataclasses import dataclass

from ._frame import MetadataLimit

MIN_FRAME = 4096
MIN_WINDOW = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of what a peer may cost.

    None is the default, which is smaller for peers that are not known to be the same user (in brackets). Both sides keep
    to the smaller value of the first four.
    """

    max_message: int | None = None
    """Bytes of a message: 4 MiB (1 MiB); at most 2040 MiB."""
    max_frame: int | None = None
    """Bytes of a frame on the wire: 128 KiB (16 KiB)."""
    calls: int | None = None
    """Calls that the peer may have running: 256 (32)."""
    window: int | None = None
    """Bytes of a stream that may be on their way: 128 KiB (32 KiB)."""
    assembly: int | None = None
    """Bytes of messages larger than a frame that a session may hold: 16 MiB (2 MiB)."""
    handshake: float | None = None
    """Seconds for the peer to say hello: 5."""
    stall: float | None = None
    """Seconds for the peer to take something of what is sent: 30 (10)."""
    grace: float | None = None
    """Seconds for running calls when a listener stops: 5."""
    sessions: int | None = None
    """Sessions of a listener at a time: 1024, of them 256 of one process's user, 16 where that is another one's."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Limits with nothing left open."""

    max_message: int
    max_frame: int
    slots: int
    window: int
    raised: int  # the sum by which a session's windows may grow
    assembly: int
    metadata: MetadataLimit
    handshake: float
    stall: float
    grace: float


_SAME_USER = Settled(4 << 20, 128 << 10, 256, 128 << 10, 8 << 20, 16 << 20, MetadataLimit(64, 8 << 10), 5, 30, 5)
_OTHER = Settled(1 << 20, 16 << 10, 32, 32 << 10, 1 << 20, 2 << 20, MetadataLimit(32, 4 << 10), 5, 10, 5)


def settle(limits: Limits | None, same_user: bool) -> Settled:
    """Return limits with the defaults for a peer filled in and the others brought into their ranges."""
    given, default = limits or Limits(), _SAME_USER if same_user else _OTHER
    max_message = _within(given.max_message, default.max_message, MIN_FRAME, 2040 << 20)
    return Settled(
        max_message=max_message,
        max_frame=_within(given.max_frame, default.max_frame, MIN_FRAME, 2**24 - 1),
        slots=_within(given.calls, default.slots, 1, 1 << 15),
        window=_within(given.window, default.window, MIN_WINDOW, 1 << 30),
        raised=default.raised,
        assembly=_within(given.assembly, max(default.assembly, max_message), max_message, 1 << 40),
        metadata=default.metadata,
        handshake=given.handshake or default.handshake,
        stall=given.stall or default.stall,
        grace=default.grace if given.grace is None else given.grace,
    )


def _within(value: int | None, default: int, least: int, most: int) -> int:
    return min(max(default if value is None else value, least), most)
