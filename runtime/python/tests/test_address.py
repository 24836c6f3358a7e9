"""Addresses: what they are, and how to mend one that is none."""

from __future__ import annotations

import re
import ssl

import pytest

import ipcgen
from ipcgen._address import AddressError, parse, words


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("unix:/run/a b.sock", {"path": "/run/a b.sock"}),
        ("tcp:localhost:80", {"host": "localhost", "port": 80}),
        ("tcp:[::1]:0", {"host": "::1", "port": 0}),
        ("tcp::80", {"host": "", "port": 80}),
        ("fd:3", {"fds": (3, 3)}),
        ("fd:3,4", {"fds": (3, 4)}),
        ("stdio:", {}),
        ("exec:python3 -c 'a b' \"c\\\"d\" e\\ f ''", {"argv": ("python3", "-c", "a b", 'c"d', "e f", "")}),
    ],
)
def test_parse(text: str, attributes: dict[str, object]) -> None:
    address = parse(text)
    assert {key: getattr(address, key) for key in attributes} == attributes


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("/run/echo.sock", 'has no scheme: for a unix socket write "unix:/run/echo.sock"'),
        ("localhost:80", 'has no scheme: for TCP write "tcp:localhost:80"'),
        ("unx:/a", 'there is no scheme "unx": did you mean "unix:/a"?'),
        ("tcp://a:1", 'is not a URL: write "tcp:a:1"'),
        ("unix:", "the path is missing"),
        ("unix:@a", "unix:./@a"),
        ("unix:" + "x" * 104, "the path has 104 bytes, and a socket's may have 103"),
        ("tcp:a", "the port is missing"),
        ("tcp:::1:80", "an IPv6 host stands in brackets"),
        ("tcp:a:b", "the port is b, not a number"),
        ("tcp:a:65536", "not a number from 0 to 65535"),
        ("tls:a:1", "needs a TLS configuration: pass tls="),
        ("stdio:x", "nothing follows the colon"),
        ("fd:x", "want the numbers of descriptors that are open"),
        ("fd:1", "the address stdio: is for"),
        ("exec:", "the program is missing"),
        ("exec:'a", "the quote ' is not closed"),
        ("exec:a\\", "a backslash at the end"),
        ("shm:/a", "has no shm: transport, write unix:PATH"),
        ("what", "want one of unix:PATH, tcp:HOST:PORT"),
        ("", "want one of"),
    ],
)
def test_errors(text: str, want: str) -> None:
    with pytest.raises(AddressError, match=re.escape(want)):
        parse(text)
    with pytest.raises(ValueError, match=re.escape(want)):
        ipcgen.dial(text)


def test_tls_with_a_configuration() -> None:
    assert parse("tls:a:1", ssl.create_default_context()).port == 1


def test_words() -> None:
    assert words("  a\tb  ") == ["a", "b"]
    assert words("'it'\\''s' x\"y\"z") == ["it's", "xyz"]
