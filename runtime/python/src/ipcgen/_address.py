"""Addresses: one syntax for dialing and serving.

========================  =============================================================================
``unix:PATH``             a unix socket
``tcp:HOST:PORT``         TCP; an IPv6 host stands in brackets; serving on port 0 takes a free one
``tls:HOST:PORT``         TCP with TLS, which needs an ``ssl.SSLContext``
``stdio:``                this process's stdin and stdout, for a program that its peer started
``fd:N``, ``fd:R,W``      descriptors that this process inherited: a socket, or one to read and one to write
``exec:PROGRAM ARGS``     a program to start, over its stdin and stdout; quotes and backslashes as in a shell
``shm:PATH``              a unix socket that peers may leave for shared memory; Python has none, so it stays there
========================  =============================================================================
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger("ipcgen")


class AddressError(ValueError):
    """An address that is none; the text says what to write."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address that has been checked."""

    text: str
    scheme: str
    path: str = ""
    host: str = ""
    port: int = 0
    fds: tuple[int, int] = (-1, -1)
    argv: tuple[str, ...] = ()


def parse(text: str, tls: ssl.SSLContext | None = None) -> Address:
    """Read an address; AddressError says how to mend one that is wrong."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in _SCHEMES:
        raise AddressError(_unknown(text, scheme, rest, bool(colon)))
    if rest.startswith("//"):
        raise AddressError(f'address "{text}" is not a URL: write "{scheme}:{rest[2:]}"')
    form, read = _SCHEMES[scheme]
    if scheme == "tls" and tls is None:
        raise AddressError(f'address "{text}": it needs a TLS configuration: pass tls=, an ssl.SSLContext')
    try:
        return read(text, scheme, rest)
    except AddressError as e:
        raise AddressError(f'address "{text}": want {form}: {e}') from None


def _path(text: str, scheme: str, rest: str) -> Address:
    if not rest:
        raise AddressError("the path is missing")
    if rest.startswith("@"):
        raise AddressError(
            "an abstract socket is open to every user, so there is no address for one: "
            f"use a path (a file of this name is unix:./{rest})"
        )
    size = len(rest.encode())
    if size > MAX_PATH:
        raise AddressError(f"the path has {size} bytes, and a socket's may have {MAX_PATH}: use a shorter directory")
    return Address(text, scheme, path=rest)


def _shm(text: str, scheme: str, rest: str) -> Address:
    address = _path(f"unix:{rest}", "unix", rest)
    log.warning("%s: Python has no shared memory, so sessions stay on the socket: %s is the same", text, address.text)
    return address


MAX_PATH = 103
"""How long the path of a unix socket may be, in bytes, on every system."""


def _host_port(text: str, scheme: str, rest: str) -> Address:
    host, colon, port = rest.rpartition(":")
    if not colon or not port:
        raise AddressError("the port is missing")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressError("an IPv6 host stands in brackets")
    if not port.isdecimal() or int(port) > 65535:
        raise AddressError(f"the port is {port}, not a number from 0 to 65535")
    return Address(text, scheme, host=host, port=int(port))


def _nothing(text: str, scheme: str, rest: str) -> Address:
    if rest:
        raise AddressError("nothing follows the colon")
    return Address(text, scheme)


def _descriptors(text: str, scheme: str, rest: str) -> Address:
    first, comma, second = rest.partition(",")
    if not re.fullmatch(r"\d+(,\d+)?", rest):
        raise AddressError(
            "want the numbers of descriptors that are open: fd:3, or fd:3,4 to read from 3 and write to 4"
        )
    fds = int(first), int(second if comma else first)
    if min(fds) <= 2:
        raise AddressError(
            "want numbers from 3 on: 0 to 2 are stdin, stdout and stderr, which the address stdio: is for"
        )
    return Address(text, scheme, fds=fds)


def _command(text: str, scheme: str, rest: str) -> Address:
    argv = words(rest)
    if not argv or not argv[0]:
        raise AddressError("the program is missing")
    return Address(text, scheme, argv=tuple(argv))


_SCHEMES: dict[str, tuple[str, Callable[[str, str, str], Address]]] = {
    "unix": ("unix:PATH", _path),
    "tcp": ("tcp:HOST:PORT", _host_port),
    "tls": ("tls:HOST:PORT", _host_port),
    "stdio": ("stdio:", _nothing),
    "fd": ("fd:N or fd:R,W", _descriptors),
    "exec": ("exec:PROGRAM ARGS", _command),
    "shm": ("shm:PATH", _shm),
}


def _unknown(text: str, scheme: str, rest: str, colon: bool) -> str:
    """Say what was probably meant by an address without a scheme, or with one that is none."""
    if colon:
        for known in _SCHEMES:
            if _one_edit(scheme.lower(), known):
                return f'address "{text}": there is no scheme "{scheme}": did you mean "{known}:{rest}"?'
    if scheme in ("signal", "fifo"):
        return f'address "{text}": the Python runtime has no {scheme}: transport, write unix:PATH'
    if colon and rest.isdecimal() and int(rest) <= 65535:
        return f'address "{text}" has no scheme: for TCP write "tcp:{text}"'
    if not colon and ("/" in text or "\\" in text or text.endswith(".sock")):
        return f'address "{text}" has no scheme: for a unix socket write "unix:{text}"'
    return f'address "{text}": want one of {", ".join(form for form, _ in _SCHEMES.values())}'


def _one_edit(a: str, b: str) -> bool:
    """Say whether a and b are the same but for one character more, less or other, or two in the wrong order."""
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return (len(a) <= 1 and len(b) <= 1) or (len(a) == len(b) == 2 and a == b[::-1])


def words(line: str) -> list[str]:
    """Split a command line.

    Words are separated by spaces, 'single' quotes keep everything, "double" quotes all but \\" and \\\\, and a backslash
    outside of them keeps the next character.
    """
    argv: list[str] = []
    word, inside, quote, escaped = "", False, "", False
    for c in line:
        if escaped:
            word += c if quote != '"' or c in '"\\' else "\\" + c
            escaped = False
        elif c == "\\" and quote != "'":
            escaped = inside = True
        elif quote and c == quote:
            quote = ""
        elif quote:
            word += c
        elif c in "'\"":
            quote, inside = c, True
        elif c in " \t":
            if inside:
                argv.append(word)
            word, inside = "", False
        else:
            word += c
            inside = True
    if quote:
        raise AddressError(f"the quote {quote} is not closed")
    if escaped:
        raise AddressError("a backslash at the end")
    if inside:
        argv.append(word)
    return argv
