"""Bytes of the wire to frames and back: PROTOCOL.md, sections 1 and 2.

Nothing here has state. What can be said of one frame by itself is checked here; what depends on the frames before it is
checked by the session.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import Struct
from struct import error as StructError

PREFACE = b"IPCGEN\r\n"

HELLO, GOAWAY, PING = 0x01, 0x02, 0x03
CALL, DATA, STATUS, CANCEL, CREDIT = 0x10, 0x11, 0x12, 0x13, 0x14

END, MORE, MSG, ACK, NOT_EXECUTED = 0x01, 0x02, 0x04, 0x08, 0x10

# Type and flags in one word, descriptors and the reserved byte in another: each is one look-up when a frame is read.
HEADER = Struct("<HHIII")
HEADER_SIZE = 16

MAX_HELLO = 4096
MAX_STATUS_TEXT = 1024
MAX_DETAILS = 16384  # all details of a STATUS together
MAX_GOAWAY_TEXT = 1024
MAX_NAME = 512  # a service's or a message type's full name


class Malformed(ValueError):
    """A peer's runtime has broken the protocol: the session ends."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What the header of one type may say."""

    name: str
    flags: int = 0
    session: bool = False  # the stream is 0; every other type names one
    arg: bool = False
    payload: bool = False


RULES = {
    HELLO: Rule("HELLO", session=True, payload=True),
    GOAWAY: Rule("GOAWAY", session=True, arg=True, payload=True),
    PING: Rule("PING", flags=ACK, session=True),
    CALL: Rule("CALL", flags=END | MSG, payload=True),
    DATA: Rule("DATA", flags=END | MORE | MSG, payload=True),
    STATUS: Rule("STATUS", flags=END | MSG | NOT_EXECUTED, arg=True, payload=True),
    CANCEL: Rule("CANCEL", arg=True),
    CREDIT: Rule("CREDIT", arg=True),
}


def header(type_: int, flags: int, length: int, stream: int = 0, arg: int = 0) -> bytes:
    """Return the 16 bytes that stand before a payload."""
    return HEADER.pack(type_ | flags << 8, 0, length, stream, arg)


def check(word: int, zero: int, length: int, stream: int, arg: int, max_frame: int) -> None:
    """Raise Malformed where a header, as unpacked by HEADER, says what none may say."""
    type_, flags = word & 0xFF, word >> 8
    rule = RULES.get(type_)
    if rule is None:
        raise Malformed(f"frame of unknown type {type_:#04x}")
    name = rule.name
    if flags & ~rule.flags:
        raise Malformed(f"{name} frame with the flags {flags:#04x}, of which it may have {rule.flags:#04x}")
    if zero & 0xFF:
        raise Malformed(f"{name} frame with {zero & 0xFF} file descriptors, which were not negotiated")
    if zero:
        raise Malformed(f"{name} frame whose reserved byte is {zero >> 8:#04x}, not 0")
    if length > max_frame:
        raise Malformed(f"{name} frame of {length} bytes, over the limit of {max_frame}")
    if rule.session != (stream == 0):
        raise Malformed(f"{name} frame on stream {stream:#x}")
    if not rule.session and stream >> 16 == 0:
        raise Malformed(f"{name} frame on stream {stream:#x}, whose generation is 0")
    if arg and not rule.arg:
        raise Malformed(f"{name} frame whose last word is {arg}, not 0")
    if length and not rule.payload:
        raise Malformed(f"{name} frame with {length} bytes of payload, which has none")
    if flags & MORE and flags & (END | MSG) != MSG:
        raise Malformed(f"{name} frame with the flags {flags:#04x}: MORE goes with MSG and without END")


def _legal_words() -> frozenset[int]:
    words = set()
    for type_, rule in RULES.items():
        for flags in range(0x20):
            if flags & ~rule.flags == 0 and not (flags & MORE and flags & (END | MSG) != MSG):
                words.add(type_ | flags << 8)
    return frozenset(words)


LEGAL_WORDS = _legal_words()
"""The types with the flags that they may have: check has nothing to say of these, as far as the first word goes."""


def stream_id(slot: int, side: int, generation: int) -> int:
    """Return the id of a call: side is 0 for calls of the side that dialed."""
    return slot | side << 15 | generation << 16


