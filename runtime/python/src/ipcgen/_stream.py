"""What a call has on both of its sides: messages that arrive, and credit to send (PROTOCOL.md, section 6).

Credit is counted in bytes of DATA frames, headers included, so that empty messages cost something too. A message that
comes in several frames is announced with its length; the receiver reserves room for the whole in the session's budget
and then grants the credit for the whole, so that it always can be finished; until then it gets no further than the
window.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ._frame import DATA, END, HEADER_SIZE, MORE, MSG, Malformed, header

if TYPE_CHECKING:
    from ._session import Session

SINGLE_MOST = 16 << 10
"""The largest message that is sent in one DATA frame whatever the credit is."""
PIECE_ALONE = 64 << 10
"""Bytes of the pieces of larger ones: nobody else is sending."""
PIECE_TURNS = 16 << 10
"""The same where several streams take turns."""
PIECE_LEAST = 4 << 10
RAISE_MOST = 1 << 20
"""The largest window that a stream is raised to."""
OUT_HIGH = 256 << 10
"""How many bytes may wait to be written before streams and large messages wait for room."""


class Sending:
    """A message on its way out. Without data it is the END of a direction alone."""

    __slots__ = ("at", "data", "done", "end", "started")

    def __init__(self, data: bytes | None, end: int = 0) -> None:
        self.data = data
        self.end = end
        self.at = 0
        self.started = self.done = False


class Stream:
    """One call on one side. Whoever drives the session owns it, as it owns the session."""

    # What every call begins with stands here and not in __init__: most calls end without a change of it.
    closed = False  # nothing can be sent any more
    over = False  # nothing arrives any more
    discard = False  # nobody wants what arrives
    peer_end = False  # END has come
    items: deque[tuple[bytes, int, int]] | None = None  # whole messages, their cost of the window, their reservation
    held = 0  # bytes that have come and are not taken
    part: list[bytes] | None = None  # the pieces of the message that is being put together
    part_size = 0  # bytes of it that have come
    part_left = 0  # bytes of it to come; 0: none is
    part_cost = 0  # of it, what counts as held
    part_room = 0  # what is reserved for it
    starving = False  # waits for a reservation
    owes = 0  # credit to return with the next write
    cancel_code = 0  # a CANCEL to send with the next write; 0: none
    listed = False  # in the session's list of those that owe
    receiver: Any = None  # who waits for a message, in the form of the session's driver
    sender: Any = None  # who waits for credit or room
    inside = False  # the last piece that was sent is not the last one of its message

    def __init__(self, session: Session, id_: int) -> None:
        self.session = session
        self.id = id_
        self.window = self.avail = self.credit = session.window

    # Arriving.

    def arrive(self, payload: bytes, more: bool) -> None:
        """Take the payload of a DATA frame that has MSG."""
        cost = HEADER_SIZE + len(payload)
        if not self.part_left:
            if not more:
                self.push(payload, cost)
                return
            payload = self._begin_part(payload)
        size = len(payload)
        if size > self.part_left or (size == self.part_left) == more:
            raise Malformed("a message that is not as long as its first piece says")
        assert self.part is not None
        self.part.append(payload)
        self.part_size += size
        self.part_left -= size
        if self.part_room:
            cost = 0  # granted with the reservation
        self.part_cost += cost
        self.held += cost
        if self.part_left:
            self.reserve()
            return
        message, self.part = b"".join(self.part), None
        self._append(message, self.part_cost, self.part_room)

    def _begin_part(self, payload: bytes) -> bytes:
        if len(payload) < 4:
            raise Malformed(f"a first piece of {len(payload)} bytes, without the message's length")
        total = int.from_bytes(payload[:4], "little")
        payload = payload[4:]
        most = self.session.limits.max_message
        if total > most:
            raise Malformed(f"a message of {total} bytes, over the limit of {most}")
        if total <= len(payload):
            raise Malformed(f"a message of {total} bytes whose first piece has {len(payload)} and says that more follow")
        self.part, self.part_left, self.part_size, self.part_cost, self.part_room = [], total, 0, 0, 0
        return payload

    def push(self, message: bytes, cost: int) -> None:
        """Append a whole message."""
        self.held += cost
        self._append(message, cost, 0)

    def _append(self, message: bytes, cost: int, room: int) -> None:
        if self.items is None:
            self.items = deque()
        self.items.append((message, cost, room))

    def reserve(self) -> None:
        """Reserve room for the message that is being put together and grant credit for its rest, or wait in line."""
        if self.part_room or self.starving:
            return
        session, total = self.session, self.part_size + self.part_left
        if session.reserved + total > session.limits.assembly:
            self.starving = True
            session.starved.append(self)
            return
        session.reserved += total
        self.part_room = total
        need = self.part_left + (self.part_left // PIECE_LEAST + 2) * HEADER_SIZE
        if need > self.avail:
            session.owe(self)
            self.owes += need - self.avail
            self.avail = need

    def take(self) -> bytes | None:
        """Return the oldest message and the credit for it; None where none has come."""
        if not self.items:
            return None
        message, cost, room = self.items.popleft()
        if cost:
            self.held -= cost
        if not self.over and not self.peer_end:
            self._settle()
        if room:
            self.session.release(room)
        return message

    def _settle(self) -> None:
        """Return the credit of what was taken, when it is worth a frame."""
        session, window = self.session, self.window
        if self.avail < window // 4 and window < RAISE_MOST and session.raised + window <= session.limits.raised:
            session.raised += window  # the sender uses it up as fast as it is granted
            self.window = window = 2 * window
        give = window - self.held - self.avail
        if give >= window // 2:
            session.owe(self)
            self.owes += give
            self.avail += give

    def finish(self) -> None:
        """Give back what a stream has that goes on no longer. What has arrived whole can still be taken."""
        session = self.session
        session.raised -= self.window - session.window
        self.window = session.window
        self.owes = self.cancel_code = 0
        if self.part_left:
            self._drop_part()

    def _drop_part(self) -> None:
        room, self.part, self.part_left, self.part_room = self.part_room, None, 0, 0
        self.session.release(room)

    def drop(self) -> None:
        """Forget what has arrived: the call is over."""
        self.over = self.closed = True
        self.forget()
        self.finish()

    def forget(self) -> None:
        """Give up what has arrived and is not taken, and the message that is being put together."""
        if self.part_left:
            self._drop_part()
        if self.items:
            room = sum(item[2] for item in self.items)
            self.items.clear()
            if room:
                self.session.release(room)

    # Leaving.

    def advance(self, out: Sending) -> bool:
        """Queue as much of a message as credit and room allow; return whether that was all. A closed stream takes nothing."""
        session = self.session
        while not out.done and not self.closed and session.ended is None:
            if session.queued - session.handed >= OUT_HIGH:
                session.room.append(self)
                return False
            if out.data is None or (not out.started and len(out.data) <= session.single):
                out.done = self._send_whole(out)
                break
            if not self._send_piece(out, out.data):
                break
            out.done = out.at == len(out.data)
        return out.done

    def _send_whole(self, out: Sending) -> bool:
        """Send a message in one frame, if there is credit for it."""
        data, flags = (b"", END) if out.data is None else (out.data, MSG | out.end)
        size = HEADER_SIZE + len(data)
        if self.credit < size:
            return False
        self.credit -= size
        if flags & END:
            self.closed = True
        self.session.put(header(DATA, flags, len(data), self.id) + data, size)
        return True

    def _send_piece(self, out: Sending, data: bytes) -> bool:
        """Send the next piece of a message, if there is credit for one that is worth it."""
        session = self.session
        left = len(data) - out.at
        if self.credit < HEADER_SIZE + 4 + min(left, PIECE_LEAST):
            return False
        most = PIECE_TURNS if session.pending + session.running > 1 else PIECE_ALONE
        n = min(left, most, self.credit - HEADER_SIZE, session.max_frame)
        length = b""
        if not out.started and n < left:
            length = len(data).to_bytes(4, "little")
            n = min(n, self.credit - HEADER_SIZE - 4, session.max_frame - 4)
        out.started = True
        flags = MSG | out.end if n == left else MSG | MORE
        self.inside = n < left
        size = HEADER_SIZE + len(length) + n
        session.put(header(DATA, flags, len(length) + n, self.id) + length, HEADER_SIZE + len(length))
        session.put(memoryview(data)[out.at : out.at + n], n)
        self.credit -= size
        out.at += n
        if flags & END:
            self.closed = True
        return True