def next_generation(generation: int) -> int:
    """Return the generation after one; it is never 0."""
    return generation + 1 if generation < 0xFFFF else 1


class Reader:
    """Takes values off the front of a payload."""

    def __init__(self, data: bytes, start: int, stop: int) -> None:
        self.data, self.at, self.stop = data, start, stop

    def take(self, n: int) -> bytes:
        start, stop = self.at, self.at + n
        if stop > self.stop:
            raise Malformed("payload ends in the middle")
        self.at = stop
        return self.data[start:stop]

    def number(self, n: int) -> int:
        return int.from_bytes(self.take(n), "little")

    def rest(self) -> bytes:
        return self.take(self.stop - self.at)

    def name(self, what: str) -> str:
        raw = self.take(self.number(2))
        if len(raw) > MAX_NAME:
            raise Malformed(f"{what} of {len(raw)} bytes, over the limit of {MAX_NAME}")
        return _text(raw, what)


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        raise Malformed(f"{what} {raw[:40]!r} is not UTF-8") from e


# Values of metadata are any bytes on the wire and text here. What is not UTF-8 comes as surrogate escapes, as it does in
# os.environ, and goes back as the bytes that it was.


@dataclass(frozen=True, slots=True)
class MetadataLimit:
    """Bounds metadata and trailers."""

    entries: int
    size: int  # bytes of names and values together


_KEY = re.compile(rb"[a-z0-9_.-]{1,255}\Z")

NO_METADATA = b"\0\0"


def encode_metadata(metadata: Mapping[str, str] | None, limit: MetadataLimit) -> bytes:
    """Return metadata as it travels; ValueError or TypeError says why it may not."""
    if not metadata:
        return NO_METADATA
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata is of the type {type(metadata).__name__!r}: want a mapping of names to text")
    for name, value in metadata.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"metadata {{{name!r}: {value!r}}}: want names and values of the type str")
    if len(metadata) > limit.entries:
        raise ValueError(f"metadata has {len(metadata)} entries, over the limit of {limit.entries}")
    size, parts = 0, [len(metadata).to_bytes(2, "little")]
    for name in sorted(metadata):
        key = name.encode("utf-8", "surrogateescape")
        if not _KEY.match(key):
            raise ValueError(f"metadata name {name!r}: want 1 to 255 characters of a-z, 0-9, '-', '_', '.'")
        raw = metadata[name].encode("utf-8", "surrogateescape")
        size += len(key) + len(raw)
        if size > limit.size:
            raise ValueError(f"metadata is over the limit of {limit.size} bytes")
        parts += (bytes((len(key),)), key, len(raw).to_bytes(2, "little"), raw)
    return b"".join(parts)


def read_metadata(r: Reader, limit: MetadataLimit) -> dict[str, str]:
    """Read metadata off the front of r."""
    count, size = r.number(2), 0
    if count > limit.entries:
        raise Malformed(f"metadata of {count} entries, over the limit of {limit.entries}")
    metadata: dict[str, str] = {}
    for _ in range(count):
        key = r.take(r.number(1))
        value = r.take(r.number(2))
        size += len(key) + len(value)
        if size > limit.size:
            raise Malformed(f"metadata over the limit of {limit.size} bytes")
        if not _KEY.match(key):
            raise Malformed(f"metadata with the name {key!r}")
        name = key.decode("ascii")
        if name in metadata:
            raise Malformed(f"metadata with the name {name!r} twice")
        metadata[name] = value.decode("utf-8", "surrogateescape")
    return metadata


@dataclass(slots=True)
class Hello:
    """What a side says of itself."""

    max_frame: int
    max_message: int
    max_slots: int
    window: int
    min_version: int = 1
    max_version: int = 1
    features: int = 0
    session: int = 0
    agent: str = ""
    services: list[tuple[str, int]] = field(default_factory=list)  # full names and hashes

    def encode(self) -> bytes:
        """Return the payload."""
        agent = self.agent.encode()
        parts = [
            _HELLO.pack(
                self.min_version,
                self.max_version,
                self.features,
                self.max_frame,
                self.max_message,
                self.max_slots,
                self.window,
                self.session,
                len(agent),
            ),
            agent,
            len(self.services).to_bytes(2, "little"),
        ]
        for name, hash_ in self.services:
            raw = name.encode()
            parts += (len(raw).to_bytes(2, "little"), raw, hash_.to_bytes(8, "little"))
        return b"".join(parts)


_HELLO = Struct("<HHIIIIIQB")


def parse_hello(payload: bytes) -> Hello:
    """Read the payload of a HELLO. What follows the last service belongs to later versions and is passed over."""
    r = Reader(payload, 0, len(payload))
    try:
        values = _HELLO.unpack(r.take(_HELLO.size))
    except StructError as e:  # pragma: no cover - take has the length right
        raise Malformed("payload ends in the middle") from e
    agent = r.take(values[8])
    services = []
    for _ in range(r.number(2)):
        name = r.name("a service's name")
        services.append((name, r.number(8)))
    low, high = values[0], values[1]
    if low > high or low == 0:
        raise Malformed(f"versions from {low} to {high}")
    return Hello(
        min_version=low,
        max_version=high,
        features=values[2],
        max_frame=values[3],
        max_message=values[4],
        max_slots=values[5],
        window=values[6],
        session=values[7],
        agent=_text(agent, "agent"),
        services=services,
    )


CALL_HEAD = Struct("<QQH")
"""Method, timeout in nanoseconds, and how many entries of metadata follow."""


def parse_call(data: bytes, start: int, stop: int, limit: MetadataLimit) -> tuple[int, int, dict[str, str], bytes]:
    """Return method, timeout, metadata and the message bytes behind them."""
    if stop - start < CALL_HEAD.size:
        raise Malformed("payload ends in the middle")
    method, timeout, entries = CALL_HEAD.unpack_from(data, start)
    if not entries:
        return method, timeout, {}, data[start + 18 : stop]
    r = Reader(data, start + 16, stop)
    metadata = read_metadata(r, limit)
    return method, timeout, metadata, r.rest()


@dataclass(slots=True)
class StatusHead:
    """What a STATUS says before its message. Details are full names of message types with their bytes."""

    text: str = ""
    details: list[tuple[str, bytes]] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)


PLAIN_STATUS = b"\0\0\0\0\0\0"
"""The head of a STATUS without text, details and trailers."""


def encode_status(text: str, details: list[tuple[str, bytes]], trailers: bytes = NO_METADATA) -> bytes:
    """Return the head of a STATUS, its text and details cut to their limits."""
    raw = cut_text(text, MAX_STATUS_TEXT)
    parts, size, count = [b""], 0, 0
    for name, value in details:
        key = name.encode()
        size += len(key) + len(value)
        if size > MAX_DETAILS:
            break
        count += 1
        parts += (len(key).to_bytes(2, "little"), key, len(value).to_bytes(2, "little"), value)
    parts[0] = len(raw).to_bytes(2, "little") + raw + count.to_bytes(2, "little")
    parts.append(trailers)
    return b"".join(parts)


def parse_status(data: bytes, start: int, stop: int, limit: MetadataLimit) -> tuple[StatusHead, bytes]:
    """Return the head of a STATUS and the message bytes behind it."""
    r = Reader(data, start, stop)
    head = StatusHead()
    text = r.take(r.number(2))
    size = 0
    for _ in range(r.number(2)):
        name = r.name("an error detail's type")
        value = r.take(r.number(2))
        size += len(name.encode()) + len(value)
        if size > MAX_DETAILS:
            raise Malformed(f"error details over the limit of {MAX_DETAILS} bytes")
        head.details.append((name, value))
    head.trailers = read_metadata(r, limit)
    if len(text) > MAX_STATUS_TEXT:
        raise Malformed(f"status text of {len(text)} bytes, over the limit of {MAX_STATUS_TEXT}")
    head.text = _text(text, "status text")
    return head, r.rest()


def cut_text(text: str, most: int) -> bytes:
    """Return text as a frame may carry it: at most so many bytes of UTF-8."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= most:
        return raw
    return raw[:most].decode("utf-8", "ignore").encode()


def safe_text(raw: bytes, most: int = MAX_GOAWAY_TEXT) -> str:
    """Return what a peer wrote for people, without what would disturb a terminal."""
    text = raw[:most].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in text)
